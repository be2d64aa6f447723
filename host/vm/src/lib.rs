//! Virtual machines that run Tyn: a typed QEMU command line ([`Config`]), starting, watching and stopping ([`Vm`]), what the
//! kernel reports ([`Report`]) and how it ended ([`Outcome`]). Used by the command-line tool and by tests alike.
#![forbid(unsafe_code)]

pub mod config;
pub mod console;
pub mod http;
pub mod memory;
pub mod qemu;
pub mod qmp;
pub mod report;
pub mod symbols;
pub mod vm;

pub use config::{Accel, Config, Forward, Mac, Machine, MemorySize, Network, Ram};
pub use console::{Console, ConsolePipe, Resizer};
pub use report::{ExitCode, Outcome, Report};
pub use symbols::Symbols;
pub use vm::{Control, MAX_CPUS, OnLine, Vm, VmError};
