//! How much is read into memory: files that others made may be of any length, and a small compressed one may unpack to a flood of
//! zeros.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Longest image or other file that is read whole, in bytes. An image is a part of a guest's memory.
const MAX_WHOLE: u64 = 4 << 30;
/// Longest text: scripts, terms, descriptions, in bytes.
const MAX_TEXT: u64 = 16 << 20;

/// The file system of pipes without a name (`PIPEFS_MAGIC` of linux/magic.h).
const PIPEFS: u64 = 0x5049_5045;

/// Returns the most that is read of one file: not more than half of this machine's memory.
#[must_use]
pub(crate) fn whole() -> u64 {
    let info = rustix::system::sysinfo();
    let memory = info.totalram.saturating_mul(u64::from(info.mem_unit));
    MAX_WHOLE.min(memory / 2)
}

/// Reads a file.
///
/// # Errors
/// When it can't be read or is longer than [`whole`].
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_at_most(path, whole())
}

/// Reads a file of text.
///
/// # Errors
/// When it can't be read, is longer than 16 MiB or is no UTF-8.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let bytes = read_at_most(path, MAX_TEXT)?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Reads a script; `None` when the file can't be read, is none or is longer than 16 MiB.
#[must_use]
pub(crate) fn read_script(path: &Path) -> Option<String> {
    let mut start = Vec::new();
    let file = File::open(path).ok()?;
    file.take(2).read_to_end(&mut start).ok()?;
    let is_script = start == b"#!";
    let bytes = is_script.then(|| read_at_most(path, MAX_TEXT).ok())??;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let too_long = || too_large(format!("it is longer than {} MiB", most >> 20));
    if length > most {
        return Err(too_long());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(too_long()),
        false => Ok(bytes),
    }
}

/// Reads what a decoder gives.
///
/// # Errors
/// When what it decodes is damaged, or gives more than `most` bytes.
pub(crate) fn unpack(decoder: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    copy(decoder, &mut bytes, most)?;
    Ok(bytes)
}

/// Copies what a decoder gives.
///
/// # Errors
/// As [`unpack`], and when it can't be written.
pub(crate) fn copy(decoder: impl Read, to: &mut impl io::Write, most: u64) -> io::Result<()> {
    let copied = io::copy(&mut decoder.take(most.saturating_add(1)), to)?;
    match copied > most {
        true => Err(too_large(format!(
            "it unpacks to more than {} MiB",
            most >> 20
        ))),
        false => Ok(()),
    }
}

fn too_large(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, what)
}

/// Returns how much more a folder's disk takes, in bytes.
///
/// # Errors
/// When it can't be asked.
pub(crate) fn room(dir: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(dir)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Returns whether a path is something that may have nothing to read, or no end: a pipe, a socket, a device.
#[must_use]
pub(crate) fn is_special(kind: fs::FileType) -> bool {
    !kind.is_file() && !kind.is_dir()
}

/// Returns whether a path is a pipe without a name, of which we were given an end (`<(COMMAND)`, `/dev/stdin`). Who opens a named
/// one waits until somebody writes, which may be never.
#[must_use]
pub fn is_unnamed_pipe(path: &Path) -> bool {
    // A named one is of the file system that it lies in.
    let is_pipefs = |stat: rustix::fs::StatFs| u64::try_from(stat.f_type) == Ok(PIPEFS);
    rustix::fs::statfs(path).is_ok_and(is_pipefs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "#!/bin/sh\n").unwrap();
        assert_eq!(read_script(&file).unwrap(), "#!/bin/sh\n");
        fs::write(&file, "12345").unwrap();
        assert_eq!(read_script(&file), None);
        assert_eq!(read_at_most(&file, 5).unwrap(), b"12345");
        let error = read_at_most(&file, 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        // A device says nothing about its length.
        let error = read_at_most(Path::new("/dev/zero"), 1 << 20).unwrap_err();
        assert_eq!(error.to_string(), "it is longer than 1 MiB");
        // 1 TiB that takes no room on the disk.
        File::create(&file).unwrap().set_len(1 << 40).unwrap();
        assert!(read(&file).is_err());
        assert!(read_text(&file).is_err());
    }

    #[test]
    fn what_unpacks_to_more_is_not_kept() {
        assert_eq!(unpack(&b"12345"[..], 5).unwrap(), b"12345");
        let mut kept = Vec::new();
        let error = copy(io::repeat(0), &mut kept, 1 << 20).unwrap_err();
        assert_eq!(error.to_string(), "it unpacks to more than 1 MiB");
        assert_eq!(kept.len(), (1 << 20) + 1);
    }
}
