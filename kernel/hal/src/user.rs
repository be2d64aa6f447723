//! Checked copies between the kernel and the active address space's user half.
//!
//! A page that is not present is brought in by the handler set with [`set_fault_handler`], as for ring 3.

use tyn_abi::{Access, Errno, UserVa};

/// A user address could not be accessed; `done` bytes were copied before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Bytes copied before the bad one (exact to at least the page).
    pub done: usize,
}

impl From<Fault> for Errno {
    fn from(_: Fault) -> Self {
        Self::EFAULT
    }
}

/// Resolves a fault of a user copy (demand paging, copy on write) in the active address space; returns whether to retry.
pub type FaultHandler = fn(addr: UserVa, access: Access) -> bool;

/// Sets the fault handler; called once at start.
pub fn set_fault_handler(handler: FaultHandler) {
    let _ = handler;
    unimplemented!()
}

/// Copies from user memory. Addresses at or above `USER_END` fault.
///
/// # Errors
/// [`Fault`].
pub fn copy_from(dst: &mut [u8], src: UserVa) -> Result<(), Fault> {
    let _ = (dst, src);
    unimplemented!()
}

/// Copies to user memory.
///
/// # Errors
/// [`Fault`].
pub fn copy_to(dst: UserVa, src: &[u8]) -> Result<(), Fault> {
    let _ = (dst, src);
    unimplemented!()
}

/// Zeroes user memory.
///
/// # Errors
/// [`Fault`].
pub fn zero(dst: UserVa, len: usize) -> Result<(), Fault> {
    let _ = (dst, len);
    unimplemented!()
}

/// Loads a naturally aligned u32 atomically (futex words).
///
/// # Errors
/// [`Fault`]; a misaligned address is the caller's to refuse (`EINVAL`).
pub fn load_u32(src: UserVa) -> Result<u32, Fault> {
    let _ = src;
    unimplemented!()
}

/// Stores a naturally aligned u32 atomically.
///
/// # Errors
/// [`Fault`].
pub fn store_u32(dst: UserVa, value: u32) -> Result<(), Fault> {
    let _ = (dst, value);
    unimplemented!()
}

/// Compares and exchanges a naturally aligned u32 atomically; returns the value found.
///
/// # Errors
/// [`Fault`].
pub fn compare_exchange_u32(va: UserVa, expected: u32, new: u32) -> Result<u32, Fault> {
    let _ = (va, expected, new);
    unimplemented!()
}
