//! Help, completions, manual pages; and that the documentation knows every command and flag.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::bench::Bench;

const CLI_MD: &str = include_str!("../../../../docs/cli.md");

/// Returns the names of all commands with what the help says of them.
fn described(bench: &Bench) -> Vec<(String, String)> {
    let help = bench.tyn("--help").out;
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    let parts = lines.map(|line| line.trim().split_once(' ').unwrap_or((line.trim(), "")));
    parts
        .filter(|(name, _)| *name != "help")
        .map(|(name, what)| (name.to_owned(), what.trim().to_owned()))
        .collect()
}

/// Returns the names of all commands, out of the help.
fn commands(bench: &Bench) -> Vec<String> {
    described(bench).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn every_command_has_help_with_examples_and_is_documented() {
    let bench = Bench::new();
    let commands = commands(&bench);
    let want = [
        "build",
        "run",
        "image",
        "inspect",
        "ps",
        "logs",
        "shell",
        "stop",
        "rm",
        "doctor",
        "completions",
        "man",
    ];
    for name in want {
        assert!(
            commands.iter().any(|command| command == name),
            "{name} in {commands:?}"
        );
    }
    let mut said = BTreeSet::new();
    for (name, what) in described(&bench) {
        // What clap takes where the command itself has none.
        let is_described = !what.is_empty() && !what.starts_with("Arguments of ");
        assert!(is_described, "nothing is said of {name}");
        assert!(said.insert(what), "{name} has another's description");
    }
    for name in &commands {
        let help = bench.tyn(&format!("{name} --help"));
        assert_eq!(help.code, Some(0), "{help:?}");
        assert!(
            help.out.contains("\nExamples:\n  tyn "),
            "{name} has no examples"
        );
        assert!(
            CLI_MD.contains(&format!("`tyn {name}")),
            "docs/cli.md says nothing of {name}"
        );
    }
}

#[test]
fn documented_settings_are_those_of_the_file() {
    let bench = Bench::new();
    let block = CLI_MD
        .split("```toml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    bench.write("tyn.toml", block);
    bench.write("prod.env", "");
    // All of it is understood: what is missing is the image.
    bench.refused("run", "the image my_app.img can't be read: No such file or directory (os error 2); build one with `tyn build`");
}

#[test]
fn completions_are_scripts_that_shells_take() {
    let bench = Bench::new();
    for (shell, want) in [
        ("bash", "complete -F _tyn"),
        ("zsh", "#compdef tyn"),
        ("fish", "complete -c tyn"),
    ] {
        let script = bench.tyn(&format!("completions {shell}"));
        assert!(
            script.code == Some(0) && script.out.contains(want),
            "{shell}"
        );
        assert!(
            !script.out.contains("supervise"),
            "{shell} would offer what is ours"
        );
        bench.write(shell, script.out);
    }
    let status = Command::new("bash")
        .arg("-n")
        .arg(bench.path("bash"))
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(bench.tyn("completions tcsh").code, Some(125));
}

#[test]
fn manual_pages_are_written() {
    let bench = Bench::new();
    assert_eq!(bench.tyn("man man1").code, Some(0));
    let page = fs::read_to_string(bench.path("man1/tyn-run.1")).unwrap();
    assert!(
        page.contains(".SH SYNOPSIS") && page.contains("env\\-file"),
        "{page}"
    );
    for name in commands(&bench) {
        assert!(bench.path(&format!("man1/tyn-{name}.1")).exists(), "{name}");
    }
    assert!(!bench.path("man1/tyn-supervise.1").exists());
    bench.write("file", "");
    bench.refused(
        "man file/x",
        "manual pages can't be written to file/x: Not a directory (os error 20)",
    );
}
