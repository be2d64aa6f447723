//! The virtio network device (virtio 1.2 §5.1), one queue pair, with checksum offload.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_hal::irq;
use tyn_net::device::{Full, NetDevice, Offloads, PartialChecksum, RxChecksum};

use crate::virtio::queue::{Direction, Virtqueue};
use crate::virtio::{DeviceError, Transport, features, negotiate, start};

/// The device completes partial checksums.
const F_CSUM: u64 = 1 << 0;
/// The driver takes frames with partial checksums.
const F_GUEST_CSUM: u64 = 1 << 1;
/// The device has a MAC address in its configuration.
const F_MAC: u64 = 1 << 5;
/// `struct virtio_net_hdr_v1`, which precedes every frame (§5.1.6).
const HEADER_BYTES: usize = 12;
/// Header flag: the checksum is partial, see `csum_start` and `csum_offset`.
const HEADER_NEEDS_CSUM: u8 = 1;
/// Header flag: the device found the checksum right.
const HEADER_DATA_VALID: u8 = 2;
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
    /// Transmit slots that we own.
    free: Vec<u16>,
    mac: [u8; 6],
    offloads: Offloads,
    /// Scratch for one received frame on its way from DMA memory to the stack.
    frame: Vec<u8>,
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
        let accepted = negotiate(
            &*transport,
            F_CSUM | F_GUEST_CSUM | F_MAC | features::EVENT_IDX,
        )?;
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
            // Locally administered, for a device that leaves the choice to us.
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
        let offloads = Offloads {
            completes_checksums: accepted & F_CSUM != 0,
            verifies_checksums: accepted & F_GUEST_CSUM != 0,
        };
        let free = (0..transmit.size()).rev().collect();
        let frame = alloc::vec![0; SLOT_BYTES];
        Ok(Self {
            transport,
            receive,
            transmit,
            free,
            mac,
            offloads,
            frame,
        })
    }

    /// Takes back the slots whose frames were sent.
    fn reclaim(&mut self) {
        while let Some(used) = self.transmit.pop() {
            self.free.push(used.slot);
        }
    }
}

impl NetDevice for VirtioNet {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn room(&mut self) -> usize {
        self.reclaim();
        if self.free.is_empty() && self.transmit.enable_interrupts() {
            // Room came back while the interrupt was being asked for.
            self.reclaim();
        }
        if !self.free.is_empty() {
            self.transmit.disable_interrupts();
        }
        self.free.len()
    }

    fn transmit(&mut self, frame: &[u8], checksum: Option<PartialChecksum>) -> Result<(), Full> {
        if self.free.is_empty() {
            self.reclaim();
        }
        let frame = frame.get(..frame.len().min(FRAME_BYTES)).unwrap_or(frame);
        let slot = self.free.pop().ok_or(Full)?;
        let mut header = [0; HEADER_BYTES];
        if let Some(PartialChecksum { start, offset }) = checksum {
            header[0] = HEADER_NEEDS_CSUM;
            header[6..8].copy_from_slice(&start.to_le_bytes());
            header[8..10].copy_from_slice(&offset.to_le_bytes());
        }
        self.transmit.fill(slot, 0, &header);
        self.transmit.fill(slot, HEADER_BYTES, frame);
        self.transmit.post(slot, HEADER_BYTES + frame.len());
        Ok(())
    }

    fn receive(&mut self, take: &mut dyn FnMut(&[u8], RxChecksum)) -> bool {
        let Some(used) = self.receive.pop() else {
            return false;
        };
        if let Some(buffer) = self.frame.get_mut(..used.len) {
            self.receive.read(used.slot, 0, buffer);
            if let Some((header, frame)) = buffer.split_at_checked(HEADER_BYTES) {
                let flags = header.first().copied().unwrap_or(0);
                let is_valid = flags & (HEADER_NEEDS_CSUM | HEADER_DATA_VALID) != 0;
                take(
                    frame,
                    if is_valid {
                        RxChecksum::Valid
                    } else {
                        RxChecksum::Unknown
                    },
                );
            }
        }
        self.receive.post(used.slot, SLOT_BYTES);
        true
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
