//! Virtio over MMIO (virtio 1.2 §4.2).

use alloc::boxed::Box;
use alloc::sync::Arc;

use tyn_hal::cpu::CpuId;
use tyn_hal::irq::{self, Trigger};
use tyn_hal::mem::{Mmio, PhysAddr};

use super::queue::Virtqueue;
use super::{DeviceError, Doorbell, Transport};

/// Register offsets (§4.2.2).
mod reg {
    pub(super) const MAGIC: usize = 0x00;
    pub(super) const VERSION: usize = 0x04;
    pub(super) const DEVICE_ID: usize = 0x08;
    pub(super) const DEVICE_FEATURES: usize = 0x10;
    pub(super) const DEVICE_FEATURES_SEL: usize = 0x14;
    pub(super) const DRIVER_FEATURES: usize = 0x20;
    pub(super) const DRIVER_FEATURES_SEL: usize = 0x24;
    pub(super) const QUEUE_SEL: usize = 0x30;
    pub(super) const QUEUE_NUM_MAX: usize = 0x34;
    pub(super) const QUEUE_NUM: usize = 0x38;
    pub(super) const QUEUE_READY: usize = 0x44;
    pub(super) const QUEUE_NOTIFY: usize = 0x50;
    pub(super) const INTERRUPT_STATUS: usize = 0x60;
    pub(super) const INTERRUPT_ACK: usize = 0x64;
    pub(super) const STATUS: usize = 0x70;
    pub(super) const QUEUE_DESC: usize = 0x80;
    pub(super) const QUEUE_DRIVER: usize = 0x90;
    pub(super) const QUEUE_DEVICE: usize = 0xa0;
    pub(super) const CONFIG: usize = 0x100;
}

/// Where a device sits, from the ACPI namespace or a `virtio_mmio.device=` option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Base address.
    pub base: PhysAddr,
    /// Length of the register window in bytes.
    pub len: usize,
    /// Global system interrupt.
    pub gsi: u32,
}

/// The transport of one MMIO device.
#[derive(Debug)]
pub struct MmioTransport {
    regs: Arc<Mmio>,
    gsi: u32,
}

impl MmioTransport {
    /// Maps the registers and returns the transport with the device type, or `None` when no virtio 1.x device sits there
    /// (device id 0 means an empty slot).
    #[must_use]
    pub fn probe(place: Place) -> Option<(u32, Self)> {
        const MAGIC: u32 = u32::from_le_bytes(*b"virt");
        let regs = Mmio::map(place.base, place.len.max(0x200))?;
        let device_type = regs.read_u32(reg::DEVICE_ID);
        let found = regs.read_u32(reg::MAGIC) == MAGIC
            && regs.read_u32(reg::VERSION) == 2
            && device_type != 0;
        found.then(|| {
            (
                device_type,
                Self {
                    regs: Arc::new(regs),
                    gsi: place.gsi,
                },
            )
        })
    }
}

impl Transport for MmioTransport {
    fn status(&self) -> u8 {
        self.regs.read_u32(reg::STATUS) as u8
    }

    fn set_status(&self, status: u8) {
        self.regs.write_u32(reg::STATUS, u32::from(status));
    }

    fn device_features(&self) -> u64 {
        let half = |select| {
            self.regs.write_u32(reg::DEVICE_FEATURES_SEL, select);
            u64::from(self.regs.read_u32(reg::DEVICE_FEATURES))
        };
        half(0) | half(1) << 32
    }

    fn set_driver_features(&self, features: u64) {
        for (select, half) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.regs.write_u32(reg::DRIVER_FEATURES_SEL, select);
            self.regs.write_u32(reg::DRIVER_FEATURES, half);
        }
    }

    fn config_u8(&self, offset: usize) -> u8 {
        self.regs.read_u8(reg::CONFIG + offset)
    }

    fn queue_limit(&self, index: u16) -> u16 {
        self.regs.write_u32(reg::QUEUE_SEL, u32::from(index));
        u16::try_from(self.regs.read_u32(reg::QUEUE_NUM_MAX)).unwrap_or(u16::MAX)
    }

    fn interrupts(&self) -> u16 {
        1
    }

    fn on_interrupt(
        &self,
        number: u16,
        _: CpuId,
        handler: irq::Handler,
    ) -> Result<(), DeviceError> {
        if number != 0 {
            return Err(DeviceError::Missing("second interrupt"));
        }
        let regs = Arc::clone(&self.regs);
        let acknowledging = Box::new(move || {
            let pending = regs.read_u32(reg::INTERRUPT_STATUS);
            // Acknowledge first: what the device uses after this raises the line again.
            regs.write_u32(reg::INTERRUPT_ACK, pending);
            handler();
        });
        irq::register_line(self.gsi, Trigger::LevelHigh, acknowledging)
            .map_err(|_| DeviceError::Missing("interrupt line"))
    }

    fn enable_queue(&self, queue: &Virtqueue, _: Option<u16>) -> Result<Doorbell, DeviceError> {
        self.regs
            .write_u32(reg::QUEUE_SEL, u32::from(queue.index()));
        self.regs.write_u32(reg::QUEUE_NUM, u32::from(queue.size()));
        let [desc, driver, device] = queue.addresses();
        let places = [
            (reg::QUEUE_DESC, desc),
            (reg::QUEUE_DRIVER, driver),
            (reg::QUEUE_DEVICE, device),
        ];
        for (offset, address) in places {
            self.regs.write_u32(offset, address.0 as u32);
            self.regs.write_u32(offset + 4, (address.0 >> 32) as u32);
        }
        self.regs.write_u32(reg::QUEUE_READY, 1);
        Ok(Doorbell {
            queue: queue.index(),
            offset: reg::QUEUE_NOTIFY,
        })
    }

    fn notify(&self, doorbell: Doorbell) {
        self.regs
            .write_u32(doorbell.offset, u32::from(doorbell.queue));
    }
}
