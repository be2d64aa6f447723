//! The split virtqueue (virtio 1.2 §2.7), with one buffer for each descriptor.
//!
//! Descriptor `i` always points at slot `i` of a buffer region of its own, so addresses are written once and a buffer is
//! named by its slot. Several slots make a chain, named by its first. The driver owns a slot from [`Virtqueue::pop`] (or
//! the beginning) until [`Virtqueue::post`]; the device owns it in between.
//!
//! | side | writes | then | reads |
//! |---|---|---|---|
//! | driver | ring entry, then `avail.idx` (release) | full fence | `avail_event`: notify? |
//! | device | ring entry, then `used.idx` | | `used_event`: interrupt? |
//! | driver | `used_event` | full fence | `used.idx` (acquire): more? |
//!
//! The two full fences pair with the device's, so that of "new entry" and "please tell me" at least one side sees the other.

use alloc::vec::Vec;

use tyn_hal::mem::{DmaRegion, OutOfMemory, PhysAddr};

/// Which side writes to a queue's buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The device fills them (receive).
    DeviceWrites,
    /// The device reads them (transmit).
    DeviceReads,
}

/// A buffer that the device has finished with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Used {
    /// The slot.
    pub slot: u16,
    /// Bytes that the device wrote, at most the slot's size.
    pub len: usize,
}

/// A split virtqueue and its buffers.
#[derive(Debug)]
pub struct Virtqueue {
    index: u16,
    size: u16,
    rings: DmaRegion,
    buffers: DmaRegion,
    slot_bytes: usize,
    uses_event_index: bool,
    /// Our `avail.idx`, including posts that are not published yet.
    available: u16,
    /// `avail.idx` as the device last saw it.
    published: u16,
    /// Used entries that were taken.
    taken: u16,
    /// For each slot, whether the device owns it as the first of a chain; a device that returns others is ignored.
    posted: Vec<bool>,
    /// For each slot of a chain, the next one.
    next: Vec<Option<u16>>,
    /// The flags of every descriptor that is the last of its chain.
    flags: u16,
}

/// Descriptor flags (§2.7.5).
const NEXT: u16 = 1;
const WRITE: u16 = 2;

impl Virtqueue {
    /// Allocates queue `index` with `size` entries (a power of two) of `slot_bytes` each.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(
        index: u16,
        size: u16,
        slot_bytes: usize,
        direction: Direction,
        uses_event_index: bool,
    ) -> Result<Self, OutOfMemory> {
        let n = usize::from(size);
        let rings = DmaRegion::new(Self::used_offset(size) + 6 + 8 * n)?;
        let buffers = DmaRegion::new(n * slot_bytes)?;
        for slot in 0..n {
            let address = buffers.phys().0 + (slot * slot_bytes) as u64;
            rings.write(slot * 16, &address.to_le_bytes());
        }
        Ok(Self {
            index,
            size,
            rings,
            buffers,
            slot_bytes,
            uses_event_index,
            available: 0,
            published: 0,
            taken: 0,
            posted: alloc::vec![false; n],
            next: alloc::vec![None; n],
            flags: match direction {
                Direction::DeviceWrites => WRITE,
                Direction::DeviceReads => 0,
            },
        })
    }

    fn avail_offset(size: u16) -> usize {
        16 * usize::from(size)
    }

    fn used_offset(size: u16) -> usize {
        (Self::avail_offset(size) + 6 + 2 * usize::from(size)).next_multiple_of(4)
    }

    /// Returns the queue's number.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.size
    }

    /// Returns the size of a slot in bytes.
    #[must_use]
    pub fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }

    /// Returns the addresses of descriptor table, driver area and device area.
    #[must_use]
    pub fn addresses(&self) -> [PhysAddr; 3] {
        let base = self.rings.phys().0;
        let offsets = [
            0,
            Self::avail_offset(self.size),
            Self::used_offset(self.size),
        ];
        offsets.map(|o| PhysAddr(base + o as u64))
    }

    /// Copies into a slot that the driver owns.
    pub fn fill(&mut self, slot: u16, offset: usize, bytes: &[u8]) {
        self.buffers
            .write(usize::from(slot) * self.slot_bytes + offset, bytes);
    }

    /// Copies out of a slot that the driver owns.
    pub fn read(&self, slot: u16, offset: usize, dst: &mut [u8]) {
        self.buffers
            .read(usize::from(slot) * self.slot_bytes + offset, dst);
    }

    /// Gives slots to the device as one chain, with `len` valid bytes (transmit) or room for them (receive). The device
    /// sees it after [`Virtqueue::publish`].
    pub fn post(&mut self, slots: &[u16], len: usize) {
        let Some(&first) = slots.first() else { return };
        let mut left = len;
        for (i, &slot) in slots.iter().enumerate() {
            let len = left.min(self.slot_bytes);
            left -= len;
            let next = slots.get(i + 1).copied();
            self.describe(slot, len, self.flags, next);
        }
        self.make_available(first);
    }

    /// Gives two slots to the device as one chain: `request`, with `len` valid bytes, which it reads, and `answer`, with room
    /// for `room` bytes, which it writes. What it says that it has used is the chain's first slot, the request.
    pub fn post_request(&mut self, request: u16, len: usize, answer: u16, room: usize) {
        self.describe(request, len.min(self.slot_bytes), 0, Some(answer));
        self.describe(answer, room.min(self.slot_bytes), WRITE, None);
        self.make_available(request);
    }

    /// Puts a chain's first slot into the ring.
    fn make_available(&mut self, first: u16) {
        let entry = Self::avail_offset(self.size) + 4 + 2 * usize::from(self.available % self.size);
        self.rings.store_u16(entry, first);
        self.available = self.available.wrapping_add(1);
        if let Some(posted) = self.posted.get_mut(usize::from(first)) {
            *posted = true;
        }
    }

    /// Writes a slot's descriptor but for its address.
    fn describe(&mut self, slot: u16, len: usize, flags: u16, next: Option<u16>) {
        let [l0, l1, l2, l3] = (len as u32).to_le_bytes();
        let more = next.map_or(0, |_| NEXT);
        let [f0, f1] = (flags | more).to_le_bytes();
        let [n0, n1] = next.unwrap_or(0).to_le_bytes();
        let bytes = [l0, l1, l2, l3, f0, f1, n0, n1];
        self.rings.write(usize::from(slot) * 16 + 8, &bytes);
        if let Some(link) = self.next.get_mut(usize::from(slot)) {
            *link = next;
        }
    }

    /// Returns the slots of a chain that [`Virtqueue::pop`] has returned the first of.
    pub fn chain(&self, first: u16) -> impl Iterator<Item = u16> {
        let next = |&slot: &u16| self.next.get(usize::from(slot)).copied().flatten();
        core::iter::successors(Some(first), next)
    }

    /// Lets the device see all posted slots; returns whether it wants to be notified (§2.7.10).
    #[must_use]
    pub fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.available);
        if old == new {
            return false;
        }
        self.rings.store_u16(Self::avail_offset(self.size) + 2, new);
        self.published = new;
        DmaRegion::full_fence();
        if self.uses_event_index {
            let event_offset = Self::used_offset(self.size) + 4 + 8 * usize::from(self.size);
            let event = self.rings.load_u16(event_offset);
            // `vring_need_event` of §2.7.10.
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            const NO_NOTIFY: u16 = 1;
            self.rings.load_u16(Self::used_offset(self.size)) & NO_NOTIFY == 0
        }
    }

    /// Takes the next buffer that the device has finished with.
    pub fn pop(&mut self) -> Option<Used> {
        let used = Self::used_offset(self.size);
        while self.rings.load_u16(used + 2) != self.taken {
            let entry = used + 4 + 8 * usize::from(self.taken % self.size);
            let mut bytes = [0; 8];
            self.rings.read(entry, &mut bytes);
            let [a, b, c, d, e, f, g, h] = bytes;
            let (id, len) = (
                u32::from_le_bytes([a, b, c, d]),
                u32::from_le_bytes([e, f, g, h]),
            );
            self.taken = self.taken.wrapping_add(1);
            // A device that returns a slot it does not own is broken; its entry is dropped.
            let Some(posted) = self.posted.get_mut(id as usize) else {
                continue;
            };
            if core::mem::take(posted) {
                let len = (len as usize).min(self.slot_bytes);
                return Some(Used {
                    slot: id as u16,
                    len,
                });
            }
        }
        None
    }

    /// Asks for an interrupt when the device has used another buffer; returns whether it has already (the caller then
    /// goes on taking, since there may be no interrupt for those).
    #[must_use]
    pub fn enable_interrupts(&mut self) -> bool {
        self.enable_interrupts_after(0)
    }

    /// Asks for an interrupt when the device has used half of what it has; returns whether it has already used that much.
    /// Without an event index the interrupt comes with the next one.
    #[must_use]
    pub fn enable_interrupts_later(&mut self) -> bool {
        let outstanding = self.published.wrapping_sub(self.taken);
        self.enable_interrupts_after(if self.uses_event_index {
            outstanding / 2
        } else {
            0
        })
    }

    /// Asks for an interrupt when the device has used more than `count` buffers; returns whether it has already.
    fn enable_interrupts_after(&mut self, count: u16) -> bool {
        let avail = Self::avail_offset(self.size);
        if self.uses_event_index {
            let event = self.taken.wrapping_add(count);
            self.rings
                .store_u16(avail + 4 + 2 * usize::from(self.size), event);
        } else {
            self.rings.store_u16(avail, 0);
        }
        DmaRegion::full_fence();
        let used = self.rings.load_u16(Self::used_offset(self.size) + 2);
        used.wrapping_sub(self.taken) > count
    }

    /// Asks for no interrupts (a hint).
    pub fn disable_interrupts(&mut self) {
        const NO_INTERRUPT: u16 = 1;
        let avail = Self::avail_offset(self.size);
        if self.uses_event_index {
            // An event index just behind us: reached only after the ring wrapped.
            self.rings.store_u16(
                avail + 4 + 2 * usize::from(self.size),
                self.taken.wrapping_sub(1),
            );
        } else {
            self.rings.store_u16(avail, NO_INTERRUPT);
        }
    }
}
