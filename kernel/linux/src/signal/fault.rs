//! Exceptions of ring 3 that become signals (Linux `arch/x86/kernel/traps.c`).

use tyn_abi::signal::{SigInfo, Signal, code};
use tyn_abi::{Access, USER_END, UserVa};
use tyn_trace::Event;

use super::deliver;
use crate::cx::Cx;
use crate::mm::BadAccess;
use crate::{oom, trace};

/// What `struct sigcontext` says of the last fault of a thread that became a signal; later frames repeat it, as on Linux.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Details {
    pub(super) vector: u64,
    pub(super) error_code: u64,
    pub(super) addr: u64,
}

/// Vector of the page fault.
const PAGE_FAULT: u64 = 14;
/// Error code bits of a page fault: present, write, from ring 3, instruction fetch.
const PF_PRESENT: u64 = 1;
const PF_WRITE: u64 = 1 << 1;
const PF_USER: u64 = 1 << 2;
const PF_FETCH: u64 = 1 << 4;

/// A page fault of ring 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageFault {
    /// Where.
    pub addr: UserVa,
    /// What was attempted.
    pub access: Access,
    /// Whether a translation was present.
    pub is_present: bool,
}

impl PageFault {
    const fn details(self) -> Details {
        // Linux does not tell user code what is mapped in the kernel's half.
        let is_present = self.is_present || self.addr.0 >= USER_END;
        let present = if is_present { PF_PRESENT } else { 0 };
        let access = match self.access {
            Access::Read => 0,
            Access::Write => PF_WRITE,
            Access::Execute => PF_FETCH,
        };
        Details {
            vector: PAGE_FAULT,
            error_code: PF_USER | present | access,
            addr: self.addr.0,
        }
    }
}

/// Posts the signal of a page fault that cannot be resolved.
pub fn page_fault(cx: &Cx<'_>, fault: PageFault, bad: BadAccess) {
    let (signal, code) = match bad {
        BadAccess::NotMapped => (Signal::SIGSEGV, code::SEGV_MAPERR),
        BadAccess::Forbidden => (Signal::SIGSEGV, code::SEGV_ACCERR),
        BadAccess::PastEnd => (Signal::SIGBUS, code::BUS_ADRERR),
        BadAccess::OutOfMemory => return oom::make_room(cx),
    };
    cx.thread.signals.own.lock().fault = fault.details();
    post(cx, SigInfo::from_fault(signal, code, fault.addr));
}

/// Posts the signal of an exception other than a page fault.
pub fn exception(cx: &Cx<'_>, vector: u8, error_code: u64) {
    {
        let mut own = cx.thread.signals.own.lock();
        own.fault.vector = u64::from(vector);
        own.fault.error_code = error_code;
    }
    let ip = UserVa(cx.user.regs.rip);
    let info = match vector {
        0 => SigInfo::from_fault(Signal::SIGFPE, code::FPE_INTDIV, ip),
        1 => SigInfo::from_fault(Signal::SIGTRAP, code::TRAP_TRACE, ip),
        3 => SigInfo::from_kernel(Signal::SIGTRAP),
        6 => SigInfo::from_fault(Signal::SIGILL, code::ILL_ILLOPN, ip),
        11 | 12 => SigInfo::from_kernel(Signal::SIGBUS),
        16 => SigInfo::from_fault(Signal::SIGFPE, x87_code(cx), ip),
        17 => SigInfo::from_fault(Signal::SIGBUS, code::BUS_ADRALN, UserVa::NULL),
        19 => SigInfo::from_fault(Signal::SIGFPE, sse_code(cx), ip),
        // Overflow, bounds, general protection and what else there may be.
        _ => SigInfo::from_kernel(Signal::SIGSEGV),
    };
    post(cx, info);
}

fn post(cx: &Cx<'_>, info: SigInfo) {
    let event = Event::FaultSignal {
        signal: info.signal().number(),
        ip: cx.user.regs.rip,
        addr: info.addr().0,
    };
    trace::event(cx.thread.tid(), event);
    deliver::force(cx, info);
}

/// Returns the exceptions that are raised and not masked, from the image of the vector state: x87 status and control
/// words at 2 and 0, MXCSR at 24 (Intel SDM vol. 1, 10.5.1).
fn legacy_words(cx: &Cx<'_>) -> (u16, u16, u32) {
    let mut image = alloc::vec![0; tyn_hal::cpu::user_features().xsave_bytes];
    cx.thread.task().save_extended(&mut image);
    let byte = |at: usize| image.get(at).copied().unwrap_or(0);
    let half = |at: usize| u16::from_le_bytes([byte(at), byte(at + 1)]);
    let mxcsr = u32::from(half(24)) | u32::from(half(26)) << 16;
    (half(0), half(2), mxcsr)
}

fn x87_code(cx: &Cx<'_>) -> i32 {
    let (control, status, _) = legacy_words(cx);
    float_code(u32::from(status & !control))
}

fn sse_code(cx: &Cx<'_>) -> i32 {
    let (_, _, mxcsr) = legacy_words(cx);
    float_code(mxcsr & !(mxcsr >> 7))
}

/// Maps exception bits (both units order them alike) to `si_code`.
const fn float_code(raised: u32) -> i32 {
    if raised & 0x01 != 0 {
        code::FPE_FLTINV
    } else if raised & 0x04 != 0 {
        code::FPE_FLTDIV
    } else if raised & 0x08 != 0 {
        code::FPE_FLTOVF
    } else if raised & 0x12 != 0 {
        code::FPE_FLTUND
    } else if raised & 0x20 != 0 {
        code::FPE_FLTRES
    } else {
        code::SI_KERNEL
    }
}
