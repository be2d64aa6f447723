//! Erlang/OTP of Debian, fetched once into a cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::apt::{self, Apt, Keys};

/// The numbers of OTP that can be had, and the Debian releases that have them.
pub const RELEASES: [(u32, &str); 3] = [(25, "bookworm"), (27, "trixie"), (29, "sid")];
/// What an image may need of it; apt adds what these need. Locales are in libc-bin, descriptions of terminals in
/// ncurses-base.
const PACKAGES: &[&str] = &[
    "erlang-asn1",
    "erlang-base",
    "erlang-crypto",
    "erlang-eldap",
    "erlang-inets",
    "erlang-mnesia",
    "erlang-os-mon",
    "erlang-parsetools",
    "erlang-public-key",
    "erlang-runtime-tools",
    "erlang-snmp",
    "erlang-ssh",
    "erlang-ssl",
    "erlang-syntax-tools",
    "erlang-tools",
    "erlang-xmerl",
    "libc-bin",
    "ncurses-base",
];

/// Returns where `release` of OTP is, or will be, below the cache folder.
///
/// # Errors
/// When Debian doesn't have it.
pub fn place(release: u32, cache: &Path) -> Result<PathBuf> {
    suite(release)?;
    Ok(cache.join(format!("otp-{release}")))
}

/// Returns the root of a system with that release of OTP; fetches it into the cache folder unless it is there.
///
/// # Errors
/// When it can't be fetched or kept, and what mends that.
pub fn ensure(release: u32, cache: &Path) -> Result<PathBuf> {
    let root = place(release, cache)?;
    if root.is_dir() {
        return Ok(root);
    }
    let cannot = || {
        format!(
            "Erlang/OTP {release} can't be fetched from Debian; name one that you have by --otp DIR"
        )
    };
    fetch(suite(release)?, &root, cache).with_context(cannot)?;
    Ok(root)
}

fn suite(release: u32) -> Result<&'static str> {
    let found = RELEASES.iter().find(|(number, _)| *number == release);
    found.map(|(_, suite)| *suite).ok_or_else(|| {
        let known = RELEASES.map(|(number, _)| number.to_string()).join(", ");
        anyhow!("Debian has no Erlang/OTP {release}, but {known}; name one of these, or the folder of your own")
    })
}

/// Makes the system beside its place and moves it there when it is whole.
fn fetch(suite: &str, root: &Path, cache: &Path) -> Result<()> {
    fs::create_dir_all(cache).with_context(|| format!("{} can't be made", cache.display()))?;
    let temp = tyn_scratch::Dir::new_in(cache);
    let temp = temp.with_context(|| format!("{} can't be written", cache.display()))?;
    let apt = Apt::new(suite, &temp.path().join("apt"), Keys::Expect)?;
    let debs = apt.download(PACKAGES)?;
    let made = temp.path().join("root");
    apt::unpack(&debs, &made)?;
    match fs::rename(&made, root) {
        // Another one was faster.
        Err(_) if root.is_dir() => Ok(()),
        other => other.with_context(|| format!("{} can't be written", root.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_debian_lacks_is_named() {
        let cache = tempfile::tempdir().unwrap();
        let error = ensure(26, cache.path()).unwrap_err().to_string();
        assert!(
            error.contains("no Erlang/OTP 26, but 25, 27, 29"),
            "{error}"
        );
    }

    #[test]
    fn what_is_there_is_not_fetched_again() {
        let cache = tempfile::tempdir().unwrap();
        fs::create_dir(cache.path().join("otp-27")).unwrap();
        assert_eq!(
            ensure(27, cache.path()).unwrap(),
            cache.path().join("otp-27")
        );
    }
}
