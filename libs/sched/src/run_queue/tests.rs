//! Tests of lanes, budgets and preemption.

use super::*;
use alloc::vec::Vec;

const MS: u64 = 1_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Thread(char, CpuSet);

impl Runnable for Thread {
    fn affinity(&self) -> CpuSet {
        self.1
    }
}

fn queue(threads: &[(char, Lane)]) -> RunQueue<Thread> {
    let mut q = RunQueue::new();
    for &(name, lane) in threads {
        q.push(Thread(name, CpuSet::ALL), lane);
    }
    q
}

fn drain(mut q: RunQueue<Thread>) -> Vec<char> {
    core::iter::from_fn(|| q.pop().map(|(t, _)| t.0)).collect()
}

fn stay(since_ms: u64, budget_ms: u64, lane: Lane) -> Stay {
    Stay {
        since: Nanos(since_ms * MS),
        budget: Budget(Nanos(budget_ms * MS)),
        lane,
    }
}

#[test]
fn woken_threads_run_first_and_each_lane_is_first_come_first_served() {
    let q = queue(&[
        ('t', Lane::Turn),
        ('u', Lane::Turn),
        ('w', Lane::Woken),
        ('x', Lane::Woken),
        ('r', Lane::Resume),
    ]);
    assert_eq!(q.len(), 5);
    assert_eq!(q.next_lane(), Some(Lane::Woken));
    assert_eq!(drain(q), ['w', 'x', 'r', 't', 'u']);
}

#[test]
fn empty_queue_serves_nobody() {
    let mut q = queue(&[]);
    assert!(q.is_empty());
    assert_eq!(q.next_lane(), None);
    assert_eq!(q.pop(), None);
    assert_eq!(q.steal(CpuIndex(0)), None);
}

#[test]
fn thief_takes_the_first_thread_that_may_run_there() {
    let mut q = RunQueue::new();
    q.push(Thread('a', CpuSet(0b01)), Lane::Woken);
    q.push(Thread('b', CpuSet(0b10)), Lane::Turn);
    q.push(Thread('c', CpuSet(0b11)), Lane::Turn);
    let mut steal = |cpu| q.steal(CpuIndex(cpu)).map(|(t, lane)| (t.0, lane));
    assert_eq!(steal(1), Some(('b', Lane::Turn)));
    assert_eq!(steal(1), Some(('c', Lane::Turn)));
    assert_eq!(steal(1), None);
    assert_eq!(steal(0), Some(('a', Lane::Woken)));
}

#[test]
fn nobody_waits_nobody_is_preempted() {
    assert_eq!(stay(5, 4, Lane::Turn).ends_at(None), None);
}

#[test]
fn turn_ends_with_its_budget_or_soon_after_somebody_woke_up() {
    let turn = stay(10, 4, Lane::Turn);
    assert_eq!(turn.ends_at(Some(Lane::Turn)), Some(Nanos(14 * MS)));
    assert_eq!(turn.ends_at(Some(Lane::Woken)), Some(Nanos(11 * MS)));
    let woken = stay(10, 4, Lane::Woken);
    assert_eq!(woken.ends_at(Some(Lane::Woken)), Some(Nanos(14 * MS)));
}

#[test]
fn budget_shrinks_over_sleeps_and_is_refilled_only_by_taking_a_turn() {
    let (left, lane) = stay(0, 4, Lane::Woken).parked(Nanos(3 * MS));
    assert_eq!((left, lane), (Budget(Nanos(MS)), Lane::Woken));
    let (left, lane) = stay(50, 1, lane).parked(Nanos(51 * MS));
    assert_eq!((left, lane), (Budget(SLICE), Lane::Turn));
}

#[test]
fn preempted_turn_is_resumed_first_and_used_up_turn_goes_last() {
    let turn = stay(0, 4, Lane::Turn);
    assert_eq!(
        turn.preempted(Nanos(MS)),
        (Budget(Nanos(3 * MS)), Lane::Resume)
    );
    assert_eq!(turn.preempted(Nanos(4 * MS)), (Budget(SLICE), Lane::Turn));
    assert_eq!(turn.preempted(Nanos(9 * MS)), (Budget(SLICE), Lane::Turn));
    let woken = stay(0, 4, Lane::Woken);
    assert_eq!(
        woken.preempted(Nanos(MS)),
        (Budget(Nanos(3 * MS)), Lane::Woken)
    );
}

/// One CPU, `sleepers` that each run 0.9 ms and sleep for an instant, and one thread that only computes.
#[test]
fn busy_sleepers_cannot_starve_a_thread_on_its_turn() {
    for sleepers in 1..5u64 {
        let mut q = RunQueue::new();
        let mut budgets = alloc::vec![Budget::default(); sleepers as usize + 1];
        for i in 1..=sleepers as usize {
            q.push(i, Lane::Woken);
        }
        q.push(0usize, Lane::Turn);
        let (mut now, mut last_turn, mut longest) = (0, 0, 0);
        for _ in 0..2000 {
            let (t, lane) = q.pop().unwrap();
            let stay = Stay {
                since: Nanos(now),
                budget: budgets[t],
                lane,
            };
            let lane;
            if t == 0 {
                longest = longest.max(now - last_turn);
                now = stay.ends_at(q.next_lane()).map_or(now + SLICE.0, |n| n.0);
                last_turn = now;
                (budgets[0], lane) = stay.preempted(Nanos(now));
            } else {
                now += 900_000;
                (budgets[t], lane) = stay.parked(Nanos(now));
            }
            q.push(t, lane);
        }
        assert!(
            longest <= (sleepers + 1) * (SLICE.0 + MS),
            "{sleepers} sleepers: {longest} ns"
        );
    }
}
