//! A table of values under ids that are never reused.

use alloc::vec::Vec;

use crate::types::SocketId;

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Values by [`SocketId`]: adding, finding and removing are O(1).
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Adds a value; `None` when there are 2^32 of them, or no memory for one more place.
    pub(crate) fn insert(&mut self, value: T) -> Option<SocketId> {
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            slot.value = Some(value);
            let generation = slot.generation;
            return Some(SocketId { index, generation });
        }
        let index = u32::try_from(self.slots.len()).ok()?;
        self.slots.try_reserve(1).ok()?;
        // When all have gone, each place is in this list.
        self.free.try_reserve(self.slots.len() + 1).ok()?;
        self.slots.push(Slot {
            generation: 0,
            value: Some(value),
        });
        Some(SocketId {
            index,
            generation: 0,
        })
    }

    pub(crate) fn get(&self, id: SocketId) -> Option<&T> {
        let slot = self.slots.get(id.index as usize)?;
        slot.value
            .as_ref()
            .filter(|_| slot.generation == id.generation)
    }

    pub(crate) fn get_mut(&mut self, id: SocketId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.value
            .as_mut()
            .filter(|_| slot.generation == id.generation)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SocketId, &T)> {
        let slots = (0..).zip(&self.slots);
        slots.filter_map(|(index, slot)| {
            let generation = slot.generation;
            Some((SocketId { index, generation }, slot.value.as_ref()?))
        })
    }

    pub(crate) fn remove(&mut self, id: SocketId) -> Option<T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let value = slot.value.take()?;
        // A place whose generations are used up is left alone, so that an id never comes back.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free.push(id.index);
        }
        Some(value)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots.iter().filter(|s| s.value.is_some()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_removed_values_find_nothing() {
        let mut slab = Slab::new();
        let a = slab.insert('a').unwrap();
        let b = slab.insert('b').unwrap();
        assert_eq!((slab.get(a), slab.get(b)), (Some(&'a'), Some(&'b')));
        assert_eq!(slab.remove(a), Some('a'));
        assert_eq!((slab.remove(a), slab.get(a)), (None, None));
        let c = slab.insert('c').unwrap();
        assert_eq!(c.index, a.index);
        assert_ne!(c, a);
        assert_eq!(slab.get_mut(a), None);
        assert_eq!(slab.get_mut(c), Some(&mut 'c'));
        assert_eq!(slab.len(), 2);
    }
}
