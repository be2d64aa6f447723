//! The relations.

use crate::{ChildEvent, ExitStatus, SIGCHLD, Times};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use tyn_abi::{Errno, Pid};

/// All processes, zombies included.
///
/// # Invariants
/// Every process but init has a parent that is alive; `children` of a process are exactly those whose parent it is.
#[derive(Clone, Debug)]
pub struct Family {
    pub(crate) members: BTreeMap<Pid, Member>,
    pub(crate) init: Pid,
}

/// The parent's id as the process itself reads it, without the family's lock (`getppid(2)`); 0 for init.
#[derive(Clone, Debug, Default)]
pub struct ParentCell(Arc<AtomicU32>);

impl ParentCell {
    /// Returns the parent's id.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self, parent: Pid) {
        self.0.store(parent.0, Ordering::Release);
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) parent: Option<Pid>,
    pub(crate) parent_cell: ParentCell,
    pub(crate) children: BTreeSet<Pid>,
    pub(crate) group: Pid,
    pub(crate) session: Pid,
    /// Signal for the parent when this process ends; 0 for none.
    pub(crate) exit_signal: u8,
    /// Signal for this process when its parent ends (`PR_SET_PDEATHSIG`); 0 for none.
    pub(crate) death_signal: u8,
    /// It has called `execve` since it was forked.
    pub(crate) has_execed: bool,
    /// Orphaned descendants become its children (`PR_SET_CHILD_SUBREAPER`).
    pub(crate) is_reaper: bool,
    pub(crate) zombie: Option<(ExitStatus, Times)>,
    /// That it stopped or went on, until the parent has waited for it.
    pub(crate) news: Option<ChildEvent>,
    /// Times of children that it waited for, with theirs.
    pub(crate) children_times: Times,
}

impl Member {
    /// A living process that was just forked.
    fn new(
        parent: Pid,
        parent_cell: ParentCell,
        group: Pid,
        session: Pid,
        exit_signal: u8,
    ) -> Self {
        Self {
            parent: Some(parent),
            parent_cell,
            children: BTreeSet::new(),
            group,
            session,
            exit_signal,
            death_signal: 0,
            has_execed: false,
            is_reaper: false,
            zombie: None,
            news: None,
            children_times: Times::default(),
        }
    }
}

impl Family {
    /// Makes the family of init alone, the leader of its own session and group.
    #[must_use]
    pub fn new(init: Pid) -> Self {
        let member = Member {
            parent: None,
            parent_cell: ParentCell::default(),
            children: BTreeSet::new(),
            group: init,
            session: init,
            exit_signal: SIGCHLD,
            death_signal: 0,
            has_execed: true,
            is_reaper: true,
            zombie: None,
            news: None,
            children_times: Times::default(),
        };
        Self {
            members: BTreeMap::from([(init, member)]),
            init,
        }
    }

    /// Adds a child of `parent` in its group and session; its end sends `exit_signal` (0: none).
    ///
    /// # Errors
    /// `ESRCH` when there is no such parent alive.
    pub fn fork(&mut self, parent: Pid, child: Pid, exit_signal: u8) -> Result<(), Errno> {
        self.fork_with_cell(parent, child, exit_signal, &ParentCell::default())
    }

    /// As [`Family::fork`]; `cell` will always say who the child's parent is.
    ///
    /// # Errors
    /// `ESRCH` when there is no such parent alive.
    pub fn fork_with_cell(
        &mut self,
        parent: Pid,
        child: Pid,
        exit_signal: u8,
        cell: &ParentCell,
    ) -> Result<(), Errno> {
        let from = self.alive_mut(parent)?;
        let (group, session) = (from.group, from.session);
        from.children.insert(child);
        cell.set(parent);
        let member = Member::new(parent, cell.clone(), group, session, exit_signal);
        self.members.insert(child, member);
        Ok(())
    }

    /// Adds a sibling of `caller` (`CLONE_PARENT`): a child of its parent, but in its own group and session, that announces
    /// its end as `caller` does; `cell` will always say who the parent is.
    ///
    /// # Errors
    /// `EINVAL` when `caller` has no parent (init); `ESRCH` when it or the parent is not alive.
    pub fn fork_sibling(
        &mut self,
        caller: Pid,
        child: Pid,
        cell: &ParentCell,
    ) -> Result<(), Errno> {
        let from = self.alive_mut(caller)?;
        let (group, session, exit_signal) = (from.group, from.session, from.exit_signal);
        let parent = from.parent.ok_or(Errno::EINVAL)?;
        self.alive_mut(parent)?.children.insert(child);
        cell.set(parent);
        let member = Member::new(parent, cell.clone(), group, session, exit_signal);
        self.members.insert(child, member);
        Ok(())
    }

    /// Notes that a process has called `execve`: its end sends SIGCHLD, and its parent may no longer move it to a group.
    pub fn exec(&mut self, pid: Pid) {
        if let Ok(member) = self.alive_mut(pid) {
            member.has_execed = true;
            member.exit_signal = SIGCHLD;
        }
    }

    /// Notes that a process stopped or went on; returns the parent, whose `wait` calls are to look again.
    pub fn set_news(&mut self, pid: Pid, event: ChildEvent) -> Option<Pid> {
        let member = self.alive_mut(pid).ok()?;
        member.news = Some(event);
        member.parent
    }

    /// Returns the parent, `None` for init and unknown processes (`getppid(2)` gives 0).
    #[must_use]
    pub fn parent(&self, pid: Pid) -> Option<Pid> {
        self.members.get(&pid)?.parent
    }

    /// Returns the children, zombies included.
    #[must_use]
    pub fn children(&self, pid: Pid) -> Vec<Pid> {
        self.members
            .get(&pid)
            .map_or_else(Vec::new, |m| m.children.iter().copied().collect())
    }

    /// Returns the times of the children that were waited for (`RUSAGE_CHILDREN`).
    #[must_use]
    pub fn children_times(&self, pid: Pid) -> Times {
        self.members
            .get(&pid)
            .map_or_else(Times::default, |m| m.children_times)
    }

    /// Returns how a zombie ended; `None` when the process is alive or unknown.
    #[must_use]
    pub fn zombie(&self, pid: Pid) -> Option<ExitStatus> {
        self.members.get(&pid)?.zombie.map(|(status, _)| status)
    }

    /// Returns and sets what `PR_GET_PDEATHSIG` and `PR_SET_PDEATHSIG` are about.
    pub fn death_signal(&mut self, pid: Pid) -> Option<&mut u8> {
        self.alive_mut(pid).ok().map(|m| &mut m.death_signal)
    }

    /// Returns and sets what `PR_GET_CHILD_SUBREAPER` and `PR_SET_CHILD_SUBREAPER` are about.
    pub fn is_reaper(&mut self, pid: Pid) -> Option<&mut bool> {
        self.alive_mut(pid).ok().map(|m| &mut m.is_reaper)
    }

    pub(crate) fn alive_mut(&mut self, pid: Pid) -> Result<&mut Member, Errno> {
        self.members
            .get_mut(&pid)
            .filter(|m| m.zombie.is_none())
            .ok_or(Errno::ESRCH)
    }
}
