//! Writer of cpio "newc" archives whose file data is page-aligned (`tyn_bootfmt`; the reader is `tyn_fs::cpio`).
//!
//! Names are padded with NUL bytes so that data begins on a [`DATA_ALIGN`] boundary; the format counts the padding as part
//! of the name, so `cpio -it` lists such an archive. Long runs of zeros in a file can be left out. Linux skips entries whose
//! name, with padding, is longer than its `PATH_MAX`; where that would happen, the folder before is written once more, which
//! moves the rest on and changes nothing else. What is written depends on the input only: inode numbers count up, owner is
//! root, and all times are the one given.

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
    /// Starts an archive; entries get the time `mtime` (seconds since 1970), until [`set_mtime`](Self::set_mtime).
    pub fn new(out: W, mtime: u32) -> Self {
        Self {
            out,
            offset: 0,
            inode: 0,
            mtime,
            last_dir: (b".".to_vec(), 0o755),
        }
    }

    /// Sets the time of the entries that are added from now on, in seconds since 1970.
    pub fn set_mtime(&mut self, mtime: u32) {
        self.mtime = mtime;
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
        self.sparse_file(path, mode, size, &[], data)
    }

    /// Adds a file as [`Writer::file`] does; what is in these runs of pages, which are zeros, is not stored
    /// ([`tyn_fs::holes`]).
    ///
    /// # Errors
    /// As there, and when a run is not of zeros.
    pub fn sparse_file(
        &mut self,
        path: &Path,
        mode: u32,
        size: u64,
        runs: &[(u32, u32)],
        data: &mut dyn Read,
    ) -> io::Result<()> {
        if size > u64::from(u32::MAX) {
            return Err(io::Error::other(
                "files of 4 GiB and more can't be in an image",
            ));
        }
        let left_out: u64 = runs
            .iter()
            .map(|(_, count)| u64::from(*count) * ALIGN)
            .sum();
        let stored = u32::try_from(size.saturating_sub(left_out)).map_err(io::Error::other)?;
        let mut full_name = name(path).to_vec();
        if !runs.is_empty() {
            full_name.push(0);
            full_name.extend(tyn_fs::holes::list(runs));
        }
        let align = if size == 0 { 4 } else { ALIGN };
        if full_name.len() as u64 >= PATH_MAX {
            return Err(io::Error::other("its path is too long"));
        }
        while align > 4 && self.padded_name_len(&full_name) > PATH_MAX {
            self.repeat_dir()?;
        }
        self.header(
            &Header {
                name: &full_name,
                mode: TYPE_FILE | mode,
                nlink: 1,
                size: stored,
            },
            align,
        )?;
        let changed = || io::Error::other("it changed while it was read; try again");
        let mut at = 0;
        for (first, count) in runs {
            let (start, len) = (u64::from(*first) * ALIGN, u64::from(*count) * ALIGN);
            let before = start.checked_sub(at).ok_or_else(changed)?;
            if self.copy(data, before)? != before || !are_zeros(data, len)? {
                return Err(changed());
            }
            at = start + len;
        }
        let rest = size.checked_sub(at).ok_or_else(changed)?;
        if self.copy(data, rest.saturating_add(1))? != rest {
            return Err(changed());
        }
        self.pad(4)
    }

    /// Copies at most so many bytes of data; returns how many.
    fn copy(&mut self, data: &mut dyn Read, len: u64) -> io::Result<u64> {
        let copied = io::copy(&mut data.take(len), &mut self.out)?;
        self.offset += copied;
        Ok(copied)
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

/// Reads so many bytes; returns whether they are there, and zeros.
fn are_zeros(data: &mut dyn Read, len: u64) -> io::Result<bool> {
    let mut bytes = Vec::new();
    data.take(len).read_to_end(&mut bytes)?;
    Ok(bytes.len() as u64 == len && bytes.iter().all(|&byte| byte == 0))
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
mod round_trip_tests;
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
    fn pages_of_zeros_are_left_out_and_read_back() {
        let page = |byte: u8, count: usize| vec![byte; count * ALIGN as usize];
        let file = [page(1, 1), page(0, 30), page(2, 2), page(0, 20), page(3, 1)].concat();
        let runs = crate::holes::find(&mut &file[..]).unwrap();
        assert_eq!(runs.len(), 2);
        let mut writer = Writer::new(Vec::new(), 0);
        let size = file.len() as u64;
        let path = Path::new("/beam");
        writer
            .sparse_file(path, 0o755, size, &runs, &mut &file[..])
            .unwrap();
        let (bytes, length) = writer.finish().unwrap();
        assert!(length < 7 * ALIGN, "{length}");
        let entry = tyn_fs::cpio::Entries::new(&bytes).next().unwrap().unwrap();
        assert_eq!((entry.name, entry.data_offset % 4096), (&b"beam"[..], 0));
        assert_eq!(entry.len(), size);
        assert!(entry.contents() == file);
        // What is no run of zeros any more is an error.
        let mut changed = file.clone();
        changed[2 * ALIGN as usize] = 1;
        let mut writer = Writer::new(Vec::new(), 0);
        let error = writer.sparse_file(path, 0o755, size, &runs, &mut &changed[..]);
        assert!(error.is_err());
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
