//! Dialogue tests of a bucket, and the exploration of waiting, waking, timing out and requeueing.

use super::*;
use crate::explore::{self, Model};
use crate::park::{BeginPark, Handover, ParkState};
use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};

const A: Key = Key::Private {
    space: 1,
    addr: 0x1000,
};
const B: Key = Key::Private {
    space: 1,
    addr: 0x2000,
};
const OTHER: Key = Key::Shared {
    object: 1,
    offset: 0x1000,
};

/// Plays operations on one bucket: `wait NAME on KEY`, `wake KEY, N => [NAMES]`.
macro_rules! dialogue {
    (@ $b:ident) => {};
    (@ $b:ident wait $name:literal on $key:ident; $($rest:tt)*) => {
        $b.wait($key, MATCH_ANY, $name);
        dialogue!(@ $b $($rest)*);
    };
    (@ $b:ident wait $name:literal on $key:ident bits $bits:literal; $($rest:tt)*) => {
        $b.wait($key, $bits, $name);
        dialogue!(@ $b $($rest)*);
    };
    (@ $b:ident wake $key:ident, $n:literal => $names:expr; $($rest:tt)*) => {
        dialogue!(@ $b wake $key, $n bits 0xffff_ffff => $names; $($rest)*);
    };
    (@ $b:ident wake $key:ident, $n:literal bits $bits:literal => $names:expr; $($rest:tt)*) => {
        let mut woken = Vec::new();
        let count = $b.wake($key, $n, $bits, |w| woken.push(w));
        let expected: &[&str] = &$names;
        assert_eq!(woken, expected);
        assert_eq!(count as usize, expected.len());
        dialogue!(@ $b $($rest)*);
    };
    (@ $b:ident cancel $name:literal => $expected:expr; $($rest:tt)*) => {
        assert_eq!($b.cancel(|w| *w == $name).is_some(), $expected);
        dialogue!(@ $b $($rest)*);
    };
    (@ $b:ident requeue $from:ident to $to:ident, $n:literal => $count:literal; $($rest:tt)*) => {
        let moved = $b.requeue($from, $to, $n, |_| ());
        assert_eq!($b.accept(moved), $count);
        dialogue!(@ $b $($rest)*);
    };
    ($($all:tt)*) => {{
        let mut bucket = Bucket::new();
        dialogue!(@ bucket $($all)*);
        bucket
    }};
}

#[test]
fn waiters_are_woken_first_come_first_and_only_on_their_key() {
    let left = dialogue! {
        wait "t1" on A; wait "t2" on B; wait "t3" on A; wait "t4" on A; wait "t5" on OTHER;
        wake A, 2 => ["t1", "t3"];
        wake A, 9 => ["t4"];
        wake A, 9 => [];
        wake B, 1 => ["t2"];
        wake OTHER, 1 => ["t5"];
    };
    assert!(left.is_empty());
}

#[test]
fn wake_of_zero_wakes_nobody() {
    let left = dialogue! { wait "t1" on A; wake A, 0 => []; };
    assert!(!left.is_empty());
}

#[test]
fn bitsets_select_waiters_and_keep_their_order() {
    dialogue! {
        wait "r" on A bits 0b01; wait "w" on A bits 0b10; wait "rw" on A bits 0b11;
        wake A, 9 bits 0b10 => ["w", "rw"];
        wake A, 9 bits 0b10 => [];
        wake A, 9 => ["r"];
    };
}

#[test]
fn cancelled_waiter_is_not_woken_and_a_woken_one_cannot_cancel() {
    dialogue! {
        wait "t1" on A; wait "t2" on A;
        cancel "t1" => true;
        cancel "t1" => false;
        wake A, 1 => ["t2"];
        cancel "t2" => false;
    };
}

#[test]
fn requeued_waiters_go_behind_those_of_the_other_key() {
    dialogue! {
        wait "a1" on A; wait "b1" on B; wait "a2" on A; wait "a3" on A;
        wake A, 1 => ["a1"];
        requeue A to B, 1 => 1;
        wake B, 9 => ["b1", "a2"];
        wake A, 9 => ["a3"];
    };
}

#[test]
fn keys_spread_over_all_buckets() {
    let mut counts = vec![0u32; 64];
    for i in 0..6400u64 {
        let key = Key::Private {
            space: 0xffff_8000_0012_3400,
            addr: 0x7f00_0000_1000 + i * 64,
        };
        counts[key.bucket(6)] += 1;
    }
    assert!(counts.iter().all(|&c| c > 20 && c < 400), "{counts:?}");
    assert_ne!(A, OTHER);
}

#[test]
fn wake_op_decodes_operations_comparisons_and_shifts() {
    let op = |op: u32, cmp: u32, oparg: u32, cmparg: u32| {
        WakeOp::decode(op << 28 | cmp << 24 | oparg << 12 | cmparg).unwrap()
    };
    assert_eq!(op(0, 0, 5, 0).apply(9), 5);
    assert_eq!(op(1, 0, 5, 0).apply(9), 14);
    assert_eq!(op(1, 0, 0xfff, 0).apply(9), 8, "the argument is signed");
    assert_eq!(op(2, 0, 6, 0).apply(9), 15);
    assert_eq!(op(3, 0, 1, 0).apply(9), 8);
    assert_eq!(op(4, 0, 1, 0).apply(9), 8);
    assert_eq!(op(8 | 2, 0, 4, 0).apply(0), 16, "FUTEX_OP_ARG_SHIFT");
    let holds: Vec<bool> = (0..6).map(|cmp| op(0, cmp, 0, 3).matches(2)).collect();
    assert_eq!(holds, [false, true, true, true, false, false]);
    assert!(
        op(0, 2, 0, 0).matches((-1i32).cast_unsigned()),
        "comparison is signed"
    );
    assert_eq!(WakeOp::decode(5 << 28), Err(Errno::ENOSYS));
    assert_eq!(WakeOp::decode(6 << 24), Err(Errno::ENOSYS));
}

#[test]
fn robust_lock_of_a_dead_thread_is_marked_and_its_waiter_woken() {
    use robust::{OWNER_DIED, WAITERS, abandon};
    assert_eq!(abandon(42, 42), Some((OWNER_DIED, false)));
    assert_eq!(
        abandon(42 | WAITERS, 42),
        Some((OWNER_DIED | WAITERS, true))
    );
    assert_eq!(abandon(43, 42), None);
    assert_eq!(abandon(0, 42), None);
}

/// What a modelled thread does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Op {
    /// `while word[k] == 0 { futex_wait(k, 0) }`.
    WaitNonZero(usize),
    /// `futex_wait(k, 0)` that may time out at any moment; either way it goes on.
    WaitTimed(usize),
    /// `word[k] = 1`.
    Store(usize),
    /// `futex_wake(k, n)`; the count is added to `woken`.
    Wake(usize, u32),
    /// `futex_cmp_requeue(from 0, to 1, wake 0, move all)`.
    RequeueAll,
}

/// Where a thread is in its operation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    /// Before its first step.
    Start,
    /// In a bucket, or woken: about to look and park.
    Waiting,
    /// Parked (or about to be resumed).
    Parked,
    /// Took a waiter out under the lock; the unpark is still to come.
    Unparking(usize),
    /// Gave up; about to leave its bucket.
    Cancelling,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Thread {
    pc: usize,
    at: At,
    park: ParkState,
    /// Set under the bucket's lock by whoever takes the thread out.
    is_woken: bool,
    to_wake: Vec<usize>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct World {
    programs: &'static [&'static [Op]],
    words: [u32; 2],
    bucket: Bucket<usize>,
    threads: Vec<Thread>,
    /// Sum of the counts that wakes returned, and of the waits that ended by a wake.
    woken: u32,
    wakes_received: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Go(usize),
    TimeOut(usize),
}

const KEYS: [Key; 2] = [A, B];

impl World {
    fn new(programs: &'static [&'static [Op]]) -> Self {
        let thread = Thread {
            pc: 0,
            at: At::Start,
            park: ParkState::Running,
            is_woken: false,
            to_wake: Vec::new(),
        };
        Self {
            programs,
            words: [0; 2],
            bucket: Bucket::new(),
            threads: vec![thread; programs.len()],
            woken: 0,
            wakes_received: 0,
        }
    }

    fn op(&self, t: usize) -> Option<Op> {
        self.programs[t].get(self.threads[t].pc).copied()
    }

    fn next_op(&mut self, t: usize) {
        let thread = &mut self.threads[t];
        thread.pc += 1;
        thread.at = At::Start;
    }

    fn end_wait(&mut self, t: usize, is_woken: bool) {
        self.wakes_received += u32::from(is_woken);
        self.threads[t].is_woken = false;
        match self.op(t) {
            Some(Op::WaitNonZero(_)) => self.threads[t].at = At::Start,
            _ => self.next_op(t),
        }
    }

    /// First step of an operation: everything that happens under the bucket's lock.
    fn start(&mut self, t: usize, op: Op) {
        match op {
            Op::WaitNonZero(k) | Op::WaitTimed(k) if self.words[k] != 0 => self.next_op(t),
            Op::WaitNonZero(k) | Op::WaitTimed(k) => {
                self.bucket.wait(KEYS[k], MATCH_ANY, t);
                self.threads[t].at = At::Waiting;
            }
            Op::Store(k) => {
                self.words[k] = 1;
                self.next_op(t);
            }
            Op::Wake(k, n) => {
                let mut taken = Vec::new();
                self.woken += self.bucket.wake(KEYS[k], n, MATCH_ANY, |w| taken.push(w));
                for &w in &taken {
                    self.threads[w].is_woken = true;
                }
                self.threads[t].to_wake = taken;
                self.unpark_next(t);
            }
            Op::RequeueAll => {
                let moved = self.bucket.requeue(A, B, u32::MAX, |_| ());
                self.bucket.accept(moved);
                self.next_op(t);
            }
        }
    }

    fn unpark_next(&mut self, t: usize) {
        if self.threads[t].to_wake.is_empty() {
            self.next_op(t);
        } else {
            let w = self.threads[t].to_wake.remove(0);
            self.threads[t].at = At::Unparking(w);
        }
    }

    fn go(&mut self, t: usize) {
        match self.threads[t].at {
            At::Start => {
                let op = self.op(t).unwrap();
                self.start(t, op);
            }
            At::Waiting if self.threads[t].is_woken => self.end_wait(t, true),
            At::Waiting => {
                let (state, begin) = self.threads[t].park.begin_park();
                self.threads[t].park = state;
                if begin == BeginPark::Leave {
                    self.threads[t].at = At::Parked;
                }
            }
            At::Parked => {
                // Either the park is to be completed, or the thread was made runnable.
                match self.threads[t].park {
                    ParkState::Parking | ParkState::Woken => {
                        let (state, handover) = self.threads[t].park.finish_park();
                        self.threads[t].park = state;
                        if handover == Handover::Enqueue {
                            self.threads[t].at = At::Waiting;
                        }
                    }
                    _ => self.threads[t].at = At::Waiting,
                }
            }
            At::Unparking(w) => {
                let (state, _) = self.threads[w].park.unpark();
                self.threads[w].park = state;
                self.unpark_next(t);
            }
            At::Cancelling => {
                let was_there = self.bucket.cancel(|&w| w == t).is_some();
                self.end_wait(t, !was_there);
            }
        }
    }
}

impl Model for World {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (t, thread) in self.threads.iter().enumerate() {
            let Some(op) = self.op(t) else { continue };
            let sleeps = thread.at == At::Parked && thread.park == ParkState::Parked;
            if !sleeps {
                steps.push(Step::Go(t));
            }
            if matches!(op, Op::WaitTimed(_)) && (sleeps || thread.at == At::Waiting) {
                steps.push(Step::TimeOut(t));
            }
        }
        steps
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Go(t) => self.go(t),
            Step::TimeOut(t) => {
                if self.threads[t].at == At::Parked {
                    let (state, _) = self.threads[t].park.unpark();
                    self.threads[t].park = state;
                }
                self.threads[t].at = At::Cancelling;
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        for (t, thread) in self.threads.iter().enumerate() {
            let entries = self.bucket.entries.iter().filter(|e| e.waiter == t).count();
            let is_waiting = matches!(thread.at, At::Waiting | At::Parked | At::Cancelling);
            if entries > 1 || (entries == 1) != (is_waiting && !thread.is_woken) {
                return Err(format!("thread {t} has {entries} entries: {thread:?}"));
            }
        }
        if self.wakes_received > self.woken {
            return Err("a wake-up came from nowhere".into());
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), String> {
        for t in 0..self.threads.len() {
            if self.op(t).is_some() {
                return Err(format!("thread {t} sleeps for ever: {:?}", self.threads[t]));
            }
        }
        if self.wakes_received != self.woken {
            return Err(format!(
                "{} wakes, {} received",
                self.woken, self.wakes_received
            ));
        }
        Ok(())
    }
}

#[test]
fn no_interleaving_loses_a_wake_or_saves_one_up() {
    use Op::{RequeueAll, Store, WaitNonZero, WaitTimed, Wake};
    let programs: &[&[&[Op]]] = &[
        &[&[WaitNonZero(0)], &[Store(0), Wake(0, 1)]],
        &[
            &[WaitNonZero(0)],
            &[WaitNonZero(0)],
            &[Store(0), Wake(0, 2)],
        ],
        &[
            &[WaitNonZero(0), Wake(0, 1)],
            &[WaitNonZero(0)],
            &[Store(0), Wake(0, 1), Wake(0, 1)],
        ],
        &[&[WaitTimed(0)], &[Wake(0, 1), Wake(0, 1)]],
        &[
            &[WaitTimed(0), WaitTimed(0)],
            &[WaitTimed(0)],
            &[Wake(0, 1)],
        ],
        &[&[WaitTimed(0)], &[RequeueAll, Wake(1, 9)], &[Wake(0, 1)]],
        &[
            &[WaitNonZero(0)],
            &[RequeueAll, Store(0), Wake(1, 9), Wake(0, 9)],
        ],
    ];
    for &programs in programs {
        let states = explore::every_interleaving(World::new(programs));
        assert!(states > 5, "{programs:?}: {states} states");
    }
}

#[test]
fn explorer_finds_the_sleeper_when_nobody_wakes_after_the_store() {
    use Op::{Store, WaitNonZero, Wake};
    const PROGRAMS: &[&[Op]] = &[&[WaitNonZero(0)], &[Wake(0, 1), Store(0)]];
    assert!(explore::find_failure(World::new(PROGRAMS)).is_some());
}

#[test]
fn room_of_a_crowd_is_given_back() {
    let crowd = || {
        let mut bucket = Bucket::new();
        (0..300).for_each(|i| bucket.wait(A, MATCH_ANY, i));
        assert!(bucket.entries.capacity() >= 300);
        bucket
    };
    let mut woken = crowd();
    woken.wake(A, 299, MATCH_ANY, |_| ());
    assert!(woken.entries.capacity() >= 300);
    woken.wake(A, 1, MATCH_ANY, |_| ());
    assert!(woken.entries.capacity() <= KEPT);

    let mut gave_up = crowd();
    (0..300).for_each(|i| assert!(gave_up.cancel(|&w| w == i).is_some()));
    assert!(gave_up.entries.capacity() <= KEPT);

    let mut moved_away = crowd();
    let moved = moved_away.requeue(A, B, 300, |_| ());
    assert_eq!(Bucket::new().accept(moved), 300);
    assert!(moved_away.entries.capacity() <= KEPT);
}
