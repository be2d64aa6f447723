//! The translation of `erl` arguments, compared with what the real `erlexec` makes of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::erl_args::{self, ALLOCATOR_SETTINGS, ALLOCATORS, Flags};

/// The OTP sysroot that `cargo xtask sysroot` makes.
fn sysroot() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/sysroot/trixie")
}

/// Asks `erlexec` for the arguments of `beam.smp`; the paths it puts in are fixed.
fn real(dir: &Path, args: &[String]) -> Vec<String> {
    real_with(dir, args, &Flags::default())
}

fn real_with(dir: &Path, args: &[String], flags: &Flags) -> Vec<String> {
    let libraries = sysroot().join("usr/lib/x86_64-linux-gnu");
    let otp = sysroot().join("usr/lib/erlang");
    let erts = fs::read_dir(&otp)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| {
            p.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("erts-")
        })
        .unwrap();
    let output = Command::new(libraries.join("ld-linux-x86-64.so.2"))
        .arg("--library-path")
        .arg(&libraries)
        .arg(erts.join("bin/erlexec"))
        .arg("-emu_args_exit")
        .args(args)
        .env_clear()
        .envs([
            ("ROOTDIR", "R"),
            ("BINDIR", "B"),
            ("HOME", "H"),
            ("EMU", "beam"),
            ("PROGNAME", "erl"),
            ("ERL_AFLAGS", &flags.before),
            ("ERL_FLAGS", &flags.after),
            ("ERL_ZFLAGS", &flags.last),
        ])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn ours(dir: &Path, args: &[String]) -> Vec<String> {
    ours_with(dir, args, &Flags::default())
}

fn ours_with(dir: &Path, args: &[String], flags: &Flags) -> Vec<String> {
    let read = |path: &Path| -> io::Result<String> { fs::read_to_string(dir.join(path)) };
    let out = erl_args::translate_with(args, flags, &read).unwrap();
    let fixed = "-- -root R -bindir B -progname erl -- -home H --";
    let mut all = out.emulator;
    all.extend(fixed.split(' ').map(str::to_owned));
    all.extend(out.program);
    all
}

#[test]
#[ignore = "needs the OTP sysroot: run `cargo xtask test` or `cargo xtask sysroot` first"]
fn arguments_are_translated_as_erlexec_does() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("vm.args"),
        "## a comment\n+P 262144 +Q 4096\n+sbwt none\n+swt very_low +hms 233\n\
         -kernel net_ticktime '15' error_logger '{file, \"x\"}' \"a\\b'c\"\n-setcookie a\\ b#c\n+K true +A5 +A 5\n\
         -heart\n+Bd +B i +c +c true +SDcpu 4:2 +SDio 3 +S 4:4 +SP 50 +MBas aobf +MMscs 5 +Muacul 0 +IOt 2 +zdbbl 32768\n\
         +pc unicode +fnu +JPperf true +v +W w +r +rg 4 +hmqd off_heap -noinput -env X 1\n-args_file more.args\nlast",
    )
    .unwrap();
    fs::write(
        dir.path().join("more.args"),
        "-sasl x y # c\n-name_is z\n-extra one '+two' -env # c\n three",
    )
    .unwrap();
    fs::write(dir.path().join("empty.args"), "# nothing\n").unwrap();
    for line in [
        "-boot x -config y",
        "-boot x -noshell +S 1 -s m f",
        "-boot x -args_file vm.args",
        "-args_file empty.args -args_file vm.args -a b +c",
        "-noshell -s elixir start_cli -config x -args_file vm.args -extra --no-halt",
        "-a -args_file empty.args -extra +x -extra y",
        "-smp auto -start_epmd false -emu_type x -proto_dist x -no_epmd -mode embedded",
    ] {
        let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
        assert_eq!(ours(dir.path(), &args), real(dir.path(), &args), "{line}");
    }
}

#[test]
#[ignore = "needs the OTP sysroot: run `cargo xtask test` or `cargo xtask sysroot` first"]
fn every_emulator_flag_takes_the_word_that_erlexec_gives_it() {
    let dir = tempfile::tempdir().unwrap();
    let letters = [
        "a", "A", "C", "e", "i", "n", "P", "Q", "t", "T", "R", "W", "K", "l", "L", "v", "V", "d",
        "D", "U", "x",
    ];
    let words = "S SP SDcpu SDPcpu SDio IOt IOp IOPt IOPp pc pa fnu fna fnli dcg ec Jx JPperf JMsingle rg r hms hmbs hpds hmax hmaxk hmaxel hmaxib hmqd hx h c Bd Bc Bi \
                 sbt sbwt sbwtdcpu sbwtdio scl sct secio sfwi stbt swct swt swtdcpu swtdio sws sss sssdcpu sssdio spp sub srg sx \
                 zdbbl zdntgc zebwt zosrl zhft zx MYe MYm MYtp MYtt Mim Mis Mit Mea Mlpm MMamcbf MMrmcbf MMmcs MMscs MMscrfsd MMsco MMscrpm Mummc Muycs Musac MIscs MXscs Mx";
    let allocators = ALLOCATORS.chars().chain(['X', 'A']).flat_map(|letter| {
        let settings = ALLOCATOR_SETTINGS.iter().copied().chain(["x"]);
        settings.map(move |setting| format!("M{letter}{setting}"))
    });
    // One allocator with all settings, and all allocators with one: the rest follows.
    let allocators = allocators.filter(|f| f.starts_with("Mu") || f.ends_with("as"));
    let flags = letters
        .into_iter()
        .chain(words.split_whitespace())
        .map(str::to_owned);
    let differing: Vec<String> = flags
        .chain(allocators)
        .filter(|flag| {
            let args = [format!("+{flag}"), "word".to_owned()];
            ours(dir.path(), &args) != real(dir.path(), &args)
        })
        .collect();
    assert!(differing.is_empty(), "{differing:?}");
}

#[test]
#[ignore = "needs the OTP sysroot: run `cargo xtask test` or `cargo xtask sysroot` first"]
fn flags_of_the_environment_are_put_where_erlexec_puts_them() {
    let dir = tempfile::tempdir().unwrap();
    let flags = Flags {
        before: "-proto_dist inet6_tcp +P 5000 'a b'#c".into(),
        after: "-kernel x y -extra e1".into(),
        last: "+S 1 -z # no comment".into(),
    };
    for line in ["-boot x -a", "-boot x -extra e0 -b"] {
        let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
        assert_eq!(
            ours_with(dir.path(), &args, &flags),
            real_with(dir.path(), &args, &flags),
            "{line}"
        );
    }
}
