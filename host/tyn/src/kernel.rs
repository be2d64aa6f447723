//! The kernel that is booted: the one inside the tool, or a file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tyn_bootfmt::contract::{BUILD, OS_VERSION, PREFIX};
use tyn_vm_host::Symbols;

use crate::given;

/// The kernel's ELF file, when the tool was built with one.
const EMBEDDED: Option<&[u8]> = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Longest kernel, with its symbols, in bytes.
const MAX_KERNEL: u64 = 256 << 20;

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
    let file = match (file, EMBEDDED) {
        (Some(file), _) => file.to_path_buf(),
        (None, Some(bytes)) => {
            let file = dir.join("kernel");
            fs::write(&file, bytes).context("the kernel can't be written to a temporary file")?;
            let symbols = Symbols::from_elf(bytes).context("the kernel inside this tyn is none")?;
            return Ok(Kernel { file, symbols });
        }
        (None, None) => bail!(
            "this tyn was built without a kernel: name one by --kernel, or build both by `cargo xtask build`"
        ),
    };
    let bytes = given::read(&file, MAX_KERNEL)
        .with_context(|| format!("the kernel {} can't be read", file.display()))?;
    let symbols = Symbols::from_elf(&bytes).with_context(|| {
        format!(
            "{} is no kernel; name one that `cargo xtask kernel` built",
            file.display()
        )
    })?;
    check_version(&file, &bytes)?;
    Ok(Kernel { file, symbols })
}

/// Expects a kernel of our own version and build: what it is given, and what it reports, belongs to one build.
fn check_version(file: &Path, bytes: &[u8]) -> Result<()> {
    // The text lies whole in a kernel (`contract::os_version`), with others around it, and parts of it may be elsewhere.
    let starts = bytes.windows(PREFIX.len()).enumerate();
    let starts = starts.filter(|(_, part)| *part == PREFIX.as_bytes());
    let versions: Vec<&[u8]> = starts.filter_map(|(at, _)| bytes.get(at..)).collect();
    if versions
        .iter()
        .any(|v| v.starts_with(OS_VERSION.as_bytes()))
    {
        return Ok(());
    }
    let versions = versions.into_iter().map(version_and_build);
    match versions.max_by_key(String::len) {
        Some(version) => bail!(
            "the kernel {} is of {version}, this tyn of {}; leave --kernel out, or build both from the same sources by `cargo xtask build`",
            file.display(),
            version_and_build(OS_VERSION.as_bytes())
        ),
        None => bail!(
            "{} does not say of which version it is: it is no kernel of Tyn, or an old one; leave --kernel out, or name one that `cargo xtask kernel` built",
            file.display()
        ),
    }
}

/// Says in words what begins with [`PREFIX`]. A kernel of before there were builds has a version alone.
fn version_and_build(text: &[u8]) -> String {
    let part = |text: &[u8], is_in: fn(&u8) -> bool| -> String {
        let bytes = text.iter().copied().take_while(is_in);
        bytes.map(char::from).collect()
    };
    let text = text.get(PREFIX.len()..).unwrap_or_default();
    let version = part(text, |byte| byte.is_ascii_digit() || *byte == b'.');
    let rest = text.get(version.len()..).unwrap_or_default();
    let build = rest.strip_prefix(b" ").unwrap_or_default();
    let build = part(
        build.get(..BUILD.len()).unwrap_or(build),
        u8::is_ascii_hexdigit,
    );
    match build.len() == BUILD.len() {
        true => format!("version {version} (build {build})"),
        false => format!("version {version} (no build named)"),
    }
}
