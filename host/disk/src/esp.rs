//! The EFI system partition: a FAT file system with GRUB for UEFI, the kernel and the image.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};

use crate::{DiskError, SECTOR, io_at};

/// Where the kernel is on the partition.
pub const KERNEL: &str = "/tyn/kernel";
/// Where the image is on the partition.
pub const IMAGE: &str = "/tyn/app.img";
/// Where UEFI looks for what boots from a disk that it doesn't know.
const LOADER: &str = "/EFI/BOOT/BOOTX64.EFI";
/// Room besides the files: tables and folders.
const SLACK: u64 = 4 << 20;
/// The same where nothing but the loader is.
const LOADER_SLACK: u64 = 64 << 10;
/// Smallest partition: one of FAT32 can't be smaller.
const LEAST: u64 = 40 << 20;

/// What is on the partition.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// GRUB.
    pub loader: &'a [u8],
    /// The kernel's file, and its length in bytes.
    pub kernel: (&'a Path, u64),
    /// The image's file, and its length in bytes.
    pub image: (&'a Path, u64),
}

impl Files<'_> {
    /// Returns how many sectors the partition takes.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        let files = self.loader.len() as u64 + self.kernel.1 + self.image.1;
        // A hundredth for the allocation tables.
        let bytes = (files + files / 100 + SLACK).max(LEAST);
        bytes.next_multiple_of(1 << 20) / SECTOR
    }

    /// Writes the partition to `disk`, from byte `start`, `len` bytes long, which are zero so far.
    ///
    /// # Errors
    /// When a file can't be read or the disk written.
    pub fn write(&self, disk: &File, start: u64, len: u64) -> Result<(), DiskError> {
        let here = || io_at(Path::new("the disk"));
        let part = Part {
            disk,
            start,
            len,
            at: 0,
        };
        let volume = format(part, fatfs::FatType::Fat32).map_err(here())?;
        put_loader(&volume, self.loader).map_err(here())?;
        let root = volume.root_dir();
        root.create_dir("tyn").map_err(here())?;
        for (path, (source, _)) in [(KERNEL, self.kernel), (IMAGE, self.image)] {
            let mut input = File::open(source).map_err(io_at(source))?;
            let file = root.create_file(path.trim_start_matches('/'));
            io::copy(&mut input, &mut file.map_err(here())?).map_err(here())?;
        }
        drop(root);
        volume.unmount().map_err(here())
    }
}

/// Makes the empty file `volume` a FAT volume that holds GRUB only: what UEFI starts from an optical disc.
///
/// # Errors
/// When it can't be written.
pub fn write_loader(volume: &File, loader: &[u8]) -> Result<(), DiskError> {
    let write = || {
        let len = (loader.len() as u64 + LOADER_SLACK).next_multiple_of(1 << 20);
        volume.set_len(len)?;
        let part = Part {
            disk: volume,
            start: 0,
            len,
            at: 0,
        };
        let volume = format(part, fatfs::FatType::Fat12)?;
        put_loader(&volume, loader)?;
        volume.unmount()
    };
    write().map_err(io_at(Path::new("the volume for UEFI")))
}

/// Makes a file system without files.
fn format(mut part: Part<'_>, kind: fatfs::FatType) -> io::Result<FileSystem<Part<'_>>> {
    let options = FormatVolumeOptions::new()
        .fat_type(kind)
        .volume_id(0x7479_6e30)
        .volume_label(*b"TYN        ");
    fatfs::format_volume(&mut part, options)?;
    FileSystem::new(part, FsOptions::new())
}

/// Puts GRUB where UEFI looks for it.
fn put_loader(volume: &FileSystem<Part<'_>>, loader: &[u8]) -> io::Result<()> {
    let root = volume.root_dir();
    for folder in ["EFI", "EFI/BOOT"] {
        root.create_dir(folder)?;
    }
    let mut file = root.create_file(LOADER.trim_start_matches('/'))?;
    file.write_all(loader)
}

/// A range of a file.
#[derive(Debug)]
struct Part<'a> {
    disk: &'a File,
    start: u64,
    len: u64,
    at: u64,
}

impl Part<'_> {
    /// Goes to where we are; returns how much of `wanted` is left there.
    fn go(&mut self, wanted: usize) -> io::Result<usize> {
        self.disk.seek(SeekFrom::Start(self.start + self.at))?;
        let left = self.len.saturating_sub(self.at);
        Ok(usize::try_from(left).map_or(wanted, |left| wanted.min(left)))
    }
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.go(buffer.len())?;
        let count = self.disk.read(&mut buffer[..length])?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Write for Part<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = self.go(buffer.len())?;
        let count = self.disk.write(&buffer[..length])?;
        self.at += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.flush()
    }
}

impl Seek for Part<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_again_within_their_range() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let image = vec![7; 3_000_001];
        let (kernel, image_file) = (write("kernel", b"kernel"), write("image", &image));
        let files = Files {
            loader: b"loader",
            kernel: (&kernel, 6),
            image: (&image_file, image.len() as u64),
        };
        let len = files.sectors() * SECTOR;
        let disk = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(dir.path().join("disk"))
            .unwrap();
        disk.set_len(len + (2 << 20)).unwrap();
        files.write(&disk, 1 << 20, len).unwrap();
        let part = Part {
            disk: &disk,
            start: 1 << 20,
            len,
            at: 0,
        };
        let volume = FileSystem::new(part, FsOptions::new()).unwrap();
        let read = |path: &str| {
            let mut bytes = Vec::new();
            volume
                .root_dir()
                .open_file(path)
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap();
            bytes
        };
        assert_eq!(read("EFI/BOOT/BOOTX64.EFI"), b"loader");
        assert_eq!(read("tyn/kernel"), b"kernel");
        assert!(read("tyn/app.img") == image);
        // Nothing before or behind it.
        for at in [0, (1 << 20) + len] {
            let mut edge = vec![1; 1 << 20];
            (&disk).seek(SeekFrom::Start(at)).unwrap();
            (&disk).read_exact(&mut edge).unwrap();
            assert!(edge.iter().all(|&byte| byte == 0), "{at}");
        }
    }
}
