//! Tests with QEMU itself and a kernel of a few bytes that a test writes.

use tempfile::TempDir;

use super::mini_kernel::kernel;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use super::*;
use crate::config::{Accel, Forward, Machine, MemorySize, kvm_problem};

struct Fixture {
    dir: TempDir,
    config: Config,
}

fn fixture(text: &str, is_halting: bool) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kernel");
    fs::write(&file, kernel(text, is_halting)).unwrap();
    let initrd = dir.path().join("initrd");
    fs::write(&initrd, [0; 4096]).unwrap();
    let config = Config {
        accel: Accel::Tcg,
        memory: MemorySize(64 << 20),
        ..Config::new(&file, &initrd)
    };
    Fixture { dir, config }
}

fn quiet() -> OnLine {
    Box::new(|_| {})
}

#[test]
fn report_channel_tells_how_the_guest_ended() {
    for machine in Machine::ALL {
        let mut fixture = fixture("metric x_ns 5\nhello\nexit 7\n", false);
        fixture.config.machine = machine;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lines);
        let on_line: OnLine = Box::new(move |line| lock(&seen).push(line.to_string()));
        let mut vm = Vm::start(&fixture.config, Console::Keep, on_line).unwrap();
        assert_eq!(vm.wait().unwrap(), Outcome::Exited(7), "{machine}");
        assert_eq!(vm.report().metrics["x_ns"], 5);
        assert_eq!(*lock(&lines), ["metric x_ns 5", "hello", "exit 7"]);
        assert_eq!(
            vm.wait_for(Duration::ZERO).unwrap(),
            Some(Outcome::Exited(7))
        );
    }
}

#[test]
fn waiting_for_an_answer_ends_with_the_guest() {
    let fixture = fixture("panic at src/x.rs:1\npanic frame 0x1\n", false);
    let vm = Vm::start(&fixture.config, Console::Keep, quiet()).unwrap();
    let error = vm.wait_http(1, "/", Duration::from_secs(60)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the guest panicked: at src/x.rs:1; frame 0x1"
    );
}

#[test]
fn running_machine_is_measured_powered_down_and_killed() {
    let mut fixture = fixture("", true);
    fixture.config.ram = config::Ram::Memfd;
    let mut vm = Vm::start(&fixture.config, Console::Keep, quiet()).unwrap();
    assert_eq!(vm.wait_for(Duration::from_millis(50)).unwrap(), None);
    let touched = vm.guest_ram_touched().unwrap();
    assert!(touched > 0 && touched < 64 << 20, "{touched}");
    assert!(vm.host_rss().unwrap() > touched);
    let control = vm.control();
    control.power_down().unwrap();
    control.kill();
    assert!(matches!(vm.wait().unwrap(), Outcome::Vanished(how) if how.contains("signal 9")));
    assert!(control.power_down().is_err());
}

#[test]
fn dropped_machine_leaves_no_process() {
    let fixture = fixture("", true);
    let vm = Vm::start(&fixture.config, Console::Keep, quiet()).unwrap();
    let process = PathBuf::from(format!("/proc/{}", vm.control().pid()));
    assert!(process.exists());
    drop(vm);
    assert!(!process.exists());
}

#[test]
fn impossible_machines_are_refused_before_they_start() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let refused = |change: &dyn Fn(&mut Config), want: &str| {
        let mut fixture = fixture("", true);
        change(&mut fixture.config);
        let error = Vm::start(&fixture.config, Console::Keep, quiet()).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
    };
    refused(
        &|c| {
            c.forwards.push(Forward {
                host: port,
                guest: 80,
            });
        },
        &format!("port {port} of this machine"),
    );
    refused(&|c| c.cpus = 0, "0 CPUs can't be had; use 1 to 64");
    refused(
        &|c| c.memory = MemorySize(16 << 20),
        "16M of memory is too little",
    );
    refused(&|c| c.kernel = "/a,b".into(), "/a,b can't be given to QEMU");
    refused(
        &|c| c.kernel = "/none/kernel".into(),
        "QEMU did not start the machine",
    );
    if kvm_problem().is_some() {
        refused(&|c| c.accel = Accel::Kvm, "--accel kvm can't be used");
    }
    let fixture = fixture("", true);
    fs::remove_file(fixture.dir.path().join("initrd")).unwrap();
    let error = Vm::start(&fixture.config, Console::Keep, quiet()).unwrap_err();
    assert!(
        error.to_string().contains("the image can't be read"),
        "{error}"
    );
}
