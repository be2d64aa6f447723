//! The self-test image: hal's promises, checked on a machine of its own. `cargo xtask test selftest` runs it in QEMU.
//!
//! Each case prints `ok NAME` or `FAILED NAME: why` on the report channel; the last lines are the tally and `exit CODE`.
//! CPU 0 runs the cases one after the other; the other CPUs serve jobs ([`cpus`]).
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod cases;
mod check;
mod cpus;
mod space;

use tyn_hal::boot::{self, BootInfo, Entry};
use tyn_hal::power;

tyn_hal::entry!(Entry {
    bsp: main,
    ap: cpus::serve
});

#[expect(clippy::needless_pass_by_value, reason = "the type of the entry")]
fn main(boot: BootInfo) -> ! {
    boot.calibration.finish();
    cpus::init();
    space::init();
    boot::release_aps();
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in cases::ALL {
        match case() {
            Ok(()) => {
                passed += 1;
                power::report(format_args!("ok {name}"));
            }
            Err(why) => {
                failed += 1;
                power::report(format_args!("FAILED {name}: {why}"));
            }
        }
    }
    power::report(format_args!("{passed} passed, {failed} failed"));
    power::report(format_args!("exit {}", u32::from(failed > 0)));
    power::off()
}
