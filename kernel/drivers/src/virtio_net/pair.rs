//! A pair of a receive and a transmit queue.

use alloc::vec::Vec;

use tyn_net::device::{Full, Offload, Received};
use tyn_net::virtio::{self, Filled, HEADER};

use crate::virtio::queue::{Direction, Used, Virtqueue};
use crate::virtio::{DeviceError, Doorbell, Transport};

/// Slot size: header and frame, rounded so that slots do not straddle pages. A greater frame takes several.
pub(super) const SLOT_BYTES: usize = 2048;
/// Most entries that we use of each queue.
const QUEUE_ENTRIES: u16 = 128;

pub(super) struct Pair {
    receive: Virtqueue,
    receive_bell: Doorbell,
    transmit: Virtqueue,
    transmit_bell: Doorbell,
    /// Transmit slots that we own.
    free: Vec<u16>,
    /// An interrupt was asked for when there was no room.
    awaits_room: bool,
}

impl Pair {
    /// Sets up pair `number` (virtio 1.2 §5.1.2), for whose queues interrupt `interrupt` comes.
    pub(super) fn new(
        transport: &dyn Transport,
        number: u16,
        interrupt: u16,
        event_index: bool,
    ) -> Result<Self, DeviceError> {
        let queue = |index, direction| {
            let size = transport.queue_limit(index).min(QUEUE_ENTRIES);
            if !size.is_power_of_two() {
                return Err(DeviceError::Missing("receive or transmit queue"));
            }
            let queue = Virtqueue::new(index, size, SLOT_BYTES, direction, event_index)?;
            let doorbell = transport.enable_queue(&queue, Some(interrupt))?;
            Ok((queue, doorbell))
        };
        let (receive, receive_bell) = queue(2 * number, Direction::DeviceWrites)?;
        let (mut transmit, transmit_bell) = queue(2 * number + 1, Direction::DeviceReads)?;
        transmit.disable_interrupts();
        Ok(Self {
            receive,
            receive_bell,
            free: (0..transmit.size()).rev().collect(),
            transmit,
            transmit_bell,
            awaits_room: false,
        })
    }

    /// Gives all receive slots to the device, once, at the beginning.
    pub(super) fn post_all(&mut self) {
        for slot in 0..self.receive.size() {
            self.receive.post(&[slot], SLOT_BYTES);
        }
    }

    /// Takes back the slots whose frames were sent.
    fn reclaim(&mut self) {
        while let Some(used) = self.transmit.pop() {
            self.free.extend(self.transmit.chain(used.slot));
        }
    }

    /// Returns for how many frames of `each` slots there is room at least; asks for an interrupt if for none.
    pub(super) fn room(&mut self, each: usize) -> usize {
        // Slots are taken back many at a time.
        if self.free.len() < each.max(usize::from(self.transmit.size() / 2)) {
            self.reclaim();
        }
        while self.free.len() < each {
            self.awaits_room = true;
            if !self.transmit.enable_interrupts_later() {
                return 0;
            }
            // Room came back while the interrupt was being asked for.
            self.reclaim();
        }
        if core::mem::take(&mut self.awaits_room) {
            self.transmit.disable_interrupts();
        }
        self.free.len() / each
    }

    /// Queues a frame that is no longer than the longest.
    pub(super) fn transmit(&mut self, frame: &[u8], offload: Option<&Offload>) -> Result<(), Full> {
        let len = HEADER + frame.len();
        let count = len.div_ceil(SLOT_BYTES);
        if self.free.len() < count {
            self.reclaim();
        }
        let at = self.free.len().checked_sub(count).ok_or(Full)?;
        let slots = self.free.get(at..).unwrap_or_default();
        let (head, mut rest) = frame.split_at(frame.len().min(SLOT_BYTES - HEADER));
        for (i, &slot) in slots.iter().enumerate() {
            if i == 0 {
                self.transmit.fill(slot, 0, &virtio::header(offload));
                self.transmit.fill(slot, HEADER, head);
            } else {
                let (piece, more) = rest.split_at(rest.len().min(SLOT_BYTES));
                self.transmit.fill(slot, 0, piece);
                rest = more;
            }
        }
        self.transmit.post(slots, len);
        self.free.truncate(at);
        Ok(())
    }

    /// Takes the next frame that makes sense.
    pub(super) fn receive(&mut self, merges: bool, frame: &mut Vec<u8>) -> Option<Received> {
        let mut filled = Slots {
            queue: &mut self.receive,
            current: None,
        };
        let received = virtio::receive(&mut filled, merges, frame);
        filled.give_back();
        received
    }

    /// Lets the device see what was queued and given back; returns whether it must be told: bit 0 of received, bit 1 of
    /// transmitted frames.
    pub(super) fn flush(&mut self) -> u128 {
        u128::from(self.receive.publish()) | u128::from(self.transmit.publish()) << 1
    }

    /// Returns the doorbells in the order of those bits.
    pub(super) fn doorbells(&self) -> [Doorbell; 2] {
        [self.receive_bell, self.transmit_bell]
    }

    /// Asks for an interrupt for the next frame; returns whether there is one already.
    pub(super) fn enable_interrupts(&mut self) -> bool {
        self.receive.enable_interrupts()
    }

    /// Asks for no interrupts for received frames.
    pub(super) fn disable_interrupts(&mut self) {
        self.receive.disable_interrupts();
    }
}

/// Slots of the receive queue that the device has filled.
struct Slots<'a> {
    queue: &'a mut Virtqueue,
    current: Option<Used>,
}

impl Slots<'_> {
    fn give_back(&mut self) {
        if let Some(used) = self.current.take() {
            self.queue.post(&[used.slot], SLOT_BYTES);
        }
    }
}

impl Filled for Slots<'_> {
    fn advance(&mut self) -> Option<usize> {
        self.give_back();
        self.current = self.queue.pop();
        self.current.map(|used| used.len)
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        if let Some(used) = self.current {
            self.queue.read(used.slot, offset, to);
        }
    }
}
