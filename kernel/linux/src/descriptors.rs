//! Descriptor tables: which open file descriptions a process has, and by which numbers.

use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::{Errno, Fd};
use tyn_hal::sync::SpinLock;

use crate::file::{OpenFile, flags};
use crate::lock;

/// One descriptor.
#[derive(Clone, Debug)]
struct Slot {
    open: Arc<OpenFile>,
    close_on_exec: bool,
}

/// A file descriptor table; shared by threads (`CLONE_FILES`), copied by fork.
#[derive(Debug)]
pub struct FdTable {
    slots: SpinLock<Slots>,
}

#[derive(Clone, Debug)]
struct Slots {
    table: Vec<Option<Slot>>,
    /// No free slot lies below this.
    first_free: usize,
}

impl Slots {
    /// Makes room for the descriptor `index`.
    fn grow_to(&mut self, index: usize) -> Result<(), Errno> {
        if let Some(more) = (index + 1).checked_sub(self.table.len()) {
            self.table.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
            self.table.resize(self.table.len() + more, None);
        }
        Ok(())
    }
}

/// Whether a new descriptor is closed by `execve(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnExec {
    /// It stays open.
    Keep,
    /// It is closed.
    Close,
}

impl OnExec {
    /// Reads the `O_CLOEXEC` bit.
    #[must_use]
    pub fn from_flags(flags: u32) -> Self {
        if flags & flags::O_CLOEXEC == 0 {
            Self::Keep
        } else {
            Self::Close
        }
    }
}

impl Drop for FdTable {
    fn drop(&mut self) {
        lock::table_dropped(lock::owner_of_table(self));
    }
}

impl Default for FdTable {
    fn default() -> Self {
        Self::new()
    }
}

impl FdTable {
    /// Makes an empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: SpinLock::new(Slots {
                table: Vec::new(),
                first_free: 0,
            }),
        }
    }

    /// Returns the description behind `fd`.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn get(&self, fd: Fd) -> Result<Arc<OpenFile>, Errno> {
        let index = usize::try_from(fd.0).map_err(|_| Errno::EBADF)?;
        let slots = self.slots.lock();
        slots
            .table
            .get(index)
            .and_then(Option::as_ref)
            .map(|s| Arc::clone(&s.open))
            .ok_or(Errno::EBADF)
    }

    /// Returns the size of the table as Linux grows it: 64, then 128 times powers of two. No descriptor lies at or above.
    #[must_use]
    pub fn capacity(&self) -> usize {
        match self.slots.lock().table.len() {
            0..=64 => 64,
            len => len.next_multiple_of(128).next_power_of_two(),
        }
    }

    /// Installs `open` at the lowest free descriptor at or above `from`; `limit` is `RLIMIT_NOFILE`.
    ///
    /// # Errors
    /// `EMFILE`, `ENOMEM`.
    pub fn install(
        &self,
        open: Arc<OpenFile>,
        from: usize,
        limit: usize,
        on_exec: OnExec,
    ) -> Result<Fd, Errno> {
        let mut slots = self.slots.lock();
        let start = from.max(slots.first_free);
        let free = slots.table.iter().skip(start).position(Option::is_none);
        let index = free.map_or(slots.table.len().max(start), |i| start + i);
        if index >= limit {
            return Err(Errno::EMFILE);
        }
        slots.grow_to(index)?;
        if let Some(slot) = slots.table.get_mut(index) {
            *slot = Some(Slot {
                open,
                close_on_exec: on_exec == OnExec::Close,
            });
        }
        if from <= slots.first_free {
            slots.first_free = index + 1;
        }
        i32::try_from(index).map(Fd).map_err(|_| Errno::EMFILE)
    }

    /// Checks that a descriptor below `limit` is free now.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn check_room(&self, limit: usize) -> Result<(), Errno> {
        let slots = self.slots.lock();
        let from = slots.table.iter().skip(slots.first_free);
        let used = from.take_while(|slot| slot.is_some()).count();
        if slots.first_free + used >= limit {
            return Err(Errno::EMFILE);
        }
        Ok(())
    }

    /// Installs `open` at exactly `fd` (`dup2(2)`) and returns what was there, for the caller to drop.
    ///
    /// # Errors
    /// `EBADF` when `fd` is negative or at or above `limit`, `ENOMEM`.
    pub fn replace(
        &self,
        fd: Fd,
        open: Arc<OpenFile>,
        limit: usize,
        on_exec: OnExec,
    ) -> Result<Option<Arc<OpenFile>>, Errno> {
        let index = usize::try_from(fd.0)
            .ok()
            .filter(|&i| i < limit)
            .ok_or(Errno::EBADF)?;
        let mut slots = self.slots.lock();
        slots.grow_to(index)?;
        let slot = slots.table.get_mut(index).ok_or(Errno::EBADF)?;
        let old = slot.replace(Slot {
            open,
            close_on_exec: on_exec == OnExec::Close,
        });
        Ok(old.map(|s| s.open))
    }

    /// Removes `fd` and returns its description, for the caller to drop outside the lock.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn remove(&self, fd: Fd) -> Result<Arc<OpenFile>, Errno> {
        let index = usize::try_from(fd.0).map_err(|_| Errno::EBADF)?;
        let mut slots = self.slots.lock();
        let slot = slots
            .table
            .get_mut(index)
            .and_then(Option::take)
            .ok_or(Errno::EBADF)?;
        slots.first_free = slots.first_free.min(index);
        Ok(slot.open)
    }

    /// Returns the close-on-exec flag.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn on_exec(&self, fd: Fd) -> Result<OnExec, Errno> {
        let index = usize::try_from(fd.0).map_err(|_| Errno::EBADF)?;
        let slots = self.slots.lock();
        let slot = slots
            .table
            .get(index)
            .and_then(Option::as_ref)
            .ok_or(Errno::EBADF)?;
        Ok(if slot.close_on_exec {
            OnExec::Close
        } else {
            OnExec::Keep
        })
    }

    /// Sets the close-on-exec flag.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn set_on_exec(&self, fd: Fd, on_exec: OnExec) -> Result<(), Errno> {
        let index = usize::try_from(fd.0).map_err(|_| Errno::EBADF)?;
        let mut slots = self.slots.lock();
        let slot = slots
            .table
            .get_mut(index)
            .and_then(Option::as_mut)
            .ok_or(Errno::EBADF)?;
        slot.close_on_exec = on_exec == OnExec::Close;
        Ok(())
    }

    /// Removes every descriptor for which `doomed(fd, close_on_exec)` holds, and calls `closed` with its description, outside
    /// the lock (`execve`, `close_range`). Needs no memory.
    pub fn remove_where(
        &self,
        doomed: impl Fn(usize, bool) -> bool,
        mut closed: impl FnMut(Arc<OpenFile>),
    ) {
        let mut from = 0;
        loop {
            let mut batch = [const { None::<Arc<OpenFile>> }; 32];
            from = self.remove_some(from, &doomed, &mut batch);
            if batch[0].is_none() {
                return;
            }
            batch.into_iter().flatten().for_each(&mut closed);
        }
    }

    /// Removes those at or above `from`, as many as `batch` takes; returns where to go on.
    fn remove_some(
        &self,
        from: usize,
        doomed: &impl Fn(usize, bool) -> bool,
        batch: &mut [Option<Arc<OpenFile>>],
    ) -> usize {
        let mut slots = self.slots.lock();
        let mut places = batch.iter_mut();
        let mut first = slots.first_free;
        let mut next = slots.table.len();
        for (index, slot) in slots.table.iter_mut().enumerate().skip(from) {
            let is_doomed = |s: &Slot| doomed(index, s.close_on_exec);
            if !slot.as_ref().is_some_and(is_doomed) {
                continue;
            }
            let Some(place) = places.next() else {
                next = index;
                break;
            };
            *place = slot.take().map(|s| s.open);
            first = first.min(index);
        }
        slots.first_free = first;
        next
    }

    /// Sets the close-on-exec flag of every descriptor in use that is in `range` (`close_range(2)`).
    pub fn close_on_exec_in(&self, range: core::ops::RangeInclusive<usize>) {
        let mut slots = self.slots.lock();
        let used = slots.table.iter_mut().enumerate();
        for (_, slot) in used.filter(|(index, _)| range.contains(index)) {
            if let Some(slot) = slot {
                slot.close_on_exec = true;
            }
        }
    }

    /// Lists the descriptors in use (`/proc/self/fd`).
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn list(&self) -> Result<Vec<u32>, Errno> {
        let slots = self.slots.lock();
        let used = slots.table.iter().zip(0..).filter(|(s, _)| s.is_some());
        let mut list = Vec::new();
        let room = list.try_reserve_exact(used.clone().count());
        room.map_err(|_| Errno::ENOMEM)?;
        list.extend(used.map(|(_, fd)| fd));
        Ok(list)
    }

    /// Returns about how many bytes the table and what it names take.
    #[must_use]
    pub fn kernel_bytes(&self) -> usize {
        let slots = self.slots.lock();
        let used = slots.table.iter().flatten();
        let named: usize = used
            .map(|slot| size_of::<OpenFile>() + slot.open.file.kernel_bytes())
            .sum();
        named + slots.table.capacity() * size_of::<Option<Slot>>()
    }

    /// Copies the table (`fork(2)`).
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn duplicate(&self) -> Result<Self, Errno> {
        let slots = self.slots.lock();
        let mut table = Vec::new();
        let room = table.try_reserve_exact(slots.table.len());
        room.map_err(|_| Errno::ENOMEM)?;
        table.extend_from_slice(&slots.table);
        Ok(Self {
            slots: SpinLock::new(Slots {
                table,
                first_free: slots.first_free,
            }),
        })
    }
}
