//! Dialogue tests of the transitions, and the exploration of parking on two CPUs.

use super::*;
use crate::explore::{self, Model};
use crate::run_queue::{Lane, RunQueue};
use alloc::vec::Vec;
use alloc::{format, vec};

/// Plays transitions from `Running` and compares the state after each.
macro_rules! dialogue {
    ($($call:ident => $state:ident, $outcome:expr;)*) => {{
        let mut state = ParkState::Running;
        $(
            let (next, outcome) = state.$call();
            assert_eq!((next, outcome), (ParkState::$state, $outcome), stringify!($call));
            state = next;
        )*
        let _ = state;
    }};
}

#[test]
fn parked_thread_is_enqueued_by_its_first_unpark_only() {
    dialogue! {
        begin_park => Parking, BeginPark::Leave;
        finish_park => Parked, Handover::None;
        unpark => Running, Handover::Enqueue;
        unpark => Notified, Handover::None;
    }
}

#[test]
fn unparks_of_a_running_thread_leave_one_token() {
    dialogue! {
        unpark => Notified, Handover::None;
        unpark => Notified, Handover::None;
        begin_park => Running, BeginPark::Stay;
        begin_park => Parking, BeginPark::Leave;
    }
}

#[test]
fn thread_unparked_on_its_way_out_is_enqueued_when_it_is_out() {
    dialogue! {
        begin_park => Parking, BeginPark::Leave;
        unpark => Woken, Handover::None;
        unpark => Woken, Handover::None;
        finish_park => Running, Handover::Enqueue;
        begin_park => Parking, BeginPark::Leave;
    }
}

#[test]
fn states_survive_the_trip_through_u8() {
    for raw in 0..=255u8 {
        if let Some(state) = ParkState::from_u8(raw) {
            assert_eq!(state as u8, raw);
            assert!(raw <= 4);
        }
    }
}

/// One operation of a modelled thread.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Op {
    /// Waits until the flag is set: `while !flag { park }`, then clears it.
    Await(usize),
    /// Sets a flag, then unparks the thread.
    Signal(usize),
    /// Gives the CPU up.
    Yield,
}

/// Where a thread is in its operation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Thread {
    park: ParkState,
    pc: usize,
    /// In `Signal`: the flag is set, the unpark is still to come. In `Await`: the flag was seen clear.
    is_midway: bool,
}

/// What a CPU does next; each is one atomic step of the kernel (a lock held, or a compare-and-swap).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Cpu {
    /// Runs the current thread's program; kicks that it owes come first, as on each way back to ring 3.
    Runs,
    /// Switched to the dispatcher, which is to complete the thread's departure.
    SeesOff(Leave, usize),
    /// Puts a thread on a run queue: here, or on an idle CPU that it claims.
    Enqueues(usize, After),
    /// Pushed to a busy CPU: is some CPU idle after all?
    Rechecks(After),
    /// The dispatcher looks at its own queue, after it has sent the kicks that it owes.
    PicksOwn(Idleness),
    /// Its own queue was empty: it looks at the other's.
    PicksOther(Idleness),
    /// Halted until kicked.
    Halted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Leave {
    Park,
    Yield,
    Exit,
}

/// Whether the CPU has announced that it is idle.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Idleness {
    NotYet,
    Announced,
}

/// What an enqueuing CPU goes back to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum After {
    Program,
    Dispatch,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct World {
    programs: &'static [&'static [Op]],
    threads: Vec<Thread>,
    flags: Vec<bool>,
    cpus: Vec<Cpu>,
    current: Vec<Option<usize>>,
    idle: Vec<bool>,
    /// CPUs whose interrupt is pending.
    kicked: Vec<bool>,
    /// For each CPU, whom it is to kick.
    owed: Vec<Vec<usize>>,
    queues: Vec<RunQueue<usize>>,
}

impl World {
    fn new(programs: &'static [&'static [Op]], cpus: usize) -> Self {
        let mut queues = vec![RunQueue::new(); cpus];
        for t in 0..programs.len() {
            queues[0].push(t, Lane::Woken);
        }
        let thread = Thread {
            park: ParkState::Running,
            pc: 0,
            is_midway: false,
        };
        Self {
            programs,
            threads: vec![thread; programs.len()],
            flags: vec![false; programs.len()],
            cpus: vec![Cpu::PicksOwn(Idleness::NotYet); cpus],
            current: vec![None; cpus],
            idle: vec![false; cpus],
            kicked: vec![false; cpus],
            owed: vec![Vec::new(); cpus],
            queues,
        }
    }

    fn unpark(&mut self, cpu: usize, thread: usize) {
        let (state, handover) = self.threads[thread].park.unpark();
        self.threads[thread].park = state;
        self.cpus[cpu] = match handover {
            Handover::Enqueue => Cpu::Enqueues(thread, After::Program),
            Handover::None => Cpu::Runs,
        };
    }

    fn leave(&mut self, cpu: usize, leave: Leave) {
        let prev = self.current[cpu].take().unwrap();
        self.cpus[cpu] = Cpu::SeesOff(leave, prev);
    }

    fn run_program(&mut self, cpu: usize) {
        let me = self.current[cpu].unwrap();
        let t = self.threads[me];
        let Some(&op) = self.programs[me].get(t.pc) else {
            self.leave(cpu, Leave::Exit);
            return;
        };
        let advance = Thread {
            pc: t.pc + 1,
            is_midway: false,
            ..t
        };
        match (op, t.is_midway) {
            (Op::Await(flag), false) if self.flags[flag] => {
                self.flags[flag] = false;
                self.threads[me] = advance;
            }
            (Op::Await(_) | Op::Signal(_), false) => {
                if let Op::Signal(to) = op {
                    self.flags[to] = true;
                }
                self.threads[me].is_midway = true;
            }
            (Op::Await(_), true) => {
                let (state, begin) = t.park.begin_park();
                self.threads[me] = Thread {
                    park: state,
                    is_midway: false,
                    ..t
                };
                if begin == BeginPark::Leave {
                    self.leave(cpu, Leave::Park);
                }
            }
            (Op::Signal(to), true) => {
                self.threads[me] = advance;
                self.unpark(cpu, to);
            }
            (Op::Yield, _) => {
                self.threads[me] = advance;
                if !self.queues[cpu].is_empty() {
                    self.leave(cpu, Leave::Yield);
                }
            }
        }
    }

    fn see_off(&mut self, cpu: usize, leave: Leave, prev: usize) {
        let handover = match leave {
            Leave::Park => {
                let (state, handover) = self.threads[prev].park.finish_park();
                self.threads[prev].park = state;
                handover
            }
            Leave::Yield => Handover::Enqueue,
            Leave::Exit => Handover::None,
        };
        self.cpus[cpu] = match handover {
            Handover::Enqueue => Cpu::Enqueues(prev, After::Dispatch),
            Handover::None => Cpu::PicksOwn(Idleness::NotYet),
        };
    }

    fn pick(&mut self, cpu: usize, from: usize, idleness: Idleness) {
        if let Some((next, _)) = self.queues[from].pop() {
            self.idle[cpu] = false;
            self.current[cpu] = Some(next);
            self.cpus[cpu] = Cpu::Runs;
            return;
        }
        self.cpus[cpu] = match (from == cpu && self.cpus.len() > 1, idleness) {
            (true, _) => Cpu::PicksOther(idleness),
            (false, Idleness::NotYet) => {
                self.idle[cpu] = true;
                Cpu::PicksOwn(Idleness::Announced)
            }
            (false, Idleness::Announced) => Cpu::Halted,
        };
    }

    /// Claims an idle CPU, which is to be kicked.
    fn claim(&mut self, cpu: usize) -> Option<usize> {
        let target = (0..self.cpus.len()).find(|&c| self.idle[c])?;
        self.idle[target] = false;
        self.owed[cpu].push(target);
        Some(target)
    }

    fn enqueue(&mut self, cpu: usize, thread: usize, after: After) {
        let target = self.claim(cpu).unwrap_or(cpu);
        self.queues[target].push(thread, Lane::Woken);
        self.cpus[cpu] = Cpu::Rechecks(after);
    }

    fn recheck(&mut self, cpu: usize, after: After) {
        self.claim(cpu);
        self.cpus[cpu] = match after {
            After::Program => Cpu::Runs,
            After::Dispatch => Cpu::PicksOwn(Idleness::NotYet),
        };
    }

    /// Sends one of the kicks that the CPU owes; returns whether there was one.
    fn send_kick(&mut self, cpu: usize) -> bool {
        let Some(target) = self.owed[cpu].pop() else {
            return false;
        };
        self.kicked[target] = target != cpu;
        true
    }

    fn places(&self, thread: usize) -> usize {
        let queues = self.queues.iter();
        let queued: usize = queues
            .map(|q| q.iter().filter(|&&t| t == thread).count())
            .sum();
        let running = self.current.iter().filter(|&&c| c == Some(thread));
        let moving = self
            .cpus
            .iter()
            .filter(|&&c| matches!(c, Cpu::Enqueues(t, _) | Cpu::SeesOff(_, t) if t == thread));
        queued + running.count() + moving.count()
    }
}

impl Model for World {
    /// The CPU that makes its next step.
    type Step = usize;

    fn steps(&self) -> Vec<usize> {
        (0..self.cpus.len())
            .filter(|&c| self.cpus[c] != Cpu::Halted || self.kicked[c])
            .collect()
    }

    fn apply(&mut self, &cpu: &usize) {
        let state = self.cpus[cpu];
        match state {
            Cpu::Runs | Cpu::PicksOwn(Idleness::NotYet) if self.send_kick(cpu) => {}
            Cpu::Runs => self.run_program(cpu),
            Cpu::SeesOff(leave, prev) => self.see_off(cpu, leave, prev),
            Cpu::Enqueues(thread, after) => self.enqueue(cpu, thread, after),
            Cpu::Rechecks(after) => self.recheck(cpu, after),
            Cpu::PicksOwn(idleness) => self.pick(cpu, cpu, idleness),
            Cpu::PicksOther(idleness) => self.pick(cpu, 1 - cpu, idleness),
            Cpu::Halted => {
                self.kicked[cpu] = false;
                self.idle[cpu] = false;
                self.cpus[cpu] = Cpu::PicksOwn(Idleness::NotYet);
            }
        }
    }

    fn check(&self) -> Result<(), alloc::string::String> {
        for (t, thread) in self.threads.iter().enumerate() {
            if self.places(t) > 1 {
                return Err(format!("thread {t} is in two places"));
            }
            let on_queue = self.queues.iter().any(|q| q.iter().any(|&x| x == t));
            let may_queue = matches!(thread.park, ParkState::Running | ParkState::Notified);
            if on_queue && !may_queue {
                return Err(format!("thread {t} is queued in state {:?}", thread.park));
            }
        }
        // Work conservation: nobody waits while a CPU sleeps for good and nobody is about to look or to kick.
        let cpus = 0..self.cpus.len();
        let all_settled = cpus.clone().all(|c| match self.cpus[c] {
            Cpu::Halted => !self.kicked[c],
            Cpu::Runs => self.owed[c].is_empty(),
            _ => false,
        });
        let waiting: usize = self.queues.iter().map(RunQueue::len).sum();
        if all_settled && waiting > 0 && self.cpus.contains(&Cpu::Halted) {
            return Err("a CPU sleeps while a thread waits".into());
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), alloc::string::String> {
        for (t, thread) in self.threads.iter().enumerate() {
            if thread.pc != self.programs[t].len() {
                return Err(format!("thread {t} sleeps for ever: {thread:?}"));
            }
        }
        Ok(())
    }
}

#[test]
fn every_interleaving_of_signal_and_await_ends() {
    use Op::{Await, Signal, Yield};
    let programs: &[&[&[Op]]] = &[
        &[&[Await(0)], &[Signal(0)]],
        &[
            &[Await(0), Signal(1), Await(0)],
            &[Signal(0), Await(1), Signal(0)],
        ],
        &[&[Await(0)], &[Await(1), Signal(0)], &[Yield, Signal(1)]],
        &[&[Await(0), Yield], &[Signal(0), Yield], &[Yield, Yield]],
        &[
            &[Await(0), Signal(1)],
            &[Await(1), Signal(2)],
            &[Signal(0), Await(2)],
        ],
    ];
    for &programs in programs {
        for cpus in 1..=2 {
            let states = explore::every_interleaving(World::new(programs, cpus));
            assert!(states > 10, "{programs:?} on {cpus} CPUs: {states} states");
        }
    }
}

#[test]
fn two_signals_to_one_thread_wake_it_for_both() {
    use Op::{Await, Signal};
    const PROGRAMS: &[&[Op]] = &[&[Await(0)], &[Signal(0)], &[Signal(0)]];
    explore::every_interleaving(World::new(PROGRAMS, 2));
}

/// A CPU that idles with kicks owed.
#[test]
fn explorer_finds_the_sleeper_when_kicks_are_forgotten() {
    const PROGRAMS: &[&[Op]] = &[&[Op::Await(0)], &[Op::Signal(0)]];

    #[derive(Clone, PartialEq, Eq, Hash)]
    struct Forgetful(World);

    impl Model for Forgetful {
        type Step = usize;
        fn steps(&self) -> Vec<usize> {
            self.0.steps()
        }
        fn apply(&mut self, step: &usize) {
            self.0.apply(step);
            self.0.owed.iter_mut().for_each(Vec::clear);
        }
        fn check(&self) -> Result<(), alloc::string::String> {
            self.0.check()
        }
        fn check_end(&self) -> Result<(), alloc::string::String> {
            self.0.check_end()
        }
    }
    assert!(explore::find_failure(Forgetful(World::new(PROGRAMS, 2))).is_some());
}

/// The protocol without the `Woken` mark: an unpark of a parking thread enqueues it at once.
#[test]
fn explorer_finds_the_double_run_when_a_leaving_thread_is_enqueued_too_early() {
    const PROGRAMS: &[&[Op]] = &[&[Op::Await(0)], &[Op::Signal(0)]];

    #[derive(Clone, PartialEq, Eq, Hash)]
    struct Hasty(World);

    impl Model for Hasty {
        type Step = usize;
        fn steps(&self) -> Vec<usize> {
            self.0.steps()
        }
        fn apply(&mut self, step: &usize) {
            self.0.apply(step);
            for t in 0..self.0.threads.len() {
                if self.0.threads[t].park == ParkState::Woken {
                    self.0.queues[0].push(t, Lane::Woken);
                }
            }
        }
        fn check(&self) -> Result<(), alloc::string::String> {
            self.0.check()
        }
        fn check_end(&self) -> Result<(), alloc::string::String> {
            self.0.check_end()
        }
    }
    assert!(explore::find_failure(Hasty(World::new(PROGRAMS, 2))).is_some());
}
