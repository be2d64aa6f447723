//! Why a machine can't be started or used.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::MAX_CPUS;
use crate::config::MemorySize;
use crate::qemu::{OLDEST, QEMU, Version};

/// Why a machine can't be started or used.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// QEMU isn't installed.
    #[error("{QEMU} is missing; install it (Debian package qemu-system-x86)")]
    NoQemu,
    /// It lacks something that we ask of it.
    #[error(
        "{QEMU} {version} is too old, {OLDEST} or newer is needed; install a newer one (Debian package qemu-system-x86). It said: {said}"
    )]
    OldQemu {
        /// Its version.
        version: Version,
        /// What it refused.
        said: String,
    },
    /// KVM was asked for and can't be used.
    #[error("--accel kvm can't be used: {0}; use --accel tcg")]
    NoKvm(&'static str),
    /// A number of CPUs that can't be.
    #[error("{0} CPUs can't be had; use 1 to {MAX_CPUS}")]
    Cpus(u32),
    /// A forwarded port belongs to somebody else.
    #[error(
        "port {port} of this machine can't be used: {error}; stop what uses it, or forward another one"
    )]
    Port {
        /// The port.
        port: u16,
        /// Why.
        error: io::Error,
    },
    /// A port that only root may have.
    #[error(
        "port {0} of this machine is for root only; forward one from 1024 on, or allow it: sudo sysctl net.ipv4.ip_unprivileged_port_start={0}"
    )]
    PortDenied(u16),
    /// A port that is forwarded to two of the guest.
    #[error("port {0} of this machine can't be forwarded twice; use another one for one of both")]
    PortTwice(u16),
    /// This machine has not so much memory.
    #[error("{0} of memory can't be had on this machine; use less by --memory")]
    NoMemory(MemorySize),
    /// The image does not fit.
    #[error(
        "{memory} of memory is too little for an image of {image_mib} MiB; use --memory {least_mib}M or more"
    )]
    Memory {
        /// What was asked for.
        memory: MemorySize,
        /// Size of the image in MiB.
        image_mib: u64,
        /// What would do, in MiB.
        least_mib: u64,
    },
    /// QEMU would misread this path.
    #[error("{} can't be given to QEMU; move it to a path of plain letters", .0.display())]
    Path(PathBuf),
    /// QEMU ended before the machine ran.
    #[error("QEMU did not start the machine: {0}")]
    Qemu(String),
    /// The machine ended while something was expected of it.
    #[error("the guest {0}")]
    Ended(String),
    /// Nothing within the time limit.
    #[error("the guest did not answer on port {port} within {limit:?}")]
    NoAnswer {
        /// Port of this machine.
        port: u16,
        /// The limit.
        limit: Duration,
    },
    /// Something else failed.
    #[error("{what}: {error}")]
    Io {
        /// What was done.
        what: &'static str,
        /// Why it failed.
        error: io::Error,
    },
}

pub(super) fn failed(what: &'static str) -> impl FnOnce(io::Error) -> VmError {
    move |error| VmError::Io { what, error }
}
