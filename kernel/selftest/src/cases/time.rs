//! The clock and the one-shot timer. How late a timer is depends on the host's load, so only "too early" is a failure.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use tyn_abi::Nanos;
use tyn_hal::cpu::CpuId;
use tyn_hal::selftest::Program;
use tyn_hal::sync::SpinLock;
use tyn_hal::trap::Trap;
use tyn_hal::{cpu, power, time};

use crate::check::{Outcome, ensure, same};
use crate::cpus;
use crate::space::{self, Space};

const MS: u64 = 1_000_000;
/// How much earlier than asked a timer may fire, in nanoseconds: hal measures the timer's rate for a few milliseconds, on a
/// host that may be busy.
const EARLY_NS: u64 = 50_000;

/// The clock never goes back, from whatever CPU it is read.
pub(super) fn clock_never_goes_back() -> Outcome {
    goes_back(|reads| reads < 3000)
}

/// Nor when its rate changes meanwhile: boot CPU and others read it while it is compared with its reference.
pub(super) fn clock_never_goes_back_when_its_rate_changes() -> Outcome {
    let before = time::tsc_scale();
    let end = Nanos(time::now().0 + 10 * Nanos::PER_SEC);
    let changed = Arc::new(SpinLock::new(None));
    let found = Arc::clone(&changed);
    goes_back(move |reads| {
        if cpu::current() == CpuId(0) && reads % 1000 == 0 && found.lock().is_none() {
            time::follow_reference();
            let scale = time::tsc_scale();
            *found.lock() = (scale != before).then_some(scale);
        }
        found.lock().is_none() && time::now() < end
    })?;
    let after = changed.lock().take();
    let after = after.ok_or("the rate did not change within ten seconds")?;
    ensure!(
        after.mult.abs_diff(before.mult) <= before.mult / 100,
        "the rate was changed by more than a hundredth: {before:?}, {after:?}"
    );
    Ok(())
}

/// Has all CPUs read the clock as long as `goes_on` says, which is given how often the CPU has, and looks whether it went back.
fn goes_back(goes_on: impl Fn(u64) -> bool + Send + Sync + 'static) -> Outcome {
    let last = Arc::new(SpinLock::new(Nanos(0)));
    let backwards = Arc::new(AtomicU64::new(0));
    let (shared, worst) = (Arc::clone(&last), Arc::clone(&backwards));
    cpus::everywhere(move |_| {
        for reads in 0.. {
            if !goes_on(reads) {
                break;
            }
            let mut last = shared.lock();
            let now = time::now();
            worst.fetch_max(last.0.saturating_sub(now.0), Ordering::Relaxed);
            *last = now;
        }
    });
    same(
        "nanoseconds that the clock went back",
        backwards.load(Ordering::Relaxed),
        0,
    )
}

/// A halted CPU wakes at its deadline.
pub(super) fn timer_fires_no_earlier() -> Outcome {
    let early = Arc::new(AtomicU64::new(0));
    let late = Arc::new(AtomicU64::new(u64::MAX));
    for id in cpus::ids() {
        let (worst, best) = (Arc::clone(&early), Arc::clone(&late));
        let job = Arc::new(move || {
            for ms in [0, 1, 2, 5] {
                let _ = time::take_timer_fired();
                let deadline = Nanos(time::now().0 + ms * MS + 300_000);
                time::set_timer(Some(deadline));
                // The kick that brought this job may come only now.
                while !time::take_timer_fired() {
                    cpu::wait_for_interrupt();
                }
                let now = time::now();
                worst.fetch_max(deadline.0.saturating_sub(now.0), Ordering::Relaxed);
                best.fetch_min(now.0.saturating_sub(deadline.0), Ordering::Relaxed);
            }
        });
        if id == CpuId(0) {
            job();
        } else {
            let theirs = Arc::clone(&job);
            cpus::on(id, move || theirs());
            cpus::wait_until(|| Arc::strong_count(&job) == 1);
        }
    }
    power::report(format_args!(
        "metric timer_lateness_ns {}",
        late.load(Ordering::Relaxed)
    ));
    let early = early.load(Ordering::Relaxed);
    ensure!(early <= EARLY_NS, "a timer fired {early} ns early");
    Ok(())
}

/// An interrupt that is pending comes when it is asked for, and not before.
pub(super) fn pending_interrupt_is_taken() -> Outcome {
    let _ = time::take_timer_fired();
    time::set_timer(Some(Nanos(1)));
    ensure!(
        !time::take_timer_fired(),
        "an interrupt came that nobody asked for"
    );
    while !time::take_timer_fired() {
        cpu::take_interrupts();
    }
    Ok(())
}

/// A deadline in the past fires at once; a disarmed timer does not fire before the one armed after it.
pub(super) fn timer_past_and_disarmed() -> Outcome {
    loop {
        time::set_timer(Some(Nanos(1)));
        cpu::wait_for_interrupt();
        let disarmed = Nanos(time::now().0 + MS);
        time::set_timer(Some(disarmed));
        time::set_timer(None);
        // If the host took the CPU away for so long that it was due meanwhile, its interrupt may wait already.
        if time::now() < disarmed {
            break;
        }
    }
    let deadline = Nanos(time::now().0 + 5 * MS);
    time::set_timer(Some(deadline));
    cpu::wait_for_interrupt();
    let now = time::now();
    ensure!(
        now.0 + EARLY_NS >= deadline.0,
        "woken {} ns before the only armed deadline",
        deadline.0 - now.0
    );
    Ok(())
}

/// The timer ends an endless loop of ring 3, on each CPU.
pub(super) fn preempts_ring3() -> Outcome {
    let space = Space::new()?;
    for id in cpus::ids() {
        let space = Arc::clone(&space);
        let result = cpus::in_thread(id, move |_| preempt(&space))?;
        result?;
    }
    same("CPU of the cases", cpu::current(), CpuId(0))
}

fn preempt(space: &Space) -> Outcome {
    space.activate();
    let mut context = space::start(Program::Spin);
    for _ in 0..20 {
        let deadline = Nanos(time::now().0 + MS);
        time::set_timer(Some(deadline));
        loop {
            let trap = context.run();
            ensure!(
                trap == Trap::Interrupt,
                "{trap:?} instead of the timer's interrupt"
            );
            if time::now().0 + EARLY_NS >= deadline.0 {
                break;
            }
        }
        same("RIP", context.regs.rip, space::entry(Program::Spin))?;
    }
    Ok(())
}
