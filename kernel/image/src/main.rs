//! The kernel image: initialisation order and wiring, nothing else.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use tyn_hal::boot::{BootInfo, Entry};

tyn_hal::entry!(Entry {
    bsp: main,
    ap: tyn_linux::sched::run_cpu
});

fn main(boot: BootInfo) -> ! {
    tyn_hal::power::report(format_args!(
        "hello cpus {} ram {} cmdline {}",
        boot.cpus, boot.ram_bytes, boot.cmdline
    ));
    tyn_hal::power::report(format_args!(
        "now {:?} wall {:?}",
        tyn_hal::time::now(),
        tyn_hal::time::wall_at_boot()
    ));
    tyn_hal::power::report(format_args!("mem {:?}", tyn_hal::mem::stats()));
    tyn_hal::power::off()
}
