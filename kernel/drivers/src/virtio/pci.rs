//! Virtio over PCI (virtio 1.2 §4.1), with MSI-X.

use tyn_hal::cpu::CpuId;
use tyn_hal::irq;
use tyn_hal::mem::Mmio;

use super::queue::Virtqueue;
use super::{DeviceError, Doorbell, Transport};
use crate::pci::{CAP_MSIX, CAP_VENDOR, Function, MsixTable};

/// Vendor id of virtio devices.
const VENDOR: u16 = 0x1af4;
/// MSI-X vector value for "none".
const NO_VECTOR: u16 = 0xffff;

/// Offsets in the common configuration structure (§4.1.4.3).
mod common {
    pub(super) const DEVICE_FEATURE_SELECT: usize = 0;
    pub(super) const DEVICE_FEATURE: usize = 4;
    pub(super) const DRIVER_FEATURE_SELECT: usize = 8;
    pub(super) const DRIVER_FEATURE: usize = 12;
    pub(super) const CONFIG_MSIX_VECTOR: usize = 16;
    pub(super) const DEVICE_STATUS: usize = 20;
    pub(super) const QUEUE_SELECT: usize = 22;
    pub(super) const QUEUE_SIZE: usize = 24;
    pub(super) const QUEUE_MSIX_VECTOR: usize = 26;
    pub(super) const QUEUE_ENABLE: usize = 28;
    pub(super) const QUEUE_NOTIFY_OFF: usize = 30;
    pub(super) const QUEUE_DESC: usize = 32;
    pub(super) const LEN: usize = 56;
}

/// Returns the virtio device type of a function, `None` for other devices.
#[must_use]
pub fn device_type(function: Function) -> Option<u32> {
    let (vendor, device) = function.id();
    match device {
        _ if vendor != VENDOR => None,
        // Transitional devices: the type is the subsystem id (§4.1.2.1).
        0x1000..=0x103f => Some(u32::from(function.read_u16(0x2e))),
        0x1040..=0x107f => Some(u32::from(device - 0x1040)),
        _ => None,
    }
}

/// The transport of one PCI function.
#[derive(Debug)]
pub struct PciTransport {
    common: Mmio,
    notify: Mmio,
    notify_multiplier: usize,
    device: Option<Mmio>,
    msix: MsixTable,
}

impl PciTransport {
    /// Maps the structures that the function's capabilities name and enables MSI-X.
    ///
    /// # Errors
    /// [`DeviceError::Missing`] when one is missing; [`DeviceError::Legacy`] when there are none at all.
    pub fn new(function: Function) -> Result<Self, DeviceError> {
        let (mut common, mut notify, mut device, mut msix) = (None, None, None, None);
        let mut multiplier = 0;
        function.enable();
        for cap in function.capabilities() {
            if cap.id == CAP_MSIX {
                msix = MsixTable::enable(function, cap);
            }
            if cap.id != CAP_VENDOR {
                continue;
            }
            // struct virtio_pci_cap (§4.1.4): type, BAR, offset, length.
            let cfg_type = function.read_u8(cap.offset + 3);
            let bar = function.read_u8(cap.offset + 4);
            let offset = function.read_u32(cap.offset + 8);
            let len = function.read_u32(cap.offset + 12) as usize;
            match cfg_type {
                1 if common.is_none() => {
                    common = function.map_bar(bar, offset, len.max(common::LEN));
                }
                2 if notify.is_none() => {
                    multiplier = function.read_u32(cap.offset + 16) as usize;
                    notify = function.map_bar(bar, offset, len);
                }
                4 if device.is_none() => device = function.map_bar(bar, offset, len),
                _ => {}
            }
        }
        let common = common.ok_or(DeviceError::Legacy)?;
        let notify = notify.ok_or(DeviceError::Missing("notification structure"))?;
        let msix = msix.ok_or(DeviceError::Missing("MSI-X capability"))?;
        Ok(Self {
            common,
            notify,
            notify_multiplier: multiplier,
            device,
            msix,
        })
    }

    fn write_u64(&self, offset: usize, value: u64) {
        self.common.write_u32(offset, value as u32);
        self.common.write_u32(offset + 4, (value >> 32) as u32);
    }
}

impl Transport for PciTransport {
    fn status(&self) -> u8 {
        self.common.read_u8(common::DEVICE_STATUS)
    }

    fn set_status(&self, status: u8) {
        self.common.write_u8(common::DEVICE_STATUS, status);
    }

    fn device_features(&self) -> u64 {
        let half = |select| {
            self.common.write_u32(common::DEVICE_FEATURE_SELECT, select);
            u64::from(self.common.read_u32(common::DEVICE_FEATURE))
        };
        half(0) | half(1) << 32
    }

    fn set_driver_features(&self, features: u64) {
        for (select, half) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.common.write_u32(common::DRIVER_FEATURE_SELECT, select);
            self.common.write_u32(common::DRIVER_FEATURE, half);
        }
    }

    fn config_u8(&self, offset: usize) -> u8 {
        self.device.as_ref().map_or(0, |d| d.read_u8(offset))
    }

    fn queue_limit(&self, index: u16) -> u16 {
        self.common.write_u16(common::QUEUE_SELECT, index);
        self.common.read_u16(common::QUEUE_SIZE)
    }

    fn interrupts(&self) -> u16 {
        self.msix.entries()
    }

    fn on_interrupt(
        &self,
        number: u16,
        cpu: CpuId,
        handler: irq::Handler,
    ) -> Result<(), DeviceError> {
        let message = irq::register_msi(cpu, handler)
            .map_err(|_| DeviceError::Missing("interrupt vector"))?;
        self.common.write_u16(common::CONFIG_MSIX_VECTOR, NO_VECTOR);
        self.msix
            .set(number, message)
            .then_some(())
            .ok_or(DeviceError::Missing("MSI-X table entry"))
    }

    fn enable_queue(
        &self,
        queue: &Virtqueue,
        interrupt: Option<u16>,
    ) -> Result<Doorbell, DeviceError> {
        self.common.write_u16(common::QUEUE_SELECT, queue.index());
        self.common.write_u16(common::QUEUE_SIZE, queue.size());
        for (i, address) in queue.addresses().into_iter().enumerate() {
            self.write_u64(common::QUEUE_DESC + 8 * i, address.0);
        }
        let vector = interrupt.unwrap_or(NO_VECTOR);
        self.common.write_u16(common::QUEUE_MSIX_VECTOR, vector);
        if self.common.read_u16(common::QUEUE_MSIX_VECTOR) != vector {
            return Err(DeviceError::Missing("MSI-X vector for a queue"));
        }
        // Read once: an access costs a VM exit.
        let place = usize::from(self.common.read_u16(common::QUEUE_NOTIFY_OFF));
        self.common.write_u16(common::QUEUE_ENABLE, 1);
        Ok(Doorbell {
            queue: queue.index(),
            offset: place * self.notify_multiplier,
        })
    }

    fn notify(&self, doorbell: Doorbell) {
        self.notify.write_u16(doorbell.offset, doorbell.queue);
    }
}
