//! Cases: faults, the stack, locked pages, the lines of `/proc/self/maps`, usage.

use super::*;

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
                super::super::Page {
                    prot: RW,
                    flags: VmFlags::empty(),
                    file: None
                }
            )
            .len == PAGE
    );
}
