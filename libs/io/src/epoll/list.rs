//! The ready list: a doubly linked list through the items themselves, so that any item joins and leaves in O(1).

/// An item's place in the list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Links {
    is_linked: bool,
    prev: Option<u32>,
    next: Option<u32>,
}

impl Links {
    /// Returns the links of an item that is not in the list.
    pub(super) const fn unlinked() -> Self {
        Self {
            is_linked: false,
            prev: None,
            next: None,
        }
    }

    /// Returns whether the item is in the list.
    pub(super) const fn is_linked(self) -> bool {
        self.is_linked
    }
}

/// Where the items are, by index.
pub(super) trait LinkStore {
    /// Returns the links of item `index`, if there is such an item.
    fn links(&mut self, index: u32) -> Option<&mut Links>;
}

/// First in, first out.
///
/// # Invariants
/// Walking `next` from `head` meets `len` items, all linked, and ends at `tail`; `prev` is its reverse.
#[derive(Debug)]
pub(super) struct ReadyList {
    head: Option<u32>,
    tail: Option<u32>,
    len: usize,
}

impl ReadyList {
    /// Makes an empty list.
    pub(super) const fn new() -> Self {
        Self {
            head: None,
            tail: None,
            len: 0,
        }
    }

    /// Returns the number of items.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Returns the first item.
    pub(super) const fn front(&self) -> Option<u32> {
        self.head
    }

    /// Appends an item that is not in the list.
    pub(super) fn push_back(&mut self, store: &mut impl LinkStore, index: u32) {
        let prev = self.tail;
        self.insert(store, index, prev, None);
    }

    /// Prepends an item that is not in the list.
    pub(super) fn push_front(&mut self, store: &mut impl LinkStore, index: u32) {
        let next = self.head;
        self.insert(store, index, None, next);
    }

    fn insert(
        &mut self,
        store: &mut impl LinkStore,
        index: u32,
        prev: Option<u32>,
        next: Option<u32>,
    ) {
        let Some(links) = store.links(index) else {
            return;
        };
        *links = Links {
            is_linked: true,
            prev,
            next,
        };
        self.set_next(store, prev, Some(index));
        self.set_prev(store, next, Some(index));
        self.len += 1;
    }

    /// Takes an item out, if it is in the list.
    pub(super) fn unlink(&mut self, store: &mut impl LinkStore, index: u32) {
        let Some(links) = store.links(index) else {
            return;
        };
        let Links {
            is_linked: true,
            prev,
            next,
        } = core::mem::take(links)
        else {
            return;
        };
        self.set_next(store, prev, next);
        self.set_prev(store, next, prev);
        self.len -= 1;
    }

    /// Makes `next` follow `prev`; without a `prev` it becomes the first.
    fn set_next(&mut self, store: &mut impl LinkStore, prev: Option<u32>, next: Option<u32>) {
        match prev.and_then(|i| store.links(i)) {
            Some(links) => links.next = next,
            None => self.head = next,
        }
    }

    /// Makes `prev` precede `next`; without a `next` it becomes the last.
    fn set_prev(&mut self, store: &mut impl LinkStore, next: Option<u32>, prev: Option<u32>) {
        match next.and_then(|i| store.links(i)) {
            Some(links) => links.prev = prev,
            None => self.tail = prev,
        }
    }
}
