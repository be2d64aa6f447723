//! Keeps the clock at the pace of its reference, which the host keeps right ([`time::follow_reference`]).

use alloc::sync::Arc;

use tyn_abi::Nanos;
use tyn_hal::time;

use crate::sched::{self, TimerTarget};

/// The next look at the reference.
struct Look;

impl TimerTarget for Look {
    fn expired(self: Arc<Self>, _: Nanos) {
        let wait = time::follow_reference();
        sched::set_timer(time::now() + wait, self);
    }
}

/// Begins to follow; called once, when timers can be set.
pub(crate) fn init() {
    sched::set_timer(time::FOLLOW_AFTER, Arc::new(Look));
}
