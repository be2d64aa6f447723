//! What can be wrong with an archive.

use std::io;
use std::path::PathBuf;

use super::{MAX_BYTES, MAX_ENTRIES};

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
    #[error("is not a tar archive (plain, or compressed by gzip or zstd)")]
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
    #[error("unpacks to more than {} entries or {} GiB", MAX_ENTRIES, MAX_BYTES >> 30)]
    TooBig,
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
