//! Advisory file locks: `fcntl(2)` record locks (of processes and of open file descriptions) and `flock(2)`.
//!
//! One table for all files, since few are locked: by device and inode number. A POSIX lock belongs to a descriptor table
//! and ends when any descriptor of that file is closed there; the others end with their description. Waiters are told
//! when any lock goes.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use tyn_abi::fs::Stat;
use tyn_abi::{Errno, Events};
use tyn_fs::locks::{Lock, LockError, LockSet, Owner};
use tyn_hal::sync::SpinLock;

use crate::cx::Cx;
use crate::descriptors::FdTable;
use crate::file::OpenFile;
use crate::wait::WaitQueue;

/// The two kinds of locks do not see each other (`flock(2)`, "Notes").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Family {
    /// `fcntl(2)`.
    Record,
    /// `flock(2)`.
    Whole,
}

/// Kind of lock, device and inode number.
type Key = (Family, u64, u64);

static LOCKS: SpinLock<BTreeMap<Key, LockSet>> = SpinLock::new(BTreeMap::new());
static RELEASED: WaitQueue = WaitQueue::new();

fn key(family: Family, open: &OpenFile) -> Result<Key, Errno> {
    let stat = Stat::from_bytes(&open.file.stat()?);
    Ok((family, stat.dev, stat.ino))
}

/// Returns the identity of a descriptor table as an owner.
pub(crate) fn table_owner(table: &Arc<FdTable>) -> Owner {
    owner_of_table(table)
}

/// As [`table_owner`], for the table itself.
pub(crate) fn owner_of_table(table: &FdTable) -> Owner {
    Owner::Table(core::ptr::from_ref(table).addr() as u64)
}

/// Returns the identity of an open file description as an owner.
pub(crate) fn description_owner(open: &OpenFile) -> Owner {
    Owner::Description(core::ptr::from_ref(open).addr() as u64)
}

/// Returns a lock that is in the way of `wanted` (`F_GETLK`).
///
/// # Errors
/// As `fstat(2)`.
pub(crate) fn conflict(open: &OpenFile, wanted: &Lock) -> Result<Option<Lock>, Errno> {
    let key = key(Family::Record, open)?;
    let locks = LOCKS.lock();
    Ok(locks
        .get(&key)
        .and_then(|set| set.conflict(wanted))
        .copied())
}

/// Sets a lock; with `waits` waits until that is possible. Deadlocks between waiters are not detected.
///
/// # Errors
/// `EAGAIN`; `ENOLCK`; `ERESTARTSYS` when a signal came.
pub(crate) fn set(
    cx: &Cx<'_>,
    family: Family,
    open: &OpenFile,
    wanted: Lock,
    waits: bool,
) -> Result<(), Errno> {
    let key = key(family, open)?;
    let attempt = || {
        let result = LOCKS.lock().entry(key).or_default().set(wanted);
        match result {
            Ok(()) => Ok(()),
            Err(LockError::Conflict) => Err(Errno::EAGAIN),
            Err(LockError::TooMany) => Err(Errno::ENOLCK),
        }
    };
    // A read lock in place of a write lock lets others in.
    let result = if waits {
        cx.block_on(&[&RELEASED], Events::IN, None, || match attempt() {
            Err(Errno::EAGAIN) => None,
            other => Some(other),
        })
        .map_err(crate::wait::Interrupted::or_restart)?
    } else {
        attempt()
    };
    RELEASED.notify(Events::IN);
    result
}

/// Removes what `owner` has in `start..end` of a file.
///
/// # Errors
/// As `fstat(2)`.
pub(crate) fn clear(
    family: Family,
    open: &OpenFile,
    owner: Owner,
    start: u64,
    end: u64,
) -> Result<(), Errno> {
    let key = key(family, open)?;
    clear_key(key, owner, start, end);
    Ok(())
}

fn clear_key(key: Key, owner: Owner, start: u64, end: u64) {
    let is_changed = {
        let mut locks = LOCKS.lock();
        let Some(set) = locks.get_mut(&key) else {
            return;
        };
        let is_changed = set.clear(owner, start, end);
        if set.is_empty() {
            locks.remove(&key);
        }
        is_changed
    };
    if is_changed {
        RELEASED.notify(Events::IN);
    }
}

fn is_any_held() -> bool {
    !LOCKS.lock().is_empty()
}

/// Ends the POSIX locks of a descriptor table on a file of which it closes a descriptor.
pub(crate) fn descriptor_closed(table: Owner, open: &OpenFile) {
    if is_any_held() {
        // A file that cannot be asked has no locks.
        let _ = clear(Family::Record, open, table, 0, u64::MAX);
    }
}

/// Ends the locks of an open file description that is closed for good.
pub(crate) fn description_closed(open: &OpenFile) {
    if is_any_held() {
        let owner = description_owner(open);
        let _ = clear(Family::Record, open, owner, 0, u64::MAX);
        let _ = clear(Family::Whole, open, owner, 0, u64::MAX);
    }
}

/// Ends all locks of a descriptor table that is dropped.
pub(crate) fn table_dropped(owner: Owner) {
    if !is_any_held() {
        return;
    }
    let keys: alloc::vec::Vec<Key> = LOCKS.lock().keys().copied().collect();
    for key in keys {
        clear_key(key, owner, 0, u64::MAX);
    }
}
