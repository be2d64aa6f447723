//! Why nothing can be made of an input.

use std::io;
use std::path::PathBuf;

use super::InputError;
use super::archive::ArchiveError;
use super::container::ContainerError;
use super::oci::OciError;
use crate::otp::MissingApps;
use crate::release::ReleaseError;

/// Why nothing can be made of an input.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is no input.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The release.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// What was in an archive, by its own paths.
    #[error("{text}")]
    Unpacked {
        /// What is said.
        text: String,
        /// What is wrong.
        error: Box<OpenError>,
    },
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The container image.
    #[error(transparent)]
    Oci(#[from] OciError),
    /// What it starts.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// An archive of something else.
    #[error(
        "{} is neither the tarball of a release (releases/start_erl.data) nor a container image (manifest.json, index.json): \
         name what `mix release`, `rebar3 tar` or `docker save` wrote", .0.display()
    )]
    Unknown(PathBuf),
    /// Several releases.
    #[error("there are several releases: {}; choose one by --release NAME", .0.join(", "))]
    Several(Vec<String>),
    /// None of that name.
    #[error("there is no release '{name}': there are {}", known.join(", "))]
    NoSuchRelease {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// No run-time system.
    #[error(
        "{} brings no Erlang/OTP of its own, and there is none in {}; name one by --otp 25, 27, 29 or the folder \
         of one, or build the release with it (mix: include_erts: true, rebar3: {{include_erts, true}})", path.display(), sysroot.display()
    )]
    NoOtp {
        /// The input.
        path: PathBuf,
        /// Where it was looked for.
        sysroot: PathBuf,
        /// The number of the OTP release that it was made with, when it says so.
        wanted: Option<u32>,
    },
    /// Applications that are nowhere.
    #[error("{}: {error}", path.display())]
    MissingApps {
        /// The input.
        path: PathBuf,
        /// Which.
        error: MissingApps,
    },
    /// Modules without a start.
    #[error("{} holds modules but no release, so it doesn't say what to start; name the module by --start MODULE", .0.display())]
    NoStart(PathBuf),
    /// A module that isn't there.
    #[error("there is no module {module} in {}; name one of its .beam files by --start", path.display())]
    NoModule {
        /// The folder.
        path: PathBuf,
        /// What was asked for.
        module: String,
    },
    /// A shipment without a package.
    #[error("{} names no package (PACKAGE=…); make the shipment again by `gleam export erlang-shipment`", .0.display())]
    NoPackage(PathBuf),
    /// Something can't be read or written.
    #[error("{} can't be read or written: {error}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl OpenError {
    /// Returns the number of an OTP release that would help.
    #[must_use]
    pub fn wants_otp(&self) -> Option<u32> {
        match self {
            Self::Unpacked { error, .. } => error.wants_otp(),
            Self::NoOtp { wanted, .. } => Some(wanted.unwrap_or(27)),
            Self::Release(ReleaseError::OtpVersion(differing)) => differing.wanted_otp(),
            _ => None,
        }
    }
}
