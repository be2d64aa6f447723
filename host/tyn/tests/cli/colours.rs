//! Colours: for terminals, and those who want them (no-color.org).

use crate::bench::Bench;
use crate::pty::Pty;

/// Begins each sequence that changes colours.
const ESCAPE: char = '\u{1b}';
/// What prints by itself, and by the library that reads the command line.
const LINES: [&str; 3] = ["doctor", "--help", "run --nonsense"];

#[test]
fn only_terminals_get_colours() {
    let bench = Bench::new();
    for line in LINES {
        let shown = |env: &[(&str, &str)]| {
            let mut command = bench.command(line);
            for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
                command.env_remove(name);
            }
            command
                .env("TERM", "xterm-256color")
                .envs(env.iter().copied());
            let plain = bench.ended(&command.output().unwrap());
            let (status, text) = Pty::new().run(&mut command);
            assert_eq!(status.code(), plain.code, "tyn {line}");
            assert!(
                !plain.out.contains(ESCAPE) && !plain.err.contains(ESCAPE),
                "{plain:?}"
            );
            assert!(!text.is_empty(), "tyn {line} shows nothing");
            text
        };
        assert!(shown(&[]).contains(ESCAPE), "tyn {line} without colours");
        for other in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let text = shown(&[other]);
            assert!(!text.contains(ESCAPE), "tyn {line}, {other:?}: {text}");
        }
        // Set, but to nothing: as if it were not set.
        assert!(shown(&[("NO_COLOR", "")]).contains(ESCAPE), "tyn {line}");
    }
}

/// What is narrower than any line.
#[test]
fn narrow_terminals_lose_nothing() {
    let bench = Bench::new();
    for columns in ["20", "1", "0", "x", "99999"] {
        let ended = bench.ended(
            &bench
                .command("run --help")
                .env("COLUMNS", columns)
                .output()
                .unwrap(),
        );
        assert_eq!(ended.code, Some(0), "{ended:?}");
        for word in ["--detach", "--env-file", "GUEST=HOST"] {
            assert!(ended.out.contains(word), "COLUMNS={columns}: {}", ended.out);
        }
    }
}
