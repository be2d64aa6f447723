//! Each CPU's timers, and its one-shot hardware timer that is armed for the first of them.
//!
//! A timer is set on the CPU that asks, so only a CPU itself arms its hardware timer; anybody may cancel. A cancelled
//! timer leaves the hardware armed: at worst one interrupt finds nothing to do.

use alloc::sync::Arc;

use tyn_abi::Nanos;
use tyn_hal::cpu::{self, CpuId, PerCpu};
use tyn_hal::sync::{Once, SpinLock};
use tyn_hal::time;
use tyn_sched::timer::{TimerKey, TimerQueue};

use crate::sched;
use crate::thread::Thread;

/// Something that happens at a point in time: a timerfd, the network's next deadline.
pub trait TimerTarget: Send + Sync {
    /// Called once, in interrupt context (no blocking, spinlocks allowed), at or after the deadline.
    fn expired(self: Arc<Self>, now: Nanos);
}

/// What a timer does when it is due.
enum Due {
    WakeUp(Arc<Thread>),
    Call(Arc<dyn TimerTarget>),
}

struct Timers {
    queue: SpinLock<TimerQueue<Due>>,
    /// What the hardware timer is armed for; only the CPU itself takes this lock.
    armed: SpinLock<Option<Nanos>>,
}

static TIMERS: Once<PerCpu<Timers>> = Once::new();

pub(super) fn init() {
    TIMERS.set(PerCpu::new(|_| Timers {
        queue: SpinLock::new(TimerQueue::new()),
        armed: SpinLock::new(None),
    }));
}

fn timers() -> &'static PerCpu<Timers> {
    TIMERS.get().expect("invariant: sched::init ran")
}

/// A timer that was set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerId {
    cpu: CpuId,
    key: TimerKey,
}

/// Calls `target` at `deadline`, on any CPU.
pub fn set_timer(deadline: Nanos, target: Arc<dyn TimerTarget>) -> TimerId {
    set(deadline, Due::Call(target))
}

/// Unparks `thread` at `deadline`.
pub(super) fn set_wake_up(deadline: Nanos, thread: Arc<Thread>) -> TimerId {
    set(deadline, Due::WakeUp(thread))
}

fn set(deadline: Nanos, what: Due) -> TimerId {
    let key = timers().get().queue.lock().set(deadline, what);
    arm(deadline);
    TimerId {
        cpu: cpu::current(),
        key,
    }
}

/// Cancels a timer; when it returns `false` the target was called or is being called.
pub fn cancel_timer(id: TimerId) -> bool {
    let cancelled = timers().of(id.cpu).queue.lock().cancel(id.key);
    // What it was for is dropped here, without the lock.
    cancelled.is_some()
}

/// Makes an interrupt arrive on this CPU at `deadline` at the latest.
pub(super) fn arm(deadline: Nanos) {
    let mut armed = timers().get().armed.lock();
    if armed.is_none_or(|at| deadline < at) {
        *armed = Some(deadline);
        time::set_timer(Some(deadline));
    }
}

/// Does what is due on this CPU, and arms the hardware for what comes next, unless it is armed: not every interrupt is the
/// timer's, and arming it is slow in a virtual machine.
pub(super) fn expire() {
    let own = timers().get();
    let now = time::now();
    loop {
        let due = own.queue.lock().pop_due(now);
        match due {
            Some((_, Due::WakeUp(thread))) => sched::unpark(&thread),
            Some((_, Due::Call(target))) => target.expired(now),
            None => break,
        }
    }
    if time::take_timer_fired() {
        *own.armed.lock() = None;
    }
    let next = own.queue.lock().next_deadline();
    if let Some(deadline) = next {
        arm(deadline);
    }
}
