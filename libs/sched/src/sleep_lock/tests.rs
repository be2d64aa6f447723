//! Every interleaving of threads that take and release one lock, each on a CPU of its own.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::explore::{self, Model};
use crate::park::{BeginPark, Handover, ParkState};

/// Where a thread is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    /// Before taking the lock for the next time.
    Outside,
    /// Found it taken; is about to register.
    Refused,
    /// Registered; tries again.
    Tries,
    /// Registered, and failed again.
    Parks,
    /// Switched away; its CPU completes that.
    Leaves,
    /// Until unparked.
    Parked,
    /// Got it after waiting; still registered.
    Unregisters,
    Holds,
    /// Gave it back; is to unpark those from this one on.
    Wakes(usize),
    Done,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct World {
    lock: SleepLockState,
    at: Vec<At>,
    park: Vec<ParkState>,
    is_registered: Vec<bool>,
    turns: Vec<usize>,
    /// A defect to be found: whoever is to park leaves no word of it.
    leaves_no_word: bool,
}

impl World {
    fn new(threads: usize, turns: usize) -> Self {
        Self {
            lock: SleepLockState::Free,
            at: vec![At::Outside; threads],
            park: vec![ParkState::Running; threads],
            is_registered: vec![false; threads],
            turns: vec![turns; threads],
            leaves_no_word: false,
        }
    }

    fn take(&mut self, thread: usize) {
        let (next, is_mine) = self.lock.take();
        self.lock = next;
        self.at[thread] = if is_mine { At::Holds } else { At::Refused };
    }

    fn try_again(&mut self, thread: usize) {
        let (next, is_mine) = match self.leaves_no_word {
            true => self.lock.take(),
            false => self.lock.wait(),
        };
        self.lock = next;
        self.at[thread] = if is_mine { At::Unregisters } else { At::Parks };
    }

    fn begin_park(&mut self, thread: usize) {
        let (next, begin) = self.park[thread].begin_park();
        self.park[thread] = next;
        self.at[thread] = match begin {
            BeginPark::Stay => At::Tries,
            BeginPark::Leave => At::Leaves,
        };
    }

    fn release(&mut self, thread: usize) {
        let (next, wakes) = self.lock.release();
        self.lock = next;
        self.turns[thread] -= 1;
        self.at[thread] = match (wakes, self.turns[thread]) {
            (true, _) => At::Wakes(0),
            (false, 0) => At::Done,
            (false, _) => At::Outside,
        };
    }

    fn wake(&mut self, thread: usize, other: usize) {
        if other == self.at.len() {
            self.at[thread] = match self.turns[thread] {
                0 => At::Done,
                _ => At::Outside,
            };
            return;
        }
        self.at[thread] = At::Wakes(other + 1);
        if self.is_registered[other] {
            let (next, handover) = self.park[other].unpark();
            self.park[other] = next;
            if handover == Handover::Enqueue {
                self.at[other] = At::Tries;
            }
        }
    }
}

impl Model for World {
    /// The thread that makes its next step.
    type Step = usize;

    fn steps(&self) -> Vec<usize> {
        let runs = |t: &usize| !matches!(self.at[*t], At::Parked | At::Done);
        (0..self.at.len()).filter(runs).collect()
    }

    fn apply(&mut self, &thread: &usize) {
        match self.at[thread] {
            At::Outside => self.take(thread),
            At::Refused => {
                self.is_registered[thread] = true;
                self.at[thread] = At::Tries;
            }
            At::Tries => self.try_again(thread),
            At::Parks => self.begin_park(thread),
            At::Leaves => {
                let (next, handover) = self.park[thread].finish_park();
                self.park[thread] = next;
                self.at[thread] = match handover {
                    Handover::Enqueue => At::Tries,
                    Handover::None => At::Parked,
                };
            }
            At::Unregisters => {
                self.is_registered[thread] = false;
                self.at[thread] = At::Holds;
            }
            At::Holds => self.release(thread),
            At::Wakes(other) => self.wake(thread, other),
            At::Parked | At::Done => unreachable!("has no step"),
        }
    }

    fn check(&self) -> Result<(), String> {
        let holds = |at: &&At| matches!(at, At::Holds | At::Unregisters);
        match self.at.iter().filter(holds).count() {
            0 | 1 => Ok(()),
            count => Err(alloc::format!("{count} threads hold the lock")),
        }
    }

    fn check_end(&self) -> Result<(), String> {
        match self.at.iter().position(|at| *at != At::Done) {
            Some(thread) => Err(alloc::format!("thread {thread} waits for ever")),
            None => Ok(()),
        }
    }
}

#[test]
fn one_holds_it_and_nobody_waits_for_ever() {
    let states = explore::every_interleaving(World::new(2, 3));
    assert!(states > 300, "only {states} states");
    let states = explore::every_interleaving(World::new(3, 1));
    assert!(states > 1_000, "only {states} states");
}

#[test]
fn waiter_that_leaves_no_word_is_found() {
    let mut world = World::new(2, 1);
    world.leaves_no_word = true;
    let failure = explore::find_failure(world).unwrap();
    assert!(failure.what.contains("waits for ever"), "{}", failure.what);
}

#[test]
fn states_survive_the_trip_through_u8() {
    for raw in 0..=255u8 {
        if let Some(state) = SleepLockState::from_u8(raw) {
            assert_eq!(state as u8, raw);
        }
    }
}
