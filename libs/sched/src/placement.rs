//! Which CPU a thread that became runnable goes to.

use crate::cpus::{CpuIndex, CpuSet};

/// How busy a CPU is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// It runs nothing and nobody has claimed it yet.
    pub is_idle: bool,
    /// Threads on its run queue.
    pub queued: usize,
}

/// Picks a CPU for a thread: where it ran last if that is idle (its cache may be warm), else `here` if idle (no
/// inter-processor interrupt), else any idle CPU, else the one with the shortest queue, again preferring `last`,
/// then `here`.
///
/// `allowed` is the thread's affinity among the CPUs there are; when it names none of them, `here` is returned.
#[must_use]
pub fn place(
    allowed: CpuSet,
    last: CpuIndex,
    here: CpuIndex,
    load: impl Fn(CpuIndex) -> Load,
) -> CpuIndex {
    let preferred = [last, here].into_iter().filter(|&c| allowed.contains(c));
    let candidates = preferred.chain(allowed.iter());
    let mut best: Option<(CpuIndex, usize)> = None;
    for cpu in candidates {
        let Load { is_idle, queued } = load(cpu);
        if is_idle {
            return cpu;
        }
        if best.is_none_or(|(_, least)| queued < least) {
            best = Some((cpu, queued));
        }
    }
    best.map_or(here, |(cpu, _)| cpu)
}

/// Picks whom an idle CPU steals from: the longest queue.
#[must_use]
pub fn victim(
    cpus: CpuSet,
    thief: CpuIndex,
    queued: impl Fn(CpuIndex) -> usize,
) -> Option<CpuIndex> {
    cpus.iter()
        .filter(|&c| c != thief)
        .map(|c| (c, queued(c)))
        .filter(|&(_, n)| n > 0)
        .max_by_key(|&(c, n)| (n, core::cmp::Reverse(c)))
        .map(|(c, _)| c)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Load = Load {
        is_idle: true,
        queued: 0,
    };
    const fn busy(queued: usize) -> Load {
        Load {
            is_idle: false,
            queued,
        }
    }

    fn placed(allowed: u64, last: u32, here: u32, loads: &[Load]) -> u32 {
        let all = CpuSet::first(loads.len() as u32);
        let allowed = CpuSet(allowed).intersection(all);
        place(allowed, CpuIndex(last), CpuIndex(here), |c| {
            loads[c.0 as usize]
        })
        .0
    }

    #[test]
    fn idle_last_cpu_wins() {
        assert_eq!(placed(!0, 2, 0, &[IDLE, IDLE, IDLE]), 2);
    }

    #[test]
    fn busy_last_cpu_yields_to_idle_here_then_any_idle() {
        assert_eq!(placed(!0, 2, 1, &[IDLE, IDLE, busy(0)]), 1);
        assert_eq!(placed(!0, 2, 1, &[IDLE, busy(0), busy(0)]), 0);
    }

    #[test]
    fn all_busy_takes_the_shortest_queue_and_prefers_last_then_here() {
        assert_eq!(placed(!0, 2, 1, &[busy(1), busy(1), busy(1)]), 2);
        assert_eq!(placed(!0, 2, 1, &[busy(1), busy(1), busy(2)]), 1);
        assert_eq!(placed(!0, 2, 1, &[busy(0), busy(1), busy(1)]), 0);
    }

    #[test]
    fn affinity_excludes_even_idle_cpus() {
        assert_eq!(placed(0b010, 0, 2, &[IDLE, busy(9), IDLE]), 1);
        assert_eq!(placed(0b1000, 0, 2, &[IDLE, busy(9), IDLE]), 2);
    }

    #[test]
    fn thief_takes_from_the_longest_queue_and_never_from_itself() {
        let from = |queued: &'static [usize], thief| {
            victim(CpuSet::first(queued.len() as u32), CpuIndex(thief), |c| {
                queued[c.0 as usize]
            })
            .map(|c| c.0)
        };
        assert_eq!(from(&[1, 3, 2], 0), Some(1));
        assert_eq!(from(&[0, 3, 2], 1), Some(2));
        assert_eq!(from(&[2, 0, 2], 1), Some(0));
        assert_eq!(from(&[9, 0, 0], 0), None);
    }
}
