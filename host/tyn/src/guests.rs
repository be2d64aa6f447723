//! The guests in the background: one folder each below `$XDG_STATE_HOME/tyn` (else `~/.local/state/tyn`).
//!
//! | file | what |
//! |---|---|
//! | `lock` | locked as long as the guest's supervisor lives, however that ends: nobody has to trust a process id |
//! | `guest.json` | [`Record`], written whole when something changes |
//! | `node.json` | [`Node`], with its cookie |
//! | `log` | the console, and what the supervisor says |
//! | `control` | the socket where the supervisor takes requests |
//!
//! Who changes which folders there are, or asks whether one is locked, holds the lock of the parent folder (`.lock`, which is
//! no guest's name) meanwhile.

mod record;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::node::Node;
use crate::settings::absolute;

pub(crate) use record::{Ended, Port, Record};

/// The lock in a guest's folder.
const LOCK: &str = "lock";
/// The lock beside the folders of guests.
const ROOT_LOCK: &str = ".lock";

/// What a guest does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Its machine runs.
    Running,
    /// It has ended.
    Ended,
    /// It was ended from outside, and nobody could note how: its supervisor was killed, or this machine restarted.
    Lost,
}

/// A guest.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    pub(crate) record: Record,
    pub(crate) status: Status,
    dir: PathBuf,
}

impl Guest {
    /// Returns where its log is.
    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Returns how its node can be reached.
    ///
    /// # Errors
    /// When that can't be read.
    pub(crate) fn node(&self) -> Result<Node> {
        let file = self.dir.join("node.json");
        let text = fs::read_to_string(&file);
        let text = text.with_context(|| format!("{} can't be read", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display()))
    }

    /// Returns its folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

/// All guests of this user.
#[derive(Clone, Debug)]
pub(crate) struct Guests {
    root: PathBuf,
}

/// A folder that is ours as long as this lives.
#[derive(Debug)]
pub(crate) struct Reserved {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    guests: Guests,
    _lock: File,
}

impl Guests {
    /// Finds the folder; it need not be there.
    ///
    /// # Errors
    /// When there is no place for it.
    pub(crate) fn of_this_user() -> Result<Self> {
        let absolute = |name: &str| {
            let path = PathBuf::from(std::env::var_os(name)?);
            path.is_absolute().then_some(path)
        };
        let state =
            absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        let Some(state) = state else {
            bail!(
                "there is no place for guests in the background: set HOME or XDG_STATE_HOME to the absolute path of a folder"
            );
        };
        Ok(Self {
            root: state.join("tyn"),
        })
    }

    /// Waits for the right to look at and change which folders there are; `None` when there is none at all.
    fn lock(&self) -> Result<Option<File>> {
        match open_lock(&self.root.join(ROOT_LOCK)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            other => {
                let file = other.and_then(|file| file.lock().map(|()| file));
                let shown = self.root.display();
                Ok(Some(file.with_context(|| {
                    format!("the folder {shown} can't be locked")
                })?))
            }
        }
    }

    /// Returns all guests, by name.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub(crate) fn list(&self) -> Result<Vec<Guest>> {
        let _lock = self.lock()?;
        let mut guests = Vec::new();
        for dir in self.dirs()? {
            guests.extend(read(dir));
        }
        guests.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        Ok(guests)
    }

    fn dirs(&self) -> Result<Vec<PathBuf>> {
        let unreadable = || format!("the folder {} can't be read", self.root.display());
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.with_context(unreadable)?,
        };
        let mut dirs = Vec::new();
        for entry in entries {
            let path = entry.with_context(unreadable)?.path();
            if path.is_dir() {
                dirs.push(path);
            }
        }
        Ok(dirs)
    }

    /// Returns the guest of this name.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn find(&self, name: &str) -> Result<Guest> {
        let found = self.list()?.into_iter().find(|g| g.record.name == name);
        found.with_context(|| {
            format!("there is no guest {name}; `tyn ps -a` lists those that `tyn run -d` started")
        })
    }

    /// Returns the guest of this name, or the only running one of the image at this path.
    ///
    /// # Errors
    /// When there is none, or several run.
    pub(crate) fn find_by_name_or_image(&self, text: &str) -> Result<Guest> {
        let mut guests = self.list()?;
        if let Some(at) = guests.iter().position(|g| g.record.name == text) {
            return Ok(guests.swap_remove(at));
        }
        let image = absolute(Path::new(text));
        guests.retain(|g| g.status == Status::Running && g.record.image == image);
        match (guests.pop(), guests.pop()) {
            (Some(guest), None) => Ok(guest),
            (Some(a), Some(b)) => {
                bail!(
                    "several guests of {text} run, such as {} and {}; name one",
                    b.record.name,
                    a.record.name
                )
            }
            (None, _) => bail!(
                "no guest {text} and none of an image {text} runs; start one by `tyn run -d -i`, `tyn ps` lists them"
            ),
        }
    }

    /// Takes a name for a new guest, the given one or one made of the image's. A guest of that name that has ended makes way.
    ///
    /// # Errors
    /// When the name is no good or taken, or its folder can't be made.
    pub(crate) fn reserve(&self, name: Option<&str>, image: &Path) -> Result<Reserved> {
        if let Some(name) = name {
            check_name(name)?;
        }
        let unusable = || format!("the folder {} can't be used", self.root.display());
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.root).with_context(unusable)?;
        let _lock = self.lock()?;
        let stem = name_of(image);
        let more = (2u32..).map(|n| format!("{stem}-{n}"));
        let candidates: Box<dyn Iterator<Item = String>> = match name {
            Some(name) => Box::new(std::iter::once(name.to_owned())),
            None => Box::new(std::iter::once(stem.clone()).chain(more)),
        };
        for name in candidates {
            let dir = self.root.join(&name);
            builder.create(&dir).with_context(unusable)?;
            let lock = open_lock(&dir.join(LOCK)).with_context(unusable)?;
            match lock.try_lock() {
                Ok(()) => {
                    for file in ["guest.json", "node.json", "log", "control"] {
                        // Not there, most of the time.
                        let _ = fs::remove_file(dir.join(file));
                    }
                    return Ok(Reserved {
                        name,
                        dir,
                        guests: self.clone(),
                        _lock: lock,
                    });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error).with_context(unusable),
            }
        }
        let name = name.unwrap_or_default();
        bail!("a guest {name} runs already; stop it by `tyn stop {name}`, or choose another --name")
    }

    /// Forgets a guest that has ended, or with `None` all of them; returns their names.
    ///
    /// # Errors
    /// When it runs, isn't there or can't be removed.
    pub(crate) fn remove(&self, name: Option<&str>) -> Result<Vec<String>> {
        let _lock = self.lock()?;
        let mut removed = Vec::new();
        for dir in self.dirs()? {
            let its_name = dir
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name.is_some_and(|name| name != its_name) {
                continue;
            }
            if !is_locked(&dir) {
                fs::remove_dir_all(&dir)
                    .with_context(|| format!("the folder {} can't be removed", dir.display()))?;
                removed.push(its_name);
            } else if let Some(name) = name {
                bail!("the guest {name} runs; stop it by `tyn stop {name}` first");
            }
        }
        if let (Some(name), []) = (name, &removed[..]) {
            bail!("there is no guest {name}; `tyn ps -a` lists those that `tyn run -d` started");
        }
        removed.sort();
        Ok(removed)
    }
}

impl Reserved {
    /// Notes what is known.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn write(&self, record: &Record) -> io::Result<()> {
        let new = self.dir.join("guest.json.new");
        let text = serde_json::to_string_pretty(record).map_err(io::Error::other)?;
        fs::write(&new, text + "\n")?;
        fs::rename(new, self.dir.join("guest.json"))
    }

    /// Notes how its node can be reached.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn write_node(&self, node: &Node) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(self.dir.join("node.json"))?;
        serde_json::to_writer(file, node).map_err(io::Error::other)
    }

    /// Opens an empty log.
    ///
    /// # Errors
    /// When it can't be made.
    pub(crate) fn open_log(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        options.open(self.dir.join("log"))
    }

    /// Leaves no trace of the guest.
    pub(crate) fn remove(self) {
        let _lock = self.guests.lock();
        // What can't be removed makes way for the next guest of this name.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    options.open(path)
}

fn is_locked(dir: &Path) -> bool {
    let lock = File::open(dir.join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Reads a guest; `None` while it is being started, or when its start was cut off.
fn read(dir: PathBuf) -> Option<Guest> {
    let text = fs::read_to_string(dir.join("guest.json")).ok()?;
    let record: Record = serde_json::from_str(&text).ok()?;
    let status = match (&record.ended, is_locked(&dir)) {
        (_, true) => Status::Running,
        (Some(_), false) => Status::Ended,
        (None, false) => Status::Lost,
    };
    Some(Guest {
        record,
        status,
        dir,
    })
}

/// Expects a name of letters, digits, `.`, `_` and `-`.
fn check_name(name: &str) -> Result<()> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if name.len() > 63 || !starts_well || !name.chars().all(is_good) {
        bail!("'{name}' is no name for a guest; use letters, digits, '.', '_' and '-', 63 at most");
    }
    Ok(())
}

/// Makes a name of an image's.
fn name_of(image: &Path) -> String {
    let stem = image.file_stem().unwrap_or_default().to_string_lossy();
    let good = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '-'
        }
    };
    let name: String = stem.chars().map(good).take(50).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.is_empty() {
        "guest".into()
    } else {
        name.into()
    }
}

/// Returns the time in seconds since 1970.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
