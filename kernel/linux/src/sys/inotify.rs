//! `inotify_init1(2)`, `inotify_add_watch(2)`, `inotify_rm_watch(2)`.

use alloc::sync::Arc;

use tyn_abi::fs::at::{AT_FDCWD, AT_SYMLINK_NOFOLLOW};
use tyn_abi::fs::open::{O_CLOEXEC, O_NONBLOCK};
use tyn_abi::inotify::Inotify;
use tyn_abi::{Errno, Fd, UserVa};

use crate::cx::{Cx, SysResult};
use crate::descriptors::OnExec;
use crate::file::OpenFile;
use crate::fs::at;
use crate::inotify::{self, InotifyFile};

/// `inotify_init(2)`.
pub(crate) fn sys_inotify_init(cx: &mut Cx<'_>) -> SysResult {
    sys_inotify_init1(cx, 0)
}

/// `inotify_init1(2)`: flags `IN_CLOEXEC`, `IN_NONBLOCK`.
pub(crate) fn sys_inotify_init1(cx: &mut Cx<'_>, flags: u32) -> SysResult {
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let open = inotify::open(flags & O_NONBLOCK)?;
    let fd = cx.install(open, OnExec::from_flags(flags))?;
    Ok(fd.0 as u64)
}

fn opened(cx: &Cx<'_>, fd: Fd) -> Result<Arc<OpenFile>, Errno> {
    let open = cx.open_file(fd)?;
    if open.is_path_only() {
        return Err(Errno::EBADF);
    }
    Ok(open)
}

fn instance(open: &Arc<OpenFile>) -> Result<&InotifyFile, Errno> {
    open.downcast::<InotifyFile>().ok_or(Errno::EINVAL)
}

/// `inotify_add_watch(2)`. Deviation: files of `/proc` and `/sys` cannot be watched (`EINVAL`).
pub(crate) fn sys_inotify_add_watch(cx: &mut Cx<'_>, fd: Fd, path: UserVa, mask: u32) -> SysResult {
    let asked = Inotify::from_bits_retain(mask);
    if !asked.intersects(Inotify::KNOWN) {
        return Err(Errno::EINVAL);
    }
    let open = opened(cx, fd)?;
    if asked.contains(Inotify::MASK_ADD | Inotify::MASK_CREATE) {
        return Err(Errno::EINVAL);
    }
    let instance = instance(&open)?;
    let follow = if asked.contains(Inotify::DONT_FOLLOW) {
        AT_SYMLINK_NOFOLLOW
    } else {
        0
    };
    let node = at::find(cx, Fd(AT_FDCWD), path, follow)?;
    if asked.contains(Inotify::ONLYDIR) && !node.is_directory()? {
        return Err(Errno::ENOTDIR);
    }
    let Some(pin) = node.tree_pin() else {
        cx.trace_unsupported("inotify_add_watch of such a file", u64::from(mask));
        return Err(Errno::EINVAL);
    };
    let wd = instance.watch(pin.ino(), asked)?;
    Ok(u64::from(wd.cast_unsigned()))
}

/// `inotify_rm_watch(2)`.
pub(crate) fn sys_inotify_rm_watch(cx: &mut Cx<'_>, fd: Fd, wd: i32) -> SysResult {
    let open = opened(cx, fd)?;
    instance(&open)?.unwatch(wd)?;
    Ok(0)
}
