//! Exceptions of ring 3 that become signals (Linux `arch/x86/kernel/traps.c`).

use tyn_abi::UserVa;
use tyn_abi::signal::{SigInfo, Signal, code};
use tyn_trace::Event;

use super::deliver;
use crate::cx::Cx;
use crate::mm::BadAccess;
use crate::trace;

/// What `struct sigcontext` says about a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Details {
    pub(super) vector: u64,
    pub(super) error_code: u64,
    pub(super) addr: u64,
}

/// Vector of the page fault.
const PAGE_FAULT: u64 = 14;
/// Error code bits of a page fault: present, from ring 3.
const PF_PRESENT: u64 = 1;
const PF_USER: u64 = 4;

/// Returns the details for a frame, as far as the signal itself tells them.
pub(super) fn details(info: &SigInfo) -> Details {
    match (info.signal(), info.code()) {
        (Signal::SIGSEGV, segv @ (code::SEGV_MAPERR | code::SEGV_ACCERR)) => Details {
            vector: PAGE_FAULT,
            error_code: PF_USER
                | if segv == code::SEGV_ACCERR {
                    PF_PRESENT
                } else {
                    0
                },
            addr: info.addr().0,
        },
        (Signal::SIGBUS, code::BUS_ADRERR) => Details {
            vector: PAGE_FAULT,
            error_code: PF_USER,
            addr: info.addr().0,
        },
        _ => Details::default(),
    }
}

/// Posts the signal of a page fault that cannot be resolved.
pub fn page_fault(cx: &mut Cx<'_>, addr: UserVa, bad: BadAccess) {
    let (signal, code) = match bad {
        BadAccess::NotMapped => (Signal::SIGSEGV, code::SEGV_MAPERR),
        BadAccess::Forbidden => (Signal::SIGSEGV, code::SEGV_ACCERR),
        BadAccess::PastEnd => (Signal::SIGBUS, code::BUS_ADRERR),
        BadAccess::OutOfMemory => {
            let pid = cx.process.pid.0;
            trace::event(cx.thread.tid(), Event::OutOfMemory { pid });
            cx.process.exit_group(u32::from(Signal::SIGKILL.number()));
            return;
        }
    };
    post(cx, SigInfo::from_fault(signal, code, addr));
}

/// Posts the signal of an exception other than a page fault.
pub fn exception(cx: &mut Cx<'_>, vector: u8, error_code: u64) {
    let _ = error_code;
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
    cx.thread.task().save_extended(cx.user, &mut image);
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
