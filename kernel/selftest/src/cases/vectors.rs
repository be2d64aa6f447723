//! Vector registers: every task has its own, whatever happens between two of its instructions.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use tyn_abi::{Nanos, UserVa};
use tyn_hal::cpu::{self, CpuId};
use tyn_hal::mem::Frame;
use tyn_hal::selftest::{DATA, Program};
use tyn_hal::sync::SpinLock;
use tyn_hal::task::{Task, UserState};
use tyn_hal::time;
use tyn_hal::trap::{Trap, UserContext};

use super::tasks::some_cpu;
use crate::check::{Arbitrary, Outcome, ensure, need, same};
use crate::cpus::{self, Thread, in_thread};
use crate::space::{self, READ_WRITE, Space};

/// The page that the program reads in each round.
const TOUCHED: u64 = 0x60_0000;
const AVX: u64 = 4;

/// Makes the context of the pattern keeper with `seed`.
fn keeper(seed: u64) -> Box<UserContext> {
    let mut context = space::start(Program::Vectors);
    context.regs.rdi = seed;
    context.regs.rdx = u64::from(cpu::extended_components() & AVX != 0);
    context.regs.r8 = DATA;
    context.regs.r12 = TOUCHED;
    context.regs.r13 = 100;
    context
}

/// Runs the program for `rounds` rounds; `between` is called after each trap.
fn keep(
    space: &Space,
    context: &mut UserContext,
    rounds: u64,
    mut between: impl FnMut(),
) -> Outcome {
    while context.regs.rbp < rounds {
        space.activate();
        let trap = context.run();
        match trap {
            Trap::Syscall => ensure!(
                context.regs.rax == 0,
                "damaged: word {} in round {}",
                context.regs.rbx,
                context.regs.rbp
            ),
            Trap::Interrupt => {}
            Trap::PageFault { addr, .. } if addr == UserVa(TOUCHED) => {
                space.add(TOUCHED, READ_WRITE)?;
            }
            other => return Err(alloc::format!("{other:x?} at {:#x}", context.regs.rip)),
        }
        between();
    }
    Ok(())
}

/// System calls, page faults and timer interrupts.
pub(super) fn kernel_entries_keep_vectors() -> Outcome {
    let space = Space::new()?;
    in_thread(CpuId(0), move |_| {
        let mut context = keeper(1);
        context.regs.r13 = 2000;
        let mut arbitrary = Arbitrary::new(1);
        let other = Arc::clone(&space);
        keep(&space, &mut context, 300, move || {
            if arbitrary.below(4) == 0 {
                other.remove(TOUCHED, 1);
            }
            let delay = 10_000 + arbitrary.below(100_000);
            time::set_timer(Some(Nanos(time::now().0 + delay)));
        })
    })?
}

/// Many tasks with different patterns, mixed over all CPUs.
pub(super) fn switches_keep_vectors() -> Outcome {
    let failed = Arc::new(SpinLock::new(None::<String>));
    let mut threads = Vec::new();
    for seed in 1..=(3 * cpu::count() as u64) {
        let space = Space::new()?;
        let failed = Arc::clone(&failed);
        let cpu = CpuId(seed as u32 % cpu::count() as u32);
        threads.push(Thread::spawn(cpu, UserState::Yes, move |me| {
            let mut arbitrary = Arbitrary::new(seed);
            let mut context = keeper(seed);
            let result = keep(&space, &mut context, 40, || {
                time::set_timer(Some(Nanos(time::now().0 + 50_000)));
                Thread::migrate(me, some_cpu(&mut arbitrary));
            });
            if let Err(why) = result {
                *failed.lock() = Some(why);
            }
        })?);
    }
    cpus::join(threads);
    let why = failed.lock().take();
    why.map_or(Ok(()), Err)
}

/// A forked task starts with its parent's registers, and they are two from then on.
pub(super) fn fork_copies_vectors() -> Outcome {
    let (mine, theirs) = (Space::new()?, Space::bare()?);
    let frame = need("frame", Frame::zeroed())?;
    need(
        "map",
        theirs.table().map(UserVa(DATA), frame.clone(), READ_WRITE),
    )?;
    let outcome = Arc::new(SpinLock::new(None::<Outcome>));
    let out = Arc::clone(&outcome);
    in_thread(CpuId(0), move |me| -> Outcome {
        let mut context = keeper(5);
        keep(&mine, &mut context, 3, || {})?;
        // The program's scratch page is what a fork would copy.
        let mut page = vec![0; 4096];
        need("copy", tyn_hal::user::copy_from(&mut page, UserVa(DATA)))?;
        frame.write(0, &page);
        let mut forked = context.clone();
        let child = Thread::new(UserState::Yes, move |_| {
            *out.lock() = Some(keep(&theirs, &mut forked, 10, || {}));
        })?;
        child.task().inherit_user_state(me.task());
        Thread::resume(&child, CpuId(cpu::count() as u32 - 1));
        // A pattern of its own from now on, so that the child would notice any sharing.
        let mut other = keeper(6);
        keep(&mine, &mut other, 10, || Thread::migrate(me, CpuId(0)))
    })??;
    cpus::wait_until(|| outcome.lock().is_some());
    let result = outcome.lock().take();
    result.unwrap_or(Ok(()))
}

/// An MXCSR in an image may have the bits that the CPU has, by the mask behind it (0 stands for 0xffbf), and no other.
fn mxcsr_is_taken_bit_by_bit(task: &Task, image: &[u8]) -> Outcome {
    const MXCSR: usize = 24;
    let mask = u32::from_le_bytes(need("mask", image[MXCSR + 4..MXCSR + 8].try_into())?);
    let mask = if mask == 0 { 0xffbf } else { mask };
    for bit in 0..32 {
        let mut changed = image.to_vec();
        changed[MXCSR + bit / 8] |= 1 << (bit % 8);
        let is_taken = task.load_extended(&changed);
        same(
            &alloc::format!("MXCSR with bit {bit}"),
            is_taken,
            mask >> bit & 1 != 0,
        )?;
    }
    Ok(())
}

/// The image in a signal frame holds all registers, and damaged images are refused.
pub(super) fn signal_frames_hold_vectors() -> Outcome {
    const HEADER: usize = 512;
    let space = Space::new()?;
    in_thread(CpuId(0), move |me| -> Outcome {
        let task: &Task = me.task();
        let mut context = keeper(9);
        keep(&space, &mut context, 2, || {})?;
        let mut image = vec![0; cpu::user_features().xsave_bytes];
        task.save_extended(&mut image);
        // A "handler" with registers of its own.
        let scratch = need("frame", Frame::zeroed())?;
        let mut handler = keeper(10);
        let elsewhere = Space::bare()?;
        need(
            "map",
            elsewhere.table().map(UserVa(DATA), scratch, READ_WRITE),
        )?;
        keep(&elsewhere, &mut handler, 2, || {})?;

        let has_xsave = cpu::extended_components() != 0;
        let damages = [(HEADER + 7, 0x80), (HEADER + 15, 0x80), (HEADER + 40, 1)];
        for (at, bits) in damages.into_iter().filter(|_| has_xsave) {
            let mut damaged = image.clone();
            damaged[at] |= bits;
            ensure!(
                !task.load_extended(&damaged),
                "an image with bits {bits:#x} at {at} was taken"
            );
        }
        mxcsr_is_taken_bit_by_bit(task, &image)?;
        ensure!(
            !task.load_extended(&image[..511]),
            "a truncated image was taken"
        );
        ensure!(
            task.load_extended(&image),
            "the image of a signal frame was refused"
        );
        keep(&space, &mut context, 4, || {})?;
        // execve(2) starts from the initial state.
        task.reset_user_state();
        task.save_extended(&mut image);
        same("x87 control word", [image[0], image[1]], [0x7f, 0x03])?;
        ensure!(
            image[32..416].iter().all(|&b| b == 0),
            "registers of the old program are left"
        );
        Ok(())
    })?
}
