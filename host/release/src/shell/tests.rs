//! The environment that scripts leave, compared with what a real shell leaves.

use std::process::Command;

use proptest::prelude::*;

use super::*;

fn shell() -> Shell {
    Shell::new([("HOME", "/root"), ("KNOWN", "a b"), ("EMPTY", "")].map(owned))
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.into(), value.into())
}

/// Runs a script in `/bin/sh`; returns its environment.
fn real(script: &str) -> BTreeMap<String, String> {
    let output = Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("{script}\nexec env -0"))
        .env_clear()
        .envs([("HOME", "/root"), ("KNOWN", "a b"), ("EMPTY", "")])
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .output()
        .unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .split_terminator('\0')
        .filter_map(|variable| variable.split_once('='))
        .filter(|(name, _)| !["PWD", "PATH", "_", "SHLVL", "OLDPWD"].contains(name))
        .map(owned)
        .collect()
}

fn ours(script: &str) -> (BTreeMap<String, String>, Vec<NotRun>) {
    let mut shell = shell();
    let not_run = shell.run(script);
    (shell.environment().map(owned).collect(), not_run)
}

#[test]
fn simple_scripts_are_run_as_a_shell_does() {
    for script in [
        "export A=B",
        "A=B\nexport A\nC=not_exported",
        "A=1 B=2; export A B C=3",
        "export A=\"$KNOWN-${KNOWN}\" B='$KNOWN' C=\\$KNOWN D=a\\ b",
        "export A=${NONE:-default} B=${EMPTY:-d} C=${EMPTY-d} D=\"${NONE:-\"x y\"}\" E=${KNOWN:+set}",
        "export A=${NONE:=kept}\nexport B=$NONE",
        "# comment\n\nexport A=a#b # comment\nexport B='#'",
        "export A=x\\\ny B=\"two\nlines\"",
        "set -eu\n: nothing\nexport A=~ B=~/x C=\"~\"",
        "KNOWN=changed",
        "export A=\"a\\\"b\\\\c\\$d\\e\" B='a\\b'",
        "export A=\"${NONE:-${KNOWN}}\" B=${NONE:-a}${NONE:-b}",
        "export A=$ B='' C=\"\"",
        "if false; then export A=no; fi\nexport B=yes",
    ] {
        let (environment, _) = ours(script);
        assert_eq!(environment, real(script), "{script}");
    }
}

#[test]
fn what_is_not_run_is_named_with_its_line() {
    for (script, line, text, why) in [
        (
            "\n\nexport A=$(hostname -f)",
            3,
            "export A=$(hostname -f)",
            "$(…)",
        ),
        ("export A=`hostname`", 1, "export A=`hostname`", "`…`"),
        ("export B=1\numask 027", 2, "umask 027", "there is no umask"),
        (
            "A=1\nif [ -n \"$A\" ]; then\n  B=2\nfi\nexport A",
            2,
            "if [ -n \"$A\" ] …",
            "compound",
        ),
        (
            "case $A in\n  daemon*) B=1 ;;\n  *) ;;\nesac",
            1,
            "case $A in …",
            "compound",
        ),
        ("f() {\n A=1\n}", 1, "f() { …", "compound"),
        ("A=1 && B=2", 1, "A=1&& B=2", "lists"),
        ("echo x > /tmp/x", 1, "echo x> /tmp/x", "redirections"),
        (
            "export A=${B##*-}",
            1,
            "export A=${B##*-}",
            "${B##*-} is not followed",
        ),
        ("export A=$1", 1, "export A=$1", "$1 has no value"),
        (". ./other.sh", 1, ". ./other.sh", "there is no ."),
    ] {
        let (_, not_run) = ours(script);
        assert_eq!(not_run.len(), 1, "{script}: {not_run:?}");
        assert_eq!(
            (not_run[0].line, not_run[0].text.as_str()),
            (line, text),
            "{script}"
        );
        assert!(not_run[0].why.contains(why), "{}", not_run[0].why);
    }
}

#[test]
fn what_depends_on_the_unknown_is_unknown() {
    let script =
        "ip=$(hostname -i)\nexport NODE=app@$ip\nexport OTHER=1\nip=10.0.0.1\nexport LATER=$ip";
    let (environment, not_run) = ours(script);
    let lines: Vec<usize> = not_run.iter().map(|n| n.line).collect();
    assert_eq!(lines, [1, 2]);
    assert!(not_run[1].why.contains("the value of ip is not known"));
    assert!(!environment.contains_key("NODE"));
    assert_eq!(environment["OTHER"], "1");
    assert_eq!(environment["LATER"], "10.0.0.1");
    let (environment, not_run) = ours("if x; then KNOWN=1; fi\nexport A=$KNOWN");
    assert_eq!(not_run.len(), 2, "{not_run:?}");
    assert!(!environment.contains_key("A"));
}

#[test]
fn overlay_scripts_end_in_the_release() {
    let script = "#!/bin/sh\nset -eu\n\ncd -P -- \"$(dirname -- \"$0\")\"\nPHX_SERVER=true exec ./my_app start\n";
    let mut shell = shell();
    let (command, not_run) = shell.run_to_exec(script);
    assert_eq!(not_run, []);
    assert_eq!(command.unwrap(), ["./my_app", "start"]);
    assert_eq!(shell.get("PHX_SERVER"), Some("true"));
    let mut shell = self::shell();
    let (command, not_run) =
        shell.run_to_exec("export A=1\nif x; then y; fi\nexec /app/bin/x foreground \"$@\"");
    assert_eq!(command.unwrap(), ["/app/bin/x", "foreground"]);
    assert_eq!(not_run.len(), 1);
    assert_eq!(shell.get("A"), Some("1"));
    assert_eq!(self::shell().run_to_exec("export A=1").0, None);
}

#[test]
fn overlay_scripts_know_what_is_unknown() {
    let script = "ip=$(hostname -i)\nexport RELEASE_NODE=app@$ip\nexec /app/bin/x start";
    let mut shell = shell();
    let (command, not_run) = shell.run_to_exec(script);
    assert_eq!(command.unwrap(), ["/app/bin/x", "start"]);
    let lines: Vec<usize> = not_run.iter().map(|n| n.line).collect();
    assert_eq!(lines, [1, 2]);
    assert!(not_run[1].why.contains("the value of ip is not known"));
    assert_eq!(shell.get("RELEASE_NODE"), None);
    // What it depends on being unknown, the end is, too.
    let (command, not_run) =
        self::shell().run_to_exec("/app/bin/y start\nc=$(z)\nexec /app/bin/x $c");
    assert_eq!(command, None);
    assert_eq!(not_run.len(), 3, "{not_run:?}");
}

#[test]
fn overlay_scripts_end_with_their_last_program() {
    let script = "A=1 /app/bin/migrate\nexport B=2\n/bin/mkdir /x\nC=3 /app/bin/x start\nB=4";
    for (end, line) in [("", 0), ("\nexec ./other", 4)] {
        let mut shell = shell();
        let (command, not_run) = shell.run_to_exec(&format!("{script}{end}"));
        let lines: Vec<usize> = not_run.iter().map(|n| n.line).collect();
        let (words, set, want) = match line {
            0 => (
                vec!["/app/bin/x", "start"],
                [Some("2"), Some("3")],
                vec![1, 3],
            ),
            _ => (vec!["./other"], [Some("4"), None], vec![1, 3, line]),
        };
        assert_eq!(
            (command.unwrap(), lines),
            (words.into_iter().map(str::to_owned).collect(), want)
        );
        assert!(
            not_run[0]
                .why
                .contains("only the program that a script ends with")
        );
        // What is set for a program alone, others don't get.
        assert_eq!(shell.get("A"), None);
        assert_eq!(["B", "C"].map(|name| shell.get(name)), set);
    }
}

#[test]
fn a_value_that_is_replaced_by_an_unknown_one_is_gone() {
    let given = [("NODE", "old"), ("IP", "1.2.3.4"), ("KEPT", "old")];
    let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut shell = Shell::new(given);
    let not_run = shell
        .run("export NODE=$(hostname)\nIP=$NODE\nif true; then KEPT=$(date); fi\nexport NEW=1\n");
    assert_eq!(not_run.len(), 3);
    let environment: Vec<_> = shell.environment().collect();
    assert_eq!(environment, [("KEPT", "old"), ("NEW", "1")]);
}

proptest! {
    #[test]
    fn no_script_panics(script in "[ -~\n]{0,80}") {
        let mut shell = shell();
        let _ = shell.run(&script);
        let _ = shell.run_to_exec(&script);
    }

    #[test]
    fn scripts_of_shell_signs_do_not_panic(script in "[$A={}()'\"\\\\`;#|&<>\n :é-]{0,60}") {
        let _ = shell().run(&script);
    }
}
