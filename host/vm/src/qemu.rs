//! QEMU's program, and its version: what is needed, and what there is.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

/// QEMU's program.
pub const QEMU: &str = "qemu-system-x86_64";
/// The oldest that has all we ask of it, tried with q35, pc and microvm under TCG (`docs/testing.md`). What came last is `microvm`
/// with ACPI (`-machine microvm,acpi=on`); PVH kernels came with 4.0, virtio 1 over MMIO (`force-legacy`) with 4.2.
pub const OLDEST: Version = Version(5, 2);

/// A version of QEMU, major and minor number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version(pub u32, pub u32);

impl Version {
    /// Finds the version in what QEMU says about it: `QEMU emulator version 7.2.22 (…)`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.split("version ").nth(1)?;
        let number = number.split([' ', '(', '\n']).next()?;
        let mut parts = number.split('.');
        Some(Self(
            parts.next()?.parse().ok()?,
            parts.next()?.parse().ok()?,
        ))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Returns what QEMU says about its version, or why it can't be asked; `None` when it isn't installed.
#[must_use]
pub fn version_text() -> Option<String> {
    let output = Command::new(find_program(QEMU)?).arg("--version").output();
    Some(output.map_or_else(
        |error| error.to_string(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    ))
}

/// Returns whether QEMU is installed.
#[must_use]
pub fn is_installed() -> bool {
    find_program(QEMU).is_some()
}

/// Finds a program in the PATH.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        for (text, want) in [
            (
                "QEMU emulator version 7.2.22 (Debian 1:7.2)\nCopyright",
                Some(Version(7, 2)),
            ),
            ("QEMU emulator version 10.0\n", Some(Version(10, 0))),
            ("QEMU emulator version 4.2.1", Some(Version(4, 2))),
            ("QEMU emulator version x.y", None),
            ("Segmentation fault", None),
            ("", None),
        ] {
            assert_eq!(Version::parse(text), want, "{text}");
        }
        assert!(Version(4, 2) < OLDEST && Version(5, 1) < OLDEST && Version(10, 0) > OLDEST);
        assert_eq!(OLDEST.to_string(), "5.2");
    }
}
