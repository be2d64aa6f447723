//! The file system at work: the tree of [`tyn_fs`] over hal's frames, its locks, and the files it opens.
//!
//! Locks, outermost first: a file's write lock ([`Body`], held over a whole `write`, user copies included), the address
//! space's lock (page faults of those copies), the file's page lock (leaf). The tree's lock is a leaf, too: it is held for
//! one question or change at a time, never while copying from or to user memory, and inodes that end under it are dropped
//! after it is released.

pub(crate) mod at;
mod body;
mod context;
mod descriptor_facts;
mod directory;
mod facts;
mod mounts;
mod node;
mod open;
mod path_file;
mod regular;
mod shown_name;
mod text;
pub(crate) mod watch;

pub use body::Body;
pub use context::FsContext;
pub use directory::DirectoryFile;
pub(crate) use facts::memory_facts;
pub use node::{AllFiles, Node, node_of};
pub(crate) use node::{shown_name, stat_tree};
pub use open::{How, memfd, open, open_node};
pub use path_file::PathFile;
pub use regular::RegularFile;
pub use shown_name::ShownName;
pub use text::TextFile;

use alloc::sync::Arc;

use tyn_abi::fs::{makedev, mode};
use tyn_abi::time::Timespec;
use tyn_abi::{Errno, PAGE_SIZE};
use tyn_fs::content::Quota;
use tyn_fs::load::{self, LoadError};
use tyn_fs::name::Name;
use tyn_fs::tree::{Ino, New, NewKind, Tree};
use tyn_hal::boot::{Archive, BootInfo};
use tyn_hal::sync::{Once, SpinLock};
use tyn_hal::time;

/// Device numbers of our file systems (`st_dev`).
pub mod dev {
    use super::makedev;
    /// The root.
    pub const ROOT: u64 = makedev(0, 2);
    /// `/proc`.
    pub const PROC: u64 = makedev(0, 20);
    /// `/sys`.
    pub const SYS: u64 = makedev(0, 21);
    /// `/dev`.
    pub const DEV: u64 = makedev(0, 5);
    /// `/dev/shm`.
    pub const SHM: u64 = makedev(0, 22);
    /// `/dev/pts`.
    pub const PTS: u64 = makedev(0, 23);
    /// Files without a name (`memfd_create(2)`).
    pub const ANONYMOUS: u64 = makedev(0, 1);
}

/// The tree with its lock, and what it is made of.
#[derive(Debug)]
pub struct FileSystem {
    tree: SpinLock<Tree<Arc<Body>>>,
    archive: Option<Archive>,
    quota: Arc<Quota>,
    proc: Ino,
    sys: Ino,
    pts: Ino,
}

static FILE_SYSTEM: Once<FileSystem> = Once::new();

/// Returns the file system.
///
/// # Panics
/// Before [`init`].
#[must_use]
pub fn fs() -> &'static FileSystem {
    FILE_SYSTEM
        .get()
        .expect("invariant: fs::init ran before the first process")
}

/// The boot archive's files, before there are mounts.
#[derive(Debug)]
pub struct Loaded {
    tree: Tree<Arc<Body>>,
    quota: Arc<Quota>,
}

/// Indexes the boot archive; needs no clock.
///
/// # Errors
/// [`LoadError`] when the archive is damaged.
pub fn load(boot: &BootInfo) -> Result<Loaded, LoadError> {
    // As tmpfs: half of the memory, and as many files.
    let limit = boot.ram_bytes / 2 / PAGE_SIZE as u64;
    let quota = Quota::new(limit, limit);
    let mut tree = Tree::new(Arc::clone(&quota), dev::ROOT, Timespec::default());
    if let Some(archive) = boot.archive {
        load::load(&mut tree, archive.bytes(), |base| {
            Body::from_base(Arc::clone(&quota), base)
        })?;
    }
    Ok(Loaded { tree, quota })
}

/// Makes the root file system of what was loaded; called once, after [`crate::kernel::init`].
///
/// # Errors
/// [`LoadError`] when the archive has something else where a directory is needed.
pub fn init(boot: &BootInfo, loaded: Loaded) -> Result<(), LoadError> {
    let now = now();
    let Loaded { mut tree, quota } = loaded;
    tree.set_root_times(now);
    let places =
        mount_points(&mut tree, now).map_err(|errno| LoadError::Entry { offset: 0, errno })?;
    FILE_SYSTEM.set(FileSystem {
        tree: SpinLock::new(tree),
        archive: boot.archive,
        quota,
        proc: places.proc,
        sys: places.sys,
        pts: places.pts,
    });
    Ok(())
}

/// Where file systems of their own begin.
struct Places {
    proc: Ino,
    sys: Ino,
    pts: Ino,
}

/// Makes the directories that every system has, and the devices.
fn mount_points(tree: &mut Tree<Arc<Body>>, now: Timespec) -> Result<Places, Errno> {
    let root = Tree::<Arc<Body>>::ROOT;
    directory(tree, root, b"tmp", 0o1777, now)?;
    let proc = directory(tree, root, b"proc", 0o555, now)?;
    let sys = directory(tree, root, b"sys", 0o555, now)?;
    let devices = directory(tree, root, b"dev", 0o755, now)?;
    let shm = directory(tree, devices, b"shm", 0o1777, now)?;
    let pts = directory(tree, devices, b"pts", 0o755, now)?;
    for (name, permissions, major, minor) in DEVICES {
        let new = special(makedev(*major, *minor), *permissions);
        ignore_existing(tree.create(devices, Name::Static(name), new, now))?;
    }
    for (name, target) in DEVICE_LINKS {
        let new = New {
            kind: NewKind::Symlink(Name::Static(target)),
            mode: mode::S_IFLNK | 0o777,
            uid: 0,
            gid: 0,
        };
        ignore_existing(tree.create(devices, Name::Static(name), new, now))?;
    }
    for (dir, dev) in [
        (proc, dev::PROC),
        (sys, dev::SYS),
        (devices, dev::DEV),
        (shm, dev::SHM),
        (pts, dev::PTS),
    ] {
        tree.set_dev(dir, dev)?;
    }
    // As Linux has it: of no use unless somebody changes its permissions.
    ignore_existing(tree.create(pts, Name::Static(b"ptmx"), special(makedev(5, 2), 0), now))?;
    tree.seal(pts, true)?;
    Ok(Places { proc, sys, pts })
}

fn special(number: u64, permissions: u32) -> New<Arc<Body>> {
    New {
        kind: NewKind::Special(number),
        mode: mode::S_IFCHR | permissions,
        uid: 0,
        gid: 0,
    }
}

/// Makes a directory, or finds the one that the archive has.
fn directory(
    tree: &mut Tree<Arc<Body>>,
    above: Ino,
    name: &'static [u8],
    permissions: u32,
    now: Timespec,
) -> Result<Ino, Errno> {
    match tree.lookup(above, name) {
        Err(Errno::ENOENT) => {
            let new = New {
                kind: NewKind::Directory,
                mode: mode::S_IFDIR | permissions,
                uid: 0,
                gid: 0,
            };
            tree.create(above, Name::Static(name), new, now)
        }
        found => found,
    }
}

fn ignore_existing(result: Result<Ino, Errno>) -> Result<(), Errno> {
    match result {
        Ok(_) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Name, permissions, major and minor number of the devices in `/dev` (`Documentation/admin-guide/devices.txt` of Linux).
const DEVICES: &[(&[u8], u32, u32, u32)] = &[
    (b"null", 0o666, 1, 3),
    (b"zero", 0o666, 1, 5),
    (b"full", 0o666, 1, 7),
    (b"random", 0o666, 1, 8),
    (b"urandom", 0o666, 1, 9),
    (b"tty", 0o666, 5, 0),
    (b"console", 0o600, 5, 1),
    (b"ptmx", 0o666, 5, 2),
];

const DEVICE_LINKS: &[(&[u8], &[u8])] = &[
    (b"fd", b"/proc/self/fd"),
    (b"stdin", b"/proc/self/fd/0"),
    (b"stdout", b"/proc/self/fd/1"),
    (b"stderr", b"/proc/self/fd/2"),
];

/// Returns the wall-clock time, for time stamps.
#[must_use]
pub fn now() -> Timespec {
    Timespec::from_nanos(time::wall_at_boot() + time::now())
}

impl FileSystem {
    /// Returns how much is used and how much may be.
    #[must_use]
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Returns the quota as new files hold it.
    #[must_use]
    pub fn shared_quota(&self) -> Arc<Quota> {
        Arc::clone(&self.quota)
    }

    /// Returns where `/dev/pts` is.
    #[must_use]
    pub fn pts(&self) -> Ino {
        self.pts
    }

    /// Asks or changes the tree. What `work` returns is dropped after the lock is released.
    pub fn with_tree<T>(&self, work: impl FnOnce(&mut Tree<Arc<Body>>) -> T) -> T {
        let mut tree = self.tree.lock();
        work(&mut tree)
    }
}

/// An inode that stays alive while this is held: by an open file, a process whose working directory it is, or a call that
/// found it and is not done with it. Neither made nor dropped under the tree's lock.
#[derive(Debug, PartialEq, Eq)]
pub struct Pin(Ino);

impl Pin {
    /// The root directory, which is always alive.
    pub const ROOT: Self = Self(Tree::<Arc<Body>>::ROOT);

    /// Pins what `find` returns, before anybody can remove it.
    ///
    /// # Errors
    /// Those of `find`.
    pub fn find(find: impl FnOnce(&Tree<Arc<Body>>) -> Result<Ino, Errno>) -> Result<Self, Errno> {
        let ino = fs().with_tree(|tree| {
            let ino = find(tree)?;
            if ino != Self::ROOT.0 {
                tree.pin(ino)?;
            }
            Ok::<_, Errno>(ino)
        })?;
        Ok(Self(ino))
    }

    /// Takes over a pin that was made with the inode.
    fn adopt(ino: Ino) -> Self {
        Self(ino)
    }

    /// Returns the inode.
    #[must_use]
    pub fn ino(&self) -> Ino {
        self.0
    }
}

impl Clone for Pin {
    fn clone(&self) -> Self {
        if *self != Self::ROOT {
            // It cannot be gone: our own pin holds it.
            let _ = fs().with_tree(|t| t.pin(self.0));
        }
        Self(self.0)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if self.0 != Tree::<Arc<Body>>::ROOT {
            watch::removed(fs().with_tree(|t| t.unpin(self.0)));
        }
    }
}
