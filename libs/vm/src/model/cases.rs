//! Cases: errors, limits, placement, faults, the break, the lines of `/proc/self/maps`.

use super::{Model, request};
use crate::{
    Advice, FileName, FilePart, Fix, Layout, Limits, MAX_MAP_COUNT, MMAP_MIN_ADDR, MapRequest,
    PAGE, PagePerms, Placement, Prot, Randomness, RemapPlan, RemapRequest, STACK_GUARD_GAP,
    SegvCode, Space, VmFlags, maps_line,
};
use alloc::string::String;
use alloc::vec::Vec;
use tyn_abi::{Access, Errno, USER_END};

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

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn mremap_errors_are_those_of_the_man_page() {
    let mut s = space();
    map(&mut s, anon(0x10000, 4 * PAGE, RW)).unwrap();
    map(&mut s, file(0x14000, 4 * PAGE, RW, VmFlags::empty(), 0)).unwrap();
    let mut plan = |r: RemapRequest| s.plan_remap(&r, &NONE).map(|_| ());
    let good = remap(0x10000, 4, 8);
    let moving = RemapRequest {
        may_move: true,
        ..good
    };
    assert_eq!(
        plan(RemapRequest {
            old: 0x10001,
            ..good
        }),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        plan(RemapRequest { new_len: 0, ..good }),
        Err(Errno::EINVAL)
    );
    for old_len in [
        USER_END,
        0u64.wrapping_sub(PAGE),
        0u64.wrapping_sub(0x10000),
    ] {
        for new_len in [good.new_len, old_len] {
            let request = RemapRequest {
                old_len,
                new_len,
                ..good
            };
            assert_eq!(plan(request), Err(Errno::EINVAL), "{request:?}");
        }
    }
    assert_eq!(
        plan(RemapRequest {
            fixed: Some(0x30000),
            ..good
        }),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        plan(RemapRequest {
            fixed: Some(0x30001),
            ..moving
        }),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        plan(RemapRequest {
            fixed: Some(0x12000),
            ..moving
        }),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        plan(RemapRequest {
            fixed: Some(USER_END),
            ..moving
        }),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        plan(RemapRequest {
            keep_old: Some(0),
            ..moving
        }),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        plan(RemapRequest {
            old_len: 0,
            ..moving
        }),
        Err(Errno::EINVAL)
    );
    assert_eq!(plan(remap(0x50000, 1, 2)), Err(Errno::EFAULT));
    assert_eq!(plan(remap(0x10000, 5, 6)), Err(Errno::EFAULT));
    assert_eq!(plan(good), Err(Errno::ENOMEM), "no room and may not move");
    assert_eq!(
        plan(RemapRequest {
            new_len: u64::MAX,
            ..moving
        }),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        plan(RemapRequest {
            new_len: USER_END,
            ..moving
        }),
        Err(Errno::ENOMEM)
    );
    assert_eq!(plan(remap(0x10000, 4, 4)), Ok(()));
    assert_eq!(plan(moving), Ok(()));
}

#[test]
fn mremap_can_duplicate_shared_pages_and_keep_the_old_mapping() {
    let mut s = space();
    map(&mut s, file(0x10000, 4 * PAGE, RW, VmFlags::SHARED, 3)).unwrap();
    let dup = RemapRequest {
        may_move: true,
        ..remap(0x11000, 0, 2)
    };
    let Ok(RemapPlan::Move {
        from,
        old_len: 0,
        to,
        new_len,
        clear_target: false,
        keep_old: true,
    }) = s.plan_remap(&dup, &NONE)
    else {
        panic!("a duplicate")
    };
    s.commit_move(from, to, new_len).unwrap();
    assert_eq!(s.find(to).unwrap().file_page(to + PAGE), Some(5));
    assert_eq!(s.count(), 2);
    let keep = RemapRequest {
        may_move: true,
        keep_old: Some(0),
        ..remap(0x10000, 4, 4)
    };
    assert!(matches!(
        s.plan_remap(&keep, &NONE),
        Ok(RemapPlan::Move { keep_old: true, .. })
    ));
}

#[test]
fn madvise_errors_are_those_of_the_man_page() {
    let mut s = space();
    map(&mut s, anon(0x10000, 2 * PAGE, RW)).unwrap();
    map(&mut s, file(0x13000, PAGE, RW, VmFlags::empty(), 0)).unwrap();
    let a = s.advise(0x10000, 4 * PAGE, Advice::DontNeed);
    assert_eq!((a.result, a.discard.len()), (Err(Errno::ENOMEM), 2));
    assert_eq!(
        s.advise(0x10001, PAGE, Advice::DontNeed).result,
        Err(Errno::EINVAL)
    );
    assert_eq!(
        s.advise(0x10000, u64::MAX, Advice::DontNeed).result,
        Err(Errno::EINVAL)
    );
    assert_eq!(s.advise(0x10000, 0, Advice::DontNeed).result, Ok(()));
    assert_eq!(
        s.advise(0x13000, PAGE, Advice::Free).result,
        Err(Errno::EINVAL)
    );
    let wipe = Advice::decode(18).unwrap();
    assert_eq!(s.advise(0x13000, PAGE, wipe).result, Err(Errno::EINVAL));
    assert_eq!(s.advise(0x10000, PAGE, wipe).result, Ok(()));
    s.set_locked(0x11000, PAGE, true).unwrap();
    assert_eq!(
        s.advise(0x11000, PAGE, Advice::DontNeed).result,
        Err(Errno::EINVAL)
    );
    let even_locked = Advice::decode(24).unwrap();
    assert_eq!(s.advise(0x11000, PAGE, even_locked).result, Ok(()));
    for unknown in [-1, 5, 9, 12, 13, 25, 100] {
        assert_eq!(Advice::decode(unknown), None, "{unknown}");
    }
}

#[test]
fn fork_leaves_out_and_wipes_as_advised() {
    let mut s = space();
    for i in 0..3u64 {
        map(&mut s, anon(0x10000 + 2 * i * PAGE, PAGE, RW)).unwrap();
        let fix = s.fault(0x10000 + 2 * i * PAGE, Access::Write, None, &NONE);
        assert_eq!(fix, Ok(Fix::MapFresh { execute: false }));
    }
    assert_eq!(
        s.advise(0x10000, PAGE, Advice::decode(10).unwrap()).result,
        Ok(())
    );
    assert_eq!(
        s.advise(0x12000, PAGE, Advice::decode(18).unwrap()).result,
        Ok(())
    );
    let child = s.fork();
    let to_share: Vec<_> = child
        .iter()
        .map(|vma| (vma.start, vma.has_pages_to_fork()))
        .collect();
    assert_eq!(to_share, [(0x12000, false), (0x14000, true)]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn faults_resolve_by_kind_of_mapping() {
    let mut s = space();
    let (a, f, sh, x) = (0x10000, 0x20000, 0x30000, 0x40000);
    map(&mut s, anon(a, PAGE, RW)).unwrap();
    map(&mut s, file(f, 4 * PAGE, RW, VmFlags::empty(), 7)).unwrap();
    map(&mut s, file(sh, 4 * PAGE, RW, VmFlags::SHARED, 2)).unwrap();
    map(&mut s, file(x, PAGE, RX, VmFlags::empty(), 0)).unwrap();
    let page = |write, execute| Some(PagePerms { write, execute });
    let perms = |write, execute| PagePerms { write, execute };
    use Access::{Execute, Read, Write};
    let cases = [
        (a, Read, None, Fix::MapZero { execute: false }),
        (a, Write, None, Fix::MapFresh { execute: false }),
        (a, Write, page(false, false), Fix::Own { execute: false }),
        (a, Write, page(true, false), Fix::Retry),
        (a, Read, page(false, false), Fix::Retry),
        (
            f + PAGE,
            Read,
            None,
            Fix::MapFile {
                file: &1,
                page: 8,
                perms: perms(false, false),
            },
        ),
        (
            f + PAGE,
            Write,
            None,
            Fix::CopyFile {
                file: &1,
                page: 8,
                execute: false,
            },
        ),
        (f, Write, page(false, false), Fix::Own { execute: false }),
        (
            sh,
            Read,
            None,
            Fix::MapFile {
                file: &1,
                page: 2,
                perms: perms(true, false),
            },
        ),
        (
            sh,
            Write,
            None,
            Fix::MapFile {
                file: &1,
                page: 2,
                perms: perms(true, false),
            },
        ),
        (
            sh,
            Write,
            page(false, false),
            Fix::Widen {
                perms: perms(true, false),
            },
        ),
        (
            x,
            Execute,
            None,
            Fix::MapFile {
                file: &1,
                page: 0,
                perms: perms(false, true),
            },
        ),
        (
            x,
            Execute,
            page(false, false),
            Fix::Widen {
                perms: perms(false, true),
            },
        ),
        (x, Execute, page(false, true), Fix::Retry),
    ];
    for (va, access, present, fix) in cases {
        assert_eq!(
            s.fault(va, access, present, &NONE),
            Ok(fix),
            "{va:#x} {access:?} {present:?}"
        );
    }
    assert_eq!(s.fault(a, Execute, None, &NONE), Err(SegvCode::NotAllowed));
    assert_eq!(s.fault(x, Write, None, &NONE), Err(SegvCode::NotAllowed));
    assert_eq!(
        s.fault(a + PAGE, Read, None, &NONE),
        Err(SegvCode::NotMapped)
    );
    assert_eq!(s.protect(a, PAGE, Prot::empty(), &NONE).result, Ok(()));
    assert_eq!(s.fault(a, Read, None, &NONE), Err(SegvCode::NotAllowed));
    // Write-only and execute-only imply reading on this machine.
    assert_eq!(s.protect(a, PAGE, Prot::WRITE, &NONE).result, Ok(()));
    assert!(s.fault(a, Read, None, &NONE).is_ok());
    let owners: Vec<u64> = s
        .iter()
        .filter(|v| v.has_pages_to_fork())
        .map(|v| v.start)
        .collect();
    assert_eq!(owners, [a, f]);
}

#[test]
fn stack_grows_to_its_limit_and_keeps_its_gap() {
    let mut s = space();
    let (low, top) = stack(&mut s);
    let limits = Limits {
        stack: 64 * PAGE,
        ..NONE
    };
    assert!(
        s.fault(low - 10 * PAGE - 5, Access::Write, None, &limits)
            .is_ok()
    );
    assert_eq!(s.find(top - 1).unwrap().start, low - 11 * PAGE);
    assert_eq!(s.region_name(s.find(top - 1).unwrap()), Some("[stack]"));
    assert!(
        s.fault(top - 64 * PAGE, Access::Read, None, &limits)
            .is_ok()
    );
    assert_eq!(
        s.fault(top - 65 * PAGE, Access::Read, None, &limits),
        Err(SegvCode::NotMapped)
    );
    // Something mapped below stops it a guard gap earlier, unless it is inaccessible.
    let below = top - 600 * PAGE;
    map(&mut s, anon(below, PAGE, RW)).unwrap();
    let closest = below + PAGE + STACK_GUARD_GAP;
    assert!(s.fault(closest, Access::Write, None, &NONE).is_ok());
    assert_eq!(
        s.fault(closest - 1, Access::Write, None, &NONE),
        Err(SegvCode::NotMapped)
    );
    assert_eq!(s.protect(below, PAGE, Prot::empty(), &NONE).result, Ok(()));
    assert!(s.fault(below + PAGE, Access::Write, None, &NONE).is_ok());
    s.check_invariants();
    assert_eq!(s.usage().stack, 599 * PAGE);
}

#[test]
fn fault_around_stays_in_its_block_and_mapping() {
    let mut s = space();
    map(&mut s, file(0x2_3000, 0x2_0000, RX, VmFlags::empty(), 0)).unwrap();
    assert_eq!(s.fault_around(0x2_3123, 0x10000), 0x2_3000..0x3_0000);
    assert_eq!(s.fault_around(0x3_0000, 0x10000), 0x3_0000..0x4_0000);
    assert_eq!(s.fault_around(0x4_2fff, 0x10000), 0x4_0000..0x4_3000);
    assert_eq!(s.fault_around(0x9_0000, 0x10000), 0x9_0000..0x9_0000);
    assert_eq!(s.fault_around(0x3_0123, 0), 0x3_0000..0x3_1000);
}

#[test]
fn mlockall_covers_present_and_future_mappings() {
    let mut s = space();
    map(&mut s, anon(0x10000, PAGE, RW)).unwrap();
    s.set_all_locked(Some(true), true);
    map(&mut s, anon(0x20000, PAGE, RW)).unwrap();
    assert_eq!(s.usage().locked, 2 * PAGE);
    s.set_all_locked(Some(false), false);
    assert_eq!(s.usage().locked, 0);
    assert_eq!(s.set_locked(0x10000, 2 * PAGE, true), Err(Errno::ENOMEM));
    assert_eq!(s.set_locked(0x10010, u64::MAX, true), Err(Errno::EINVAL));
}

#[test]
fn maps_lines_look_like_those_of_linux() {
    let mut s = space();
    stack(&mut s);
    map(
        &mut s,
        file(0x7f00_0000_0000, 0x2_8000, Prot::READ, VmFlags::SHARED, 2),
    )
    .unwrap();
    map(&mut s, anon(0x40_0000, PAGE, Prot::empty())).unwrap();
    let name = FileName {
        device: (0xfe, 1),
        inode: 12_345,
        path: "/usr/lib/libc.so.6".into(),
    };
    let mut out = String::new();
    for vma in s.iter() {
        let name = vma.file.as_ref().map(|_| &name);
        maps_line(&mut out, vma, name, s.region_name(vma));
    }
    let expected = "\
00400000-00401000 ---p 00000000 00:00 0 
7f0000000000-7f0000028000 r--s 00002000 fe:01 12345                      /usr/lib/libc.so.6
7fffffffb000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]
";
    assert_eq!(out, expected);
}

#[test]
fn special_mappings_are_not_resized_or_merged() {
    let mut s = space();
    let vdso = |addr| MapRequest {
        flags: VmFlags::SPECIAL,
        name: Some("[vdso]"),
        ..anon(addr, PAGE, RX)
    };
    map(&mut s, vdso(0x10000)).unwrap();
    map(&mut s, vdso(0x11000)).unwrap();
    assert_eq!(s.count(), 2);
    let grow = RemapRequest {
        may_move: true,
        ..remap(0x11000, 1, 2)
    };
    assert_eq!(s.plan_remap(&grow, &NONE), Err(Errno::EFAULT));
    assert_eq!(s.region_name(s.find(0x10000).unwrap()), Some("[vdso]"));
}

#[test]
fn usage_counts_by_kind() {
    let mut s = space();
    stack(&mut s);
    map(&mut s, anon(0x10000, 2 * PAGE, RW)).unwrap();
    map(&mut s, file(0x20000, 3 * PAGE, RX, VmFlags::empty(), 0)).unwrap();
    map(&mut s, file(0x30000, PAGE, RW, VmFlags::SHARED, 0)).unwrap();
    let u = s.usage();
    assert_eq!(
        (u.total, u.data, u.stack, u.text),
        (10 * PAGE, 2 * PAGE, 4 * PAGE, 3 * PAGE)
    );
    assert!(s.is_covered(0x20000, 0x23000) && !s.is_covered(0x20000, 0x24000));
    assert_eq!(s.overlapping(0x11000, 0x21000).count(), 2);
    let empty: Model = Vec::new();
    assert!(
        empty.is_empty()
            && request(
                0,
                1,
                Placement::Low,
                super::Page {
                    prot: RW,
                    flags: VmFlags::empty(),
                    file: None
                }
            )
            .len == PAGE
    );
}
