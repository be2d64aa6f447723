//! Dialogue tests of queues and decisions, against `signal(7)`.

use super::*;
use alloc::vec::Vec;
use tyn_abi::signal::code;

const LIMIT: usize = 8;

fn sent(signal: Signal, pid: u32) -> SigInfo {
    SigInfo::from_process(signal, code::SI_USER, pid, 0)
}

fn pid(info: &SigInfo) -> u8 {
    info.to_bytes()[16]
}

fn taken(p: &mut Pending, wanted: SignalSet) -> Vec<(u8, u8)> {
    core::iter::from_fn(|| p.take(wanted))
        .map(|i| (i.signal().number(), pid(&i)))
        .collect()
}

fn action(handler: u64) -> SigAction {
    SigAction {
        handler,
        ..SigAction::default()
    }
}

#[test]
fn standard_signal_waits_once_with_its_first_details() {
    let mut p = Pending::new();
    assert_eq!(p.push(sent(Signal::SIGTERM, 1), LIMIT), Queued::New);
    assert_eq!(p.push(sent(Signal::SIGTERM, 2), LIMIT), Queued::Already);
    assert_eq!(taken(&mut p, SignalSet(!0)), [(15, 1)]);
    assert!(p.set().is_empty());
    assert_eq!(p.push(sent(Signal::SIGTERM, 3), LIMIT), Queued::New);
}

#[test]
fn realtime_signals_queue_in_order_and_are_refused_when_full() {
    let rt = Signal::from_number(34).unwrap();
    let mut p = Pending::new();
    for i in 0..LIMIT as u32 {
        assert_eq!(p.push(sent(rt, i), LIMIT), Queued::New);
    }
    assert_eq!(p.push(sent(rt, 99), LIMIT), Queued::Full);
    let got = taken(&mut p, SignalSet(!0));
    assert_eq!(got.len(), LIMIT);
    assert!(
        got.iter()
            .enumerate()
            .all(|(i, &(nr, pid))| nr == 34 && usize::from(pid) == i)
    );
}

#[test]
fn standard_signal_survives_a_full_queue_without_details() {
    let mut p = Pending::new();
    assert_eq!(p.push(sent(Signal::SIGTERM, 7), 0), Queued::Full);
    assert!(p.set().contains(Signal::SIGTERM));
    assert_eq!(taken(&mut p, SignalSet(!0)), [(15, 0)]);
    assert!(p.set().is_empty());
}

#[test]
fn faults_come_first_then_the_lowest_number() {
    let mut p = Pending::new();
    for s in [
        Signal::SIGTERM,
        Signal::SIGRTMIN,
        Signal::SIGHUP,
        Signal::SIGSEGV,
        Signal::SIGBUS,
    ] {
        p.push(sent(s, 1), LIMIT);
    }
    let order: Vec<u8> = taken(&mut p, SignalSet(!0)).iter().map(|t| t.0).collect();
    assert_eq!(order, [7, 11, 1, 15, 32]);
}

#[test]
fn blocked_signals_are_left_and_discarded_ones_are_gone() {
    let mut p = Pending::new();
    p.push(sent(Signal::SIGHUP, 1), LIMIT);
    p.push(sent(Signal::SIGCONT, 1), LIMIT);
    p.push(sent(Signal::SIGTSTP, 1), LIMIT);
    assert_eq!(p.take(SignalSet::only(Signal::SIGTERM)), None);
    p.discard(SignalSet::STOP);
    p.discard(SignalSet::STOP);
    assert_eq!(taken(&mut p, SignalSet(!0)), [(1, 1), (18, 1)]);
}

#[test]
fn ignored_signal_is_forgotten_unless_it_is_blocked() {
    use Role::{Init, Ordinary};
    let cases = [
        (Signal::SIGTERM, SIG_IGN, false, Ordinary, true),
        (Signal::SIGTERM, SIG_IGN, true, Ordinary, false),
        (Signal::SIGCHLD, SIG_DFL, false, Ordinary, true),
        (Signal::SIGCONT, SIG_DFL, false, Ordinary, true),
        (Signal::SIGTERM, SIG_DFL, false, Ordinary, false),
        (Signal::SIGTERM, SIG_DFL, false, Init, true),
        (Signal::SIGKILL, SIG_DFL, false, Init, true),
        (Signal::SIGTERM, 0x1000, false, Init, false),
    ];
    for (signal, handler, is_blocked, role, expected) in cases {
        let got = is_ignored(signal, &action(handler), is_blocked, role);
        assert_eq!(
            got, expected,
            "{signal:?} {handler:#x} {is_blocked} {role:?}"
        );
    }
}

#[test]
fn delivery_follows_the_default_actions() {
    use Role::{Init, Ordinary};
    let dfl = action(SIG_DFL);
    assert_eq!(
        delivery(Signal::SIGTERM, &dfl, Ordinary),
        Delivery::Terminate
    );
    assert_eq!(
        delivery(Signal::SIGSEGV, &dfl, Ordinary),
        Delivery::Terminate
    );
    assert_eq!(
        delivery(Signal::SIGRTMIN, &dfl, Ordinary),
        Delivery::Terminate
    );
    assert_eq!(delivery(Signal::SIGTSTP, &dfl, Ordinary), Delivery::Stop);
    assert_eq!(delivery(Signal::SIGWINCH, &dfl, Ordinary), Delivery::Ignore);
    assert_eq!(delivery(Signal::SIGTERM, &dfl, Init), Delivery::Ignore);
    assert_eq!(
        delivery(Signal::SIGTERM, &action(SIG_IGN), Ordinary),
        Delivery::Ignore
    );
    assert_eq!(
        delivery(Signal::SIGTERM, &action(0x1000), Init),
        Delivery::Handle
    );
}

#[test]
fn handler_blocks_its_mask_and_its_own_signal() {
    let mut a = action(0x1000);
    a.mask = SignalSet::only(Signal::SIGINT).with(Signal::SIGKILL);
    let before = SignalSet::only(Signal::SIGHUP);
    let during = mask_in_handler(before, Signal::SIGTERM, &a);
    assert_eq!(during, before.with(Signal::SIGINT).with(Signal::SIGTERM));
    a.flags = SaFlags::NODEFER;
    assert_eq!(
        mask_in_handler(before, Signal::SIGTERM, &a),
        before.with(Signal::SIGINT)
    );
}

#[test]
fn mask_changes_never_block_sigkill() {
    let hup = SignalSet::only(Signal::SIGHUP);
    let all = SignalSet(!0);
    assert_eq!(MaskChange::from_how(3), None);
    let change = |how, mask, set| MaskChange::from_how(how).unwrap().apply(mask, set);
    assert_eq!(change(0, hup, all), all.difference(SignalSet::UNBLOCKABLE));
    assert!(!change(1, all, hup).contains(Signal::SIGHUP));
    assert_eq!(change(2, all, hup), hup);
}

#[test]
fn calls_resume_as_their_kind_and_the_handler_say() {
    use RestartKind::{IfAsked, WithRest, WithoutHandler};
    let restart = Some(SaFlags::RESTART);
    let plain = Some(SaFlags::empty());
    let cases = [
        (IfAsked, None, Resume::Again),
        (IfAsked, restart, Resume::Again),
        (IfAsked, plain, Resume::Interrupted),
        (WithoutHandler, None, Resume::Again),
        (WithoutHandler, restart, Resume::Interrupted),
        (WithRest, None, Resume::Continue),
        (WithRest, restart, Resume::Interrupted),
    ];
    for (kind, handler, expected) in cases {
        assert_eq!(kind.resume(handler), expected, "{kind:?} {handler:?}");
    }
}
