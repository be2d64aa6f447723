//! `tyn.toml`: what `tyn build` and `tyn run` use where the command line says nothing.
//!
//! ```toml
//! [build]
//! input = "_build/prod/rel/my_app"
//! output = "my_app.img"         # default: the image of [run]
//! release = "my_app"
//! start = "my_app"
//! otp = 27                      # or a folder
//! sysroot = "trixie"
//! env = { LANG = "C.UTF-8" }
//! include = ["/bin/sh"]
//! files = { "/etc/my_app.pem" = "ca.pem" }
//! strip-beams = true
//! strip-elf = true
//! epmd = true
//! skip-foreign = true
//! compress = true
//! sbom = true
//!
//! [run]
//! image = "my_app.img"          # paths are relative to the file's folder
//! cpus = 2
//! memory = "256M"
//! machine = "q35"
//! accel = "auto"
//! ports = ["8080:8080"]
//! env = { PORT = 8080, PHX_HOST = "localhost" }
//! env-file = ["prod.env"]
//! vm-args = "prod.args"
//! files = { "/etc/my_app.conf" = "prod.conf" }
//! append = "ip=dhcp"
//! ```

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use tyn_release::Include;
use tyn_vm_host::{Accel, Forward, Machine, MemorySize};

use crate::given;
use crate::otp::Otp;

/// Its name.
pub(crate) const FILE: &str = "tyn.toml";

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Project {
    /// For `tyn build`.
    #[serde(default)]
    pub(crate) build: Build,
    /// For `tyn run`.
    #[serde(default)]
    pub(crate) run: Run,
}

/// The table `[build]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Build {
    pub(crate) input: Option<PathBuf>,
    pub(crate) output: Option<PathBuf>,
    pub(crate) release: Option<String>,
    pub(crate) start: Option<String>,
    #[serde(deserialize_with = "otp")]
    pub(crate) otp: Option<Otp>,
    pub(crate) sysroot: Option<PathBuf>,
    #[serde(deserialize_with = "variables")]
    pub(crate) env: Vec<String>,
    #[serde(deserialize_with = "words")]
    pub(crate) include: Vec<Include>,
    pub(crate) files: BTreeMap<PathBuf, PathBuf>,
    pub(crate) strip_beams: Option<bool>,
    pub(crate) strip_elf: Option<bool>,
    pub(crate) epmd: Option<bool>,
    pub(crate) skip_foreign: Option<bool>,
    pub(crate) compress: Option<bool>,
    pub(crate) sbom: Option<bool>,
}

/// The table `[run]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Run {
    pub(crate) image: Option<PathBuf>,
    pub(crate) cpus: Option<u32>,
    #[serde(deserialize_with = "word")]
    pub(crate) memory: Option<MemorySize>,
    #[serde(deserialize_with = "word")]
    pub(crate) machine: Option<Machine>,
    #[serde(deserialize_with = "word")]
    pub(crate) accel: Option<Accel>,
    #[serde(deserialize_with = "words")]
    pub(crate) ports: Vec<Forward>,
    #[serde(deserialize_with = "variables")]
    pub(crate) env: Vec<String>,
    pub(crate) env_file: Vec<PathBuf>,
    pub(crate) vm_args: Option<PathBuf>,
    pub(crate) files: BTreeMap<PathBuf, PathBuf>,
    pub(crate) append: Option<String>,
}

/// A release's number, or a folder.
fn otp<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Otp>, D::Error> {
    let text = match toml::Value::deserialize(from)? {
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::String(text) => text,
        other => {
            let kind = other.type_str();
            return Err(D::Error::custom(format_args!(
                "otp can't be a TOML {kind}: write the number of a release, e.g. 27, or a folder in quotes"
            )));
        }
    };
    text.parse().map(Some).map_err(D::Error::custom)
}

fn word<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(D::Error::custom)
}

fn words<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(from: D) -> Result<Vec<T>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts
        .iter()
        .map(|text| text.parse().map_err(D::Error::custom))
        .collect()
}

/// A table of variables; numbers and truth values are written as TOML does.
fn variables<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let table = BTreeMap::<String, toml::Value>::deserialize(from)?;
    let one = |(name, value): (String, toml::Value)| {
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(is_true) => is_true.to_string(),
            other => {
                let kind = other.type_str();
                return Err(D::Error::custom(format_args!(
                    "the variable {name} can't be a TOML {kind}: write it as text in quotes"
                )));
            }
        };
        if name.is_empty() || name.contains('=') {
            return Err(D::Error::custom(format_args!(
                "'{name}' is no name of a variable"
            )));
        }
        Ok(format!("{name}={value}"))
    };
    table.into_iter().map(one).collect()
}

/// Reads the file that was `named`, or else `tyn.toml` in the current folder if it is there.
///
/// # Errors
/// When it can't be read, or is not as it should be, as `FILE:LINE`.
pub(crate) fn read(named: Option<&Path>) -> Result<Project> {
    let path = named.unwrap_or(Path::new(FILE));
    let text = match given::read_text(path) {
        Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => {
            return Ok(Project::default());
        }
        other => {
            other.with_context(|| format!("the settings in {} can't be read", path.display()))?
        }
    };
    let mut project = parse(&text, path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    project.make_relative_to(folder);
    Ok(project)
}

impl Project {
    fn make_relative_to(&mut self, folder: &Path) {
        let Self { build, run } = self;
        let included = build
            .include
            .iter_mut()
            .filter_map(|include| include.from.as_mut());
        let otp = build.otp.as_mut().and_then(Otp::dir_mut);
        let single = [
            &mut build.input,
            &mut build.output,
            &mut build.sysroot,
            &mut run.image,
            &mut run.vm_args,
        ];
        let paths = single.into_iter().flatten().chain(included).chain(otp);
        let paths = paths
            .chain(build.files.values_mut())
            .chain(run.files.values_mut());
        for path in paths.chain(&mut run.env_file) {
            *path = folder.join(&path);
        }
        // The two commands are about one image.
        build.output = build.output.take().or_else(|| run.image.clone());
        run.image = run.image.take().or_else(|| build.output.clone());
    }
}

fn parse(text: &str, path: &Path) -> Result<Project> {
    match toml::from_str(text) {
        Ok(project) => Ok(project),
        Err(error) => {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.unwrap_or_default().matches('\n').count() + 1;
            bail!(
                "{}:{line}: {}",
                path.display(),
                error.message().replace('\n', "; ")
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn documented_example_is_understood() {
        let doc = include_str!("project.rs");
        let lines = doc.lines().map_while(|line| line.strip_prefix("//!"));
        let mut toml = lines.skip_while(|line| *line != " ```toml").skip(1);
        let text: Vec<_> = toml
            .by_ref()
            .take_while(|line| *line != " ```")
            .map(str::trim)
            .collect();
        let Project { build, run } = parse(&text.join("\n"), Path::new("x")).unwrap();
        assert_eq!(build.otp, Some(Otp::Release(27)));
        assert_eq!(build.env, ["LANG=C.UTF-8"]);
        assert_eq!((build.strip_beams, build.sbom), (Some(true), Some(true)));
        assert_eq!(
            (run.cpus, run.memory),
            (Some(2), Some(MemorySize(256 << 20)))
        );
        assert_eq!(run.env, ["PHX_HOST=localhost", "PORT=8080"]);
        assert_eq!(
            run.ports,
            [Forward {
                host: 8080,
                guest: 8080
            }]
        );
        assert_eq!(
            (run.machine, run.accel),
            (Some(Machine::Q35), Some(Accel::Auto))
        );
        assert_eq!(run.env_file, [PathBuf::from("prod.env")]);
        assert_eq!(run.append.as_deref(), Some("ip=dhcp"));
    }

    #[test]
    fn mistakes_are_named_by_line() {
        for (text, want) in [
            (
                "[run]\nmemroy = \"1G\"",
                "t:2: unknown field `memroy`, expected one of `image`, `cpus`,",
            ),
            (
                "[runn]",
                "t:1: unknown field `runn`, expected `build` or `run`",
            ),
            (
                "[run]\n[build]\nouput = \"x\"",
                "t:3: unknown field `ouput`, expected one of `input`, `output`,",
            ),
            (
                "[build]\notp = true",
                "t:2: otp can't be a TOML boolean: write the number of a release, e.g. 27, or a folder in quotes",
            ),
            (
                "[build]\ninclude = [\"sh\"]",
                "t:2: 'sh' is neither an absolute path",
            ),
            (
                "[build]\ncompress = \"yes\"",
                "t:2: invalid type: string \"yes\", expected a boolean",
            ),
            (
                "[run]\n\nmemory = \"much\"",
                "t:3: 'much' is not an amount of memory: use e.g. 512M or 2G",
            ),
            (
                "[run]\nports = [\"80\"]",
                "t:2: '80' is not a pair of ports HOST:GUEST",
            ),
            (
                "[run]\ncpus = \"2\"",
                "t:2: invalid type: string \"2\", expected u32",
            ),
            (
                "[run]\nenv = { A = [] }",
                "t:2: the variable A can't be a TOML array",
            ),
            (
                "[run]\nenv = { \"A=\" = 1 }",
                "t:2: 'A=' is no name of a variable",
            ),
            ("[run]\ncpus = 1\ncpus = 2", "t:3: duplicate key"),
            ("[run", "t:1: "),
        ] {
            let error = parse(text, Path::new("t")).unwrap_err().to_string();
            assert!(
                error.starts_with(want) && error.lines().count() == 1,
                "{error}"
            );
        }
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        fs::write(
            &file,
            "[run]\nimage = \"a.img\"\nfiles = { \"/x\" = \"/y\" }",
        )
        .unwrap();
        let run = read(Some(&file)).unwrap().run;
        assert_eq!(run.image.unwrap(), dir.path().join("a.img"));
        assert_eq!(run.files[Path::new("/x")], Path::new("/y"));
        let text = "[build]\notp = \"own\"\noutput = \"b.img\"\ninclude = [\"x=/x\", \"/bin/sh\"]";
        fs::write(&file, text).unwrap();
        let Project { build, run } = read(Some(&file)).unwrap();
        assert_eq!(build.otp, Some(Otp::Dir(dir.path().join("own"))));
        assert_eq!(build.include[0].from, Some(dir.path().join("x")));
        assert_eq!(build.include[1].from, None);
        assert_eq!(run.image, build.output);
        let error = read(Some(&dir.path().join("none.toml"))).unwrap_err();
        assert!(
            error.to_string().contains("none.toml can't be read"),
            "{error}"
        );
    }
}
