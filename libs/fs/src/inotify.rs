//! Watches of files and directories (`inotify(7)`): who asked for what, and what was told.
//!
//! `H` is how an instance's reader is woken; calls that tell something hand it to `wake`.
//!
//! # Invariants
//! - Every watch of an inode is known to its instance by its descriptor, and the other way round.
//! - An inode has at most one watch of an instance.
//! - `watches` counts those of all instances.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use tyn_abi::inotify::Inotify;
use tyn_abi::{Errno, Sink};

use crate::tree::Ino;

mod queue;

use queue::{Event, Queue};

pub use queue::MAX_QUEUED_EVENTS;

/// Most instances (`fs.inotify.max_user_instances`).
pub const MAX_USER_INSTANCES: usize = 128;
/// Most watches of all instances (`fs.inotify.max_user_watches`; Linux takes 8192 at least, more with much memory).
pub const MAX_USER_WATCHES: usize = 65_536;

/// What is told of an inode.
#[derive(Clone, Copy, Debug)]
pub struct News<'a> {
    /// What happened, one of [`Inotify::ALL_EVENTS`], with `ISDIR` where it is about a directory.
    pub event: Inotify,
    /// Of a move: what its two events have in common; else 0.
    pub cookie: u32,
    /// When it is about an entry of the inode, a directory: the entry's name.
    pub name: &'a [u8],
    /// Whether that entry was unlinked.
    pub is_unlinked: bool,
}

impl News<'_> {
    /// Something that happened to the inode itself.
    #[must_use]
    pub fn own(event: Inotify) -> Self {
        Self {
            event,
            cookie: 0,
            name: b"",
            is_unlinked: false,
        }
    }
}

/// About how many bytes of memory a watch takes.
const WATCH_BYTES: usize = 128;

/// Names an instance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Id(u64);

#[derive(Debug)]
struct Instance<H> {
    handle: H,
    /// Watch descriptors.
    watched: BTreeMap<i32, Ino>,
    last_wd: i32,
    queue: Queue,
}

#[derive(Clone, Copy, Debug)]
struct Watch {
    instance: Id,
    wd: i32,
    mask: Inotify,
}

/// All instances and what they watch.
#[derive(Debug)]
pub struct Watches<H> {
    instances: BTreeMap<Id, Instance<H>>,
    by_inode: BTreeMap<Ino, Vec<Watch>>,
    watches: usize,
    last_id: u64,
    last_cookie: u32,
}

impl<H> Default for Watches<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H> Watches<H> {
    /// Makes a table without instances.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            instances: BTreeMap::new(),
            by_inode: BTreeMap::new(),
            watches: 0,
            last_id: 0,
            last_cookie: 0,
        }
    }

    /// Returns how many watches there are.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.watches
    }

    /// Makes an instance (`inotify_init1(2)`).
    ///
    /// # Errors
    /// `EMFILE` when there are [`MAX_USER_INSTANCES`].
    pub fn open(&mut self, handle: H) -> Result<Id, Errno> {
        if self.instances.len() >= MAX_USER_INSTANCES {
            return Err(Errno::EMFILE);
        }
        self.last_id += 1;
        let id = Id(self.last_id);
        let instance = Instance {
            handle,
            watched: BTreeMap::new(),
            last_wd: 0,
            queue: Queue::default(),
        };
        self.instances.insert(id, instance);
        Ok(id)
    }

    /// Removes an instance with its watches; what it holds is returned, to be dropped outside the caller's lock.
    pub fn close(&mut self, id: Id) -> Option<impl Sized + use<H>> {
        let instance = self.instances.remove(&id)?;
        for ino in instance.watched.values() {
            self.forget(*ino, id);
        }
        Some(instance)
    }

    /// Watches an inode, or changes what is watched of it (`inotify_add_watch(2)`); returns the watch descriptor.
    ///
    /// # Errors
    /// `EEXIST` when it is watched and `MASK_CREATE` is given; `ENOSPC` when there are [`MAX_USER_WATCHES`]; `EINVAL`
    /// when there is no such instance.
    pub fn watch(&mut self, id: Id, ino: Ino, asked: Inotify) -> Result<i32, Errno> {
        let instance = self.instances.get_mut(&id).ok_or(Errno::EINVAL)?;
        let mask = asked & (Inotify::ALL_EVENTS | Inotify::ONESHOT | Inotify::EXCL_UNLINK);
        let watches = self.by_inode.entry(ino).or_default();
        if let Some(watch) = watches.iter_mut().find(|w| w.instance == id) {
            if asked.contains(Inotify::MASK_CREATE) {
                return Err(Errno::EEXIST);
            }
            watch.mask = if asked.contains(Inotify::MASK_ADD) {
                watch.mask | mask
            } else {
                mask
            };
            return Ok(watch.wd);
        }
        let wd = next_wd(instance);
        if self.watches >= MAX_USER_WATCHES || wd.is_none() {
            if watches.is_empty() {
                self.by_inode.remove(&ino);
            }
            return Err(Errno::ENOSPC);
        }
        let wd = wd.ok_or(Errno::ENOSPC)?;
        instance.last_wd = wd;
        instance.watched.insert(wd, ino);
        watches.push(Watch {
            instance: id,
            wd,
            mask,
        });
        self.watches += 1;
        Ok(wd)
    }

    /// Ends a watch (`inotify_rm_watch(2)`), which its reader is told.
    ///
    /// # Errors
    /// `EINVAL` when there is no such watch.
    pub fn unwatch(&mut self, id: Id, wd: i32, wake: impl FnMut(&H)) -> Result<(), Errno> {
        let instance = self.instances.get(&id).ok_or(Errno::EINVAL)?;
        let ino = *instance.watched.get(&wd).ok_or(Errno::EINVAL)?;
        self.end(id, wd, ino, wake);
        Ok(())
    }

    /// Moves events to `dst` (`read(2)` of an instance); returns the bytes.
    ///
    /// # Errors
    /// `EAGAIN` when there are none, `EINVAL` when not even the first one fits, `EFAULT`.
    pub fn read(&mut self, id: Id, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let instance = self.instances.get_mut(&id).ok_or(Errno::EINVAL)?;
        instance.queue.read(dst)
    }

    /// Returns how many bytes of events wait to be read.
    #[must_use]
    pub fn unread(&self, id: Id) -> usize {
        self.instances.get(&id).map_or(0, |i| i.queue.bytes())
    }

    /// Returns whether events wait to be read.
    #[must_use]
    pub fn is_readable(&self, id: Id) -> bool {
        self.instances.get(&id).is_some_and(|i| !i.queue.is_empty())
    }

    /// Returns about how many bytes of memory an instance takes.
    #[must_use]
    pub fn bytes(&self, id: Id) -> usize {
        let of = |i: &Instance<H>| i.watched.len() * WATCH_BYTES + i.queue.bytes();
        self.instances.get(&id).map_or(0, of)
    }

    /// Returns an instance's watches, the newest first: descriptor, inode, what was asked for. A list for which there is no
    /// memory is empty.
    #[must_use]
    pub fn list(&self, id: Id) -> Vec<(i32, Ino, Inotify)> {
        let mut list = Vec::new();
        let watched = self.instances.get(&id).map(|i| &i.watched);
        let count = watched.map_or(0, BTreeMap::len);
        if list.try_reserve_exact(count).is_err() {
            return list;
        }
        let watch = |(&wd, &ino): (&i32, &Ino)| {
            let watches = self.by_inode.get(&ino)?;
            let watch = watches.iter().find(|w| w.instance == id)?;
            Some((wd, ino, watch.mask))
        };
        list.extend(watched.into_iter().flatten().rev().filter_map(watch));
        list
    }

    /// Returns a number by which the two events of a move are known to belong together.
    pub fn next_cookie(&mut self) -> u32 {
        // Zero is the cookie of events that are alone.
        self.last_cookie = self.last_cookie.checked_add(1).unwrap_or(1);
        self.last_cookie
    }

    /// Tells `news` of `ino` to those who asked for it. A watch that was for one event ends.
    pub fn tell(&mut self, ino: Ino, news: &News<'_>, mut wake: impl FnMut(&H)) {
        let Some(watches) = self.by_inode.get(&ino) else {
            return;
        };
        let mut ended = Vec::new();
        for watch in watches {
            let is_excluded = news.is_unlinked && watch.mask.contains(Inotify::EXCL_UNLINK);
            if is_excluded || !watch.mask.intersects(news.event & Inotify::ALL_EVENTS) {
                continue;
            }
            let Some(instance) = self.instances.get_mut(&watch.instance) else {
                continue;
            };
            instance.queue.push(Event {
                wd: watch.wd,
                mask: news.event,
                cookie: news.cookie,
                name: Box::from(news.name),
            });
            wake(&instance.handle);
            if watch.mask.contains(Inotify::ONESHOT) {
                ended.push(*watch);
            }
        }
        for watch in ended {
            self.end(watch.instance, watch.wd, ino, &mut wake);
        }
    }

    /// Tells that an inode is gone: its watches end.
    pub fn gone(&mut self, ino: Ino, mut wake: impl FnMut(&H)) {
        self.tell(ino, &News::own(Inotify::DELETE_SELF), &mut wake);
        for watch in self.by_inode.get(&ino).cloned().unwrap_or_default() {
            self.end(watch.instance, watch.wd, ino, &mut wake);
        }
    }

    fn end(&mut self, id: Id, wd: i32, ino: Ino, mut wake: impl FnMut(&H)) {
        self.forget(ino, id);
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        instance.watched.remove(&wd);
        instance.queue.push(Event {
            wd,
            mask: Inotify::IGNORED,
            cookie: 0,
            name: Box::default(),
        });
        wake(&instance.handle);
    }

    /// Takes an instance's watch from an inode.
    fn forget(&mut self, ino: Ino, id: Id) {
        let Some(watches) = self.by_inode.get_mut(&ino) else {
            return;
        };
        let before = watches.len();
        watches.retain(|w| w.instance != id);
        self.watches -= before - watches.len();
        if watches.is_empty() {
            self.by_inode.remove(&ino);
        }
    }
}

/// Returns the descriptor of an instance's next watch: they go on from the last one, and round.
fn next_wd<H>(instance: &Instance<H>) -> Option<i32> {
    let is_free = |wd: &i32| !instance.watched.contains_key(wd);
    let next = instance.last_wd.checked_add(1).unwrap_or(1);
    (next..=i32::MAX).chain(1..next).find(is_free)
}

#[cfg(test)]
mod tests;
