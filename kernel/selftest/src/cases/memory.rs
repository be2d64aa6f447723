//! Frames and page tables.

use alloc::boxed::Box;
use alloc::vec::Vec;

use tyn_abi::{Access, PAGE_SIZE, USER_END, UserVa};
use tyn_hal::cpu::CpuId;
use tyn_hal::mem::{self, Frame, PageTable, Perms};
use tyn_hal::selftest::{DATA, Program};
use tyn_hal::trap::Trap;

use crate::check::{Outcome, ensure, need, same};
use crate::cpus::in_thread;
use crate::space::{self, READ, READ_WRITE, Space, run_to_syscall};

const PAGE: u64 = PAGE_SIZE as u64;
const EXECUTE: Perms = Perms {
    write: false,
    execute: true,
};

fn byte(frame: &Frame, offset: usize) -> u8 {
    let mut byte = [0];
    frame.read(offset, &mut byte);
    byte[0]
}

/// Handles are counted; the last one gives the frame back; new frames are zero.
pub(super) fn frames_are_counted() -> Outcome {
    let before = mem::stats().free;
    let frame = need("frame", Frame::zeroed())?;
    same("free frames", mem::stats().free, before - 1)?;
    ensure!(frame.is_unique(), "a new frame is shared");
    frame.write(0, &[0xaa; PAGE_SIZE]);
    let clone = frame.clone();
    ensure!(!frame.is_unique(), "a cloned frame is unique");
    let copy = need("frame", clone.duplicate())?;
    ensure!(
        copy.is_unique() && copy.phys() != frame.phys(),
        "a duplicate is the same frame"
    );
    same("duplicated byte", byte(&copy, PAGE_SIZE - 1), 0xaa)?;
    drop(clone);
    ensure!(frame.is_unique(), "a dropped handle still counts");
    drop((frame, copy));
    same("free frames", mem::stats().free, before)?;
    // What was written before is gone from the next user's frame.
    let frames: Vec<_> = (0..8).map(|_| Frame::zeroed()).collect();
    for frame in frames {
        let frame = need("frame", frame)?;
        ensure!(
            (0..PAGE_SIZE).all(|i| byte(&frame, i) == 0),
            "a new frame is not zero"
        );
    }
    Ok(())
}

/// What is mapped is found, at the ends of the address space too, until it is unmapped.
pub(super) fn tables_map_and_unmap() -> Outcome {
    let before = mem::stats().free;
    let mut table = need("table", PageTable::new())?;
    let places = [
        0x1000,
        0x20_0000 - PAGE,
        0x20_0000,
        0x4000_0000 - PAGE,
        0x80_0000_0000,
        USER_END - PAGE,
    ];
    for (i, va) in places.into_iter().enumerate() {
        let frame = need("frame", Frame::zeroed())?;
        frame.write(0, &[i as u8 + 1]);
        need("map", table.map(UserVa(va), frame, READ_WRITE))?;
    }
    same("resident pages", table.resident(), places.len() as u64)?;
    for (i, va) in places.into_iter().enumerate() {
        let mapping = table.get(UserVa(va + 123));
        let mapping = mapping.ok_or_else(|| alloc::format!("nothing at {va:#x}"))?;
        same("frame", byte(&mapping.frame, 0), i as u8 + 1)?;
        same("perms", mapping.perms, READ_WRITE)?;
        ensure!(
            table.get(UserVa(va ^ 0x10_0000)).is_none(),
            "something beside {va:#x}"
        );
    }
    let pages = table.present(UserVa(0x20_0000 - 2 * PAGE), UserVa(0x20_0000 + 2 * PAGE));
    same(
        "present pages",
        pages,
        alloc::vec![false, true, true, false],
    )?;
    table.unmap(UserVa(0x20_0000), UserVa(0x20_0000 + PAGE));
    ensure!(
        table.get(UserVa(0x20_0000)).is_none(),
        "an unmapped page is there"
    );
    same("resident pages", table.resident(), places.len() as u64 - 1)?;
    table.unmap(UserVa(0), UserVa(USER_END));
    same("resident pages", table.resident(), 0)?;
    drop(table);
    same("free frames", mem::stats().free, before)
}

/// Rights are only taken by `restrict`; hidden pages keep their frames.
pub(super) fn rights_and_hiding() -> Outcome {
    let (va, end) = (UserVa(DATA), UserVa(DATA + 2 * PAGE));
    let mut table = need("table", PageTable::new())?;
    for perms in [READ_WRITE, EXECUTE] {
        let at = if perms.write { DATA } else { DATA + PAGE };
        let frame = need("frame", Frame::zeroed())?;
        frame.write(0, &[7]);
        need("map", table.map(UserVa(at), frame, perms))?;
    }
    table.restrict(va, end, EXECUTE);
    same("perms", table.get(va).map(|m| m.perms), Some(READ))?;
    let second = UserVa(DATA + PAGE);
    same("perms", table.get(second).map(|m| m.perms), Some(EXECUTE))?;
    ensure!(
        table.allow_write_if_unique(va),
        "the only handle is not taken as unique"
    );
    same("perms", table.get(va).map(|m| m.perms), Some(READ_WRITE))?;
    let held = table.get(va);
    ensure!(
        !table.allow_write_if_unique(va),
        "a second handle does not count"
    );
    drop(held);
    table.hide(va, end);
    ensure!(table.get(va).is_none(), "a hidden page is visible");
    same("resident pages", table.resident(), 2)?;
    table.unhide(va, end, false);
    let mapping = table.get(va).ok_or("an unhidden page is not there")?;
    same("perms", mapping.perms, READ)?;
    same("byte of an unhidden page", byte(&mapping.frame, 0), 7)
}

/// `mremap(2)`: pages move with their contents and rights, what they replace is freed.
pub(super) fn pages_move() -> Outcome {
    let before = mem::stats().free;
    let (from, to) = (DATA, 0x7000_0000_0000);
    let mut table = need("table", PageTable::new())?;
    for i in [0, 1, 600] {
        let frame = need("frame", Frame::zeroed())?;
        frame.write(9, &[i as u8]);
        need("map", table.map(UserVa(from + i * PAGE), frame, READ_WRITE))?;
    }
    let replaced = need("frame", Frame::zeroed())?;
    need("map", table.map(UserVa(to + PAGE), replaced, READ))?;
    need(
        "relocate",
        table.relocate(UserVa(from), UserVa(to), 700 * PAGE),
    )?;
    for i in [0, 1, 600] {
        ensure!(
            table.get(UserVa(from + i * PAGE)).is_none(),
            "page {i} is still at its old place"
        );
        let mapping = table.get(UserVa(to + i * PAGE)).ok_or("a page got lost")?;
        same("byte", byte(&mapping.frame, 9), i as u8)?;
        same("perms", mapping.perms, READ_WRITE)?;
    }
    same("resident pages", table.resident(), 3)?;
    drop(table);
    same("free frames", mem::stats().free, before)
}

/// A dropped address space gives back every frame, its tables included.
pub(super) fn tables_free_all() -> Outcome {
    // The first round lets the heap grow.
    fill_and_drop(0)?;
    let before = mem::stats().free;
    for round in 0..8 {
        fill_and_drop(round)?;
    }
    same("free frames", mem::stats().free, before)
}

fn fill_and_drop(round: u64) -> Outcome {
    let mut table = need("table", PageTable::new())?;
    for i in 0..600 {
        let frame = need("frame", Frame::zeroed())?;
        // Every page in another table, of several upper ones.
        let va = i * 0x1234_5000 + round * PAGE + PAGE;
        need("map", table.map(UserVa(va), frame, READ_WRITE))?;
    }
    if round.is_multiple_of(2) {
        table.unmap(UserVa(0), UserVa(300 * 0x1234_5000));
    }
    Ok(())
}

/// `fork(2)`: both sides read the same frame, and whoever writes gets one of its own.
pub(super) fn copy_on_write() -> Outcome {
    let parent = Space::new()?;
    let child = Space::bare()?;
    let original = parent.table().get(UserVa(DATA)).ok_or("no page")?.frame;
    original.write(0, &5u64.to_le_bytes());
    need(
        "share",
        parent
            .table()
            .share_with(&mut child.table(), UserVa(DATA), UserVa(DATA + PAGE), true),
    )?;
    for side in [&parent, &child] {
        let mapping = side.table().get(UserVa(DATA)).ok_or("no page")?;
        same("frame", mapping.frame.phys(), original.phys())?;
        same("perms", mapping.perms, READ)?;
    }
    let (first, second) = (parent.clone(), child.clone());
    drop(original);
    in_thread(CpuId(0), move |_| -> Outcome {
        write_and_copy(&second, 6)?;
        let value = first.table().get(UserVa(DATA)).ok_or("no page")?.frame;
        same("the parent's byte", byte(&value, 0), 5)?;
        drop(value);
        ensure!(
            first.table().allow_write_if_unique(UserVa(DATA)),
            "the parent is not the only one left"
        );
        first.activate();
        let mut context = space::start(Program::Write);
        (context.regs.rdi, context.regs.rsi) = (DATA, 7);
        run_to_syscall(&mut context)
    })??;
    for (side, expected) in [(&parent, 7), (&child, 6)] {
        let mapping = side.table().get(UserVa(DATA)).ok_or("no page")?;
        same("byte", byte(&mapping.frame, 0), expected)?;
    }
    Ok(())
}

/// Writes in ring 3, and resolves the fault as a kernel does.
fn write_and_copy(space: &Space, value: u64) -> Outcome {
    space.activate();
    let mut context = space::start(Program::Write);
    (context.regs.rdi, context.regs.rsi) = (DATA, value);
    let trap = space::run(&mut context);
    let expected = Trap::PageFault {
        addr: UserVa(DATA),
        access: Access::Write,
        present: true,
    };
    ensure!(trap == expected, "{trap:x?} instead of {expected:x?}");
    let shared = space.table().get(UserVa(DATA)).ok_or("no page")?.frame;
    let copy = need("frame", shared.duplicate())?;
    need("map", space.table().map(UserVa(DATA), copy, READ_WRITE))?;
    run_to_syscall(&mut context)
}

/// When user frames run out it is an error; the kernel's own memory is not touched, and everything comes back.
pub(super) fn memory_runs_out() -> Outcome {
    let before = mem::stats();
    let mut frames = Vec::with_capacity(before.total as usize);
    let start = mem::stats().free;
    while let Ok(frame) = Frame::zeroed() {
        frames.push(frame);
    }
    let rest = mem::stats().free;
    let kernel = Box::new([1u8; 16 * 1024]);
    ensure!(kernel[16_000] == 1, "kernel memory is broken");
    drop(kernel);
    ensure!(
        PageTable::new().is_err(),
        "a page table was made out of nothing"
    );
    let count = frames.len() as u64;
    ensure!(count + rest == start, "{count} + {rest} != {start} frames");
    ensure!(rest > 0, "no reserve is left");
    drop(frames);
    same("free frames", mem::stats().free, before.free)
}
