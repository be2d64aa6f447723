//! What tools left that were killed or that crashed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What the names begin with, before the process id.
const START: &str = ".tyn-";

/// Returns what our names begin with.
pub(crate) fn prefix() -> String {
    format!("{START}{}-", std::process::id())
}

/// Removes from a folder what is ours by name and owner, and in nobody's use. What can't be removed stays.
pub(crate) fn sweep(folder: &Path) {
    let us = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_candidate = is_one(&entry.file_name())
            && entry
                .metadata()
                .is_ok_and(|meta| meta.uid() == us && (meta.is_file() || meta.is_dir()));
        let opened = is_candidate.then(|| File::open(&path));
        if let Some(Ok(file)) = opened
            && file.try_lock().is_ok()
        {
            // Locked until it is gone: whoever makes one of this name just now sees that and takes another.
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
    }
}

/// Returns whether this is a name of ours: `.tyn-PID-XXXXXX`.
fn is_one(name: &OsStr) -> bool {
    let parts = name
        .to_str()
        .and_then(|name| name.strip_prefix(START)?.split_once('-'));
    parts.is_some_and(|(pid, rest)| {
        !pid.is_empty()
            && pid.bytes().all(|byte| byte.is_ascii_digit())
            && rest.len() >= 6
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dir, File as Scratch};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_nobody_uses_is_removed_and_nothing_else() {
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        fs::create_dir_all(at(".tyn-1-aBc123/below")).unwrap();
        fs::write(at(".tyn-1-aBc123/below/file"), "").unwrap();
        fs::write(at(".tyn-99999999-abcdef"), "").unwrap();
        let others = [
            ".tyn-notes",
            ".tyn-1-short",
            ".tyn--abcdef",
            ".tyn-x-abcdef",
            ".tyn-1-abc.ef",
        ];
        for name in others {
            fs::write(at(name), "").unwrap();
        }
        fs::write(at(".tyn-2-inuse1"), "").unwrap();
        let in_use = File::open(at(".tyn-2-inuse1")).unwrap();
        in_use.lock().unwrap();
        let dir = Dir::new_in(top.path()).unwrap();
        let file = Scratch::new_in(top.path()).unwrap();
        sweep(top.path());
        assert!(dir.path().is_dir() && file.path().is_file());
        for (name, is_there) in [
            (".tyn-1-aBc123", false),
            (".tyn-99999999-abcdef", false),
            (".tyn-2-inuse1", true),
        ] {
            assert_eq!(at(name).exists(), is_there, "{name}");
        }
        assert!(others.iter().all(|name| at(name).exists()));
        drop(in_use);
        sweep(top.path());
        assert!(!at(".tyn-2-inuse1").exists());
    }

    #[test]
    fn dropped_things_are_gone_and_kept_ones_whole() {
        let top = tempfile::tempdir().unwrap();
        let dir = Dir::new_in(top.path()).unwrap();
        assert_eq!(
            dir.path().metadata().unwrap().permissions().mode() & 0o777,
            0o700
        );
        fs::write(dir.path().join("x"), "").unwrap();
        let out = top.path().join("out");
        let file = Scratch::beside(&out).unwrap();
        assert_eq!(
            file.as_file().metadata().unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(
            is_one(file.path().file_name().unwrap()) && is_one(dir.path().file_name().unwrap())
        );
        file.keep(&out).unwrap();
        drop(Scratch::beside(&out).unwrap());
        drop(dir);
        let names: Vec<_> = fs::read_dir(top.path())
            .unwrap()
            .flatten()
            .map(|e| e.file_name())
            .collect();
        assert_eq!(names, ["out"]);
        assert!(Scratch::beside(Path::new("/none/x")).is_err());
    }
}
