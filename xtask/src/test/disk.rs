//! Disks that `tyn image` makes boot by themselves: by SeaBIOS and by OVMF, through GRUB, as a release that serves and stops.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tyn_vm_host::http;
use tyn_vm_host::qmp::Qmp;

use super::Tally;
use crate::command::output;
use crate::debian;
use crate::lab::{ANSWER_LIMIT, GUEST_PORT, Lab, STOP_LIMIT, free_ports};

/// UEFI firmware of Debian's package ovmf.
const OVMF: &str = "/usr/share/ovmf/OVMF.fd";

/// Runs all tests of disks.
pub(super) fn run() -> Result<Tally> {
    let lab = Lab::new()?;
    debian::ensure_files(&[
        ("/usr/bin/grub-mkimage", "grub-common"),
        ("/usr/lib/grub/i386-pc/boot.img", "grub-pc-bin"),
        (
            "/usr/lib/grub/x86_64-efi/multiboot2.mod",
            "grub-efi-amd64-bin",
        ),
        ("/usr/bin/qemu-img", "qemu-utils"),
        (OVMF, "ovmf"),
    ])?;
    let dir = tempfile::tempdir()?;
    let mut tally = Tally::default();
    tally.count("same_input_gives_the_same_disk", same(&lab, &dir));
    tally.count("raw_disk_boots_by_bios", by_bios(&lab, &dir));
    tally.count("qcow2_disk_boots_by_uefi", by_uefi(&lab, &dir));
    Ok(tally)
}

/// Makes a disk.
fn make(lab: &Lab, disk: &Path, format: &str) -> Result<()> {
    let mut image = lab.tyn();
    image
        .arg("image")
        .arg(&lab.image)
        .args(["--format", format, "--append", "trace"]);
    output(image.arg("--output").arg(disk)).map(drop)
}

fn same(lab: &Lab, dir: &TempDir) -> Result<()> {
    let [a, b] = ["a.raw", "b.raw"].map(|name| dir.path().join(name));
    make(lab, &a, "raw")?;
    make(lab, &b, "raw")?;
    ensure!(
        fs::read(a)? == fs::read(b)?,
        "two disks of one image differ"
    );
    Ok(())
}

fn by_bios(lab: &Lab, dir: &TempDir) -> Result<()> {
    let disk = dir.path().join("disk.raw");
    make(lab, &disk, "raw")?;
    let drive = format!("file={},format=raw,if=ide", disk.display());
    Machine::start(dir, &["-machine", "pc", "-drive", &drive])?.serves_and_stops()
}

fn by_uefi(lab: &Lab, dir: &TempDir) -> Result<()> {
    let disk = dir.path().join("disk.qcow2");
    make(lab, &disk, "qcow2")?;
    let drive = format!("file={},format=qcow2,if=virtio", disk.display());
    Machine::start(dir, &["-machine", "q35", "-bios", OVMF, "-drive", &drive])?.serves_and_stops()
}

/// A machine without `-kernel`; ends when it is dropped.
struct Machine<'a> {
    qemu: Child,
    port: u16,
    dir: &'a TempDir,
}

impl<'a> Machine<'a> {
    fn start(dir: &'a TempDir, args: &[&str]) -> Result<Self> {
        let port = *free_ports(1)?.first().context("no free port")?;
        let file = |name: &str| dir.path().join(name).display().to_string();
        for name in ["qmp", "report"] {
            // Left by the machine before.
            let _ = fs::remove_file(file(name));
        }
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-nodefaults", "-no-reboot", "-display", "none"]);
        qemu.args([
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "512M",
        ]);
        qemu.args(["-serial", &format!("file:{}", file("console"))]);
        qemu.args(["-debugcon", &format!("file:{}", file("report"))]);
        qemu.args(["-qmp", &format!("unix:{},server=on,wait=off", file("qmp"))]);
        qemu.args([
            "-netdev",
            &format!("user,id=net,hostfwd=tcp:127.0.0.1:{port}-:{GUEST_PORT}"),
        ]);
        qemu.args(["-device", "virtio-net-pci,netdev=net,romfile="])
            .args(args);
        let qemu = qemu.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        Ok(Self { qemu, port, dir })
    }

    fn serves_and_stops(mut self) -> Result<()> {
        let qemu = &mut self.qemu;
        let answer = http::wait(self.port, "/", ANSWER_LIMIT, || {
            qemu.try_wait().is_ok_and(|status| status.is_some())
        });
        let said = |name: &str| fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        let answer = answer.with_context(|| {
            format!(
                "no answer; console: {}; report: {}",
                said("console"),
                said("report")
            )
        })?;
        ensure!(
            answer.body.contains("on 2 schedulers"),
            "it says: {}",
            answer.body
        );
        let mut qmp = Qmp::new(UnixStream::connect(self.dir.path().join("qmp"))?)?;
        qmp.execute("system_powerdown")?;
        let start = Instant::now();
        while self.qemu.try_wait()?.is_none() {
            ensure!(start.elapsed() < STOP_LIMIT, "it does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
        let report = said("report");
        ensure!(
            report.lines().any(|line| line == "exit 0"),
            "it ended otherwise: {report}"
        );
        // The kernel's options came along.
        ensure!(report.contains("\ntrace "), "nothing was traced: {report}");
        Ok(())
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        // It has ended already, if all went well.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
