use super::*;

use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;

use tyn_abi::inotify::EVENT_LEN;

const FILE: Ino = Ino(7);
const DIR: Ino = Ino(8);

fn own(event: Inotify) -> News<'static> {
    News::own(event)
}

fn entry(event: Inotify, name: &[u8]) -> News<'_> {
    News {
        event,
        cookie: 0,
        name,
        is_unlinked: false,
    }
}

/// An event as it is read: descriptor, mask, cookie, name with its padding.
type Read = (i32, u32, u32, Vec<u8>);

fn read(watches: &mut Watches<u32>, id: Id, room: usize) -> Result<Vec<Read>, Errno> {
    let mut bytes = vec![0xaa; room];
    let count = watches.read(id, &mut bytes.as_mut_slice() as &mut dyn Sink)?;
    let mut rest = &bytes[..count];
    let mut events = Vec::new();
    while let Some((head, tail)) = rest.split_first_chunk::<EVENT_LEN>() {
        let word = |i: usize| u32::from_le_bytes(head[i * 4..][..4].try_into().unwrap());
        let (name, tail) = tail.split_at(word(3) as usize);
        events.push((word(0).cast_signed(), word(1), word(2), name.to_vec()));
        rest = tail;
    }
    Ok(events)
}

fn one() -> (Watches<u32>, Id) {
    let mut watches = Watches::new();
    let id = watches.open(1).unwrap();
    (watches, id)
}

#[test]
fn only_what_was_asked_for_is_told() {
    let (mut watches, id) = one();
    let wd = watches
        .watch(id, FILE, Inotify::MODIFY | Inotify::OPEN)
        .unwrap();
    let woken = Cell::new(0);
    let mut tell = |ino, event| watches.tell(ino, &own(event), |_| woken.set(woken.get() + 1));
    tell(FILE, Inotify::ACCESS);
    tell(DIR, Inotify::MODIFY);
    tell(FILE, Inotify::MODIFY);
    tell(FILE, Inotify::OPEN);
    assert_eq!(woken.get(), 2);
    assert_eq!(watches.unread(id), 32);
    let events = read(&mut watches, id, 100).unwrap();
    assert_eq!(events, [(wd, 2, 0, vec![]), (wd, 0x20, 0, vec![])]);
    assert_eq!(read(&mut watches, id, 100), Err(Errno::EAGAIN));
    assert_eq!(watches.unread(id), 0);
}

#[test]
fn names_are_padded_to_events() {
    let (mut watches, id) = one();
    watches.watch(id, DIR, Inotify::ALL_EVENTS).unwrap();
    for len in [1, 15, 16] {
        watches.tell(DIR, &entry(Inotify::CREATE, &[b'x'; 16][..len]), |_| ());
    }
    assert_eq!(watches.unread(id), 3 * 16 + 16 + 16 + 32);
    let events = read(&mut watches, id, 200).unwrap();
    let names: Vec<_> = events.iter().map(|e| e.3.clone()).collect();
    assert_eq!(names[0], [&b"x"[..], &[0; 15]].concat());
    assert_eq!(names[1], [&[b'x'; 15][..], &[0; 1]].concat());
    assert_eq!(names[2], [&[b'x'; 16][..], &[0; 16]].concat());
}

#[test]
fn whole_events_are_read_and_one_that_does_not_fit_stays() {
    let (mut watches, id) = one();
    watches.watch(id, DIR, Inotify::ALL_EVENTS).unwrap();
    watches.tell(DIR, &entry(Inotify::CREATE, b"a"), |_| ());
    watches.tell(DIR, &entry(Inotify::DELETE, b"a"), |_| ());
    assert_eq!(read(&mut watches, id, 31), Err(Errno::EINVAL));
    assert_eq!(read(&mut watches, id, 63).unwrap().len(), 1);
    assert_eq!(read(&mut watches, id, 32).unwrap()[0].1, 0x200);
}

#[test]
fn repeats_are_told_once_and_only_next_to_each_other() {
    let (mut watches, id) = one();
    watches.watch(id, DIR, Inotify::ALL_EVENTS).unwrap();
    for (event, name) in [
        (Inotify::MODIFY, b"a"),
        (Inotify::MODIFY, b"a"),
        (Inotify::MODIFY, b"b"),
        (Inotify::MODIFY, b"a"),
    ] {
        watches.tell(DIR, &entry(event, name), |_| ());
    }
    assert_eq!(read(&mut watches, id, 1000).unwrap().len(), 3);
}

#[test]
fn full_queue_tells_so_once_and_goes_on_when_it_was_read() {
    let (mut watches, id) = one();
    let wd = watches.watch(id, DIR, Inotify::ALL_EVENTS).unwrap();
    let two = |watches: &mut Watches<u32>| {
        watches.tell(DIR, &own(Inotify::OPEN), |_| ());
        watches.tell(DIR, &own(Inotify::ACCESS), |_| ());
    };
    for _ in 0..MAX_QUEUED_EVENTS {
        two(&mut watches);
    }
    let events = read(&mut watches, id, (MAX_QUEUED_EVENTS + 2) * EVENT_LEN).unwrap();
    assert_eq!(events.len(), MAX_QUEUED_EVENTS + 1);
    assert_eq!(events[MAX_QUEUED_EVENTS], (-1, 0x4000, 0, vec![]));
    two(&mut watches);
    assert_eq!(read(&mut watches, id, 100).unwrap()[0].0, wd);
    for _ in 0..MAX_QUEUED_EVENTS {
        two(&mut watches);
    }
    assert_eq!(watches.unread(id), (MAX_QUEUED_EVENTS + 1) * EVENT_LEN);
}

#[test]
fn mask_is_replaced_or_added_to_and_a_watch_is_one_of_its_inode() {
    let (mut watches, id) = one();
    let wd = watches.watch(id, FILE, Inotify::OPEN).unwrap();
    assert_eq!(watches.watch(id, FILE, Inotify::MODIFY), Ok(wd));
    watches.tell(FILE, &own(Inotify::OPEN), |_| ());
    assert!(!watches.is_readable(id));
    assert_eq!(
        watches.watch(id, FILE, Inotify::OPEN | Inotify::MASK_ADD),
        Ok(wd)
    );
    watches.tell(FILE, &own(Inotify::MODIFY), |_| ());
    watches.tell(FILE, &own(Inotify::OPEN), |_| ());
    assert_eq!(watches.unread(id), 32);
    let made = watches.watch(id, FILE, Inotify::OPEN | Inotify::MASK_CREATE);
    assert_eq!(made, Err(Errno::EEXIST));
    assert_eq!(watches.watches(), 1);
    assert_eq!(watches.watch(id, DIR, Inotify::OPEN), Ok(wd + 1));
}

#[test]
fn watch_for_one_event_ends_with_it() {
    let (mut watches, id) = one();
    let wd = watches
        .watch(id, FILE, Inotify::OPEN | Inotify::ONESHOT)
        .unwrap();
    watches.tell(FILE, &own(Inotify::OPEN), |_| ());
    watches.tell(FILE, &own(Inotify::OPEN), |_| ());
    let events = read(&mut watches, id, 100).unwrap();
    assert_eq!(events, [(wd, 0x20, 0, vec![]), (wd, 0x8000, 0, vec![])]);
    assert_eq!(watches.unwatch(id, wd, |_| ()), Err(Errno::EINVAL));
    // Descriptors do not come back at once.
    assert_eq!(watches.watch(id, FILE, Inotify::OPEN), Ok(wd + 1));
}

#[test]
fn watches_end_with_their_inode_or_instance() {
    let (mut watches, id) = one();
    let other = watches.open(2).unwrap();
    let wd = watches.watch(id, FILE, Inotify::DELETE_SELF).unwrap();
    watches.watch(other, FILE, Inotify::OPEN).unwrap();
    watches.watch(other, DIR, Inotify::OPEN).unwrap();
    let mut woken = Vec::new();
    watches.gone(FILE, |handle| woken.push(*handle));
    assert_eq!(woken, [1, 1, 2]);
    let events = read(&mut watches, id, 100).unwrap();
    assert_eq!(events, [(wd, 0x400, 0, vec![]), (wd, 0x8000, 0, vec![])]);
    assert_eq!(watches.watches(), 1);
    assert!(watches.close(other).is_some());
    assert_eq!(watches.watches(), 0);
    assert!(watches.by_inode.is_empty());
    assert_eq!(
        watches.read(other, &mut [0u8; 64].as_mut_slice() as &mut dyn Sink),
        Err(Errno::EINVAL)
    );
}

#[test]
fn unlinked_entries_are_told_to_those_who_want_them() {
    let (mut watches, id) = one();
    watches
        .watch(id, DIR, Inotify::OPEN | Inotify::EXCL_UNLINK)
        .unwrap();
    let other = watches.open(2).unwrap();
    watches.watch(other, DIR, Inotify::OPEN).unwrap();
    let mut news = entry(Inotify::OPEN, b"a");
    news.is_unlinked = true;
    watches.tell(DIR, &news, |_| ());
    assert!(!watches.is_readable(id));
    assert!(watches.is_readable(other));
}

#[test]
fn instances_and_watches_have_bounds() {
    let (mut watches, id) = one();
    for i in 1..MAX_USER_INSTANCES {
        watches.open(i as u32).unwrap();
    }
    assert_eq!(watches.open(0), Err(Errno::EMFILE));
    for i in 0..MAX_USER_WATCHES {
        watches
            .watch(id, Ino(100 + i as u64), Inotify::OPEN)
            .unwrap();
    }
    assert_eq!(watches.watch(id, FILE, Inotify::OPEN), Err(Errno::ENOSPC));
    assert!(watches.watch(id, Ino(100), Inotify::MODIFY).is_ok());
    watches.unwatch(id, 1, |_| ()).unwrap();
    assert!(watches.watch(id, FILE, Inotify::OPEN).is_ok());
}
