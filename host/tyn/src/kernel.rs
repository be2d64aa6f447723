//! The kernel that is booted: the one inside the tool, or a file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tyn_fs::proc_text::OS_VERSION;
use tyn_vm_host::Symbols;

/// The kernel's ELF file, when the tool was built with one.
const EMBEDDED: Option<&[u8]> = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The version of this tool, and of the kernel inside it.
const OUR_VERSION: &str = env!("CARGO_PKG_VERSION");

/// A kernel as a file, and the names of its functions.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// Where QEMU finds it.
    pub(crate) file: PathBuf,
    /// For backtraces.
    pub(crate) symbols: Symbols,
}

/// Returns whether there is one inside the tool.
pub(crate) fn is_inside() -> bool {
    EMBEDDED.is_some()
}

/// Returns the kernel `file`, else the one inside the tool, which is written to the private folder `dir`.
///
/// # Errors
/// When there is none, or it isn't an ELF file.
pub(crate) fn find(file: Option<&Path>, dir: &Path) -> Result<Kernel> {
    let (file, symbols) = match (file, EMBEDDED) {
        (Some(file), _) => {
            let bytes = fs::read(file)
                .with_context(|| format!("the kernel {} can't be read", file.display()))?;
            check_version(file, &bytes)?;
            (file.to_path_buf(), Symbols::from_elf(&bytes))
        }
        (None, Some(bytes)) => {
            let file = dir.join("kernel");
            fs::write(&file, bytes).context("the kernel can't be written to a temporary file")?;
            (file, Symbols::from_elf(bytes))
        }
        (None, None) => bail!(
            "this tyn was built without a kernel: name one by --kernel, or build both by `cargo xtask build`"
        ),
    };
    let symbols = symbols.with_context(|| {
        format!(
            "{} is no kernel; name one that `cargo xtask kernel` built",
            file.display()
        )
    })?;
    Ok(Kernel { file, symbols })
}

/// Expects a kernel of our own version, as far as it tells. What it is given (`tyn_bootfmt`) belongs to one version.
fn check_version(file: &Path, bytes: &[u8]) -> Result<()> {
    let prefix = OS_VERSION.trim_end_matches(OUR_VERSION);
    let found = bytes
        .windows(prefix.len())
        .position(|part| part == prefix.as_bytes());
    let Some(at) = found else {
        return Ok(());
    };
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || b".-+".contains(*byte);
    let version: Vec<u8> = bytes[at + prefix.len()..]
        .iter()
        .take_while(is_part)
        .copied()
        .collect();
    // Strings lie side by side in a kernel: another one may begin behind ours.
    if version.starts_with(OUR_VERSION.as_bytes()) {
        return Ok(());
    }
    let version: Vec<u8> = version
        .into_iter()
        .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
        .collect();
    bail!(
        "the kernel {} is of version {}, this tyn of {OUR_VERSION}; leave --kernel out, or use a kernel of this version",
        file.display(),
        String::from_utf8_lossy(&version)
    )
}
