//! Reaching into another process: `process_vm_readv(2)`, `process_vm_writev(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::{Errno, Pid, Sink, Source, UserVa};

use crate::cx::{Cx, SysResult};
use crate::mm::Mm;
use crate::process;
use crate::user_io::{self, IOV_MAX, MAX_RW_COUNT, UserBuffers};

/// Bytes that move at a time.
const CHUNK: usize = 4096;

/// Reads the pieces of the other process's memory.
fn remote_pieces(iov: UserVa, count: usize) -> Result<Vec<(UserVa, usize)>, Errno> {
    if count > IOV_MAX {
        return Err(Errno::EINVAL);
    }
    let mut pieces = Vec::new();
    let mut total = 0usize;
    for i in 0..count {
        let at = iov.wrapping_add(i as u64 * 16);
        let base = UserVa(user_io::read_u64(at)?);
        let len = usize::try_from(user_io::read_u64(at.wrapping_add(8))?)
            .ok()
            .filter(|&len| isize::try_from(len).is_ok())
            .ok_or(Errno::EINVAL)?;
        let len = len.min(MAX_RW_COUNT - total);
        total += len;
        pieces.push((base, len));
    }
    Ok(pieces)
}

/// Calls `step(address, length)` for the pieces in order, at most [`CHUNK`] bytes and within a page at a time, until one
/// fails; returns how many bytes that was.
fn transfer(
    pieces: &[(UserVa, usize)],
    mut limit: usize,
    mut step: impl FnMut(UserVa, usize) -> Result<(), Errno>,
) -> SysResult {
    let mut moved = 0;
    for &(base, len) in pieces {
        let mut va = base;
        let mut left = len.min(limit);
        limit -= left;
        while left > 0 {
            let to_page_end = CHUNK - (va.0 % CHUNK as u64) as usize;
            let now = left.min(to_page_end);
            match step(va, now) {
                Ok(()) => {}
                Err(errno) if moved == 0 => return Err(errno),
                Err(_) => return Ok(moved),
            }
            moved += now as u64;
            left -= now;
            va = va.wrapping_add(now as u64);
        }
    }
    Ok(moved)
}

fn target(pid: i32) -> Result<Arc<Mm>, Errno> {
    let pid = u32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    Ok(process::find(Pid(pid))?.mm())
}

/// `process_vm_readv(2)`: everybody is root and may.
pub(crate) fn sys_process_vm_readv(
    _cx: &mut Cx<'_>,
    pid: i32,
    local: UserVa,
    local_count: usize,
    remote: UserVa,
    remote_count: usize,
    options: u64,
) -> SysResult {
    if options != 0 {
        return Err(Errno::EINVAL);
    }
    let mut dst = UserBuffers::from_iovec(local, local_count)?;
    let pieces = remote_pieces(remote, remote_count)?;
    let mm = target(pid)?;
    let limit = dst.len();
    let mut buffer = [0; CHUNK];
    transfer(&pieces, limit, |va, len| {
        let part = buffer.get_mut(..len).ok_or(Errno::EINVAL)?;
        mm.read_through(va, part)?;
        dst.write_all(part)
    })
}

/// `process_vm_writev(2)`: everybody is root and may.
pub(crate) fn sys_process_vm_writev(
    _cx: &mut Cx<'_>,
    pid: i32,
    local: UserVa,
    local_count: usize,
    remote: UserVa,
    remote_count: usize,
    options: u64,
) -> SysResult {
    if options != 0 {
        return Err(Errno::EINVAL);
    }
    let mut src = UserBuffers::from_iovec(local, local_count)?;
    let pieces = remote_pieces(remote, remote_count)?;
    let mm = target(pid)?;
    let limit = src.len();
    let mut buffer = [0; CHUNK];
    transfer(&pieces, limit, |va, len| {
        let part = buffer.get_mut(..len).ok_or(Errno::EINVAL)?;
        src.read_exact(part)?;
        mm.write(va, part)
    })
}
