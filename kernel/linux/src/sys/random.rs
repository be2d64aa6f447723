//! Random numbers: `getrandom(2)`.

use tyn_abi::{Errno, Sink, UserVa};

use crate::cx::{Cx, SysResult};
use crate::random;
use crate::user_io::UserBuffers;

/// `getrandom(2)`: all flags; the generator is ready from the start, so it never blocks.
pub(crate) fn sys_getrandom(_cx: &mut Cx<'_>, buf: UserVa, len: usize, flags: u32) -> SysResult {
    const GRND_NONBLOCK: u32 = 1;
    const GRND_RANDOM: u32 = 2;
    const GRND_INSECURE: u32 = 4;
    let both = GRND_RANDOM | GRND_INSECURE;
    if flags & !(both | GRND_NONBLOCK) != 0 || flags & both == both {
        return Err(Errno::EINVAL);
    }
    let mut dst = UserBuffers::single(buf, len);
    let mut done = 0u64;
    let mut chunk = [0; 256];
    while !dst.is_empty() {
        let len = dst.len().min(chunk.len());
        let chunk = chunk.get_mut(..len).ok_or(Errno::EFAULT)?;
        random::fill(chunk);
        match dst.write_all(chunk) {
            Ok(()) => done += len as u64,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}
