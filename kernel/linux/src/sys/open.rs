//! `open(2)` and its variants, `memfd_create(2)`.

use alloc::vec::Vec;

use tyn_abi::fs::at::{AT_FDCWD, RESOLVE_CACHED};
use tyn_abi::fs::fcntl as f;
use tyn_abi::fs::mode::PERMISSIONS;
use tyn_abi::fs::open as o;
use tyn_abi::{Errno, Fd, UserVa};
use tyn_fs::walk::Resolve;

use crate::cx::{Cx, SysResult};
use crate::descriptors::OnExec;
use crate::fifo;
use crate::fs::{self, How, at};
use crate::user_io;

fn open(
    cx: &Cx<'_>,
    dir_fd: Fd,
    path: &[u8],
    flags: u32,
    mode: u32,
    resolve: Resolve,
) -> SysResult {
    let mut start = at::start(cx, dir_fd, path)?;
    start.resolve = resolve;
    let how = How {
        flags: flags & !o::O_CLOEXEC,
        mode,
        umask: cx.process.fs().umask(),
        may_wait: true,
    };
    // Without a descriptor for it no file is made.
    cx.process
        .files()
        .check_room(cx.process.limits.descriptors())?;
    let open = fs::open(&start, path, how)?;
    fifo::wait_for_peer(cx, &open)?;
    let fd = cx.install(open, OnExec::from_flags(flags))?;
    Ok(u64::from(fd.0.cast_unsigned()))
}

/// `open(2)`.
pub(crate) fn sys_open(cx: &mut Cx<'_>, path: UserVa, flags: u32, mode: u32) -> SysResult {
    sys_openat(cx, Fd(AT_FDCWD), path, flags, mode)
}

/// `creat(2)`.
pub(crate) fn sys_creat(cx: &mut Cx<'_>, path: UserVa, mode: u32) -> SysResult {
    let flags = o::O_CREAT | o::O_WRONLY | o::O_TRUNC;
    sys_openat(cx, Fd(AT_FDCWD), path, flags, mode)
}

/// `openat(2)`. As on Linux unknown flags are ignored, and so is `O_ASYNC`. `O_DIRECT`, `O_SYNC`, `O_DSYNC` and
/// `O_NOATIME` have nothing to do for files in memory.
pub(crate) fn sys_openat(
    cx: &mut Cx<'_>,
    dir_fd: Fd,
    path: UserVa,
    flags: u32,
    mode: u32,
) -> SysResult {
    let path = user_io::read_path(path)?;
    open(cx, dir_fd, &path, flags, mode, Resolve::empty())
}

/// All flags that `openat2(2)` knows.
const KNOWN_FLAGS: u64 = (o::O_ACCMODE
    | o::O_CREAT
    | o::O_EXCL
    | o::O_NOCTTY
    | o::O_TRUNC
    | o::O_APPEND
    | o::O_NONBLOCK
    | o::O_ASYNC
    | o::O_DIRECT
    | o::O_LARGEFILE
    | o::O_DIRECTORY
    | o::O_NOFOLLOW
    | o::O_NOATIME
    | o::O_CLOEXEC
    | o::O_SYNC
    | o::O_DSYNC
    | o::O_PATH
    | o::O_TMPFILE_BIT) as u64;

/// Size of `struct open_how`.
const HOW_SIZE: usize = 24;

/// Reads `struct open_how`: flags, mode, resolve. A longer one must end in zeros (`openat2(2)`, "Extensibility").
fn read_how(at: UserVa, size: usize) -> Result<[u64; 3], Errno> {
    if size < HOW_SIZE {
        return Err(Errno::EINVAL);
    }
    if size > tyn_abi::PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    let mut words = Vec::new();
    for word in 0..HOW_SIZE / 8 {
        words.push(user_io::read_u64(at.wrapping_add(word as u64 * 8))?);
    }
    for extra in HOW_SIZE..size {
        let [byte] = user_io::read_bytes::<1>(at.wrapping_add(extra as u64))?;
        if byte != 0 {
            return Err(Errno::E2BIG);
        }
    }
    words.try_into().map_err(|_| Errno::EINVAL)
}

/// `openat2(2)`: all of `RESOLVE_*`; `RESOLVE_CACHED` always finds everything cached.
pub(crate) fn sys_openat2(
    cx: &mut Cx<'_>,
    dir_fd: Fd,
    path: UserVa,
    how: UserVa,
    size: usize,
) -> SysResult {
    let [flags, mode, resolve] = read_how(how, size)?;
    let flags32 = u32::try_from(flags & KNOWN_FLAGS).map_err(|_| Errno::EINVAL)?;
    let makes = flags32 & (o::O_CREAT | o::O_TMPFILE_BIT) != 0;
    let path_flags = o::O_PATH | o::O_DIRECTORY | o::O_NOFOLLOW | o::O_CLOEXEC;
    let is_bad_path = flags32 & o::O_PATH != 0 && flags32 & !path_flags != 0;
    let is_bad_mode = mode & !u64::from(PERMISSIONS) != 0 || (!makes && mode != 0);
    if flags & !KNOWN_FLAGS != 0 || is_bad_path || is_bad_mode {
        return Err(Errno::EINVAL);
    }
    let resolve = at::restrictions(resolve & !RESOLVE_CACHED)?;
    let path = user_io::read_path(path)?;
    open(cx, dir_fd, &path, flags32, mode as u32, resolve)
}

/// `memfd_create(2)`. Deviation: `MFD_HUGETLB` is refused (`EINVAL`).
pub(crate) fn sys_memfd_create(cx: &mut Cx<'_>, name: UserVa, flags: u32) -> SysResult {
    const KNOWN: u32 = f::MFD_CLOEXEC | f::MFD_ALLOW_SEALING | f::MFD_NOEXEC_SEAL | f::MFD_EXEC;
    /// `NAME_MAX` less the length of `memfd:`.
    const NAME_MAX: usize = 249;
    if flags & !KNOWN != 0 {
        cx.trace_unsupported("memfd_create flags", u64::from(flags));
        return Err(Errno::EINVAL);
    }
    if flags & f::MFD_EXEC != 0 && flags & f::MFD_NOEXEC_SEAL != 0 {
        return Err(Errno::EINVAL);
    }
    let name = user_io::read_c_string(name, NAME_MAX + 1).map_err(|e| match e {
        Errno::ENAMETOOLONG => Errno::EINVAL,
        other => other,
    })?;
    let (mode, seals) = if flags & f::MFD_NOEXEC_SEAL != 0 {
        (0o666, f::F_SEAL_EXEC)
    } else if flags & f::MFD_ALLOW_SEALING != 0 {
        (0o777, 0)
    } else {
        (0o777, f::F_SEAL_SEAL)
    };
    let open = fs::memfd(&name, mode, seals)?;
    let on_exec = if flags & f::MFD_CLOEXEC == 0 {
        OnExec::Keep
    } else {
        OnExec::Close
    };
    let fd = cx.install(open, on_exec)?;
    Ok(u64::from(fd.0.cast_unsigned()))
}
