//! Epoll sets as files (`epoll(7)`): `tyn_io::epoll` with locks, observers and user memory around it.
//!
//! # Locks
//! `serial` of a set is held over a whole `epoll_ctl` or scan, and while it is held watched files are polled, so it comes
//! before any file's lock. `set` is a leaf: it is taken by observers under the files' locks, and never held over a poll.
//! Nested sets take `serial` from the outer to the inner; there are no loops ([`nesting`] sees to that).
//!
//! # Lifetimes
//! A [`Watch`] keeps the watched [`File`] in memory, not open: closing its last open file description forgets all its
//! watches ([`Watchers::forget`]) before the file is released. Closing a set ends all its watches.

mod watchers;

pub use watchers::Watchers;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use tyn_abi::fs::Stat;
use tyn_abi::{Errno, Events, Fd};
use tyn_fs::fd_info;
use tyn_hal::sync::{Once, SpinLock};
use tyn_io::epoll::{EpollEvent, EpollSet, ItemId, Key, MAX_NESTS, Scan, Wake, depth_below};

use crate::anon::{self, Home};
use crate::file::{File, OpenFile};
use crate::wait::{Observer, RegistrationId, WaitQueue};

/// An epoll set.
pub struct Epoll {
    core: Arc<Core>,
    inode: u64,
}

impl core::fmt::Debug for Epoll {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Epoll({} items)", self.core.set.lock().len())
    }
}

/// What observers and open file descriptions hold of a set.
struct Core {
    /// Makes `epoll_ctl` calls and scans follow each other.
    serial: SpinLock<()>,
    set: SpinLock<EpollSet<Arc<Watch>>>,
    /// Notified when an item may be ready.
    queue: WaitQueue,
    /// The sets that watch this one, for [`nesting`].
    parents: SpinLock<Vec<Arc<Core>>>,
}

/// One item's tie to the file that it watches.
struct Watch {
    core: Arc<Core>,
    id: ItemId,
    file: Arc<dyn File>,
    registration: Once<RegistrationId>,
}

impl Observer for Watch {
    fn notify(&self, events: Events) {
        self.core.on_event(self.id, events);
    }
}

impl Watch {
    /// Stops hearing of the file's events.
    fn end(&self) {
        if let (Some(queue), Some(id)) = (self.file.wait_queue(), self.registration.get()) {
            queue.unregister(*id);
        }
        if let Some(inner) = inner_set(&*self.file) {
            let mut parents = inner.parents.lock();
            let position = parents.iter().position(|p| Arc::ptr_eq(p, &self.core));
            let parent = position.map(|i| parents.swap_remove(i));
            drop(parents);
            drop(parent);
        }
    }
}

fn inner_set(file: &dyn File) -> Option<&Arc<Core>> {
    file.as_any()
        .downcast_ref::<Epoll>()
        .map(|epoll| &epoll.core)
}

impl Core {
    fn on_event(&self, id: ItemId, events: Events) {
        let wake = self.set.lock().on_event(id, events);
        if wake == Wake::Yes {
            self.queue.notify(Events::IN | Events::RDNORM);
        }
    }

    /// Scans the ready list: hands at most `max` events to `emit` and returns how many were taken.
    fn scan(
        &self,
        max: usize,
        mut emit: impl FnMut(EpollEvent) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        let _serial = self.serial.lock();
        let mut scan = None;
        let mut count = 0;
        while count < max && !scan.as_ref().is_some_and(Scan::is_over) {
            let candidate = {
                let mut set = self.set.lock();
                let scan = scan.get_or_insert_with(|| set.start_scan());
                set.next_candidate(scan)
            };
            let Some(candidate) = candidate else {
                break;
            };
            let ready = candidate.target.file.poll();
            let Some(event) = self.set.lock().settle(candidate.id, ready) else {
                continue;
            };
            if let Err(e) = emit(event) {
                self.set.lock().put_back(candidate.id);
                return if count == 0 { Err(e) } else { Ok(count) };
            }
            count += 1;
        }
        Ok(count)
    }

    /// Returns whether an item is ready; items that are not leave the ready list.
    fn has_ready(&self) -> bool {
        let _serial = self.serial.lock();
        let mut scan = self.set.lock().start_scan();
        loop {
            let Some(candidate) = self.set.lock().next_candidate(&mut scan) else {
                return false;
            };
            let ready = candidate.target.file.poll();
            let mut set = self.set.lock();
            if set.would_report(candidate.id, ready) {
                set.put_back(candidate.id);
                return true;
            }
        }
    }
}

/// Identifies an open file description, and with it an item.
fn key(open: &Arc<OpenFile>, fd: Fd) -> Key {
    Key {
        file: Arc::as_ptr(open).addr() as u64,
        fd: fd.0,
    }
}

impl Default for Epoll {
    fn default() -> Self {
        Self::new()
    }
}

impl Epoll {
    /// Makes an empty set.
    #[must_use]
    pub fn new() -> Self {
        let core = Core {
            serial: SpinLock::new(()),
            set: SpinLock::new(EpollSet::new()),
            queue: WaitQueue::new(),
            parents: SpinLock::new(Vec::new()),
        };
        Self {
            core: Arc::new(core),
            inode: anon::inode_number(),
        }
    }

    /// Watches a file (`EPOLL_CTL_ADD`).
    ///
    /// # Errors
    /// `EPERM` when the file cannot be watched, `ELOOP`, `EEXIST`, `EINVAL`, `ENOMEM`.
    pub fn add(&self, open: &Arc<OpenFile>, fd: Fd, event: EpollEvent) -> Result<(), Errno> {
        let queue = open.file.wait_queue().ok_or(Errno::EPERM)?;
        let inner = inner_set(&*open.file);
        // Held from the check until the edge is there.
        let nesting = inner.map(|_| NESTING.lock());
        if let Some(inner) = inner {
            check_nesting(&self.core, inner)?;
        }
        let _serial = self.core.serial.lock();
        let make_watch = |id| {
            Arc::new(Watch {
                core: Arc::clone(&self.core),
                id,
                file: Arc::clone(&open.file),
                registration: Once::new(),
            })
        };
        let mut made = None;
        let id = self.core.set.lock().add(key(open, fd), event, |id| {
            Arc::clone(made.insert(make_watch(id)))
        })?;
        let Some(watch) = made else {
            return Err(Errno::ENOMEM);
        };
        if let Some(inner) = inner {
            inner.parents.lock().push(Arc::clone(&self.core));
        }
        drop(nesting);
        let observer = Arc::clone(&watch) as Arc<dyn Observer>;
        watch
            .registration
            .set(queue.register(observer, Events::all()));
        open.watchers.add(watch);
        self.core.on_event(id, open.file.poll());
        Ok(())
    }

    /// Changes what is waited for (`EPOLL_CTL_MOD`).
    ///
    /// # Errors
    /// `ENOENT`, `EINVAL`.
    pub fn modify(&self, open: &Arc<OpenFile>, fd: Fd, event: EpollEvent) -> Result<(), Errno> {
        let _serial = self.core.serial.lock();
        let id = self.core.set.lock().modify(key(open, fd), event)?;
        self.core.on_event(id, open.file.poll());
        Ok(())
    }

    /// Stops watching a file (`EPOLL_CTL_DEL`).
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn remove(&self, open: &Arc<OpenFile>, fd: Fd) -> Result<(), Errno> {
        let watch = {
            let _serial = self.core.serial.lock();
            let watch = self.core.set.lock().remove(key(open, fd))?;
            watch.end();
            watch
        };
        open.watchers.remove(&watch);
        Ok(())
    }

    /// Takes at most `max` events (`epoll_wait(2)`); 0 when none is there now.
    ///
    /// # Errors
    /// What `emit` gave for the first event; that event stays.
    pub fn take_events(
        &self,
        max: usize,
        emit: impl FnMut(EpollEvent) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        self.core.scan(max, emit)
    }
}

impl File for Epoll {
    fn poll(&self) -> Events {
        if self.core.has_ready() {
            Events::IN | Events::RDNORM
        } else {
            Events::empty()
        }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.core.queue)
    }

    fn ignores_seek(&self) -> bool {
        true
    }

    fn stat(&self) -> Result<[u8; 144], Errno> {
        Ok(anon::stat(Home::Anonymous, self.inode))
    }

    fn release(&self) {
        let ended = {
            let _serial = self.core.serial.lock();
            let set = core::mem::take(&mut *self.core.set.lock());
            set.targets().for_each(|watch| watch.end());
            set
        };
        drop(ended);
    }

    fn show_info(&self, out: &mut String) {
        let mut items = Vec::new();
        {
            let set = self.core.set.lock();
            // A list for which there is no memory is empty.
            if items.try_reserve_exact(set.len()).is_ok() {
                let all = set.items();
                items.extend(all.map(|(fd, event, watch)| (fd, event, Arc::clone(watch))));
            }
        }
        for (fd, event, watch) in items {
            let stat = watch.file.stat().map(|bytes| Stat::from_bytes(&bytes));
            let inode = stat.map_or((0, 0), |stat| (stat.ino, stat.dev));
            let line = fd_info::item(&fd_info::Item {
                fd,
                events: event.events,
                data: event.data,
                inode,
            });
            if out.try_reserve(line.len()).is_err() {
                break;
            }
            out.push_str(&line);
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Held while an edge between two sets is checked and made.
static NESTING: SpinLock<()> = SpinLock::new(());

/// A set as a node of the graph of sets that watch sets.
#[derive(Clone)]
struct Node(Arc<Core>);

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Checks that `outer` may watch `inner`.
fn check_nesting(outer: &Arc<Core>, inner: &Arc<Core>) -> Result<(), Errno> {
    let children = |node: &Node| {
        let set = node.0.set.lock();
        let inner = set.targets().filter_map(|watch| inner_set(&*watch.file));
        inner.map(|core| Node(Arc::clone(core))).collect::<Vec<_>>()
    };
    let parents = |node: &Node| {
        let parents = node.0.parents.lock();
        parents
            .iter()
            .map(|core| Node(Arc::clone(core)))
            .collect::<Vec<_>>()
    };
    let (outer, inner) = (Node(Arc::clone(outer)), Node(Arc::clone(inner)));
    let below = depth_below(&inner, &outer, &children).ok_or(Errno::ELOOP)?;
    let above = depth_below(&outer, &inner, &parents).ok_or(Errno::ELOOP)?;
    if below + 1 + above > MAX_NESTS {
        return Err(Errno::ELOOP);
    }
    Ok(())
}
