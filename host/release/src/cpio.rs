//! Writer of cpio "newc" archives whose file data is page-aligned (`tyn_bootfmt`; the reader is `tyn_fs::cpio`).
//!
//! Names are padded with NUL bytes so that data begins on a [`DATA_ALIGN`] boundary; the format counts the padding as part
//! of the name, so `cpio -it` lists such an archive. Linux skips entries whose name, with padding, is longer than its
//! `PATH_MAX`; where that would happen, the folder before is written once more, which moves the rest on and changes nothing
//! else. What is written depends on the input only: inode numbers count up,
//! owner is root, and all times are the one given.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tyn_bootfmt::DATA_ALIGN;

const HEADER_LEN: u64 = 110;
const ALIGN: u64 = DATA_ALIGN as u64;
/// Longest name that Linux takes, with its padding.
const PATH_MAX: u64 = 4096;
/// Name of the entry that ends an archive.
pub const TRAILER: &[u8] = b"TRAILER!!!";

const TYPE_DIR: u32 = 0o040_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_SYMLINK: u32 = 0o120_000;

/// Writes one archive.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    offset: u64,
    inode: u32,
    mtime: u32,
    /// The last folder that was written, and its permissions.
    last_dir: (Vec<u8>, u32),
}

/// One header's fields that differ between entries.
struct Header<'a> {
    name: &'a [u8],
    mode: u32,
    nlink: u32,
    size: u32,
}

impl<W: Write> Writer<W> {
    /// Starts an archive; every entry gets the time `mtime` (seconds since 1970).
    pub fn new(out: W, mtime: u32) -> Self {
        Self {
            out,
            offset: 0,
            inode: 0,
            mtime,
            last_dir: (b".".to_vec(), 0o755),
        }
    }

    /// Adds a directory with the permissions `mode`.
    ///
    /// # Errors
    /// When writing fails.
    pub fn dir(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        self.last_dir = (name(path).to_vec(), mode);
        self.repeat_dir()
    }

    /// Writes the last folder, again.
    fn repeat_dir(&mut self) -> io::Result<()> {
        let (name, mode) = self.last_dir.clone();
        let header = Header {
            name: &name,
            mode: TYPE_DIR | mode,
            nlink: 2,
            size: 0,
        };
        self.header(&header, 4)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// When writing fails.
    pub fn symlink(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        let target = target.as_os_str().as_bytes();
        let size = u32::try_from(target.len()).map_err(io::Error::other)?;
        self.header(
            &Header {
                name: name(path),
                mode: TYPE_SYMLINK | 0o777,
                nlink: 1,
                size,
            },
            4,
        )?;
        self.write(target)?;
        self.pad(4)
    }

    /// Adds a file of exactly `size` bytes with the permissions `mode`.
    ///
    /// # Errors
    /// When reading or writing fails, when the data has another length, or 4 GiB or more.
    pub fn file(
        &mut self,
        path: &Path,
        mode: u32,
        size: u64,
        data: &mut dyn Read,
    ) -> io::Result<()> {
        let short_size = u32::try_from(size)
            .map_err(|_| io::Error::other("files of 4 GiB and more can't be in an image"))?;
        let align = if size == 0 { 4 } else { ALIGN };
        if name(path).len() as u64 >= PATH_MAX {
            return Err(io::Error::other("its path is too long"));
        }
        while align > 4 && self.padded_name_len(name(path)) > PATH_MAX {
            self.repeat_dir()?;
        }
        self.header(
            &Header {
                name: name(path),
                mode: TYPE_FILE | mode,
                nlink: 1,
                size: short_size,
            },
            align,
        )?;
        let copied = io::copy(&mut data.take(size.saturating_add(1)), &mut self.out)?;
        if copied != size {
            return Err(io::Error::other("it changed while it was read; try again"));
        }
        self.offset += copied;
        self.pad(4)
    }

    /// Ends the archive, padded to a multiple of [`DATA_ALIGN`], and returns what it was written to and its length.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.inode = u32::MAX;
        self.header(
            &Header {
                name: TRAILER,
                mode: 0,
                nlink: 1,
                size: 0,
            },
            4,
        )?;
        self.pad(ALIGN)?;
        self.out.flush()?;
        Ok((self.out, self.offset))
    }

    /// Returns how long a name would be with padding up to the next page.
    fn padded_name_len(&self, name: &[u8]) -> u64 {
        let name_at = self.offset + HEADER_LEN;
        (name_at + name.len() as u64 + 1).next_multiple_of(ALIGN) - name_at
    }

    /// Writes header and name; pads the name so that what follows is on a multiple of `align`.
    fn header(&mut self, header: &Header<'_>, align: u64) -> io::Result<()> {
        self.inode = self.inode.wrapping_add(1);
        let name_len = header.name.len() as u64 + 1;
        let end = (self.offset + HEADER_LEN + name_len).next_multiple_of(align);
        // Alignment to 4 bytes is part of the format and not counted; more of it is padding of the name.
        let name_field = if align > 4 {
            self.padded_name_len(header.name)
        } else {
            name_len
        };
        let fields = [
            u64::from(self.inode),
            u64::from(header.mode),
            0,
            0,
            u64::from(header.nlink),
            u64::from(self.mtime),
            u64::from(header.size),
            0,
            0,
            0,
            0,
            name_field,
            0,
        ];
        let mut text = String::from("070701");
        for field in fields {
            text.push_str(&format!("{field:08X}"));
        }
        self.write(text.as_bytes())?;
        self.write(header.name)?;
        self.zeros(end - self.offset)
    }

    fn pad(&mut self, align: u64) -> io::Result<()> {
        self.zeros(self.offset.next_multiple_of(align) - self.offset)
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        io::copy(&mut io::repeat(0).take(count), &mut self.out)?;
        self.offset += count;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

/// Archives hold paths without the leading slash; the root itself is `.`.
fn name(path: &Path) -> &[u8] {
    match path
        .strip_prefix("/")
        .unwrap_or(path)
        .as_os_str()
        .as_bytes()
    {
        b"" => b".",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padded_names_stay_within_what_linux_takes() {
        // Data lengths that leave the next header everywhere in a page, and names of all lengths.
        let mut writer = Writer::new(Vec::new(), 0);
        writer.dir(Path::new("/d"), 0o711).unwrap();
        let mut files = 0;
        for size in (1..4096).step_by(37) {
            let path = format!("/d/{}", "n".repeat(size % 250 + 1));
            let data = vec![b'x'; size];
            writer
                .file(Path::new(&path), 0o644, size as u64, &mut data.as_slice())
                .unwrap();
            files += 1;
        }
        let (bytes, _) = writer.finish().unwrap();
        let mut dirs = 0;
        for entry in tyn_fs::cpio::Entries::new(&bytes) {
            let entry = entry.unwrap();
            // The size of the name, with padding, is the field at 94 of the header in front of the name.
            let name_at = entry.name.as_ptr().addr() - bytes.as_ptr().addr();
            let field = &bytes[name_at - 16..name_at - 8];
            let name_len = u64::from_str_radix(str::from_utf8(field).unwrap(), 16).unwrap();
            assert!(name_len <= PATH_MAX);
            match entry.mode {
                0o040_711 => dirs += 1,
                0o100_644 => files -= 1,
                mode => panic!("{mode:o}"),
            }
        }
        assert_eq!(files, 0);
        assert!(dirs > 1, "no header was near the end of a page");
    }

    #[test]
    fn data_of_another_length_is_an_error() {
        for size in [3, 5] {
            let mut writer = Writer::new(Vec::new(), 0);
            assert!(
                writer
                    .file(Path::new("/x"), 0o644, size, &mut &b"four"[..])
                    .is_err()
            );
        }
        let mut writer = Writer::new(Vec::new(), 0);
        assert!(
            writer
                .file(Path::new("/x"), 0o644, 1 << 32, &mut &b""[..])
                .is_err()
        );
    }
}
