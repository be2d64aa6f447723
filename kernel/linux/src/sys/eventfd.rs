//! `eventfd(2)`, `eventfd2(2)`.

use tyn_abi::Errno;
use tyn_abi::fs::open::{O_CLOEXEC, O_NONBLOCK};
use tyn_io::eventfd::Take;

use crate::cx::{Cx, SysResult};
use crate::descriptors::OnExec;
use crate::eventfd;

const EFD_SEMAPHORE: u32 = 1;

/// `eventfd(2)`.
pub(crate) fn sys_eventfd(cx: &mut Cx<'_>, count: u32) -> SysResult {
    sys_eventfd2(cx, count, 0)
}

/// `eventfd(2)`: flags `EFD_SEMAPHORE`, `EFD_CLOEXEC`, `EFD_NONBLOCK`.
pub(crate) fn sys_eventfd2(cx: &mut Cx<'_>, count: u32, flags: u32) -> SysResult {
    if flags & !(EFD_SEMAPHORE | O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let take = if flags & EFD_SEMAPHORE == 0 {
        Take::All
    } else {
        Take::One
    };
    let open = eventfd::open(count, take, flags & O_NONBLOCK);
    let fd = cx.install(open, OnExec::from_flags(flags))?;
    Ok(fd.0 as u64)
}
