//! The system-call table: the only list of the calls we serve. One row a call, sorted by number (checked when compiled).
//!
//! Row: `NUMBER NAME => HANDLER : STATUS;` with the name as in Linux's `syscall_64.tbl`, the handler below
//! [`crate::sys`], and the status `full` or `partial` (its doc comment says what is missing). A number that has no row is
//! refused with `ENOSYS` and leaves a trace event. `cargo xtask abi-docs` makes `docs/abi/README.md` from this file.

use tyn_abi::Errno;

use crate::cx::{Cx, Handler, SysResult};
use crate::{sys, trace};

macro_rules! syscalls {
    ($($nr:literal $name:ident => $($handler:ident)::+ : $status:ident;)*) => {
        /// Numbers and names of all calls in the table.
        pub const CALLS: &[(u64, &str)] = &[$(($nr, stringify!($name))),*];

        /// Runs the system call that the registers name.
        ///
        /// # Errors
        /// The call's own errors; `ENOSYS` for a number that is not in the table.
        pub fn dispatch(cx: &mut Cx<'_>) -> SysResult {
            let regs = cx.user.regs;
            let args = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
            match regs.rax {
                $($nr => Handler::call(sys::$($handler)::+, cx, args),)*
                nr => {
                    trace::unknown_call(cx.thread.tid(), nr, args);
                    Err(Errno::ENOSYS)
                }
            }
        }
    };
}

syscalls! {
    7 poll => poll::sys_poll : full;
    22 pipe => pipe::sys_pipe : full;
    23 select => poll::sys_select : full;
    213 epoll_create => epoll::sys_epoll_create : full;
    232 epoll_wait => epoll::sys_epoll_wait : full;
    233 epoll_ctl => epoll::sys_epoll_ctl : full;
    270 pselect6 => poll::sys_pselect6 : full;
    271 ppoll => poll::sys_ppoll : full;
    281 epoll_pwait => epoll::sys_epoll_pwait : full;
    283 timerfd_create => timerfd::sys_timerfd_create : full;
    284 eventfd => eventfd::sys_eventfd : full;
    286 timerfd_settime => timerfd::sys_timerfd_settime : full;
    287 timerfd_gettime => timerfd::sys_timerfd_gettime : full;
    290 eventfd2 => eventfd::sys_eventfd2 : full;
    291 epoll_create1 => epoll::sys_epoll_create1 : full;
    293 pipe2 => pipe::sys_pipe2 : partial;
    441 epoll_pwait2 => epoll::sys_epoll_pwait2 : full;
}

const _: () = {
    let mut i = 1;
    while i < CALLS.len() {
        assert!(
            CALLS[i - 1].0 < CALLS[i].0,
            "table rows must be sorted by number, without duplicates"
        );
        i += 1;
    }
};

/// Returns the name of a call, for traces.
#[must_use]
pub fn name(nr: u64) -> Option<&'static str> {
    CALLS
        .binary_search_by_key(&nr, |&(n, _)| n)
        .ok()
        .and_then(|i| CALLS.get(i))
        .map(|&(_, name)| name)
}
