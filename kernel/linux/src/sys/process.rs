//! Who a process is and what it may: ids (`getpid(2)`, `getuid(2)`, `setsid(2)`, ...), limits (`getrlimit(2)`), `prctl(2)`,
//! `arch_prctl(2)`, `personality(2)`.
//!
//! There is one user, root, as in a user namespace that maps only id 0: other ids are `EINVAL`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use tyn_abi::process::{arch_prctl, prctl};
use tyn_abi::{Errno, Pid, USER_END, UserVa};

use crate::cx::{Cx, SysResult};
use crate::kernel::kernel;
use crate::limits::{Resource, Rlimit};
use crate::process;
use crate::signal::CpuAlarms;
use crate::user_io;

/// `getpid(2)`.
pub(crate) fn sys_getpid(cx: &mut Cx<'_>) -> SysResult {
    Ok(u64::from(cx.process.pid.0))
}

/// `gettid(2)`.
pub(crate) fn sys_gettid(cx: &mut Cx<'_>) -> SysResult {
    Ok(u64::from(cx.thread.tid().0))
}

/// `getppid(2)`.
pub(crate) fn sys_getppid(cx: &mut Cx<'_>) -> SysResult {
    Ok(u64::from(cx.process.parent_id()))
}

/// `getuid(2)`, `geteuid(2)`, `getgid(2)`, `getegid(2)`: root.
pub(crate) fn sys_getuid(_cx: &mut Cx<'_>) -> SysResult {
    Ok(0)
}

/// `setuid(2)`, `setgid(2)`: only to root.
pub(crate) fn sys_setuid(cx: &mut Cx<'_>, id: u32) -> SysResult {
    only_root(cx, &[id])
}

/// `setreuid(2)`, `setregid(2)`: only to root.
pub(crate) fn sys_setreuid(cx: &mut Cx<'_>, real: u32, effective: u32) -> SysResult {
    only_root(cx, &[real, effective])
}

/// `setresuid(2)`, `setresgid(2)`: only to root.
pub(crate) fn sys_setresuid(cx: &mut Cx<'_>, real: u32, effective: u32, saved: u32) -> SysResult {
    only_root(cx, &[real, effective, saved])
}

/// Checks ids to be set: 0, or -1 for "unchanged".
fn only_root(cx: &Cx<'_>, ids: &[u32]) -> SysResult {
    match ids.iter().find(|&&id| id != 0 && id != u32::MAX) {
        None => Ok(0),
        Some(&id) => {
            cx.trace_unsupported("user or group id", u64::from(id));
            Err(Errno::EINVAL)
        }
    }
}

/// `getresuid(2)`, `getresgid(2)`.
pub(crate) fn sys_getresuid(
    _cx: &mut Cx<'_>,
    real: UserVa,
    effective: UserVa,
    saved: UserVa,
) -> SysResult {
    for va in [real, effective, saved] {
        user_io::write_bytes(va, &0u32.to_le_bytes())?;
    }
    Ok(0)
}

/// `setfsuid(2)`, `setfsgid(2)`: return the id so far, root; other ids are not taken, which the call cannot report.
pub(crate) fn sys_setfsuid(cx: &mut Cx<'_>, id: u32) -> SysResult {
    if id != 0 && id != u32::MAX {
        cx.trace_unsupported("file system id", u64::from(id));
    }
    Ok(0)
}

/// `getgroups(2)`.
pub(crate) fn sys_getgroups(cx: &mut Cx<'_>, size: i32, list: UserVa) -> SysResult {
    let room = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
    let groups = cx.process.attributes.groups();
    if room != 0 {
        if room < groups.len() {
            return Err(Errno::EINVAL);
        }
        for (i, group) in groups.iter().enumerate() {
            user_io::write_bytes(list.wrapping_add(4 * i as u64), &group.to_le_bytes())?;
        }
    }
    Ok(groups.len() as u64)
}

/// `setgroups(2)`, for all threads at once: the C libraries do it so.
pub(crate) fn sys_setgroups(cx: &mut Cx<'_>, size: i32, list: UserVa) -> SysResult {
    const NGROUPS_MAX: usize = 65_536;
    let count = usize::try_from(size).ok().filter(|&n| n <= NGROUPS_MAX);
    let count = count.ok_or(Errno::EINVAL)?;
    let mut groups = Vec::new();
    groups.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    for i in 0..count as u64 {
        let group = user_io::read_u32(list.wrapping_add(4 * i))?;
        if group == u32::MAX {
            return Err(Errno::EINVAL);
        }
        groups.push(group);
    }
    groups.sort_unstable();
    cx.process.attributes.set_groups(Arc::new(groups));
    Ok(0)
}

/// Reads a process id argument of which 0 means the caller.
fn pid_or_self(cx: &Cx<'_>, pid: i32) -> Result<Pid, Errno> {
    match u32::try_from(pid) {
        Ok(0) => Ok(cx.process.pid),
        Ok(pid) => Ok(Pid(pid)),
        Err(_) => Err(Errno::ESRCH),
    }
}

/// `setpgid(2)`.
pub(crate) fn sys_setpgid(cx: &mut Cx<'_>, pid: i32, group: i32) -> SysResult {
    let group = u32::try_from(group).map_err(|_| Errno::EINVAL)?;
    let pid = pid_or_self(cx, pid)?;
    let group = if group == 0 { pid } else { Pid(group) };
    kernel()
        .family
        .lock()
        .set_group(cx.process.pid, pid, group)?;
    Ok(0)
}

/// `getpgid(2)`.
pub(crate) fn sys_getpgid(cx: &mut Cx<'_>, pid: i32) -> SysResult {
    let pid = pid_or_self(cx, pid)?;
    kernel()
        .family
        .lock()
        .group(pid)
        .map(|group| u64::from(group.0))
}

/// `getpgrp(2)`.
pub(crate) fn sys_getpgrp(cx: &mut Cx<'_>) -> SysResult {
    sys_getpgid(cx, 0)
}

/// `setsid(2)`.
pub(crate) fn sys_setsid(cx: &mut Cx<'_>) -> SysResult {
    let session = kernel().family.lock().new_session(cx.process.pid)?;
    cx.process.terminal.clear();
    Ok(u64::from(session.0))
}

/// `getsid(2)`.
pub(crate) fn sys_getsid(cx: &mut Cx<'_>, pid: i32) -> SysResult {
    let pid = pid_or_self(cx, pid)?;
    kernel()
        .family
        .lock()
        .session(pid)
        .map(|session| u64::from(session.0))
}

/// `set_tid_address(2)`.
pub(crate) fn sys_set_tid_address(cx: &mut Cx<'_>, va: UserVa) -> SysResult {
    cx.thread.set_clear_child_tid(va);
    sys_gettid(cx)
}

/// `getrlimit(2)`.
pub(crate) fn sys_getrlimit(cx: &mut Cx<'_>, resource: u32, limit: UserVa) -> SysResult {
    let resource = Resource::from_number(resource)?;
    user_io::write_bytes(limit, &cx.process.limits.get(resource).to_bytes())?;
    Ok(0)
}

/// `setrlimit(2)`. What is enforced: address space, data, stack, descriptors, CPU time, file size, pending
/// signals;
/// the rest is kept.
pub(crate) fn sys_setrlimit(cx: &mut Cx<'_>, resource: u32, limit: UserVa) -> SysResult {
    let resource = Resource::from_number(resource)?;
    let limit = Rlimit::from_bytes(&user_io::read_bytes(limit)?);
    set_limit(cx.process, resource, limit)?;
    Ok(0)
}

/// `prlimit(2)`.
pub(crate) fn sys_prlimit64(
    cx: &mut Cx<'_>,
    pid: i32,
    resource: u32,
    new: UserVa,
    old: UserVa,
) -> SysResult {
    let resource = Resource::from_number(resource)?;
    let new = match new {
        UserVa::NULL => None,
        va => Some(Rlimit::from_bytes(&user_io::read_bytes(va)?)),
    };
    let target = process::find(pid_or_self(cx, pid)?)?;
    let before = target.limits.get(resource);
    if let Some(new) = new {
        set_limit(&target, resource, new)?;
    }
    if !old.is_null() {
        user_io::write_bytes(old, &before.to_bytes())?;
    }
    Ok(0)
}

fn set_limit(
    target: &Arc<process::Process>,
    resource: Resource,
    limit: Rlimit,
) -> Result<(), Errno> {
    target.limits.set(resource, limit)?;
    if resource == Resource::CPU {
        CpuAlarms::follow_limit(target);
    }
    // A vfork child's limits do not reach its parent's stack.
    if resource == Resource::STACK && target.vfork_parent.lock().is_none() {
        target.mm().set_stack_limit(limit.soft);
    }
    Ok(())
}

/// `personality(2)`: Linux, with or without `ADDR_NO_RANDOMIZE`; others are `EINVAL`.
pub(crate) fn sys_personality(cx: &mut Cx<'_>, persona: u32) -> SysResult {
    const QUERY: u32 = 0xffff_ffff;
    let current = &cx.process.attributes.personality;
    let before = current.load(Ordering::Relaxed);
    if persona != QUERY {
        if persona & !process::ADDR_NO_RANDOMIZE != 0 {
            cx.trace_unsupported("personality", u64::from(persona));
            return Err(Errno::EINVAL);
        }
        current.store(persona, Ordering::Relaxed);
    }
    Ok(u64::from(before))
}

/// `arch_prctl(2)`: `ARCH_SET_FS`, `ARCH_GET_FS`, `ARCH_SET_GS`, `ARCH_GET_GS`; others are `EINVAL`.
pub(crate) fn sys_arch_prctl(cx: &mut Cx<'_>, code: u32, arg: u64) -> SysResult {
    let task = cx.thread.task();
    let is_set = matches!(code, arch_prctl::ARCH_SET_FS | arch_prctl::ARCH_SET_GS);
    if is_set && arg >= USER_END {
        return Err(Errno::EPERM);
    }
    match code {
        arch_prctl::ARCH_SET_FS => task.set_fs_base(arg),
        arch_prctl::ARCH_SET_GS => task.set_gs_base(arg),
        arch_prctl::ARCH_GET_FS => {
            user_io::write_bytes(UserVa(arg), &task.fs_base().to_le_bytes())?;
        }
        arch_prctl::ARCH_GET_GS => {
            user_io::write_bytes(UserVa(arg), &task.gs_base().to_le_bytes())?;
        }
        _ => {
            cx.trace_unsupported("arch_prctl", u64::from(code));
            return Err(Errno::EINVAL);
        }
    }
    Ok(0)
}

/// `prctl(2)`: names, parent-death signal, subreaper, and the attributes that are only kept. Others are `EINVAL`.
pub(crate) fn sys_prctl(
    cx: &mut Cx<'_>,
    option: u32,
    arg2: u64,
    arg3: u64,
    arg4: u64,
    arg5: u64,
) -> SysResult {
    let rest_is_zero = arg3 == 0 && arg4 == 0 && arg5 == 0;
    match option {
        prctl::PR_SET_NAME => set_name(cx, UserVa(arg2)),
        prctl::PR_GET_NAME => {
            let name = *cx.thread.name.lock();
            user_io::write_bytes(UserVa(arg2), &name)?;
            Ok(0)
        }
        prctl::PR_SET_PDEATHSIG | prctl::PR_GET_PDEATHSIG => death_signal(cx, option, arg2),
        prctl::PR_SET_CHILD_SUBREAPER | prctl::PR_GET_CHILD_SUBREAPER => {
            subreaper(cx, option, arg2)
        }
        prctl::PR_GET_TID_ADDRESS => {
            let va = cx.thread.clear_child_tid();
            user_io::write_bytes(UserVa(arg2), &va.0.to_le_bytes())?;
            Ok(0)
        }
        prctl::PR_SET_NO_NEW_PRIVS
        | prctl::PR_GET_NO_NEW_PRIVS
        | prctl::PR_SET_THP_DISABLE
        | prctl::PR_GET_THP_DISABLE
            if !rest_is_zero =>
        {
            Err(Errno::EINVAL)
        }
        _ => attribute(cx, option, arg2),
    }
}

fn set_name(cx: &Cx<'_>, src: UserVa) -> SysResult {
    let mut name = [0; 16];
    let bytes = user_io::read_c_prefix(src, name.len() - 1)?;
    if let Some(head) = name.get_mut(..bytes.len()) {
        head.copy_from_slice(&bytes);
    }
    *cx.thread.name.lock() = name;
    Ok(0)
}

fn death_signal(cx: &Cx<'_>, option: u32, arg: u64) -> SysResult {
    const SIGNALS: u64 = 64;
    if option == prctl::PR_SET_PDEATHSIG && arg > SIGNALS {
        return Err(Errno::EINVAL);
    }
    let signal = {
        let mut family = kernel().family.lock();
        let signal = family.death_signal(cx.process.pid).ok_or(Errno::ESRCH)?;
        if option == prctl::PR_SET_PDEATHSIG {
            *signal = arg as u8;
        }
        u32::from(*signal)
    };
    if option == prctl::PR_GET_PDEATHSIG {
        user_io::write_bytes(UserVa(arg), &signal.to_le_bytes())?;
    }
    Ok(0)
}

fn subreaper(cx: &Cx<'_>, option: u32, arg: u64) -> SysResult {
    let is_reaper = {
        let mut family = kernel().family.lock();
        let is_reaper = family.is_reaper(cx.process.pid).ok_or(Errno::ESRCH)?;
        if option == prctl::PR_SET_CHILD_SUBREAPER {
            *is_reaper = arg != 0;
        }
        u32::from(*is_reaper)
    };
    if option == prctl::PR_GET_CHILD_SUBREAPER {
        user_io::write_bytes(UserVa(arg), &is_reaper.to_le_bytes())?;
    }
    Ok(0)
}

/// Attributes that change nothing here but are read back.
fn attribute(cx: &Cx<'_>, option: u32, arg: u64) -> SysResult {
    const DEFAULT_SLACK: u64 = 50_000;
    const LAST_CAPABILITY: u64 = 40;
    let attributes = &cx.process.attributes;
    let order = Ordering::Relaxed;
    match (option, arg) {
        (prctl::PR_GET_DUMPABLE, _) => Ok(u64::from(attributes.dumpable.load(order))),
        (prctl::PR_SET_DUMPABLE, 0 | 1) => {
            attributes.dumpable.store(arg as u32, order);
            Ok(0)
        }
        (prctl::PR_GET_KEEPCAPS, _) => Ok(u64::from(attributes.keep_caps.load(order))),
        (prctl::PR_SET_KEEPCAPS, 0 | 1) => {
            attributes.keep_caps.store(arg == 1, order);
            Ok(0)
        }
        (prctl::PR_SET_NO_NEW_PRIVS, 1) => {
            attributes.no_new_privs.store(true, order);
            Ok(0)
        }
        (prctl::PR_GET_NO_NEW_PRIVS, 0) => Ok(u64::from(attributes.no_new_privs.load(order))),
        (prctl::PR_SET_THP_DISABLE, _) => {
            attributes.thp_disable.store(arg != 0, order);
            Ok(0)
        }
        (prctl::PR_GET_THP_DISABLE, 0) => Ok(u64::from(attributes.thp_disable.load(order))),
        (prctl::PR_GET_TIMERSLACK, _) => Ok(attributes.timer_slack.load(order)),
        (prctl::PR_SET_TIMERSLACK, _) => {
            let slack = if arg.cast_signed() <= 0 {
                DEFAULT_SLACK
            } else {
                arg
            };
            attributes.timer_slack.store(slack, order);
            Ok(0)
        }
        (prctl::PR_CAPBSET_READ, 0..=LAST_CAPABILITY) => Ok(1),
        (prctl::PR_GET_SECCOMP, _) => Ok(0),
        _ => {
            cx.trace_unsupported("prctl", u64::from(option));
            Err(Errno::EINVAL)
        }
    }
}
