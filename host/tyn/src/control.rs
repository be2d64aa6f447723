//! How commands talk to the supervisor of a guest in the background: one request on each connection to the socket in the
//! guest's folder, a line of JSON; the answer is a line, too. A connection stays open as long as the guest lives.
//!
//! After `attach` the console is connected: frames go to the supervisor, each a byte of kind ([`TYPED`], [`SIZE`]), two of
//! length and that many of data; back comes a byte whenever the log has grown, for what the console says is read there.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tyn_bootfmt::options::TtySize;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Request {
    /// Press the power button.
    Stop,
    /// End the machine.
    Kill,
    /// Connect the console.
    Attach,
    /// Forward a port of this machine to this one of the guest as long as the connection lives; the port follows the answer, in
    /// two bytes.
    Forward(u16),
}

/// Kind of a frame: bytes for the console.
pub(crate) const TYPED: u8 = 0;
/// Kind of a frame: rows and columns of the terminal, two bytes each.
pub(crate) const SIZE: u8 = 1;

/// Paths of sockets are short; this names a folder by our descriptor of it.
fn socket_in(dir: &File) -> String {
    format!("/proc/self/fd/{}/control", dir.as_raw_fd())
}

/// Makes the socket of the guest in `dir`.
///
/// # Errors
/// When it can't be made.
pub(crate) fn listen(dir: &Path) -> io::Result<UnixListener> {
    let dir = File::open(dir)?;
    UnixListener::bind(socket_in(&dir))
}

/// Asks the supervisor of the guest in `dir`; returns the connection.
///
/// # Errors
/// When it doesn't answer, or refuses.
pub(crate) fn ask(dir: &Path, request: Request) -> Result<BufReader<UnixStream>> {
    let connect = || {
        let dir = File::open(dir)?;
        let mut stream = UnixStream::connect(socket_in(&dir))?;
        write_line(&mut stream, &serde_json::to_string(&request)?)?;
        let mut reader = BufReader::new(stream);
        let mut answer = String::new();
        reader.read_line(&mut answer)?;
        Ok::<_, io::Error>((reader, answer))
    };
    let (reader, answer) = connect().context("the guest's supervisor does not answer")?;
    match answer.trim_end() {
        "ok" => Ok(reader),
        "" => bail!("the guest has just ended"),
        refusal => bail!("{refusal}"),
    }
}

/// Reads the request of a connection.
///
/// # Errors
/// When it is none.
pub(crate) fn receive(stream: &UnixStream) -> io::Result<Request> {
    // Byte by byte: what follows the line is somebody else's.
    let (mut line, mut byte, mut stream) = (Vec::new(), [0], stream);
    while line.len() < 100 && stream.read(&mut byte)? == 1 && byte != *b"\n" {
        line.extend(byte);
    }
    serde_json::from_slice(&line).map_err(io::Error::other)
}

/// Writes a line.
///
/// # Errors
/// When the other side is gone.
pub(crate) fn write_line(stream: &mut UnixStream, line: &str) -> io::Result<()> {
    stream.write_all(format!("{line}\n").as_bytes())
}

/// Writes a frame; `data` has less than 64 KiB.
///
/// # Errors
/// When the other side is gone.
pub(crate) fn write_frame(stream: &mut UnixStream, kind: u8, data: &[u8]) -> io::Result<()> {
    let length = u16::try_from(data.len()).map_err(io::Error::other)?;
    let mut frame = vec![kind];
    frame.extend(length.to_le_bytes());
    frame.extend(data);
    stream.write_all(&frame)
}

/// Returns the data of a frame that tells a terminal's size.
pub(crate) fn size_data(size: TtySize) -> [u8; 4] {
    let ([a, b], [c, d]) = (size.rows.to_le_bytes(), size.columns.to_le_bytes());
    [a, b, c, d]
}

/// Reads a frame; `None` at the end.
///
/// # Errors
/// When reading fails or ends within a frame.
pub(crate) fn read_frame(stream: &mut UnixStream) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut kind = [0];
    if stream.read(&mut kind)? == 0 {
        return Ok(None);
    }
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut data = vec![0; usize::from(u16::from_le_bytes(length))];
    stream.read_exact(&mut data)?;
    Ok(Some((kind[0], data)))
}

/// Returns the size in a frame of kind [`SIZE`].
pub(crate) fn size_of(data: &[u8]) -> Option<TtySize> {
    match *data {
        [a, b, c, d] => Some(TtySize {
            rows: u16::from_le_bytes([a, b]),
            columns: u16::from_le_bytes([c, d]),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_frames_arrive_in_a_folder_with_a_long_name() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("x".repeat(200));
        std::fs::create_dir(&dir).unwrap();
        let listener = listen(&dir).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert_eq!(receive(&stream).unwrap(), Request::Attach);
            write_line(&mut stream, "ok").unwrap();
            let mut frames = Vec::new();
            while let Some(frame) = read_frame(&mut stream).unwrap() {
                frames.push(frame);
            }
            let (mut stream, _) = listener.accept().unwrap();
            assert_eq!(receive(&stream).unwrap(), Request::Stop);
            write_line(&mut stream, "no; not today").unwrap();
            frames
        });
        let mut stream = ask(&dir, Request::Attach).unwrap().into_inner();
        let size = TtySize {
            rows: 50,
            columns: 300,
        };
        write_frame(&mut stream, SIZE, &size_data(size)).unwrap();
        write_frame(&mut stream, TYPED, b"abc").unwrap();
        drop(stream);
        assert_eq!(
            ask(&dir, Request::Stop).unwrap_err().to_string(),
            "no; not today"
        );
        let frames = server.join().unwrap();
        assert_eq!(size_of(&frames[0].1), Some(size));
        assert_eq!(frames[1], (TYPED, b"abc".to_vec()));
        assert!(
            ask(&dir, Request::Kill)
                .unwrap_err()
                .to_string()
                .contains("does not answer")
        );
    }
}
