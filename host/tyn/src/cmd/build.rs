//! `tyn build`: makes an image of an OTP release.

use std::path::PathBuf;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use tyn_release::{Include, Progress, Request};

/// Arguments of `tyn build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the release, e.g. _build/prod/rel/NAME
    release: PathBuf,
    /// Root of the Linux system that has the shared libraries which the release lacks
    #[arg(long, value_name = "DIR", default_value = "/")]
    sysroot: PathBuf,
    /// Add a file or folder with the libraries it needs, e.g. /bin/sh: from the same place in the sysroot, or FILE=PATH
    /// for a file of this machine; may be repeated
    #[arg(long, value_name = "[FILE=]PATH")]
    include: Vec<Include>,
    /// Image to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Makes the image.
///
/// # Errors
/// What is wrong with the release or the sysroot, and what mends it.
pub(crate) fn build(args: &Args) -> Result<()> {
    // Hidden by itself where standard error is no terminal.
    let bar = ProgressBar::new_spinner();
    bar.set_style(
        ProgressStyle::with_template("{spinner} {msg} {wide_bar} {pos}/{len}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let request = Request {
        release: &args.release,
        sysroot: &args.sysroot,
        includes: &args.include,
        out: &args.output,
        mtime: source_date()?,
    };
    let built = tyn_release::build(&request, &mut |progress| match progress {
        Progress::Reading => bar.set_message("reading the release"),
        Progress::Libraries => bar.set_message("finding shared libraries"),
        Progress::Writing { of, .. } => {
            bar.set_message("writing");
            bar.set_length(of as u64);
            bar.inc(1);
        }
    });
    bar.finish_and_clear();
    let built = built?;
    for warning in &built.warnings {
        eprintln!("tyn: warning: {warning}");
    }
    eprintln!(
        "{}: {} {}, ERTS {}, {} libraries, {} files, {:.1} MB",
        args.output.display(),
        built.release.name,
        built.release.version,
        built.release.erts,
        built.libraries.len(),
        built.entries,
        built.bytes as f64 / 1e6
    );
    Ok(())
}

/// Returns the time of all files in the image: `SOURCE_DATE_EPOCH` where it is set, so that others can make the same
/// image; else 0.
fn source_date() -> Result<u32> {
    std::env::var("SOURCE_DATE_EPOCH").map_or(Ok(0), |text| {
        text.parse().with_context(|| {
            format!(
                "SOURCE_DATE_EPOCH={text} is not a number of seconds since 1970; mend or unset it"
            )
        })
    })
}
