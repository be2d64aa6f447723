//! Trace events. Plain `Copy` data, so that recording one is a store; text is made only when somebody reads it.

use core::fmt;

/// Something worth remembering.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A system call that is not in the table.
    UnknownCall {
        /// Its number.
        nr: u64,
        /// Its first three arguments.
        args: [u64; 3],
    },
    /// A flag, option or request that is not supported.
    Unsupported {
        /// What it was, e.g. `setsockopt IPPROTO_TCP`.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// A system call returned (only recorded on request).
    Call {
        /// Its name.
        name: &'static str,
        /// Its first three arguments.
        args: [u64; 3],
        /// What it returned, errors as negative numbers.
        result: i64,
    },
    /// A process began to run a program.
    Exec {
        /// The process id.
        pid: u32,
    },
    /// A process ended.
    ProcessExit {
        /// The process id.
        pid: u32,
        /// Its wait status (`wait(2)`).
        status: u32,
    },
    /// A fault in ring 3 became a signal.
    FaultSignal {
        /// Signal number.
        signal: u8,
        /// Instruction pointer.
        ip: u64,
        /// Faulting address.
        addr: u64,
    },
    /// A thread of a process with no handler was ended by a signal.
    KilledBySignal {
        /// The process id.
        pid: u32,
        /// Signal number.
        signal: u8,
    },
    /// A process was ended because no memory was left.
    OutOfMemory {
        /// The process id.
        pid: u32,
    },
    /// A point in boot was reached.
    Milestone {
        /// Its name.
        name: &'static str,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UnknownCall {
                nr,
                args: [a, b, c],
            } => {
                write!(
                    f,
                    "system call {nr} ({a:#x}, {b:#x}, {c:#x}) is not supported: ENOSYS"
                )
            }
            Self::Unsupported { what, value } => {
                write!(f, "{what}: value {value:#x} is not supported")
            }
            Self::Call {
                name,
                args: [a, b, c],
                result,
            } => write!(f, "{name}({a:#x}, {b:#x}, {c:#x}) = {result}"),
            Self::Exec { pid } => write!(f, "process {pid} executes a program"),
            Self::ProcessExit { pid, status } => {
                write!(f, "process {pid} ended with wait status {status:#x}")
            }
            Self::FaultSignal { signal, ip, addr } => {
                write!(f, "fault: signal {signal} at ip {ip:#x}, address {addr:#x}")
            }
            Self::KilledBySignal { pid, signal } => {
                write!(f, "process {pid} was killed by signal {signal}")
            }
            Self::OutOfMemory { pid } => write!(f, "process {pid} was killed: out of memory"),
            Self::Milestone { name } => write!(f, "{name}"),
        }
    }
}

/// An event with when, where and who.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Nanoseconds since boot.
    pub ns: u64,
    /// CPU index.
    pub cpu: u32,
    /// Thread id, 0 for none.
    pub tid: u32,
    /// What happened.
    pub event: Event,
}

impl fmt::Display for Record {
    /// Writes the fields of a `trace` report line: `NS CPU TID TEXT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.ns, self.cpu, self.tid, self.event)
    }
}
