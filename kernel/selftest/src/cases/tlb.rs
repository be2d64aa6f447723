//! Stale translations: what has been taken from an address space is out of every CPU's reach.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tyn_abi::{PAGE_SIZE, UserVa};
use tyn_hal::cpu::{self, CpuId};
use tyn_hal::mem::{self, Frame};
use tyn_hal::selftest::Program;
use tyn_hal::sync::SpinLock;
use tyn_hal::task::UserState;
use tyn_hal::trap::Trap;
use tyn_hal::user;

use crate::check::{Arbitrary, Outcome, ensure, need, same};
use crate::cpus::{self, Thread};
use crate::space::{self, READ, READ_WRITE, Space};

const PAGE: u64 = PAGE_SIZE as u64;
/// The pages that are taken away.
const VICTIM: u64 = 0x60_0000;
/// Where programs count that they run.
const COUNTERS: u64 = 0x61_0000;
const ROUNDS: u64 = 10;

/// Waits until each CPU but this one has counted on.
fn wait_for_progress(counters: &Frame) {
    let read = |cpu: CpuId| {
        let mut bytes = [0; 8];
        counters.read(8 * cpu.0 as usize, &mut bytes);
        u64::from_le_bytes(bytes)
    };
    let start: Vec<u64> = cpus::ids().map(read).collect();
    for cpu in cpus::others() {
        while read(cpu) == start[cpu.0 as usize] {
            cpu::relax();
        }
    }
}

/// Checks for a while that a frame stays zero.
fn stays_zero(frame: &Frame, round: u64) -> Outcome {
    for _ in 0..200 {
        let mut bytes = [0; 8];
        frame.read(0, &mut bytes);
        ensure!(
            bytes == [0; 8],
            "round {round}: a page was written after it had been taken away"
        );
        cpu::relax();
    }
    Ok(())
}

/// Starts, on every other CPU, a program that writes to `VICTIM` for ever; faults are tried again.
fn hammer(space: &Arc<Space>, stop: &Arc<AtomicBool>) -> Outcome<Vec<Arc<Thread>>> {
    cpus::others()
        .map(|id| {
            let (space, stop) = (Arc::clone(space), Arc::clone(stop));
            Thread::spawn(id, UserState::Yes, move |_| {
                space.activate();
                let mut context = space::start(Program::Hammer);
                context.regs.rdi = VICTIM;
                context.regs.rsi = u64::MAX;
                context.regs.rdx = COUNTERS + 8 * u64::from(id.0);
                while !stop.load(Ordering::SeqCst) {
                    let trap = context.run();
                    assert!(
                        matches!(trap, Trap::Interrupt | Trap::PageFault { .. }),
                        "{trap:?} in a program that only writes"
                    );
                }
            })
        })
        .collect()
}

/// Runs `rounds` of: the others write, `take` takes the page away, and nobody writes any more.
fn take_away(take: impl Fn(&Space)) -> Outcome {
    let space = Space::new()?;
    let counters = space.add(COUNTERS, READ_WRITE)?;
    let stop = Arc::new(AtomicBool::new(false));
    let threads = hammer(&space, &stop)?;
    let mut outcome = Ok(());
    for round in 0..ROUNDS {
        let frame = space.add(VICTIM, READ_WRITE)?;
        wait_for_progress(&counters);
        take(&space);
        frame.write(0, &[0; 8]);
        outcome = stays_zero(&frame, round);
        if outcome.is_err() {
            break;
        }
    }
    stop.store(true, Ordering::SeqCst);
    cpus::others().for_each(cpu::kick);
    cpus::join(threads);
    outcome
}

/// `munmap(2)` while other CPUs write to the page in ring 3.
pub(super) fn unmapped_pages_stay_unwritten() -> Outcome {
    take_away(|space| space.remove(VICTIM, 1))
}

/// `mprotect(2)` while other CPUs write to the page in ring 3.
pub(super) fn restricted_pages_stay_unwritten() -> Outcome {
    take_away(|space| {
        space
            .table()
            .restrict(UserVa(VICTIM), UserVa(VICTIM + PAGE), READ);
    })
}

/// `munmap(2)` while other CPUs copy to the pages in the kernel.
pub(super) fn copies_see_no_stale_page() -> Outcome {
    const PAGES: u64 = 5;
    let space = Space::new()?;
    let stop = Arc::new(AtomicBool::new(false));
    let copies = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    for id in cpus::others() {
        let (space, stop, copies) = (Arc::clone(&space), Arc::clone(&stop), Arc::clone(&copies));
        threads.push(Thread::spawn(id, UserState::Yes, move |_| {
            space.activate();
            let bytes = alloc::vec![0xff; (PAGES * PAGE) as usize];
            while !stop.load(Ordering::SeqCst) {
                if user::copy_to(UserVa(VICTIM), &bytes).is_ok() {
                    copies.fetch_add(1, Ordering::SeqCst);
                }
            }
        })?);
    }
    let frames: Vec<_> = (0..PAGES).map(|_| Frame::zeroed()).collect();
    let mut outcome = Ok(());
    for round in 0..ROUNDS {
        for (i, frame) in frames.iter().enumerate() {
            let frame = frame.clone().map_err(|_| "out of memory")?;
            let va = UserVa(VICTIM + i as u64 * PAGE);
            need("map", space.table().map(va, frame, READ_WRITE))?;
        }
        let before = copies.load(Ordering::SeqCst);
        while cpu::count() > 1 && copies.load(Ordering::SeqCst) == before {
            cpu::relax();
        }
        space.remove(VICTIM, PAGES);
        for frame in frames.iter().flatten() {
            frame.write(0, &[0; 8]);
        }
        outcome = frames
            .iter()
            .flatten()
            .try_for_each(|frame| stays_zero(frame, round));
        if outcome.is_err() {
            break;
        }
    }
    stop.store(true, Ordering::SeqCst);
    cpus::join(threads);
    outcome
}

/// Address spaces die while idle CPUs, or CPUs that let another one die, still have them loaded.
pub(super) fn dead_tables_are_let_go() -> Outcome {
    let round = || -> Outcome {
        let space = Space::new()?;
        let loaded = Arc::clone(&space);
        cpus::everywhere(move |_| loaded.activate());
        drop(space);

        let shelf: Arc<SpinLock<Vec<Arc<Space>>>> = Arc::new(SpinLock::new(Vec::new()));
        let shared = Arc::clone(&shelf);
        cpus::everywhere(move |id| {
            let mut arbitrary = Arbitrary::new(u64::from(id.0) + 1);
            for _ in 0..12 {
                let Ok(space) = Space::new() else { return };
                space.activate();
                shared.lock().push(space);
                let taken = {
                    let mut shelf = shared.lock();
                    let some = arbitrary.below(shelf.len() as u64) as usize;
                    let theirs = arbitrary.below(2) == 0 && !shelf.is_empty();
                    theirs.then(|| shelf.swap_remove(some))
                };
                if let Some(space) = taken {
                    space.activate();
                    drop(space);
                }
            }
        });
        let rest = core::mem::take(&mut *shelf.lock());
        drop(rest);
        Ok(())
    };
    round()?;
    let before = mem::stats().free;
    round()?;
    round()?;
    let after = mem::stats().free;
    ensure!(after + 4 >= before, "{} frames are missing", before - after);
    same("CPU of the cases", cpu::current(), CpuId(0))
}

/// Page tables that `munmap(2)` empties are not reused while another CPU, in the kernel, has them loaded, and are afterwards.
pub(super) fn removed_tables_outlast_their_walkers() -> Outcome {
    const TABLES: u64 = 3;
    let everything = (UserVa(0), UserVa(1 << 39));
    let space = Space::new()?;
    // Nothing of the programs is needed, and their tables are not to be found below.
    space.table().unmap(everything.0, everything.1);
    let stop = Arc::new(AtomicBool::new(false));
    let loaded = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    for id in cpus::others() {
        let (space, stop, loaded) = (Arc::clone(&space), Arc::clone(&stop), Arc::clone(&loaded));
        threads.push(Thread::spawn(id, UserState::Yes, move |_| {
            space.activate();
            loaded.fetch_add(1, Ordering::SeqCst);
            while !stop.load(Ordering::SeqCst) {
                cpu::relax();
            }
        })?);
    }
    while loaded.load(Ordering::SeqCst) < threads.len() as u64 {
        cpu::relax();
    }
    let frame = need("a frame", Frame::zeroed())?;
    let before = mem::stats().free;
    need(
        "map",
        space.table().map(UserVa(VICTIM), frame.clone(), READ_WRITE),
    )?;
    space.table().unmap(everything.0, everything.1);
    let after = mem::stats().free;
    if !threads.is_empty() {
        ensure!(
            after + TABLES <= before,
            "{before} frames were free, {after} are: tables were freed under a CPU that has them loaded"
        );
    }
    stop.store(true, Ordering::SeqCst);
    cpus::join(threads);
    // An idle CPU forgets them when it is told to.
    let all = if cpu::count() > 1 {
        after + TABLES
    } else {
        before
    };
    while mem::stats().free < all {
        space.table().unmap(everything.0, everything.1);
        cpu::relax();
    }
    Ok(())
}
