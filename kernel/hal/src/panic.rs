//! The end by a broken invariant: what a panic reports. It needs no memory and takes no lock, since it may come with any held.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::sync::Once;
#[cfg(feature = "entry")]
use crate::{
    arch::x86_64::halt,
    boot::console_line,
    mem::kernel_map,
    power::{off, report},
};

/// What is called after the backtrace.
pub(crate) static EPITAPH: Once<fn()> = Once::new();
/// The CPU that panics (as lock owner), or [`NOBODY`].
static PANICKING: AtomicU32 = AtomicU32::new(NOBODY);
const NOBODY: u32 = u32::MAX;

/// Where the trap in ring 0 happened that is about to panic, and the frame pointer there; 0 for a panic of Rust code.
static TRAP_RIP: AtomicU64 = AtomicU64::new(0);
static TRAP_RBP: AtomicU64 = AtomicU64::new(0);

/// Makes the backtrace of the panic that follows start at interrupted code.
pub(crate) fn start_backtrace_at(rip: u64, rbp: u64) {
    if !is_panicking() {
        TRAP_RBP.store(rbp, Ordering::Relaxed);
        TRAP_RIP.store(rip, Ordering::Relaxed);
    }
}

/// Returns whether some CPU panics.
pub(crate) fn is_panicking() -> bool {
    PANICKING.load(Ordering::Relaxed) != NOBODY
}

/// Text with its line breaks made spaces: a report is one line.
struct OneLine<'a>(&'a dyn fmt::Display);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Flat(f), "{}", self.0)
    }
}

/// Passes text on with its line breaks made spaces.
struct Flat<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Flat<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (i, line) in text.split('\n').enumerate() {
            if i > 0 {
                self.0.write_char(' ')?;
            }
            self.0.write_str(line)?;
        }
        Ok(())
    }
}

/// Reports a panic: message, CPU, return addresses (the host turns them into names), last trace events; ends the machine.
#[cfg(feature = "entry")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let me = crate::cpu::current().0;
    match PANICKING.compare_exchange(NOBODY, me, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => {}
        Err(other) if other != me => halt(),
        Err(_) => {
            // Reporting the first panic panicked: what was said so far must do.
            report(format_args!("panic again: {}", OneLine(info)));
            off()
        }
    }
    report(format_args!("panic CPU {me}: {}", OneLine(info)));
    console_line(format_args!("kernel panic: {}", OneLine(info)));
    let mut frame: u64;
    // SAFETY: only reads RBP, which is the frame pointer (force-frame-pointers).
    unsafe {
        core::arch::asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack, preserves_flags));
    };
    let (rip, rbp) = (
        TRAP_RIP.load(Ordering::Relaxed),
        TRAP_RBP.load(Ordering::Relaxed),
    );
    if rip != 0 {
        // The trap's own frames say nothing: the interrupted code is what went wrong.
        report(format_args!("panic at {rip:#x}"));
        frame = rbp;
    }
    // The chain ends with 0, or wherever a broken stack leads out of mapped memory.
    for _ in 0..32 {
        let Some([next, return_address]) = kernel_map::read_pair(frame) else {
            break;
        };
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

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn report_text_is_one_line() {
        for (text, expected) in [
            ("a\nb\n", "a b "),
            ("\n", " "),
            ("", ""),
            ("plain", "plain"),
        ] {
            assert_eq!(OneLine(&text).to_string(), expected);
        }
        assert_eq!(OneLine(&format_args!("x{}\ny", 1)).to_string(), "x1 y");
    }
}
