//! Cases: errors, limits, placement, rights, the break.

use super::{Model, request};
use crate::{
    Advice, FileName, FilePart, Fix, Layout, Limits, MAX_MAP_COUNT, MMAP_MIN_ADDR, MapRequest,
    PAGE, PagePerms, Placement, Prot, Randomness, RemapPlan, RemapRequest, STACK_GUARD_GAP,
    SegvCode, Space, VmFlags, maps_line,
};
use alloc::string::String;
use alloc::vec::Vec;
use tyn_abi::{Access, Errno, USER_END};

mod faults;
mod remap;

const RW: Prot = Prot::READ.union(Prot::WRITE);
const RX: Prot = Prot::READ.union(Prot::EXEC);
const NONE: Limits = Limits::NONE;

fn space() -> Space<u8> {
    Space::new(Layout::new(8 << 20, &Randomness::default()))
}

fn anon(addr: u64, len: u64, prot: Prot) -> MapRequest<u8> {
    MapRequest {
        addr,
        len,
        placement: Placement::Fixed,
        prot,
        max_prot: Prot::all(),
        flags: VmFlags::empty(),
        file: None,
        name: None,
    }
}

fn file(addr: u64, len: u64, prot: Prot, flags: VmFlags, page: u64) -> MapRequest<u8> {
    MapRequest {
        flags,
        file: Some(FilePart { file: 1, page }),
        ..anon(addr, len, prot)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "reads as a modifier")]
fn anywhere(request: MapRequest<u8>) -> MapRequest<u8> {
    MapRequest {
        placement: Placement::Anywhere,
        ..request
    }
}

fn stack(s: &mut Space<u8>) -> (u64, u64) {
    let top = s.layout().stack_top;
    let request = MapRequest {
        flags: VmFlags::GROWS_DOWN,
        ..anon(top - 4 * PAGE, 4 * PAGE, RW)
    };
    let mapped = s.map(request, &NONE).unwrap();
    (mapped.start, mapped.end)
}

fn map(s: &mut Space<u8>, request: MapRequest<u8>) -> Result<u64, Errno> {
    s.map(request, &NONE).map(|m| m.start)
}

#[test]
fn mmap_errors_are_those_of_the_man_page() {
    let mut s = space();
    assert_eq!(map(&mut s, anon(0x10000, 0, RW)), Err(Errno::EINVAL));
    assert_eq!(map(&mut s, anon(0x10001, 1, RW)), Err(Errno::EINVAL));
    assert_eq!(map(&mut s, anon(0x1000, 1, RW)), Err(Errno::EPERM));
    assert_eq!(map(&mut s, anon(0x10000, u64::MAX, RW)), Err(Errno::ENOMEM));
    assert_eq!(map(&mut s, anon(0x10000, USER_END, RW)), Err(Errno::ENOMEM));
    assert_eq!(map(&mut s, anon(USER_END, PAGE, RW)), Err(Errno::ENOMEM));
    assert_eq!(
        map(&mut s, anywhere(anon(0, USER_END + PAGE, RW))),
        Err(Errno::ENOMEM)
    );
    assert_eq!(
        map(&mut s, anywhere(anon(0, USER_END - PAGE, RW))),
        Err(Errno::ENOMEM)
    );
    let far = file(0x10000, 2 * PAGE, RW, VmFlags::empty(), u64::MAX / PAGE - 1);
    assert_eq!(map(&mut s, far), Err(Errno::EOVERFLOW));
    let far = file(0x10000, 2 * PAGE, RW, VmFlags::empty(), u64::MAX - 1);
    assert_eq!(map(&mut s, far), Err(Errno::EOVERFLOW));
    assert_eq!(
        map(&mut s, anon(USER_END - PAGE, PAGE, RW)),
        Ok(USER_END - PAGE)
    );
    let again = MapRequest {
        placement: Placement::FixedNoReplace,
        ..anon(USER_END - 2 * PAGE, 2 * PAGE, RW)
    };
    assert_eq!(map(&mut s, again), Err(Errno::EEXIST));
    s.check_invariants();
}

#[test]
fn munmap_errors_are_those_of_the_man_page() {
    let mut s = space();
    for (start, len) in [
        (0x10001, PAGE),
        (0x10000, 0),
        (USER_END, PAGE),
        (0, USER_END + 1),
        (PAGE, u64::MAX),
    ] {
        assert_eq!(
            s.unmap(start, len).map(|u| u.start),
            Err(Errno::EINVAL),
            "{start:#x} {len:#x}"
        );
    }
    assert!(s.unmap(0, USER_END).unwrap().removed.is_empty());
}

#[test]
fn hints_are_taken_when_free_and_rounded() {
    let mut s = space();
    assert_eq!(
        map(&mut s, anywhere(anon(0x5000_0123, 1, RW))),
        Ok(0x5000_0000)
    );
    let elsewhere = map(&mut s, anywhere(anon(0x5000_0123, 1, RW))).unwrap();
    assert_eq!(elsewhere, s.layout().mmap_top - PAGE);
    assert_eq!(
        map(&mut s, anywhere(anon(0x1001, 1, RW))),
        Ok(MMAP_MIN_ADDR)
    );
    assert_eq!(
        map(&mut s, anywhere(anon(0xfff, 1, RW))),
        Ok(s.layout().mmap_top - 2 * PAGE)
    );
}

#[test]
fn low_placement_stays_below_two_gib() {
    let mut s = space();
    let low = |addr, len| MapRequest {
        placement: Placement::Low,
        ..anon(addr, len, RW)
    };
    assert_eq!(map(&mut s, low(0, PAGE)), Ok(0x4000_0000));
    assert_eq!(map(&mut s, low(0, PAGE)), Ok(0x4000_1000));
    assert_eq!(map(&mut s, low(0x5000_0000, PAGE)), Ok(0x5000_0000));
    assert_eq!(map(&mut s, low(0, 0x4000_0000)), Err(Errno::ENOMEM));
    assert_eq!(map(&mut s, low(0, 0x2000_0000)), Ok(0x5000_1000));
}

#[test]
fn placement_falls_back_above_when_the_region_is_full() {
    let mut s = space();
    let top = s.layout().mmap_top;
    map(
        &mut s,
        anon(MMAP_MIN_ADDR, top - MMAP_MIN_ADDR, Prot::empty()),
    )
    .unwrap();
    let at = map(&mut s, anywhere(anon(0, PAGE, RW))).unwrap();
    assert_eq!(at, top);
}

#[test]
fn placement_keeps_the_guard_gap_below_a_stack() {
    let mut s = space();
    let top = s.layout().mmap_top;
    let growing = MapRequest {
        flags: VmFlags::GROWS_DOWN,
        ..anon(top - PAGE, PAGE, RW)
    };
    map(&mut s, growing).unwrap();
    let at = map(&mut s, anywhere(anon(0, PAGE, RW))).unwrap();
    assert_eq!(at, top - PAGE - STACK_GUARD_GAP - PAGE);
    // A hint inside the gap is not taken either.
    let hinted = map(&mut s, anywhere(anon(top - 2 * PAGE, PAGE, RW))).unwrap();
    assert_eq!(hinted, at - PAGE);
}

#[test]
fn limits_are_enforced() {
    let mut s = space();
    let limits = Limits {
        address_space: 8 * PAGE,
        data: 4 * PAGE,
        stack: u64::MAX,
        ram: 3 * PAGE,
    };
    let mut try_map = |len: u64, prot, flags| {
        s.map(
            anywhere(MapRequest {
                flags,
                ..anon(0, len * PAGE, prot)
            }),
            &limits,
        )
        .map(|_| ())
    };
    // More private writable memory than there is RAM, unless it says MAP_NORESERVE.
    assert_eq!(try_map(4, RW, VmFlags::empty()), Err(Errno::ENOMEM));
    assert_eq!(try_map(5, RW, VmFlags::NO_RESERVE), Err(Errno::ENOMEM));
    assert_eq!(try_map(4, RW, VmFlags::NO_RESERVE), Ok(()));
    assert_eq!(try_map(1, RW, VmFlags::empty()), Err(Errno::ENOMEM));
    assert_eq!(try_map(4, Prot::READ, VmFlags::empty()), Ok(()));
    assert_eq!(
        try_map(1, Prot::empty(), VmFlags::empty()),
        Err(Errno::ENOMEM)
    );
    // Replacing costs nothing.
    let first = s.iter().next().unwrap().start;
    assert!(s.map(anon(first, PAGE, Prot::READ), &limits).is_ok());
    // A reservation of any size is fine; making it writable all at once is not.
    let mut s = space();
    let limits = Limits {
        ram: 1 << 30,
        ..NONE
    };
    let big = s
        .map(anywhere(anon(0, 1 << 40, Prot::empty())), &limits)
        .unwrap();
    let protected = s.protect(big.start, 1 << 40, RW, &limits);
    assert_eq!(
        (protected.result, protected.changes.len()),
        (Err(Errno::ENOMEM), 0)
    );
    assert_eq!(s.protect(big.start, 1 << 29, RW, &limits).result, Ok(()));
}

#[test]
fn number_of_mappings_is_limited() {
    let mut s = space();
    for i in 0..MAX_MAP_COUNT as u64 {
        let prot = if i % 2 == 0 { RW } else { Prot::READ };
        map(&mut s, anon(0x1000_0000 + i * 2 * PAGE, 2 * PAGE, prot)).unwrap();
    }
    assert_eq!(s.count(), MAX_MAP_COUNT);
    let free = 0x8000_0000;
    assert_eq!(map(&mut s, anon(free, PAGE, RX)), Ok(free));
    assert_eq!(map(&mut s, anon(2 * free, PAGE, RX)), Err(Errno::ENOMEM));
    drop(s.unmap(free, PAGE).unwrap());
    assert_eq!(
        s.protect(0x1000_0000, PAGE, RX, &NONE).result,
        Err(Errno::ENOMEM)
    );
    map(&mut s, anon(0x1000_0000, 4 * PAGE, Prot::READ)).unwrap();
    assert_eq!(s.count(), MAX_MAP_COUNT - 1);
    map(&mut s, anon(free, 3 * PAGE, RX)).unwrap();
    assert_eq!(
        s.unmap(free + PAGE, PAGE).map(|u| u.start),
        Err(Errno::ENOMEM)
    );
    assert!(s.unmap(free, PAGE).is_ok());
}

#[test]
fn mprotect_stops_at_a_hole_and_at_forbidden_rights() {
    let mut s = space();
    map(&mut s, anon(0x10000, 2 * PAGE, RW)).unwrap();
    map(&mut s, anon(0x13000, PAGE, RW)).unwrap();
    let p = s.protect(0x10000, 4 * PAGE, Prot::READ, &NONE);
    assert_eq!(p.result, Err(Errno::ENOMEM));
    assert_eq!(p.changes.len(), 1);
    assert_eq!((p.changes[0].start, p.changes[0].end), (0x10000, 0x12000));
    assert_eq!(
        s.protect(0x12000, PAGE, RW, &NONE).result,
        Err(Errno::ENOMEM)
    );
    assert_eq!(
        s.protect(0x10001, PAGE, RW, &NONE).result,
        Err(Errno::EINVAL)
    );
    assert_eq!(s.protect(0x10000, 0, RW, &NONE).result, Ok(()));
    assert_eq!(
        s.protect(0x10000, u64::MAX, RW, &NONE).result,
        Err(Errno::ENOMEM)
    );
    let shared = MapRequest {
        max_prot: RX,
        ..file(0x20000, PAGE, Prot::READ, VmFlags::SHARED, 0)
    };
    map(&mut s, shared).unwrap();
    assert_eq!(
        s.protect(0x20000, PAGE, RW, &NONE).result,
        Err(Errno::EACCES)
    );
    assert_eq!(s.protect(0x20000, PAGE, RX, &NONE).result, Ok(()));
}

#[test]
fn mprotect_merges_neighbours() {
    let mut s = space();
    map(&mut s, anon(0x10000, 8 * PAGE, Prot::empty())).unwrap();
    for i in 0..8 {
        assert_eq!(
            s.protect(0x10000 + i * PAGE, PAGE, RW, &NONE).result,
            Ok(())
        );
        assert_eq!(s.count(), if i == 7 { 1 } else { 2 });
    }
}

#[test]
fn the_break_moves_within_its_bounds() {
    let mut s = space();
    assert!(s.set_break(0x10_0000, &NONE).is_err(), "no program yet");
    s.set_break_start(0x10_0800);
    assert!(s.set_break(0x10_0900, &NONE).unwrap().is_none());
    assert_eq!(s.count(), 0, "still within the program's last page");
    s.set_break(0x10_2001, &NONE).unwrap();
    assert_eq!(s.usage().data, 2 * PAGE);
    s.set_break(0x10_4000, &NONE).unwrap();
    assert_eq!(s.count(), 1);
    assert_eq!(s.region_name(s.find(0x10_2000).unwrap()), Some("[heap]"));
    let cut = s.set_break(0x10_1801, &NONE).unwrap().unwrap();
    assert_eq!((cut.start, cut.end), (0x10_2000, 0x10_4000));
    assert!(s.set_break(0x10_07ff, &NONE).is_err());
    assert_eq!(s.program_break(), (0x10_0800, 0x10_1801));
    let small = Limits {
        data: 0x2000,
        ..NONE
    };
    assert_eq!(
        s.set_break(0x10_3000, &small).map(|_| ()),
        Err(Errno::ENOMEM)
    );
    map(&mut s, anon(0x10_6000, PAGE, RW)).unwrap();
    assert_eq!(
        s.set_break(0x10_6000, &NONE).map(|_| ()),
        Err(Errno::ENOMEM),
        "needs a guard page"
    );
    assert!(s.set_break(0x10_5000, &NONE).is_ok());
    assert_eq!(s.set_break(u64::MAX, &NONE).map(|_| ()), Err(Errno::ENOMEM));
    s.check_invariants();
}

fn remap(old: u64, old_len: u64, new_len: u64) -> RemapRequest {
    RemapRequest {
        old,
        old_len: old_len * PAGE,
        new_len: new_len * PAGE,
        may_move: false,
        fixed: None,
        keep_old: None,
    }
}
