//! What is known of the program in an address space.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::file::OpenFile;

/// Facts that `execve(2)` leaves behind, for `/proc/PID/{exe,cmdline,environ,auxv}`.
#[derive(Clone, Debug)]
pub struct Image {
    /// The executable.
    pub exe: Arc<OpenFile>,
    /// Start and end of the argument strings.
    pub args: (u64, u64),
    /// Start and end of the environment strings.
    pub env: (u64, u64),
    /// The auxiliary vector.
    pub auxv: Vec<u8>,
}
