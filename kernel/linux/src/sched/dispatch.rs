//! Each CPU's dispatcher: takes threads from the queues, runs them, sees them off, idles.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use tyn_abi::Nanos;
use tyn_hal::task::{self, Task};
use tyn_hal::{cpu, time};
use tyn_sched::park::{Handover, ParkState};
use tyn_sched::placement;
use tyn_sched::run_queue::{Budget, Lane, Stay};

use super::{Cpu, Leave, NOWHERE, cpus, enqueue, here, online, send_kicks, timers};
use crate::thread::Thread;

/// Runs a CPU for ever: dispatches threads, idles. Called by each CPU at the end of its start.
pub fn run_cpu() -> ! {
    let cpu = cpus().get();
    let own = cpu.dispatcher.set(Task::adopt_current());
    loop {
        send_kicks(cpu);
        match next_thread() {
            Some((thread, lane)) => dispatch(cpu, own, thread, lane),
            None => idle(cpu, own),
        }
    }
}

/// Takes the thread that this CPU runs next, from its own queue or from another's.
fn next_thread() -> Option<(Arc<Thread>, Lane)> {
    let here = here();
    if let Some(next) = Cpu::of(here).take(here) {
        return Some(next);
    }
    let queued = |c| Cpu::of(c).queued.load(Ordering::SeqCst);
    let victim = placement::victim(online(), here, queued)?;
    if let Some(next) = Cpu::of(victim).take(here) {
        return Some(next);
    }
    // The longest queue may hold only threads that may not run here.
    online().iter().find_map(|c| Cpu::of(c).take(here))
}

/// Announces that this CPU is idle, looks again, and halts until an interrupt.
fn idle(cpu: &Cpu, own: &Task) {
    cpu.is_idle.store(true, Ordering::SeqCst);
    if let Some((thread, lane)) = next_thread() {
        cpu.is_idle.store(false, Ordering::SeqCst);
        dispatch(cpu, own, thread, lane);
        return;
    }
    cpu::wait_for_interrupt();
    cpu.is_idle.store(false, Ordering::SeqCst);
    timers::expire();
}

/// Runs `thread` on this CPU until it leaves, and sees it off.
fn dispatch(cpu: &Cpu, own: &Task, thread: Arc<Thread>, lane: Lane) {
    let here = here();
    let stay = Stay {
        since: time::now(),
        budget: Budget(Nanos(thread.run.budget.load(Ordering::Relaxed))),
        lane,
    };
    {
        let mut local = cpu.local.lock();
        local.current = Some(Arc::clone(&thread));
        local.stay = stay;
        local.charged = stay.since;
    }
    thread.run.last_cpu.store(here.0, Ordering::Relaxed);
    thread.run.on_cpu.store(here.0, Ordering::SeqCst);
    let mm = Arc::clone(&thread.process().mm.lock());
    mm.activate();
    drop(mm);
    task::switch(own, thread.task());
    while cpu.local.lock().leave == Leave::Interrupts {
        cpu::take_interrupts();
        task::switch(own, thread.task());
    }
    thread.run.on_cpu.store(NOWHERE, Ordering::SeqCst);
    let now = time::now();
    charge(cpu, &thread, now);
    let (handle, leave) = {
        let mut local = cpu.local.lock();
        (local.current.take(), local.leave)
    };
    drop(handle);
    see_off(thread, leave, stay, now);
}

/// Charges a thread and its process for the time since it was charged last.
fn charge(cpu: &Cpu, thread: &Thread, now: Nanos) {
    let time = {
        let mut local = cpu.local.lock();
        let time = now - local.charged;
        local.charged = now;
        time
    };
    thread.run.times.charge(time);
    thread.process().times.charge(time);
}

/// Charges the current thread up to now, so that [`CpuTimes::used`] is exact for it.
pub fn charge_current(current: &Arc<Thread>) {
    charge(cpus().get(), current, time::now());
}

/// Charges all threads that run, so that [`CpuTimes::used`](super::CpuTimes::used) is exact for every process.
pub fn charge_running() {
    let now = time::now();
    for index in online().iter() {
        let running = {
            let mut local = Cpu::of(index).local.lock();
            let time = now - local.charged;
            // A CPU may have charged its thread since `now`.
            local.charged = local.charged.max(now);
            local.current.clone().map(|thread| (thread, time))
        };
        if let Some((thread, time)) = running {
            thread.run.times.charge(time);
            thread.process().times.charge(time);
        }
    }
}

/// Completes a thread's departure.
fn see_off(thread: Arc<Thread>, leave: Leave, stay: Stay, now: Nanos) {
    let is_voluntary = leave == Leave::Park;
    thread.run.times.count_switch(is_voluntary);
    thread.process().times.count_switch(is_voluntary);
    let (budget, lane) = match leave {
        Leave::Park => stay.parked(now),
        Leave::Preempt => stay.preempted(now),
        Leave::Yield => (Budget::default(), Lane::Turn),
        Leave::Interrupts | Leave::Exit => return,
    };
    thread.run.budget.store(budget.0.0, Ordering::Relaxed);
    if leave == Leave::Park {
        let to_turn = lane == Lane::Turn;
        thread.run.wakes_to_turn.store(to_turn, Ordering::Relaxed);
        if thread.run.transition(ParkState::finish_park) == Handover::None {
            return;
        }
    }
    enqueue(thread, lane);
}
