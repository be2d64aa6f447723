//! Who and where we are: `uname(2)`, `sysinfo(2)`, `sethostname(2)`, `getcwd(2)`, `chdir(2)`, `umask(2)`.

use tyn_abi::system::{Sysinfo, utsname};
use tyn_abi::{Errno, Fd, UserVa};
use tyn_fs::proc_text as text;
use tyn_hal::time;

use crate::cx::{Cx, SysResult};
use crate::file::flags;
use crate::fs::{self, How, Node};
use crate::kernel::kernel;
use crate::user_io;

/// `uname(2)`: we say what Linux we behave like, since programs compare the release.
pub(crate) fn sys_uname(_: &mut Cx<'_>, buffer: UserVa) -> SysResult {
    let hostname = kernel().hostname.lock().clone();
    let text = utsname(
        "Linux",
        &hostname,
        text::OS_RELEASE,
        text::OS_VERSION,
        "x86_64",
        "(none)",
    );
    user_io::write_bytes(buffer, &text)?;
    Ok(0)
}

/// `sysinfo(2)`; load averages are those of `/proc/loadavg`.
pub(crate) fn sys_sysinfo(_: &mut Cx<'_>, buffer: UserVa) -> SysResult {
    let memory = fs::memory_facts();
    let threads = kernel().threads.lock().len();
    let info = Sysinfo {
        uptime: time::now().split().0,
        loads: [0; 3],
        total_ram: memory.total,
        free_ram: memory.free,
        shared_ram: memory.shared,
        procs: u16::try_from(threads).unwrap_or(u16::MAX),
    };
    user_io::write_bytes(buffer, &info.to_bytes())?;
    Ok(0)
}

/// `sethostname(2)`; names longer than 64 bytes are `EINVAL`.
pub(crate) fn sys_sethostname(_: &mut Cx<'_>, name: UserVa, len: usize) -> SysResult {
    const LONGEST: usize = 64;
    if len > LONGEST {
        return Err(Errno::EINVAL);
    }
    let mut bytes = [0; LONGEST];
    let bytes = bytes.get_mut(..len).ok_or(Errno::EINVAL)?;
    tyn_hal::user::copy_from(bytes, name)?;
    *kernel().hostname.lock() = alloc::string::String::from_utf8_lossy(bytes).into_owned();
    Ok(0)
}

/// `getcwd(2)`: the length with the NUL; `ERANGE` when it does not fit, `ENOENT` when the directory was removed.
pub(crate) fn sys_getcwd(cx: &mut Cx<'_>, buffer: UserVa, size: usize) -> SysResult {
    let mut path = cx.process.fs().cwd().directory_path()?;
    path.push(0);
    if path.len() > size {
        return Err(Errno::ERANGE);
    }
    user_io::write_bytes(buffer, &path)?;
    Ok(path.len() as u64)
}

/// Opens a directory by path.
fn directory(cx: &Cx<'_>, path: UserVa) -> Result<Node, Errno> {
    let path = user_io::read_path(path)?;
    let context = cx.process.fs();
    let how = How::existing(flags::O_PATH | tyn_abi::fs::open::O_DIRECTORY);
    let open = fs::open(&context.start(), &path, how)?;
    fs::node_of(&open).ok_or(Errno::ENOTDIR)
}

/// `chdir(2)`.
pub(crate) fn sys_chdir(cx: &mut Cx<'_>, path: UserVa) -> SysResult {
    let node = directory(cx, path)?;
    cx.process.fs().set_cwd(node)?;
    Ok(0)
}

/// `fchdir(2)`.
pub(crate) fn sys_fchdir(cx: &mut Cx<'_>, fd: Fd) -> SysResult {
    let open = cx.open_file(fd)?;
    let node = fs::node_of(&open).ok_or(Errno::ENOTDIR)?;
    if !node.is_directory()? {
        return Err(Errno::ENOTDIR);
    }
    cx.process.fs().set_cwd(node)?;
    Ok(0)
}

/// `chroot(2)`.
pub(crate) fn sys_chroot(cx: &mut Cx<'_>, path: UserVa) -> SysResult {
    let node = directory(cx, path)?;
    cx.process.fs().set_root(node)?;
    Ok(0)
}

/// `umask(2)`.
pub(crate) fn sys_umask(cx: &mut Cx<'_>, mask: u32) -> SysResult {
    Ok(u64::from(cx.process.fs().set_umask(mask)))
}
