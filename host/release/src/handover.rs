//! What a guest gets when it starts: a small second archive behind its image, with variables, arguments and files.
//!
//! Nothing of it is baked into an image, nor on any command line. Arguments are `erl`'s, as in `vm.args`, for an image that
//! starts `beam.smp` as [`crate::build`] arranges it; an image of something else gets them as they are.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use tempfile::NamedTempFile;
use tyn_bootfmt::{BadStart, RUN_PATH, Run};

use crate::cpio::Writer;
use crate::erl_args::{self, ArgsError, ReadFile};
use crate::image::{self, Checked};
use crate::limit;
use crate::recipe::EPMD;
use crate::start::{DISTRIBUTION_PORT, OTHER_WAYS};

/// Folders that are not the image's in a guest: the kernel's own, and the start description's.
/// Longest variable in bytes, with its name: Linux's `MAX_ARG_STRLEN` (execve(2)) but for the NUL.
const LONGEST_VARIABLE: usize = 32 * 4096 - 1;
const NOT_OURS: [&str; 4] = ["/.tyn", "/dev", "/proc", "/sys"];
/// Flags of which a node heeds one only; the first of each group ends up in the others' place, too.
const SINGLE: [&[&str]; 7] = [
    &["-name", "-sname"],
    &["-setcookie"],
    &["-start_epmd"],
    &["-erl_epmd_port"],
    &["-mode"],
    &["-proto_dist"],
    &["-dist_listen"],
];

/// What is handed over when a guest starts.
#[derive(Clone, Debug, Default)]
pub struct RunConfig {
    /// Environment variables, `NAME=VALUE` each; they override the image's.
    pub env: Vec<String>,
    /// Arguments instead of the image's; none keep those.
    pub args: Vec<Vec<u8>>,
    /// Files that are added or replaced.
    pub files: Vec<GuestFile>,
    /// What is started beside that, instead of the image's.
    pub daemons: Vec<PathBuf>,
    /// Archives of more files ([`crate::image::Interactive`]), or empty.
    pub archive: Vec<u8>,
}

/// A file for a guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestFile {
    /// Where the guest finds it.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
    /// What is in it.
    pub data: Vec<u8>,
}

/// Why something can't be handed over.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// A variable or an argument.
    #[error("the run-time configuration {0}")]
    Start(BadStart),
    /// Arguments for Erlang that can't be followed.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// An image that starts something else than Erlang.
    #[error(
        "the image starts {}, not Erlang's virtual machine, so vm.args mean nothing to it; \
         give it arguments of its own after --", .0.display()
    )]
    NotErlang(PathBuf),
    /// `-heart` without the program.
    #[error(
        "-heart needs a program that is not in the image; put -heart into the release's own vm.args and build the image again"
    )]
    NoHeart,
    /// A path in the guest that is none.
    #[error("{} is no absolute path of a file in the guest; name one such as /etc/app.conf", .0.display())]
    Path(PathBuf),
    /// A path that the kernel's own files are at.
    #[error("{} can't be a file of yours: {} belongs to the kernel; choose another path", path.display(), folder)]
    NotOurs {
        /// The path.
        path: PathBuf,
        /// The folder.
        folder: &'static str,
    },
    /// Files don't fit upon the image's, or among each other.
    #[error("{} can't be a file in the guest: {} is {what}; choose another path", path.display(), at.display())]
    Conflict {
        /// The path.
        path: PathBuf,
        /// What is in the way.
        at: PathBuf,
        /// What that is.
        what: &'static str,
    },
    /// A variable that no program can be given.
    #[error(
        "the variable {name} has {length} bytes with its name, but programs take {} at most (execve(2)); give it as a file by --file",
        LONGEST_VARIABLE
    )]
    LongVariable {
        /// Its name.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// The archive can't be made.
    #[error("{} can't be handed over: {error}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl RunConfig {
    /// Returns whether there is nothing to hand over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.env.is_empty()
            && self.args.is_empty()
            && self.files.is_empty()
            && self.archive.is_empty()
    }

    /// Returns the archives that give this to a guest of `image`, to be put behind that.
    ///
    /// # Errors
    /// [`HandoverError`] when a variable is not `NAME=VALUE`, or a file has no place in the image.
    pub fn to_archive(&self, image: &Checked) -> Result<Vec<u8>, HandoverError> {
        let run = Run {
            env: self.env.iter().map(String::as_bytes).collect(),
            args: self.args.iter().map(Vec::as_slice).collect(),
            daemons: self
                .daemons
                .iter()
                .map(|path| vec![path.as_os_str().as_encoded_bytes()])
                .collect(),
        }
        .to_bytes()
        .map_err(HandoverError::Start)?;
        // Folders are not written: those of the image stay as they are, and the kernel makes missing ones.
        let mut writer = Writer::new(Vec::new(), 0);
        let description = GuestFile {
            path: RUN_PATH.into(),
            mode: 0o600,
            data: run,
        };
        for variable in &self.env {
            check_length(variable)?;
        }
        for file in &self.files {
            check_place(&file.path, image)?;
            self.check_beside(&file.path)?;
        }
        for GuestFile { path, mode, data } in self.files.iter().chain([&description]) {
            writer
                .file(path, *mode, data.len() as u64, &mut data.as_slice())
                .map_err(|error| HandoverError::Io {
                    path: path.clone(),
                    error,
                })?;
        }
        let finished = writer.finish().map_err(|error| HandoverError::Io {
            path: RUN_PATH.into(),
            error,
        });
        Ok([self.archive.clone(), finished?.0].concat())
    }

    /// Expects that none of our files is where a folder of the file at `path` must be.
    fn check_beside(&self, path: &Path) -> Result<(), HandoverError> {
        let mut folders = path.ancestors().skip(1);
        let is_file = |at: &&Path| self.files.iter().any(|file| file.path == **at);
        match folders.find(is_file) {
            Some(at) => Err(HandoverError::Conflict {
                path: path.to_path_buf(),
                at: at.to_path_buf(),
                what: "another file of yours",
            }),
            None => Ok(()),
        }
    }
}

/// Expects that a program can be given a variable.
fn check_length(variable: &str) -> Result<(), HandoverError> {
    match variable.len() > LONGEST_VARIABLE {
        true => Err(HandoverError::LongVariable {
            name: variable.split('=').next().unwrap_or_default().to_owned(),
            length: variable.len(),
        }),
        false => Ok(()),
    }
}

/// Expects that a file can be put at `path` in a guest of `image`.
fn check_place(path: &Path, image: &Checked) -> Result<(), HandoverError> {
    let is_plain = path.is_absolute()
        && path.file_name().is_some()
        && !path.as_os_str().as_encoded_bytes().ends_with(b"/")
        && path.components().all(|part| part != Component::ParentDir);
    if !is_plain {
        return Err(HandoverError::Path(path.to_path_buf()));
    }
    if let Some(folder) = NOT_OURS.iter().find(|folder| path.starts_with(folder)) {
        return Err(HandoverError::NotOurs {
            path: path.to_path_buf(),
            folder,
        });
    }
    for at in path.ancestors() {
        let what = match image.entries.get(at).map(|mode| mode & 0o170_000) {
            None | Some(0o040_000) if at != path => continue,
            None | Some(0o100_000 | 0o120_000) if at == path => continue,
            Some(0o040_000) => "a folder in the image",
            Some(0o120_000) => "a symbolic link in the image",
            _ => "a file in the image",
        };
        return Err(HandoverError::Conflict {
            path: path.to_path_buf(),
            at: at.to_path_buf(),
            what,
        });
    }
    Ok(())
}

/// More arguments for what an image starts.
#[derive(Clone, Debug, Default)]
pub struct MoreArgs {
    /// All arguments, for [`RunConfig::args`].
    pub args: Vec<Vec<u8>>,
    /// Variables that they set (`-env`), `NAME=VALUE` each.
    pub env: Vec<String>,
}

/// Adds `words`, arguments of `erl`, to `args`, those that `image` or its interactive start has. Flags that a node heeds only
/// once replace the image's; of the emulator's, the last counts.
///
/// # Errors
/// [`HandoverError`] when the words can't be followed, or the image doesn't start Erlang and they come `from_file`.
pub fn add_arguments(
    args: &[Vec<u8>],
    words: &[String],
    read: ReadFile<'_>,
    image: &Checked,
) -> Result<MoreArgs, HandoverError> {
    let is_file = |word: &String| word == "-args_file";
    let at = |wanted: &[u8], from: usize| {
        let found = args.iter().skip(from).position(|arg| arg == wanted);
        found.map(|at| at + from)
    };
    // The emulator's flags end at the first `--`, which `build` writes in front of `-root`.
    let emulator = at(b"--", 0).filter(|at| args.get(at + 1).is_some_and(|arg| arg == b"-root"));
    let Some(emulator) = emulator else {
        if words.iter().any(is_file) {
            return Err(HandoverError::NotErlang(image.program.clone()));
        }
        let more = words.iter().map(|word| word.clone().into_bytes());
        return Ok(MoreArgs {
            args: args.iter().cloned().chain(more).collect(),
            ..MoreArgs::default()
        });
    };
    let more = erl_args::translate(words, read)?;
    let has_heart = image.entries.keys().any(|path| path.ends_with("bin/heart"));
    if more.wants_heart && !has_heart {
        return Err(HandoverError::NoHeart);
    }
    let extra = at(b"-extra", emulator).unwrap_or(args.len());
    let end = more.program.iter().position(|word| word == "-extra");
    let (program, plain) = more.program.split_at(end.unwrap_or(more.program.len()));
    let bytes = |words: &[String]| -> Vec<Vec<u8>> {
        words.iter().map(|word| word.clone().into_bytes()).collect()
    };
    let mut all = args[..emulator].to_vec();
    all.extend(bytes(&more.emulator));
    all.extend(without_replaced(&args[emulator..extra], program));
    all.extend(bytes(program));
    all.extend_from_slice(&args[extra..]);
    // Those of the image begin with the flag, too.
    let skip = usize::from(extra < args.len());
    all.extend(bytes(plain).into_iter().skip(skip));
    Ok(MoreArgs {
        args: all,
        env: more.env.iter().map(|(n, v)| format!("{n}={v}")).collect(),
    })
}

/// How a named node is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Epmd {
    /// It is not to be started.
    NotWanted,
    /// It was added to what is handed over.
    Added,
    /// It is wanted, and nowhere: the node listens on a fixed port instead.
    FixedPort,
    /// It is wanted, and nowhere, and the arguments rule a fixed port out.
    Missing,
}

/// Adds epmd to `config` where its arguments give the node a name and don't speak against it, as `erlexec` does.
pub fn add_epmd(config: &mut RunConfig, image: &Checked) -> Epmd {
    let end = config.args.iter().position(|arg| arg == b"-extra");
    let args = &config.args[..end.unwrap_or(config.args.len())];
    let has = |flag: &str| args.iter().any(|arg| arg == flag.as_bytes());
    let says_no = args
        .windows(2)
        .any(|pair| pair[0] == b"-start_epmd" && pair[1] == b"false");
    if !(has("-name") || has("-sname")) || says_no || has("-no_epmd") {
        return Epmd::NotWanted;
    }
    let epmd = image.program.with_file_name(EPMD);
    if !image.daemon_files.is_empty() {
        config.archive.extend_from_slice(&image.daemon_files);
    } else if !image.entries.contains_key(&epmd) {
        return listen_without(config);
    }
    config.daemons = vec![epmd];
    Epmd::Added
}

/// Makes a named node listen on a fixed port unless it was told how others find it.
fn listen_without(config: &mut RunConfig) -> Epmd {
    let end = config.args.iter().position(|arg| arg == b"-extra");
    let end = end.unwrap_or(config.args.len());
    let is_told = |flag: &[u8]| config.args[..end].iter().any(|arg| arg == flag);
    if OTHER_WAYS.iter().any(|flag| is_told(flag.as_bytes())) {
        return Epmd::Missing;
    }
    let port = DISTRIBUTION_PORT.to_string();
    let words = ["-start_epmd", "false", "-erl_epmd_port", &port];
    let words = words.map(|word| word.as_bytes().to_vec());
    config.args.splice(end..end, words);
    Epmd::FixedPort
}

/// Drops flags, each with its value, that are among `new` in another way and heeded only once.
fn without_replaced(args: &[Vec<u8>], new: &[String]) -> Vec<Vec<u8>> {
    let replaced: Vec<&[u8]> = SINGLE
        .iter()
        .filter(|group| new.iter().any(|word| group.contains(&word.as_str())))
        .flat_map(|group| group.iter().map(|flag| flag.as_bytes()))
        .collect();
    let mut kept = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if replaced.contains(&arg.as_slice()) {
            args.next();
        } else {
            kept.push(arg.clone());
        }
    }
    kept
}

/// Writes an image, unpacked, followed by the archive of [`RunConfig::to_archive`] to a new private file (only its owner may read it); it
/// is removed when the returned handle is dropped.
///
/// # Errors
/// When a file can't be read or written.
pub fn behind_image(image: &Path, run: &[u8], dir: &Path) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().suffix(".img").tempfile_in(dir)?;
    if image::is_compressed(image)? {
        let decoder = zstd::Decoder::new(File::open(image)?)?;
        limit::copy(decoder, file.as_file_mut(), limit::whole())?;
    } else {
        io::copy(&mut File::open(image)?, file.as_file_mut())?;
    }
    file.write_all(run)?;
    Ok(file)
}

#[cfg(test)]
mod tests;
