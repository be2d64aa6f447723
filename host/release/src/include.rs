//! Files and folders that an image gets beside its release: programs for ports, certificates, time zones.
//!
//! The shared libraries of included programs are found like those of the release.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::sysroot::Sysroot;
use crate::tree::{Conflict, Node, Source, Tree};
use crate::walk;

/// Something to be included; as text `PATH` or `FILE=PATH`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Include {
    /// Where it is: a path of this machine, or (`None`) the place in the sysroot that `guest` names.
    pub from: Option<PathBuf>,
    /// Where it lies in the image; absolute.
    pub guest: PathBuf,
}

/// Text that is no [`Include`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "'{0}' is neither an absolute path, e.g. /bin/sh, nor FILE=PATH with an absolute PATH of the guest"
)]
pub struct BadInclude(String);

/// Why something can't be included.
#[derive(Debug, thiserror::Error)]
pub enum IncludeError {
    /// It isn't there.
    #[error(
        "{} isn't there, so it can't be included; mend the path, or install the package that has it", .0.display()
    )]
    Missing(PathBuf),
    /// A device, socket or pipe.
    #[error("{} is neither file, folder nor symbolic link and can't be included", .0.display())]
    Special(PathBuf),
    /// It can't be read.
    #[error("{} can't be read: {error}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Its place is taken.
    #[error(transparent)]
    Conflict(#[from] Conflict),
}

impl FromStr for Include {
    type Err = BadInclude;

    fn from_str(text: &str) -> Result<Self, BadInclude> {
        let (from, guest) = match text.split_once('=') {
            Some((from, guest)) => (Some(PathBuf::from(from)), PathBuf::from(guest)),
            None => (None, PathBuf::from(text)),
        };
        let is_sound = guest.is_absolute() && from.as_ref().is_none_or(|f| *f != Path::new(""));
        is_sound
            .then_some(Self { from, guest })
            .ok_or_else(|| BadInclude(text.into()))
    }
}

/// Adds what `include` names to `tree`. A file keeps whether it may be executed. In a folder, a relative symbolic link
/// stays one, an absolute one becomes the file it leads to.
///
/// # Errors
/// [`IncludeError`]: the first thing that can't be included.
pub fn add(tree: &mut Tree, include: &Include, sysroot: &Sysroot) -> Result<(), IncludeError> {
    let from = match &include.from {
        Some(from) => from.clone(),
        None => sysroot
            .resolve(&include.guest)
            .ok_or_else(|| IncludeError::Missing(sysroot.dir().join(relative(&include.guest))))?,
    };
    // What was asked for is followed to where it leads; links below it are kept.
    let meta = fs::metadata(&from).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => IncludeError::Missing(from.clone()),
        _ => io_error(&from, error),
    })?;
    if !meta.is_dir() {
        tree.insert(&include.guest, file(&from, &meta)?)?;
        return Ok(());
    }
    for entry in walkdir::WalkDir::new(&from).sort_by_file_name() {
        let entry = entry.map_err(|error| {
            let (path, error) = walk::failure(error, &from);
            io_error(&path, error)
        })?;
        let inside = entry.path().strip_prefix(&from).unwrap_or(entry.path());
        let guest = include.guest.join(inside);
        tree.insert(&guest, node(entry.path(), sysroot)?)?;
    }
    Ok(())
}

fn node(path: &Path, sysroot: &Sysroot) -> Result<Node, IncludeError> {
    let meta = fs::symlink_metadata(path).map_err(|error| io_error(path, error))?;
    if meta.is_dir() {
        return Ok(Node::Dir(0o755));
    }
    if !meta.is_symlink() {
        return file(path, &meta);
    }
    let target = fs::read_link(path).map_err(|error| io_error(path, error))?;
    if !target.is_absolute() {
        return Ok(Node::Symlink(target));
    }
    let real = sysroot
        .resolve(&target)
        .ok_or(IncludeError::Missing(target))?;
    let meta = fs::metadata(&real).map_err(|error| io_error(&real, error))?;
    file(&real, &meta)
}

fn file(path: &Path, meta: &fs::Metadata) -> Result<Node, IncludeError> {
    if !meta.is_file() {
        return Err(IncludeError::Special(path.to_path_buf()));
    }
    let is_executable = meta.permissions().mode() & 0o111 != 0;
    let mode = if is_executable { 0o755 } else { 0o644 };
    Ok(Node::File(
        mode,
        Source::Path(path.to_path_buf(), meta.len()),
    ))
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn io_error(path: &Path, error: io::Error) -> IncludeError {
    IncludeError::Io {
        path: path.to_path_buf(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn add_to_tree(text: &str, sysroot: &Path) -> Result<Tree, String> {
        let include: Include = text.parse().map_err(|e: BadInclude| e.to_string())?;
        let mut tree = Tree::default();
        add(&mut tree, &include, &Sysroot::new(sysroot)).map_err(|e| e.to_string())?;
        Ok(tree)
    }

    #[test]
    fn path_alone_is_of_the_sysroot() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::write(root.join("usr/bin/dash"), "dash").unwrap();
        symlink("usr/bin", root.join("bin")).unwrap();
        symlink("dash", root.join("usr/bin/sh")).unwrap();
        let tree = add_to_tree("/bin/sh", root).unwrap();
        let real = Source::Path(root.join("usr/bin/dash"), 4);
        assert_eq!(
            tree.get(Path::new("/bin/sh")),
            Some(&Node::File(0o644, real))
        );
        let error = add_to_tree("/bin/none", root).unwrap_err();
        assert!(error.contains("/bin/none isn't there"), "{error}");
    }

    #[test]
    fn folder_is_taken_with_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let (root, zones) = (dir.path().join("root"), dir.path().join("zones"));
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/real"), "real").unwrap();
        fs::create_dir_all(zones.join("sub")).unwrap();
        fs::write(zones.join("sub/a"), "a").unwrap();
        fs::set_permissions(zones.join("sub/a"), fs::Permissions::from_mode(0o700)).unwrap();
        symlink("sub/a", zones.join("b")).unwrap();
        symlink("/etc/real", zones.join("c")).unwrap();
        let tree = add_to_tree(&format!("{}=/zones", zones.display()), &root).unwrap();
        let executable = Node::File(0o755, Source::Path(zones.join("sub/a"), 1));
        let followed = Node::File(0o644, Source::Path(root.join("etc/real"), 4));
        for (path, node) in [
            ("/zones", Node::Dir(0o755)),
            ("/zones/sub", Node::Dir(0o755)),
            ("/zones/sub/a", executable),
            ("/zones/b", Node::Symlink("sub/a".into())),
            ("/zones/c", followed),
        ] {
            assert_eq!(tree.get(Path::new(path)), Some(&node), "{path}");
        }
    }

    #[test]
    fn bad_includes_are_named() {
        for text in ["bin/sh", "", "=/bin/sh", "/bin/sh=bin/sh", "a="] {
            let error = text.parse::<Include>().unwrap_err().to_string();
            assert!(error.contains(&format!("'{text}'")), "{error}");
        }
        let error = add_to_tree("/dev/null=/null", Path::new("/")).unwrap_err();
        assert!(error.contains("/dev/null is neither file"), "{error}");
    }
}
