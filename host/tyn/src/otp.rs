//! Erlang/OTP for inputs that bring none (`--otp`): a folder, or a number, which Debian's packages are fetched for, once.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, bail};
use tyn_release::otp::Otp as Installation;
use tyn_release::sysroot::Sysroot;

use crate::terminal;

/// Where Erlang/OTP is to come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Otp {
    /// This release, of Debian.
    Release(u32),
    /// A folder.
    Dir(PathBuf),
}

impl FromStr for Otp {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.parse() {
            Ok(release) => Self::Release(release),
            Err(_) => Self::Dir(text.into()),
        })
    }
}

impl Otp {
    /// Returns the folder, where it is one.
    pub(crate) fn dir_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Release(_) => None,
            Self::Dir(dir) => Some(dir),
        }
    }

    /// Returns its folder; fetches what isn't there yet.
    ///
    /// # Errors
    /// When there is no such, or it can't be fetched.
    pub(crate) fn ensure(&self) -> Result<PathBuf> {
        let release = match self {
            Self::Dir(dir) if dir.is_dir() => return Ok(dir.clone()),
            Self::Dir(dir) => bail!(
                "--otp {} is neither the number of a release (25, 27, 29) nor a folder",
                dir.display()
            ),
            Self::Release(release) => *release,
        };
        let cache = cache()?;
        let place = tyn_debian::otp::place(release, &cache)?;
        if !place.is_dir() {
            terminal::say(&format!(
                "tyn: fetching Debian's Erlang/OTP {release}, once, into {}",
                place.display()
            ));
        }
        tyn_debian::otp::ensure(release, &cache)
    }
}

/// Returns whether a folder is the root of a system with Erlang/OTP in it, which has its libraries, too.
pub(crate) fn is_system(dir: &Path) -> bool {
    Installation::find(&Sysroot::new(dir)).is_some()
}

/// Returns our cache folder: `$XDG_CACHE_HOME/tyn`, else `~/.cache/tyn`.
fn cache() -> Result<PathBuf> {
    let absolute = |name: &str| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let found = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    match found {
        Some(cache) => Ok(cache.join("tyn")),
        None => bail!(
            "there is no place to keep Erlang/OTP: set HOME or XDG_CACHE_HOME to the absolute path of a folder"
        ),
    }
}
