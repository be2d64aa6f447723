//! Files that the user names on the command line. A pipe of the shell's (`<(COMMAND)`, `/dev/stdin`) is as good as a file; a named
//! pipe is not, for who opens it waits until somebody writes, which may be never.

use std::fs::{self, File};
use std::io::{self, Error, ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Longest text that is read: variables, arguments, settings, in bytes.
const MAX_TEXT: u64 = 16 << 20;

/// Reads a file of text.
///
/// # Errors
/// As [`read`], of 16 MiB; and when it is no UTF-8.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let bytes = read(path, MAX_TEXT)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error
            .as_bytes()
            .iter()
            .take(at)
            .filter(|&&b| b == b'\n')
            .count()
            + 1;
        let what = format!("line {line} is no UTF-8; write it so");
        Error::new(ErrorKind::InvalidData, what)
    })
}

/// Reads a file of variables or arguments as bytes.
///
/// # Errors
/// As [`read`], of 16 MiB.
pub(crate) fn read_short(path: &Path) -> io::Result<Vec<u8>> {
    read(path, MAX_TEXT)
}

/// Reads a file of at most so many bytes.
///
/// # Errors
/// When it can't be read or is longer, or when reading it might wait for ever.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let kind = fs::metadata(path)?.file_type();
    let refused = |what| Err(Error::new(ErrorKind::InvalidInput, what));
    if kind.is_socket() || kind.is_block_device() {
        return refused("it is a socket or a disk; name a file");
    }
    if kind.is_fifo() && !tyn_release::is_unnamed_pipe(path) {
        return refused(
            "it is a named pipe, and nobody may ever write to it; name a file, or let the shell give a pipe: <(COMMAND)",
        );
    }
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let what = format!("it is longer than {} MiB; name another file", most >> 20);
        return Err(Error::new(ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::io::Write;
    use std::os::fd::AsRawFd;

    #[test]
    fn pipes_of_the_shell_are_read_and_named_ones_refused() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"A=1\n").unwrap();
        drop(writer);
        let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
        assert_eq!(read_short(Path::new(&path)).unwrap(), b"A=1\n");
        // Empty, and nobody writes any more.
        assert_eq!(read_short(Path::new(&path)).unwrap(), b"");
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let error = read_short(&pipe).unwrap_err().to_string();
        assert!(error.starts_with("it is a named pipe"), "{error}");
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let error = read_short(&socket).unwrap_err().to_string();
        assert!(error.starts_with("it is a socket"), "{error}");
    }

    #[test]
    fn devices_end_somewhere() {
        assert_eq!(read_text(Path::new("/dev/null")).unwrap(), "");
        let error = read(Path::new("/dev/zero"), 1 << 20)
            .unwrap_err()
            .to_string();
        assert_eq!(error, "it is longer than 1 MiB; name another file");
    }
}
