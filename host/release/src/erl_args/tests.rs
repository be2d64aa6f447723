//! Tests of the translation; `erlexec_tests` compares it with the real `erlexec`.

use super::*;

fn translated(line: &str, files: &[(&str, &str)]) -> Result<ErlArgs, ArgsError> {
    let read = |path: &Path| {
        files
            .iter()
            .find(|(name, _)| Path::new(name) == path)
            .map(|(_, text)| (*text).to_owned())
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    };
    let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
    translate(&args, &read)
}

#[test]
fn words_follow_quotes_backslashes_and_comments() {
    let text = "# comment 'x\n-a  \"b c\"d\t'e \\ f'\\ g\\#h#i j\n\n\"\" k\\";
    assert_eq!(words(text), ["-a", "b cd", "e \\ f g#h", "", "k"]);
    assert!(words(" \n# only\n").is_empty());
    assert_eq!(words("'open ended"), ["open ended"]);
}

#[test]
fn emulator_flags_come_first_with_their_values() {
    let args = translated("-a 1 +P 5000 -b +sbwt none +Bd +MBas aobf +K true x", &[]).unwrap();
    assert_eq!(
        args.emulator,
        [
            "-P", "5000", "-sbwt", "none", "-Bd", "-MBas", "aobf", "-K", "true"
        ]
    );
    assert_eq!(args.program, ["-a", "1", "-b", "x", "--"]);
}

#[test]
fn noinput_implies_noshell_and_env_leaves_the_line() {
    let args = translated("-noinput -env A b=c -s x", &[]).unwrap();
    assert_eq!(args.program, ["-noshell", "-noinput", "-s", "x", "--"]);
    assert_eq!(args.env, [("A".into(), "b=c".into())]);
}

#[test]
fn extra_arguments_go_last_untouched() {
    let files = [("f", "-x 1 # c\n-extra +P -env")];
    let args = translated("-args_file f +c -y", &files).unwrap();
    assert_eq!(args.emulator, ["-c"]);
    assert_eq!(
        args.program,
        ["-x", "1", "-y", "--", "-extra", "+P", "-env"]
    );
}

#[test]
fn named_node_wants_epmd_unless_told() {
    assert!(translated("-sname a", &[]).unwrap().wants_epmd);
    assert!(
        !translated("-name a@b -start_epmd false", &[])
            .unwrap()
            .wants_epmd
    );
    assert!(!translated("-x", &[]).unwrap().wants_epmd);
}

#[test]
fn malformed_arguments_are_named() {
    for (line, want) in [
        ("+P", "+P lacks its value"),
        ("+sbwt -x", "+sbwt lacks its value"),
        ("-sname", "-sname lacks its value"),
        ("-env A", "-env lacks its value"),
        (
            "-start_epmd maybe",
            "-start_epmd can't have the value 'maybe'",
        ),
        ("+Bx", "+B can't have the value 'x'"),
        ("-man erl", "-man makes no sense in an image"),
        ("-args_file none", "the arguments file none can't be read"),
        ("-args_file", "-args_file lacks its value"),
        ("-args_file circle", "included too deeply"),
    ] {
        let text = translated(line, &[("circle", "-args_file circle")])
            .unwrap_err()
            .to_string();
        assert!(text.contains(want), "{line}: {text}");
    }
}
