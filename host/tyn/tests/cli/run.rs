//! `tyn run`: settings from everywhere, and what is said about those that can't be followed.

use tyn_bootfmt::contract::{BUILD, OS_VERSION};

use crate::bench::Bench;
use crate::mini_kernel;

const ERLANG: &[&str] = &["/beam", "-Bd", "--", "-root", "/app", "--", "-noshell"];

fn bench() -> Bench {
    let bench = Bench::new();
    bench.image("app.img", ERLANG, &[("/beam", b"x")]);
    bench.image("other.img", &["/init"], &[("/init", b"x")]);
    bench
}

/// What is typed, and what is said.
const BAD: &[(&str, &str)] = &[
    (
        "run",
        "no image is named; name one that `tyn build` made, or write `image = \"…\"` below [run] in tyn.toml",
    ),
    (
        "run none.img",
        "the image none.img can't be read: No such file or directory (os error 2); build one with `tyn build`",
    ),
    (
        "run tmp",
        "the image tmp can't be read: Is a directory (os error 21); name the file that `tyn build` made",
    ),
    (
        "run app.img --env-file none.env",
        "the variables in none.env can't be read: No such file or directory (os error 2); there is nothing of that name: mend the path, or make it",
    ),
    (
        "run app.img --env-file bad.env",
        "bad.env:2: the name 'B C' has blanks in it; write NAME=VALUE without blanks around '='",
    ),
    (
        "run app.img --env-file unset.env",
        "unset.env:2: TYN_TEST_UNSET has no value, neither here nor in our own environment; write TYN_TEST_UNSET=VALUE",
    ),
    (
        "run app.img -e TYN_TEST_UNSET",
        "-e TYN_TEST_UNSET has no value, neither there nor in our own environment; use -e TYN_TEST_UNSET=VALUE",
    ),
    (
        "run app.img -e =x",
        "-e =x is not NAME=VALUE; write a name in front",
    ),
    (
        "run app.img --file /etc/x=none",
        "none, which is to be /etc/x in the guest, can't be read: No such file or directory (os error 2); there is nothing of that name: mend the path, or make it",
    ),
    (
        "run app.img --file /etc/x=tmp",
        "tmp, which is to be /etc/x in the guest, is a folder; name files one by one",
    ),
    (
        "run app.img --file etc/x=bad.env",
        "etc/x is no absolute path of a file in the guest; name one such as /etc/app.conf",
    ),
    (
        "run app.img --file /dev/x=bad.env",
        "/dev/x can't be a file of yours: /dev belongs to the kernel; choose another path",
    ),
    (
        "run app.img --file /beam/x=bad.env",
        "/beam/x can't be a file in the guest: /beam is a file in the image; choose another path",
    ),
    (
        "run app.img --vm-args none.args",
        "the arguments file none.args can't be read: No such file or directory (os error 2); there is nothing of that name: mend the path, or make it",
    ),
    (
        "run app.img --vm-args no-value.args",
        "-name lacks its value; add it",
    ),
    (
        "run app.img --vm-args bad.args",
        "-heart needs a program that is not in the image; put -heart into the release's own vm.args and build the image again",
    ),
    (
        "run other.img --vm-args bad.args",
        "the image starts /init, not Erlang's virtual machine, so vm.args mean nothing to it; give it arguments of its own after --",
    ),
    ("run app.img -- +S", "+S lacks its value; add it"),
    (
        "run app.img --kernel none",
        "the kernel none can't be read: No such file or directory (os error 2); there is nothing of that name: mend the path, or make it",
    ),
    (
        "run app.img --config none.toml",
        "the settings in none.toml can't be read: No such file or directory (os error 2); there is nothing of that name: mend the path, or make it",
    ),
];

#[test]
fn settings_that_cannot_be_followed_are_named() {
    let bench = bench();
    bench.write("bad.env", "A=1\nB C=2\n");
    bench.write("unset.env", "# none\nTYN_TEST_UNSET\n");
    bench.write("bad.args", "+S 2\n-heart\n");
    bench.write("no-value.args", "-name\n");
    for (line, want) in BAD {
        let want = want.replace("kernel none can't", "kernel DIR/none can't");
        bench.refused(line, &want);
    }
}

#[test]
fn unknown_kernel_option_is_refused_before_anything_starts() {
    let error = tyn_bootfmt::options::Options::parse("quiet").unwrap_err();
    bench().refused("run app.img --append quiet", &error.to_string());
}

#[test]
fn project_file_is_used_and_its_mistakes_are_named() {
    let bench = bench();
    bench.write("tyn.toml", "[run]\nimage = \"gone.img\"\n");
    bench.refused("run", "the image gone.img can't be read: No such file or directory (os error 2); build one with `tyn build`");
    bench.write("tyn.toml", "[run]\ncpus = 1\nport = [\"1:2\"]\n");
    bench.refused("run app.img", "tyn.toml:3: unknown field `port`, expected one of `image`, `cpus`, `memory`, `machine`, `accel`, `ports`, `env`, `env-file`, `vm-args`, `files`, `append`");
    bench.write(
        "tyn.toml",
        "[run]\nmemory = \"16M\"\nenv = { A = 1 }\nfiles = { \"/etc/x\" = \"tyn.toml\" }\n",
    );
    bench.kernel("kernel", "", true);
    bench.refused(
        "run app.img --kernel kernel",
        "16M of memory is too little for an image of 0 MiB; use --memory 24M or more",
    );
}

#[test]
fn kernel_of_another_version_or_build_is_refused() {
    let bench = bench();
    let ours = env!("CARGO_PKG_VERSION");
    for (version, named) in [
        (
            "#1 SMP Tyn 99.1.2 rest".to_owned(),
            "version 99.1.2 (no build named)".to_owned(),
        ),
        // Of before there were builds, with another string behind it.
        (
            format!("#1 SMP Tyn {ours}Linux"),
            format!("version {ours} (no build named)"),
        ),
        (
            format!("#1 SMP Tyn {ours} 0123456789abcdef0"),
            format!("version {ours} (build 0123456789abcdef)"),
        ),
    ] {
        bench.kernel_of(&version, "kernel", "", true);
        bench.refused(
            "run app.img --accel tcg --kernel kernel",
            &format!("the kernel DIR/kernel is of {named}, this tyn of version {ours} (build {BUILD}); leave --kernel out, or build both from the same sources by `cargo xtask build`"),
        );
    }
    // A part of it somewhere else, and another string behind it.
    let version = format!("#1 SMP Tyn {ours}\0{OS_VERSION}x");
    bench.kernel_of(&version, "kernel", "exit 3\n", false);
    let ended = bench.tyn("run app.img --accel tcg --kernel kernel");
    assert_eq!((ended.code, ended.err.as_str()), (Some(3), ""));
}

#[test]
fn guest_that_ends_leaves_no_file() {
    let bench = bench();
    bench.kernel("kernel", "metric boot_to_user_ns 1\nexit 7\n", false);
    let ended = bench.tyn("run app.img --kernel kernel --accel tcg -e SECRET=x -- +S 1");
    assert_eq!((ended.code, ended.err.as_str()), (Some(7), ""));
    bench.has_no_files();
    bench.kernel(
        "kernel",
        "error the archive is cut; build it again\n",
        false,
    );
    bench.refused(
        "run app.img --kernel kernel --accel tcg",
        "the archive is cut; build it again",
    );
    let warned = bench.tyn("run app.img --kernel kernel --accel tcg -- -sname x");
    assert!(
        warned.err.starts_with(
            "tyn: warning: the arguments name the node, but the image has no epmd (`tyn build --epmd` packs it): it listens on port 4370"
        ),
        "{warned:?}"
    );
}

#[test]
fn guest_goes_on_when_its_output_has_no_room() {
    use std::process::Stdio;
    let bench = bench();
    let report = "metric boot_to_user_ns 1\nexit 7\n";
    let mut kernel = mini_kernel::kernel_that_writes("hello\n", report, false);
    kernel.extend(OS_VERSION.as_bytes());
    bench.write("kernel", kernel);
    let line = "run app.img --kernel kernel --accel tcg";
    assert_eq!(bench.tyn(line).out, "hello\n");
    let full = std::fs::File::options().write(true).open("/dev/full");
    let mut command = bench.command(line);
    let output = command.stdout(full.unwrap()).stderr(Stdio::piped());
    let ended = bench.ended(&output.output().unwrap());
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (
            Some(7),
            "tyn: standard output can't be written: No space left on device (os error 28); the guest goes on, and what it writes is lost until there is room\n"
        )
    );
    let listed = std::fs::File::options().write(true).open("/dev/full");
    let listed = bench.command("ps").stdout(listed.unwrap()).output();
    let listed = bench.ended(&listed.unwrap());
    assert_eq!(listed.code, Some(125));
    assert!(
        listed.err.starts_with("tyn: standard output can't be written: No space left on device (os error 28); make room"),
        "{listed:?}"
    );
}

#[test]
fn secrets_are_on_no_command_line_and_in_no_file() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let bench = bench();
    bench.kernel("kernel", "metric boot_to_user_ns 1\n", true);
    bench.write("secret.env", "TOKEN=tr0ub4dor\n");
    let mut tool = bench
        .command("run app.img --kernel kernel --accel tcg --trace -e SECRET --env-file secret.env --file /etc/secret=secret.env")
        .env("SECRET", "tr0ub4dor")
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(tool.stderr.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let pid = tool.id();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let qemu: u32 = children.trim().parse().unwrap();
    let mut lines = Vec::new();
    for pid in [pid, qemu] {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        lines.push(String::from_utf8_lossy(&line).into_owned());
    }
    // The guest has read its archive: nobody else can any more, whatever happens to us.
    bench.has_no_files();
    tool.kill().unwrap();
    tool.wait().unwrap();
    assert_eq!(line, "tyn: metric boot_to_user_ns 1\n");
    assert!(lines[1].contains("-initrd"), "{lines:?}");
    assert!(!lines.concat().contains("tr0ub4dor"), "{lines:?}");
}

#[test]
fn signal_at_any_time_leaves_no_file_and_no_machine() {
    use rustix::process::{Pid, Signal, kill_process, test_kill_process};
    use std::time::Duration;
    let bench = bench();
    bench.kernel("kernel", "", true);
    for wait in [0, 5, 15, 30, 60, 120, 250] {
        let mut command = bench.command("run app.img --kernel kernel --accel tcg -e A=1");
        let mut tool = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        let pid = Pid::from_child(&tool);
        let children = format!("/proc/{0}/task/{0}/children", tool.id());
        let mut seen = Vec::new();
        // Once more after half a second kills a guest that doesn't stop.
        while tool.try_wait().unwrap().is_none() {
            let text = std::fs::read_to_string(&children).unwrap_or_default();
            seen.extend(
                text.split_whitespace()
                    .filter_map(|pid| pid.parse::<i32>().ok()),
            );
            let _ = kill_process(pid, Signal::INT);
            std::thread::sleep(Duration::from_millis(100));
        }
        bench.has_no_files();
        for qemu in seen.into_iter().filter_map(Pid::from_raw) {
            assert!(
                test_kill_process(qemu).is_err(),
                "QEMU is left after {wait} ms"
            );
        }
    }
}

#[test]
fn help_that_can_not_be_written_is_an_error() {
    let bench = Bench::new();
    for line in ["--help", "run --help", "--version"] {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut command = bench.command(line);
        let ended = bench.ended(&command.stdout(full).output().unwrap());
        let want = "tyn: standard output can't be written: No space left on device";
        assert!(ended.err.starts_with(want), "{ended:?}");
        assert_eq!(ended.code, Some(125), "tyn {line}");
    }
}
