//! Device interrupts: vectors, IO-APIC lines and MSI-X messages.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU8, Ordering};

use crate::acpi;
use crate::arch::x86_64::apic;
use crate::cpu::CpuId;
use crate::cpu_local::CpuLocal;
use crate::sync::Once;

/// Vectors for devices.
const FIRST_DEVICE_VECTOR: u8 = 0x30;
const LAST_DEVICE_VECTOR: u8 = 0xef;

static NEXT_VECTOR: AtomicU8 = AtomicU8::new(FIRST_DEVICE_VECTOR);
static HANDLERS: [Once<Handler>; 256] = [const { Once::new() }; 256];

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

/// Allocates a vector for `handler` and returns the message for the device's table. It is delivered to `cpu`, or to the
/// current one when that has not arrived yet or no message can name it.
///
/// # Errors
/// [`IrqError::NoVector`].
pub fn register_msi(cpu: CpuId, handler: Handler) -> Result<MsiMessage, IrqError> {
    let vector = allocate(handler)?;
    let wanted = CpuLocal::of(cpu.0 as usize).and_then(CpuLocal::apic_id);
    let (address, data) = apic::msi_message(wanted, vector);
    Ok(MsiMessage { address, data })
}

/// Takes a vector for `handler`.
fn allocate(handler: Handler) -> Result<u8, IrqError> {
    let next = |v: u8| (v <= LAST_DEVICE_VECTOR).then_some(v + 1);
    let vector = NEXT_VECTOR
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
        .map_err(|_| IrqError::NoVector)?;
    HANDLERS[usize::from(vector)].set(handler);
    Ok(vector)
}

/// Runs what an interrupt calls for and ends it.
pub(crate) fn dispatch(vector: u8) {
    match vector {
        apic::SPURIOUS_VECTOR => return,
        apic::KICK_VECTOR => {
            CpuLocal::current().kicks.fetch_add(1, Ordering::Relaxed);
        }
        // The timer does nothing by itself: it ended `hlt` or ring 3.
        apic::TIMER_VECTOR => CpuLocal::current().timer_fired.set(true),
        _ => {
            if let Some(handler) = HANDLERS[usize::from(vector)].get() {
                handler();
            }
        }
    }
    apic::end_of_interrupt();
}

/// Routes a global system interrupt (an IO-APIC input) to `handler` on the current CPU and unmasks it.
///
/// # Errors
/// [`IrqError`].
pub fn register_line(gsi: u32, trigger: Trigger, handler: Handler) -> Result<(), IrqError> {
    let vector = allocate(handler)?;
    apic::route(gsi, trigger, vector)
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
pub fn isa_line(irq: u8) -> (u32, Trigger) {
    acpi::info()
        .isa_override(irq)
        .unwrap_or((u32::from(irq), Trigger::EdgeHigh))
}
