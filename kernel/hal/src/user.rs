//! Checked copies between the kernel and the active address space's user half.
//!
//! A page that is not present is brought in by the handler set with [`set_fault_handler`], as for ring 3. Copies happen in
//! windows (see `mem/paging.rs`): a window is published, takes no lock and waits for nothing; a fault inside it closes it, and
//! it is opened again when the fault is resolved.

use tyn_abi::{Access, Errno, USER_END, UserVa};

use crate::arch::x86_64::idt::KernelFrame;
use crate::cpu_local::CpuLocal;
use crate::mem;
use crate::sync::Once;
use crate::trap::{self, Trap};

/// Most bytes that one window copies, so that a shoot-down never waits long.
const WINDOW_BYTES: usize = 64 * 1024;

/// A user address could not be accessed; `done` bytes were copied before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Bytes copied before the bad one.
    pub done: usize,
}

impl From<Fault> for Errno {
    fn from(_: Fault) -> Self {
        Self::EFAULT
    }
}

/// Resolves a fault of a user copy (demand paging, copy on write) in the active address space; returns whether to retry.
pub type FaultHandler = fn(addr: UserVa, access: Access) -> bool;

static HANDLER: Once<FaultHandler> = Once::new();

unsafe extern "C" {
    fn tyn_copy_user(dst: *mut u8, src: *const u8, len: usize) -> usize;
    fn tyn_zero_user(dst: *mut u8, len: usize) -> usize;
    fn tyn_user_cmpxchg(va: *mut u32, expected: u32, new: u32, found: *mut u32) -> u32;
    fn tyn_user_load(va: *const u32, found: *mut u32) -> u32;
    fn tyn_user_store(va: *mut u32, value: u32) -> u32;
    static tyn_copy_user_words: u8;
    static tyn_copy_user_words_end: u8;
    static tyn_copy_user_bytes: u8;
    static tyn_copy_user_bytes_end: u8;
    static tyn_copy_user_int_load: u8;
    static tyn_copy_user_int_store: u8;
    static tyn_copy_user_long_load: u8;
    static tyn_copy_user_long_store: u8;
    static tyn_zero_user_words: u8;
    static tyn_zero_user_words_end: u8;
    static tyn_zero_user_bytes: u8;
    static tyn_zero_user_bytes_end: u8;
    static tyn_user_cmpxchg_access: u8;
    static tyn_user_cmpxchg_end: u8;
    static tyn_user_load_access: u8;
    static tyn_user_load_end: u8;
    static tyn_user_store_access: u8;
    static tyn_user_store_end: u8;
}

/// Sets the fault handler; called once at start.
pub fn set_fault_handler(handler: FaultHandler) {
    HANDLER.set(handler);
}

/// Where a faulting instruction of the copies goes on when its fault cannot be resolved.
fn fixup(rip: u64) -> Option<u64> {
    let table = [
        (
            &raw const tyn_copy_user_words as u64,
            &raw const tyn_copy_user_words_end as u64,
        ),
        (
            &raw const tyn_copy_user_bytes as u64,
            &raw const tyn_copy_user_bytes_end as u64,
        ),
        (
            &raw const tyn_copy_user_int_load as u64,
            &raw const tyn_copy_user_bytes as u64,
        ),
        (
            &raw const tyn_copy_user_int_store as u64,
            &raw const tyn_copy_user_bytes as u64,
        ),
        (
            &raw const tyn_copy_user_long_load as u64,
            &raw const tyn_copy_user_bytes as u64,
        ),
        (
            &raw const tyn_copy_user_long_store as u64,
            &raw const tyn_copy_user_bytes as u64,
        ),
        (
            &raw const tyn_zero_user_words as u64,
            &raw const tyn_zero_user_words_end as u64,
        ),
        (
            &raw const tyn_zero_user_bytes as u64,
            &raw const tyn_zero_user_bytes_end as u64,
        ),
        (
            &raw const tyn_user_cmpxchg_access as u64,
            &raw const tyn_user_cmpxchg_end as u64,
        ),
        (
            &raw const tyn_user_load_access as u64,
            &raw const tyn_user_load_end as u64,
        ),
        (
            &raw const tyn_user_store_access as u64,
            &raw const tyn_user_store_end as u64,
        ),
    ];
    table
        .iter()
        .find(|(access, _)| *access == rip)
        .map(|(_, end)| *end)
}

/// A page fault in ring 0 while a window is open; returns whether the frame was changed or the access is to be repeated.
pub(crate) fn on_window_fault(frame: &mut KernelFrame, addr: u64) -> bool {
    let Some(end) = fixup(frame.rip) else {
        return false;
    };
    close_window();
    let Trap::PageFault { addr, access, .. } = trap::page_fault(addr, frame.error_code) else {
        return false;
    };
    let resolved = addr.0 < USER_END && HANDLER.get().is_some_and(|handler| handler(addr, access));
    open_window();
    if !resolved {
        frame.rip = end;
    }
    true
}

fn open_window() {
    let cpu = CpuLocal::current();
    cpu.in_window.set(true);
    mem::publish_window(cpu);
    mem::allow_user_access();
}

fn close_window() {
    mem::forbid_user_access();
    let cpu = CpuLocal::current();
    cpu.in_window.set(false);
    mem::withdraw(cpu);
}

/// Runs an access in a window.
fn in_window<T>(access: impl FnOnce() -> T) -> T {
    open_window();
    let result = access();
    close_window();
    result
}

/// Checks that `len` bytes at `va` lie in user space.
fn check(va: UserVa, len: usize) -> Result<(), Fault> {
    let fits = va
        .checked_add(len as u64)
        .is_some_and(|end| end.0 <= USER_END);
    if fits { Ok(()) } else { Err(Fault { done: 0 }) }
}

/// Copies `len` bytes window by window; `copy(offset, len)` returns how many bytes were left over.
fn windows(len: usize, mut copy: impl FnMut(usize, usize) -> usize) -> Result<(), Fault> {
    if len <= WINDOW_BYTES {
        return match in_window(|| copy(0, len)) {
            0 => Ok(()),
            left => Err(Fault { done: len - left }),
        };
    }
    let mut done = 0;
    while done < len {
        let n = (len - done).min(WINDOW_BYTES);
        let left = in_window(|| copy(done, n));
        done += n - left;
        if left > 0 {
            return Err(Fault { done });
        }
    }
    Ok(())
}

/// Copies from user memory. Addresses at or above `USER_END` fault.
///
/// # Errors
/// [`Fault`].
pub fn copy_from(dst: &mut [u8], src: UserVa) -> Result<(), Fault> {
    check(src, dst.len())?;
    let base = dst.as_mut_ptr();
    windows(dst.len(), |at, len| {
        let to = base.wrapping_add(at);
        // SAFETY: `to..to+len` lies in `dst`; the source is in user space, and its faults are fixed up (user window).
        unsafe { tyn_copy_user(to, (src.0 as usize + at) as *const u8, len) }
    })
}

/// Copies to user memory.
///
/// # Errors
/// [`Fault`].
pub fn copy_to(dst: UserVa, src: &[u8]) -> Result<(), Fault> {
    check(dst, src.len())?;
    let base = src.as_ptr();
    windows(src.len(), |at, len| {
        let from = base.wrapping_add(at);
        // SAFETY: `from..from+len` lies in `src`; the destination is in user space, and its faults are fixed up (user window).
        unsafe { tyn_copy_user((dst.0 as usize + at) as *mut u8, from, len) }
    })
}

/// Zeroes user memory.
///
/// # Errors
/// [`Fault`].
pub fn zero(dst: UserVa, len: usize) -> Result<(), Fault> {
    check(dst, len)?;
    windows(len, |at, len| {
        // SAFETY: the destination is in user space, and its faults are fixed up (user window).
        unsafe { tyn_zero_user((dst.0 as usize + at) as *mut u8, len) }
    })
}

/// Loads a naturally aligned u32 atomically (futex words).
///
/// # Errors
/// [`Fault`]; a misaligned address is the caller's to refuse (`EINVAL`).
pub fn load_u32(src: UserVa) -> Result<u32, Fault> {
    check(src, 4)?;
    let mut found = 0;
    // SAFETY: the source is in user space, and its faults are fixed up (user window).
    let failed = in_window(|| unsafe { tyn_user_load(src.0 as *const u32, &raw mut found) });
    if failed == 0 {
        Ok(found)
    } else {
        Err(Fault { done: 0 })
    }
}

/// Stores a naturally aligned u32 atomically.
///
/// # Errors
/// [`Fault`].
pub fn store_u32(dst: UserVa, value: u32) -> Result<(), Fault> {
    check(dst, 4)?;
    // SAFETY: the destination is in user space, and its faults are fixed up (user window).
    let failed = in_window(|| unsafe { tyn_user_store(dst.0 as *mut u32, value) });
    if failed == 0 {
        Ok(())
    } else {
        Err(Fault { done: 0 })
    }
}

/// Compares and exchanges a naturally aligned u32 atomically; returns the value found.
///
/// # Errors
/// [`Fault`].
pub fn compare_exchange_u32(va: UserVa, expected: u32, new: u32) -> Result<u32, Fault> {
    check(va, 4)?;
    let mut found = 0;
    // SAFETY: the address is in user space, and its faults are fixed up (user window).
    let failed =
        in_window(|| unsafe { tyn_user_cmpxchg(va.0 as *mut u32, expected, new, &raw mut found) });
    if failed == 0 {
        Ok(found)
    } else {
        Err(Fault { done: 0 })
    }
}
