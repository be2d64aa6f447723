//! Where named sockets are found: the abstract namespace, and the inodes of sockets in the file system.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use tyn_abi::Errno;
use tyn_abi::fs::mode;
use tyn_abi::inotify::Inotify;
use tyn_fs::name::Name as FileName;
use tyn_fs::tree::{New, NewKind};
use tyn_fs::walk::{self, Last};
use tyn_hal::sync::SpinLock;
use tyn_io::unix::Address;

use super::UnixSocket;
use crate::cx::Cx;
use crate::fs::{self, AllFiles};

/// What a socket is found by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    /// Type of the socket (each has names of its own) and name.
    Abstract(u32, Vec<u8>),
    /// Device and inode.
    Inode(u64, u64),
}

static PLACES: SpinLock<BTreeMap<Place, Weak<UnixSocket>>> = SpinLock::new(BTreeMap::new());

/// A socket's name in its namespace. While it exists, the socket is found by it.
#[derive(Debug)]
pub(super) struct Name {
    address: Address,
    place: Option<Place>,
}

impl Drop for Name {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            let socket = PLACES.lock().remove(place);
            drop(socket);
        }
    }
}

impl Name {
    /// Returns the name of an accepted socket: its listener's, by which it is not found itself.
    pub(super) const fn inherited(address: Address) -> Self {
        Self {
            address,
            place: None,
        }
    }

    /// Returns the address.
    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    /// Gives `socket` a name; [`Address::Unnamed`] asks for one of the kernel's choice.
    ///
    /// # Errors
    /// `EADDRINUSE`; those of making a node in the file system.
    pub(super) fn claim(
        cx: &Cx<'_>,
        address: Address,
        socket: &Arc<UnixSocket>,
    ) -> Result<Self, Errno> {
        match address {
            Address::Unnamed => Self::claim_any(socket),
            Address::Abstract(name) => {
                let place = Place::Abstract(socket.kind, name.clone());
                Self::insert(place, Address::Abstract(name), socket)
            }
            Address::Path(path) => {
                let (dev, inode) = make_node(cx, &path)?;
                Self::insert(Place::Inode(dev, inode), Address::Path(path), socket)
            }
        }
    }

    fn insert(place: Place, address: Address, socket: &Arc<UnixSocket>) -> Result<Self, Errno> {
        let mut places = PLACES.lock();
        if places.contains_key(&place) {
            return Err(Errno::EADDRINUSE);
        }
        places.insert(place.clone(), Arc::downgrade(socket));
        Ok(Self {
            address,
            place: Some(place),
        })
    }

    fn claim_any(socket: &Arc<UnixSocket>) -> Result<Self, Errno> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        const NAMES: u32 = 1 << 20;
        for _ in 0..NAMES {
            let address = Address::autobind(NEXT.fetch_add(1, Ordering::Relaxed));
            let Address::Abstract(name) = &address else {
                break;
            };
            let place = Place::Abstract(socket.kind, name.clone());
            if let Ok(name) = Self::insert(place, address, socket) {
                return Ok(name);
            }
        }
        Err(Errno::ENOSPC)
    }
}

/// Returns the socket with this name; a path may name one of another type than `kind`.
///
/// # Errors
/// `ECONNREFUSED` when nothing (or nothing but a left-over node in the file system) has it; those of a path walk.
pub(super) fn find(cx: &Cx<'_>, kind: u32, address: &Address) -> Result<Arc<UnixSocket>, Errno> {
    let place = match address {
        Address::Unnamed => return Err(Errno::EINVAL),
        Address::Abstract(name) => Place::Abstract(kind, name.clone()),
        Address::Path(path) => {
            let (dev, inode) = find_node(cx, path)?;
            Place::Inode(dev, inode)
        }
    };
    let socket = PLACES.lock().get(&place).and_then(Weak::upgrade);
    socket.ok_or(Errno::ECONNREFUSED)
}

/// Makes a socket node in the file system and returns its device and inode.
fn make_node(cx: &Cx<'_>, path: &[u8]) -> Result<(u64, u64), Errno> {
    let context = cx.process.fs();
    let found = walk::resolve(&AllFiles, &context.start(), path, Last::Keep)?;
    if found.node.is_some() {
        return Err(Errno::EADDRINUSE);
    }
    let name = found.ordinary_name(Errno::EADDRINUSE)?;
    let parent = found.parent.tree_ino()?;
    let new = New {
        kind: NewKind::Special(0),
        mode: mode::S_IFSOCK | 0o777 & !context.umask(),
        uid: 0,
        gid: 0,
    };
    let now = fs::now();
    let made = fs::fs().with_tree(|tree| {
        let ino = tree.create(parent, FileName::copied(name), new, now)?;
        Ok((tree.dev(ino)?, ino.0))
    });
    if made.is_ok() {
        fs::watch::entry(parent, name, Inotify::CREATE);
    }
    made.map_err(|e| match e {
        Errno::EEXIST => Errno::EADDRINUSE,
        e => e,
    })
}

/// Finds a socket node in the file system and returns its device and inode.
fn find_node(cx: &Cx<'_>, path: &[u8]) -> Result<(u64, u64), Errno> {
    let start = cx.process.fs().start();
    let node = walk::resolve(&AllFiles, &start, path, Last::Follow)?.existing()?;
    let stat = node.stat()?;
    if stat.mode & mode::S_IFMT != mode::S_IFSOCK {
        return Err(Errno::ECONNREFUSED);
    }
    Ok((stat.dev, stat.ino))
}
