//! Making threads and processes: `clone(2)`, `clone3(2)`, `fork(2)`, `vfork(2)`.

use tyn_abi::process::{CloneArgs, clone as flag};
use tyn_abi::{Errno, PAGE_SIZE, USER_END, UserVa};
use tyn_hal::user;

use crate::cx::{Cx, SysResult};
use crate::fork::{self, Request};
use crate::user_io;

/// Highest signal number.
const SIGNALS: u64 = 64;

/// `clone(2)`, argument order of x86-64. A thread must share everything (`CLONE_VM`, `_FS`, `_FILES`, `_SIGHAND`); there are
/// no namespaces and no pidfd of threads (`EINVAL`).
pub(crate) fn sys_clone(
    cx: &mut Cx<'_>,
    flags: u64,
    stack: u64,
    parent_tid: UserVa,
    child_tid: UserVa,
    tls: u64,
) -> SysResult {
    let both = flag::CLONE_PIDFD | flag::CLONE_PARENT_SETTID;
    if flags & both == both || flags & flag::CLONE_PIDFD != 0 && flags & flag::CLONE_DETACHED != 0 {
        return Err(Errno::EINVAL);
    }
    let request = Request {
        // The call's flags are 32 bits wide.
        flags: flags & 0xffff_ffff & !flag::CSIGNAL,
        exit_signal: (flags & flag::CSIGNAL).min(SIGNALS) as u8,
        stack,
        parent_tid,
        child_tid,
        tls,
        pidfd: parent_tid,
    };
    fork::spawn(cx, &request)
}

/// `clone3(2)`: as [`sys_clone`], and `CLONE_CLEAR_SIGHAND`; no chosen ids (`set_tid`), no cgroups (`EINVAL`).
pub(crate) fn sys_clone3(cx: &mut Cx<'_>, args: UserVa, size: usize) -> SysResult {
    let args = read_args(args, size)?;
    let known = 0xffff_ffff | flag::CLONE_CLEAR_SIGHAND | flag::CLONE_INTO_CGROUP;
    let never = flag::CLONE_DETACHED | (flag::CSIGNAL & !flag::CLONE_NEWTIME);
    let both = flag::CLONE_SIGHAND | flag::CLONE_CLEAR_SIGHAND;
    let announces = args.exit_signal != 0;
    if args.flags & !known != 0
        || args.flags & never != 0
        || args.flags & both == both
        || announces && args.flags & (flag::CLONE_THREAD | flag::CLONE_PARENT) != 0
        || args.exit_signal > SIGNALS
        || (args.stack == 0) != (args.stack_size == 0)
    {
        return Err(Errno::EINVAL);
    }
    let stack = args
        .stack
        .checked_add(args.stack_size)
        .filter(|&top| top <= USER_END);
    let stack = stack.ok_or(Errno::EINVAL)?;
    if args.set_tid != 0 || args.set_tid_size != 0 {
        cx.trace_unsupported("clone3 set_tid", args.set_tid_size);
        return Err(Errno::EINVAL);
    }
    let request = Request {
        flags: args.flags,
        exit_signal: args.exit_signal as u8,
        stack,
        parent_tid: UserVa(args.parent_tid),
        child_tid: UserVa(args.child_tid),
        tls: args.tls,
        pidfd: UserVa(args.pidfd),
    };
    fork::spawn(cx, &request)
}

/// Reads `struct clone_args` of any version: what a newer one has beyond ours must be zero (`copy_struct_from_user`).
fn read_args(src: UserVa, size: usize) -> Result<CloneArgs, Errno> {
    if size > PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    if size < CloneArgs::MIN_SIZE {
        return Err(Errno::EINVAL);
    }
    let mut bytes = [0; CloneArgs::SIZE];
    let ours = size.min(bytes.len());
    user::copy_from(bytes.get_mut(..ours).ok_or(Errno::EINVAL)?, src)?;
    for at in ours..size {
        if user_io::read_bytes::<1>(src.wrapping_add(at as u64))? != [0] {
            return Err(Errno::E2BIG);
        }
    }
    Ok(CloneArgs::from_bytes(&bytes))
}

/// `fork(2)`, the system call.
pub(crate) fn sys_fork(cx: &mut Cx<'_>) -> SysResult {
    fork::spawn(cx, &plain(0))
}

/// `vfork(2)`: the child runs in the caller's address space, and the caller waits, until it calls `execve(2)` or ends.
pub(crate) fn sys_vfork(cx: &mut Cx<'_>) -> SysResult {
    fork::spawn(cx, &plain(flag::CLONE_VM | flag::CLONE_VFORK))
}

fn plain(flags: u64) -> Request {
    Request {
        flags,
        exit_signal: tyn_proc::SIGCHLD,
        stack: 0,
        parent_tid: UserVa::NULL,
        child_tid: UserVa::NULL,
        tls: 0,
        pidfd: UserVa::NULL,
    }
}
