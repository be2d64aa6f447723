//! Virtio 1.2: the split virtqueue and the two transports.

pub mod mmio;
pub mod pci;
pub mod queue;

use alloc::boxed::Box;

use tyn_hal::cpu::CpuId;
use tyn_hal::irq;

use queue::Virtqueue;

/// Feature bits that concern every device (virtio 1.2 §6).
pub mod features {
    /// The device complies with virtio 1.x; offered and accepted, always.
    pub const VERSION_1: u64 = 1 << 32;
    /// Notifications are suppressed by event indices (§2.7.7, §2.7.10).
    pub const EVENT_IDX: u64 = 1 << 29;
}

/// Bits of the device status field (virtio 1.2 §2.1).
pub mod status {
    /// The guest has noticed the device.
    pub const ACKNOWLEDGE: u8 = 1;
    /// The guest has a driver for it.
    pub const DRIVER: u8 = 2;
    /// The driver is ready.
    pub const DRIVER_OK: u8 = 4;
    /// Feature negotiation is complete.
    pub const FEATURES_OK: u8 = 8;
    /// Something went wrong; the guest has given up on the device.
    pub const FAILED: u8 = 128;
}

/// Why a device could not be brought up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceError {
    /// It does not offer virtio 1.x.
    Legacy,
    /// It refused our selection of features.
    FeaturesRefused,
    /// A register window, interrupt or queue that it needs is missing.
    Missing(&'static str),
    /// No memory for its queues.
    OutOfMemory,
}

impl From<tyn_hal::mem::OutOfMemory> for DeviceError {
    fn from(_: tyn_hal::mem::OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// How a device's registers are reached.
pub trait Transport: Send + Sync {
    /// Reads the status field.
    fn status(&self) -> u8;

    /// Writes the status field; 0 resets the device.
    fn set_status(&self, status: u8);

    /// Reads the offered features.
    fn device_features(&self) -> u64;

    /// Writes the accepted features.
    fn set_driver_features(&self, features: u64);

    /// Reads a byte of the device-specific configuration.
    fn config_u8(&self, offset: usize) -> u8;

    /// Returns the most entries that queue `index` can have; 0 when it does not exist.
    fn queue_limit(&self, index: u16) -> u16;

    /// Returns how many interrupts the device has that can be told apart; at least 1.
    fn interrupts(&self) -> u16;

    /// Has `handler` run, on `cpu` if it can take interrupts of devices by now, when interrupt `number` comes. With one
    /// interrupt alone it comes for all queues, and to the current CPU.
    ///
    /// # Errors
    /// [`DeviceError::Missing`].
    fn on_interrupt(
        &self,
        number: u16,
        cpu: CpuId,
        handler: irq::Handler,
    ) -> Result<(), DeviceError>;

    /// Hands a queue's memory to the device and enables it. `interrupt` is the number of the one that comes when the device
    /// has used its buffers; `None`: nobody waits for one (it may come if there is one alone).
    ///
    /// # Errors
    /// [`DeviceError::Missing`].
    fn enable_queue(
        &self,
        queue: &Virtqueue,
        interrupt: Option<u16>,
    ) -> Result<Doorbell, DeviceError>;

    /// Tells the device that a queue has new buffers.
    fn notify(&self, doorbell: Doorbell);
}

/// Where the device is told of a queue's new buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Doorbell {
    /// The queue's number.
    queue: u16,
    /// Offset of its register; of use to the transport alone.
    offset: usize,
}

/// Resets the device and negotiates features: of those that it offers the ones that `choose` picks, plus `VERSION_1`, which
/// it must offer. Returns the accepted set. The caller sets up its queues, then calls [`start`].
///
/// # Errors
/// [`DeviceError::Legacy`], [`DeviceError::FeaturesRefused`].
pub fn negotiate(
    transport: &dyn Transport,
    choose: impl FnOnce(u64) -> u64,
) -> Result<u64, DeviceError> {
    transport.set_status(0);
    while transport.status() != 0 {
        tyn_hal::cpu::relax();
    }
    transport.set_status(status::ACKNOWLEDGE);
    transport.set_status(status::ACKNOWLEDGE | status::DRIVER);
    let offered = transport.device_features();
    if offered & features::VERSION_1 == 0 {
        transport.set_status(status::FAILED);
        return Err(DeviceError::Legacy);
    }
    let accepted = offered & (choose(offered) | features::VERSION_1);
    transport.set_driver_features(accepted);
    transport.set_status(status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK);
    if transport.status() & status::FEATURES_OK == 0 {
        transport.set_status(status::FAILED);
        return Err(DeviceError::FeaturesRefused);
    }
    Ok(accepted)
}

/// Tells the device that the driver is ready.
pub fn start(transport: &dyn Transport) {
    let all = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK | status::DRIVER_OK;
    transport.set_status(all);
}

/// A virtio device that was found: its type (virtio 1.2 §5) and how to reach it.
pub struct Found {
    /// Device type, e.g. 1 for network.
    pub device_type: u32,
    /// Its transport.
    pub transport: Box<dyn Transport>,
}

impl core::fmt::Debug for Found {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "virtio device type {}", self.device_type)
    }
}
