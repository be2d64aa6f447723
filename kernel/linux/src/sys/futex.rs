//! Fast user-space locking: `futex(2)`, `get_robust_list(2)`, `set_robust_list(2)`.

use core::sync::atomic::Ordering;

use tyn_abi::time::Timespec;
use tyn_abi::{Errno, Nanos, Tid, UserVa};
use tyn_hal::time;
use tyn_sched::futex::{MATCH_ANY, WakeOp};

use crate::cx::{Cx, SysResult};
use crate::futex::{self, Scope};
use crate::futex_pi;
use crate::process;
use crate::user_io;

const FUTEX_WAIT: u32 = 0;
const FUTEX_WAKE: u32 = 1;
const FUTEX_REQUEUE: u32 = 3;
const FUTEX_CMP_REQUEUE: u32 = 4;
const FUTEX_WAKE_OP: u32 = 5;
const FUTEX_LOCK_PI: u32 = 6;
const FUTEX_UNLOCK_PI: u32 = 7;
const FUTEX_TRYLOCK_PI: u32 = 8;
const FUTEX_WAIT_BITSET: u32 = 9;
const FUTEX_WAKE_BITSET: u32 = 10;
const FUTEX_LOCK_PI2: u32 = 13;
const FUTEX_PRIVATE_FLAG: u32 = 0x80;
const FUTEX_CLOCK_REALTIME: u32 = 0x100;

/// `futex(2)`: `FUTEX_WAIT`, `FUTEX_WAKE`, `FUTEX_REQUEUE`, `FUTEX_CMP_REQUEUE`, `FUTEX_WAKE_OP`, `FUTEX_WAIT_BITSET`,
/// `FUTEX_WAKE_BITSET`, `FUTEX_LOCK_PI`, `FUTEX_LOCK_PI2`, `FUTEX_TRYLOCK_PI`, `FUTEX_UNLOCK_PI`, with
/// `FUTEX_PRIVATE_FLAG` and (for `FUTEX_WAIT_BITSET`, `FUTEX_LOCK_PI2`) `FUTEX_CLOCK_REALTIME`. Requeueing to a
/// priority-inheriting futex is `ENOSYS`.
///
/// A wake of private words also meets waiters that did not give the flag for the same private word.
pub(crate) fn sys_futex(
    cx: &mut Cx<'_>,
    word: UserVa,
    op: u32,
    value: u32,
    timeout: UserVa,
    second: UserVa,
    value3: u32,
) -> SysResult {
    let scope = if op & FUTEX_PRIVATE_FLAG == 0 {
        Scope::Shared
    } else {
        Scope::Private
    };
    let is_realtime = op & FUTEX_CLOCK_REALTIME != 0;
    let command = op & !(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
    // As on Linux, a bad time-out is found before a bad operation.
    let timeout_of_wait = match command {
        FUTEX_WAIT | FUTEX_WAIT_BITSET | FUTEX_LOCK_PI | FUTEX_LOCK_PI2 => read_timeout(timeout)?,
        _ => None,
    };
    if is_realtime && !matches!(command, FUTEX_WAIT_BITSET | FUTEX_LOCK_PI2) {
        cx.trace_unsupported("futex operation", u64::from(op));
        return Err(Errno::ENOSYS);
    }
    // Counts are of type `int`, and a negative one wakes one waiter, as Linux compares after counting.
    let limit = if value.cast_signed() < 1 { 1 } else { value };
    // In the operations on two words, the fourth argument is a number.
    let value2 = timeout.0 as u32;
    let key = |va| futex::key(cx.process, va, scope);
    // Absolute times are of the monotonic clock, or the wall clock's.
    let wall = if is_realtime || command == FUTEX_LOCK_PI {
        time::wall_at_boot()
    } else {
        Nanos::ZERO
    };
    let absolute = timeout_of_wait.map(|t| t - wall);
    match command {
        FUTEX_WAIT => {
            let deadline = timeout_of_wait.map(|t| time::now() + t);
            futex::wait_restartable(cx, word, scope, value, MATCH_ANY, deadline)
        }
        FUTEX_WAIT_BITSET if value3 == 0 => Err(Errno::EINVAL),
        FUTEX_WAIT_BITSET => futex::wait_restartable(cx, word, scope, value, value3, absolute),
        FUTEX_LOCK_PI | FUTEX_LOCK_PI2 => futex_pi::lock(cx, word, scope, true, absolute),
        FUTEX_TRYLOCK_PI => futex_pi::lock(cx, word, scope, false, None),
        FUTEX_UNLOCK_PI => futex_pi::unlock(cx, word, scope),
        FUTEX_WAKE => Ok(u64::from(futex::wake(key(word)?, limit, MATCH_ANY))),
        FUTEX_WAKE_BITSET if value3 == 0 => Err(Errno::EINVAL),
        FUTEX_WAKE_BITSET => Ok(u64::from(futex::wake(key(word)?, limit, value3))),
        FUTEX_REQUEUE | FUTEX_CMP_REQUEUE => {
            if value.cast_signed() < 0 || value2.cast_signed() < 0 {
                return Err(Errno::EINVAL);
            }
            let expected = (command == FUTEX_CMP_REQUEUE).then_some((word, value3));
            let count = futex::requeue(key(word)?, key(second)?, value, value2, expected)?;
            Ok(u64::from(count))
        }
        FUTEX_WAKE_OP => {
            let limit2 = if value2.cast_signed() < 1 { 1 } else { value2 };
            let operation = WakeOp::decode(value3)?;
            let (first, other) = (key(word)?, key(second)?);
            let count = futex::wake_op(first, limit, other, second, limit2, operation)?;
            Ok(u64::from(count))
        }
        _ => {
            cx.trace_unsupported("futex operation", u64::from(op));
            Err(Errno::ENOSYS)
        }
    }
}

fn read_timeout(va: UserVa) -> Result<Option<Nanos>, Errno> {
    if va.is_null() {
        return Ok(None);
    }
    let timeout = Timespec::from_bytes(&user_io::read_bytes(va)?);
    timeout.to_nanos().map(Some).ok_or(Errno::EINVAL)
}

/// Size of `struct robust_list_head`.
const ROBUST_LIST_HEAD_BYTES: u64 = 24;

/// `set_robust_list(2)`.
pub(crate) fn sys_set_robust_list(cx: &mut Cx<'_>, head: UserVa, len: u64) -> SysResult {
    if len != ROBUST_LIST_HEAD_BYTES {
        return Err(Errno::EINVAL);
    }
    cx.thread.robust_list.store(head.0, Ordering::Relaxed);
    Ok(0)
}

/// `get_robust_list(2)`.
pub(crate) fn sys_get_robust_list(
    cx: &mut Cx<'_>,
    tid: u32,
    head: UserVa,
    len: UserVa,
) -> SysResult {
    let list = if tid == 0 {
        cx.thread.robust_list.load(Ordering::Relaxed)
    } else {
        let thread = process::find_thread(Tid(tid))?;
        thread.robust_list.load(Ordering::Relaxed)
    };
    user_io::write_bytes(len, &ROBUST_LIST_HEAD_BYTES.to_le_bytes())?;
    user_io::write_bytes(head, &list.to_le_bytes())?;
    Ok(0)
}
