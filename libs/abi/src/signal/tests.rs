//! Tests of layouts against the offsets of Linux's headers.

use super::*;
use crate::errno::Errno;
use crate::types::UserVa;

fn le64(b: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(b[at..at + 8].try_into().unwrap())
}

fn le32(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(b[at..at + 4].try_into().unwrap())
}

fn frame() -> SignalFrame {
    SignalFrame {
        restorer: 0x1111,
        stack: AltStack {
            base: 0x7000,
            flags: SS_ONSTACK,
            size: 0x2000,
        },
        regs: FrameRegs {
            r8: 8,
            r15: 15,
            rdi: 7,
            rsp: 0x5000,
            rip: 0x40_1000,
            rflags: 0x246,
            ..FrameRegs::default()
        },
        err: 6,
        trapno: 14,
        cr2: 0xdead,
        fpstate: 0x6000,
        mask: SignalSet::only(Signal::SIGTERM),
        info: SigInfo::from_fault(Signal::SIGSEGV, code::SEGV_ACCERR, UserVa(0xdead)),
    }
}

#[test]
fn numbers_names_and_defaults_agree_with_signal_7() {
    assert_eq!(Signal::from_number(0), None);
    assert_eq!(Signal::from_number(65), None);
    assert_eq!(Signal::from_number(15), Some(Signal::SIGTERM));
    assert_eq!(Signal::SIGTERM.name(), "SIGTERM");
    assert_eq!(Signal::SIGSEGV.default_action(), DefaultAction::Core);
    assert_eq!(Signal::SIGCHLD.default_action(), DefaultAction::Ignore);
    assert_eq!(Signal::SIGRTMIN.default_action(), DefaultAction::Terminate);
    assert!(Signal::SIGRTMIN.is_realtime() && !Signal::SIGSYS.is_realtime());
    assert_eq!(Signal::all().count(), 64);
}

#[test]
fn sets_are_bit_masks_from_signal_1_on() {
    let set = SignalSet::EMPTY.with(Signal::SIGHUP).with(Signal::SIGTERM);
    assert_eq!(set.0, 0x4001);
    assert_eq!(set.lowest(), Some(Signal::SIGHUP));
    assert_eq!(
        set.difference(SignalSet::only(Signal::SIGHUP)).lowest(),
        Some(Signal::SIGTERM)
    );
    assert_eq!(
        set.union(SignalSet(2)).intersection(SignalSet(3)),
        SignalSet(3)
    );
    assert!(SignalSet::EMPTY.is_empty() && SignalSet::EMPTY.lowest().is_none());
    assert_eq!(SignalSet::UNBLOCKABLE.0, 1 << 8 | 1 << 18);
}

#[test]
fn siginfo_fields_lie_where_libc_looks() {
    let b = SigInfo::from_process(Signal::SIGUSR1, code::SI_TKILL, 42, 1000).to_bytes();
    assert_eq!((le32(&b, 0), le32(&b, 8).cast_signed()), (10, -6));
    assert_eq!((le32(&b, 16), le32(&b, 20)), (42, 1000));
    let child = SigInfo::from_child(code::CLD_EXITED, 7, 0, 3, 5, 6);
    let b = child.to_bytes();
    assert_eq!((le32(&b, 24), le64(&b, 32), le64(&b, 40)), (3, 5, 6));
    let fault = SigInfo::from_fault(Signal::SIGBUS, code::BUS_ADRERR, UserVa(0x1_2345_6789));
    assert_eq!(fault.addr(), UserVa(0x1_2345_6789));
    assert_eq!((fault.signal(), fault.code()), (Signal::SIGBUS, 2));
    let again = SigInfo::from_bytes(fault.to_bytes(), Signal::SIGUSR2);
    assert_eq!((again.signal(), again.code()), (Signal::SIGUSR2, 2));
    assert_eq!(SigInfo::from_kernel(Signal::SIGPIPE).code(), 0x80);
}

#[test]
fn sigaction_and_stack_round_trip_with_unknown_flags() {
    let action = SigAction {
        handler: 0x40_2000,
        flags: SaFlags::SIGINFO | SaFlags::RESTORER | SaFlags::from_bits_retain(0x800),
        restorer: 0x40_3000,
        mask: SignalSet(5),
    };
    let b = action.to_bytes();
    assert_eq!(
        (le64(&b, 8), le64(&b, 16), le64(&b, 24)),
        (0x0400_0804, 0x40_3000, 5)
    );
    assert_eq!(SigAction::from_bytes(&b), action);
    let stack = AltStack {
        base: 0x1000,
        flags: SS_AUTODISARM,
        size: 0x4000,
    };
    assert_eq!(AltStack::from_bytes(&stack.to_bytes()), stack);
    assert!(stack.contains(0x5000) && stack.contains(0x1001));
    assert!(!stack.contains(0x1000) && !stack.contains(0x5001));
    assert!(!AltStack::DISABLED.contains(0x10));
}

#[test]
fn frame_fields_lie_where_linux_puts_them() {
    let b = frame().to_bytes();
    assert_eq!(le64(&b, 0), 0x1111);
    assert_eq!(le64(&b, 8), 7, "uc_flags");
    assert_eq!(
        (le64(&b, 24), le32(&b, 32), le64(&b, 40)),
        (0x7000, 1, 0x2000)
    );
    assert_eq!(
        (le64(&b, 48), le64(&b, 104), le64(&b, 112)),
        (8, 15, 7),
        "r8, r15, rdi"
    );
    assert_eq!(
        (le64(&b, 168), le64(&b, 176), le64(&b, 184)),
        (0x5000, 0x40_1000, 0x246)
    );
    assert_eq!(le64(&b, 192), 0x002b_0000_0000_0033, "cs and ss");
    assert_eq!(
        (le64(&b, 200), le64(&b, 208), le64(&b, 224)),
        (6, 14, 0xdead)
    );
    assert_eq!(le64(&b, 232), 0x6000, "fpstate");
    assert_eq!(le64(&b, 304), 1 << 14, "uc_sigmask");
    assert_eq!(le32(&b, 312), 11, "si_signo");
    assert_eq!(SignalFrame::from_bytes(&b), frame());
}

#[test]
fn frame_is_aligned_as_after_a_call_and_spares_the_red_zone() {
    for top in 0x7fff_0000u64..0x7fff_0100 {
        for is_alternate in [false, true] {
            let (frame, fpstate) = place(top, is_alternate, 832).unwrap();
            assert_eq!((frame + 8) % 16, 0);
            assert_eq!(fpstate % 64, 0);
            assert!(frame + FRAME_BYTES as u64 <= fpstate);
            assert!(fpstate + 836 <= top - if is_alternate { 0 } else { 128 });
        }
    }
    assert_eq!(place(900, false, 832), None);
}

#[test]
fn sealed_image_is_found_and_broken_magic_leaves_the_legacy_part() {
    let mut image = [0xaa; 836];
    seal_extended(&mut image, 7);
    assert_eq!(le32(&image, 464), 0x4650_5853);
    assert_eq!(
        (le32(&image, 468), le64(&image, 472), le32(&image, 480)),
        (836, 7, 832)
    );
    assert_eq!(le32(&image, 832), 0x4650_5845);
    let sealed = image;
    assert_eq!(find_extended(&mut image), 832);
    assert_eq!(image, sealed);
    image[832] = 0;
    assert_eq!(find_extended(&mut image), 832);
    assert_eq!(image[..512], sealed[..512]);
    assert_eq!(le64(&image, 512), 3, "XSTATE_BV: x87 and SSE");
    assert!(image[520..832].iter().all(|&b| b == 0));
}

#[test]
fn alternate_stack_is_checked_and_shown_as_sigaltstack_does() {
    let stack = |flags, size| AltStack {
        base: 0x1000,
        flags,
        size,
    };
    assert_eq!(stack(0, 2047).checked(), Err(Errno::ENOMEM));
    assert_eq!(stack(4, 8192).checked(), Err(Errno::EINVAL));
    assert_eq!(
        stack(SS_DISABLE, 8192).checked().map(|s| (s.base, s.size)),
        Ok((0, 0))
    );
    let ok = stack(0, 8192).checked().unwrap();
    assert_eq!(ok.shown(0x1800).flags, SS_ONSTACK);
    assert_eq!(ok.shown(0x9000).flags, 0);
    let disarming = stack(SS_AUTODISARM, 8192).checked().unwrap();
    assert_eq!(disarming.shown(0x1800).flags, SS_AUTODISARM);
    assert_eq!(AltStack::DISABLED.shown(0x1800).flags, SS_DISABLE);
}

#[test]
fn initial_image_has_all_exceptions_masked() {
    let mut image = [0xff; 600];
    init_extended(&mut image);
    assert_eq!((image[0], image[1], le32(&image, 24)), (0x7f, 3, 0x1f80));
    assert_eq!(image.iter().filter(|&&b| b != 0).count(), 4);
}
