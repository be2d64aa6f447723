//! Help, completions, manual pages; and that the documentation knows every command and flag.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
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

/// Returns the lines of all documents of the project that call the tool, with where they are: in backquotes, or in a block of
/// commands.
fn calls_in_documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut calls = Vec::new();
    for dir in ["", "docs", "examples", "integrations", "bench"] {
        for entry in fs::read_dir(root.join(dir)).unwrap() {
            let path = entry.unwrap().path();
            let readme = path.join("README.md");
            let document = if readme.is_file() { readme } else { path };
            if document.extension().is_none_or(|kind| kind != "md") {
                continue;
            }
            let text = fs::read_to_string(&document).unwrap();
            for (number, line) in text.lines().enumerate() {
                let at = format!("{}:{}", document.display(), number + 1);
                let spans = line.split('`').skip(1).step_by(2);
                let is_command = ["tyn ", "target/release/tyn "]
                    .iter()
                    .any(|start| line.trim_start().starts_with(start));
                let whole = is_command.then_some(line.trim_start());
                for call in spans.chain(whole) {
                    calls.push((at.clone(), call.split(" # ").next().unwrap().to_owned()));
                }
            }
        }
    }
    calls
}

#[test]
fn documents_call_commands_and_flags_that_exist() {
    let bench = Bench::new();
    let commands = commands(&bench);
    let mut checked = 0;
    for (at, call) in calls_in_documents() {
        let mut words = call.split_whitespace();
        if !matches!(words.next(), Some("tyn" | "target/release/tyn")) {
            continue;
        }
        let Some(name) = words.next().filter(|word| {
            let is_lower = |c: char| c.is_ascii_lowercase() || c == '-';
            word.chars().all(is_lower) && !word.starts_with('-')
        }) else {
            continue;
        };
        // For no people, so in no help.
        if name == "supervise" {
            continue;
        }
        let is_known = commands.iter().any(|command| command == name);
        assert!(is_known, "{at}: there is no `tyn {name}`");
        let help = bench.tyn(&format!("{name} --help")).out;
        let said: BTreeSet<&str> = help
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
            .collect();
        for word in words.take_while(|word| *word != "--" && *word != "&&" && *word != "|") {
            let flag = word.split('=').next().unwrap();
            let flag = flag.trim_end_matches([',', ')', ']']);
            if flag.starts_with('-') {
                assert!(said.contains(flag), "{at}: `tyn {name}` has no {flag}");
            }
        }
        checked += 1;
    }
    assert!(checked > 50, "only {checked} calls were found");
}
