//! The frame on the user stack: pushing it for a handler, taking it back in `rt_sigreturn(2)`.

use alloc::vec;

use tyn_abi::signal::{
    AltStack, FPSTATE_MAGIC_BYTES, FRAME_BYTES, FrameRegs, SS_AUTODISARM, SS_DISABLE, SaFlags,
    SigAction, SigInfo, Signal, SignalFrame, SignalSet, find_extended, init_extended, place,
    seal_extended,
};
use tyn_abi::{Errno, UserVa};
use tyn_hal::trap::Regs;
use tyn_hal::{cpu, user};
use tyn_sched::signal::MaskChange;

use super::deliver;
use crate::cx::{Cx, SysResult};
use crate::user_io;

/// RFLAGS that a handler starts without: trap, direction, resume.
const CLEARED_FLAGS: u64 = 1 << 8 | 1 << 10 | 1 << 16;
/// RFLAGS that `rt_sigreturn(2)` takes over: the arithmetic flags, trap, direction, resume, alignment check.
const RESTORED_FLAGS: u64 = 0x5_0dd5;

/// Writes the frame and points the registers at the handler. `mask` is what the handler's return restores.
///
/// # Errors
/// `EFAULT` when the frame cannot be written, there is no restorer, or the alternate stack is too small.
pub(super) fn push(
    cx: &mut Cx<'_>,
    info: &SigInfo,
    action: &SigAction,
    mask: SignalSet,
) -> Result<(), Errno> {
    // Linux on x86-64 has no trampoline of its own.
    if !action.flags.contains(SaFlags::RESTORER) {
        return Err(Errno::EFAULT);
    }
    let features = cpu::user_features();
    let regs = cx.user.regs;
    let stack = cx.thread.signals.alt_stack();
    let is_on_alternate = stack.is_in_use(regs.rsp);
    let is_enabled = stack.flags & SS_DISABLE == 0;
    let switches = action.flags.contains(SaFlags::ONSTACK) && is_enabled && !is_on_alternate;
    let top = if switches {
        stack.base.wrapping_add(stack.size)
    } else {
        regs.rsp
    };
    let (frame_va, fpstate_va) = place(top, switches, features.xsave_bytes).ok_or(Errno::EFAULT)?;
    if (switches || is_on_alternate) && frame_va < stack.base {
        return Err(Errno::EFAULT);
    }

    let mut image = vec![0; features.xsave_bytes + FPSTATE_MAGIC_BYTES];
    if let Some(state) = image.get_mut(..features.xsave_bytes) {
        cx.thread.task().save_extended(state);
    }
    seal_extended(&mut image, cpu::extended_components());
    user::copy_to(UserVa(fpstate_va), &image)?;

    let fault = cx.thread.signals.own.lock().fault;
    let frame = SignalFrame {
        restorer: action.restorer,
        stack,
        regs: to_frame(&regs),
        err: fault.error_code,
        trapno: fault.vector,
        cr2: fault.addr,
        fpstate: fpstate_va,
        mask,
        info: *info,
    };
    user::copy_to(UserVa(frame_va), &frame.to_bytes())?;
    if stack.flags & SS_AUTODISARM != 0 {
        cx.thread.signals.set_alt_stack(AltStack::DISABLED);
    }

    let regs = &mut cx.user.regs;
    regs.rdi = u64::from(info.signal().number());
    regs.rsi = frame_va + INFO_AT;
    regs.rdx = frame_va + UCONTEXT_AT;
    regs.rax = 0;
    regs.rsp = frame_va;
    regs.rip = action.handler;
    regs.rflags &= !CLEARED_FLAGS;
    Ok(())
}

/// Offsets of `siginfo` and `ucontext` in the frame.
const INFO_AT: u64 = 312;
const UCONTEXT_AT: u64 = 8;

/// Takes the frame back that the handler returned over (`rt_sigreturn(2)`); a bad one is a SIGSEGV. Returns RAX as it
/// was, so that it passes through the return of the call unchanged.
///
/// # Errors
/// None: user code would take one for the value that it was interrupted with.
pub fn sigreturn(cx: &mut Cx<'_>) -> SysResult {
    if restore(cx).is_err() {
        deliver::force(cx, SigInfo::from_kernel(Signal::SIGSEGV));
        return Ok(0);
    }
    Ok(cx.user.regs.rax)
}

fn restore(cx: &mut Cx<'_>) -> Result<(), Errno> {
    // The handler's `ret` took the restorer's address off the stack.
    let frame_va = UserVa(cx.user.regs.rsp.wrapping_sub(8));
    let frame = SignalFrame::from_bytes(&user_io::read_bytes::<FRAME_BYTES>(frame_va)?);
    let mut image = vec![0; cpu::user_features().xsave_bytes + FPSTATE_MAGIC_BYTES];
    if frame.fpstate == 0 {
        init_extended(&mut image);
    } else {
        user::copy_from(&mut image, UserVa(frame.fpstate))?;
    }
    let len = find_extended(&mut image);
    let state = image.get(..len).ok_or(Errno::EFAULT)?;
    if !cx.thread.task().load_extended(state) {
        return Err(Errno::EFAULT);
    }
    super::change_mask(cx.thread, MaskChange::Set, frame.mask);
    let flags = cx.user.regs.rflags;
    cx.user.regs = from_frame(&frame.regs);
    // As Linux, without complaint when it is not valid: the stack may be in use.
    let _ = cx
        .thread
        .signals
        .change_alt_stack(frame.stack, frame.regs.rsp);
    cx.user.regs.rflags = flags & !RESTORED_FLAGS | frame.regs.rflags & RESTORED_FLAGS;
    Ok(())
}

const fn to_frame(r: &Regs) -> FrameRegs {
    FrameRegs {
        r8: r.r8,
        r9: r.r9,
        r10: r.r10,
        r11: r.r11,
        r12: r.r12,
        r13: r.r13,
        r14: r.r14,
        r15: r.r15,
        rdi: r.rdi,
        rsi: r.rsi,
        rbp: r.rbp,
        rbx: r.rbx,
        rdx: r.rdx,
        rax: r.rax,
        rcx: r.rcx,
        rsp: r.rsp,
        rip: r.rip,
        rflags: r.rflags,
    }
}

const fn from_frame(f: &FrameRegs) -> Regs {
    Regs {
        rax: f.rax,
        rbx: f.rbx,
        rcx: f.rcx,
        rdx: f.rdx,
        rsi: f.rsi,
        rdi: f.rdi,
        rbp: f.rbp,
        rsp: f.rsp,
        r8: f.r8,
        r9: f.r9,
        r10: f.r10,
        r11: f.r11,
        r12: f.r12,
        r13: f.r13,
        r14: f.r14,
        r15: f.r15,
        rip: f.rip,
        rflags: f.rflags,
    }
}
