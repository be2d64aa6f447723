//! Random sequences of calls against a naive model that keeps one entry for each page.

use crate::{
    Advice, FilePart, Layout, Limits, MapRequest, PAGE, Placement, Prot, Randomness, RemapPlan,
    RemapRequest, Space, VmFlags,
};
use alloc::vec::Vec;
use proptest::prelude::*;
use tyn_abi::Errno;

mod cases;
mod room;

/// First page of the window that the random calls play in.
const BASE: u64 = 0x1000_0000;
const PAGES: u64 = 48;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Page {
    prot: Prot,
    flags: VmFlags,
    file: Option<(u8, u64)>,
}

type Model = Vec<Option<Page>>;

#[derive(Clone, Copy, Debug)]
enum Call {
    Map {
        at: u64,
        len: u64,
        page: Page,
        replace: bool,
    },
    MapAnywhere {
        len: u64,
        page: Page,
    },
    Unmap {
        at: u64,
        len: u64,
    },
    Protect {
        at: u64,
        len: u64,
        prot: Prot,
    },
    Remap {
        at: u64,
        len: u64,
        new_len: u64,
        to: Option<u64>,
        may_move: bool,
    },
    Advise {
        at: u64,
        len: u64,
        set: bool,
    },
    Lock {
        at: u64,
        len: u64,
        locked: bool,
    },
    Fork,
}

fn page_kind() -> impl Strategy<Value = Page> {
    let file = proptest::option::of((0u8..2, 0u64..4));
    (0u32..8, any::<bool>(), file).prop_map(|(prot, shared, file)| Page {
        prot: Prot::from_bits_truncate(prot),
        flags: if shared {
            VmFlags::SHARED
        } else {
            VmFlags::empty()
        },
        file,
    })
}

fn call() -> impl Strategy<Value = Call> {
    let (at, len) = (0..PAGES, 1u64..12);
    let prot = (0u32..8).prop_map(Prot::from_bits_truncate);
    prop_oneof![
        4 => (at.clone(), len.clone(), page_kind(), any::<bool>())
            .prop_map(|(at, len, page, replace)| Call::Map { at, len, page, replace }),
        1 => (len.clone(), page_kind()).prop_map(|(len, page)| Call::MapAnywhere { len, page }),
        3 => (at.clone(), len.clone()).prop_map(|(at, len)| Call::Unmap { at, len }),
        4 => (at.clone(), len.clone(), prot)
            .prop_map(|(at, len, prot)| Call::Protect { at, len, prot }),
        3 => (at.clone(), 0u64..8, len.clone(), proptest::option::of(at.clone()), any::<bool>())
            .prop_map(|(at, len, new_len, to, may_move)| Call::Remap { at, len, new_len, to, may_move }),
        1 => (at.clone(), len.clone(), any::<bool>())
            .prop_map(|(at, len, set)| Call::Advise { at, len, set }),
        1 => (at, len, any::<bool>()).prop_map(|(at, len, locked)| Call::Lock { at, len, locked }),
        1 => Just(Call::Fork),
    ]
}

/// A layout whose mmap region is the window, so that placement can be checked too.
fn layout() -> Layout {
    let top = BASE + PAGES * PAGE;
    Layout {
        mmap_top: top,
        mmap_fallback: tyn_abi::USER_END - PAGE,
        ..Layout::new(8 << 20, &Randomness::default())
    }
}

fn va(page: u64) -> u64 {
    BASE + page * PAGE
}

fn request(addr: u64, len: u64, placement: Placement, page: Page) -> MapRequest<u8> {
    MapRequest {
        addr,
        len: len * PAGE,
        placement,
        prot: page.prot,
        max_prot: Prot::all(),
        flags: page.flags,
        file: page.file.map(|(file, page)| FilePart { file, page }),
        name: None,
    }
}

/// The page at `offset` pages into a mapping that starts with `page`.
fn nth(page: Page, offset: u64) -> Page {
    Page {
        file: page.file.map(|(file, first)| (file, first + offset)),
        ..page
    }
}

fn in_window(at: u64, len: u64) -> bool {
    at + len <= PAGES
}

fn seen(space: &Space<u8>) -> Model {
    (0..PAGES)
        .map(|i| {
            space.find(va(i)).map(|vma| Page {
                prot: vma.prot,
                flags: vma.flags,
                file: vma
                    .file
                    .as_ref()
                    .map(|part| part.file)
                    .zip(vma.file_page(va(i))),
            })
        })
        .collect()
}

/// Returns the highest place for `len` pages below the window's end, if it lies in the window.
fn naive_room(model: &Model, len: u64) -> Option<u64> {
    let free = |at: u64| (at..at + len).all(|i| model[i as usize].is_none());
    (0..=PAGES.checked_sub(len)?).rev().find(|&at| free(at))
}

/// Does to the model what the call should do, and returns whether the call should succeed.
fn naive_protect(model: &mut Model, at: u64, len: u64, prot: Prot) -> bool {
    for i in at..at + len {
        match &mut model[i as usize] {
            Some(page) => page.prot = prot,
            None => return false,
        }
    }
    true
}

#[expect(clippy::too_many_lines, reason = "one arm for each call")]
fn run(space: &mut Space<u8>, model: &mut Model, call: Call) {
    let limits = Limits::NONE;
    match call {
        Call::Map {
            at,
            len,
            page,
            replace,
        } if in_window(at, len) => {
            let target = at as usize..(at + len) as usize;
            let taken = model[target.clone()].iter().filter(|p| p.is_some()).count();
            let placement = if replace {
                Placement::Fixed
            } else {
                Placement::FixedNoReplace
            };
            let result = space.map(request(va(at), len, placement, page), &limits);
            if !replace && taken > 0 {
                assert_eq!(result.err(), Some(Errno::EEXIST));
                return;
            }
            let mapped = result.unwrap();
            assert_eq!((mapped.start, mapped.end), (va(at), va(at + len)));
            let removed: u64 = mapped.removed.iter().map(|vma| vma.len() / PAGE).sum();
            assert_eq!(removed, taken as u64);
            for i in target {
                model[i] = Some(nth(page, i as u64 - at));
            }
        }
        Call::MapAnywhere { len, page } => {
            let Some(at) = naive_room(model, len) else {
                return;
            };
            let mapped = space
                .map(request(0, len, Placement::Anywhere, page), &limits)
                .unwrap();
            assert_eq!(mapped.start, va(at));
            for i in at..at + len {
                model[i as usize] = Some(nth(page, i - at));
            }
        }
        Call::Unmap { at, len } if in_window(at, len) => {
            let unmapped = space.unmap(va(at), len * PAGE).unwrap();
            let target = &mut model[at as usize..(at + len) as usize];
            let removed: u64 = unmapped.removed.iter().map(|vma| vma.len() / PAGE).sum();
            assert_eq!(
                removed,
                target.iter().filter(|p| p.is_some()).count() as u64
            );
            target.fill(None);
        }
        Call::Protect { at, len, prot } if in_window(at, len) => {
            let before = seen(space);
            let ok = naive_protect(model, at, len, prot);
            let protected = space.protect(va(at), len * PAGE, prot, &limits);
            assert_eq!(
                protected.result,
                if ok { Ok(()) } else { Err(Errno::ENOMEM) }
            );
            for i in 0..PAGES {
                let change = protected
                    .changes
                    .iter()
                    .find(|c| c.start <= va(i) && va(i) < c.end);
                let (old, new) = (before[i as usize], model[i as usize]);
                let changed = old.map(|p| p.prot) != new.map(|p| p.prot);
                assert_eq!(
                    change.map(|c| (c.old, c.new)).is_some(),
                    changed,
                    "page {i}"
                );
            }
        }
        Call::Remap {
            at,
            len,
            new_len,
            to,
            may_move,
        } if in_window(at, len) => {
            run_remap(space, model, (at, len, new_len), to, may_move);
        }
        Call::Advise { at, len, set } if in_window(at, len) => {
            let change = if set {
                (VmFlags::HUGE, VmFlags::NO_HUGE)
            } else {
                (VmFlags::NO_HUGE, VmFlags::HUGE)
            };
            let mut has_hole = false;
            for page in &mut model[at as usize..(at + len) as usize] {
                match page {
                    Some(page) => page.flags = (page.flags | change.0) & !change.1,
                    None => has_hole = true,
                }
            }
            let advised = space.advise(va(at), len * PAGE, Advice::Set(change.0, change.1));
            assert_eq!(
                advised.result,
                if has_hole { Err(Errno::ENOMEM) } else { Ok(()) }
            );
        }
        Call::Lock { at, len, locked } if in_window(at, len) => {
            let mut ok = true;
            for page in &mut model[at as usize..(at + len) as usize] {
                let Some(page) = page else {
                    ok = false;
                    break;
                };
                page.flags.set(VmFlags::LOCKED, locked);
            }
            let result = space.set_locked(va(at) + 7, len * PAGE - 8, locked);
            assert_eq!(result.is_ok(), ok);
        }
        Call::Fork => {
            let child = space.fork();
            child.check_invariants();
            let unlocked: Model = seen(space)
                .into_iter()
                .map(|p| {
                    p.map(|p| Page {
                        flags: p.flags & !VmFlags::LOCKED,
                        ..p
                    })
                })
                .collect();
            assert_eq!(seen(&child), unlocked);
        }
        _ => {}
    }
}

fn run_remap(
    space: &mut Space<u8>,
    model: &mut Model,
    (at, len, new_len): (u64, u64, u64),
    to: Option<u64>,
    may_move: bool,
) {
    let limits = Limits::NONE;
    let old = RemapRequest {
        old: va(at),
        old_len: len * PAGE,
        new_len: new_len * PAGE,
        may_move,
        fixed: to.map(va),
        keep_old: None,
    };
    if to.is_some_and(|to| !in_window(to, new_len)) {
        return;
    }
    let Ok(plan) = space.plan_remap(&old, &limits) else {
        return;
    };
    match plan {
        RemapPlan::InPlace { start, end } => {
            if start < end {
                drop(space.unmap(start, end - start).unwrap());
                for i in at + new_len..at + len {
                    model[i as usize] = None;
                }
            } else if new_len > len {
                let page = model[at as usize].unwrap();
                for i in at + len..(at + new_len).min(PAGES) {
                    assert_eq!(model[i as usize], None);
                    model[i as usize] = Some(nth(page, i - at));
                }
            }
        }
        RemapPlan::Move {
            from,
            old_len,
            to: target,
            new_len: bytes,
            clear_target,
            keep_old,
        } => {
            assert_eq!((from, old_len, bytes), (va(at), len * PAGE, new_len * PAGE));
            let page = model[at as usize].unwrap();
            if clear_target {
                drop(space.unmap(target, bytes).unwrap());
                let first = to.unwrap();
                model[first as usize..(first + new_len) as usize].fill(None);
            }
            if old_len > bytes {
                drop(space.unmap(from + bytes, old_len - bytes).unwrap());
            }
            space.commit_move(from, target, bytes).unwrap();
            if keep_old {
                assert_eq!(len, 0);
            } else {
                drop(space.unmap(from, old_len.min(bytes)).unwrap());
                model[at as usize..(at + len) as usize].fill(None);
            }
            for i in 0..new_len {
                let at = (target + i * PAGE)
                    .checked_sub(BASE)
                    .map(|d| (d / PAGE) as usize);
                if let Some(slot) = at.and_then(|at| model.get_mut(at)) {
                    assert_eq!(*slot, None);
                    *slot = Some(nth(page, i));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_calls_leave_what_the_page_model_has(calls in proptest::collection::vec(call(), 1..40)) {
        let mut space = Space::new(layout());
        let mut model: Model = alloc::vec![None; PAGES as usize];
        for call in calls {
            run(&mut space, &mut model, call);
            space.check_invariants();
            prop_assert_eq!(seen(&space), model.clone(), "after {:?}", call);
        }
        // Neighbours that could be one are one.
        let vmas: Vec<_> = space.iter().collect();
        for pair in vmas.windows(2) {
            prop_assert!(!pair[0].merges_with(pair[1]), "{:?}", pair);
        }
    }
}
