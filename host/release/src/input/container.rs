//! From what a container image starts (ENTRYPOINT, CMD, WORKDIR, ENV) to the release behind it.
//!
//! Followed are: the start script of a release, `entrypoint.sh` of a Gleam shipment, scripts that end by executing one of
//! these, `sh -c` with such a script, and init programs in front (`tini`).

use std::path::{Path, PathBuf};

use super::is_release;
use super::oci::Config;
use crate::image::HOME;
use crate::limit;
use crate::shell::Shell;
use crate::start::not_run_warning;
use crate::sysroot::Sysroot;

/// Scripts that are followed, one executing the other.
const MAX_SCRIPTS: usize = 8;
/// Programs that start another and reap zombies, as pid 1.
const INITS: [&str; 4] = ["tini", "dumb-init", "docker-init", "catatonit"];

/// Why the start of a container image leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// It starts nothing.
    #[error("{} says nothing about what it starts (neither ENTRYPOINT nor CMD); add `CMD [\"/app/bin/NAME\", \"start\"]` to its Dockerfile", .0.display())]
    NoCommand(PathBuf),
    /// What it starts is not there.
    #[error("{} starts '{command}', but there is no {program} in it; mend its ENTRYPOINT or CMD", path.display())]
    NoProgram {
        /// The image.
        path: PathBuf,
        /// What it starts.
        command: String,
        /// What is missing.
        program: String,
    },
    /// What it starts is no release.
    #[error(
        "{} starts '{command}', which leads to {program}: neither the start script of a release nor the entrypoint.sh \
         of a Gleam shipment, nor a script that executes one; make it CMD [\"/app/bin/NAME\", \"start\"], or build from the release itself", path.display()
    )]
    NoRelease {
        /// The image.
        path: PathBuf,
        /// What it starts.
        command: String,
        /// Where that leads.
        program: String,
    },
    /// A release's script with another command than to start it.
    #[error(
        "{} starts '{command}', which doesn't start the release but asks it to '{asked}'; \
         make it `start` (mix release) or `foreground` (rebar3)", path.display()
    )]
    NoStart {
        /// The image.
        path: PathBuf,
        /// What it starts.
        command: String,
        /// The command of the release's script.
        asked: String,
    },
}

/// What a container image starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    /// Its folder in the image.
    pub(crate) root: PathBuf,
    /// Whether it is a Gleam shipment; else it is a release.
    pub(crate) is_shipment: bool,
    /// Arguments for the program itself.
    pub(crate) args: Vec<String>,
    /// Environment: the image's, and what scripts set.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: PathBuf,
    pub(crate) warnings: Vec<String>,
}

/// Follows the start of the image at `path`, unpacked in `system`.
pub(crate) fn follow(
    path: &Path,
    config: &Config,
    system: &Sysroot,
) -> Result<Found, ContainerError> {
    let argv: Vec<String> = config
        .entrypoint
        .iter()
        .chain(&config.cmd)
        .cloned()
        .collect();
    if argv.is_empty() {
        return Err(ContainerError::NoCommand(path.to_path_buf()));
    }
    let env = config.env.iter().filter_map(|variable| {
        let (name, value) = variable.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    let home = ("HOME".to_owned(), HOME.to_owned());
    let mut follower = Follower {
        path,
        system,
        command: argv.join(" "),
        shell: Shell::new(std::iter::once(home).chain(env)),
        cwd: Path::new("/").join(config.working_dir.trim_start_matches('/')),
        warnings: Vec::new(),
    };
    let (root, is_shipment, args) = follower.follow(argv)?;
    Ok(Found {
        root,
        is_shipment,
        args,
        env: follower
            .shell
            .environment()
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect(),
        cwd: follower.cwd,
        warnings: follower.warnings,
    })
}

struct Follower<'a> {
    path: &'a Path,
    system: &'a Sysroot,
    command: String,
    shell: Shell,
    cwd: PathBuf,
    warnings: Vec<String>,
}

impl Follower<'_> {
    fn follow(
        &mut self,
        mut argv: Vec<String>,
    ) -> Result<(PathBuf, bool, Vec<String>), ContainerError> {
        for _ in 0..MAX_SCRIPTS {
            let first = argv.first().cloned().unwrap_or_default();
            let base = Path::new(&first).file_name().unwrap_or_default();
            let base = base.to_string_lossy().into_owned();
            if INITS.contains(&base.as_str()) {
                let rest = argv.iter().skip(1);
                argv = rest
                    .skip_while(|arg| arg.starts_with('-'))
                    .cloned()
                    .collect();
                continue;
            }
            if ["sh", "bash", "ash", "dash"].contains(&base.as_str())
                && argv.len() == 3
                && argv[1] == "-c"
            {
                let script = argv[2].clone();
                argv = self.script(Path::new("CMD"), &script, &[])?;
                continue;
            }
            let program = self.locate(&first)?;
            let args = argv.get(1..).unwrap_or_default().to_vec();
            if let Some(found) = self.release(&program, &args)? {
                return Ok(found);
            }
            let text = self.read(&program);
            let Some(text) = text.filter(|text| text.starts_with("#!")) else {
                return Err(self.no_release(&program));
            };
            argv = self.script(&program, &text, &args)?;
            // Such scripts go to their own folder first.
            if let Some(relative) = argv
                .first()
                .filter(|p| p.starts_with("./") || p.starts_with("../"))
            {
                let dir = program.parent().unwrap_or(Path::new("/"));
                argv[0] = dir.join(relative).display().to_string();
            }
        }
        Err(self.no_release(Path::new(argv.first().map_or("", String::as_str))))
    }

    /// Returns what the script executes, with its own arguments for `"$@"`.
    fn script(
        &mut self,
        at: &Path,
        text: &str,
        args: &[String],
    ) -> Result<Vec<String>, ContainerError> {
        let (command, not_run) = self.shell.run_to_exec(text);
        let warnings = not_run.iter().map(|n| not_run_warning(at, n));
        self.warnings.extend(warnings);
        let mut command = command.ok_or_else(|| self.no_release(at))?;
        if command.is_empty() || text.contains("\"$@\"") {
            command.extend(args.iter().cloned());
        }
        Ok(command)
    }

    /// Returns the program's path in the image, links followed.
    fn locate(&self, program: &str) -> Result<PathBuf, ContainerError> {
        let candidates: Vec<PathBuf> = if program.contains('/') {
            vec![self.cwd.join(program)]
        } else {
            let path = self
                .shell
                .get("PATH")
                .unwrap_or("/usr/local/bin:/usr/bin:/bin");
            path.split(':')
                .map(|dir| Path::new(dir).join(program))
                .collect()
        };
        let found = candidates
            .iter()
            .filter_map(|path| self.system.resolve(path))
            .find(|file| file.is_file());
        let found = found.and_then(|file| {
            let inside = file.strip_prefix(self.system.dir()).ok()?;
            Some(Path::new("/").join(inside))
        });
        found.ok_or_else(|| ContainerError::NoProgram {
            path: self.path.to_path_buf(),
            command: self.command.clone(),
            program: program.into(),
        })
    }

    /// Returns what the program belongs to when it is a release's own script, or a shipment's.
    fn release(
        &self,
        program: &Path,
        args: &[String],
    ) -> Result<Option<(PathBuf, bool, Vec<String>)>, ContainerError> {
        let text = self.read(program).unwrap_or_default();
        let asked = args.first().map_or("", String::as_str);
        let dir = program.parent().unwrap_or(Path::new("/"));
        let is_entrypoint = program
            .file_name()
            .is_some_and(|name| name == "entrypoint.sh");
        if is_entrypoint && text.contains("@@main:run(") {
            if asked != "run" {
                return Err(self.no_start(asked));
            }
            return Ok(Some((dir.to_path_buf(), true, args[1..].to_vec())));
        }
        let root = dir.parent().unwrap_or(Path::new("/"));
        let outside = self
            .system
            .dir()
            .join(root.strip_prefix("/").unwrap_or(root));
        if !is_release(&outside) || !is_start_script(&text) {
            return Ok(None);
        }
        match asked {
            "start" | "foreground" | "start_iex" | "console" | "daemon" | "daemon_iex" => {
                Ok(Some((root.to_path_buf(), false, Vec::new())))
            }
            other => Err(self.no_start(other)),
        }
    }

    fn read(&self, path: &Path) -> Option<String> {
        limit::read_script(&self.system.resolve(path)?)
    }

    fn no_start(&self, asked: &str) -> ContainerError {
        ContainerError::NoStart {
            path: self.path.to_path_buf(),
            command: self.command.clone(),
            asked: asked.into(),
        }
    }

    fn no_release(&self, program: &Path) -> ContainerError {
        ContainerError::NoRelease {
            path: self.path.to_path_buf(),
            command: self.command.clone(),
            program: program.display().to_string(),
        }
    }
}

/// Returns whether this is the script that release tools write, not one of an overlay.
pub(crate) fn is_start_script(text: &str) -> bool {
    [
        "RELEASE_ROOT",
        "RELEASE_ROOT_DIR",
        "start_erl.data",
        "erlexec",
    ]
    .iter()
    .any(|sign| text.contains(sign))
}
