//! Waiting for signals that are blocked (`sigwaitinfo(2)`).

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use tyn_abi::signal::{SigInfo, SignalSet};
use tyn_abi::{Errno, Nanos};
use tyn_hal::time;

use crate::sched;
use crate::thread::Thread;

/// Takes a pending signal among `wanted`, waiting for one until the deadline.
///
/// # Errors
/// `EAGAIN` when the deadline passed, `EINTR` when a signal that is not wanted is to be delivered.
pub fn wait_for(
    thread: &Arc<Thread>,
    wanted: SignalSet,
    deadline: Option<Nanos>,
) -> Result<SigInfo, Errno> {
    let signals = &thread.signals;
    let wanted = wanted.difference(SignalSet::UNBLOCKABLE);
    // From now on senders tell this thread of such signals although it blocks them.
    signals.awaited.store(wanted.0, Ordering::SeqCst);
    let result = loop {
        if let Some(info) = signals.take(&thread.process().signals, wanted) {
            break Ok(info);
        }
        if thread.has_deliverable_signal() {
            break Err(Errno::EINTR);
        }
        if deadline.is_some_and(|d| time::now() >= d) {
            break Err(Errno::EAGAIN);
        }
        sched::park(thread, deadline);
    };
    signals.awaited.store(0, Ordering::SeqCst);
    result
}
