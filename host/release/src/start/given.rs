//! What the environment that a start is given changes about it: a node's name from `RELEASE_NODE`, `${PORT}` in relx's
//! `sys.config.src`, `ERL_FLAGS`. Derived from the image's own files, as the image's start was.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use tyn_fs::cpio::Entries;

use super::{Mode, Start, StartError, arguments, derive};
use crate::handover::GuestFile;
use crate::image::{self, absolute};
use crate::recipe::{Files, RECIPE_PATH, Recipe};

/// What is other than the image says by itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Given {
    /// All arguments, when they differ.
    pub args: Option<Vec<Vec<u8>>>,
    /// Variables, `NAME=VALUE` each.
    pub env: Vec<String>,
    /// Files that the start script would write otherwise.
    pub files: Vec<GuestFile>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// The files of an image, with their texts. A file with pages of zeros has none: in a damaged image these might fill all
/// memory.
struct Archive<'a>(BTreeMap<PathBuf, Option<&'a [u8]>>);

impl Files for Archive<'_> {
    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        self.0.get(path)?.map(<[u8]>::to_vec)
    }

    fn names(&self, dir: &Path) -> Vec<String> {
        let inside = self.0.keys().filter(|path| path.parent() == Some(dir));
        inside
            .filter_map(|path| path.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }
}

/// Says what the variables `env` (`NAME=VALUE` each) change about the start of the image at `path`. Nothing for an image that was not made
/// of something with a start script.
///
/// # Errors
/// [`StartError`] when they make no start.
pub fn given(path: &Path, env: &[String], is_interactive: bool) -> Result<Given, StartError> {
    let bytes = image::read(path).map_err(|error| StartError::Image {
        path: path.to_path_buf(),
        error,
    })?;
    let files = Entries::new(&bytes).flatten();
    let texts = files.map(|file| {
        let text = (file.holes.pages() == 0).then_some(file.data);
        (absolute(file.name), text)
    });
    let files = Archive(texts.collect());
    let Some(Some(recipe)) = files.0.get(Path::new(RECIPE_PATH)) else {
        return Ok(Given::default());
    };
    let recipe: Recipe = serde_json::from_slice(recipe).map_err(|error| StartError::Image {
        path: path.to_path_buf(),
        error: io::Error::from(error),
    })?;
    let mode = match is_interactive {
        true => Mode::Interactive,
        false => Mode::Daemon,
    };
    let variables = env.iter().filter_map(|variable| variable.split_once('='));
    let variables: Vec<(String, String)> = variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let without = derive(&recipe, &files, &[], mode)?;
    let with = derive(&recipe, &files, &variables, mode)?;
    Ok(differing(&without, with))
}

fn differing(without: &Start, with: Start) -> Given {
    let args = arguments(&with);
    let has_changed = args != arguments(without);
    let env = with.env.into_iter();
    let env = env.filter(|(name, value)| without.env.get(name) != Some(value));
    let written = with.written.into_iter();
    let written = written.filter(|file| !without.written.contains(file));
    let warnings = with.warnings.into_iter();
    Given {
        args: has_changed.then(|| args.into_iter().map(String::into_bytes).collect()),
        env: env.map(|(name, value)| format!("{name}={value}")).collect(),
        files: written
            .map(|(path, data)| GuestFile {
                path,
                mode: 0o644,
                data,
            })
            .collect(),
        warnings: warnings
            .filter(|warning| !without.warnings.contains(warning))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Kind;

    fn start(
        kind: Kind,
        files: &[(&str, &str)],
        env: &[(&str, &str)],
    ) -> Result<Start, StartError> {
        start_with(kind, "/app", files, env)
    }

    fn start_with(
        kind: Kind,
        otp: &str,
        files: &[(&str, &str)],
        env: &[(&str, &str)],
    ) -> Result<Start, StartError> {
        let recipe = Recipe {
            kind,
            name: "x".into(),
            version: "1".into(),
            erts: "15.0".into(),
            root: "/app".into(),
            otp: otp.into(),
            cwd: "/app".into(),
            env: vec![("BAKED".into(), "b".into())],
            main: String::new(),
            args: Vec::new(),
            libs: Vec::new(),
            has_epmd: false,
        };
        let files = files
            .iter()
            .map(|(path, text)| (PathBuf::from(path), Some(text.as_bytes())));
        let env: Vec<_> = env
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        derive(&recipe, &Archive(files.collect()), &env, Mode::Daemon)
    }

    #[test]
    fn systools_finds_applications_where_they_are() {
        let root = |files: &[(&str, &str)]| {
            let start = start_with(Kind::Systools, "/usr/lib/erlang", files, &[]).unwrap();
            assert_eq!(start.env["BINDIR"], "/usr/lib/erlang/erts-15.0/bin");
            start.env["ROOTDIR"].clone()
        };
        assert_eq!(root(&[("/app/lib/x-1", "")]), "/usr/lib/erlang");
        assert_eq!(root(&[("/app/lib/kernel-10.0", "")]), "/app");
    }

    fn changes(
        kind: Kind,
        files: &[(&str, &str)],
        env: &[(&str, &str)],
    ) -> (String, Vec<String>, Vec<(PathBuf, String)>) {
        let without = start(kind, files, &[]).unwrap();
        let given = differing(&without, start(kind, files, env).unwrap());
        let args = given.args.unwrap_or_default();
        let args: Vec<_> = args
            .iter()
            .map(|arg| String::from_utf8_lossy(arg))
            .collect();
        let written = given.files.into_iter();
        let written = written.map(|file| (file.path, String::from_utf8(file.data).unwrap()));
        (args.join(" "), given.env, written.collect())
    }

    #[test]
    fn a_mix_release_gets_its_name_and_cookie() {
        let files = [
            ("/app/releases/COOKIE", "baked\n"),
            (
                "/app/releases/1/env.sh",
                "export RELEASE_NODE=x@${HOST:-nowhere}\nexport FIXED=yes\n",
            ),
        ];
        let (args, env, _) = changes(
            Kind::Mix,
            &files,
            &[
                ("RELEASE_DISTRIBUTION", "name"),
                ("RELEASE_COOKIE", "new"),
                ("HOST", "here"),
                ("FIXED", "no"),
            ],
        );
        assert!(
            args.contains("-setcookie new -name x@here -config"),
            "{args}"
        );
        assert!(
            args.contains("-start_epmd false -erl_epmd_port 4370 -extra --no-halt"),
            "{args}"
        );
        assert!(env.contains(&"RELEASE_NODE=x@here".into()), "{env:?}");
        assert!(
            !env.iter()
                .any(|variable| variable.starts_with("FIXED=") || variable.starts_with("PATH=")),
            "{env:?}"
        );
        let error = start(
            Kind::Mix,
            &files,
            &[("RELEASE_DISTRIBUTION", "none at all")],
        );
        let error = error.unwrap_err().to_string();
        assert!(
            error
                .contains("RELEASE_DISTRIBUTION is 'none at all', but must be name, sname or none"),
            "{error}"
        );
    }

    #[test]
    fn a_relx_release_gets_its_files_with_the_values() {
        let files = [
            ("/app/releases/1/vm.args.src", "-sname x\n+P ${MAX:-5000}\n"),
            (
                "/app/releases/1/sys.config.src",
                "[{x,[{port,${PORT:-80}},{b,\"${BAKED}\"},{deep,\"${A}\"}]}].",
            ),
        ];
        let (args, _, written) = changes(
            Kind::Relx,
            &files,
            &[("PORT", "8080"), ("MAX", "9000"), ("A", "${PORT}")],
        );
        assert!(args.contains("-P 9000"), "{args}");
        let config = (
            PathBuf::from("/app/releases/1/sys.config"),
            "[{x,[{port,8080},{b,\"b\"},{deep,\"8080\"}]}].".to_owned(),
        );
        assert!(written.contains(&config), "{written:?}");
        // Only `.src` files and those of RELX_REPLACE_OS_VARS are changed.
        let files = [
            ("/app/releases/1/vm.args", "-sname ${NODE}"),
            ("/app/releases/1/sys.config", "[]. % ${NODE}"),
        ];
        assert_eq!(
            start(Kind::Relx, &files, &[("NODE", "n")]).unwrap().written,
            []
        );
        let (_, _, written) = changes(
            Kind::Relx,
            &files,
            &[("NODE", "n"), ("RELX_REPLACE_OS_VARS", "true")],
        );
        assert_eq!(written.len(), 2, "{written:?}");
        let files = [("/app/releases/1/vm.args.src", "+P ${MAX}")];
        let error = start(Kind::Relx, &files, &[]).unwrap_err().to_string();
        assert_eq!(
            error,
            "/app/releases/1/vm.args: +P lacks its value; add it (${MAX} has no value; give it one by `tyn build -e MAX=…`)"
        );
    }

    #[test]
    fn flags_of_the_environment_are_arguments() {
        let (args, _, _) = changes(
            Kind::Systools,
            &[],
            &[("ERL_AFLAGS", "+S 2"), ("ERL_ZFLAGS", "-z 1")],
        );
        assert!(
            args.starts_with("/app/erts-15.0/bin/beam.smp -S 2 -Bd --"),
            "{args}"
        );
        assert!(args.ends_with("-z 1 --"), "{args}");
        assert_eq!(changes(Kind::Systools, &[], &[("OTHER", "x")]).0, "");
    }
}
