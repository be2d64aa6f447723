//! Copies between the kernel and user memory.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use tyn_abi::{Access, PAGE_SIZE, USER_END, UserVa};
use tyn_hal::cpu::{self, CpuId};
use tyn_hal::selftest::DATA;
use tyn_hal::sync::SpinLock;
use tyn_hal::task::UserState;
use tyn_hal::user::{self, Fault};

use crate::check::{Outcome, ensure, need, same};
use crate::cpus::{self, Thread, in_thread};
use crate::space::{READ, READ_WRITE, Space, with_handler};

const PAGE: u64 = PAGE_SIZE as u64;

/// Copies of all small lengths at all alignments, and some long ones, arrive in full and touch nothing else.
pub(super) fn copies_reach_memory() -> Outcome {
    const PAGES: u64 = 20;
    let space = Space::new()?;
    for page in 1..PAGES {
        space.add(DATA + page * PAGE, READ_WRITE)?;
    }
    in_thread(CpuId(0), move |_| -> Outcome {
        space.activate();
        let all = (PAGES * PAGE) as usize;
        let source: Vec<u8> = (0..all).map(|i| (i % 251) as u8 + 1).collect();
        let mut back = vec![0; all];
        let lens = (0..40).chain([4095, 4096, 4097, 8192, 70_000]);
        for len in lens {
            for offset in [0, 1, 3, 4, 7, PAGE - 5] {
                need("zero", user::zero(UserVa(DATA), all))?;
                let at = UserVa(DATA + offset);
                need("copy_to", user::copy_to(at, &source[..len]))?;
                need("copy_from", user::copy_from(&mut back, UserVa(DATA)))?;
                let (start, end) = (offset as usize, offset as usize + len);
                ensure!(
                    back[start..end] == source[..len],
                    "{len} bytes at {offset} differ"
                );
                let is_zero = |bytes: &[u8]| bytes.iter().all(|&b| b == 0);
                ensure!(
                    is_zero(&back[..start]) && is_zero(&back[end..]),
                    "{len} bytes at {offset}: something beside them changed"
                );
            }
        }
        Ok(())
    })?
}

/// A copy that runs into a page without the right ends there and says how far it came.
pub(super) fn copies_stop_at_faults() -> Outcome {
    let space = Space::new()?;
    let read_only = DATA + 4 * PAGE;
    space.add(read_only, READ)?;
    in_thread(CpuId(0), move |_| -> Outcome {
        space.activate();
        let mut bytes = [7u8; 200];
        for before in [0u64, 1, 5, 8, 64, 100] {
            let at = UserVa(DATA + PAGE - before);
            for (name, result) in [
                ("copy_to", user::copy_to(at, &bytes)),
                ("copy_from", user::copy_from(&mut bytes, at)),
                ("zero", user::zero(at, 200)),
            ] {
                let Err(Fault { done }) = result else {
                    return Err(alloc::format!("{name} went past the end of memory"));
                };
                same(name, done as u64, before)?;
            }
            bytes.fill(7);
        }
        for (name, result) in [
            ("copy_to", user::copy_to(UserVa(read_only), &bytes)),
            ("zero", user::zero(UserVa(read_only), 10)),
            ("store", user::store_u32(UserVa(read_only), 1)),
            (
                "compare_exchange",
                user::compare_exchange_u32(UserVa(read_only), 0, 1).map(|_| ()),
            ),
            ("load", user::load_u32(UserVa(DATA + 2 * PAGE)).map(|_| ())),
        ] {
            same(name, result, Err(Fault { done: 0 }))?;
        }
        same("load", user::load_u32(UserVa(read_only)), Ok(0))
    })?
}

/// Faults of copies are resolved page by page, by the handler, with the access that was tried.
pub(super) fn copies_fault_pages_in() -> Outcome {
    const PAGES: u64 = 40;
    let space = Space::new()?;
    let faults: Arc<SpinLock<Vec<(u64, Access)>>> = Arc::new(SpinLock::new(Vec::new()));
    let (target, log) = (Arc::clone(&space), Arc::clone(&faults));
    let handler = move |addr: UserVa, access: Access| {
        log.lock().push((addr.page().0, access));
        let is_ours = (DATA..DATA + PAGES * PAGE).contains(&addr.0);
        is_ours && target.add(addr.page().0, READ_WRITE).is_ok()
    };
    with_handler(handler, || -> Outcome<Outcome> {
        in_thread(CpuId(0), move |_| -> Outcome {
            space.activate();
            space.remove(DATA, 1);
            let source = vec![0x5a; ((PAGES - 1) * PAGE) as usize];
            let at = UserVa(DATA + 11);
            need("copy_to", user::copy_to(at, &source))?;
            let expected: Vec<_> = (0..PAGES)
                .map(|i| (DATA + i * PAGE, Access::Write))
                .collect();
            let found = core::mem::take(&mut *faults.lock());
            same("faults", found, expected)?;
            let mut back = vec![0; source.len()];
            need("copy_from", user::copy_from(&mut back, at))?;
            ensure!(back == source, "the bytes differ");
            same("further faults", faults.lock().len(), 0)?;
            space.remove(DATA, 1);
            same("load", user::load_u32(UserVa(DATA)), Ok(0))?;
            let found = core::mem::take(&mut *faults.lock());
            same("faults", found, vec![(DATA, Access::Read)])?;
            // What the handler refuses is a fault.
            let end = UserVa(DATA + PAGES * PAGE - 4);
            let result = user::copy_to(end, &[1; 8]);
            same("copy past what is there", result, Err(Fault { done: 4 }))
        })
    })?
}

/// Kernel addresses, the end of user space and wrap-around are faults before anything is touched.
pub(super) fn kernel_addresses_fault() -> Outcome {
    let space = Space::new()?;
    space.add(USER_END - PAGE, READ_WRITE)?;
    in_thread(CpuId(0), move |_| -> Outcome {
        space.activate();
        let mut bytes = [0; 16];
        for va in [
            USER_END - 15,
            USER_END,
            0x0000_8000_0000_0000,
            0xffff_8000_0000_0000,
            0xffff_ffff_8020_0000,
            u64::MAX - 3,
            u64::MAX,
        ] {
            let va = UserVa(va);
            for (name, result) in [
                ("copy_from", user::copy_from(&mut bytes, va)),
                ("copy_to", user::copy_to(va, &bytes)),
                ("zero", user::zero(va, 16)),
            ] {
                same(name, result, Err(Fault { done: 0 }))?;
            }
        }
        same(
            "zero",
            user::zero(UserVa(DATA), usize::MAX),
            Err(Fault { done: 0 }),
        )?;
        same(
            "load",
            user::load_u32(UserVa(USER_END)),
            Err(Fault { done: 0 }),
        )?;
        same("load", user::load_u32(UserVa(USER_END - 4)), Ok(0))?;
        same(
            "store",
            user::store_u32(UserVa(u64::MAX - 3), 1),
            Err(Fault { done: 0 }),
        )?;
        let result = user::copy_to(UserVa(USER_END - 16), &bytes);
        same("copy to the last bytes", result, Ok(()))
    })?
}

/// Compare-and-exchange from all CPUs on one word loses nothing.
pub(super) fn words_are_atomic() -> Outcome {
    const TIMES: u32 = 300;
    let space = Space::new()?;
    let failures = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    for id in cpus::ids() {
        let (space, failures) = (Arc::clone(&space), Arc::clone(&failures));
        threads.push(Thread::spawn(id, UserState::Yes, move |_| {
            space.activate();
            let word = UserVa(DATA + 64);
            for _ in 0..TIMES {
                while !increment(word) {
                    failures.fetch_add(1, Ordering::Relaxed);
                    cpu::relax();
                }
            }
        })?);
    }
    cpus::join(threads);
    in_thread(CpuId(0), move |_| -> Outcome {
        space.activate();
        let word = UserVa(DATA + 64);
        let expected = TIMES * cpu::count() as u32;
        same("sum", user::load_u32(word), Ok(expected))?;
        same(
            "exchange",
            user::compare_exchange_u32(word, 1, 2),
            Ok(expected),
        )?;
        same("store", user::store_u32(word, 9), Ok(()))?;
        same("load", user::load_u32(word), Ok(9))
    })?
}

fn increment(word: UserVa) -> bool {
    user::load_u32(word)
        .is_ok_and(|old| user::compare_exchange_u32(word, old, old.wrapping_add(1)) == Ok(old))
}
