//! Several CPUs: jobs, kicks, locks.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use tyn_hal::cpu::{self, CpuId, PerCpu};
use tyn_hal::selftest::Program;
use tyn_hal::sync::{Once, SpinLock};
use tyn_hal::task::UserState;
use tyn_hal::trap::Trap;

use crate::check::{Outcome, ensure, same};
use crate::cpus::{self, Thread};
use crate::space::{self, Space};

/// Each CPU runs its own job, knows its index and has an APIC id of its own.
pub(super) fn every_cpu_serves() -> Outcome {
    let seen: Arc<PerCpu<AtomicU32>> = Arc::new(PerCpu::new(|_| AtomicU32::new(u32::MAX)));
    let out = Arc::clone(&seen);
    cpus::everywhere(move |id| out.of(id).store(cpu::current().0, Ordering::SeqCst));
    for id in cpus::ids() {
        same("index of a CPU", seen.of(id).load(Ordering::SeqCst), id.0)?;
    }
    let mut apic_ids: Vec<u32> = cpus::ids().map(|id| cpu::identity(id).apic_id).collect();
    apic_ids.sort_unstable();
    apic_ids.dedup();
    same("distinct APIC ids", apic_ids.len(), cpu::count())
}

/// A halted CPU takes a job, however the kick falls around its `hlt`.
pub(super) fn kick_ends_halt() -> Outcome {
    let turns = Arc::new(AtomicU32::new(0));
    for id in cpus::others() {
        for turn in 1..=200 {
            let out = Arc::clone(&turns);
            turns.store(0, Ordering::SeqCst);
            cpus::on(id, move || out.store(turn, Ordering::SeqCst));
            cpus::wait_until(|| turns.load(Ordering::SeqCst) == turn);
        }
    }
    Ok(())
}

/// A CPU in ring 3 leaves it on a kick.
pub(super) fn kick_ends_ring3() -> Outcome {
    let space = Space::new()?;
    for id in cpus::others() {
        let left = Arc::new(AtomicU32::new(0));
        let (out, space) = (Arc::clone(&left), Arc::clone(&space));
        let thread = Thread::spawn(id, UserState::Yes, move |_| {
            space.activate();
            let mut context = space::start(Program::Spin);
            while out.load(Ordering::SeqCst) < 10 {
                if context.run() == Trap::Interrupt {
                    out.fetch_add(1, Ordering::SeqCst);
                }
            }
        })?;
        // Also when the kick comes before the thread is in ring 3, or between two stays there.
        while Arc::strong_count(&thread) > 1 {
            cpu::kick(id);
            (0..300).for_each(|_| cpu::relax());
        }
    }
    Ok(())
}

/// Increments under a lock are not lost.
pub(super) fn spinlock_excludes() -> Outcome {
    const TIMES: u64 = 3000;
    let sum = Arc::new(SpinLock::new(0u64));
    let out = Arc::clone(&sum);
    cpus::everywhere(move |_| {
        for i in 0..TIMES {
            if i % 3 == 0 {
                // The other way in; when it is taken, by the front door.
                if let Some(mut guard) = out.try_lock() {
                    *guard += 1;
                    continue;
                }
            }
            *out.lock() += 1;
        }
    });
    same("sum", *sum.lock(), TIMES * cpu::count() as u64)
}

/// Whoever sees that a cell is set sees its value.
pub(super) fn once_publishes() -> Outcome {
    let cells: Arc<Vec<Once<[u64; 8]>>> = Arc::new((0..24).map(|_| Once::new()).collect());
    let wrong = Arc::new(AtomicU32::new(0));
    let (all, bad) = (Arc::clone(&cells), Arc::clone(&wrong));
    cpus::everywhere(move |id| {
        for (i, cell) in all.iter().enumerate() {
            if i % cpu::count() == id.0 as usize {
                cell.set([i as u64; 8]);
            }
            let value = loop {
                if let Some(value) = cell.get() {
                    break value;
                }
                cpu::relax();
            };
            if value.iter().any(|&v| v != i as u64) {
                bad.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    same("torn values", wrong.load(Ordering::SeqCst), 0)
}

/// Everybody kicks everybody, in ring 3 and out of it, and all of it ends.
pub(super) fn interrupts_storm() -> Outcome {
    let space = Space::new()?;
    let stop = Arc::new(AtomicBool::new(false));
    let rounds = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    for id in cpus::ids() {
        let (space, stop, rounds) = (Arc::clone(&space), Arc::clone(&stop), Arc::clone(&rounds));
        threads.push(Thread::spawn(id, UserState::Yes, move |_| {
            space.activate();
            let mut context = space::start(Program::Syscall);
            while !stop.load(Ordering::SeqCst) {
                context.run();
                cpus::ids().for_each(cpu::kick);
                if rounds.fetch_add(1, Ordering::SeqCst) > 4000 {
                    stop.store(true, Ordering::SeqCst);
                }
            }
        })?);
    }
    cpus::join(threads);
    ensure!(cpu::current() == CpuId(0), "the first CPU is another one");
    Ok(())
}
