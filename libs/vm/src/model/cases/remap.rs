//! Cases: `mremap(2)`, `madvise(2)`.

use super::*;

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
