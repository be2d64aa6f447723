//! `tyn image`: a disk that machines boot by themselves, from BIOS and UEFI.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use tyn_disk::convert::{self, Target};
use tyn_disk::{DiskError, Grub, Request, gce, iso};
use tyn_release::handover::behind_image;
use tyn_release::image::is_compressed;
use tyn_vm_host::qemu::find_program;

use crate::{kernel, settings, terminal};

/// Disks are multiples of it.
const MEGABYTE: u64 = 1 << 20;

/// Arguments of `tyn image`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Image that `tyn build` made
    image: PathBuf,
    /// Disk to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What the disk is
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
    /// Sector for sector, for real disks and USB sticks
    Raw,
    /// For QEMU and OpenStack
    Qcow2,
    /// An optical disc
    Iso,
    /// An archive that Google Compute Engine imports
    Gce,
    /// For vSphere, VirtualBox and clouds that import it ("streamOptimized")
    Vmdk,
}

impl Format {
    /// Returns the program that makes it, and the package in which Debian has it.
    fn tool(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Raw | Self::Gce => None,
            Self::Qcow2 | Self::Vmdk => Some(("qemu-img", "qemu-utils")),
            Self::Iso => Some(("xorriso", "xorriso")),
        }
    }
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
    // What was named is looked at first, then what the machine has.
    let grub = Grub::find(&args.grub)?;
    let tool = args.format.tool().map(|(tool, package)| {
        find_program(tool).with_context(|| {
            format!("{tool} is missing; install it (Debian package {package}), or use --format raw")
        })
    });
    let tool = tool.transpose()?;
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
    let new = dir.path().join("new");
    let request = Request {
        kernel: &kernel.file,
        image: unpacked.as_ref().map_or(&args.image, |file| file.path()),
        options: &options,
        grub: &grub,
        out: &new,
    };
    let bytes = make(
        args.format,
        &request,
        tool.as_deref().unwrap_or(Path::new("")),
    )?;
    let moved = fs::rename(&new, &args.output);
    moved.with_context(|| format!("{} can't be written", args.output.display()))?;
    bar.finish_and_clear();
    let what = match args.format {
        Format::Iso => "an optical disc",
        Format::Gce => "the archive of a disk",
        Format::Raw | Format::Qcow2 | Format::Vmdk => "a disk",
    };
    terminal::say(&format!(
        "{}: {what} of {:.1} MB for BIOS and UEFI",
        args.output.display(),
        bytes as f64 / 1e6
    ));
    Ok(())
}

/// Makes a disk of the format by `tool`; returns its size in bytes, as a machine sees it.
fn make(format: Format, request: &Request<'_>, tool: &Path) -> Result<u64, DiskError> {
    let target = match format {
        Format::Iso => return iso::make(request, tool),
        Format::Raw => return Ok(tyn_disk::make(request, MEGABYTE)?.bytes),
        Format::Gce => None,
        Format::Qcow2 => Some(Target::Qcow2),
        Format::Vmdk => Some(Target::Vmdk),
    };
    let out = request.out;
    let raw = out.with_extension("raw");
    let request = Request {
        out: &raw,
        ..*request
    };
    let multiple = target.map_or(gce::MULTIPLE, |_| MEGABYTE);
    let made = tyn_disk::make(&request, multiple)?;
    match target {
        Some(target) => convert::convert(tool, &raw, target, out)?,
        None => gce::pack(&raw, &made, out)?,
    }
    Ok(made.bytes)
}
