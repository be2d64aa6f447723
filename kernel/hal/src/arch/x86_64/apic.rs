//! Local APIC (xAPIC by memory, x2APIC by MSR) and IO-APICs.

use alloc::vec::Vec;
use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::{cpuid, msr, out_u8, read_msr, read_tsc, write_msr};
use crate::acpi::IoApic;
use crate::cpu_local::CpuLocal;
use crate::irq::{IrqError, Trigger};
use crate::mem::{Mmio, PhysAddr};
use crate::sync::{Once, SpinLock};

/// Vector of the timer.
pub(crate) const TIMER_VECTOR: u8 = 0xfd;
/// Vector of a kick.
pub(crate) const KICK_VECTOR: u8 = 0xfe;
/// Vector of spurious interrupts, which want no end-of-interrupt.
pub(crate) const SPURIOUS_VECTOR: u8 = 0xff;

/// Register numbers (Intel SDM vol. 3, table 11-6): memory offset is 16 times, MSR is 0x800 plus.
mod reg {
    pub(super) const ID: u32 = 0x02;
    pub(super) const TASK_PRIORITY: u32 = 0x08;
    pub(super) const EOI: u32 = 0x0b;
    pub(super) const SPURIOUS: u32 = 0x0f;
    pub(super) const ICR: u32 = 0x30;
    pub(super) const ICR_HIGH: u32 = 0x31;
    pub(super) const LVT_TIMER: u32 = 0x32;
    pub(super) const LVT_LINT0: u32 = 0x35;
    pub(super) const LVT_LINT1: u32 = 0x36;
    pub(super) const LVT_ERROR: u32 = 0x37;
    pub(super) const INITIAL_COUNT: u32 = 0x38;
    pub(super) const CURRENT_COUNT: u32 = 0x39;
    pub(super) const DIVIDE: u32 = 0x3e;
}

static IS_X2APIC: AtomicBool = AtomicBool::new(false);
static HAS_DEADLINE: AtomicBool = AtomicBool::new(false);
static WINDOW: Once<Mmio> = Once::new();
/// Timer ticks in 2^32 ticks of the TSC.
static TIMER_RATE: AtomicU64 = AtomicU64::new(0);

fn read(register: u32) -> u32 {
    if IS_X2APIC.load(Ordering::Relaxed) {
        return read_msr(0x800 + register) as u32;
    }
    WINDOW
        .get()
        .map_or(0, |w| w.read_u32(register as usize * 16))
}

fn write(register: u32, value: u32) {
    if IS_X2APIC.load(Ordering::Relaxed) {
        // SAFETY: an APIC register; vectors that it can raise all have handlers.
        unsafe { write_msr(0x800 + register, u64::from(value)) };
    } else if let Some(window) = WINDOW.get() {
        window.write_u32(register as usize * 16, value);
    }
}

/// Finds the local APIC; called once by the boot CPU.
pub(crate) fn init() {
    const X2APIC: u32 = 1 << 21;
    const TSC_DEADLINE: u32 = 1 << 24;
    let features = cpuid(1, 0).ecx;
    IS_X2APIC.store(features & X2APIC != 0, Ordering::Relaxed);
    HAS_DEADLINE.store(features & TSC_DEADLINE != 0, Ordering::Relaxed);
    if features & X2APIC == 0 {
        let base = PhysAddr(read_msr(msr::APIC_BASE) & 0x000f_ffff_ffff_f000);
        if let Some(window) = Mmio::map(base, 4096) {
            WINDOW.set(window);
        }
    }
    // The legacy interrupt controllers are masked for good.
    for port in [0x21, 0xa1] {
        // SAFETY: masks all inputs of the PIC, which nobody else uses.
        unsafe { out_u8(port, 0xff) };
    }
}

/// Enables the current CPU's local APIC.
pub(crate) fn enable() {
    const GLOBAL_ENABLE: u64 = 1 << 11;
    const X2APIC_ENABLE: u64 = 1 << 10;
    let mode = if IS_X2APIC.load(Ordering::Relaxed) {
        X2APIC_ENABLE
    } else {
        0
    };
    // From disabled there is no way to x2APIC mode but by the other (Intel SDM vol. 3 §11.12.5): one write would fault.
    for bits in [GLOBAL_ENABLE, mode] {
        let base = read_msr(msr::APIC_BASE) | bits;
        // SAFETY: enables the APIC in the mode that the accessors here use.
        unsafe { write_msr(msr::APIC_BASE, base) };
    }
    for (register, value) in registers_at_start(HAS_DEADLINE.load(Ordering::Relaxed)) {
        write(register, value);
    }
    // Before a deadline is written: in memory the write of the mode is not ordered with that (Intel SDM vol. 3 §11.5.4.1).
    fence_before_write_msr();
}

/// Returns what is written to which register, in this order, for a local APIC to work.
fn registers_at_start(has_deadline: bool) -> [(u32, u32); 7] {
    const SOFTWARE_ENABLE: u32 = 1 << 8;
    const MASKED: u32 = 1 << 16;
    const DEADLINE_MODE: u32 = 0b10 << 17;
    const DIVIDE_BY_1: u32 = 0b1011;
    let timer_mode = if has_deadline { DEADLINE_MODE } else { 0 };
    [
        // Whatever the firmware had it at.
        (reg::TASK_PRIORITY, 0),
        // Before the local vector table: until then (so after INIT) its entries stay masked whatever is written to them
        // (Intel SDM vol. 3 §11.4.7.2).
        (reg::SPURIOUS, SOFTWARE_ENABLE | u32::from(SPURIOUS_VECTOR)),
        (reg::LVT_LINT0, MASKED),
        (reg::LVT_LINT1, MASKED),
        (reg::LVT_ERROR, MASKED),
        (reg::DIVIDE, DIVIDE_BY_1),
        (reg::LVT_TIMER, u32::from(TIMER_VECTOR) | timer_mode),
    ]
}

/// Returns the current CPU's APIC id.
pub(crate) fn id() -> u32 {
    if IS_X2APIC.load(Ordering::Relaxed) {
        read(reg::ID)
    } else {
        read(reg::ID) >> 24
    }
}

/// Largest APIC id that the memory interface and a device can name; the next one means every CPU.
const LARGEST_SHORT_ID: u32 = 0xfe;

/// Returns the largest APIC id that an interrupt of a CPU can name.
pub(crate) fn largest_id() -> u32 {
    if IS_X2APIC.load(Ordering::Relaxed) {
        u32::MAX - 1
    } else {
        LARGEST_SHORT_ID
    }
}

/// Ends the interrupt in service.
pub(crate) fn end_of_interrupt() {
    write(reg::EOI, 0);
}

/// Orders all earlier stores before a WRMSR to an APIC register, which is not serialising (Intel SDM vol. 3 §11.12.3). What
/// [`core::sync::atomic::fence`] becomes is no MFENCE.
fn fence_before_write_msr() {
    // SAFETY: fences have no other effects.
    unsafe { asm!("mfence", "lfence", options(nostack, preserves_flags)) };
}

fn send(apic_id: u32, command: u32) {
    if IS_X2APIC.load(Ordering::Relaxed) {
        fence_before_write_msr();
        // SAFETY: sends an interrupt that has a handler, or INIT or start-up to a CPU that waits for it.
        unsafe {
            write_msr(
                0x800 + reg::ICR,
                u64::from(apic_id) << 32 | u64::from(command),
            );
        };
    } else {
        const DELIVERY_PENDING: u32 = 1 << 12;
        write(reg::ICR_HIGH, apic_id << 24);
        write(reg::ICR, command);
        while read(reg::ICR) & DELIVERY_PENDING != 0 {
            core::hint::spin_loop();
        }
    }
}

/// Interrupts the CPU with that APIC id (fixed delivery).
pub(crate) fn kick(apic_id: u32) {
    send(apic_id, 0x4000 | u32::from(KICK_VECTOR));
}

/// Sends INIT.
pub(crate) fn send_init(apic_id: u32) {
    send(apic_id, 0x4500);
}

/// Sends a start-up IPI for code at `page << 12`.
pub(crate) fn send_startup(apic_id: u32, page: u8) {
    send(apic_id, 0x4600 | u32::from(page));
}

/// Starts the free-running count that [`timer_elapsed`] reads, for calibration.
pub(crate) fn timer_start_counting() {
    const MASKED: u32 = 1 << 16;
    write(reg::LVT_TIMER, u32::from(TIMER_VECTOR) | MASKED);
    write(reg::INITIAL_COUNT, u32::MAX);
}

/// Returns the ticks since [`timer_start_counting`].
pub(crate) fn timer_elapsed() -> u32 {
    u32::MAX - read(reg::CURRENT_COUNT)
}

/// Sets the timer's rate in ticks per 2^32 ticks of the TSC, and makes the timer ready on this CPU.
pub(crate) fn set_timer_rate(rate: u64) {
    write(reg::INITIAL_COUNT, 0);
    TIMER_RATE.store(rate, Ordering::Relaxed);
    enable();
}

/// Arms the timer for a value of the TSC; `None` disarms.
pub(crate) fn arm_timer(deadline: Option<u64>) {
    if HAS_DEADLINE.load(Ordering::Relaxed) {
        let tsc = deadline.map_or(0, |tsc| tsc.max(1));
        // SAFETY: the timer's vector has a handler.
        unsafe { write_msr(msr::TSC_DEADLINE, tsc) };
        return;
    }
    let count = deadline.map_or(0, |tsc| {
        let left = u128::from(tsc.saturating_sub(read_tsc()));
        let ticks = (left * u128::from(TIMER_RATE.load(Ordering::Relaxed))) >> 32;
        // Neither for part of a tick nor for the one that is under way may it fire too early. A longer time fires early;
        // whoever armed it looks at the clock and arms it again.
        u32::try_from(ticks + 2).unwrap_or(u32::MAX)
    });
    write(reg::INITIAL_COUNT, count);
}

/// Makes GS point at the current CPU's block, found by APIC id: for exceptions that may come with any GS.
pub(crate) fn restore_gs() {
    let me = id();
    let block = (0..crate::cpu::MAX_CPUS)
        .filter_map(CpuLocal::of)
        .find(|c| c.apic_id() == Some(me));
    if let Some(block) = block {
        // SAFETY: the block of this very CPU.
        unsafe { write_msr(msr::GS_BASE, core::ptr::from_ref(block) as u64) };
    }
}

struct Chip {
    window: Mmio,
    first_gsi: u32,
    inputs: u32,
}

static CHIPS: SpinLock<Vec<Chip>> = SpinLock::new(Vec::new());
static BOOT_APIC_ID: AtomicU32 = AtomicU32::new(0);

impl Chip {
    fn read(&self, register: u32) -> u32 {
        self.window.write_u32(0, register);
        self.window.read_u32(0x10)
    }

    fn write(&self, register: u32, value: u32) {
        self.window.write_u32(0, register);
        self.window.write_u32(0x10, value);
    }
}

/// Maps the IO-APICs; all inputs are masked.
pub(crate) fn init_io(io_apics: &[IoApic]) {
    const MASKED: u32 = 1 << 16;
    BOOT_APIC_ID.store(id(), Ordering::Relaxed);
    for io in io_apics {
        let Some(window) = Mmio::map(io.address, 0x20) else {
            continue;
        };
        let mut chip = Chip {
            window,
            first_gsi: io.first_gsi,
            inputs: 0,
        };
        chip.inputs = (chip.read(1) >> 16 & 0xff) + 1;
        for input in 0..chip.inputs {
            chip.write(0x10 + 2 * input, MASKED);
        }
        CHIPS.lock().push(chip);
    }
}

/// Returns whom devices are to interrupt: `wanted`, else this CPU, else the boot CPU: an IO-APIC and a message have room for
/// a short id only.
fn destination(wanted: Option<u32>) -> u32 {
    [wanted, Some(id())]
        .into_iter()
        .flatten()
        .find(|&id| id <= LARGEST_SHORT_ID)
        .unwrap_or_else(|| BOOT_APIC_ID.load(Ordering::Relaxed))
}

/// Routes a global system interrupt to `vector` on this CPU.
pub(crate) fn route(gsi: u32, trigger: Trigger, vector: u8) -> Result<(), IrqError> {
    let chips = CHIPS.lock();
    let serves = |c: &&Chip| gsi >= c.first_gsi && gsi - c.first_gsi < c.inputs;
    let chip = chips.iter().find(serves).ok_or(IrqError::NoSuchLine)?;
    let mode = match trigger {
        Trigger::EdgeHigh => 0,
        Trigger::LevelHigh => 1 << 15,
        Trigger::LevelLow => 1 << 15 | 1 << 13,
    };
    let input = gsi - chip.first_gsi;
    chip.write(0x11 + 2 * input, destination(None) << 24);
    chip.write(0x10 + 2 * input, u32::from(vector) | mode);
    Ok(())
}

/// Returns the address and data with which a device raises `vector` on the CPU with the APIC id `wanted`, or on this one
/// (Intel SDM vol. 3 §11.11).
pub(crate) fn msi_message(wanted: Option<u32>, vector: u8) -> (u64, u32) {
    (
        0xfee0_0000 | u64::from(destination(wanted)) << 12,
        u32::from(vector),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entry of the timer as a local APIC keeps it that takes the writes, from INIT on.
    fn timer_entry(writes: &[(u32, u32)]) -> u32 {
        const MASKED: u32 = 1 << 16;
        let (mut is_enabled, mut timer) = (false, MASKED);
        for &(register, value) in writes {
            match register {
                reg::SPURIOUS => is_enabled = value & 1 << 8 != 0,
                reg::LVT_TIMER => timer = value,
                _ => {}
            }
            if !is_enabled {
                timer |= MASKED;
            }
        }
        timer
    }

    #[test]
    fn timer_is_not_masked_after_init() {
        for (has_deadline, mode) in [(false, 0), (true, 1 << 18)] {
            let writes = registers_at_start(has_deadline);
            assert_eq!(timer_entry(&writes), u32::from(TIMER_VECTOR) | mode);
        }
    }
}
