//! Capabilities (`capabilities(7)`): everybody is root and has them all.

use tyn_abi::{Errno, Pid, UserVa};

use crate::cx::{Cx, SysResult};
use crate::process;
use crate::user_io;

const VERSION_1: u32 = 0x1998_0330;
const VERSION_2: u32 = 0x2007_1026;
const VERSION_3: u32 = 0x2008_0522;
/// All 41 capabilities.
const ALL: u64 = (1 << 41) - 1;

/// Reads `struct __user_cap_header`: the process, and how many words a set has. An unknown version is answered with ours.
fn read_header(header: UserVa, has_data: bool) -> Result<Option<(u32, usize)>, Errno> {
    let version = user_io::read_u32(header)?;
    let words = match version {
        VERSION_1 => 1,
        VERSION_2 | VERSION_3 => 2,
        _ => {
            user_io::write_bytes(header, &VERSION_3.to_le_bytes())?;
            return if has_data {
                Err(Errno::EINVAL)
            } else {
                Ok(None)
            };
        }
    };
    let pid = user_io::read_u32(header.wrapping_add(4))?;
    Ok(Some((pid, words)))
}

/// Returns the words of three equal sets as they lie in memory: effective, permitted, inheritable of each 32 bits.
fn words(effective: u64, inheritable: u64) -> [u32; 6] {
    let low = |set: u64| set as u32;
    let high = |set: u64| (set >> 32) as u32;
    let (e, i) = (effective, inheritable);
    [low(e), low(e), low(i), high(e), high(e), high(i)]
}

/// `capget(2)`.
pub(crate) fn sys_capget(cx: &mut Cx<'_>, header: UserVa, data: UserVa) -> SysResult {
    let Some((pid, count)) = read_header(header, !data.is_null())? else {
        return Ok(0);
    };
    if pid.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    if pid != 0 && pid != cx.process.pid.0 {
        process::find(Pid(pid))?;
    }
    if data.is_null() {
        return Ok(0);
    }
    for (i, word) in words(ALL, 0).iter().take(3 * count).enumerate() {
        user_io::write_bytes(data.wrapping_add(4 * i as u64), &word.to_le_bytes())?;
    }
    Ok(0)
}

/// `capset(2)`. Deviation: no capability can be given up (`EPERM`).
pub(crate) fn sys_capset(cx: &mut Cx<'_>, header: UserVa, data: UserVa) -> SysResult {
    let Some((pid, count)) = read_header(header, true)? else {
        return Ok(0);
    };
    if pid != 0 && pid != cx.process.pid.0 {
        return Err(Errno::EPERM);
    }
    for (i, &word) in words(ALL, 0).iter().take(3 * count).enumerate() {
        let asked = user_io::read_u32(data.wrapping_add(4 * i as u64))?;
        if asked != word {
            cx.trace_unsupported("capset", u64::from(asked));
            return Err(Errno::EPERM);
        }
    }
    Ok(0)
}
