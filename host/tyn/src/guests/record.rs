//! What `guest.json` says of a guest.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tyn_vm_host::Forward;

/// What is known of a guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) image: PathBuf,
    /// The supervisor's process id.
    pub(crate) pid: u32,
    /// QEMU's process id.
    pub(crate) qemu_pid: u32,
    /// When it was started, in seconds since 1970.
    pub(crate) started: u64,
    pub(crate) cpus: u32,
    pub(crate) memory_bytes: u64,
    pub(crate) ports: Vec<Port>,
    /// Whether there is a shell on its console.
    pub(crate) interactive: bool,
    /// How it ended, if it has.
    pub(crate) ended: Option<Ended>,
}

/// A forwarded port.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Port {
    pub(super) host: u16,
    pub(super) guest: u16,
}

impl From<&Forward> for Port {
    fn from(forward: &Forward) -> Self {
        Self {
            host: forward.host,
            guest: forward.guest,
        }
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.guest)
    }
}

/// How a guest ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// When, in seconds since 1970.
    pub(crate) at: u64,
    /// What `tyn run` would have ended with.
    pub(crate) code: u8,
    /// In a word: exited, panicked, vanished, killed.
    pub(crate) how: String,
}
