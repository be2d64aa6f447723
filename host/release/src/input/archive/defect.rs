//! What can be wrong with an archive.

use std::io;
use std::path::PathBuf;

use super::budget::{MAX_BYTES, MAX_ENTRIES, MAX_NAMES};

/// Why an archive can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{} {defect}", path.display())]
pub struct ArchiveError {
    /// The archive.
    pub path: PathBuf,
    /// What is wrong with it.
    pub defect: Defect,
}

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum Defect {
    /// Not one.
    #[error(
        "is not a tar archive (plain, or compressed by gzip or zstd); name what `mix release`, `rebar3 tar` or `docker save` wrote"
    )]
    NotTar,
    /// By another program.
    #[error("is compressed by {0}; use gzip or zstd")]
    Compression(&'static str),
    /// It ends too early.
    #[error("is cut short; copy or download it again")]
    Short,
    /// Headers or compressed data that make no sense.
    #[error("is damaged ({0}); copy or download it again")]
    Damaged(String),
    /// `..` or a leading slash.
    #[error(
        "has the path '{0}', which leads out of it; make the archive again with paths below its root"
    )]
    Outside(String),
    /// A link that leads out of the tree.
    #[error(
        "has the link '{link}' to '{target}', which leads out of it; make the archive again without it"
    )]
    LinkOutside {
        /// Its path.
        link: String,
        /// Its target.
        target: String,
    },
    /// A hard link to nothing.
    #[error("has the hard link '{link}' to '{target}', which is not in it; make the archive again")]
    LinkMissing {
        /// Its path.
        link: String,
        /// Its target.
        target: String,
    },
    /// A device, a pipe.
    #[error("has '{0}', which is neither file, folder nor link; make the archive again without it")]
    Special(String),
    /// A file where a folder is needed.
    #[error("has '{0}' both as a file and as a folder; make the archive again")]
    FileAsFolder(String),
    /// A bomb.
    #[error(
        "unpacks to more than {} GiB, {} files or {} MiB of paths, which no release has; make it again with what is needed only",
        MAX_BYTES >> 30, MAX_ENTRIES, MAX_NAMES >> 20
    )]
    TooBig,
    /// A path that Linux would not take.
    #[error("has a path of {0} bytes, but Linux takes 4096; make the archive again without it")]
    LongPath(usize),
    /// More than there is room for.
    #[error(
        "unpacks to more than the {} MiB that it may take in {}; make room on that disk, or name another folder by TMPDIR",
        room >> 20, at.display()
    )]
    NoRoom {
        /// Where it is unpacked.
        at: PathBuf,
        /// What it may take there, in bytes.
        room: u64,
    },
    /// It can't be read.
    #[error("can't be read: {0}")]
    Read(io::Error),
    /// Its contents can't be written.
    #[error("can't be unpacked to {}: {error}", at.display())]
    Io {
        /// Where it is unpacked.
        at: PathBuf,
        /// Why.
        error: io::Error,
    },
}
