//! `tyn run -d`, `ps`, `logs`, `stop`, `rm`.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use crate::bench::{Bench, Ended};
use crate::pty::Pty;

const RUN: &str = "run -d app.img --kernel kernel --accel tcg --memory 64M";

fn bench() -> Bench {
    let bench = Bench::new();
    bench.image("app.img", &["/init"], &[("/init", b"x")]);
    bench.kernel("kernel", "metric boot_to_user_ns 1\n", true);
    bench
}

/// Ends what a failed test would leave.
impl Drop for Bench {
    fn drop(&mut self) {
        for guest in self.guests() {
            let pid = guest["pid"]
                .as_i64()
                .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
            if let Some(pid) = pid.filter(|_| guest["status"] == "running") {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl Bench {
    fn guests(&self) -> Vec<Value> {
        let listed = self.tyn("ps -a --json");
        serde_json::from_str(&listed.out).unwrap_or_default()
    }

    /// Expects the tool to succeed and print this.
    fn says(&self, line: &str, out: &str, err: &str) {
        let want = Ended {
            code: Some(0),
            out: out.into(),
            err: err.into(),
        };
        assert_eq!(self.tyn(line), want, "tyn {line}");
    }
}

fn is_there(pid: &Value) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits until a process is gone, which somebody else has killed.
fn wait_gone(pid: &Value) {
    while is_there(pid) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn guests_are_started_listed_stopped_and_forgotten() {
    let bench = bench();
    bench.says("ps", "NAME  STATUS  STARTED  PORTS  IMAGE\n", "");
    bench.says("ps --json", "[]\n", "");
    bench.says(RUN, "app\n", "");
    bench.has_no_files();
    bench.says(&format!("{RUN} --cpus 2"), "app-2\n", "");
    bench.says(&format!("{RUN} --name other"), "other\n", "");
    bench.refused(
        &format!("{RUN} --name other"),
        "a guest other runs already; stop it by `tyn stop other`, or choose another --name",
    );
    bench.refused(
        "rm app",
        "the guest app runs; stop it by `tyn stop app` first",
    );
    bench.refused(
        "shell app",
        "a shell needs a terminal; use `tyn logs app` to see the guest's output",
    );
    let guests = bench.guests();
    let names: Vec<_> = guests.iter().map(|g| g["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["app", "app-2", "other"]);
    assert_eq!(
        (&guests[1]["cpus"], &guests[1]["memory_bytes"]),
        (&2.into(), &(64 << 20).into())
    );
    assert_eq!(
        (&guests[0]["status"], &guests[0]["interactive"]),
        (&"running".into(), &false.into())
    );
    assert!(is_there(&guests[0]["qemu_pid"]));
    // A kernel of a few bytes knows nothing of the power button.
    bench.says(
        "stop app --timeout 1",
        "",
        "tyn: app did not stop within 1 s: killed\n",
    );
    bench.says(
        "stop app-2 other -t 0",
        "",
        "tyn: app-2 did not stop within 0 s: killed\ntyn: other did not stop within 0 s: killed\n",
    );
    for guest in &guests {
        wait_gone(&guest["qemu_pid"]);
    }
    bench.refused(
        "shell app",
        "app has ended; `tyn logs app` shows what it said",
    );
    bench.says("stop app", "", "tyn: app has ended already\n");
    bench.says("ps", "NAME  STATUS  STARTED  PORTS  IMAGE\n", "");
    let all = bench.tyn("ps -a").out;
    assert!(all.contains("\napp    killed (137)  "), "{all}");
    assert!(
        bench
            .tyn("logs app")
            .out
            .contains("tyn: stopping the guest")
    );
    bench.says("rm app", "", "");
    bench.says("rm --all", "app-2\nother\n", "");
    bench.refused("shell app", "no guest app and none of an image app runs; start one by `tyn run -d -i`, `tyn ps` lists them");
    for command in ["logs", "stop", "rm"] {
        bench.refused(
            &format!("{command} app"),
            "there is no guest app; `tyn ps -a` lists those that `tyn run -d` started",
        );
    }
    assert_eq!(fs::read_dir(bench.path("state/tyn")).unwrap().count(), 1);
}

#[test]
fn shell_that_is_interrupted_while_it_connects_leaves_the_terminal_as_it_was() {
    use rustix::termios::{LocalModes, tcgetattr};
    let bench = bench();
    bench.image(
        "app.img",
        &[
            "/beam",
            "--",
            "-sname",
            "x",
            "-setcookie",
            "c",
            "-start_epmd",
            "false",
            "-erl_epmd_port",
            "4370",
        ],
        &[("/beam", b"x")],
    );
    bench.says(RUN, "app\n", "");
    let terminal = Pty::new();
    let side = terminal.open();
    let modes = || tcgetattr(&side).unwrap().local_modes;
    let before = modes();
    assert!(before.contains(LocalModes::ECHO | LocalModes::ICANON));
    for (signal, code) in [(Signal::INT, 130), (Signal::QUIT, 131), (Signal::TERM, 143)] {
        let mut command = bench.command("shell app");
        command.stdin(terminal.open()).stdout(terminal.open());
        let mut tool = command.stderr(terminal.open()).spawn().unwrap();
        // The guest answers nobody; the terminal waits for the shell.
        while modes().contains(LocalModes::ECHO) {
            assert_eq!(tool.try_wait().unwrap(), None);
            std::thread::sleep(Duration::from_millis(5));
        }
        kill_process(Pid::from_child(&tool), signal).unwrap();
        assert_eq!(tool.wait().unwrap().code(), Some(code));
        assert_eq!(modes(), before);
    }
    bench.tyn("stop app -t 0");
}

#[test]
fn starts_that_fail_are_told_and_leave_nothing() {
    let bench = bench();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    bench.refused(
        &format!("{RUN} -p {port}:80"),
        &format!("port {port} of this machine can't be used: Address already in use (os error 98); stop what uses it, or forward another one"),
    );
    bench.refused(
        &format!("{RUN} --name a/b"),
        "'a/b' is no name for a guest; use letters, digits, '.', '_' and '-', 63 at most",
    );
    bench.kernel(
        "kernel",
        "error the init program can't be started; mend it\n",
        false,
    );
    bench.refused(RUN, "the init program can't be started; mend it");
    bench.kernel("kernel", "panic at src/x.rs:1\n", false);
    bench.refused(RUN, "the kernel panicked: at src/x.rs:1");
    bench.kernel("kernel", "", false);
    bench.refused(
        RUN,
        "the machine stopped before anything ran: QEMU ended with exit status 1; see what `tyn run --trace` says",
    );
    assert_eq!(
        fs::read_dir(bench.path("state/tyn")).unwrap().count(),
        1,
        "only the lock is left"
    );
    let output = bench
        .command(RUN)
        .env_remove("XDG_STATE_HOME")
        .env_remove("HOME")
        .output()
        .unwrap();
    let err = bench.ended(&output).err;
    assert!(
        err.starts_with("tyn: there is no place for guests in the background: set HOME"),
        "{err}"
    );
}

#[test]
fn guest_that_ends_by_itself_is_noted_with_its_log() {
    let bench = bench();
    bench.kernel(
        "kernel",
        "metric boot_to_user_ns 1\npanic at src/x.rs:1\nexit 3\n",
        false,
    );
    let secret = format!("{RUN} --name x -e TOKEN=tr0ub4dor");
    bench.says(&secret, "x\n", "");
    // Its end is waited for.
    let log = bench.tyn("logs -f x");
    assert_eq!(log.out, "tyn: kernel panic: at src/x.rs:1\n");
    let guest = &bench.guests()[0];
    assert_eq!(
        (
            &guest["status"],
            &guest["ended"]["code"],
            &guest["ended"]["how"]
        ),
        (&"ended".into(), &124.into(), &"panicked".into())
    );
    let folder = bench.path("state/tyn/x");
    for entry in fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        assert!(!text.contains("tr0ub4dor"), "{:?}", entry.path());
    }
    assert_eq!(
        folder.metadata().unwrap().permissions().mode() & 0o777,
        0o700
    );
    // Another of its name takes its place.
    bench.kernel("kernel", "metric boot_to_user_ns 1\nexit 3\n", false);
    bench.says(&format!("{RUN} --name x"), "x\n", "");
    assert_eq!(bench.tyn("logs -f x").out, "");
    assert_eq!(bench.guests()[0]["ended"]["code"], 3);
}

#[test]
fn what_is_killed_from_outside_is_noticed() {
    let bench = bench();
    let kill = |pid: &Value| {
        let pid = Pid::from_raw(i32::try_from(pid.as_i64().unwrap()).unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        while test_kill_process(pid).is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    bench.says(&format!("{RUN} --name qemu"), "qemu\n", "");
    kill(&bench.guests()[0]["qemu_pid"]);
    bench.tyn("logs -f qemu");
    let guest = &bench.guests()[0];
    assert_eq!(
        (&guest["status"], &guest["ended"]["how"]),
        (&"ended".into(), &"vanished".into())
    );
    bench.says(&format!("{RUN} --name tool"), "tool\n", "");
    let guest = &bench.guests()[1];
    kill(&guest["pid"]);
    // QEMU doesn't outlive its supervisor.
    wait_gone(&guest["qemu_pid"]);
    assert_eq!(bench.guests()[1]["status"], "lost");
    // Its process id may be anybody's by now: nobody is asked or killed.
    bench.says("stop tool", "", "tyn: tool has ended already\n");
    let all = bench.tyn("ps -a").out;
    assert!(all.contains("\ntool  lost  "), "{all}");
    bench.says(&format!("{RUN} --name tool"), "tool\n", "");
}

#[test]
fn starter_that_is_interrupted_leaves_nothing() {
    let bench = bench();
    // This one never gets as far as to a first process: the start takes for ever.
    bench.kernel("kernel", "", true);
    for wait in [0, 10, 30, 60, 120, 300] {
        let mut tool = bench
            .command(RUN)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        let _ = kill_process(Pid::from_child(&tool), Signal::TERM);
        tool.wait().unwrap();
    }
    let is_empty = || {
        let guests = fs::read_dir(bench.path("state/tyn"))
            .map_or(0, |dir| dir.flatten().filter(|e| e.path().is_dir()).count());
        guests + fs::read_dir(bench.path("tmp")).unwrap().count() == 0
    };
    while !is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    bench.says("ps -a --json", "[]\n", "");
}
