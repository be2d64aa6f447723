//! Dialogues with a family, and random histories against its invariants.

use crate::{
    ChildEvent, DeathSignal, ExitStatus, Family, ParentCell, Report, SIGCHLD, Selector, Times,
    WaitOptions, Waited,
};
use alloc::vec::Vec;
use proptest::prelude::*;
use tyn_abi::{Errno, Nanos, Pid};

const INIT: Pid = Pid(1);
const PLAIN: WaitOptions = WaitOptions {
    ended: true,
    stopped: false,
    continued: false,
    leave: false,
    all: false,
    clones_only: false,
};

fn family(forks: &[(u32, u32)]) -> Family {
    let mut f = Family::new(INIT);
    for &(parent, child) in forks {
        f.fork(Pid(parent), Pid(child), SIGCHLD).unwrap();
    }
    f
}

fn end(f: &mut Family, pid: u32, code: u8) -> crate::Exited {
    f.exit(Pid(pid), ExitStatus::Exited(code), Times::default(), |_| {
        false
    })
}

fn wait(f: &mut Family, parent: u32, selector: Selector) -> Result<Option<(u32, u8)>, Errno> {
    f.wait(Pid(parent), selector, PLAIN).map(|w| match w {
        Waited::Found(Report {
            pid,
            event: ChildEvent::Ended(ExitStatus::Exited(code)),
            ..
        }) => Some((pid.0, code)),
        Waited::Found(report) => panic!("{report:?}"),
        Waited::NotYet => None,
    })
}

fn check(f: &Family) {
    for (pid, m) in &f.members {
        match m.parent {
            None => assert_eq!(*pid, f.init),
            Some(parent) => {
                let parent = &f.members[&parent];
                assert!(parent.zombie.is_none(), "a zombie has children");
                assert!(parent.children.contains(pid));
            }
        }
        for child in &m.children {
            assert_eq!(f.members[child].parent, Some(*pid));
        }
    }
}

#[test]
fn child_is_waited_for_once() {
    let mut f = family(&[(1, 2)]);
    assert_eq!(wait(&mut f, 1, Selector::Any), Ok(None));
    let exited = end(&mut f, 2, 7);
    let notice = exited.notices[0];
    assert_eq!(
        (notice.parent, notice.child, notice.signal),
        (INIT, Pid(2), SIGCHLD)
    );
    assert_eq!(f.zombie(Pid(2)), Some(ExitStatus::Exited(7)));
    let leave = WaitOptions {
        leave: true,
        ..PLAIN
    };
    assert!(matches!(
        f.wait(INIT, Selector::Any, leave),
        Ok(Waited::Found(_))
    ));
    assert_eq!(wait(&mut f, 1, Selector::Any), Ok(Some((2, 7))));
    assert_eq!(wait(&mut f, 1, Selector::Any), Err(Errno::ECHILD));
    assert_eq!(f.zombie(Pid(2)), None);
}

#[test]
fn selectors_choose_among_children() {
    let mut f = family(&[(1, 2), (1, 3), (3, 4)]);
    f.set_group(INIT, Pid(3), Pid(3)).unwrap();
    let _ = end(&mut f, 2, 0);
    assert_eq!(wait(&mut f, 1, Selector::Child(Pid(3))), Ok(None));
    assert_eq!(wait(&mut f, 1, Selector::Group(Pid(3))), Ok(None));
    assert_eq!(wait(&mut f, 1, Selector::Child(Pid(4))), Err(Errno::ECHILD));
    assert_eq!(wait(&mut f, 1, Selector::Group(Pid(9))), Err(Errno::ECHILD));
    assert_eq!(wait(&mut f, 9, Selector::Any), Err(Errno::ECHILD));
    let _ = end(&mut f, 3, 1);
    assert_eq!(wait(&mut f, 1, Selector::Group(Pid(3))), Ok(Some((3, 1))));
    assert_eq!(wait(&mut f, 1, Selector::Group(INIT)), Ok(Some((2, 0))));
}

#[test]
fn children_without_sigchld_need_the_clone_options() {
    let mut f = Family::new(INIT);
    f.fork(INIT, Pid(2), 0).unwrap();
    let exited = f.exit(Pid(2), ExitStatus::Signaled(9), Times::default(), |_| true);
    assert_eq!(exited.notices[0].signal, 0);
    assert!(
        exited.forgotten.is_empty(),
        "an ignored SIGCHLD is not about it"
    );
    assert_eq!(wait(&mut f, 1, Selector::Any), Err(Errno::ECHILD));
    let leave_all = WaitOptions {
        leave: true,
        all: true,
        ..PLAIN
    };
    assert!(matches!(
        f.wait(INIT, Selector::Any, leave_all),
        Ok(Waited::Found(_))
    ));
    let clones = WaitOptions {
        clones_only: true,
        ..PLAIN
    };
    assert!(matches!(
        f.wait(INIT, Selector::Any, clones),
        Ok(Waited::Found(_))
    ));
}

#[test]
fn siblings_are_their_parents_children_and_announce_as_their_makers_do() {
    let mut family = Family::new(Pid(1));
    family.fork(Pid(1), Pid(2), SIGCHLD).unwrap();
    family.fork(Pid(1), Pid(3), 10).unwrap();
    family.new_session(Pid(2)).unwrap();
    let cell = ParentCell::default();
    family.fork_sibling(Pid(2), Pid(4), &cell).unwrap();
    family.fork_sibling(Pid(3), Pid(5), &cell).unwrap();
    assert_eq!(family.parent(Pid(4)), Some(Pid(1)));
    assert_eq!(cell.get(), 1);
    assert_eq!(family.group(Pid(4)), Ok(Pid(2)));
    assert_eq!(family.session(Pid(4)), Ok(Pid(2)));
    assert_eq!(family.group(Pid(5)), Ok(Pid(1)));
    check(&family);
    let mut told = |pid| {
        let exited = end(&mut family, pid, 0);
        exited.notices.first().map(|n| (n.parent.0, n.signal))
    };
    assert_eq!(told(4), Some((1, SIGCHLD)));
    assert_eq!(told(5), Some((1, 10)));
    assert_eq!(
        family.fork_sibling(Pid(1), Pid(6), &cell),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        family.fork_sibling(Pid(4), Pid(6), &cell),
        Err(Errno::ESRCH)
    );
}

#[test]
fn ignored_sigchld_leaves_no_zombie() {
    let mut f = family(&[(1, 2), (1, 3)]);
    let exited = f.exit(Pid(2), ExitStatus::Exited(0), Times::default(), |p| {
        p == INIT
    });
    assert_eq!(exited.forgotten, [Pid(2)]);
    assert_eq!(exited.notices.len(), 1, "a blocked wait has to find out");
    assert_eq!(wait(&mut f, 1, Selector::Any), Ok(None));
    let _ = f.exit(Pid(3), ExitStatus::Exited(0), Times::default(), |_| true);
    assert_eq!(wait(&mut f, 1, Selector::Any), Err(Errno::ECHILD));
}

#[test]
fn stops_are_told_once_to_those_who_ask() {
    let mut f = family(&[(1, 2)]);
    assert_eq!(f.set_news(Pid(2), ChildEvent::Stopped(19)), Some(INIT));
    assert_eq!(wait(&mut f, 1, Selector::Any), Ok(None));
    let options = WaitOptions {
        stopped: true,
        continued: true,
        ..PLAIN
    };
    let mut told = || match f.wait(INIT, Selector::Any, options) {
        Ok(Waited::Found(report)) => Some(report.event),
        _ => None,
    };
    assert_eq!(told(), Some(ChildEvent::Stopped(19)));
    assert_eq!(told(), None);
    f.set_news(Pid(2), ChildEvent::Continued);
    let ended_only = WaitOptions {
        ended: true,
        ..PLAIN
    };
    assert_eq!(f.wait(INIT, Selector::Any, ended_only), Ok(Waited::NotYet));
    let _ = end(&mut f, 2, 1);
    assert_eq!(f.set_news(Pid(2), ChildEvent::Continued), None, "too late");
    let stopped_only = WaitOptions {
        ended: false,
        ..options
    };
    assert_eq!(
        f.wait(INIT, Selector::Any, stopped_only),
        Ok(Waited::NotYet)
    );
    assert_eq!(wait(&mut f, 1, Selector::Any), Ok(Some((2, 1))));
    assert_eq!(ChildEvent::Stopped(19).to_wait_word(), 0x137f);
    assert_eq!(ChildEvent::Continued.to_wait_word(), 0xffff);
    assert_eq!(ChildEvent::Stopped(19).to_siginfo(), (5, 19));
    assert_eq!(ChildEvent::Continued.to_siginfo(), (6, 18));
}

#[test]
fn orphans_pass_to_the_nearest_reaper() {
    let mut f = family(&[(1, 2), (2, 3), (3, 4), (3, 5), (3, 6)]);
    *f.is_reaper(Pid(2)).unwrap() = true;
    *f.death_signal(Pid(4)).unwrap() = 15;
    let _ = end(&mut f, 5, 50);
    let exited = end(&mut f, 3, 30);
    check(&f);
    assert_eq!(
        exited.death_signals,
        [DeathSignal {
            pid: Pid(4),
            signal: 15
        }]
    );
    let told: Vec<_> = exited
        .notices
        .iter()
        .map(|n| (n.parent.0, n.child.0))
        .collect();
    assert_eq!(told, [(2, 5), (2, 3)]);
    assert_eq!(f.parent(Pid(4)), Some(Pid(2)));
    assert_eq!(f.children(Pid(2)), [Pid(3), Pid(4), Pid(5), Pid(6)]);
    let _ = end(&mut f, 2, 20);
    assert_eq!(f.parent(Pid(6)), Some(INIT));
    check(&f);
}

#[test]
fn times_of_waited_children_add_up() {
    let mut f = family(&[(1, 2), (2, 3)]);
    let times = |n| Times {
        user: Nanos(n),
        system: Nanos(10 * n),
    };
    let _ = f.exit(Pid(3), ExitStatus::Exited(0), times(1), |_| false);
    wait(&mut f, 2, Selector::Any).unwrap();
    assert_eq!(f.children_times(Pid(2)), times(1));
    let _ = f.exit(Pid(2), ExitStatus::Exited(0), times(2), |_| false);
    wait(&mut f, 1, Selector::Any).unwrap();
    assert_eq!(f.children_times(INIT), times(3));
}

#[test]
fn setpgid_obeys_the_man_page() {
    let mut f = family(&[(1, 2), (1, 3), (2, 4)]);
    assert_eq!(
        f.set_group(INIT, INIT, INIT),
        Err(Errno::EPERM),
        "a session leader"
    );
    assert_eq!(
        f.set_group(INIT, Pid(4), Pid(4)),
        Err(Errno::ESRCH),
        "a grandchild"
    );
    assert_eq!(f.set_group(INIT, Pid(9), Pid(9)), Err(Errno::ESRCH));
    assert_eq!(
        f.set_group(INIT, Pid(2), Pid(3)),
        Err(Errno::EPERM),
        "no such group"
    );
    assert_eq!(f.set_group(INIT, Pid(2), Pid(2)), Ok(()));
    assert_eq!(f.set_group(INIT, Pid(3), Pid(2)), Ok(()));
    assert_eq!(f.group_members(Pid(2)), [Pid(2), Pid(3)]);
    f.exec(Pid(3));
    assert_eq!(f.set_group(INIT, Pid(3), Pid(3)), Err(Errno::EACCES));
    assert_eq!(f.set_group(Pid(3), Pid(3), Pid(3)), Ok(()), "itself it may");
    assert_eq!(f.group(Pid(3)), Ok(Pid(3)));
    assert_eq!(f.group(Pid(9)), Err(Errno::ESRCH));
}

#[test]
fn setsid_obeys_the_man_page() {
    let mut f = family(&[(1, 2), (1, 3)]);
    assert_eq!(f.new_session(INIT), Err(Errno::EPERM));
    assert_eq!(f.new_session(Pid(2)), Ok(Pid(2)));
    assert_eq!(f.session(Pid(2)), Ok(Pid(2)));
    assert_eq!(
        f.set_group(INIT, Pid(2), INIT),
        Err(Errno::EPERM),
        "another session"
    );
    f.fork(Pid(2), Pid(4), SIGCHLD).unwrap();
    assert_eq!(f.session_members(Pid(2)), [Pid(2), Pid(4)]);
    assert_eq!(
        f.set_group(Pid(2), Pid(4), INIT),
        Err(Errno::EPERM),
        "a group elsewhere"
    );
    f.set_group(INIT, Pid(3), Pid(3)).unwrap();
    assert_eq!(f.new_session(Pid(3)), Err(Errno::EPERM), "a group leader");
}

#[test]
fn status_words_are_those_of_linux() {
    assert_eq!(ExitStatus::Exited(3).to_wait_word(), 0x300);
    assert_eq!(ExitStatus::Signaled(9).to_wait_word(), 9);
    for status in [
        ExitStatus::Exited(0),
        ExitStatus::Exited(255),
        ExitStatus::Signaled(9),
    ] {
        assert_eq!(ExitStatus::from_wait_word(status.to_wait_word()), status);
    }
    assert_eq!(ExitStatus::from_wait_word(0x8b), ExitStatus::Signaled(11));
    assert_eq!(ExitStatus::Exited(3).to_siginfo(), (1, 3));
    assert_eq!(ExitStatus::Signaled(15).to_siginfo(), (2, 15));
    assert_eq!(ExitStatus::Signaled(15).to_shell_code(), 143);
    assert_eq!(ExitStatus::Exited(1).to_shell_code(), 1);
}

proptest! {
    #[test]
    fn any_history_keeps_the_family_sound(
        steps in proptest::collection::vec((0u8..5, any::<prop::sample::Index>(), any::<bool>()), 1..80)
    ) {
        let mut f = Family::new(INIT);
        let mut next = 2;
        let (mut ended, mut reaped) = (0, 0);
        for (step, choice, flag) in steps {
            let alive: Vec<Pid> =
                f.members.iter().filter(|(_, m)| m.zombie.is_none()).map(|(&p, _)| p).collect();
            let pid = alive[choice.index(alive.len())];
            match step {
                0 | 1 => {
                    f.fork(pid, Pid(next), if flag { SIGCHLD } else { 0 }).unwrap();
                    next += 1;
                }
                2 if pid != INIT => {
                    ended += 1;
                    let exited = f.exit(pid, ExitStatus::Exited(0), Times::default(), |p| p.0 % 3 == 0);
                    reaped += exited.forgotten.len();
                    for gone in &exited.forgotten {
                        prop_assert!(!f.members.contains_key(gone));
                    }
                }
                3 => *f.is_reaper(pid).unwrap() = flag,
                _ => {
                    let options = WaitOptions { all: true, ..PLAIN };
                    if let Ok(Waited::Found(z)) = f.wait(pid, Selector::Any, options) {
                        reaped += 1;
                        prop_assert!(!f.members.contains_key(&z.pid));
                    }
                }
            }
            check(&f);
        }
        let zombies = f.members.values().filter(|m| m.zombie.is_some()).count();
        prop_assert_eq!(ended, reaped + zombies);
    }
}
