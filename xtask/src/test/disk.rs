//! Disks that `tyn image` makes boot by themselves: by SeaBIOS and by OVMF, through GRUB, as a release that serves and stops.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
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
        ("/usr/bin/xorriso", "xorriso"),
        (OVMF, "ovmf"),
    ])?;
    let dir = tempfile::tempdir()?;
    let (lab, at) = (&lab, dir.path());
    let mut tally = Tally::default();
    // They make the disks. What boots has its disk for itself.
    tally.count("same_input_gives_the_same_disk", same(lab, at));
    for format in ["qcow2", "vmdk"] {
        let name = format!("{format}_holds_the_sectors_of_raw");
        tally.count(&name, holds_the_same(lab, at, format));
    }
    tally.count("gce_is_as_its_importer_wants_it", unpack_gce(lab, at));
    tally.count_two_at_a_time(BOOTS, |&(format, firmware), tally| {
        let name = match firmware {
            Firmware::Bios => format!("{format}_boots_by_bios"),
            Firmware::Uefi => format!("{format}_boots_by_uefi"),
        };
        tally.count(&name, boots(lab, at, format, firmware));
    });
    Ok(tally)
}

/// What is booted: a format of disks, by which firmware.
const BOOTS: &[(&str, Firmware)] = &[
    ("raw", Firmware::Bios),
    ("qcow2", Firmware::Uefi),
    ("vmdk", Firmware::Bios),
    ("iso", Firmware::Bios),
    ("iso", Firmware::Uefi),
    ("gce", Firmware::Uefi),
];

/// What starts a machine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF.
    Uefi,
}

/// Returns the disk of a format, which is made the first time.
fn disk(lab: &Lab, dir: &Path, format: &str) -> Result<PathBuf> {
    let disk = dir.join(format);
    if !disk.exists() {
        make(lab, &disk, format)?;
    }
    Ok(disk)
}

fn make(lab: &Lab, disk: &Path, format: &str) -> Result<()> {
    let mut image = lab.tyn();
    image
        .arg("image")
        .arg(&lab.image)
        .args(["--format", format, "--append", "trace"]);
    output(image.arg("--output").arg(disk)).map(drop)
}

fn same(lab: &Lab, dir: &Path) -> Result<()> {
    for format in ["raw", "iso", "vmdk", "qcow2"] {
        let again = dir.join("again");
        make(lab, &again, format)?;
        ensure!(
            fs::read(disk(lab, dir, format)?)? == fs::read(again)?,
            "two disks of one image differ: {format}"
        );
    }
    Ok(())
}

/// What a machine reads from the disk is what it reads from the raw one.
fn holds_the_same(lab: &Lab, dir: &Path, format: &str) -> Result<()> {
    let mut compare = Command::new("qemu-img");
    compare.args(["compare", "-f", "raw", "-F", format]);
    compare.arg(disk(lab, dir, "raw")?);
    output(compare.arg(disk(lab, dir, format)?)).map(drop)
}

/// GNU tar finds one file in the archive, a disk of whole gigabytes; it takes the archive's place.
fn unpack_gce(lab: &Lab, dir: &Path) -> Result<()> {
    let archive = disk(lab, dir, "gce")?;
    let mut list = Command::new("tar");
    let listed = output(list.arg("-tzf").arg(&archive))?;
    ensure!(listed.trim() == "disk.raw", "it holds {listed}");
    let mut unpack = Command::new("tar");
    output(unpack.arg("-xzf").arg(&archive).arg("-C").arg(dir))?;
    let raw = dir.join("disk.raw");
    let length = raw.metadata()?.len();
    ensure!(length > 0 && length % (1 << 30) == 0, "{length} bytes");
    fs::rename(raw, archive)?;
    Ok(())
}

/// The disk boots, serves and stops.
fn boots(lab: &Lab, dir: &Path, format: &str, firmware: Firmware) -> Result<()> {
    let file = disk(lab, dir, format)?;
    let file = file.display();
    let drive = match (format, firmware) {
        ("iso", _) => format!("file={file},format=raw,media=cdrom,readonly=on"),
        // An archive of a raw disk.
        ("gce", _) => format!("file={file},format=raw,if=virtio"),
        // Can't be written to.
        ("vmdk", _) => format!("file={file},format=vmdk,if=ide,snapshot=on"),
        (_, Firmware::Bios) => format!("file={file},format={format},if=ide"),
        (_, Firmware::Uefi) => format!("file={file},format={format},if=virtio"),
    };
    let machine: &[&str] = match firmware {
        Firmware::Bios => &["-machine", "pc"],
        Firmware::Uefi => &["-machine", "q35", "-bios", OVMF],
    };
    let own = tempfile::tempdir_in(dir)?;
    Machine::start(own.path(), &[machine, &["-drive", &drive]].concat())?.serves_and_stops()
}

/// A machine without `-kernel`; ends when it is dropped.
struct Machine<'a> {
    qemu: Child,
    port: u16,
    dir: &'a Path,
}

impl<'a> Machine<'a> {
    fn start(dir: &'a Path, args: &[&str]) -> Result<Self> {
        let port = *free_ports(1)?.first().context("no free port")?;
        let file = |name: &str| dir.join(name).display().to_string();
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
        let said = |name: &str| fs::read_to_string(self.dir.join(name)).unwrap_or_default();
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
        let mut qmp = Qmp::new(UnixStream::connect(self.dir.join("qmp"))?)?;
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
