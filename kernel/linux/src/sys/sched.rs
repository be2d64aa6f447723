//! Scheduling: `sched_yield(2)`, `sched_setaffinity(2)`, `sched_setscheduler(2)`, `getpriority(2)`, `getcpu(2)`.
//!
//! There is one policy, `SCHED_OTHER`, and one priority: nice 0.

use alloc::sync::Arc;

use tyn_abi::time::Timespec;
use tyn_abi::{Errno, Pid, Tid, UserVa};
use tyn_hal::cpu;
use tyn_sched::CpuSet;
use tyn_sched::run_queue::SLICE;

use crate::cx::{Cx, SysResult};
use crate::process;
use crate::sched;
use crate::thread::Thread;
use crate::user_io;

const SCHED_OTHER: u32 = 0;
const SCHED_FIFO: u32 = 1;
const SCHED_RR: u32 = 2;
const SCHED_BATCH: u32 = 3;
const SCHED_IDLE: u32 = 5;
const SCHED_DEADLINE: u32 = 6;

/// Returns the thread that a call is about; 0 is the caller.
fn target(cx: &Cx<'_>, tid: i32) -> Result<Arc<Thread>, Errno> {
    match tid {
        0 => Ok(Arc::clone(cx.thread)),
        tid if tid < 0 => Err(Errno::EINVAL),
        tid => process::find_thread(Tid(tid.unsigned_abs())),
    }
}

/// `sched_yield(2)`.
pub(crate) fn sys_sched_yield(cx: &mut Cx<'_>) -> SysResult {
    sched::yield_now(cx.thread);
    Ok(0)
}

/// Size of the kernel's CPU masks.
const MASK_BYTES: usize = 8;

/// `sched_getaffinity(2)`.
pub(crate) fn sys_sched_getaffinity(
    cx: &mut Cx<'_>,
    tid: i32,
    len: u32,
    mask: UserVa,
) -> SysResult {
    // The mask must hold all CPUs, in whole words.
    if !(len as usize).is_multiple_of(MASK_BYTES) || len == 0 {
        return Err(Errno::EINVAL);
    }
    let thread = target(cx, tid).map_err(|e| negative_is(e, Errno::ESRCH))?;
    let affinity = thread.run.affinity();
    user_io::write_bytes(mask, &affinity.0.to_le_bytes())?;
    Ok(MASK_BYTES as u64)
}

/// Linux looks for a thread with a negative id in the affinity calls, and finds none.
fn negative_is(error: Errno, instead: Errno) -> Errno {
    if error == Errno::EINVAL {
        instead
    } else {
        error
    }
}

/// `sched_setaffinity(2)`.
pub(crate) fn sys_sched_setaffinity(
    cx: &mut Cx<'_>,
    tid: i32,
    len: u32,
    mask: UserVa,
) -> SysResult {
    let mut bytes = [0; MASK_BYTES];
    let len = bytes.len().min(len as usize);
    tyn_hal::user::copy_from(&mut bytes[..len], mask)?;
    let thread = target(cx, tid).map_err(|e| negative_is(e, Errno::ESRCH))?;
    let affinity = CpuSet(u64::from_le_bytes(bytes)).intersection(sched::online());
    if affinity.is_empty() {
        return Err(Errno::EINVAL);
    }
    sched::set_affinity(&thread, affinity);
    Ok(0)
}

/// `sched_getscheduler(2)`.
pub(crate) fn sys_sched_getscheduler(cx: &mut Cx<'_>, tid: i32) -> SysResult {
    target(cx, tid)?;
    Ok(u64::from(SCHED_OTHER))
}

/// `sched_setscheduler(2)`: `SCHED_OTHER` only; others are `EPERM`, as for those who may not change it.
pub(crate) fn sys_sched_setscheduler(
    cx: &mut Cx<'_>,
    tid: i32,
    policy: u32,
    param: UserVa,
) -> SysResult {
    const RESET_ON_FORK: u32 = 0x4000_0000;
    if param.is_null() {
        return Err(Errno::EINVAL);
    }
    let priority = user_io::read_u32(param)?;
    target(cx, tid)?;
    match policy & !RESET_ON_FORK {
        SCHED_OTHER if priority == 0 => Ok(0),
        SCHED_OTHER => Err(Errno::EINVAL),
        SCHED_FIFO | SCHED_RR | SCHED_BATCH | SCHED_IDLE => {
            cx.trace_unsupported("scheduling policy", u64::from(policy));
            Err(Errno::EPERM)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `sched_getparam(2)`.
pub(crate) fn sys_sched_getparam(cx: &mut Cx<'_>, tid: i32, param: UserVa) -> SysResult {
    if param.is_null() {
        return Err(Errno::EINVAL);
    }
    target(cx, tid)?;
    user_io::write_bytes(param, &0u32.to_le_bytes())?;
    Ok(0)
}

/// `sched_setparam(2)`: the priority of `SCHED_OTHER` is 0.
pub(crate) fn sys_sched_setparam(cx: &mut Cx<'_>, tid: i32, param: UserVa) -> SysResult {
    sys_sched_setscheduler(cx, tid, SCHED_OTHER, param)
}

/// `sched_get_priority_max(2)`.
pub(crate) fn sys_sched_get_priority_max(_cx: &mut Cx<'_>, policy: u32) -> SysResult {
    match policy {
        SCHED_FIFO | SCHED_RR => Ok(99),
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE | SCHED_DEADLINE => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// `sched_get_priority_min(2)`.
pub(crate) fn sys_sched_get_priority_min(_cx: &mut Cx<'_>, policy: u32) -> SysResult {
    match policy {
        SCHED_FIFO | SCHED_RR => Ok(1),
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE | SCHED_DEADLINE => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// `sched_rr_get_interval(2)`.
pub(crate) fn sys_sched_rr_get_interval(cx: &mut Cx<'_>, tid: i32, out: UserVa) -> SysResult {
    target(cx, tid)?;
    user_io::write_bytes(out, &Timespec::from_nanos(SLICE).to_bytes())?;
    Ok(0)
}

/// `sched_getattr(2)`: `SCHED_OTHER`, nice 0.
pub(crate) fn sys_sched_getattr(
    cx: &mut Cx<'_>,
    tid: i32,
    attr: UserVa,
    size: u32,
    flags: u32,
) -> SysResult {
    /// Sizes of the first version of `struct sched_attr`, and of that with utilisation clamps.
    const FIRST: u32 = 48;
    const NOW: u32 = 56;
    if attr.is_null() || tid < 0 || !(FIRST..=4096).contains(&size) || flags != 0 {
        return Err(Errno::EINVAL);
    }
    target(cx, tid)?;
    let len = size.min(NOW);
    let mut bytes = [0; NOW as usize];
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    user_io::write_bytes(attr, bytes.get(..len as usize).unwrap_or_default())?;
    Ok(0)
}

/// `getpriority(2)`: nice 0 for all who exist.
pub(crate) fn sys_getpriority(cx: &mut Cx<'_>, which: u32, who: u32) -> SysResult {
    check_priority_target(cx, which, who)?;
    // The call returns 20 minus the nice value.
    Ok(20)
}

/// `setpriority(2)`: nice 0 only; others are `EACCES`, as for those who may not change it.
pub(crate) fn sys_setpriority(cx: &mut Cx<'_>, which: u32, who: u32, nice: i32) -> SysResult {
    check_priority_target(cx, which, who)?;
    if nice == 0 {
        return Ok(0);
    }
    cx.trace_unsupported("nice value", i64::from(nice).cast_unsigned());
    Err(Errno::EACCES)
}

fn check_priority_target(cx: &Cx<'_>, which: u32, who: u32) -> Result<(), Errno> {
    const PRIO_PROCESS: u32 = 0;
    const PRIO_PGRP: u32 = 1;
    const PRIO_USER: u32 = 2;
    match (which, who) {
        (PRIO_PROCESS | PRIO_PGRP | PRIO_USER, 0) => Ok(()),
        (PRIO_PROCESS, tid) => process::find_thread(Tid(tid)).map(|_| ()),
        (PRIO_PGRP, group) => {
            let family = &crate::kernel::kernel().family;
            if family.lock().group_members(Pid(group)).is_empty() {
                return Err(Errno::ESRCH);
            }
            Ok(())
        }
        (PRIO_USER, _) => Err(Errno::ESRCH),
        _ => {
            cx.trace_unsupported("priority target", u64::from(which));
            Err(Errno::EINVAL)
        }
    }
}

/// `getcpu(2)`: one NUMA node.
pub(crate) fn sys_getcpu(_cx: &mut Cx<'_>, cpu_out: UserVa, node_out: UserVa) -> SysResult {
    if !cpu_out.is_null() {
        user_io::write_bytes(cpu_out, &cpu::current().0.to_le_bytes())?;
    }
    if !node_out.is_null() {
        user_io::write_bytes(node_out, &0u32.to_le_bytes())?;
    }
    Ok(0)
}
