//! Which thread runs where and when: run queues, parking, timers, the idle loop.

use alloc::sync::Arc;

use tyn_abi::Nanos;

use crate::thread::Thread;

/// Scheduling state of a thread.
#[derive(Debug)]
pub struct RunState;

/// Suspends the current thread until [`unpark`] or the deadline; returns at once if an unpark came since the last park
/// (a token). May return spuriously. The caller holds no lock.
pub fn park(current: &Arc<Thread>, deadline: Option<Nanos>) {
    let _ = (current, deadline);
    unimplemented!()
}

/// Makes `thread` runnable if it is parked, else leaves it a token. Callable with locks held, and from interrupt handlers.
pub fn unpark(thread: &Arc<Thread>) {
    let _ = thread;
    unimplemented!()
}

/// Returns the thread that runs on this CPU; `None` while it idles or starts (the page-fault handler of user copies asks).
#[must_use]
pub fn current() -> Option<Arc<Thread>> {
    unimplemented!()
}

/// Makes `thread` notice soon what was posted to it (a signal, [`Thread::kill`]): unparks it, and if it is in ring 3 on
/// another CPU makes it leave.
pub fn interrupt(thread: &Arc<Thread>) {
    let _ = thread;
    unimplemented!()
}

/// Lets other runnable threads of this CPU run first (`sched_yield(2)`).
pub fn yield_now(current: &Arc<Thread>) {
    let _ = current;
    unimplemented!()
}

/// Makes a new thread runnable for the first time.
pub fn start(thread: Arc<Thread>) {
    let _ = thread;
    unimplemented!()
}

/// Ends the current thread: switches away for ever; the last handle is dropped on another stack.
pub fn exit_current(current: Arc<Thread>) -> ! {
    let _ = current;
    unimplemented!()
}

/// Runs a CPU for ever: schedules threads, idles. Called by each CPU at the end of its start.
pub fn run_cpu() -> ! {
    unimplemented!()
}

/// Something that happens at a point in time: a timerfd, the network's next deadline.
pub trait TimerTarget: Send + Sync {
    /// Called once, in interrupt context (no blocking, spinlocks allowed), at or after the deadline.
    fn expired(self: Arc<Self>, now: Nanos);
}

/// A timer that was set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerId(pub u64);

/// Calls `target` at `deadline`, on any CPU.
pub fn set_timer(deadline: Nanos, target: Arc<dyn TimerTarget>) -> TimerId {
    let _ = (deadline, target);
    unimplemented!()
}

/// Cancels a timer; when it returns `false` the target was called or is being called.
pub fn cancel_timer(id: TimerId) -> bool {
    let _ = id;
    unimplemented!()
}
