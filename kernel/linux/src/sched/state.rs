//! What the scheduler keeps of each thread.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use tyn_sched::park::ParkState;
use tyn_sched::run_queue::Budget;
use tyn_sched::{CpuIndex, CpuSet};

use super::{CpuTimes, NOWHERE, online};

/// Scheduling state of a thread.
#[derive(Debug)]
pub struct RunState {
    /// A [`ParkState`].
    pub(super) park: AtomicU8,
    /// The CPU that the thread is on, [`NOWHERE`] when it is on none.
    pub(super) on_cpu: AtomicU32,
    /// The CPU that it was on last.
    pub(super) last_cpu: AtomicU32,
    /// Bit N: may run on CPU N.
    pub(super) affinity: AtomicU64,
    /// Nanoseconds of [`Budget`]; changed only by the dispatcher that has the thread.
    pub(super) budget: AtomicU64,
    /// Whether the thread wakes up to the turn lane; likewise.
    pub(super) wakes_to_turn: AtomicBool,
    /// CPU time used.
    pub times: CpuTimes,
}

impl RunState {
    /// Makes the state of a new thread, with the affinity of `parent`.
    #[must_use]
    pub fn new(parent: Option<&Self>) -> Self {
        let affinity = parent.map_or(CpuSet::ALL, Self::affinity);
        let last_cpu = parent.map_or(0, |p| p.last_cpu.load(Ordering::Relaxed));
        Self {
            park: AtomicU8::new(ParkState::Running as u8),
            on_cpu: AtomicU32::new(NOWHERE),
            last_cpu: AtomicU32::new(last_cpu),
            affinity: AtomicU64::new(affinity.0),
            budget: AtomicU64::new(Budget::default().0.0),
            wakes_to_turn: AtomicBool::new(false),
            times: CpuTimes::default(),
        }
    }

    /// Returns the CPUs that the thread may run on, among those there are.
    #[must_use]
    pub fn affinity(&self) -> CpuSet {
        CpuSet(self.affinity.load(Ordering::Relaxed)).intersection(online())
    }

    /// Returns whether the thread may run on `cpu`, which there is.
    #[inline]
    pub(super) fn allows(&self, cpu: CpuIndex) -> bool {
        // As `CpuSet::contains`, without asking whether there can be such a CPU.
        let affinity = self.affinity.load(Ordering::Relaxed);
        affinity & 1u64.wrapping_shl(cpu.0) != 0
    }

    /// Returns the CPU that the thread is on or was on last.
    #[must_use]
    pub fn last_cpu(&self) -> CpuIndex {
        CpuIndex(self.last_cpu.load(Ordering::Relaxed))
    }

    /// Returns whether the thread waits for something: for `/proc/PID/stat`.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.park.load(Ordering::Relaxed) == ParkState::Parked as u8
    }

    /// Applies a transition by compare-and-swap and returns its outcome.
    pub(super) fn transition<O>(&self, step: impl Fn(ParkState) -> (ParkState, O)) -> O {
        let mut raw = self.park.load(Ordering::Acquire);
        loop {
            let state = ParkState::from_u8(raw)
                .expect("invariant: only this function stores the park state");
            let (next, outcome) = step(state);
            let swap = self.park.compare_exchange_weak(
                raw,
                next as u8,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            match swap {
                Ok(_) => return outcome,
                Err(found) => raw = found,
            }
        }
    }
}
