//! `ioctl(2)`: requests that every descriptor has; the others are the file's.

use tyn_abi::{Errno, Fd, UserVa};

use crate::cx::{Cx, SysResult};
use crate::file::{OnExec, flags};
use crate::user_io;

/// Requests of `ioctl_fd(2)` and `ioctl_fionbio`.
const FIOCLEX: u32 = 0x5451;
const FIONCLEX: u32 = 0x5450;
const FIONBIO: u32 = 0x5421;
const FIOASYNC: u32 = 0x5452;

/// `ioctl(2)`: `FIOCLEX`, `FIONCLEX`, `FIONBIO` for every file; others as the file has them, else `ENOTTY`.
pub(crate) fn sys_ioctl(cx: &mut Cx<'_>, fd: Fd, request: u32, arg: UserVa) -> SysResult {
    let open = cx.open_file(fd)?;
    if open.is_path_only() {
        return Err(Errno::EBADF);
    }
    match request {
        FIOCLEX | FIONCLEX => {
            let on_exec = if request == FIOCLEX {
                OnExec::Close
            } else {
                OnExec::Keep
            };
            cx.process.files().set_on_exec(fd, on_exec)?;
            Ok(0)
        }
        FIONBIO => {
            let on = user_io::read_u32(arg)? != 0;
            open.set_flags(flags::O_NONBLOCK, if on { flags::O_NONBLOCK } else { 0 });
            Ok(0)
        }
        FIOASYNC => {
            if user_io::read_u32(arg)? == 0 {
                return Ok(0);
            }
            cx.trace_unsupported("ioctl FIOASYNC", 1);
            Err(Errno::ENOTTY)
        }
        _ => open.file.ioctl(cx, request, arg),
    }
}
