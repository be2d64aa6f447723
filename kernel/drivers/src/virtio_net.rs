//! The virtio network device (virtio 1.2 §5.1), one queue pair.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_hal::irq;

use crate::virtio::queue::{Direction, Virtqueue};
use crate::virtio::{DeviceError, Transport, features, negotiate, start};

/// The device has a MAC address in its configuration.
const F_MAC: u64 = 1 << 5;
/// `struct virtio_net_hdr_v1`, which precedes every frame (§5.1.6).
const HEADER_BYTES: usize = 12;
/// Largest frame: MTU 1500 and an Ethernet header.
const FRAME_BYTES: usize = 1514;
/// Slot size: header and frame, rounded so that slots do not straddle pages.
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
    free: Vec<u16>,
    mac: [u8; 6],
    /// Scratch for one frame on its way between DMA memory and the stack.
    frame: Vec<u8>,
}

impl core::fmt::Debug for VirtioNet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "VirtioNet({:02x?})", self.mac)
    }
}

impl VirtioNet {
    /// Brings the device up. `on_interrupt` runs whenever frames arrived (after [`VirtioNet::enable_interrupts`]).
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn new(
        transport: Box<dyn Transport>,
        on_interrupt: irq::Handler,
    ) -> Result<Self, DeviceError> {
        let transport: Arc<dyn Transport> = transport.into();
        let accepted = negotiate(&*transport, F_MAC | features::EVENT_IDX)?;
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
        let mac = match accepted & F_MAC {
            0 => [0x02, 0x54, 0x59, 0x4e, 0, 1],
            _ => core::array::from_fn(|i| transport.config_u8(i)),
        };
        start(&*transport);
        for slot in 0..receive.size() {
            receive.post(slot, SLOT_BYTES);
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
            frame: alloc::vec![0; FRAME_BYTES],
        })
    }

    fn reclaim(&mut self) {
        while let Some(used) = self.transmit.pop() {
            self.free.push(used.slot);
        }
    }
}
