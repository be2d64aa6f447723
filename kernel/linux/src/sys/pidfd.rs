//! `pidfd_open(2)`, `pidfd_send_signal(2)`, `pidfd_getfd(2)`.

use alloc::sync::Arc;

use tyn_abi::fs::open::O_NONBLOCK;
use tyn_abi::signal::{SigInfo, code};
use tyn_abi::{Errno, Fd, Pid, UserVa};
use tyn_fs::procfs::ProcNode;

use super::signal::{read_info, read_signal};
use crate::cx::{Cx, SysResult};
use crate::descriptors::OnExec;
use crate::file::OpenFile;
use crate::fs::{DirectoryFile, Node};
use crate::pidfd::{self, PidFile};
use crate::process::{self, Process};
use crate::signal;
use crate::user_io;

/// `pidfd_open(2)`: flag `PIDFD_NONBLOCK`; no files of threads (`PIDFD_THREAD` is `EINVAL`, as before Linux 6.9).
pub(crate) fn sys_pidfd_open(cx: &mut Cx<'_>, pid: i32, flags: u32) -> SysResult {
    if flags & !O_NONBLOCK != 0 {
        cx.trace_unsupported("pidfd_open flags", u64::from(flags));
        return Err(Errno::EINVAL);
    }
    let pid = u32::try_from(pid).ok().filter(|&pid| pid > 0);
    let pid = pid.ok_or(Errno::EINVAL)?;
    let process = process::find(Pid(pid))?;
    let fd = cx.install(pidfd::open(&process, flags), OnExec::Close)?;
    Ok(u64::from(fd.0.cast_unsigned()))
}

/// `pidfd_send_signal(2)`, to `/proc/PID`, too: without flags (those of Linux 6.9 are `EINVAL`).
pub(crate) fn sys_pidfd_send_signal(
    cx: &mut Cx<'_>,
    fd: Fd,
    number: u32,
    info: UserVa,
    flags: u32,
) -> SysResult {
    if flags != 0 {
        cx.trace_unsupported("pidfd_send_signal flags", u64::from(flags));
        return Err(Errno::EINVAL);
    }
    let open = cx.open_file(fd)?;
    let target = Target::of(&open)?;
    let info = if info.is_null() {
        let own = cx.process.pid.0;
        read_signal(number)?.map(|s| SigInfo::from_process(s, code::SI_USER, own, 0))
    } else {
        if user_io::read_bytes::<4>(info)? != number.to_le_bytes() {
            return Err(Errno::EINVAL);
        }
        read_info(cx, target.pid().0.cast_signed(), number, info)?
    };
    let process = target.process()?;
    if let Some(info) = info {
        signal::send_to_process(&process, info)?;
    }
    Ok(0)
}

/// Whom a descriptor given to `pidfd_send_signal(2)` refers to.
enum Target<'a> {
    File(&'a PidFile),
    /// By its directory in `/proc`.
    Directory(Pid),
}

impl<'a> Target<'a> {
    fn of(open: &'a OpenFile) -> Result<Self, Errno> {
        if let Some(file) = open.downcast() {
            return Ok(Self::File(file));
        }
        match open.downcast().map(DirectoryFile::node) {
            Some(Node::Proc(ProcNode::Task(owner))) if owner.tid.is_none() => {
                Ok(Self::Directory(Pid(owner.pid)))
            }
            _ => Err(Errno::EBADF),
        }
    }

    fn pid(&self) -> Pid {
        match self {
            Self::File(file) => file.pid(),
            Self::Directory(pid) => *pid,
        }
    }

    fn process(&self) -> Result<Arc<Process>, Errno> {
        match self {
            Self::File(file) => file.process().cloned(),
            Self::Directory(pid) => process::find(*pid),
        }
    }
}

/// `pidfd_getfd(2)`.
pub(crate) fn sys_pidfd_getfd(cx: &mut Cx<'_>, fd: Fd, target: Fd, flags: u32) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let process = cx.process_of(fd)?;
    if process.has_ended() {
        return Err(Errno::ESRCH);
    }
    let found = process.files().get(target)?;
    let fd = cx.install(found, OnExec::Close)?;
    Ok(u64::from(fd.0.cast_unsigned()))
}

impl Cx<'_> {
    /// Returns the process that a descriptor of `pidfd_open(2)` refers to.
    ///
    /// # Errors
    /// `EBADF`; `ESRCH` when it has been waited for.
    pub(crate) fn process_of(&self, fd: Fd) -> Result<Arc<Process>, Errno> {
        let open = self.open_file(fd)?;
        let file: &PidFile = open.downcast().ok_or(Errno::EBADF)?;
        file.process().cloned()
    }
}
