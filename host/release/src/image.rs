//! Images that are there: what is in them, checked before they are booted.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use tyn_bootfmt::start::INIT_FORMAT;
use tyn_bootfmt::{
    BadStart, DAEMON_FILES_PATH, DATA_ALIGN, INIT_PATH, INTERACTIVE_FILES_PATH, INTERACTIVE_PATH,
    Init,
};
use tyn_fs::cpio::Entries;

use crate::system;
use crate::{cpio, limit};

/// What compressed images begin with.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Where a release lies in its image.
pub const ROOT: &str = "/app";
/// Home of the user that everything runs as.
pub(crate) const HOME: &str = "/root";

/// What a sound image holds.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Its length in bytes.
    pub bytes: u64,
    /// Its host name.
    pub hostname: String,
    /// The program that is started.
    pub program: PathBuf,
    /// What it is started with; the first is the program.
    pub args: Vec<Vec<u8>>,
    /// All paths in it, with type and permissions (`st_mode`).
    pub entries: BTreeMap<PathBuf, u32>,
    /// How it is started interactively, if it has another way for that.
    pub interactive: Option<Interactive>,
    /// An archive with the programs that are started beside a named node; empty when they are in the image, or nowhere.
    pub daemon_files: Vec<u8>,
}

/// An interactive start.
#[derive(Clone, Debug, Default)]
pub struct Interactive {
    /// Its arguments.
    pub args: Vec<Vec<u8>>,
    /// An archive to be put behind the image.
    pub files: Vec<u8>,
}

/// Returns what mends it that an image can't be read.
pub(crate) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; build one with `tyn build`",
        io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput => {
            "; name the file that `tyn build` made"
        }
        io::ErrorKind::FileTooLarge => {
            "; an image is a part of a guest's memory: build a smaller one"
        }
        // What the decoder of compressed images says.
        _ if error.raw_os_error().is_none() => "; it is damaged: build it again with `tyn build`",
        _ => "",
    }
}

/// Why a file can't be booted as an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It isn't there, or can't be read.
    #[error("the image {} can't be read: {error}{}", path.display(), remedy(error))]
    Io {
        /// The image.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is no archive, or cut off.
    #[error("{} is not an image or is damaged ({what}); build it again with `tyn build`", path.display())]
    Archive {
        /// The image.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// An archive without a start description.
    #[error("{} has no start description ({INIT_PATH}), so there is nothing to start; build it with `tyn build`", .0.display())]
    NoInit(PathBuf),
    /// An image of another format.
    #[error(
        "{} was built by another version of tyn: its format is {found}, this tyn's ({}) is {INIT_FORMAT}; build it again with `tyn build`",
        path.display(), env!("CARGO_PKG_VERSION")
    )]
    Format {
        /// The image.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// A start description that can't be used.
    #[error("{}: the start description {error}", path.display())]
    BadInit {
        /// The image.
        path: PathBuf,
        /// What is wrong.
        error: BadStart,
    },
    /// The program to start is not in it.
    #[error("{} would start {}, which is not in it; build it again with `tyn build`", path.display(), program.display())]
    NoProgram {
        /// The image.
        path: PathBuf,
        /// The program.
        program: PathBuf,
    },
}

/// Returns the format that a start description names, if that is one of tyn's and not ours.
fn other_format(init: &[u8]) -> Option<String> {
    let found = str::from_utf8(init.split(|&byte| byte == 0).next()?).ok()?;
    let number = found.strip_prefix("tyn-init ")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && found != INIT_FORMAT).then(|| found.to_owned())
}

/// Checks that an image is whole and says what to start.
///
/// # Errors
/// [`ImageError`]: what is wrong, and the remedy.
pub fn check(path: &Path) -> Result<Checked, ImageError> {
    let io_error = |error| ImageError::Io {
        path: path.to_path_buf(),
        error,
    };
    let bytes = read(path).map_err(io_error)?;
    let damaged = |what: String| ImageError::Archive {
        path: path.to_path_buf(),
        what,
    };
    if bytes.is_empty() {
        return Err(damaged("it is empty".into()));
    }
    let (mut init, mut interactive, mut files, mut daemons) = (None, None, None, None);
    let mut entries = BTreeMap::new();
    for entry in Entries::new(&bytes) {
        let entry = entry.map_err(|error| damaged(error.to_string()))?;
        if !entry.data.is_empty() && is_file(entry.mode) && entry.data_offset % DATA_ALIGN != 0 {
            return Err(damaged("its files are not page-aligned".into()));
        }
        match absolute(entry.name).to_str() {
            Some(INIT_PATH) => init = Some(entry.data),
            Some(INTERACTIVE_PATH) => interactive = Some(entry.data),
            Some(INTERACTIVE_FILES_PATH) => files = Some(entry.data),
            Some(DAEMON_FILES_PATH) => daemons = Some(entry.data),
            _ => {}
        }
        entries.insert(absolute(entry.name), entry.mode);
    }
    let last = bytes.iter().rposition(|&b| b != 0).map_or(0, |at| at + 1);
    if !bytes[..last].ends_with(cpio::TRAILER) {
        return Err(damaged("it is cut off".into()));
    }
    if bytes.len() % DATA_ALIGN != 0 {
        return Err(damaged("its length is not a multiple of 4096 bytes".into()));
    }
    let init = init.ok_or_else(|| ImageError::NoInit(path.to_path_buf()))?;
    let bad_init = |error| ImageError::BadInit {
        path: path.to_path_buf(),
        error,
    };
    if let Some(found) = other_format(init) {
        return Err(ImageError::Format {
            path: path.to_path_buf(),
            found,
        });
    }
    let init = Init::parse(init).map_err(bad_init)?;
    let interactive = interactive.map(Init::parse).transpose().map_err(bad_init)?;
    let unpacked = |packed: Option<&[u8]>| {
        let files = packed.map(system::unpack).transpose();
        files.map_err(|error| damaged(error.to_string()))
    };
    let (files, daemons) = (unpacked(files)?, unpacked(daemons)?);
    let interactive = interactive.map(|init| Interactive {
        args: init.args.iter().map(|arg| arg.to_vec()).collect(),
        files: files.unwrap_or_default(),
    });
    let program = absolute(init.args.first().copied().unwrap_or_default());
    if !entries.contains_key(&program) {
        return Err(ImageError::NoProgram {
            path: path.to_path_buf(),
            program,
        });
    }
    Ok(Checked {
        bytes: bytes.len() as u64,
        hostname: String::from_utf8_lossy(init.hostname).into_owned(),
        program,
        args: init.args.iter().map(|arg| arg.to_vec()).collect(),
        entries,
        interactive,
        daemon_files: daemons.unwrap_or_default(),
    })
}

/// Reads an image; one that is compressed is unpacked.
///
/// # Errors
/// When it can't be read, what is compressed is damaged, or it is longer than 4 GiB or half of this machine's memory.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for somebody to write, and a device may have no end.
    if limit::is_special(fs::metadata(path)?.file_type()) {
        let what = "it is a pipe or a device";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let bytes = limit::read(path)?;
    if !bytes.starts_with(&ZSTD) {
        return Ok(bytes);
    }
    let decoder = zstd::Decoder::with_buffer(bytes.as_slice())?;
    limit::unpack(decoder, limit::whole())
}

/// Returns whether an image is compressed, so that a machine can't be started with it as it is.
///
/// # Errors
/// When it can't be read.
pub fn is_compressed(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    let length = ZSTD.len() as u64;
    fs::File::open(path)?.take(length).read_to_end(&mut start)?;
    Ok(start == ZSTD)
}

fn is_file(mode: u32) -> bool {
    mode & 0o170_000 == 0o100_000
}

pub(crate) fn absolute(name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    Path::new("/").join(std::ffi::OsStr::from_bytes(name))
}

#[cfg(test)]
mod mutated_tests;
#[cfg(test)]
mod refused_tests;
#[cfg(test)]
mod shipping_tests;
#[cfg(test)]
mod start_tests;
#[cfg(test)]
mod tests;
