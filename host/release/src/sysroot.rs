//! A folder laid out like a Linux system's root, where shared libraries are found.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Where the dynamic loaders of glibc (Debian's and others') and musl look without a cache, in their order.
pub const LIBRARY_DIRS: &[&str] = &[
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/local/lib",
    "/usr/lib",
];

/// Symbolic links followed for one path, as in Linux.
const MAX_LINKS: usize = 40;

/// A system's root.
#[derive(Clone, Debug)]
pub struct Sysroot {
    dir: PathBuf,
    is_container: bool,
}

impl Sysroot {
    /// Takes the folder `dir`; `/` is this machine itself.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            is_container: false,
        }
    }

    /// Takes the folder `dir` that a container image was unpacked to: its user can choose no other.
    #[must_use]
    pub(crate) fn of_container(dir: &Path) -> Self {
        Self {
            is_container: true,
            ..Self::new(dir)
        }
    }

    /// Returns whether it is that of a container image.
    #[must_use]
    pub(crate) fn is_container(&self) -> bool {
        self.is_container
    }

    /// Returns its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the file of this machine that an absolute path inside the sysroot stands for. Symbolic links are followed
    /// as inside the sysroot: an absolute target begins at its root, and `..` never leaves it. `None` when there is no
    /// such file.
    #[must_use]
    pub fn resolve(&self, path: &Path) -> Option<PathBuf> {
        let mut links = 0;
        let mut inside = PathBuf::new();
        let mut todo: Vec<PathBuf> = components(path);
        while let Some(part) = todo.pop() {
            if part.as_os_str() == ".." {
                inside.pop();
                continue;
            }
            let candidate = self.dir.join(&inside).join(&part);
            let meta = fs::symlink_metadata(&candidate).ok()?;
            if meta.is_symlink() {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                let target = fs::read_link(&candidate).ok()?;
                if target.is_absolute() {
                    inside.clear();
                }
                todo.extend(components(&target));
            } else {
                inside.push(part);
            }
        }
        Some(self.dir.join(inside))
    }
}

/// Returns the normal and `..` parts of a path, last one first.
fn components(path: &Path) -> Vec<PathBuf> {
    path.components()
        .rev()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(PathBuf::from(name)),
            Component::ParentDir => Some(PathBuf::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside_the_sysroot() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        fs::write(root.join("usr/lib/a.so.1.2"), "a").unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink("a.so.1.2", root.join("usr/lib/a.so.1")).unwrap();
        symlink("/usr/lib/a.so.1", root.join("usr/lib/b.so")).unwrap();
        symlink("../../../../usr/lib/a.so.1", root.join("usr/lib/c.so")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let sysroot = Sysroot::new(root);
        for path in [
            "/lib/a.so.1.2",
            "/lib/a.so.1",
            "/usr/lib/b.so",
            "/lib/c.so",
            "/../lib/./a.so.1",
        ] {
            let found = sysroot.resolve(Path::new(path));
            assert_eq!(found, Some(root.join("usr/lib/a.so.1.2")), "{path}");
        }
        for path in ["/loop", "/lib/none", "/etc/passwd"] {
            assert_eq!(sysroot.resolve(Path::new(path)), None, "{path}");
        }
    }
}
