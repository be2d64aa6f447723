//! The virtio network device (virtio 1.2 §5.1), one queue pair, with checksums, segmentation and merged receive buffers
//! left to it as far as it offers that. What the header before a frame means is [`tyn_net::virtio`]'s.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_hal::irq;
use tyn_net::device::{Full, NetDevice, Offload, Offloads, Received};
use tyn_net::virtio::{self, Filled, HEADER, LONGEST_FRAME};

use crate::virtio::queue::{Direction, Used, Virtqueue};
use crate::virtio::{DeviceError, Transport, features, negotiate, start};

/// Slot size: header and frame, rounded so that slots do not straddle pages. A greater frame takes several.
const SLOT_BYTES: usize = 2048;
/// Most entries that we use of each queue.
const QUEUE_ENTRIES: u16 = 128;

const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;

/// A network device.
pub struct VirtioNet {
    transport: Arc<dyn Transport>,
    receive: Virtqueue,
    transmit: Virtqueue,
    /// Transmit slots that we own.
    free: Vec<u16>,
    mac: [u8; 6],
    offloads: Offloads,
    /// A received frame may take several slots.
    merges: bool,
    mtu: u16,
}

impl core::fmt::Debug for VirtioNet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "VirtioNet({:02x?})", self.mac)
    }
}

impl VirtioNet {
    /// Brings the device up. `on_interrupt` runs when frames arrived or room for frames came back, as asked for.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn new(
        transport: Box<dyn Transport>,
        on_interrupt: irq::Handler,
    ) -> Result<Self, DeviceError> {
        let transport: Arc<dyn Transport> = transport.into();
        let mut says = 0;
        let accepted = negotiate(&*transport, |offered| {
            if offered & virtio::feature::MTU != 0 {
                let byte = |n| transport.config_u8(virtio::CONFIG_MTU + n);
                says = u16::from_le_bytes([byte(0), byte(1)]);
            }
            virtio::accepted(offered, says, SLOT_BYTES) | features::EVENT_IDX
        })?;
        let event_index = accepted & features::EVENT_IDX != 0;
        transport.on_interrupt(on_interrupt)?;
        let queue = |index, direction| {
            let size = transport.queue_limit(index).min(QUEUE_ENTRIES);
            if !size.is_power_of_two() {
                return Err(DeviceError::Missing("receive or transmit queue"));
            }
            let queue = Virtqueue::new(index, size, SLOT_BYTES, direction, event_index)?;
            transport.enable_queue(&queue)?;
            Ok(queue)
        };
        let mut receive = queue(RECEIVE, Direction::DeviceWrites)?;
        let mut transmit = queue(TRANSMIT, Direction::DeviceReads)?;
        let mac = match accepted & virtio::feature::MAC {
            // Locally administered, for a device that leaves the choice to us.
            0 => [0x02, 0x54, 0x59, 0x4e, 0, 1],
            _ => core::array::from_fn(|i| transport.config_u8(i)),
        };
        start(&*transport);
        for slot in 0..receive.size() {
            receive.post(&[slot], SLOT_BYTES);
        }
        if receive.publish() {
            transport.notify(RECEIVE);
        }
        transmit.disable_interrupts();
        let free = (0..transmit.size()).rev().collect();
        Ok(Self {
            transport,
            receive,
            transmit,
            free,
            mac,
            offloads: virtio::offloads(accepted),
            merges: accepted & virtio::feature::MRG_RXBUF != 0,
            mtu: virtio::mtu(accepted, says),
        })
    }

    /// Takes back the slots whose frames were sent.
    fn reclaim(&mut self) {
        while let Some(used) = self.transmit.pop() {
            self.free.extend(self.transmit.chain(used.slot));
        }
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

impl NetDevice for VirtioNet {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn mtu(&self) -> usize {
        self.mtu.into()
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn room(&mut self) -> usize {
        let each = virtio::slots(self.mtu, SLOT_BYTES);
        self.reclaim();
        while self.free.len() < each && self.transmit.enable_interrupts_later() {
            // Room came back while the interrupt was being asked for.
            self.reclaim();
        }
        if self.free.len() >= each {
            self.transmit.disable_interrupts();
        }
        self.free.len() / each
    }

    fn transmit(&mut self, frame: &[u8], offload: Option<Offload>) -> Result<(), Full> {
        let frame = frame.get(..LONGEST_FRAME).unwrap_or(frame);
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
                self.transmit
                    .fill(slot, 0, &virtio::header(offload.as_ref()));
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

    fn receive(&mut self, frame: &mut Vec<u8>) -> Option<Received> {
        let mut filled = Slots {
            queue: &mut self.receive,
            current: None,
        };
        let received = virtio::receive(&mut filled, self.merges, frame);
        filled.give_back();
        received
    }

    fn flush(&mut self) {
        if self.transmit.publish() {
            self.transport.notify(TRANSMIT);
        }
        if self.receive.publish() {
            self.transport.notify(RECEIVE);
        }
    }

    fn enable_interrupts(&mut self) -> bool {
        self.receive.enable_interrupts()
    }

    fn disable_interrupts(&mut self) {
        self.receive.disable_interrupts();
    }
}
