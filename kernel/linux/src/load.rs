//! Samples the load.

use alloc::sync::Arc;

use tyn_abi::Nanos;
use tyn_hal::sync::SpinLock;
use tyn_hal::time;
use tyn_sched::load::LoadAverages;

use crate::sched::{self, TimerTarget, set_timer};

static LOAD: SpinLock<LoadAverages> = SpinLock::new(LoadAverages::new(Nanos::ZERO));

#[derive(Debug)]
struct Sampler;

impl TimerTarget for Sampler {
    fn expired(self: Arc<Self>, now: Nanos) {
        let active = sched::runnable() as u64;
        let due = {
            let mut load = LOAD.lock();
            load.sample(now, active);
            load.due()
        };
        set_timer(due, self);
    }
}

/// Begins to sample; called once, when timers can be set.
pub(crate) fn init() {
    let start = LoadAverages::new(time::now());
    *LOAD.lock() = start;
    set_timer(start.due(), Arc::new(Sampler));
}

/// Returns the averages over 1, 5 and 15 minutes in units of 1/65536.
pub(crate) fn averages() -> [u64; 3] {
    LOAD.lock().averages()
}
