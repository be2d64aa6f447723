//! Optical discs (ISO 9660, by xorriso) that boot by El Torito: GRUB's own boot image for BIOS, a small FAT volume with GRUB for UEFI.
//! Kernel and image are ordinary files of the disc.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::grub::Medium;
use crate::{DiskError, Request, convert, esp, io_at};

/// What BIOS machines boot, and what UEFI machines do, on the disc.
const BIOS: &str = "boot/bios.img";
const UEFI: &str = "boot/efi.img";
/// The time of everything on the disc: the first second of 1980, in hundredths.
const TIME: &str = "1980010100000000";

/// Makes a disc with the program `xorriso`; returns its length in bytes.
///
/// # Errors
/// [`DiskError`]: what is missing or wrong.
pub fn make(request: &Request<'_>, xorriso: &Path) -> Result<u64, DiskError> {
    let folder = request.folder();
    let built = request
        .grub
        .build(request.options, folder, Medium::OpticalDisc)?;
    let dir = tyn_scratch::Dir::new_in(folder).map_err(io_at(folder))?;
    let tree = dir.path().join("tree");
    for name in ["boot", "tyn"] {
        let name = tree.join(name);
        fs::create_dir_all(&name).map_err(io_at(&name))?;
    }
    let bios = tree.join(BIOS);
    fs::write(&bios, &built.core).map_err(io_at(&bios))?;
    let uefi = tree.join(UEFI);
    let volume = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&uefi);
    esp::write_loader(&volume.map_err(io_at(&uefi))?, &built.efi)?;
    for (name, file) in [(esp::KERNEL, request.kernel), (esp::IMAGE, request.image)] {
        let file = file.canonicalize().map_err(io_at(file))?;
        let link = tree.join(name.trim_start_matches('/'));
        symlink(file, &link).map_err(io_at(&link))?;
    }
    let out = dir.path().join("iso");
    convert::run(&mut command(xorriso, &tree, &out))?;
    let bytes = fs::metadata(&out).map_err(io_at(&out))?.len();
    convert::finish(&out, request.out)?;
    Ok(bytes)
}

/// Returns the command that packs `tree`: all times are fixed, names keep their case (Rock Ridge), files may be larger than 4 GB.
fn command(xorriso: &Path, tree: &Path, out: &PathBuf) -> Command {
    let mut command = Command::new(xorriso);
    command.env("SOURCE_DATE_EPOCH", "315532800");
    command.arg("-as").arg("mkisofs");
    command.arg(format!("--modification-date={TIME}"));
    command.args(["--set_all_file_dates", TIME]);
    command.args(["-quiet", "-r", "-f", "-iso-level", "3", "-V", "TYN"]);
    command.args(["-b", BIOS, "-no-emul-boot", "-boot-load-size", "4"]);
    command.args(["-boot-info-table", "-eltorito-alt-boot"]);
    command.args(["-e", UEFI, "-no-emul-boot", "-o"]);
    command.arg(out).arg(tree);
    command
}
