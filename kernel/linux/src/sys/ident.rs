//! What the system is called and how it is: `uname(2)`, `sysinfo(2)`, `sethostname(2)`, `umask(2)`.

use alloc::string::String;

use tyn_abi::system::{Sysinfo, utsname};
use tyn_abi::{Errno, Nanos, UserVa};
use tyn_bootfmt::contract::os_version;
use tyn_fs::proc_text::{OS_RELEASE, OS_TYPE};
use tyn_hal::time;

use crate::cx::{Cx, SysResult};
use crate::fs::memory_facts;
use crate::kernel::kernel;
use crate::load;
use crate::user_io;

/// Longest host name (`__NEW_UTS_LEN`).
const HOST_NAME_MAX: usize = 64;

/// `uname(2)`.
pub(crate) fn sys_uname(_cx: &mut Cx<'_>, buf: UserVa) -> SysResult {
    let host = kernel().hostname.lock().clone();
    let names = utsname(OS_TYPE, &host, OS_RELEASE, os_version(), "x86_64", "(none)");
    user_io::write_bytes(buf, &names)?;
    Ok(0)
}

/// `sethostname(2)`. Deviation: a name that is not UTF-8 is refused (`EINVAL`).
pub(crate) fn sys_sethostname(_cx: &mut Cx<'_>, name: UserVa, len: i32) -> SysResult {
    let len = usize::try_from(len)
        .ok()
        .filter(|&l| l <= HOST_NAME_MAX)
        .ok_or(Errno::EINVAL)?;
    let mut bytes = [0; HOST_NAME_MAX];
    let part = bytes.get_mut(..len).ok_or(Errno::EINVAL)?;
    tyn_hal::user::copy_from(part, name)?;
    let text = core::str::from_utf8(part).map_err(|_| Errno::EINVAL)?;
    // As on Linux the name ends at the first NUL.
    let text = text.split('\0').next().unwrap_or_default();
    let new = String::from(text);
    let old = core::mem::replace(&mut *kernel().hostname.lock(), new);
    drop(old);
    Ok(0)
}

/// `sysinfo(2)`.
pub(crate) fn sys_sysinfo(_cx: &mut Cx<'_>, buf: UserVa) -> SysResult {
    let memory = memory_facts();
    let threads = kernel().threads.lock().len();
    let info = Sysinfo {
        // Begun seconds count (`do_sysinfo`).
        uptime: time::now().0.div_ceil(Nanos::PER_SEC),
        loads: load::averages(),
        total_ram: memory.total,
        free_ram: memory.free,
        shared_ram: memory.shared,
        procs: u16::try_from(threads).unwrap_or(u16::MAX),
    };
    user_io::write_bytes(buf, &info.to_bytes())?;
    Ok(0)
}

/// `umask(2)`.
pub(crate) fn sys_umask(cx: &mut Cx<'_>, mask: u32) -> SysResult {
    Ok(u64::from(cx.process.fs().set_umask(mask)))
}
