//! An epoll set (`epoll(7)`) as a state machine.
//!
//! A set knows items and which of them may be ready; it never looks at a file itself. The owner
//! - calls [`EpollSet::on_event`] when a watched file tells of an event: O(1), callable under any of the file's locks;
//! - scans with [`EpollSet::start_scan`], [`EpollSet::next_candidate`] and [`EpollSet::settle`], asking each candidate's
//!   file what is true *between* the last two, with the set unlocked. So a scan costs O(ready), and the set's lock is a
//!   leaf below the files' locks.
//!
//! What happens to a set between `next_candidate` and `settle` (an event, a change, a removal) is honoured: an event
//! puts the item back on the list, a changed or removed item is settled as it is then.
//!
//! A level-triggered item that is reported goes back to the end of the ready list and is asked again by the next scan; an
//! edge-triggered one waits for its next event; a one-shot one is disarmed until it is modified.

mod event;
mod list;
mod nesting;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use tyn_abi::{Errno, Events};

use self::event::{EXCLUSIVE_OK, MODES};
use self::list::{LinkStore, Links, ReadyList};

pub use self::event::{EDGE, EXCLUSIVE, EpollEvent, ONESHOT, WAKEUP};
pub use self::nesting::{MAX_NESTS, depth_below};

/// What identifies an item to user code: the open file description and the descriptor it was added by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// The open file description, by a number that no other living one has.
    pub file: u64,
    /// The descriptor.
    pub fd: i32,
}

/// An item of one set. Never names another item, even after a removal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ItemId {
    slot: u32,
    generation: u32,
}

/// Whether waiters have to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Wake {
    /// They do: an item came onto the ready list.
    Yes,
    /// Nothing changed for them.
    No,
}

#[derive(Debug)]
struct Item<T> {
    key: Key,
    /// Events to report (with `ERR` and `HUP`); empty for a one-shot item that was reported.
    interest: Events,
    modes: u32,
    data: u64,
    links: Links,
    target: T,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    item: Option<Item<T>>,
}

/// An item that a scan asks about.
#[derive(Debug)]
pub struct Candidate<T> {
    /// The item, for [`EpollSet::settle`].
    pub id: ItemId,
    /// What was given to [`EpollSet::add`].
    pub target: T,
}

/// How far a scan may go: the items that were ready when it began, each at most once.
#[derive(Debug)]
pub struct Scan {
    left: usize,
}

impl Scan {
    /// Returns whether no item is left.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left == 0
    }
}

/// A set of items, each with a `T` by which its owner finds the watched file.
///
/// # Invariants
/// - An item is on the ready list at most once.
/// - A disarmed item (empty interest) is put on the list by nothing but [`EpollSet::modify`].
#[derive(Debug)]
pub struct EpollSet<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    by_key: BTreeMap<Key, ItemId>,
    ready: ReadyList,
}

impl<T> Default for EpollSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Splits what `epoll_ctl(2)` was given into events and modes.
fn split(events: u32) -> (Events, u32) {
    (
        Events::from_bits_retain(events & !MODES) | Events::ERR | Events::HUP,
        events & MODES,
    )
}

impl<T> EpollSet<T> {
    /// Makes an empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_key: BTreeMap::new(),
            ready: ReadyList::new(),
        }
    }

    /// Returns the number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Returns whether the set has no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Returns whether no item is on the ready list.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.ready.len() == 0
    }

    fn item(&self, id: ItemId) -> Option<&Item<T>> {
        let slot = self.slots.get(id.slot as usize)?;
        slot.item
            .as_ref()
            .filter(|_| slot.generation == id.generation)
    }

    fn item_mut(&mut self, id: ItemId) -> Option<&mut Item<T>> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        slot.item
            .as_mut()
            .filter(|_| slot.generation == id.generation)
    }

    /// Returns the item with this key.
    #[must_use]
    pub fn find(&self, key: Key) -> Option<ItemId> {
        self.by_key.get(&key).copied()
    }

    /// Returns what was given to [`EpollSet::add`] for an item.
    #[must_use]
    pub fn target(&self, id: ItemId) -> Option<&T> {
        self.item(id).map(|item| &item.target)
    }

    /// Returns what was given to [`EpollSet::add`], for all items.
    pub fn targets(&self) -> impl Iterator<Item = &T> {
        self.slots
            .iter()
            .filter_map(|s| s.item.as_ref())
            .map(|item| &item.target)
    }

    /// Returns all items: descriptor, what was given to [`EpollSet::add`], events with `ERR` and `HUP` as long as it is
    /// armed, target.
    pub fn items(&self) -> impl Iterator<Item = (i32, EpollEvent, &T)> {
        let items = self.slots.iter().filter_map(|s| s.item.as_ref());
        items.map(|item| {
            let events = item.interest.bits() | item.modes;
            let data = item.data;
            (item.key.fd, EpollEvent { events, data }, &item.target)
        })
    }

    /// Adds an item (`EPOLL_CTL_ADD`). The caller then observes the file and calls [`EpollSet::on_event`] with what is
    /// true already.
    ///
    /// # Errors
    /// `EEXIST` when the key is in the set; `EINVAL` for events that `EPOLLEXCLUSIVE` excludes; `ENOMEM`.
    pub fn add(
        &mut self,
        key: Key,
        event: EpollEvent,
        make_target: impl FnOnce(ItemId) -> T,
    ) -> Result<ItemId, Errno> {
        if event.events & EXCLUSIVE != 0 && event.events & !EXCLUSIVE_OK != 0 {
            return Err(Errno::EINVAL);
        }
        if self.by_key.contains_key(&key) {
            return Err(Errno::EEXIST);
        }
        let id = self.vacancy()?;
        let (interest, modes) = split(event.events);
        let item = Item {
            key,
            interest,
            modes,
            data: event.data,
            links: Links::unlinked(),
            target: make_target(id),
        };
        if let Some(slot) = self.slots.get_mut(id.slot as usize) {
            slot.item = Some(item);
        }
        self.by_key.insert(key, id);
        Ok(id)
    }

    /// Finds or makes a slot without an item.
    fn vacancy(&mut self) -> Result<ItemId, Errno> {
        if let Some(slot) = self.free.pop() {
            let generation = self.slots.get(slot as usize).map_or(0, |s| s.generation);
            return Ok(ItemId { slot, generation });
        }
        let slot = u32::try_from(self.slots.len()).map_err(|_| Errno::ENOMEM)?;
        self.slots.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.slots.push(Slot {
            generation: 0,
            item: None,
        });
        Ok(ItemId {
            slot,
            generation: 0,
        })
    }

    /// Changes an item's events and data and arms it again (`EPOLL_CTL_MOD`). The caller then calls
    /// [`EpollSet::on_event`] with what is true already.
    ///
    /// # Errors
    /// `ENOENT` when the key is not in the set; `EINVAL` when the item or the change has `EPOLLEXCLUSIVE`.
    pub fn modify(&mut self, key: Key, event: EpollEvent) -> Result<ItemId, Errno> {
        if event.events & EXCLUSIVE != 0 {
            return Err(Errno::EINVAL);
        }
        let id = self.find(key).ok_or(Errno::ENOENT)?;
        let item = self.item_mut(id).ok_or(Errno::ENOENT)?;
        if item.modes & EXCLUSIVE != 0 {
            return Err(Errno::EINVAL);
        }
        (item.interest, item.modes) = split(event.events);
        item.data = event.data;
        Ok(id)
    }

    /// Removes an item (`EPOLL_CTL_DEL`) and returns its target, for the caller to stop observing.
    ///
    /// # Errors
    /// `ENOENT` when the key is not in the set.
    pub fn remove(&mut self, key: Key) -> Result<T, Errno> {
        let id = self.find(key).ok_or(Errno::ENOENT)?;
        self.remove_item(id).ok_or(Errno::ENOENT)
    }

    /// Removes an item, if it is still there (its file is gone), and returns its target.
    pub fn remove_item(&mut self, id: ItemId) -> Option<T> {
        self.item(id)?;
        self.unlink(id.slot);
        let slot = self.slots.get_mut(id.slot as usize)?;
        let item = slot.item.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
        self.by_key.remove(&item.key);
        Some(item.target)
    }

    /// Notes that `events` may have become true for an item.
    pub fn on_event(&mut self, id: ItemId, events: Events) -> Wake {
        match self.item(id) {
            Some(item) if item.interest.intersects(events) && !item.links.is_linked() => {
                self.push_back(id.slot);
                Wake::Yes
            }
            _ => Wake::No,
        }
    }

    /// Begins a scan of the items that are on the ready list now.
    #[must_use]
    pub fn start_scan(&self) -> Scan {
        Scan {
            left: self.ready.len(),
        }
    }

    /// Takes the next item off the ready list, or returns `None` at the scan's end.
    pub fn next_candidate(&mut self, scan: &mut Scan) -> Option<Candidate<T>>
    where
        T: Clone,
    {
        scan.left = scan.left.checked_sub(1)?;
        let index = self.ready.front()?;
        self.unlink(index);
        let slot = self.slots.get(index as usize)?;
        let target = slot.item.as_ref()?.target.clone();
        Some(Candidate {
            id: ItemId {
                slot: index,
                generation: slot.generation,
            },
            target,
        })
    }

    /// Puts a candidate back to the front of the ready list: its event could not be delivered.
    pub fn put_back(&mut self, id: ItemId) {
        if self.item(id).is_some_and(|item| !item.links.is_linked()) {
            self.push_front(id.slot);
        }
    }

    /// Decides about a candidate whose file is ready for `ready`: returns what to report, if anything.
    pub fn settle(&mut self, id: ItemId, ready: Events) -> Option<EpollEvent> {
        let item = self.item_mut(id)?;
        let events = ready & item.interest;
        if events.is_empty() {
            return None;
        }
        let report = EpollEvent {
            events: events.bits(),
            data: item.data,
        };
        if item.modes & ONESHOT != 0 {
            item.interest = Events::empty();
            self.unlink(id.slot);
        } else if item.modes & EDGE == 0 && !item.links.is_linked() {
            self.push_back(id.slot);
        }
        Some(report)
    }

    /// Returns whether a file that is ready for `ready` makes this item ready, without reporting it (`poll(2)` on a set).
    #[must_use]
    pub fn would_report(&self, id: ItemId, ready: Events) -> bool {
        self.item(id)
            .is_some_and(|item| item.interest.intersects(ready))
    }

    fn push_back(&mut self, index: u32) {
        self.ready.push_back(&mut self.slots, index);
    }

    fn push_front(&mut self, index: u32) {
        self.ready.push_front(&mut self.slots, index);
    }

    fn unlink(&mut self, index: u32) {
        self.ready.unlink(&mut self.slots, index);
    }
}

impl<T> LinkStore for Vec<Slot<T>> {
    fn links(&mut self, index: u32) -> Option<&mut Links> {
        self.get_mut(index as usize)?
            .item
            .as_mut()
            .map(|item| &mut item.links)
    }
}

#[cfg(test)]
mod tests;
