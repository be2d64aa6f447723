//! The guests that are compared: Tyn, and the Linux kernels of `bench/linux-guest.sh` around the very same image.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use tyn_fs::cpio::Entries;
use tyn_release::cpio::Writer;
use tyn_vm_host::Machine;

use super::Linux;
use crate::{command, example, kernel, paths, sysroot};

/// The trimmed Linux.
pub(super) const LINUX: &str = "linux-tiny";

/// Linux's kernel options: what a host of one program wants, without mitigations, as Tyn has none to compare.
const APPEND: &str = "console=ttyS0 quiet loglevel=3 mitigations=off random.trust_cpu=on tsc=reliable nokaslr reboot=t";

/// One system to be compared.
pub(crate) struct Guest {
    pub(super) name: &'static str,
    pub(super) machine: Machine,
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
    pub(crate) append: &'static str,
}

/// Builds the Linux kernels (`only`: one of them) unless that was done; returns their folder.
fn kernels(only: Option<&str>) -> Result<PathBuf> {
    let linux = paths::target().join("bench").join("linux");
    let script = paths::root().join("bench/linux-guest.sh");
    command::run(Command::new(script).arg(&linux).args(only))?;
    Ok(linux)
}

/// Builds the image of the example.
pub(super) fn example_image() -> Result<PathBuf> {
    let sysroot = sysroot::ensure()?;
    let release = example::ensure(&sysroot)?;
    let image = paths::target().join("bench").join("example.img");
    fs::create_dir_all(paths::target().join("bench"))?;
    let choices = tyn_release::Choices {
        release: None,
        start: None,
        sysroot: sysroot.dir(),
        otp: None,
    };
    let app = tyn_release::Input::detect(&release)?.open(&choices)?;
    let request = tyn_release::Request {
        app: &app,
        includes: &[],
        out: &image,
        latest: Some(0),
        strip_beams: false,
        skip_foreign: false,
        strip_elf: false,
        epmd: false,
        compress: false,
    };
    tyn_release::build(&request, &mut |_| {})?;
    Ok(image)
}

/// Returns Tyn and all Linux guests with the example's image, on two machine types.
pub(super) fn with_example() -> Result<Vec<Guest>> {
    let image = example_image()?;
    let mut guests = Vec::new();
    for machine in [Machine::Q35, Machine::Microvm] {
        let on = |guest| Guest { machine, ..guest };
        guests.push(on(tyn(&image)?));
        guests.push(on(trimmed_linux(&image)?));
        if machine == Machine::Q35 {
            guests.push(cloud_linux(&image)?);
        }
    }
    Ok(guests)
}

/// Returns Tyn with an image.
pub(super) fn tyn(image: &Path) -> Result<Guest> {
    Ok(Guest {
        name: "tyn",
        machine: Machine::Q35,
        kernel: kernel::build()?,
        initrd: image.to_path_buf(),
        append: "",
    })
}

/// Returns a Linux with an image.
pub(super) fn linux(which: Linux, image: &Path) -> Result<Guest> {
    match which {
        Linux::Tiny => trimmed_linux(image),
        Linux::Cloud => cloud_linux(image),
    }
}

/// Returns the trimmed Linux with an image.
pub(super) fn trimmed_linux(image: &Path) -> Result<Guest> {
    let linux = kernels(None)?;
    Ok(Guest {
        name: LINUX,
        machine: Machine::Q35,
        kernel: linux.join("vmlinux-tiny"),
        initrd: with_linux_init(image, &linux, &[])?,
        append: APPEND,
    })
}

/// Returns Debian's Linux with an image.
pub(crate) fn cloud_linux(image: &Path) -> Result<Guest> {
    let linux = kernels(Some("cloud"))?;
    Ok(Guest {
        name: "linux-cloud-pvh",
        machine: Machine::Q35,
        kernel: linux.join("vmlinux-cloud"),
        initrd: with_linux_init(image, &linux, &["failover", "net_failover", "virtio_net"])?,
        append: APPEND,
    })
}

/// Appends an archive with Linux's init, and the modules that its kernel lacks, to the image.
fn with_linux_init(image: &Path, linux: &Path, modules: &[&str]) -> Result<PathBuf> {
    let mut bytes = whole(&fs::read(image)?)?;
    let mut writer = Writer::new(Vec::new(), 0);
    let init = fs::read(linux.join("init"))?;
    writer.file(
        Path::new("/init"),
        0o755,
        init.len() as u64,
        &mut init.as_slice(),
    )?;
    writer.dir(Path::new("/modules"), 0o755)?;
    let mut order = String::new();
    for module in modules {
        let name = format!("{module}.ko");
        let module = fs::read(linux.join("modules").join(&name))?;
        let path = Path::new("/modules").join(&name);
        writer.file(&path, 0o644, module.len() as u64, &mut module.as_slice())?;
        order += &format!("{name}\n");
    }
    writer.file(
        Path::new("/modules/order"),
        0o644,
        order.len() as u64,
        &mut order.as_bytes(),
    )?;
    bytes.extend(writer.finish()?.0);
    let name = image.file_stem().unwrap_or_default().to_string_lossy();
    let path = linux.join(format!("{name}-{}.cpio", modules.len()));
    fs::write(&path, bytes)?;
    Ok(path)
}

/// Returns the archive with all bytes of its files: Linux knows nothing of zeros that are left out.
fn whole(image: &[u8]) -> Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new(), 0);
    for entry in Entries::new(image) {
        let entry = entry.map_err(|error| anyhow::anyhow!("the image: {error}"))?;
        let (path, mode) = (
            Path::new(OsStr::from_bytes(entry.name)),
            entry.mode & 0o7777,
        );
        match entry.mode & 0o170_000 {
            0o040_000 => writer.dir(path, mode)?,
            0o120_000 => writer.symlink(path, Path::new(OsStr::from_bytes(entry.data)))?,
            _ => {
                let bytes = entry.contents();
                writer.file(path, mode, entry.len(), &mut &bytes[..])?;
            }
        }
    }
    Ok(writer.finish()?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_gets_the_zeros_that_an_image_leaves_out() {
        let file = [vec![1; 4096], vec![0; 20 * 4096], vec![2; 5]].concat();
        let mut writer = Writer::new(Vec::new(), 0);
        let (path, len) = (Path::new("/a/b"), file.len() as u64);
        writer.dir(Path::new("/a"), 0o700).unwrap();
        writer
            .sparse_file(path, 0o755, len, &[(1, 20)], &mut &file[..])
            .unwrap();
        let image = writer.finish().unwrap().0;
        let whole = whole(&image).unwrap();
        assert!(whole.len() > file.len() && image.len() < file.len());
        let entries: Vec<_> = Entries::new(&whole).flatten().collect();
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0].mode, entries[1].mode), (0o040_700, 0o100_755));
        assert!(entries[1].data == file && entries[1].name == b"a/b");
    }
}
