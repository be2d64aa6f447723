//! Fills the tree from the archive: one pass, names and data stay where they are.

use alloc::collections::BTreeMap;
use core::{fmt, mem};

use tyn_abi::Errno;
use tyn_abi::fs::{makedev, mode};
use tyn_abi::time::Timespec;

use crate::content::Base;
use crate::cpio::{CpioError, Entries, Entry};
use crate::name::Name;
use crate::tree::{Ino, New, NewKind, Tree};

/// Why an archive could not be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoadError {
    /// It is malformed.
    Archive(CpioError),
    /// The entry whose data begins at this offset has no place in the tree.
    Entry {
        /// Offset in bytes.
        offset: usize,
        /// Why: `ENOTDIR` (a file lies where a directory is needed), `ENAMETOOLONG`, `EINVAL` (`..` in the path),
        /// `ENOSPC`.
        errno: Errno,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive(error) => error.fmt(f),
            Self::Entry { offset, errno } => {
                write!(
                    f,
                    "the entry with data at byte {offset} has no place: {errno}"
                )
            }
        }
    }
}

/// State of a load.
struct Loader<'t, B, F> {
    tree: &'t mut Tree<B>,
    make_body: F,
    /// Files with several names in the archive at hand.
    links: BTreeMap<(u32, u32, u32, u32), Ino>,
    /// The directory of the last entry: most entries follow one of the same directory.
    last_dir: (&'static [u8], Ino),
}

/// Loads all entries of `archive` into `tree`; later ones replace earlier ones. Missing directories are made with mode
/// 0755. `make_body` makes the content of a regular file.
///
/// # Errors
/// [`LoadError`]; what came before the bad entry is loaded.
pub fn load<B: Clone>(
    tree: &mut Tree<B>,
    archive: &'static [u8],
    make_body: impl FnMut(Base) -> B,
) -> Result<usize, LoadError> {
    let mut loader = Loader {
        tree,
        make_body,
        links: BTreeMap::new(),
        last_dir: (b"", Tree::<B>::ROOT),
    };
    let mut count = 0;
    for entry in Entries::new(archive) {
        let entry = entry.map_err(LoadError::Archive)?;
        loader.add(&entry).map_err(|errno| LoadError::Entry {
            offset: entry.data_offset,
            errno,
        })?;
        count += 1;
    }
    Ok(count)
}

/// Splits a path into the directory part and the last name, without leading `/` and `./` and trailing `/`.
fn split(path: &'static [u8]) -> (&'static [u8], &'static [u8]) {
    let mut rest = path;
    loop {
        rest = match rest {
            [b'/', tail @ ..] | [b'.', b'/', tail @ ..] => tail,
            [head @ .., b'/'] => head,
            [b'.'] => b"",
            _ => break,
        };
    }
    match rest.iter().rposition(|&b| b == b'/') {
        Some(at) => {
            let (dir, name) = rest.split_at(at);
            (dir, name.get(1..).unwrap_or_default())
        }
        None => (b"", rest),
    }
}

impl<B: Clone, F: FnMut(Base) -> B> Loader<'_, B, F> {
    fn add(&mut self, entry: &Entry<'static>) -> Result<(), Errno> {
        let time = Timespec {
            sec: i64::from(entry.mtime),
            nsec: 0,
        };
        let meta = (entry.mode, entry.uid, entry.gid);
        let (dir_path, name) = split(entry.name);
        if name.is_empty() {
            self.tree.load_over(Tree::<B>::ROOT, meta, None, time);
            return Ok(());
        }
        let dir = self.directory(dir_path, time)?;
        if name == b".." {
            return Err(Errno::EINVAL);
        }
        let kind = entry.mode & mode::S_IFMT;
        match self.tree.lookup(dir, name) {
            Ok(old) if kind == mode::S_IFDIR && self.is_dir(old) => {
                self.tree.load_over(old, meta, None, time);
                return Ok(());
            }
            Ok(old) if self.is_dir(old) => drop(self.tree.rmdir(dir, name, time)?),
            Ok(_) => drop(self.tree.unlink(dir, name, time)?),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
        let base = Base {
            offset: entry.data_offset,
            data: entry.data,
            holes: entry.holes,
        };
        let identity = (
            entry.archive,
            entry.identity.0,
            entry.identity.1,
            entry.identity.2,
        );
        let is_linked = entry.nlink > 1 && kind == mode::S_IFREG;
        if let Some(&first) = self.links.get(&identity).filter(|_| is_linked) {
            // The data may come with any of the names.
            let body = (!entry.is_empty()).then(|| (self.make_body)(base));
            self.tree.load_over(first, meta, body, time);
            return self.tree.link(first, dir, Name::Static(name), true, time);
        }
        let new = New {
            kind: match kind {
                mode::S_IFDIR => NewKind::Directory,
                mode::S_IFREG => NewKind::Regular((self.make_body)(base)),
                mode::S_IFLNK => NewKind::Symlink(Name::Static(entry.data)),
                mode::S_IFCHR | mode::S_IFBLK | mode::S_IFIFO | mode::S_IFSOCK => {
                    NewKind::Special(makedev(entry.rdev.0, entry.rdev.1))
                }
                _ => return Err(Errno::EINVAL),
            },
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
        };
        let ino = self.tree.create(dir, Name::Static(name), new, time)?;
        if is_linked {
            self.links.insert(identity, ino);
        }
        Ok(())
    }

    fn is_dir(&self, ino: Ino) -> bool {
        self.tree
            .mode(ino)
            .is_ok_and(|m| m & mode::S_IFMT == mode::S_IFDIR)
    }

    /// Returns the directory `path`, making what is missing.
    fn directory(&mut self, path: &'static [u8], time: Timespec) -> Result<Ino, Errno> {
        if path == self.last_dir.0 {
            return Ok(self.last_dir.1);
        }
        let mut dir = Tree::<B>::ROOT;
        for name in path.split(|&b| b == b'/') {
            if name.is_empty() || name == b"." {
                continue;
            }
            if name == b".." {
                return Err(Errno::EINVAL);
            }
            dir = match self.tree.lookup(dir, name) {
                Err(Errno::ENOENT) => {
                    let new = New {
                        kind: NewKind::Directory,
                        mode: mode::S_IFDIR | 0o755,
                        uid: 0,
                        gid: 0,
                    };
                    self.tree.create(dir, Name::Static(name), new, time)?
                }
                found => found?,
            };
        }
        if !self.is_dir(dir) {
            return Err(Errno::ENOTDIR);
        }
        let _ = mem::replace(&mut self.last_dir, (path, dir));
        Ok(dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Quota;
    use crate::cpio::tests::{Spec, file, finish, push};
    use alloc::sync::Arc;
    use alloc::vec::Vec;

    type TestTree = Tree<Arc<Base>>;

    fn load_specs(specs: &[Spec<'_>]) -> Result<TestTree, LoadError> {
        let mut bytes = Vec::new();
        for spec in specs {
            push(&mut bytes, spec);
        }
        finish(&mut bytes);
        let mut tree = TestTree::new(Quota::new(0, 1000), 1, Timespec::default());
        load(&mut tree, bytes.leak(), Arc::new)?;
        Ok(tree)
    }

    fn find(tree: &TestTree, path: &str) -> Result<Ino, Errno> {
        path.split('/').try_fold(TestTree::ROOT, |dir, name| {
            tree.lookup(dir, name.as_bytes())
        })
    }

    fn spec<'a>(name: &'a str, mode: u32, data: &'a [u8]) -> Spec<'a> {
        Spec {
            name,
            mode,
            ino: 7,
            nlink: 1,
            data,
        }
    }

    #[test]
    fn files_directories_and_links_are_found_where_they_belong() {
        let tree = load_specs(&[
            spec(".", 0o040_700, b""),
            spec("./etc", 0o041_777, b""),
            file("etc/passwd", b"root"),
            file("/usr/lib/x/y", b"implied"),
            spec("lib", 0o120_777, b"usr/lib"),
            spec("dev/null", 0o020_666, b""),
        ])
        .unwrap();
        assert_eq!(tree.mode(TestTree::ROOT), Ok(0o040_700));
        assert_eq!(tree.mode(find(&tree, "etc").unwrap()), Ok(0o041_777));
        let passwd = tree.body(find(&tree, "etc/passwd").unwrap()).unwrap();
        assert_eq!(passwd.data, b"root");
        assert_eq!(tree.mode(find(&tree, "usr/lib/x").unwrap()), Ok(0o040_755));
        assert_eq!(
            &*tree.target(find(&tree, "lib").unwrap()).unwrap(),
            b"usr/lib"
        );
        let null = tree.stat(find(&tree, "dev/null").unwrap()).unwrap();
        assert_eq!(null.rdev, makedev(5, 6));
    }

    #[test]
    fn later_entries_replace_earlier_ones() {
        let tree = load_specs(&[
            file("a", b"old"),
            file("a", b"new"),
            spec("d", 0o040_755, b""),
            file("d/x", b"1"),
            spec("d", 0o040_700, b""),
        ])
        .unwrap();
        let a = tree.body(find(&tree, "a").unwrap()).unwrap();
        assert_eq!(a.data, b"new");
        assert!(find(&tree, "d/x").is_ok());
        assert_eq!(tree.mode(find(&tree, "d").unwrap()), Ok(0o040_700));
    }

    #[test]
    fn hard_links_share_an_inode_whichever_name_has_the_data() {
        let link = |name, data| Spec {
            name,
            mode: 0o100_644,
            ino: 42,
            nlink: 2,
            data,
        };
        for (first, second) in [(&b"data"[..], &b""[..]), (b"", b"data")] {
            let tree = load_specs(&[link("a", first), link("b", second)]).unwrap();
            let (a, b) = (find(&tree, "a").unwrap(), find(&tree, "b").unwrap());
            assert_eq!(a, b);
            assert_eq!(tree.stat(a).unwrap().nlink, 2);
            assert_eq!(tree.body(a).unwrap().data, b"data");
        }
    }

    #[test]
    fn misplaced_entries_are_refused_with_their_offset() {
        let errno = |specs: &[Spec<'_>]| match load_specs(specs) {
            Err(LoadError::Entry { errno, .. }) => Some(errno),
            _ => None,
        };
        let through_file = errno(&[file("a", b"x"), file("a/b", b"y")]);
        assert_eq!(through_file, Some(Errno::ENOTDIR));
        assert_eq!(errno(&[file("a/../b", b"y")]), Some(Errno::EINVAL));
        assert_eq!(errno(&[file("..", b"y")]), Some(Errno::EINVAL));
        assert_eq!(errno(&[spec("odd", 0o644, b"")]), Some(Errno::EINVAL));
        let long = "n".repeat(256);
        assert_eq!(errno(&[file(&long, b"y")]), Some(Errno::ENAMETOOLONG));
    }
}
