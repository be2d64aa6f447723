//! The kernel that is booted: the one inside the tool, or a file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tyn_vm_host::Symbols;

/// The kernel's ELF file, when the tool was built with one.
const EMBEDDED: Option<&[u8]> = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// A kernel as a file, and the names of its functions.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// Where QEMU finds it.
    pub(crate) file: PathBuf,
    /// For backtraces.
    pub(crate) symbols: Symbols,
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
