//! Device drivers, in safe Rust over `tyn_hal`'s windows onto registers, DMA memory and interrupts.
//!
//! - [`pci`]: enumeration and capabilities of conventional PCI configuration space.
//! - [`virtio`]: the split virtqueue and its PCI and MMIO transports (virtio 1.2).
//! - [`virtio_net`]: the network device.
//! - [`uart`]: the 16550 serial console.
//! - [`discover`]: what this machine has.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod discover;
pub mod pci;
pub mod uart;
pub mod virtio;
pub mod virtio_net;
