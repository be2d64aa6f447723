//! Explores every interleaving of a small model's atomic steps.

use alloc::string::String;
use alloc::vec::Vec;
use core::hash::Hash;
use std::collections::HashSet;

/// A system of a few actors, each of which has at most a few next steps.
pub(crate) trait Model: Clone + Eq + Hash {
    /// Names a step.
    type Step: Clone + core::fmt::Debug;

    /// Returns the steps that are possible now.
    fn steps(&self) -> Vec<Self::Step>;
    /// Makes a step.
    fn apply(&mut self, step: &Self::Step);
    /// Checks what must hold in every state.
    fn check(&self) -> Result<(), String>;
    /// Checks what must hold when no step is possible.
    fn check_end(&self) -> Result<(), String>;
}

/// A failure, and the steps that lead to it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) steps: Vec<String>,
}

/// Visits every reachable state and returns how many there are, or the first failure.
pub(crate) fn explore<M: Model>(start: M) -> Result<usize, Failure> {
    let mut seen = HashSet::new();
    let mut stack = alloc::vec![(start.clone(), Vec::new())];
    seen.insert(start);
    while let Some((state, trail)) = stack.pop() {
        let fail = |what, trail: &[M::Step]| Failure {
            what,
            steps: trail.iter().map(|s| alloc::format!("{s:?}")).collect(),
        };
        state.check().map_err(|what| fail(what, &trail))?;
        let steps = state.steps();
        if steps.is_empty() {
            state.check_end().map_err(|what| fail(what, &trail))?;
        }
        for step in steps {
            let mut next = state.clone();
            next.apply(&step);
            if seen.insert(next.clone()) {
                let mut trail = trail.clone();
                trail.push(step);
                stack.push((next, trail));
            }
        }
    }
    Ok(seen.len())
}

/// Visits every reachable state; returns how many there are.
///
/// # Panics
/// On the first failure, with the steps that lead to it.
pub(crate) fn every_interleaving<M: Model>(start: M) -> usize {
    match explore(start) {
        Ok(states) => states,
        Err(f) => panic!("{} after {:?}", f.what, f.steps),
    }
}

/// Returns a failure, if there is one: to show that a model can tell right from wrong.
pub(crate) fn find_failure<M: Model>(start: M) -> Option<Failure> {
    explore(start).err()
}
