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
//! input gives the same disk, byte for byte: its identifiers are fixed. [`convert`] and [`gce`] make other formats of such a disk,
//! [`iso`] an optical disc.
#![forbid(unsafe_code)]

pub mod convert;
pub mod esp;
pub mod gce;
pub mod gpt;
pub mod grub;
pub mod iso;

use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

pub use grub::Grub;
use grub::Medium;

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
    /// What is made; it appears whole or not at all.
    pub out: &'a Path,
}

impl<'a> Request<'a> {
    /// Where temporary files are made: beside what is made.
    fn folder(&self) -> &'a Path {
        let parent = self.out.parent();
        let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or(Path::new("."))
    }
}

/// A raw disk that was made. Lengths and places are in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// Its length.
    pub bytes: u64,
    /// The end of its data.
    pub data: u64,
    /// Where the partition table at its end begins; there is nothing before it, down to the data.
    pub backup: u64,
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
    /// It makes what has no room.
    #[error("GRUB's core image is larger than a megabyte")]
    CoreTooLarge,
    /// A tool failed.
    #[error("{tool} failed: {text}")]
    Tool {
        /// Its name.
        tool: String,
        /// What it said.
        text: String,
    },
    /// A tool's file is not as we know them.
    #[error("{} is not what {}", .0.display(), .1)]
    Foreign(PathBuf, &'static str),
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

/// Makes a raw disk, a multiple of `multiple` bytes long (which is one of a megabyte itself).
///
/// # Errors
/// [`DiskError`]: what is missing or wrong.
pub fn make(request: &Request<'_>, multiple: u64) -> Result<Made, DiskError> {
    let (out, folder) = (request.out, request.folder());
    let built = request.grub.build(request.options, folder, Medium::Disk)?;
    if built.core.len() as u64 > (ESP - BIOS_BOOT) * SECTOR {
        return Err(DiskError::CoreTooLarge);
    }
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
    let data = (ESP + files.sectors()) * SECTOR;
    let bytes = (data + BACKUP * SECTOR).next_multiple_of(multiple);
    let disk = tyn_scratch::File::new_in(folder).map_err(io_at(folder))?;
    let mut file = disk.as_file();
    file.set_len(bytes).map_err(io_at(out))?;
    write_front(&mut file, &built, files.sectors(), bytes / SECTOR).map_err(io_at(out))?;
    files.write(file, ESP * SECTOR, files.sectors() * SECTOR)?;
    disk.keep(out).map_err(io_at(out))?;
    let backup = bytes - BACKUP * SECTOR;
    Ok(Made {
        bytes,
        data,
        backup,
    })
}

/// Writes the tables of partitions and GRUB for BIOS machines.
fn write_front(
    disk: &mut &fs::File,
    built: &grub::Built,
    esp_sectors: u64,
    sectors: u64,
) -> io::Result<()> {
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
    let mut first = grub::boot_sector(&built.boot, BIOS_BOOT);
    gpt::protect(&mut first, sectors);
    put(disk, 0, &first)?;
    for (at, bytes) in gpt::tables(&partitions, sectors) {
        put(disk, at * SECTOR, &bytes)?;
    }
    let core = grub::core_image(&built.core, BIOS_BOOT);
    put(disk, BIOS_BOOT * SECTOR, &core)
}

fn put(file: &mut &fs::File, at: u64, bytes: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}
