//! The end: reporting to the host and stopping the machine; ACPI tables.

use core::fmt;

/// Writes one line to the host's report channel (QEMU `isa-debugcon` at port 0xE9; see `tyn_trace::report`), with a
/// newline added. Nothing happens where there is no such device. Lines of several CPUs never mix.
pub fn report(line: fmt::Arguments<'_>) {
    let _ = line;
    unimplemented!()
}

/// Switches the machine off: ACPI S5, else `isa-debug-exit`, else halts for ever. The exit code was reported before.
pub fn off() -> ! {
    unimplemented!()
}

/// Resets the machine (`reboot(2)`): ACPI reset register, keyboard controller, triple fault.
pub fn reset() -> ! {
    unimplemented!()
}

/// Calls `on_press` (in interrupt context) when the ACPI power button is pressed: fixed-event button on pc and q35,
/// generic event device on hardware-reduced machines such as microvm. Returns whether the machine has one.
pub fn on_power_button(on_press: fn()) -> bool {
    let _ = on_press;
    unimplemented!()
}

/// Sets what the panic handler prints after the backtrace (the last trace events).
pub fn on_panic(epitaph: fn()) {
    let _ = epitaph;
    unimplemented!()
}
