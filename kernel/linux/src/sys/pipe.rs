//! `pipe(2)`, `pipe2(2)`.

use tyn_abi::fs::open::{O_CLOEXEC, O_DIRECT, O_NONBLOCK};
use tyn_abi::{Errno, UserVa};

use crate::cx::{Cx, SysResult};
use crate::descriptors::OnExec;
use crate::{pipe, user_io};

/// `pipe(2)`.
pub(crate) fn sys_pipe(cx: &mut Cx<'_>, fds: UserVa) -> SysResult {
    sys_pipe2(cx, fds, 0)
}

/// `pipe(2)`: flags `O_CLOEXEC`, `O_NONBLOCK`, `O_DIRECT` (which `F_SETFL` does not change later). Deviation:
/// `O_NOTIFICATION_PIPE` is refused (`EINVAL`), as on a Linux built without it.
pub(crate) fn sys_pipe2(cx: &mut Cx<'_>, fds: UserVa, flags: u32) -> SysResult {
    if flags & !(O_CLOEXEC | O_NONBLOCK | O_DIRECT) != 0 {
        return Err(Errno::EINVAL);
    }
    let on_exec = OnExec::from_flags(flags);
    let (reader, writer) = pipe::new(flags & (O_NONBLOCK | O_DIRECT));
    cx.install_pair(reader, writer, on_exec, |pair| {
        user_io::write_bytes(fds, &pair)
    })
}
