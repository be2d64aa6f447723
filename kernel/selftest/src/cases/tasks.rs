//! Tasks: their stacks, their moves between CPUs, their end.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering};

use tyn_hal::cpu::{self, CpuId};
use tyn_hal::mem;
use tyn_hal::selftest::Program;
use tyn_hal::task::UserState;
use tyn_hal::trap::Trap;

use crate::check::{Arbitrary, Outcome, ensure, same};
use crate::cpus::{self, Thread};
use crate::space::{self, Space};

/// Returns some CPU.
pub(super) fn some_cpu(arbitrary: &mut Arbitrary) -> CpuId {
    CpuId(arbitrary.below(cpu::count() as u64) as u32)
}

/// What a task keeps on its stack and in registers is there after each move, also when the CPU it goes to takes it up while
/// it is still leaving the old one.
pub(super) fn tasks_keep_their_stacks() -> Outcome {
    const MOVES: u64 = 100;
    let wrong = Arc::new(AtomicU32::new(0));
    let mut threads = Vec::new();
    for seed in 0..24 {
        let wrong = Arc::clone(&wrong);
        let cpu = CpuId(seed as u32 % cpu::count() as u32);
        threads.push(Thread::spawn(cpu, UserState::No, move |me| {
            let mut arbitrary = Arbitrary::new(seed);
            let mut sum = seed;
            // Most of the stack, down to near the guard page.
            let mut words = [seed; 2048];
            for turn in 0..MOVES {
                Thread::migrate(me, some_cpu(&mut arbitrary));
                let slot = &mut words[(turn as usize * 97) % 2048];
                *slot += 1;
                sum += 1;
                black_box(&mut words);
            }
            let found: u64 = words.iter().map(|w| w - seed).sum();
            if found != MOVES || sum != seed + MOVES {
                wrong.fetch_add(1, Ordering::SeqCst);
            }
        })?);
    }
    cpus::join(threads);
    same("tasks with damage", wrong.load(Ordering::SeqCst), 0)
}

/// Ended tasks give everything back, wherever they end.
pub(super) fn tasks_leave_nothing_behind() -> Outcome {
    let round = |count: u64| -> Outcome {
        let mut threads = Vec::new();
        for seed in 0..count {
            threads.push(Thread::spawn(CpuId(0), UserState::Yes, move |me| {
                let mut arbitrary = Arbitrary::new(seed);
                for _ in 0..3 {
                    Thread::migrate(me, some_cpu(&mut arbitrary));
                }
            })?);
        }
        cpus::join(threads);
        Ok(())
    };
    // The first rounds fill the pools.
    round(16)?;
    round(16)?;
    let before = mem::stats().free;
    for _ in 0..20 {
        round(16)?;
    }
    let after = mem::stats().free;
    ensure!(
        after + 8 >= before,
        "{} frames are missing after 320 tasks",
        before - after
    );
    Ok(())
}

/// After a peak of tasks most of their stacks' frames are free again, and what the next peak keeps on its stacks is there on
/// every CPU, though these have had other frames before.
pub(super) fn stacks_are_given_back_after_a_peak() -> Outcome {
    const TASKS: u64 = 300;
    // What is kept for later, page tables, heap.
    const SLACK: u64 = 64 * 8 + 64;
    let wrong = Arc::new(AtomicU32::new(0));
    let mut most_free = 0;
    for peak in 0..4 {
        let before = mem::stats().free;
        most_free = most_free.max(before);
        ensure!(
            before + SLACK >= most_free,
            "{} frames are missing after {peak} peaks",
            most_free - before
        );
        let mut threads = Vec::new();
        for seed in 0..TASKS {
            let wrong = Arc::clone(&wrong);
            threads.push(Thread::new(UserState::No, move |me| {
                let mut arbitrary = Arbitrary::new(seed + peak);
                let words = [seed; 2048];
                for _ in 0..4 {
                    Thread::migrate(me, some_cpu(&mut arbitrary));
                    let damaged = black_box(&words).iter().any(|&word| word != seed);
                    wrong.fetch_add(u32::from(damaged), Ordering::SeqCst);
                }
            })?);
        }
        // Given back in another order than they were taken.
        threads.sort_by_key(|thread| Arc::as_ptr(thread).addr().rotate_right(7) % 61);
        for (i, thread) in threads.iter().enumerate() {
            Thread::resume(thread, CpuId((i % cpu::count()) as u32));
        }
        cpus::join(threads);
    }
    same("damaged stacks", wrong.load(Ordering::SeqCst), 0)
}

/// Segment bases that ring 3 sets itself stay with the task, on whichever CPU.
pub(super) fn bases_follow_the_task() -> Outcome {
    const FSGSBASE: u32 = 1;
    if core::arch::x86_64::__cpuid_count(7, 0).ebx & FSGSBASE == 0 {
        return Ok(());
    }
    let space = Space::new()?;
    let wrong = Arc::new(AtomicU32::new(0));
    let mut threads = Vec::new();
    for seed in 1..=8u64 {
        let (space, wrong) = (Arc::clone(&space), Arc::clone(&wrong));
        threads.push(Thread::spawn(CpuId(0), UserState::Yes, move |me| {
            let mut arbitrary = Arbitrary::new(seed);
            let mut context = space::start(Program::Bases);
            context.regs.rdi = seed << 20;
            context.regs.rsi = seed << 30;
            for turn in 0..60 {
                space.activate();
                let trap = space::run(&mut context);
                let bases = (me.task().fs_base(), me.task().gs_base());
                if trap != Trap::Syscall
                    || context.regs.rax != 0
                    || bases != (context.regs.rdi, context.regs.rsi)
                {
                    wrong.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                if turn == 30 {
                    // The kernel may set them, too (ARCH_SET_FS).
                    context.regs.rdi += 16;
                    context.regs.rsi += 32;
                    me.task().set_fs_base(context.regs.rdi);
                    me.task().set_gs_base(context.regs.rsi);
                }
                Thread::migrate(me, some_cpu(&mut arbitrary));
            }
        })?);
    }
    cpus::join(threads);
    same("tasks with other bases", wrong.load(Ordering::SeqCst), 0)
}
