//! `tyn image`: a disk that machines boot by themselves, from BIOS and UEFI.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use tyn_disk::{Grub, Request};
use tyn_release::handover::behind_image;
use tyn_release::image::is_compressed;
use tyn_scratch::Program;
use tyn_vm_host::vm::find_program;

use crate::{kernel, settings, terminal};

/// Arguments of `tyn image`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Image that `tyn build` made
    image: PathBuf,
    /// Disk to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What the disk is: raw, as on a real one, or qcow2 for QEMU and OpenStack
    #[arg(long, value_name = "FORMAT", default_value = "raw")]
    format: Format,
    /// Options for the kernel
    #[arg(
        long,
        value_name = "OPTIONS",
        default_value = "",
        allow_hyphen_values = true
    )]
    append: String,
    /// Kernel to put on it instead of the one inside this tool
    #[arg(long, value_name = "PATH")]
    kernel: Option<PathBuf>,
    /// Root of the Debian system that has GRUB
    #[arg(long, value_name = "DIR", default_value = "/")]
    grub: PathBuf,
}

/// A disk's format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    /// Sector for sector.
    Raw,
    /// QEMU's own.
    Qcow2,
}

/// Makes a disk.
///
/// # Errors
/// What is wrong with the image or GRUB, and what mends it.
pub(crate) fn image(args: &Args) -> Result<()> {
    tyn_scratch::end_on_signals().context("Ctrl-C can't be handled")?;
    let options = settings::kernel_options(&args.append, None)?;
    tyn_release::check(&args.image)?;
    tyn_release::check_output(&args.output)?;
    let grub = Grub::find(&args.grub)?;
    let converter = match args.format {
        Format::Raw => None,
        Format::Qcow2 => Some(find_program("qemu-img").context(
            "qemu-img is missing; install it (Debian package qemu-utils), or use --format raw",
        )?),
    };
    let folder = args
        .output
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if !folder.is_dir() {
        bail!(
            "the folder {} is not there; make it, or name another --output",
            folder.display()
        );
    }
    // Beside the disk: it is as large, and a temporary folder may be in memory.
    let dir = tyn_scratch::Dir::new_in(folder);
    let dir = dir.with_context(|| format!("{} can't be written to", folder.display()))?;
    let kernel = kernel::find(args.kernel.as_deref(), dir.path())?;
    // A machine reads it as it lies on the disk.
    let unpacked = is_compressed(&args.image)?.then(|| behind_image(&args.image, &[], dir.path()));
    let unpacked = unpacked
        .transpose()
        .context("the image can't be unpacked")?;
    // Hidden by itself where standard error is no terminal.
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::default_spinner());
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar.set_message("writing the disk");
    let mut disk = dir.path().join("raw");
    let bytes = tyn_disk::make(&Request {
        kernel: &kernel.file,
        image: unpacked.as_ref().map_or(&args.image, |file| file.path()),
        options: &options,
        grub: &grub,
        out: &disk,
    })?;
    if let Some(converter) = converter {
        bar.set_message("converting the disk");
        disk = convert(&converter, &disk)?;
    }
    let moved = fs::rename(&disk, &args.output);
    moved.with_context(|| format!("{} can't be written", args.output.display()))?;
    bar.finish_and_clear();
    terminal::say(&format!(
        "{}: a disk of {:.1} MB for BIOS and UEFI",
        args.output.display(),
        bytes as f64 / 1e6
    ));
    Ok(())
}

/// Makes a disk of QEMU's format beside the raw one.
fn convert(converter: &Path, raw: &Path) -> Result<PathBuf> {
    let new = raw.with_file_name("qcow2");
    let mut convert = Command::new(converter);
    convert
        .args(["convert", "-f", "raw", "-O", "qcow2"])
        .args([raw, &new]);
    let output = Program::output(&mut convert).context("qemu-img can't be started")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("qemu-img failed: {}", text.trim().replace('\n', "; "));
    }
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644))
        .context("the disk can't be made readable")?;
    Ok(new)
}
