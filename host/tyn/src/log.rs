//! A guest's log: of what it writes the newest part is kept, so that no guest fills the disk.
//!
//! The file only grows; what is old becomes a hole in it. So a reader's place stays its place, and nobody has to notice that another
//! file took this one's name.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

/// Bytes that are kept, at the least.
pub(crate) const KEPT: u64 = 16 << 20;
/// Holes end at a file system's blocks.
const BLOCK: u64 = 4096;

/// A log that is written.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    kept: u64,
    /// Bytes since the last look at its length.
    unseen: u64,
}

impl Log {
    /// Makes one of a file that is open for appending.
    pub(crate) fn new(file: File, kept: u64) -> Self {
        let unseen = 0;
        Self { file, kept, unseen }
    }

    /// Writes at the end.
    ///
    /// # Errors
    /// When the disk is full.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.unseen += bytes.len() as u64;
        if self.unseen > self.kept / 4 {
            self.unseen = 0;
            // Others write there, too.
            let length = self.file.metadata()?.len();
            let old = length.saturating_sub(self.kept) / BLOCK * BLOCK;
            if old > 0 {
                let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                // A file system without holes keeps everything.
                let _ = fallocate(&self.file, hole, 0, old);
            }
        }
        Ok(())
    }
}

/// Opens a log for reading, where the first whole line begins that is kept.
///
/// # Errors
/// When it can't be read.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut log = File::open(path)?;
    // None in a file without any, and where holes are unknown.
    let start = rustix::fs::seek(&log, rustix::fs::SeekFrom::Data(0)).unwrap_or(0);
    log.seek(SeekFrom::Start(start))?;
    if start > 0 {
        let cut = BufReader::new(&log).skip_until(b'\n')?;
        log.seek(SeekFrom::Start(start + cut as u64))?;
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn newest_lines_are_kept_and_old_ones_take_no_room() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let file = File::options().append(true).open(&path).unwrap();
        let mut log = Log::new(file, 64 << 10);
        for number in 0..100_000 {
            log.write(format!("line {number}\n").as_bytes()).unwrap();
        }
        let meta = path.as_file().metadata().unwrap();
        assert!(meta.len() > 1_000_000 && meta.blocks() * 512 < 128 << 10);
        let mut text = String::new();
        open(path.path())
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert!(text.starts_with("line 9") && text.ends_with("\nline 99999\n"));
        assert!(text.len() >= (64 << 10) - BLOCK as usize, "{}", text.len());
    }

    #[test]
    fn short_log_is_read_from_its_beginning() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let mut text = String::new();
        assert_eq!(
            open(path.path())
                .unwrap()
                .read_to_string(&mut text)
                .unwrap(),
            0
        );
        std::fs::write(path.path(), "a\nb").unwrap();
        open(path.path())
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "a\nb");
    }
}
