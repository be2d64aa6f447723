//! What is said about bad input, case by case, in `errors.txt`: the line that is typed, the exit code, and standard error.
//!
//! With `TYN_BLESS` in the environment the file is written anew; read what changed then.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tyn_bootfmt::INIT_PATH;
use tyn_bootfmt::contract::{BUILD, OS_VERSION};
use tyn_release::tree::{Node, Source, Tree};

use crate::bench::Bench;
use crate::container;
use crate::tarball::{archive, entry, gzip, lengthened};

/// What is typed.
const LINES: &[&str] = &[
    "build none -o out.img",
    "build notes.txt -o out.img",
    "build app:latest -o out.img",
    "build https://example.com/app.tar -o out.img",
    "build folder -o out.img",
    "build folder -o ebin",
    "build folder -o none/out.img",
    "build cut.tar -o out.img",
    "build outside.tar -o out.img",
    "build link.tar -o out.img",
    "build device.tar -o out.img",
    "build packed.tar.xz -o out.img",
    "build bomb.tar -o out.img",
    "build bomb.tar.gz -o out.img",
    "build /dev/null -o out.img",
    "build bare.tar -o out.img",
    "build alpine.tar -o out.img",
    "build ebin -o out.img",
    "build ebin --start other -o out.img",
    "build ebin --start hello --sysroot none -o out.img",
    "build ebin --start hello --otp 26 -o out.img",
    "build ebin --start hello --otp folder -o out.img",
    "run none.img",
    "run folder",
    "run notes.txt",
    "run empty.img",
    "run cut.img",
    "run old.img",
    "run app.img --env-file bad.env",
    "run app.img --env-file none",
    "run app.img --env-file folder",
    "run erlang.img --vm-args none",
    "run app.img --config none",
    "run app.img --config latin1.toml",
    "run erlang.img --vm-args latin1.toml",
    "run app.img --file /etc/x=none",
    "run app.img --file /etc/x=folder",
    "run app.img --file /etc/x=long --memory 64M",
    "run app.img --kernel notes.txt",
    "run app.img --kernel other-kernel",
    "run app.img --kernel other-version",
    "run app.img --kernel other-build",
    "image app.img --kernel other-build -o out.raw",
    "run app.img --kernel kernel --memory 8M",
    "run app.img --kernel kernel --cpus 65",
    "run app.img --kernel kernel -p PORT:80",
    "run app.img --kernel kernel -p 80",
    "run app.img --kernel kernel -p 80:http",
    "run app.img --kernel kernel -p 18080:80 -p 18080:81",
    "run app.img --kernel kernel --memory 1000000G",
    "run app.img --file /x=notes.txt --file /x/y=notes.txt",
    "run app.img --env-file long.env",
    "run app.img --kernel kernel --cpus two",
    "run app.img --kernel kernel --cpus -1",
    "run app.img --kernel kernel --memory lots",
    "run app.img --kernel kernel --memory",
    "run app.img --kernel kernel --machine isapc",
    "run app.img --kernel kernel --accel hvf",
    "run app.img --kernel kernel --trace=all",
    "run app.img --kernel kernel --file /etc/x",
    "build app -e X",
    "image app.img --format vhd -o out.raw",
    "logs none -n some",
    "stop none --timeout soon",
    "run app.img --kernel kernel --append colour=red",
    "run app.img --kernel kernel --accel tcg",
    "run -d app.img --name a/b",
    "inspect old.img",
    "inspect notes.txt",
    "image none.img -o out.raw",
    "logs none",
    "stop none",
    "shell none",
    "completions none",
];

/// What can't be read: `locked` and what is in it, by its permissions; `loop` is a link to itself, `pipe` a pipe.
const UNREADABLE: &[&str] = &[
    "build locked.tar -o out.img",
    "build locked -o out.img",
    "build loop -o out.img",
    "build pipe -o out.img",
    "build projects -o out.img",
    "build release1 -o out.img --sysroot .",
    "build release2 -o out.img --sysroot .",
    "build release3 -o out.img --sysroot .",
    "build release4 -o out.img --sysroot .",
    "build release5 -o locked/out.img",
    "run locked.img",
    "run loop",
    "run pipe",
    "run app.img --env-file locked.img",
    "run app.img --file /etc/x=locked.img",
    "run app.img --env-file pipe",
    "run app.img --vm-args pipe",
    "run erlang.img --vm-args pipe",
    "run app.img --file /etc/x=pipe",
    "run app.img --config pipe",
    "run app.img --kernel pipe",
    "run app.img --kernel locked.img",
    "inspect locked.img",
    "inspect pipe",
    "image locked.img -o out.raw",
    "image app.img --kernel kernel -o locked/out.raw",
];

/// Where QEMU is another program, and what that does.
const WITHOUT_QEMU: &[(&str, Option<&str>)] = &[
    ("QEMU is missing", None),
    (
        "QEMU is too old",
        Some(
            "#!/bin/sh\n[ \"$1\" = --version ] && echo 'QEMU emulator version 4.2.1 (Debian 1:4.2-3)' && exit\n\
             echo 'qemu-system-x86_64: -machine microvm,acpi=on,rtc=on: Property .acpi not found' >&2\nexit 1\n",
        ),
    ),
    (
        "QEMU refuses",
        Some("#!/bin/sh\n[ \"$1\" = --version ] || echo 'qemu-system-x86_64: no' >&2\nexit 1\n"),
    ),
];

fn bench() -> Bench {
    let bench = Bench::new();
    let release = entry("app/releases/start_erl.data", b'0', "", b"15.2 1.0.0\n");
    bench.write("notes.txt", "this is no release\n");
    for folder in ["folder", "ebin"] {
        fs::create_dir_all(bench.path(folder)).unwrap();
    }
    bench.write("ebin/hello.beam", "FOR1");
    bench.write("cut.tar", &archive(std::slice::from_ref(&release))[..600]);
    let outside = entry("../passwd", b'0', "", b"x");
    bench.write("outside.tar", archive(&[release.clone(), outside]));
    let link = entry("app/link", b'2', "../../etc", b"");
    bench.write("link.tar", archive(&[release.clone(), link]));
    let device = entry("app/null", b'3', "", b"");
    bench.write("device.tar", archive(&[release, device]));
    bench.write("packed.tar.xz", b"\xfd7zXZ\0rubbish");
    // A file of 33 GiB, of which there is the beginning.
    let bomb = lengthened(entry("app/zeros", b'0', "", b""), 33 << 30);
    bench.write("bomb.tar", &bomb);
    bench.write("bomb.tar.gz", gzip(&bomb));
    let program = fs::read("/bin/true").unwrap();
    bench.write("bare.tar", container::saved("", &program, &[]));
    let alpine = container::saved("", &container::program_for_musl(), &[]);
    bench.write("alpine.tar", alpine);
    let long = fs::File::create(bench.path("long")).unwrap();
    long.set_len(65 << 20).unwrap();
    let erlang = ["/beam.smp", "--", "-root", "/"];
    bench.image("erlang.img", &erlang, &[("/beam.smp", b"x")]);
    bench.image("app.img", &["/init"], &[("/init", b"x")]);
    bench.write("empty.img", "");
    let image = fs::read(bench.path("app.img")).unwrap();
    bench.write("cut.img", &image[..image.len() - 4096]);
    let mut old = Tree::default();
    let file = |bytes: &[u8]| Node::File(0o755, Source::Bytes(bytes.to_vec()));
    let init = file(b"tyn-init 1\0arg=/init\0");
    old.insert(Path::new(INIT_PATH), init).unwrap();
    old.insert(Path::new("/init"), file(b"x")).unwrap();
    let mut bytes = Vec::new();
    old.write(&mut bytes, Some(0), |_| {}).unwrap();
    bench.write("old.img", bytes);
    bench.write("long.env", format!("LONG={}", "x".repeat(1 << 17)));
    bench.write("latin1.toml", b"[run]\nappend = \"\xe9\"\n");
    bench.write("bad.env", "A=1\nB C=2\n");
    bench.kernel("kernel", "error it is refused\n", false);
    bench.kernel_of("#1 SMP Tyn 99.1.2\0", "other-version", "", true);
    let build = OS_VERSION.replace(BUILD, "0123456789abcdef");
    bench.kernel_of(&build, "other-build", "", true);
    bench.kernel_of("", "other-kernel", "", true);
    bench
}

/// A release of which `locked` can't be read: a file, a folder, or a link to itself.
fn release(bench: &Bench, name: &str, locked: &str) {
    let path = |file: &str| bench.path(&format!("{name}/{file}"));
    for folder in ["erts-15.2/bin", "releases/1", "lib/a-1/ebin"] {
        fs::create_dir_all(path(folder)).unwrap();
    }
    for program in ["beam.smp", "erl_child_setup", "inet_gethost"] {
        fs::copy("/bin/true", path(&format!("erts-15.2/bin/{program}"))).unwrap();
    }
    fs::write(path("releases/start_erl.data"), "15.2 1\n").unwrap();
    for file in ["a.rel", "start.boot", "sys.config"] {
        fs::write(path(&format!("releases/1/{file}")), "").unwrap();
    }
    fs::write(path("lib/a-1/ebin/a.beam"), "FOR1").unwrap();
    match locked {
        "" => {}
        "lib/a-1/link" => symlink("link", path(locked)).unwrap(),
        _ => fs::set_permissions(path(locked), Permissions::from_mode(0o0)).unwrap(),
    }
}

/// Makes what can't be read.
fn lock(bench: &Bench) {
    for name in ["locked.tar", "locked.img"] {
        bench.write(name, "x");
        fs::set_permissions(bench.path(name), Permissions::from_mode(0o0)).unwrap();
    }
    fs::create_dir(bench.path("locked")).unwrap();
    fs::set_permissions(bench.path("locked"), Permissions::from_mode(0o0)).unwrap();
    fs::create_dir_all(bench.path("projects/_build")).unwrap();
    fs::set_permissions(bench.path("projects/_build"), Permissions::from_mode(0o0)).unwrap();
    symlink("loop", bench.path("loop")).unwrap();
    mknodat(CWD, bench.path("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    release(bench, "release1", "lib/a-1/ebin/a.beam");
    release(bench, "release2", "lib/a-1/ebin");
    release(bench, "release3", "releases/start_erl.data");
    release(bench, "release4", "lib/a-1/link");
    release(bench, "release5", "");
}

#[test]
fn bad_input_is_told_as_it_is_written_down() {
    let bench = bench();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut found = String::new();
    let mut note = |typed: &str, ended: &crate::bench::Ended| {
        assert_eq!(ended.out, "", "tyn {typed}");
        let said = ended.err.replace(&port, "PORT").replace(BUILD, "BUILD");
        let code = ended.code.unwrap();
        writeln!(found, "$ tyn {typed}\n{code}: {}\n", said.trim_end()).unwrap();
        bench.has_no_files();
        for left in ["out.img", "out.raw"] {
            assert!(!bench.path(left).exists(), "tyn {typed} left {left}");
        }
    };
    for line in LINES {
        note(line, &bench.tyn(&line.replace("PORT", &port)));
    }
    lock(&bench);
    for line in UNREADABLE {
        let mut command = bench.command_below_permissions(line);
        note(line, &bench.ended(&command.output().unwrap()));
    }
    // Who isn't root could not remove them.
    for folder in ["locked", "projects/_build", "release2/lib/a-1/ebin"] {
        fs::set_permissions(bench.path(folder), Permissions::from_mode(0o700)).unwrap();
    }
    let line = "run app.img --kernel kernel --accel tcg";
    for (what, qemu) in WITHOUT_QEMU {
        let programs = bench.path(what);
        fs::create_dir(&programs).unwrap();
        if let Some(script) = qemu {
            bench.program(&format!("{what}/qemu-system-x86_64"), script);
        }
        let mut command = bench.command(line);
        let output = command.env("PATH", &programs).output().unwrap();
        note(&format!("{line}  # {what}"), &bench.ended(&output));
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/errors.txt");
    if std::env::var_os("TYN_BLESS").is_some() {
        fs::write(&file, &found).unwrap();
    }
    let want = fs::read_to_string(&file).unwrap();
    for (found, want) in found.split("$ ").zip(want.split("$ ")) {
        assert_eq!(found, want);
    }
    assert_eq!(found.len(), want.len(), "cases are missing");
}
