//! Trace events of the personality: what was refused, what died.

use tyn_abi::Tid;

/// A system call that is not in the table.
pub fn unknown_call(tid: Tid, nr: u64, args: [u64; 6]) {
    let _ = (tid, nr, args);
    unimplemented!()
}

/// A flag, option or request that is not supported.
pub fn unsupported(tid: Tid, what: &'static str, value: u64) {
    let _ = (tid, what, value);
    unimplemented!()
}
