//! Disks that a machine without `-kernel` boots, from BIOS and from UEFI: Debian's GRUB, the kernel and an image.
//!
//! ```text
//! sector 0      GRUB's boot.img, with the protective partition table
//!        1      GPT
//!        2048   BIOS boot partition: GRUB's core.img
//!        4096   EFI system partition (FAT): /EFI/BOOT/BOOTX64.EFI, /tyn/kernel, /tyn/app.img
//!               GPT again
//! ```
//! GRUB is made by `grub-mkimage`, with the few commands that load kernel and image inside; there is no menu to wait for. The same
//! input gives the same disk, byte for byte: its identifiers are fixed.
#![forbid(unsafe_code)]

pub mod esp;
pub mod gpt;
pub mod grub;

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

pub use grub::Grub;

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Where partitions begin, in sectors: on whole megabytes.
const BIOS_BOOT: u64 = 2048;
const ESP: u64 = 4096;
/// Sectors of the GPT at the end.
const BACKUP: u64 = 33;

/// What is put on a disk.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The kernel's ELF file.
    pub kernel: &'a Path,
    /// The image.
    pub image: &'a Path,
    /// The kernel's options.
    pub options: &'a str,
    /// GRUB.
    pub grub: &'a Grub,
    /// The raw disk; it appears whole or not at all.
    pub out: &'a Path,
}

/// Why a disk can't be made.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// No GRUB.
    #[error(
        "{what} is missing; install GRUB (Debian packages grub-common, grub-pc-bin and grub-efi-amd64-bin)"
    )]
    NoGrub {
        /// What of it.
        what: String,
    },
    /// It failed.
    #[error("grub-mkimage failed: {0}")]
    Grub(String),
    /// Its files are not as we know them.
    #[error("{} is not what GRUB 2 installs on a disk; reinstall grub-pc-bin", .0.display())]
    Foreign(PathBuf),
    /// An option can't be written into GRUB's configuration.
    #[error(
        "the kernel option '{0}' has characters that GRUB would misread; use letters, digits and . , : / @ = _ - only"
    )]
    Option(String),
    /// A file can't be read or written.
    #[error("{} can't be read or written: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    |error| DiskError::Io {
        path: path.to_path_buf(),
        error,
    }
}

/// Makes a raw disk; returns its length in bytes.
///
/// # Errors
/// [`DiskError`]: what is missing or wrong.
pub fn make(request: &Request<'_>) -> Result<u64, DiskError> {
    let out = request.out;
    let folder = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let built = request.grub.build(request.options, folder)?;
    let size = |path: &Path| {
        fs::metadata(path)
            .map(|meta| meta.len())
            .map_err(io_at(path))
    };
    let files = esp::Files {
        loader: &built.efi,
        kernel: (request.kernel, size(request.kernel)?),
        image: (request.image, size(request.image)?),
    };
    let esp_sectors = files.sectors();
    let sectors = (ESP + esp_sectors + BACKUP).next_multiple_of(2048);
    let disk = tyn_scratch::File::new_in(folder).map_err(io_at(folder))?;
    let mut file = disk.as_file();
    file.set_len(sectors * SECTOR).map_err(io_at(out))?;
    let core_sectors = (built.core.len() as u64).div_ceil(SECTOR);
    let partitions = [
        gpt::Partition {
            kind: gpt::BIOS_BOOT,
            id: 1,
            first: BIOS_BOOT,
            last: ESP - 1,
            name: "grub",
        },
        gpt::Partition {
            kind: gpt::EFI_SYSTEM,
            id: 2,
            first: ESP,
            last: ESP + esp_sectors - 1,
            name: "tyn",
        },
    ];
    if core_sectors > ESP - BIOS_BOOT {
        return Err(DiskError::Grub(
            "its core image is larger than a megabyte".into(),
        ));
    }
    let write = |file: &mut &File| -> io::Result<()> {
        let mut first = grub::boot_sector(&built.boot, BIOS_BOOT);
        gpt::protect(&mut first, sectors);
        put(file, 0, &first)?;
        for (at, bytes) in gpt::tables(&partitions, sectors) {
            put(file, at * SECTOR, &bytes)?;
        }
        put(
            file,
            BIOS_BOOT * SECTOR,
            &grub::core_image(&built.core, BIOS_BOOT),
        )
    };
    write(&mut file).map_err(io_at(out))?;
    files.write(file, ESP * SECTOR, esp_sectors * SECTOR)?;
    disk.keep(out).map_err(io_at(out))?;
    Ok(sectors * SECTOR)
}

fn put(file: &mut &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}
