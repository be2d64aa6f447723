//! What `/proc/PID/fdinfo` shows.

use alloc::vec::Vec;

use tyn_abi::fs::Stat;
use tyn_abi::fs::open::O_CLOEXEC;
use tyn_abi::{Errno, Fd, Pid};
use tyn_fs::fd_info;
use tyn_fs::procfs::Owner;

use super::mounts::mount_id;
use crate::descriptors::OnExec;
use crate::process;

/// Returns the text about one descriptor.
pub(super) fn text(owner: Owner, fd: u32) -> Result<Vec<u8>, Errno> {
    let fd = Fd(i32::try_from(fd).map_err(|_| Errno::ENOENT)?);
    let files = process::find(Pid(owner.pid))?.files();
    let (Ok(open), Ok(on_exec)) = (files.get(fd), files.on_exec(fd)) else {
        return Err(Errno::ENOENT);
    };
    let stat = Stat::from_bytes(&open.file.stat()?);
    let cloexec = match on_exec {
        OnExec::Close => O_CLOEXEC,
        OnExec::Keep => 0,
    };
    let flags = open.flags() & !O_CLOEXEC | cloexec;
    let mut out = fd_info::common(open.offset(), flags, mount_id(stat.dev), stat.ino);
    open.file.show_info(&mut out);
    Ok(out.into_bytes())
}
