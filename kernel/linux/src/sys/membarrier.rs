//! `membarrier(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use tyn_abi::Errno;

use crate::cx::{Cx, SysResult};
use crate::kernel::kernel;
use crate::mm::Mm;

const QUERY: u32 = 0;
const GLOBAL: u32 = 1;
const GLOBAL_EXPEDITED: u32 = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: u32 = 1 << 2;
const PRIVATE_EXPEDITED: u32 = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED: u32 = 1 << 4;
const PRIVATE_EXPEDITED_SYNC_CORE: u32 = 1 << 5;
const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: u32 = 1 << 6;
const ALL: u32 = (1 << 7) - 1;

/// `membarrier(2)`: global and private barriers, expedited or not, with or without serialising instruction streams; every
/// barrier does both. Those for restartable sequences and `MEMBARRIER_CMD_GET_REGISTRATIONS` are `EINVAL`.
pub(crate) fn sys_membarrier(cx: &mut Cx<'_>, command: u32, flags: u32, _cpu: i32) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let mm = cx.process.mm();
    match command {
        QUERY => return Ok(u64::from(ALL)),
        GLOBAL | GLOBAL_EXPEDITED => {
            let mut spaces: Vec<Arc<Mm>> =
                kernel().processes.lock().values().map(|p| p.mm()).collect();
            spaces.dedup_by_key(|mm| mm.id());
            spaces.iter().for_each(|mm| mm.barrier());
        }
        REGISTER_GLOBAL_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED_SYNC_CORE => {
            mm.barriers.fetch_or(command, Ordering::Relaxed);
        }
        PRIVATE_EXPEDITED | PRIVATE_EXPEDITED_SYNC_CORE => {
            // The bit of its registration is the next one.
            if mm.barriers.load(Ordering::Relaxed) & command << 1 == 0 {
                return Err(Errno::EPERM);
            }
            mm.barrier();
        }
        _ => {
            cx.trace_unsupported("membarrier", u64::from(command));
            return Err(Errno::EINVAL);
        }
    }
    Ok(0)
}
