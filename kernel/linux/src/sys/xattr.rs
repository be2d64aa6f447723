//! Extended attributes (`xattr(7)`): no file has any and none can be set, as on a file system that does not keep them.

use tyn_abi::fs::at::{AT_FDCWD, AT_SYMLINK_NOFOLLOW};
use tyn_abi::{Errno, Fd, UserVa};

use crate::cx::{Cx, SysResult};
use crate::fs::at;
use crate::user_io;

const CREATE: u32 = 1;
const REPLACE: u32 = 2;
/// Longest name, without its NUL.
const NAME_MAX: usize = 255;

/// Checks that the file is there and what its attribute would be called.
fn check_path(cx: &Cx<'_>, path: UserVa, flags: u32) -> Result<(), Errno> {
    at::find(cx, Fd(AT_FDCWD), path, flags).map(|_| ())
}

fn check_fd(cx: &Cx<'_>, fd: Fd) -> Result<(), Errno> {
    let open = cx.open_file(fd)?;
    if open.is_path_only() {
        return Err(Errno::EBADF);
    }
    Ok(())
}

/// Refuses a name: a bad one as Linux does, a good one as unsupported.
fn refuse(name: UserVa) -> Errno {
    match user_io::read_c_string(name, NAME_MAX + 1) {
        Ok(name) if name.is_empty() => Errno::ERANGE,
        Ok(_) => Errno::EOPNOTSUPP,
        Err(Errno::ENAMETOOLONG) => Errno::ERANGE,
        Err(errno) => errno,
    }
}

fn refuse_set(name: UserVa, flags: u32) -> Errno {
    if flags & !(CREATE | REPLACE) != 0 {
        Errno::EINVAL
    } else {
        refuse(name)
    }
}

/// `setxattr(2)`: `EOPNOTSUPP`.
pub(crate) fn sys_setxattr(
    cx: &mut Cx<'_>,
    path: UserVa,
    name: UserVa,
    _value: UserVa,
    _size: usize,
    flags: u32,
) -> SysResult {
    let refused = refuse_set(name, flags);
    if refused == Errno::EOPNOTSUPP {
        check_path(cx, path, 0)?;
    }
    Err(refused)
}

/// `lsetxattr(2)`: `EOPNOTSUPP`.
pub(crate) fn sys_lsetxattr(
    cx: &mut Cx<'_>,
    path: UserVa,
    name: UserVa,
    _value: UserVa,
    _size: usize,
    flags: u32,
) -> SysResult {
    let refused = refuse_set(name, flags);
    if refused == Errno::EOPNOTSUPP {
        check_path(cx, path, AT_SYMLINK_NOFOLLOW)?;
    }
    Err(refused)
}

/// `fsetxattr(2)`: `EOPNOTSUPP`.
pub(crate) fn sys_fsetxattr(
    cx: &mut Cx<'_>,
    fd: Fd,
    name: UserVa,
    _value: UserVa,
    _size: usize,
    flags: u32,
) -> SysResult {
    let refused = refuse_set(name, flags);
    if refused == Errno::EOPNOTSUPP {
        check_fd(cx, fd)?;
    }
    Err(refused)
}

/// `getxattr(2)`: `EOPNOTSUPP`.
pub(crate) fn sys_getxattr(cx: &mut Cx<'_>, path: UserVa, name: UserVa) -> SysResult {
    check_path(cx, path, 0)?;
    Err(refuse(name))
}

/// `lgetxattr(2)`: `EOPNOTSUPP`.
pub(crate) fn sys_lgetxattr(cx: &mut Cx<'_>, path: UserVa, name: UserVa) -> SysResult {
    check_path(cx, path, AT_SYMLINK_NOFOLLOW)?;
    Err(refuse(name))
}

/// `fgetxattr(2)`: `EOPNOTSUPP`.
pub(crate) fn sys_fgetxattr(cx: &mut Cx<'_>, fd: Fd, name: UserVa) -> SysResult {
    check_fd(cx, fd)?;
    Err(refuse(name))
}

/// `listxattr(2)`: an empty list.
pub(crate) fn sys_listxattr(cx: &mut Cx<'_>, path: UserVa) -> SysResult {
    check_path(cx, path, 0)?;
    Ok(0)
}

/// `llistxattr(2)`: an empty list.
pub(crate) fn sys_llistxattr(cx: &mut Cx<'_>, path: UserVa) -> SysResult {
    check_path(cx, path, AT_SYMLINK_NOFOLLOW)?;
    Ok(0)
}

/// `flistxattr(2)`: an empty list.
pub(crate) fn sys_flistxattr(cx: &mut Cx<'_>, fd: Fd) -> SysResult {
    check_fd(cx, fd)?;
    Ok(0)
}
