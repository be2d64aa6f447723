//! Trace events of the personality: each CPU keeps the last ones; with the `trace` option they go to the report channel, too.

use core::sync::atomic::{AtomicU8, Ordering};

use tyn_abi::Tid;
use tyn_hal::cpu::{self, PerCpu};
use tyn_hal::sync::{Once, SpinLock};
use tyn_hal::{power, time};
use tyn_trace::{Event, Record, Ring};

/// Records that each CPU keeps for the epitaph of a panic.
const KEPT: usize = 32;

/// What goes to the report channel as it happens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Verbosity {
    /// Nothing; events stay in the rings.
    Quiet,
    /// What was refused, and processes' ends (`trace`).
    Events,
    /// Each system call as well (`trace=calls`).
    Calls,
}

static VERBOSITY: AtomicU8 = AtomicU8::new(Verbosity::Quiet as u8);
static RINGS: Once<PerCpu<SpinLock<Ring<KEPT>>>> = Once::new();

/// Makes the rings; called once, before the first thread.
pub fn init(verbosity: Verbosity) {
    VERBOSITY.store(verbosity as u8, Ordering::Relaxed);
    RINGS.set(PerCpu::new(|_| SpinLock::new(Ring::new())));
    power::on_panic(epitaph);
}

/// Returns whether each system call is to be recorded.
#[must_use]
pub fn records_calls() -> bool {
    VERBOSITY.load(Ordering::Relaxed) >= Verbosity::Calls as u8
}

/// Records an event of thread `tid` (0 for none).
pub fn event(tid: Tid, event: Event) {
    let Some(rings) = RINGS.get() else { return };
    let record = Record {
        ns: time::now().0,
        cpu: cpu::current().0,
        tid: tid.0,
        event,
    };
    rings.get().lock().push(record);
    if VERBOSITY.load(Ordering::Relaxed) >= Verbosity::Events as u8 {
        power::report(format_args!("trace {record}"));
    }
}

/// Records a system call that is not in the table.
pub fn unknown_call(tid: Tid, nr: u64, [a, b, c, ..]: [u64; 6]) {
    event(
        tid,
        Event::UnknownCall {
            nr,
            args: [a, b, c],
        },
    );
}

/// Records a flag, option or request that is not supported.
pub fn unsupported(tid: Tid, what: &'static str, value: u64) {
    event(tid, Event::Unsupported { what, value });
}

/// Prints what the rings hold, after a panic. A ring whose lock is taken (by the panicking code) is left out.
fn epitaph() {
    let Some(rings) = RINGS.get() else { return };
    for cpu in 0..cpu::count() as u32 {
        if let Some(ring) = rings.of(cpu::CpuId(cpu)).try_lock() {
            for record in ring.iter() {
                power::report(format_args!("trace {record}"));
            }
        }
    }
}
