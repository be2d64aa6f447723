//! `tyn build`: makes an image of an OTP release.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use tyn_release::{App, Built, Choices, Include, Input, OpenError, Progress, Request};

use crate::otp::{self, Otp};

/// Arguments of `tyn build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to make it of: a release (its folder, its tarball, a project with one in _build), the shipment of a Gleam
    /// project, a folder of .beam files or of applications (with --start), or a container image (docker save, OCI layout)
    input: PathBuf,
    /// The release to take where there are several
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
    /// What to start of a folder of .beam files or applications: MODULE:FUNCTION/0, or MODULE:start/0
    #[arg(short, long, value_name = "MODULE[:FUNCTION]")]
    start: Option<String>,
    /// Root of the Linux system that has the shared libraries which the input lacks; without, this machine's, or those
    /// that come with --otp; container images have their own
    #[arg(long, value_name = "DIR")]
    sysroot: Option<PathBuf>,
    /// Erlang/OTP for an input without one: 25, 27 or 29 of Debian (fetched once), or the folder of a Linux system or
    /// with erts-VERSION in it; without, this machine's, else Debian's
    #[arg(long, value_name = "RELEASE|DIR")]
    otp: Option<Otp>,
    /// Give an environment variable a value that `tyn run -e` may change; it can be read in the image, so no secrets
    #[arg(short, long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Add a file or folder with the libraries it needs, e.g. /bin/sh: from the same place in the sysroot, or FILE=PATH
    /// for a file of this machine; may be repeated
    #[arg(long, value_name = "[FILE=]PATH")]
    include: Vec<Include>,
    /// Drop from modules what isn't needed to run them (debug information, documentation)
    #[arg(long)]
    strip_beams: bool,
    /// Compress the image (by zstd) for shipping; a start unpacks it first
    #[arg(long)]
    compress: bool,
    /// Write a bill of materials beside the image: IMAGE.cdx.json, in the CycloneDX format
    #[arg(long)]
    sbom: bool,
    /// Image to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Makes the image.
///
/// # Errors
/// What is wrong with the release or the sysroot, and what mends it.
pub(crate) fn build(args: &Args) -> Result<()> {
    tyn_scratch::end_on_signals().context("Ctrl-C can't be handled")?;
    // Hidden by itself where standard error is no terminal.
    let bar = ProgressBar::new_spinner();
    bar.set_style(
        ProgressStyle::with_template("{spinner} {msg} {wide_bar} {pos}/{len}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_message("reading");
    let mut app = open(args)?;
    app.recipe.env.extend(args.env.iter().cloned());
    let request = Request {
        app: &app,
        includes: &args.include,
        out: &args.output,
        mtime: source_date()?,
        strip_beams: args.strip_beams,
        compress: args.compress,
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
    if args.sbom {
        let mut file = args.output.clone().into_os_string();
        file.push(".cdx.json");
        tyn_release::sbom::write(&args.output, &built.recipe, Path::new(&file))?;
    }
    report(args, &app, &built);
    Ok(())
}

/// Reads NAME=VALUE.
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("it is not NAME=VALUE".into()),
    }
}

fn open(args: &Args) -> Result<App> {
    let input = Input::detect(&args.input).map_err(OpenError::from)?;
    let otp = args.otp.as_ref().map(Otp::ensure).transpose()?;
    match open_with(args, &input, otp.as_deref()) {
        Ok(app) => Ok(app),
        // What this machine has doesn't do, and nothing else was asked for.
        Err(error) if args.otp.is_none() && args.sysroot.is_none() => match error.wants_otp() {
            Some(release) => {
                let otp = Otp::Release(release).ensure().context(error)?;
                Ok(open_with(args, &input, Some(&otp))?)
            }
            None => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn open_with(args: &Args, input: &Input, otp: Option<&Path>) -> Result<App, OpenError> {
    let own = otp.filter(|dir| otp::is_system(dir));
    let sysroot = args.sysroot.as_deref().or(own).unwrap_or(Path::new("/"));
    input.open(&Choices {
        release: args.release.as_deref(),
        start: args.start.as_deref(),
        sysroot,
        otp,
    })
}

fn report(args: &Args, app: &App, built: &Built) {
    for warning in &built.warnings {
        eprintln!("tyn: warning: {warning}");
    }
    eprintln!(
        "{}: {}, ERTS {}, {} libraries, {} files, {:.1} MB",
        args.output.display(),
        [built.recipe.name.as_str(), &built.recipe.version]
            .join(" ")
            .trim_end(),
        built.recipe.erts,
        built.libraries.len(),
        built.entries,
        built.bytes as f64 / 1e6
    );
    for port in &app.ports {
        let port = port.split('/').next().unwrap_or(port);
        eprintln!("it serves port {port}: tyn run -p {port}:{port}");
    }
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
