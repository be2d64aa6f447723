//! The wish that the machine stops: the power button asks the first process by SIGTERM, as `init(1)` of a Linux system is asked.
//!
//! Linux forgets a signal that its first process does not handle. The wish does not go with it: it waits until there is a
//! handler, or the signal is blocked to be taken otherwise. So a program that is still starting is not asked in vain. One that
//! ignores the signal has answered.
//!
//! Who runs when: a wish that was forgotten is stored before the action is looked at; who sets an action does so before looking
//! for a wish. One of them sees the other's.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use tyn_abi::signal::{SIG_DFL, SigInfo, Signal, code};
use tyn_hal::{power, time};

use crate::exit::INIT;
use crate::kernel::kernel;
use crate::process::Process;
use crate::signal;

static IS_WANTED: AtomicBool = AtomicBool::new(false);

/// Follows the power button from now on, and reports that.
pub(crate) fn follow_button() {
    if power::on_power_button(on_button) {
        power::report(format_args!("metric power_button_ns {}", time::now().0));
    }
}

fn on_button() {
    IS_WANTED.store(true, Ordering::SeqCst);
    let process = kernel().processes.lock().get(&INIT).cloned();
    if let Some(process) = process {
        ask(&process);
    }
}

/// Passes a wish on that waits, when `process` is the first one. To be called when it handles or blocks SIGTERM from now on.
pub(crate) fn ask(process: &Arc<Process>) {
    if process.pid == INIT && IS_WANTED.swap(false, Ordering::SeqCst) {
        signal::send_from_kernel(process, Signal::SIGTERM.number());
    }
}

/// Keeps the wish whose signal the first process was not told of, because it has no handler.
pub(crate) fn keep(process: &Arc<Process>, forgotten: &SigInfo) {
    let has_handler = || process.signals.action(Signal::SIGTERM).handler != SIG_DFL;
    let is_wish = forgotten.signal() == Signal::SIGTERM && forgotten.code() == code::SI_KERNEL;
    if process.pid != INIT || !is_wish || has_handler() {
        return;
    }
    IS_WANTED.store(true, Ordering::SeqCst);
    if has_handler() {
        ask(process);
    }
}
