//! From settings to a running machine.
//!
//! A [`Launch`] holds all that a start takes, checked and read, so that it can be handed to another process ([`crate::background`])
//! and means the same there. What is private in it (variables, files) is handed to the guest in an archive behind its image, in
//! a file that only we may read and that is gone as soon as QEMU has it.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tyn_bootfmt::options::TtySize;
use tyn_release::DISTRIBUTION_PORT;
use tyn_release::handover::{self, Epmd, GuestFile, RunConfig};
use tyn_release::image::{self, Checked};
use tyn_trace::Line;
use tyn_vm_host::{Accel, Config, Console, Forward, Mac, Machine, MemorySize, OnLine, Symbols, Vm};

use crate::node::Node;
use crate::settings::{FileArg, Settings, Trace, absolute};
use crate::stopper::Stopper;
use crate::{given, interactive, kernel, terminal};

/// All that a start takes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) image: PathBuf,
    kernel: Option<PathBuf>,
    #[serde(with = "text")]
    machine: Machine,
    #[serde(with = "text")]
    accel: Accel,
    pub(crate) cpus: u32,
    #[serde(with = "text")]
    pub(crate) memory: MemorySize,
    #[serde(with = "text::list")]
    pub(crate) ports: Vec<Forward>,
    append: String,
    trace: Option<Trace>,
    /// With somebody at the console: the size of its terminal.
    #[serde(with = "tty_size")]
    pub(crate) tty_size: Option<TtySize>,
    /// How its Erlang node can be reached.
    pub(crate) node: Node,
    /// What goes behind the image, or nothing.
    #[serde(skip)]
    pub(crate) archive: Vec<u8>,
}

/// Values as the text that is typed for them.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &impl Display, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
        from: D,
    ) -> Result<T, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }

    /// Several of them.
    pub(super) mod list {
        use super::{Deserialize, Deserializer, Display, Error, FromStr, Serializer};

        pub(in super::super) fn serialize<S: Serializer>(
            values: &[impl Display],
            to: S,
        ) -> Result<S::Ok, S::Error> {
            to.collect_seq(values.iter().map(ToString::to_string))
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
            from: D,
        ) -> Result<Vec<T>, D::Error> {
            let texts = Vec::<String>::deserialize(from)?;
            texts
                .iter()
                .map(|text| text.parse().map_err(D::Error::custom))
                .collect()
        }
    }
}

/// A terminal's size as two numbers.
mod tty_size {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use tyn_bootfmt::options::TtySize;

    pub(super) fn serialize<S: Serializer>(
        size: &Option<TtySize>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        size.map(|size| (size.rows, size.columns)).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<TtySize>, D::Error> {
        let size = Option::<(u16, u16)>::deserialize(from)?;
        Ok(size.map(|(rows, columns)| TtySize { rows, columns }))
    }
}

impl Launch {
    /// Reads what the settings name.
    ///
    /// # Errors
    /// What is wrong with the image or the run-time configuration.
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let checked = image::check(&settings.image)?;
        let config = run_config(settings, &checked)?;
        let args = match config.args[..] {
            [] => &checked.args,
            _ => &config.args,
        };
        let node = Node::of(args, &config.files);
        let archive = if config.is_empty() {
            Vec::new()
        } else {
            config.to_archive(&checked)?
        };
        Ok(Self {
            image: absolute(&settings.image),
            kernel: settings.kernel.as_deref().map(absolute),
            machine: settings.machine,
            accel: settings.accel,
            cpus: settings.cpus,
            memory: settings.memory,
            ports: settings.ports.clone(),
            append: settings.append.clone(),
            trace: settings.trace,
            tty_size: settings.interactive.then(terminal::size),
            node,
            archive,
        })
    }

    /// Starts the machine, unless `stopper` was asked before that could be undone; `see` is shown each line of the kernel's report
    /// before it is printed.
    ///
    /// # Errors
    /// Why it can't be started.
    pub(crate) fn boot(
        &self,
        console: Console,
        stopper: &Stopper,
        mut see: impl FnMut(&Line<'_>) + Send + 'static,
    ) -> Result<Vm> {
        let dir = tyn_scratch::Dir::new();
        // Removed at the end: QEMU has read the files when the machine runs.
        let dir = dir.with_context(|| {
            let place = std::env::temp_dir();
            format!("the temporary folder {} can't be used", place.display())
        })?;
        let kernel = kernel::find(self.kernel.as_deref(), dir.path())?;
        let is_whole = self.archive.is_empty() && !image::is_compressed(&self.image)?;
        let copy = if is_whole {
            None
        } else {
            let copy = handover::behind_image(&self.image, &self.archive, dir.path());
            Some(copy.context(
                "the image with its run-time configuration can't be written to a temporary file",
            )?)
        };
        let config = Config {
            machine: self.machine,
            accel: self.accel,
            cpus: self.cpus,
            memory: self.memory,
            append: self.append.clone(),
            mac: Some(Mac::of(RandomState::new().hash_one(&self.image))),
            forwards: self.ports.clone(),
            tty_size: self.tty_size,
            ..Config::new(
                &kernel.file,
                copy.as_ref().map_or(&self.image, |file| file.path()),
            )
        };
        let mut print = printer(kernel.symbols, self.trace);
        let stops = stopper.clone();
        let on_line = Box::new(move |line: &Line<'_>| {
            stops.see(line);
            see(line);
            print(line);
        });
        stopper.before_start();
        Ok(Vm::start(&config, console, on_line)?)
    }
}

/// Returns what is handed over to the guest.
fn run_config(settings: &Settings, image: &Checked) -> Result<RunConfig> {
    let mut config = RunConfig::default();
    if settings.interactive {
        config.env = interactive::environment();
        // An image of something else than a release has one way to start.
        if let Some(start) = &image.interactive {
            config.args.clone_from(&start.args);
            config.archive.clone_from(&start.files);
        }
    }
    // What a start script makes of its environment, it makes of this.
    let given = tyn_release::given(&settings.image, &settings.env, settings.interactive)?;
    for warning in &given.warnings {
        terminal::say(&format!("tyn: warning: {warning}"));
    }
    config.args = given.args.unwrap_or(config.args);
    let words = settings.words();
    if !words.is_empty() {
        let args = if config.args.is_empty() {
            &image.args
        } else {
            &config.args
        };
        let read = |path: &std::path::Path| given::read_text(path);
        let more = handover::add_arguments(args, &words, &read, image)?;
        config.args = more.args;
        config.env.extend(more.env);
    }
    match handover::add_epmd(&mut config, image) {
        Epmd::NotWanted | Epmd::Added => {}
        Epmd::FixedPort => terminal::say(&format!(
            "tyn: warning: the arguments name the node, but the image has no epmd (`tyn build --epmd` packs it): it listens on \
             port {DISTRIBUTION_PORT}, and other nodes find it when they are started with -start_epmd false -erl_epmd_port \
             {DISTRIBUTION_PORT}"
        )),
        Epmd::Missing => terminal::say(
            "tyn: warning: the arguments name the node, but the image has no epmd (`tyn build --epmd` packs it): other nodes \
             can't find it (or use -start_epmd false -erl_epmd_port PORT on both sides)",
        ),
    }
    config.env.extend(settings.env.iter().cloned());
    config.env.extend(given.env);
    let most = settings.memory.0;
    let files = settings.files.iter().map(|file| read_file(file, most));
    config.files = files.collect::<Result<_>>()?;
    // A file of the user's own wins.
    let is_new = |file: &GuestFile| !config.files.iter().any(|own| own.path == file.path);
    let written: Vec<GuestFile> = given.files.into_iter().filter(is_new).collect();
    config.files.extend(written);
    Ok(config)
}

/// Reads a file for the guest, in which it will take memory: at most so many bytes of it.
fn read_file(file: &FileArg, most: u64) -> Result<GuestFile> {
    let shown = file.host.display();
    let unreadable = || {
        format!(
            "{shown}, which is to be {} in the guest, can't be read",
            file.guest.display()
        )
    };
    let meta = fs::metadata(&file.host).with_context(unreadable)?;
    if meta.is_dir() {
        bail!(
            "{shown}, which is to be {} in the guest, is a folder; name files one by one",
            file.guest.display()
        );
    }
    Ok(GuestFile {
        path: file.guest.clone(),
        mode: meta.permissions().mode() & 0o777,
        data: given::read(&file.host, most).with_context(unreadable)?,
    })
}

/// Returns what prints the kernel's report.
fn printer(symbols: Symbols, trace: Option<Trace>) -> OnLine {
    let mut has_panicked = false;
    Box::new(move |line| match line {
        Line::Panic(text) => {
            has_panicked = true;
            terminal::say(&format!("tyn: kernel panic: {}", symbols.annotate(text)));
        }
        Line::Trace(_) | Line::Log(_) | Line::Metric { .. } if has_panicked || trace.is_some() => {
            terminal::say(&format!("tyn: {line}"));
        }
        // An error is what `run` returns.
        Line::Trace(_) | Line::Log(_) | Line::Metric { .. } | Line::Exit(_) | Line::Error(_) => {}
    })
}
