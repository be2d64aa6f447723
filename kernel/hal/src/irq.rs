//! Device interrupts: vectors, IO-APIC lines and MSI-X messages.

use alloc::boxed::Box;

/// Work to do when the interrupt arrives; runs with interrupts disabled, on whichever task was in ring 3 or idle.
/// It must not block; it may take spinlocks.
pub type Handler = Box<dyn Fn() + Send + Sync>;

/// A message-signalled interrupt: what the device writes where (PCI MSI-X table entry).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MsiMessage {
    /// Message address.
    pub address: u64,
    /// Message data.
    pub data: u32,
}

/// Why an interrupt could not be set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IrqError {
    /// All vectors are taken.
    NoVector,
    /// No IO-APIC serves that line.
    NoSuchLine,
}

/// Allocates a vector for `handler`, delivered to the boot CPU, and returns the message for the device's table.
///
/// # Errors
/// [`IrqError::NoVector`].
pub fn register_msi(handler: Handler) -> Result<MsiMessage, IrqError> {
    let _ = handler;
    unimplemented!()
}

/// Routes a global system interrupt (an IO-APIC input) to `handler` on the boot CPU and unmasks it.
///
/// # Errors
/// [`IrqError`].
pub fn register_line(gsi: u32, trigger: Trigger, handler: Handler) -> Result<(), IrqError> {
    let _ = (gsi, trigger, handler);
    unimplemented!()
}

/// Trigger mode and polarity of an interrupt line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// Rising edge (ISA).
    EdgeHigh,
    /// Level, active high (virtio-mmio on microvm is edge-high in QEMU; ACPI says which).
    LevelHigh,
    /// Level, active low (PCI INTx, SCI).
    LevelLow,
}

/// Maps an ISA interrupt number to its global system interrupt and trigger, honouring the MADT's source overrides.
#[must_use]
pub fn isa_line(_irq: u8) -> (u32, Trigger) {
    unimplemented!()
}
