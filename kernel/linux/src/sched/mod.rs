//! Which thread runs where and when: run queues, parking, preemption, the idle loop.
//!
//! The decisions are `tyn_sched`'s; this file applies them. Each CPU has a dispatcher, its boot stack, which runs
//! [`run_cpu`]: it takes a thread from a queue, switches to it, and gets the CPU back when the thread parks, yields, is
//! preempted or ends. Threads never switch to each other, so it is always the dispatcher that completes a departure, on
//! a stack of its own: a thread is on a queue only when its context is saved, and the last handle on an ended thread is
//! dropped elsewhere than on its own stack.
//!
//! ```text
//!  dispatcher of CPU 0          thread A                    CPU 1
//!  take A from queue
//!  switch --------------------> runs, parks: Parking
//!                               switch to dispatcher        unpark(A): Woken
//!  finish_park(A): Enqueue <----'
//!  place(A): CPU 1 idle, claim it, push, kick ------------> dispatcher takes A
//! ```
//! # Ordering
//! | pair | why nothing is lost |
//! |---|---|
//! | unpark / park | one compare-and-swap each on [`RunState`]; see `tyn_sched::park` |
//! | enqueue / going idle | the idle CPU sets `is_idle`, then looks at all queues; the other pushes, then looks for `is_idle` (both SeqCst) |
//! | kick / halt | a kick that comes after the look stays pending and ends the halt (`hal::cpu::wait_for_interrupt`); every path to ring 3, to a halt and to another thread sends the kicks that are due first |
//! | post and interrupt / going to ring 3 | the poster publishes, then reads `on_cpu`; the thread got `on_cpu` set, then looks for posts (both SeqCst); a kick that comes after the look is taken in ring 3 |
//!
//! Lock order: anything, then a run queue or a timer queue; these two are leaves. No lock is held across a switch.

mod dispatch;
mod state;
mod timers;
mod times;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

use tyn_abi::Nanos;
use tyn_hal::cpu::{self, CpuId, PerCpu};
use tyn_hal::sync::{Once, SpinLock};
use tyn_hal::task::{self, Task};
use tyn_hal::time;
use tyn_sched::park::{BeginPark, Handover, ParkState};
use tyn_sched::placement::{self, Load};
use tyn_sched::run_queue::{Budget, Lane, RunQueue, Runnable, Stay};
use tyn_sched::{CpuIndex, CpuSet};

use crate::thread::Thread;

pub use dispatch::{charge_current, charge_running, run_cpu};
pub use state::RunState;
pub use timers::{TimerId, TimerTarget, cancel_timer, set_timer};
pub use times::CpuTimes;

/// No CPU.
const NOWHERE: u32 = u32::MAX;

/// A thread on a run queue.
#[derive(Debug)]
struct Queued(Arc<Thread>);

impl Runnable for Queued {
    fn affinity(&self) -> CpuSet {
        self.0.run.affinity()
    }
}

/// Why a thread gives its CPU back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leave {
    Park,
    Yield,
    Preempt,
    /// For the interrupts that are pending, to be back at once.
    Interrupts,
    Exit,
}

/// What only the CPU itself looks at.
#[derive(Debug)]
struct Local {
    /// The thread that runs.
    current: Option<Arc<Thread>>,
    /// Since when, and how long it may.
    stay: Stay,
    /// Until when its CPU time has been charged to it.
    charged: Nanos,
    /// Why it left; set just before it switches to the dispatcher.
    leave: Leave,
}

#[derive(Debug)]
struct Cpu {
    queue: SpinLock<RunQueue<Queued>>,
    /// Length of `queue`, to look at without the lock.
    queued: AtomicUsize,
    /// The CPU runs nothing, and nobody has claimed it.
    is_idle: AtomicBool,
    /// CPUs that this CPU has made look at something and is to kick before it goes on in ring 3, idles or switches: bit N is
    /// CPU N. Only the CPU itself uses it.
    kicks: AtomicU64,
    local: SpinLock<Local>,
    dispatcher: Once<Task>,
}

static CPUS: Once<PerCpu<Cpu>> = Once::new();

/// Makes the queues; called once, before the first thread and before the other CPUs are released.
pub fn init() {
    timers::init();
    CPUS.set(PerCpu::new(|_| Cpu {
        queue: SpinLock::new(RunQueue::new()),
        queued: AtomicUsize::new(0),
        is_idle: AtomicBool::new(false),
        kicks: AtomicU64::new(0),
        local: SpinLock::new(Local {
            current: None,
            stay: Stay {
                since: Nanos::ZERO,
                budget: Budget::default(),
                lane: Lane::Woken,
            },
            charged: Nanos::ZERO,
            leave: Leave::Park,
        }),
        dispatcher: Once::new(),
    }));
}

fn cpus() -> &'static PerCpu<Cpu> {
    CPUS.get().expect("invariant: sched::init ran")
}

fn here() -> CpuIndex {
    CpuIndex(cpu::current().0)
}

/// Returns how many threads run or wait for a CPU.
#[must_use]
pub fn runnable() -> usize {
    let active = |cpu: &Cpu| {
        let runs = cpu.local.lock().current.is_some();
        cpu.queued.load(Ordering::Relaxed) + usize::from(runs)
    };
    (0..cpu::count() as u32)
        .map(|index| active(Cpu::of(CpuIndex(index))))
        .sum()
}

/// Returns the CPUs there are.
#[must_use]
pub fn online() -> CpuSet {
    CpuSet::first(cpu::count() as u32)
}

impl Cpu {
    fn of(index: CpuIndex) -> &'static Self {
        cpus().of(CpuId(index.0))
    }

    /// Adds a thread; returns whether the CPU must look at its queue again because another lane is served next now. Gives
    /// the thread back when it may not run here any more: [`set_affinity`] stores, then searches the queues under their
    /// locks, so it finds the thread here or we find the new set.
    fn push(&self, own: CpuIndex, thread: Arc<Thread>, lane: Lane) -> Result<bool, Arc<Thread>> {
        let mut queue = self.queue.lock();
        if !thread.run.affinity().contains(own) {
            return Err(thread);
        }
        let before = queue.next_lane();
        queue.push(Queued(thread), lane);
        self.queued.store(queue.len(), Ordering::SeqCst);
        Ok(queue.next_lane() != before)
    }

    /// Takes the first thread that may run on `thief` (the CPU itself, or one that steals).
    fn take(&self, thief: CpuIndex) -> Option<(Arc<Thread>, Lane)> {
        if self.queued.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let mut queue = self.queue.lock();
        let taken = queue.steal(thief);
        self.queued.store(queue.len(), Ordering::SeqCst);
        taken.map(|(t, lane)| (t.0, lane))
    }

    /// Claims the CPU if it is idle; whoever does so gives it work or a kick.
    fn claim(&self) -> bool {
        self.is_idle.load(Ordering::SeqCst) && self.is_idle.swap(false, Ordering::SeqCst)
    }

    fn load(&self) -> Load {
        Load {
            is_idle: self.is_idle.load(Ordering::SeqCst),
            queued: self.queued.load(Ordering::SeqCst),
        }
    }
}

/// Puts a runnable thread on a CPU's queue and makes that CPU look.
fn enqueue(mut thread: Arc<Thread>, lane: Lane) {
    let here = here();
    loop {
        let allowed = thread.run.affinity();
        let target = placement::place(allowed, thread.run.last_cpu(), here, |c| Cpu::of(c).load());
        let cpu = Cpu::of(target);
        let was_idle = cpu.claim();
        let pushed = cpu.push(target, thread, lane);
        let must_look = was_idle || *pushed.as_ref().unwrap_or(&false);
        if must_look {
            kick_later(target);
        }
        match pushed {
            Ok(_) if was_idle => return,
            Ok(_) => return wake_idle(allowed, target),
            Err(back) => thread = back,
        }
    }
}

/// Kicks a CPU that went idle since, having looked at the queue of `target` too early.
fn wake_idle(allowed: CpuSet, target: CpuIndex) {
    let idle = allowed.iter().find(|&c| c != target && Cpu::of(c).claim());
    if let Some(idle) = idle {
        kick_later(idle);
    }
}

/// Kicks a CPU soon. Wake-ups happen under the locks of objects and wait queues, which the woken thread is going to take: a
/// CPU that is kicked at once would only wait for them, all the longer as sending the interrupt is slow in a virtual
/// machine. Several kicks of one CPU become one.
fn kick_later(target: CpuIndex) {
    let cpu = cpus().get();
    let kicks = cpu.kicks.load(Ordering::Relaxed);
    cpu.kicks.store(kicks | 1 << target.0, Ordering::Relaxed);
}

/// Sends the kicks that are due.
fn send_kicks(cpu: &Cpu) {
    let kicks = CpuSet(cpu.kicks.load(Ordering::Relaxed));
    if kicks.is_empty() {
        return;
    }
    cpu.kicks.store(0, Ordering::Relaxed);
    let here = here();
    for target in kicks.iter().filter(|&c| c != here) {
        cpu::kick(CpuId(target.0));
    }
}

/// Suspends the current thread until [`unpark`] or the deadline; returns at once if an unpark came since the last park
/// (a token). May return spuriously. The caller holds no lock.
pub fn park(current: &Arc<Thread>, deadline: Option<Nanos>) {
    if deadline.is_some_and(|d| time::now() >= d) {
        return;
    }
    let timer = deadline.map(|d| timers::set_wake_up(d, Arc::clone(current)));
    if current.run.transition(ParkState::begin_park) == BeginPark::Leave {
        leave_cpu(current, Leave::Park);
    }
    if let Some(timer) = timer {
        cancel_timer(timer);
    }
}

/// Makes `thread` runnable if it is parked, else leaves it a token. Callable with locks held, and from interrupt handlers.
pub fn unpark(thread: &Arc<Thread>) {
    if thread.run.transition(ParkState::unpark) == Handover::Enqueue {
        let lane = wake_lane(thread);
        enqueue(Arc::clone(thread), lane);
    }
}

fn wake_lane(thread: &Thread) -> Lane {
    if thread.run.wakes_to_turn.load(Ordering::Relaxed) {
        Lane::Turn
    } else {
        Lane::Woken
    }
}

/// Returns the thread that runs on this CPU; `None` while it idles or starts (the page-fault handler of user copies asks).
#[must_use]
pub fn current() -> Option<Arc<Thread>> {
    cpus().get().local.lock().current.clone()
}

/// Makes `thread` notice soon what was posted to it (a signal, [`Thread::kill`]): unparks it, and if it is in ring 3 on
/// another CPU makes it leave.
pub fn interrupt(thread: &Arc<Thread>) {
    unpark(thread);
    fence(Ordering::SeqCst);
    let cpu = thread.run.on_cpu.load(Ordering::SeqCst);
    if cpu != NOWHERE {
        kick_later(CpuIndex(cpu));
    }
}

/// Lets other runnable threads of this CPU run first (`sched_yield(2)`). Costs one load when there are none.
pub fn yield_now(current: &Arc<Thread>) {
    if cpus().get().queued.load(Ordering::Relaxed) != 0 {
        leave_cpu(current, Leave::Yield);
    }
}

/// A preemption point of a long system call: does what is due on this CPU, and lets others run if the caller's time is over.
/// The caller holds no lock.
pub fn pause_point(current: &Arc<Thread>) {
    // Their handlers may need much stack: not on top of a system call's.
    leave_cpu(current, Leave::Interrupts);
    timers::expire();
    while reschedule_if_due(current) {}
}

/// Makes a new thread runnable for the first time.
pub fn start(thread: Arc<Thread>) {
    enqueue(thread, Lane::Woken);
}

/// Changes which CPUs a thread may run on; it moves at once. `affinity` names at least one CPU that there is.
pub fn set_affinity(thread: &Arc<Thread>, affinity: CpuSet) {
    thread.run.affinity.store(affinity.0, Ordering::SeqCst);
    // Where it waits, its CPU may not take it any more: have it queued again elsewhere.
    for index in online().iter().filter(|&c| !affinity.contains(c)) {
        let found = {
            let cpu = Cpu::of(index);
            let mut queue = cpu.queue.lock();
            let found = queue.remove(|t| Arc::ptr_eq(&t.0, thread));
            cpu.queued.store(queue.len(), Ordering::SeqCst);
            found
        };
        if let Some((Queued(thread), lane)) = found {
            enqueue(thread, lane);
        }
    }
    fence(Ordering::SeqCst);
    let on_cpu = thread.run.on_cpu.load(Ordering::SeqCst);
    if on_cpu != NOWHERE {
        kick_later(CpuIndex(on_cpu));
    }
}

/// Ends the current thread: switches away for ever; the last handle is dropped on another stack.
pub fn exit_current(current: Arc<Thread>) -> ! {
    drop(current);
    let cpu = cpus().get();
    cpu.local.lock().leave = Leave::Exit;
    task::finish(dispatcher(cpu))
}

fn dispatcher(cpu: &Cpu) -> &Task {
    cpu.dispatcher
        .get()
        .expect("invariant: a thread runs on a CPU that runs run_cpu")
}

/// Switches to the dispatcher of this CPU; returns when the thread is dispatched again, perhaps on another CPU.
fn leave_cpu(current: &Arc<Thread>, leave: Leave) {
    let cpu = cpus().get();
    cpu.local.lock().leave = leave;
    task::switch(current.task(), dispatcher(cpu));
}

/// Handles what an interrupt of ring 3 or of the idle loop may have been for: timers that are due.
pub fn on_interrupt() {
    timers::expire();
}

/// Gives the CPU to another thread if the current one's time is over, and returns `true` when it is back; else makes sure
/// that a timer ends its time. To be called again until it returns `false` just before each return to ring 3.
#[must_use]
#[inline]
pub fn reschedule_if_due(current: &Arc<Thread>) -> bool {
    let here = here();
    let cpu = Cpu::of(here);
    let kicks = cpu.kicks.load(Ordering::Relaxed);
    let queued = cpu.queued.load(Ordering::SeqCst) as u64;
    // All CPUs that there are count here: this one is among them.
    if kicks | queued == 0 && current.run.allows(here) {
        return false;
    }
    reschedule(current, cpu)
}

/// The less usual part of [`reschedule_if_due`].
fn reschedule(current: &Arc<Thread>, cpu: &Cpu) -> bool {
    send_kicks(cpu);
    let may_stay = current.run.allows(here());
    if may_stay && cpu.queued.load(Ordering::SeqCst) == 0 {
        return false;
    }
    if may_stay {
        let waiting = cpu.queue.lock().next_lane();
        let Some(end) = cpu.local.lock().stay.ends_at(waiting) else {
            return false;
        };
        if time::now() < end {
            timers::arm(end);
            return false;
        }
    }
    leave_cpu(current, Leave::Preempt);
    true
}
