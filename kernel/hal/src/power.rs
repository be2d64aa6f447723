//! The end: reporting to the host and stopping the machine; ACPI tables for drivers.

use alloc::boxed::Box;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

use crate::acpi::{self, Power, Register};
use crate::arch::x86_64::{halt, in_u8, in_u16, out_u8, out_u16};
use crate::irq::{self, Trigger};
use crate::mem::Mmio;
use crate::sync::{Once, SpinLock};

/// QEMU's `isa-debugcon`; reading it gives this value back.
const REPORT_PORT: u16 = 0xe9;
/// QEMU's `isa-debug-exit`.
const DEBUG_EXIT_PORT: u16 = 0x501;

static REPORT: SpinLock<()> = SpinLock::new(());
static EPITAPH: Once<fn()> = Once::new();
static IS_PANICKING: AtomicBool = AtomicBool::new(false);

struct ReportPort;

impl Write for ReportPort {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: a debug console: the byte goes to the host.
            unsafe { out_u8(REPORT_PORT, byte) };
        }
        Ok(())
    }
}

fn has_report_port() -> bool {
    // SAFETY: reading the port has no effects.
    unsafe { in_u8(REPORT_PORT) == REPORT_PORT as u8 }
}

/// Writes one line to the host's report channel (QEMU `isa-debugcon` at port 0xE9; see `tyn_trace::report`), with a
/// newline added. Nothing happens where there is no such device. Lines of several CPUs never mix.
pub fn report(line: fmt::Arguments<'_>) {
    if !has_report_port() {
        return;
    }
    // While panicking, a lock that is never released must not keep the message back.
    let guard = if IS_PANICKING.load(Ordering::Relaxed) {
        REPORT.try_lock()
    } else {
        Some(REPORT.lock())
    };
    let _ = ReportPort.write_fmt(line);
    let _ = ReportPort.write_str("\n");
    drop(guard);
}

fn write_register(register: Register, value: u8) {
    match register {
        Register::Port(port) => {
            // SAFETY: the port that ACPI names for switching off or resetting; nothing runs after it.
            unsafe { out_u8(port, value) };
        }
        Register::Memory(phys) => {
            if let Some(window) = Mmio::map(phys, 1) {
                window.write_u8(0, value);
            }
        }
    }
}

/// Switches the machine off: ACPI S5, else `isa-debug-exit`, else halts for ever. The exit code was reported before.
pub fn off() -> ! {
    const SLEEP_ENABLE: u16 = 1 << 13;
    let Power {
        pm1_control,
        s5,
        sleep_control,
        ..
    } = acpi::try_info().map(|i| i.power).unwrap_or_default();
    if let (Some(port), Some(s5)) = (pm1_control, s5) {
        // SAFETY: the PM1 control register; sleep type S5 ends everything.
        unsafe { out_u16(port, u16::from(s5) << 10 | SLEEP_ENABLE) };
    }
    if let Some(register) = sleep_control {
        // Sleep control register (ACPI 6.5 §4.8.4.7): SLP_TYP in bits 2 to 4, SLP_EN bit 5.
        write_register(register, s5.unwrap_or(5) << 2 | 1 << 5);
    }
    // SAFETY: QEMU's exit port; nothing happens elsewhere.
    unsafe { out_u8(DEBUG_EXIT_PORT, 0) };
    halt()
}

/// Resets the machine (`reboot(2)`): ACPI reset register, keyboard controller, triple fault.
pub fn reset() -> ! {
    if let Some((register, value)) = acpi::try_info().and_then(|i| i.power.reset) {
        write_register(register, value);
    }
    // SAFETY: pulses the reset line of the keyboard controller.
    unsafe { out_u8(0x64, 0xfe) };
    // An empty IDT turns the next exception into a triple fault.
    let empty = [0u8; 10];
    // SAFETY: nothing is to be survived from here on.
    unsafe { core::arch::asm!("lidt [{}]", "ud2", in(reg) &raw const empty, options(noreturn)) }
}

/// Calls `on_press` (in interrupt context) when the ACPI power button is pressed: fixed-event button on pc and q35,
/// generic event device on hardware-reduced machines such as microvm. Returns whether the machine has one.
pub fn on_power_button(on_press: fn()) -> bool {
    const POWER_BUTTON: u16 = 1 << 8;
    let power = acpi::info().power;
    if let Some(status) = power.pm1_event {
        let enable = status + u16::from(power.pm1_event_len / 2);
        // SAFETY: clears a pending event (PM1 status: write one to clear).
        unsafe { out_u16(status, POWER_BUTTON) };
        // SAFETY: enables the power-button event, whose handler is registered below.
        unsafe { out_u16(enable, POWER_BUTTON) };
        let handler = Box::new(move || {
            // SAFETY: reading PM1 status has no effects.
            let pending = unsafe { in_u16(status) };
            // SAFETY: acknowledges what was pending.
            unsafe { out_u16(status, pending) };
            if pending & POWER_BUTTON != 0 {
                on_press();
            }
        });
        let (gsi, _) = irq::isa_line(power.sci);
        return irq::register_line(gsi, Trigger::LevelHigh, handler).is_ok();
    }
    let Some((address, gsi)) = power.event_device else {
        return false;
    };
    // QEMU's generic event device: reading the selector returns and clears the pending events; bit 1 is "power down".
    const GED_POWER_DOWN: u32 = 1 << 1;
    let Some(window) = Mmio::map(address, 4) else {
        return false;
    };
    let handler = Box::new(move || {
        if window.read_u32(0) & GED_POWER_DOWN != 0 {
            on_press();
        }
    });
    irq::register_line(gsi, Trigger::EdgeHigh, handler).is_ok()
}

/// Returns the bytes of the DSDT, where there is one.
#[must_use]
pub fn dsdt() -> Option<&'static [u8]> {
    acpi::info().dsdt
}

/// Sets what the panic handler prints after the backtrace (the last trace events).
pub fn on_panic(epitaph: fn()) {
    EPITAPH.set(epitaph);
}

/// Reports a panic: message, CPU, return addresses (the host turns them into names), last trace events; ends the machine.
#[cfg(feature = "entry")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    if IS_PANICKING.swap(true, Ordering::SeqCst) {
        // A second CPU, or a panic while reporting one.
        halt();
    }
    report(format_args!(
        "panic {} on CPU {}",
        info,
        crate::cpu::lock_owner()
    ));
    crate::boot::console_line(format_args!("kernel panic: {info}"));
    let mut frame: u64;
    // SAFETY: only reads RBP, which is the frame pointer (force-frame-pointers).
    unsafe {
        core::arch::asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack, preserves_flags));
    };
    for _ in 0..32 {
        let is_kernel_address = frame >= crate::mem::DIRECT_MAP && frame.is_multiple_of(8);
        if !is_kernel_address {
            break;
        }
        // SAFETY: frame pointers of kernel code point into kernel stacks, which stay mapped; the chain ends with 0.
        let [next, return_address] = unsafe { core::ptr::read(frame as *const [u64; 2]) };
        report(format_args!("panic frame {return_address:#x}"));
        if next <= frame {
            break;
        }
        frame = next;
    }
    if let Some(epitaph) = EPITAPH.get() {
        epitaph();
    }
    off()
}

// Unwinding does not happen (`panic = "abort"`), but prebuilt `alloc` refers to these.
#[cfg(feature = "entry")]
core::arch::global_asm!(
    ".globl _Unwind_Resume",
    ".globl rust_eh_personality",
    "_Unwind_Resume:",
    "rust_eh_personality:",
    "ud2",
);
