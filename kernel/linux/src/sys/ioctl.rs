//! `ioctl(2)`: requests that every file has; the rest goes to the file.

use tyn_abi::fs::open::O_NONBLOCK;
use tyn_abi::{Errno, Fd, UserVa};

use crate::cx::{Cx, SysResult};
use crate::descriptors::OnExec;
use crate::fs::RegularFile;
use crate::user_io;

const FIONBIO: u32 = 0x5421;
const FIONREAD: u32 = 0x541b;
const FIOASYNC: u32 = 0x5452;
const FIONCLEX: u32 = 0x5450;
const FIOCLEX: u32 = 0x5451;

/// `ioctl(2)`: `FIOCLEX`, `FIONCLEX`, `FIONBIO`, `FIONREAD` of regular files; what the file knows; else `ENOTTY`.
pub(crate) fn sys_ioctl(cx: &mut Cx<'_>, fd: Fd, request: u32, arg: UserVa) -> SysResult {
    let files = cx.process.files();
    let open = files.get(fd)?;
    if open.is_path_only() {
        return Err(Errno::EBADF);
    }
    match request {
        FIOCLEX => files.set_on_exec(fd, OnExec::Close)?,
        FIONCLEX => files.set_on_exec(fd, OnExec::Keep)?,
        FIONBIO => {
            let is_on = user_io::read_u32(arg)? != 0;
            open.set_flags(O_NONBLOCK, if is_on { O_NONBLOCK } else { 0 });
        }
        FIOASYNC => {
            if user_io::read_u32(arg)? != 0 {
                cx.trace_unsupported("ioctl FIOASYNC", 1);
                return Err(Errno::ENOTTY);
            }
        }
        FIONREAD if open.downcast::<RegularFile>().is_some() => {
            let left = open.file.size().saturating_sub(open.offset());
            let left = i32::try_from(left).unwrap_or(i32::MAX);
            user_io::write_bytes(arg, &left.to_le_bytes())?;
        }
        _ => return open.file.ioctl(cx, request, arg),
    }
    Ok(0)
}
