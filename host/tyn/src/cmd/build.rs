//! `tyn build`: makes an image of an OTP release.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tyn_release::{App, Built, Choices, Include, Input, OpenError, Progress, Request};

use crate::otp::{self, Otp};
use crate::project::{self, Build};
use crate::terminal;

/// Arguments of `tyn build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to make it of: a release (its folder, its tarball, a project with one in _build), the shipment of a Gleam
    /// project, a folder of .beam files or of applications (with --start), or a container image (docker save, OCI layout);
    /// - for an archive on standard input [default: that of tyn.toml]
    input: Option<PathBuf>,
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
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    strip_beams: Option<bool>,
    /// Drop from programs and libraries what only debuggers read (symbols, debug information)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    strip_elf: Option<bool>,
    /// Pack epmd, too, when the release starts without a node name and `tyn run` may give it one
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    epmd: Option<bool>,
    /// Leave out what an application has in priv/ for another processor or C library than the emulator's: NIFs that can't
    /// be loaded anyway
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    skip_foreign: Option<bool>,
    /// Compress the image (by zstd) for shipping; a start unpacks it first
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    compress: Option<bool>,
    /// Write a bill of materials beside the image: IMAGE.cdx.json, in the CycloneDX format
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sbom: Option<bool>,
    /// Image to write [default: that of tyn.toml]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Read this file instead of tyn.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Everything, decided: flags, and the file where they say nothing.
#[derive(Debug)]
struct Plan {
    input: PathBuf,
    release: Option<String>,
    start: Option<String>,
    sysroot: Option<PathBuf>,
    otp: Option<Otp>,
    /// Of those with one name, the last counts.
    env: Vec<(String, String)>,
    includes: Vec<Include>,
    strip_beams: bool,
    strip_elf: bool,
    epmd: bool,
    skip_foreign: bool,
    compress: bool,
    sbom: bool,
    output: PathBuf,
}

impl Plan {
    fn new(args: &Args, file: Build) -> Result<Self> {
        let Some(input) = args.input.clone().or(file.input) else {
            bail!(
                "nothing is named that an image could be made of; name a release, or write `input = \"…\"` below [build] in tyn.toml"
            );
        };
        let input = match input.as_os_str() == "-" {
            true => PathBuf::from("/dev/stdin"),
            false => input,
        };
        let Some(output) = args.output.clone().or(file.output) else {
            bail!(
                "no image is named; name one by -o, or write `output = \"…\"` below [build] in tyn.toml"
            );
        };
        let known = file.env.iter().map(|text| {
            variable(text).map_err(|error| anyhow!("the variable {text} of tyn.toml: {error}"))
        });
        let mut env = known.collect::<Result<Vec<_>>>()?;
        env.extend(args.env.iter().cloned());
        let files = file.files.into_iter().map(|(guest, from)| Include {
            from: Some(from),
            guest,
        });
        let mut includes: Vec<Include> = Vec::new();
        for new in file
            .include
            .into_iter()
            .chain(files)
            .chain(args.include.iter().cloned())
        {
            includes.retain(|known| known.guest != new.guest);
            includes.push(new);
        }
        Ok(Self {
            input,
            release: args.release.clone().or(file.release),
            start: args.start.clone().or(file.start),
            sysroot: args.sysroot.clone().or(file.sysroot),
            otp: args.otp.clone().or(file.otp),
            env,
            includes,
            strip_beams: args.strip_beams.or(file.strip_beams).unwrap_or(false),
            strip_elf: args.strip_elf.or(file.strip_elf).unwrap_or(false),
            epmd: args.epmd.or(file.epmd).unwrap_or(false),
            skip_foreign: args.skip_foreign.or(file.skip_foreign).unwrap_or(false),
            compress: args.compress.or(file.compress).unwrap_or(false),
            sbom: args.sbom.or(file.sbom).unwrap_or(false),
            output,
        })
    }
}

/// Makes the image.
///
/// # Errors
/// What is wrong with the release or the sysroot, and what mends it.
pub(crate) fn build(args: &Args) -> Result<()> {
    tyn_scratch::end_on_signals().context("Ctrl-C can't be handled")?;
    let plan = &Plan::new(args, project::read(args.config.as_deref())?.build)?;
    // Hidden by itself where standard error is no terminal.
    let bar = ProgressBar::new_spinner();
    bar.set_style(
        ProgressStyle::with_template("{spinner} {msg} {wide_bar} {pos}/{len}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_message("reading");
    check_output(&plan.output)?;
    let mut app = open(plan)?;
    app.recipe.env.extend(plan.env.iter().cloned());
    let request = Request {
        app: &app,
        includes: &plan.includes,
        out: &plan.output,
        latest: source_date()?,
        strip_beams: plan.strip_beams,
        skip_foreign: plan.skip_foreign,
        strip_elf: plan.strip_elf,
        epmd: plan.epmd,
        compress: plan.compress,
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
    let built = built.map_err(|error| {
        anyhow!(
            "{}",
            app.named(&format!("{:#}", anyhow::Error::from(error)))
        )
    })?;
    if plan.sbom {
        let mut file = plan.output.clone().into_os_string();
        file.push(".cdx.json");
        tyn_release::sbom::write(&plan.output, &built.recipe, Path::new(&file))?;
    }
    report(plan, &app, &built);
    Ok(())
}

/// Says what can't become an image before much is done for it.
fn check_output(out: &Path) -> Result<()> {
    let folder = out.parent().filter(|folder| *folder != Path::new(""));
    if let Some(folder) = folder
        && matches!(fs::metadata(folder), Err(error) if error.kind() == ErrorKind::NotFound)
    {
        bail!(
            "the folder {} is not there; make it, or name another --output",
            folder.display()
        );
    }
    Ok(tyn_release::check_output(out)?)
}

/// Reads NAME=VALUE.
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err(format!("'{text}' is not NAME=VALUE: use e.g. LANG=C.UTF-8")),
    }
}

fn open(plan: &Plan) -> Result<App> {
    let input = Input::detect(&plan.input).map_err(OpenError::from)?;
    let otp = plan.otp.as_ref().map(Otp::ensure).transpose()?;
    match open_with(plan, &input, otp.as_deref()) {
        Ok(app) => Ok(app),
        // What this machine has doesn't do, and nothing else was asked for.
        Err(error) if plan.otp.is_none() && plan.sysroot.is_none() => match error.wants_otp() {
            Some(release) => {
                let otp = Otp::Release(release).ensure().context(error)?;
                Ok(open_with(plan, &input, Some(&otp))?)
            }
            None => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn open_with(plan: &Plan, input: &Input, otp: Option<&Path>) -> Result<App, OpenError> {
    let own = otp.filter(|dir| otp::is_system(dir));
    let sysroot = plan.sysroot.as_deref().or(own).unwrap_or(Path::new("/"));
    input.open(&Choices {
        release: plan.release.as_deref(),
        start: plan.start.as_deref(),
        sysroot,
        otp,
    })
}

fn report(plan: &Plan, app: &App, built: &Built) {
    for warning in &built.warnings {
        terminal::say(&format!("tyn: warning: {}", app.named(warning)));
    }
    terminal::say(&format!(
        "{}: {}, ERTS {}, {}, {} files, {:.1} MB",
        plan.output.display(),
        [built.recipe.name.as_str(), &built.recipe.version]
            .join(" ")
            .trim_end(),
        built.recipe.erts,
        match built.libraries.len() {
            1 => "1 library".to_owned(),
            more => format!("{more} libraries"),
        },
        built.files,
        built.bytes as f64 / 1e6
    ));
    for port in &app.ports {
        let port = port.split('/').next().unwrap_or(port);
        terminal::say(&format!("it serves port {port}: tyn run -p {port}:{port}"));
    }
}

/// Returns the latest time that a file in the image may have: `SOURCE_DATE_EPOCH`, where it is set, so that others can make
/// the same image.
fn source_date() -> Result<Option<u32>> {
    std::env::var("SOURCE_DATE_EPOCH").map_or(Ok(None), |text| {
        text.parse().map(Some).with_context(|| {
            format!(
                "SOURCE_DATE_EPOCH={text} is not a number of seconds since 1970; mend or unset it"
            )
        })
    })
}
