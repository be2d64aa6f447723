//! Tests of the epoll set, as dialogues: files become ready, the set is waited for, events come out.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

/// A set whose targets are the numbers of files, and what each file is ready for.
#[derive(Default)]
struct World {
    set: EpollSet<u64>,
    ready: BTreeMap<u64, Events>,
}

const IN: u32 = 1;
const OUT: u32 = 4;

fn key(file: u64) -> Key {
    Key { file, fd: 0 }
}

impl World {
    fn ready_for(&self, file: u64) -> Events {
        self.ready.get(&file).copied().unwrap_or_default()
    }

    fn add(&mut self, file: u64, events: u32) -> Result<(), Errno> {
        let event = EpollEvent { events, data: file };
        let id = self.set.add(key(file), event, |_| file)?;
        let _ = self.set.on_event(id, self.ready_for(file));
        Ok(())
    }

    fn modify(&mut self, file: u64, events: u32) -> Result<(), Errno> {
        let id = self
            .set
            .modify(key(file), EpollEvent { events, data: file })?;
        let _ = self.set.on_event(id, self.ready_for(file));
        Ok(())
    }

    /// Makes a file ready for `events` and tells the set.
    fn event(&mut self, file: u64, events: Events) -> Wake {
        self.ready.insert(file, events);
        match self.set.find(key(file)) {
            Some(id) => self.set.on_event(id, events),
            None => Wake::No,
        }
    }

    fn quiet(&mut self, file: u64) {
        self.ready.remove(&file);
    }

    /// Waits without blocking: file and events of at most `max` reports.
    fn wait(&mut self, max: usize) -> Vec<(u64, u32)> {
        let mut out = Vec::new();
        let mut scan = self.set.start_scan();
        while out.len() < max {
            let Some(c) = self.set.next_candidate(&mut scan) else {
                break;
            };
            let ready = self.ready_for(c.target);
            out.extend(self.set.settle(c.id, ready).map(|e| (e.data, e.events)));
        }
        out
    }
}

#[test]
fn level_triggered_is_reported_as_long_as_it_is_true() {
    let mut w = World::default();
    w.add(1, IN).unwrap();
    assert_eq!(w.wait(8), vec![]);
    assert_eq!(w.event(1, Events::IN), Wake::Yes);
    assert_eq!(w.wait(8), vec![(1, IN)]);
    assert_eq!(w.wait(8), vec![(1, IN)]);
    w.quiet(1);
    assert_eq!(w.wait(8), vec![]);
    assert!(w.set.is_idle());
}

#[test]
fn edge_triggered_is_reported_once_for_each_event() {
    let mut w = World::default();
    w.add(1, IN | EDGE).unwrap();
    let _ = w.event(1, Events::IN);
    assert_eq!(w.wait(8), vec![(1, IN)]);
    assert_eq!(w.wait(8), vec![]);
    assert_eq!(w.event(1, Events::IN), Wake::Yes);
    assert_eq!(w.event(1, Events::IN), Wake::No);
    assert_eq!(w.wait(8), vec![(1, IN)]);
}

#[test]
fn one_shot_is_silent_until_modified() {
    let mut w = World::default();
    w.add(1, IN | ONESHOT).unwrap();
    let _ = w.event(1, Events::IN);
    assert_eq!(w.wait(8), vec![(1, IN)]);
    assert_eq!(w.event(1, Events::IN | Events::HUP), Wake::No);
    assert_eq!(w.wait(8), vec![]);
    w.modify(1, IN | ONESHOT).unwrap();
    assert_eq!(w.wait(8), vec![(1, IN | Events::HUP.bits())]);
}

#[test]
fn file_that_is_ready_when_added_or_modified_is_reported() {
    let mut w = World::default();
    let _ = w.event(1, Events::IN | Events::OUT);
    w.add(1, OUT | EDGE).unwrap();
    assert_eq!(w.wait(8), vec![(1, OUT)]);
    assert_eq!(w.wait(8), vec![]);
    w.modify(1, IN | EDGE).unwrap();
    assert_eq!(w.wait(8), vec![(1, IN)]);
}

#[test]
fn events_nobody_asked_for_wake_nobody_and_errors_always_do() {
    let mut w = World::default();
    w.add(1, IN).unwrap();
    assert_eq!(w.event(1, Events::OUT), Wake::No);
    assert_eq!(w.event(1, Events::HUP), Wake::Yes);
    assert_eq!(w.wait(8), vec![(1, Events::HUP.bits())]);
}

#[test]
fn reports_take_turns() {
    let mut w = World::default();
    for file in 1..=3 {
        w.add(file, IN).unwrap();
        let _ = w.event(file, Events::IN);
    }
    assert_eq!(w.wait(2), vec![(1, IN), (2, IN)]);
    assert_eq!(w.wait(2), vec![(3, IN), (1, IN)]);
    assert_eq!(w.wait(8), vec![(2, IN), (3, IN), (1, IN)]);
}

#[test]
fn keys_are_unique_and_must_exist() {
    let mut w = World::default();
    w.add(1, IN).unwrap();
    assert_eq!(w.add(1, OUT), Err(Errno::EEXIST));
    assert_eq!(w.modify(2, IN), Err(Errno::ENOENT));
    assert_eq!(w.set.remove(key(2)), Err(Errno::ENOENT));
    let duplicate = Key { file: 1, fd: 9 };
    assert!(
        w.set
            .add(
                duplicate,
                EpollEvent {
                    events: IN,
                    data: 9
                },
                |_| 1
            )
            .is_ok()
    );
    assert_eq!(w.set.remove(key(1)), Ok(1));
    assert_eq!(w.set.len(), 1);
}

#[test]
fn exclusive_is_for_adding_and_simple_events_only() {
    let mut w = World::default();
    assert_eq!(w.add(1, IN | EXCLUSIVE | ONESHOT), Err(Errno::EINVAL));
    assert_eq!(
        w.add(1, Events::RDHUP.bits() | EXCLUSIVE),
        Err(Errno::EINVAL)
    );
    w.add(1, IN | EXCLUSIVE | EDGE).unwrap();
    assert_eq!(w.modify(1, IN), Err(Errno::EINVAL));
    w.add(2, IN).unwrap();
    assert_eq!(w.modify(2, IN | EXCLUSIVE), Err(Errno::EINVAL));
}

#[test]
fn removed_item_is_not_reported_and_its_id_stays_dead() {
    let mut w = World::default();
    w.add(1, IN).unwrap();
    let old = w.set.find(key(1)).unwrap();
    let _ = w.event(1, Events::IN);
    w.set.remove(key(1)).unwrap();
    assert_eq!(w.wait(8), vec![]);
    w.add(2, IN).unwrap();
    assert_eq!(w.set.on_event(old, Events::IN), Wake::No);
    assert_eq!(w.set.settle(old, Events::IN), None);
    assert_eq!(w.set.remove_item(old), None);
    assert_eq!(w.set.target(old), None);
}

#[test]
fn what_happens_during_a_scan_counts() {
    let mut w = World::default();
    w.add(1, IN | EDGE).unwrap();
    let _ = w.event(1, Events::IN);
    let mut scan = w.set.start_scan();
    let c = w.set.next_candidate(&mut scan).unwrap();
    assert_eq!(w.event(1, Events::IN), Wake::Yes);
    assert!(w.set.settle(c.id, Events::IN).is_some());
    assert!(w.set.next_candidate(&mut scan).is_none());
    assert_eq!(w.wait(8), vec![(1, IN)]);

    let _ = w.event(1, Events::IN);
    let mut scan = w.set.start_scan();
    let c = w.set.next_candidate(&mut scan).unwrap();
    w.modify(1, OUT).unwrap();
    assert_eq!(w.set.settle(c.id, Events::IN), None);
}

#[test]
fn event_that_could_not_be_delivered_stays_first() {
    let mut w = World::default();
    for file in [1, 2] {
        w.add(file, IN | EDGE).unwrap();
        let _ = w.event(file, Events::IN);
    }
    let mut scan = w.set.start_scan();
    let c = w.set.next_candidate(&mut scan).unwrap();
    assert!(w.set.would_report(c.id, Events::IN));
    assert!(!w.set.would_report(c.id, Events::OUT));
    w.set.put_back(c.id);
    assert_eq!(w.wait(8), vec![(1, IN), (2, IN)]);
}

#[test]
fn events_have_the_packed_layout() {
    let e = EpollEvent {
        events: 0x8000_0001,
        data: 0x1122_3344_5566_7788,
    };
    let bytes = e.to_bytes();
    assert_eq!(bytes[..4], [1, 0, 0, 0x80]);
    assert_eq!(bytes[4..6], [0x88, 0x77]);
    assert_eq!(EpollEvent::from_bytes(bytes), e);
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Op {
    Add(u64, u32),
    Modify(u64, u32),
    Remove(u64),
    Event(u64),
    Quiet(u64),
    Wait(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let mode = prop_oneof![Just(0), Just(EDGE), Just(ONESHOT), Just(EDGE | ONESHOT)];
    prop_oneof![
        (0..6u64, mode.clone()).prop_map(|(f, m)| Op::Add(f, IN | m)),
        (0..6u64, mode).prop_map(|(f, m)| Op::Modify(f, IN | m)),
        (0..6u64).prop_map(Op::Remove),
        (0..6u64).prop_map(Op::Event),
        (0..6u64).prop_map(Op::Quiet),
        (1..4usize).prop_map(Op::Wait),
    ]
}

/// What an item must do next, written down independently: modes, and whether an unreported edge is pending.
#[derive(Clone, Copy)]
struct Model {
    modes: u32,
    armed: bool,
    edge: bool,
}

proptest! {
    /// Every report is due, and what is due comes out when the set is waited for often enough.
    #[test]
    fn reports_exactly_what_is_due(ops in proptest::collection::vec(op(), 1..80)) {
        let mut w = World::default();
        let mut model: BTreeMap<u64, Model> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Add(f, events) => {
                    let fresh = !model.contains_key(&f);
                    prop_assert_eq!(w.add(f, events).is_ok(), fresh);
                    if fresh {
                        let edge = w.ready.contains_key(&f);
                        model.insert(f, Model { modes: events & MODES, armed: true, edge });
                    }
                }
                Op::Modify(f, events) => {
                    prop_assert_eq!(w.modify(f, events).is_ok(), model.contains_key(&f));
                    if let Some(m) = model.get_mut(&f) {
                        let edge = m.edge || w.ready.contains_key(&f);
                        *m = Model { modes: events & MODES, armed: true, edge };
                    }
                }
                Op::Remove(f) => {
                    prop_assert_eq!(w.set.remove(key(f)).is_ok(), model.remove(&f).is_some());
                }
                Op::Event(f) => {
                    let _ = w.event(f, Events::IN);
                    if let Some(m) = model.get_mut(&f) {
                        m.edge |= m.armed;
                    }
                }
                Op::Quiet(f) => w.quiet(f),
                Op::Wait(max) => {
                    for (f, events) in w.wait(max) {
                        prop_assert_eq!(events, IN);
                        let m = model.get_mut(&f).unwrap();
                        prop_assert!(m.armed && w.ready.contains_key(&f));
                        prop_assert!(m.modes & EDGE == 0 || m.edge);
                        m.edge = false;
                        m.armed = m.modes & ONESHOT == 0;
                    }
                }
            }
        }
        // A last wait for all: exactly the armed items whose file is ready, edge-triggered ones only with a new edge.
        let mut out: Vec<u64> = w.wait(usize::MAX).into_iter().map(|(f, _)| f).collect();
        out.sort_unstable();
        let due = |f: &u64, m: &Model| m.armed && w.ready.contains_key(f) && (m.modes & EDGE == 0 || m.edge);
        let certain: Vec<u64> = model.iter().filter(|(f, m)| due(f, m)).map(|(f, _)| *f).collect();
        prop_assert_eq!(out, certain);
    }
}
