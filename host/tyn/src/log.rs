//! A guest's log: of what it writes the newest part is kept, so that no guest fills the disk.
//!
//! The file only grows; what is old becomes a hole in it. So a reader's place stays its place, and nobody has to notice that another
//! file took this one's name.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{FallocateFlags, fallocate};

/// Bytes that are kept, at the least.
pub(crate) const KEPT: u64 = 16 << 20;
/// Holes end at a file system's blocks, which are this long at the least.
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

    /// Gives up what is too old.
    fn trim(&self) -> io::Result<()> {
        // Others write there, too.
        let meta = self.file.metadata()?;
        let block = meta.blksize().max(BLOCK);
        let old = meta.len().saturating_sub(self.kept) / block * block;
        if old > 0 {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // A file system without holes keeps everything.
            let _ = fallocate(&self.file, hole, 0, old);
        }
        Ok(())
    }
}

impl Write for Log {
    /// Writes at the end.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.unseen += length as u64;
        if self.unseen > self.kept / 4 {
            self.unseen = 0;
            self.trim()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A log that is read, while it may be written: what was given up is skipped, to the line that begins behind it.
#[derive(Debug)]
pub(crate) struct Reader {
    file: File,
    at: u64,
    /// Whether the last byte that was copied did not end a line.
    is_in_line: bool,
}

/// What is read at once.
#[derive(PartialEq, Eq, Debug)]
struct Piece {
    /// Bytes before it that were given up unread.
    gone: u64,
    /// Its own; none at the end of what there is.
    length: usize,
}

impl Reader {
    /// Opens a log where the first whole line begins that is kept.
    ///
    /// # Errors
    /// When it can't be read.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut reader = Self {
            file,
            at: 0,
            is_in_line: false,
        };
        let kept = reader.kept();
        if kept > 0 {
            reader.skip_line(kept)?;
        }
        Ok(reader)
    }

    /// Goes on to what `start` chooses in all that there is up to now.
    ///
    /// # Errors
    /// When it can't be read.
    pub(crate) fn skip(&mut self, start: impl FnOnce(&[u8]) -> usize) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 64 << 10];
        let from = loop {
            let piece = self.read(&mut chunk)?;
            if piece.gone > 0 {
                bytes.clear();
            }
            if piece.length == 0 {
                break self.at - bytes.len() as u64;
            }
            bytes.extend_from_slice(chunk.get(..piece.length).unwrap_or_default());
        };
        self.at = from + start(&bytes) as u64;
        Ok(())
    }

    /// Copies what there is, and tells `on_gone` how many bytes were given up before they could be.
    ///
    /// # Errors
    /// When it can't be read or written; `None` when nobody reads `out` any more.
    pub(crate) fn copy(
        &mut self,
        out: &mut impl Write,
        on_gone: &dyn Fn(u64),
    ) -> Result<Option<()>> {
        let mut chunk = [0; 64 << 10];
        loop {
            let piece = self.read(&mut chunk).context("the log can't be read")?;
            let bytes = chunk.get(..piece.length).unwrap_or_default();
            let cut: &[u8] = match piece.gone > 0 && self.is_in_line {
                true => b"\n",
                false => b"",
            };
            match out.write_all(cut).and_then(|()| out.write_all(bytes)) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(None),
                written => written.context("standard output can't be written")?,
            }
            if piece.gone > 0 {
                on_gone(piece.gone);
            }
            match bytes.last() {
                Some(last) => self.is_in_line = *last != b'\n',
                None => return Ok(Some(())),
            }
        }
    }

    fn read(&mut self, chunk: &mut [u8]) -> io::Result<Piece> {
        let mut gone = 0;
        loop {
            let length = self.file.read_at(chunk, self.at)?;
            // Asked afterwards: where it says that there is no hole, there was none when we read.
            let kept = self.kept();
            if kept <= self.at {
                self.at += length as u64;
                return Ok(Piece { gone, length });
            }
            let before = self.at;
            self.skip_line(kept)?;
            gone += self.at - before;
        }
    }

    /// Returns where the hole ends; 0 in a file without any, and where holes are unknown.
    fn kept(&self) -> u64 {
        rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(0)).unwrap_or(0)
    }

    /// Goes to the first line that begins behind `place`.
    fn skip_line(&mut self, place: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(place))?;
        let cut = BufReader::new(&self.file).skip_until(b'\n')?;
        self.at = place + cut as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn newest_lines_are_kept_and_old_ones_take_no_room() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let file = File::options().append(true).open(&path).unwrap();
        let mut log = Log::new(file, 64 << 10);
        for number in 0..100_000 {
            writeln!(log, "line {number}").unwrap();
        }
        let meta = path.as_file().metadata().unwrap();
        assert!(meta.len() > 1_000_000 && meta.blocks() * 512 < 128 << 10);
        let text = read(&mut Reader::open(path.path()).unwrap());
        assert!(text.starts_with("line 9") && text.ends_with("\nline 99999\n"));
        assert!(text.len() >= (64 << 10) - BLOCK as usize, "{}", text.len());
    }

    #[test]
    fn short_log_is_read_from_its_beginning() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let mut reader = Reader::open(path.path()).unwrap();
        assert_eq!(read(&mut reader), "");
        std::fs::write(path.path(), "a\nb").unwrap();
        assert_eq!(read(&mut reader), "a\nb");
        let mut reader = Reader::open(path.path()).unwrap();
        reader.skip(|bytes| bytes.len() - 1).unwrap();
        assert_eq!(read(&mut reader), "b");
    }

    #[test]
    fn slow_reader_goes_on_at_a_whole_line() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let file = File::options().append(true).open(&path).unwrap();
        let mut log = Log::new(file, 64 << 10);
        writeln!(log, "first").unwrap();
        let mut reader = Reader::open(path.path()).unwrap();
        assert_eq!(read(&mut reader), "first\n");
        for number in 0..100_000 {
            writeln!(log, "line {number}").unwrap();
        }
        let (mut text, gone) = (Vec::new(), Cell::new(0));
        reader.copy(&mut text, &|bytes| gone.set(bytes)).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("line 9"), "{:?}", &text[..20]);
        assert!(text.ends_with("\nline 99999\n"));
        let length = path.as_file().metadata().unwrap().len();
        assert_eq!(6 + gone.get() + text.len() as u64, length);
    }

    #[test]
    fn reader_behind_a_writer_sees_no_hole() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let file = File::options().append(true).open(&path).unwrap();
        let mut reader = Reader::open(path.path()).unwrap();
        let writer = std::thread::spawn(move || {
            let mut log = Log::new(file, 16 << 10);
            for number in 0..100_000 {
                writeln!(log, "line {number}").unwrap();
            }
        });
        let mut text = String::new();
        while !text.ends_with("\nline 99999\n") {
            text += &read(&mut reader);
        }
        writer.join().unwrap();
        // A line may be cut where it was given up.
        let is_one = |line: &str| line.starts_with("line ") || "line ".starts_with(line);
        assert!(text.lines().all(is_one));
    }

    /// Reads all that there is.
    fn read(reader: &mut Reader) -> String {
        let mut text = Vec::new();
        reader.copy(&mut text, &|_| {}).unwrap();
        String::from_utf8(text).unwrap()
    }
}
