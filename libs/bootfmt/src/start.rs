//! The start description ([`crate::INIT_PATH`]) and the run-time configuration ([`crate::RUN_PATH`]): NUL-ended records.
//!
//! The kernel parses bytes that somebody else wrote: nothing here panics, and what is parsed borrows from the input.

use alloc::vec::Vec;
use core::fmt;

/// First record of a start description: the format of an image.
pub const INIT_FORMAT: &str = "tyn-init 2";
const INIT_MAGIC: &[u8] = INIT_FORMAT.as_bytes();
/// First record of a run-time configuration.
const RUN_MAGIC: &[u8] = b"tyn-run 1";

/// What to start: the contents of [`crate::INIT_PATH`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Init<'a> {
    /// Program arguments; the first is the path of the program, too. Never empty when parsed.
    pub args: Vec<&'a [u8]>,
    /// Environment, each `NAME=VALUE`; no two of one name when parsed.
    pub env: Vec<&'a [u8]>,
    /// Working directory; empty stands for `/`.
    pub cwd: &'a [u8],
    /// Host name; empty when the image says nothing.
    pub hostname: &'a [u8],
    /// Programs that are started beside it, each with its arguments, of which the first is its path.
    pub daemons: Vec<Vec<&'a [u8]>>,
}

/// What is added when a guest starts: the contents of [`crate::RUN_PATH`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Run<'a> {
    /// Environment, each `NAME=VALUE`; overrides the image's.
    pub env: Vec<&'a [u8]>,
    /// Program arguments instead of the image's; none keep those.
    pub args: Vec<&'a [u8]>,
    /// What is started beside that, instead of the image's; heeded only where there are `args`.
    pub daemons: Vec<Vec<&'a [u8]>>,
}

/// Why a description can't be used. Its text says what is wrong and what would mend it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadStart {
    /// The first record isn't the expected one: another format or version.
    Magic,
    /// The bytes do not end with NUL.
    Truncated,
    /// A record that is not known; `0` is its index.
    Record(usize),
    /// An `env` record without a name or `=`; `0` is its index.
    Env(usize),
    /// No `arg` record, or an empty first one: nothing to start; or a daemon without a path.
    NoProgram,
    /// A value contains a NUL byte, which can't be written.
    Nul,
}

impl fmt::Display for BadStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => {
                f.write_str("was written by another version of tyn; build the image again")
            }
            Self::Truncated => f.write_str("is cut off; build the image again"),
            Self::Record(n) => write!(
                f,
                "has an unknown record (number {n}); build the image again"
            ),
            Self::Env(n) => write!(
                f,
                "has an environment record (number {n}) that is not NAME=VALUE"
            ),
            Self::NoProgram => f.write_str("names no program to start; build the image again"),
            Self::Nul => f.write_str("would contain a NUL byte within a value; remove it"),
        }
    }
}

impl core::error::Error for BadStart {}

impl<'a> Init<'a> {
    /// Parses a start description.
    ///
    /// # Errors
    /// [`BadStart`] when the bytes are not one.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BadStart> {
        let mut init = Self::default();
        for (n, record) in records(bytes, INIT_MAGIC)? {
            match split(record, n)? {
                (b"arg", value) => init.args.push(value),
                (b"env", value) => set_env(&mut init.env, value, n)?,
                (b"cwd", value) => init.cwd = value,
                (b"hostname", value) => init.hostname = value,
                (key @ (b"daemon" | b"daemon-arg"), value) => {
                    add_daemon(&mut init.daemons, key, value, n)?;
                }
                _ => return Err(BadStart::Record(n)),
            }
        }
        if init.args.first().is_none_or(|program| program.is_empty()) {
            return Err(BadStart::NoProgram);
        }
        Ok(init)
    }

    /// Adds the environment of a run-time configuration, and takes its arguments; its values win.
    pub fn apply(&mut self, run: &Run<'a>) {
        if !run.args.is_empty() {
            self.args.clone_from(&run.args);
            self.daemons.clone_from(&run.daemons);
        }
        for &variable in &run.env {
            // A parsed `Run` holds NAME=VALUE only, so there is no error to report.
            let _ = set_env(&mut self.env, variable, 0);
        }
    }

    /// Returns the description as bytes.
    ///
    /// # Errors
    /// [`BadStart`] when a value can't be written or nothing would be started.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BadStart> {
        if self.args.first().is_none_or(|program| program.is_empty()) {
            return Err(BadStart::NoProgram);
        }
        let mut out = Writer::new(INIT_MAGIC);
        for arg in &self.args {
            out.record(b"arg", arg)?;
        }
        out.env(&self.env)?;
        if !self.cwd.is_empty() {
            out.record(b"cwd", self.cwd)?;
        }
        if !self.hostname.is_empty() {
            out.record(b"hostname", self.hostname)?;
        }
        out.daemons(&self.daemons)?;
        Ok(out.bytes)
    }
}

impl<'a> Run<'a> {
    /// Parses a run-time configuration.
    ///
    /// # Errors
    /// [`BadStart`] when the bytes are not one.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BadStart> {
        let mut run = Self::default();
        for (n, record) in records(bytes, RUN_MAGIC)? {
            match split(record, n)? {
                (b"env", value) => set_env(&mut run.env, value, n)?,
                (b"arg", value) => run.args.push(value),
                (key @ (b"daemon" | b"daemon-arg"), value) => {
                    add_daemon(&mut run.daemons, key, value, n)?;
                }
                _ => return Err(BadStart::Record(n)),
            }
        }
        if run.args.first().is_some_and(|program| program.is_empty()) {
            return Err(BadStart::NoProgram);
        }
        Ok(run)
    }

    /// Returns the configuration as bytes.
    ///
    /// # Errors
    /// [`BadStart`] when a value can't be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BadStart> {
        let mut out = Writer::new(RUN_MAGIC);
        for arg in &self.args {
            out.record(b"arg", arg)?;
        }
        out.env(&self.env)?;
        out.daemons(&self.daemons)?;
        Ok(out.bytes)
    }
}

/// Returns the name of a `NAME=VALUE` variable, or `None` when it has no name or no `=`.
#[must_use]
pub fn env_name(variable: &[u8]) -> Option<&[u8]> {
    let at = variable.iter().position(|&b| b == b'=')?;
    variable.get(..at).filter(|name| !name.is_empty())
}

/// Checks the first record and returns the others with their indices.
fn records<'a>(
    bytes: &'a [u8],
    magic: &[u8],
) -> Result<impl Iterator<Item = (usize, &'a [u8])>, BadStart> {
    let body = bytes.strip_prefix(magic).ok_or(BadStart::Magic)?;
    let body = body.strip_prefix(b"\0").ok_or(if body.is_empty() {
        BadStart::Truncated
    } else {
        BadStart::Magic
    })?;
    let body = match body {
        [] => body,
        [rest @ .., 0] => rest,
        _ => return Err(BadStart::Truncated),
    };
    // An empty body holds no record; `split` would make one empty record of it.
    let count = if bytes.len() == magic.len().saturating_add(1) {
        0
    } else {
        usize::MAX
    };
    Ok(body.split(|&b| b == 0).take(count).enumerate())
}

fn split(record: &[u8], n: usize) -> Result<(&[u8], &[u8]), BadStart> {
    let at = record
        .iter()
        .position(|&b| b == b'=')
        .ok_or(BadStart::Record(n))?;
    match record.split_at_checked(at) {
        Some((key, [_, value @ ..])) => Ok((key, value)),
        _ => Err(BadStart::Record(n)),
    }
}

/// Begins a daemon (`daemon`), or adds an argument to the last one.
fn add_daemon<'a>(
    daemons: &mut Vec<Vec<&'a [u8]>>,
    key: &[u8],
    value: &'a [u8],
    n: usize,
) -> Result<(), BadStart> {
    match daemons.last_mut() {
        _ if key == b"daemon" && value.is_empty() => return Err(BadStart::NoProgram),
        _ if key == b"daemon" => daemons.push(Vec::from([value])),
        Some(daemon) => daemon.push(value),
        None => return Err(BadStart::Record(n)),
    }
    Ok(())
}

fn set_env<'a>(env: &mut Vec<&'a [u8]>, variable: &'a [u8], n: usize) -> Result<(), BadStart> {
    let name = env_name(variable).ok_or(BadStart::Env(n))?;
    match env.iter_mut().find(|known| env_name(known) == Some(name)) {
        Some(known) => *known = variable,
        None => env.push(variable),
    }
    Ok(())
}

/// Collects records.
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn new(magic: &[u8]) -> Self {
        let mut bytes = magic.to_vec();
        bytes.push(0);
        Self { bytes }
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), BadStart> {
        if value.contains(&0) {
            return Err(BadStart::Nul);
        }
        self.bytes.extend_from_slice(key);
        self.bytes.push(b'=');
        self.bytes.extend_from_slice(value);
        self.bytes.push(0);
        Ok(())
    }

    fn daemons(&mut self, daemons: &[Vec<&[u8]>]) -> Result<(), BadStart> {
        for daemon in daemons {
            let path = daemon.first().filter(|path| !path.is_empty());
            self.record(b"daemon", path.ok_or(BadStart::NoProgram)?)?;
            for arg in daemon.iter().skip(1) {
                self.record(b"daemon-arg", arg)?;
            }
        }
        Ok(())
    }

    fn env(&mut self, env: &[&[u8]]) -> Result<(), BadStart> {
        for (n, variable) in env.iter().enumerate() {
            env_name(variable).ok_or(BadStart::Env(n))?;
            self.record(b"env", variable)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{string::ToString, vec};

    fn init() -> Init<'static> {
        Init {
            args: vec![b"/bin/beam.smp", b"--", b"", b"-root=x"],
            env: vec![b"A=1", b"B=", b"C=x=y"],
            cwd: b"/app",
            hostname: b"tyn",
            daemons: vec![vec![b"/bin/epmd", b"-x", b""], vec![b"/bin/d"]],
        }
    }

    #[test]
    fn description_survives_writing_and_parsing() {
        let bytes = init().to_bytes().unwrap();
        assert!(bytes.starts_with(b"tyn-init 2\0arg=/bin/beam.smp\0"));
        assert_eq!(Init::parse(&bytes).unwrap(), init());
        let run = Run {
            env: vec![b"K=v\nw"],
            args: vec![b"/bin/sh", b"-i"],
            daemons: vec![vec![b"/bin/d", b"1"]],
        };
        assert_eq!(Run::parse(&run.to_bytes().unwrap()).unwrap(), run);
        assert_eq!(Run::parse(b"tyn-run 1\0").unwrap(), Run::default());
    }

    #[test]
    fn run_configuration_overrides_and_adds() {
        let mut init = init();
        init.apply(&Run {
            env: vec![b"B=2", b"D=4"],
            ..Run::default()
        });
        let want: [&[u8]; 4] = [b"A=1", b"B=2", b"C=x=y", b"D=4"];
        assert_eq!(init.env, want);
        assert_eq!((init.args.len(), init.daemons.len()), (4, 2));
        init.apply(&Run {
            args: vec![b"/x", b"y"],
            ..Run::default()
        });
        let want: [&[u8]; 2] = [b"/x", b"y"];
        assert_eq!(init.args, want);
        // What is started beside a program belongs to it.
        assert!(init.daemons.is_empty());
    }

    #[test]
    fn repeated_variable_keeps_its_last_value() {
        let init = Init::parse(b"tyn-init 2\0arg=/x\0env=A=1\0env=A=2\0").unwrap();
        let want: [&[u8]; 1] = [b"A=2"];
        assert_eq!(init.env, want);
    }

    #[test]
    fn foreign_bytes_are_refused_by_kind() {
        use BadStart::{Env, Magic, NoProgram, Record, Truncated};
        for (bytes, want) in [
            (&b""[..], Magic),
            (b"tyn-init 1\0arg=/x\0", Magic),
            (b"tyn-init 3\0arg=/x\0", Magic),
            (b"tyn-init 2", Truncated),
            (b"tyn-init 2\0arg=/x", Truncated),
            (b"tyn-init 2\0", NoProgram),
            (b"tyn-init 2\0cwd=/\0", NoProgram),
            (b"tyn-init 2\0arg=\0", NoProgram),
            (b"tyn-init 2\0\0", Record(0)),
            (b"tyn-init 2\0arg=/x\0color=red\0", Record(1)),
            (b"tyn-init 2\0arg=/x\0env=A\0", Env(1)),
            (b"tyn-init 2\0arg=/x\0env==1\0", Env(1)),
            (b"tyn-init 2\0arg=/x\0daemon-arg=x\0", Record(1)),
            (b"tyn-init 2\0arg=/x\0daemon=\0", NoProgram),
        ] {
            assert_eq!(Init::parse(bytes), Err(want), "{bytes:?}");
            assert!(want.to_string().len() > 10);
        }
        assert_eq!(Run::parse(b"tyn-run 1\0cwd=/x\0"), Err(Record(0)));
        assert_eq!(Run::parse(b"tyn-run 1\0arg=\0"), Err(NoProgram));
    }

    #[test]
    fn unwritable_values_are_refused() {
        let mut bad = init();
        bad.args.push(b"a\0b");
        assert_eq!(bad.to_bytes(), Err(BadStart::Nul));
        assert_eq!(
            Run {
                env: vec![b"novalue"],
                ..Run::default()
            }
            .to_bytes(),
            Err(BadStart::Env(0))
        );
        assert_eq!(Init::default().to_bytes(), Err(BadStart::NoProgram));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Init::parse(&bytes);
            let mut with_magic = b"tyn-init 2\0".to_vec();
            with_magic.extend_from_slice(&bytes);
            let _ = Init::parse(&with_magic);
        }

        #[test]
        fn any_arguments_survive(args in proptest::collection::vec("[^\0]{0,12}", 0..8)) {
            let mut init = init();
            init.args.extend(args.iter().map(|a| a.as_bytes()));
            let bytes = init.to_bytes().unwrap();
            prop_assert_eq!(Init::parse(&bytes).unwrap(), init);
        }
    }
}
