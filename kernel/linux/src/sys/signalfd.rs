//! `signalfd(2)`.

use tyn_abi::fs::open::{O_CLOEXEC, O_NONBLOCK};
use tyn_abi::signal::SignalSet;
use tyn_abi::{Errno, Fd, UserVa};

use crate::cx::{Cx, SysResult};
use crate::descriptors::OnExec;
use crate::signalfd::{self, SignalFile};
use crate::user_io;

/// Size of the kernel's `sigset_t`.
const SIGSET_BYTES: usize = 8;

/// `signalfd(2)`, without flags.
pub(crate) fn sys_signalfd(cx: &mut Cx<'_>, fd: Fd, set: UserVa, size: usize) -> SysResult {
    sys_signalfd4(cx, fd, set, size, 0)
}

/// `signalfd4(2)`: flags `SFD_CLOEXEC`, `SFD_NONBLOCK`.
pub(crate) fn sys_signalfd4(
    cx: &mut Cx<'_>,
    fd: Fd,
    set: UserVa,
    size: usize,
    flags: u32,
) -> SysResult {
    if size != SIGSET_BYTES {
        return Err(Errno::EINVAL);
    }
    let wanted = SignalSet(user_io::read_u64(set)?).difference(SignalSet::UNBLOCKABLE);
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    if fd.0 == -1 {
        let open = signalfd::open(wanted, flags & O_NONBLOCK);
        let fd = cx.install(open, OnExec::from_flags(flags))?;
        return Ok(u64::from(fd.0.cast_unsigned()));
    }
    let open = cx.open_file(fd)?;
    let file: &SignalFile = open.downcast().ok_or(Errno::EINVAL)?;
    file.set_wanted(wanted);
    Ok(u64::from(fd.0.cast_unsigned()))
}
