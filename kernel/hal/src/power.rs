//! The end: reporting to the host and stopping the machine; ACPI tables for drivers.

use alloc::boxed::Box;
use core::fmt::{self, Write};

use crate::acpi::{self, Register};
use crate::arch::x86_64::{halt, in_u8, in_u16, out_bytes, out_u8, out_u16};
use crate::irq::{self, Trigger};
use crate::mem::Mmio;
use crate::panic;
use crate::sync::{Once, SpinLock};

/// QEMU's `isa-debugcon`; reading it gives this value back.
const REPORT_PORT: u16 = 0xe9;
/// QEMU's `isa-debug-exit`.
const DEBUG_EXIT_PORT: u16 = 0x501;

static REPORT: SpinLock<()> = SpinLock::new(());

struct ReportPort;

impl Write for ReportPort {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: a debug console: the bytes go to the host.
        unsafe { out_bytes(REPORT_PORT, text.as_bytes()) };
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
    let guard = if panic::is_panicking() {
        REPORT.try_lock()
    } else {
        Some(REPORT.lock())
    };
    let _ = ReportPort.write_fmt(line);
    let _ = ReportPort.write_str("\n");
    drop(guard);
}

/// A register that ends the machine. It is mapped in advance, since a panic may come with any lock held.
#[derive(Debug)]
enum EndRegister {
    Port(u16),
    Window(Mmio),
}

impl EndRegister {
    fn new(register: Register) -> Option<Self> {
        match register {
            Register::Port(port) => Some(Self::Port(port)),
            Register::Memory(phys) => Mmio::map(phys, 1).map(Self::Window),
        }
    }

    fn write(&self, value: u8) {
        match self {
            // SAFETY: the port that ACPI names for switching off or resetting; nothing runs after it.
            Self::Port(port) => unsafe { out_u8(*port, value) },
            Self::Window(window) => window.write_u8(0, value),
        }
    }
}

/// How the machine is switched off and reset, as ACPI says.
#[derive(Debug)]
struct Ends {
    /// PM1a control register and what to write there.
    pm1: Option<(u16, u16)>,
    /// Sleep control register of hardware-reduced machines and what to write there.
    sleep: Option<(EndRegister, u8)>,
    reset: Option<(EndRegister, u8)>,
}

static ENDS: Once<Ends> = Once::new();

/// Gets [`off`] and [`reset`] ready; needs the ACPI tables.
pub(crate) fn init() {
    let power = acpi::info().power;
    // PM1 control: SLP_TYP in bits 10 to 12, SLP_EN bit 13 (ACPI 6.5 §4.8.3.2.1).
    let pm1 = |s5: u8| u16::from(s5 & 7) << 10 | 1 << 13;
    // Sleep control: SLP_TYP in bits 2 to 4, SLP_EN bit 5 (ACPI 6.5 §4.8.3.7).
    let sleep = |s5: u8| (s5 & 7) << 2 | 1 << 5;
    let with = |register, value| EndRegister::new(register).map(|r| (r, value));
    ENDS.set(Ends {
        pm1: power.pm1_control.zip(power.s5.map(pm1)),
        sleep: power
            .sleep_control
            .zip(power.s5)
            .and_then(|(register, s5)| with(register, sleep(s5))),
        reset: power
            .reset
            .and_then(|(register, value)| with(register, value)),
    });
}

/// Switches the machine off: ACPI S5, else `isa-debug-exit`, else halts for ever. The exit code was reported before.
pub fn off() -> ! {
    match ENDS.get() {
        // The machine goes off some time after the write: to try anything else then would race with it.
        Some(Ends {
            pm1: Some((port, value)),
            ..
        }) => {
            // SAFETY: the PM1 control register; sleep type S5 ends everything.
            unsafe { out_u16(*port, *value) };
        }
        Some(Ends {
            sleep: Some((register, value)),
            ..
        }) => register.write(*value),
        _ => {
            // SAFETY: QEMU's exit port; nothing happens elsewhere.
            unsafe { out_u8(DEBUG_EXIT_PORT, 0) };
        }
    }
    halt()
}

/// Resets the machine (`reboot(2)`): ACPI reset register, keyboard controller, triple fault.
pub fn reset() -> ! {
    if let Some((register, value)) = ENDS.get().and_then(|e| e.reset.as_ref()) {
        register.write(*value);
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
    let Some((address, gsi)) = acpi::info().event_device() else {
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
    panic::EPITAPH.set(epitaph);
}
