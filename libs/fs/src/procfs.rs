//! The shape of `/proc` (`proc(5)`): which names there are and what they are. The texts are in [`crate::proc_text`]; facts
//! about processes come from a [`ProcFacts`].

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use tyn_abi::Errno;
use tyn_abi::fs::mode;

mod names;
mod net_sysctl;
mod sysctl;

pub use names::{NetFile, SystemFile, TaskFile, TaskLink};
pub use net_sysctl::NetSysctl;
pub use sysctl::{Sysctl, SysctlDir};

use crate::synth::{Child, DIR, FILE, FIRST_COOKIE, LINK, fixed, number};

/// A process, or one of its threads (`/proc/PID/task/TID`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Owner {
    /// The process.
    pub pid: u32,
    /// The thread, if it is that thread's directory.
    pub tid: Option<u32>,
}

/// A file or directory of `/proc`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ProcNode {
    /// `/proc`.
    Root,
    /// A file about the system.
    System(SystemFile),
    /// `/proc/self`.
    SelfLink,
    /// `/proc/thread-self`.
    ThreadSelfLink,
    /// `/proc/mounts`.
    MountsLink,
    /// A directory below `/proc/sys`.
    SysctlDir(SysctlDir),
    /// A file there.
    Sysctl(Sysctl),
    /// A file below `/proc/sys/net`.
    NetSysctl(NetSysctl),
    /// `/proc/PID` or `/proc/PID/task/TID`.
    Task(Owner),
    /// A file in there.
    TaskFile(Owner, TaskFile),
    /// A link in there.
    TaskLink(Owner, TaskLink),
    /// `fd`.
    FdDir(Owner),
    /// `fd/N`.
    Fd(Owner, u32),
    /// `/proc/net`.
    NetLink,
    /// `net`.
    NetDir(Owner),
    /// A file in there.
    NetFile(Owner, NetFile),
    /// `fdinfo`.
    FdInfoDir(Owner),
    /// `fdinfo/N`.
    FdInfo(Owner, u32),
    /// `/proc/PID/task`.
    Threads(u32),
}

/// Who there is.
pub trait ProcFacts {
    /// Returns process and thread id of the caller.
    fn caller(&self) -> (u32, u32);
    /// Returns the ids of all processes, rising.
    fn processes(&self) -> Vec<u32>;
    /// Returns whether there is such a process.
    fn has_process(&self, pid: u32) -> bool;
    /// Returns the ids of a process's threads, rising.
    fn threads(&self, pid: u32) -> Vec<u32>;
    /// Returns a process's descriptors, rising.
    fn descriptors(&self, pid: u32) -> Vec<u32>;
    /// Returns the access mode of a descriptor (`O_RDONLY`, ...), or `None` when it is closed.
    fn descriptor_access(&self, pid: u32, fd: u32) -> Option<u32>;
}

/// Cookies of processes begin here (Linux: `FIRST_PROCESS_ENTRY`).
const PROCESS_COOKIES: u64 = 256;

const ROOT_LINKS: &[(&str, ProcNode)] = &[
    ("mounts", ProcNode::MountsLink),
    ("net", ProcNode::NetLink),
    ("self", ProcNode::SelfLink),
    ("thread-self", ProcNode::ThreadSelfLink),
    ("sys", ProcNode::SysctlDir(SysctlDir::Sys)),
];

fn find<T: Copy>(entries: &[(&'static str, T)], name: &[u8]) -> Option<T> {
    let mut entries = entries.iter();
    let found = entries.find(|(n, _)| n.as_bytes() == name);
    found.map(|&(_, node)| node)
}

fn numbered(
    ids: Vec<u32>,
    first_cookie: u64,
    node: impl Fn(u32) -> ProcNode,
) -> impl Iterator<Item = Child<ProcNode>> {
    ids.into_iter().map(move |id| Child {
        cookie: first_cookie + u64::from(id),
        name: Cow::Owned(id.to_string()),
        node: node(id),
    })
}

impl ProcNode {
    /// Returns whether it still exists.
    #[must_use]
    pub fn exists(self, facts: &dyn ProcFacts) -> bool {
        match self {
            Self::Task(owner)
            | Self::TaskFile(owner, _)
            | Self::TaskLink(owner, _)
            | Self::FdDir(owner)
            | Self::NetDir(owner)
            | Self::NetFile(owner, _)
            | Self::FdInfoDir(owner) => owner.exists(facts),
            Self::Fd(owner, fd) | Self::FdInfo(owner, fd) => {
                owner.exists(facts) && facts.descriptor_access(owner.pid, fd).is_some()
            }
            Self::Threads(pid) => facts.has_process(pid),
            _ => true,
        }
    }

    /// Returns type and permissions.
    #[must_use]
    pub fn mode(self, facts: &dyn ProcFacts) -> u32 {
        const OWNER_ONLY: u32 = mode::S_IFREG | 0o400;
        match self {
            Self::Root
            | Self::SysctlDir(_)
            | Self::Task(_)
            | Self::FdInfoDir(_)
            | Self::NetDir(_)
            | Self::Threads(_) => DIR,
            Self::FdDir(_) => mode::S_IFDIR | 0o500,
            Self::System(SystemFile::SlabInfo)
            | Self::TaskFile(_, TaskFile::Environ | TaskFile::Auxv) => OWNER_ONLY,
            Self::System(_)
            | Self::Sysctl(_)
            | Self::NetSysctl(_)
            | Self::TaskFile(..)
            | Self::FdInfo(..)
            | Self::NetFile(..) => FILE,
            Self::SelfLink
            | Self::ThreadSelfLink
            | Self::MountsLink
            | Self::NetLink
            | Self::TaskLink(..) => LINK,
            Self::Fd(owner, fd) => {
                // Readable and writable as the descriptor is, and executable, as Linux shows it.
                let bits = match facts.descriptor_access(owner.pid, fd) {
                    Some(0) => 0o500,
                    Some(1) => 0o300,
                    _ => 0o700,
                };
                mode::S_IFLNK | bits
            }
        }
    }

    /// Returns the inode number.
    #[must_use]
    pub fn ino(self) -> u64 {
        let of = |owner: Owner, what: u64| {
            let id = u64::from(owner.tid.unwrap_or(owner.pid));
            let thread = u64::from(owner.tid.is_some());
            1 << 62 | id << 24 | thread << 23 | what
        };
        match self {
            Self::Root => 1,
            Self::SelfLink => 2,
            Self::ThreadSelfLink => 3,
            Self::MountsLink => 4,
            Self::NetLink => 5,
            Self::System(file) => 0x100 + file as u64,
            Self::SysctlDir(dir) => 0x200 + dir as u64,
            Self::Sysctl(file) => 0x300 + file as u64,
            Self::NetSysctl(file) => 0x400 + file as u64,
            Self::Task(owner) => of(owner, 0),
            Self::FdDir(owner) => of(owner, 1),
            Self::Threads(pid) => of(Owner { pid, tid: None }, 2),
            Self::FdInfoDir(owner) => of(owner, 3),
            Self::NetDir(owner) => of(owner, 4),
            Self::NetFile(owner, file) => of(owner, 0x60 + file as u64),
            Self::TaskLink(owner, link) => of(owner, 0x10 + link as u64),
            Self::TaskFile(owner, file) => of(owner, 0x20 + file as u64),
            Self::Fd(owner, fd) => of(owner, 0x1000 + u64::from(fd)),
            Self::FdInfo(owner, fd) => of(owner, 0x40_0000 + u64::from(fd)),
        }
    }

    /// Returns the directory that a directory is in (for other nodes the one that holds them); the root's is the root.
    #[must_use]
    pub fn parent(self) -> Self {
        match self {
            Self::Task(Owner { pid, tid: Some(_) }) => Self::Threads(pid),
            Self::Threads(pid) => Self::Task(Owner { pid, tid: None }),
            Self::FdDir(owner)
            | Self::FdInfoDir(owner)
            | Self::NetDir(owner)
            | Self::TaskFile(owner, _)
            | Self::TaskLink(owner, _) => Self::Task(owner),
            Self::Fd(owner, _) => Self::FdDir(owner),
            Self::FdInfo(owner, _) => Self::FdInfoDir(owner),
            Self::NetFile(owner, _) => Self::NetDir(owner),
            Self::SysctlDir(SysctlDir::Sys) => Self::Root,
            Self::SysctlDir(_) | Self::Sysctl(_) | Self::NetSysctl(_) => {
                let mut dirs = SysctlDir::ALL.into_iter();
                let holder = dirs.find(|d| d.entries().iter().any(|&(_, n)| n == self));
                holder.map_or(Self::Root, Self::SysctlDir)
            }
            Self::Root
            | Self::System(_)
            | Self::SelfLink
            | Self::ThreadSelfLink
            | Self::MountsLink
            | Self::NetLink
            | Self::Task(_) => Self::Root,
        }
    }

    /// Returns the path of a directory below the mount point (empty for the root).
    #[must_use]
    pub fn path(self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Task(owner) => owner.path(),
            Self::FdDir(owner) => owner.path() + "/fd",
            Self::FdInfoDir(owner) => owner.path() + "/fdinfo",
            Self::NetDir(owner) => owner.path() + "/net",
            Self::Threads(pid) => format!("/{pid}/task"),
            Self::SysctlDir(dir) => dir.path().into(),
            other => other.parent().path(),
        }
    }

    /// Lists a directory.
    ///
    /// # Errors
    /// `ENOTDIR`; `ENOENT` when its process is gone.
    pub fn children(self, facts: &dyn ProcFacts) -> Result<Vec<Child<Self>>, Errno> {
        if !self.exists(facts) {
            return Err(Errno::ENOENT);
        }
        match self {
            Self::Root => {
                let files = SystemFile::ALL.iter().map(|&(n, f)| (n, Self::System(f)));
                let all: Vec<_> = files.chain(ROOT_LINKS.iter().copied()).collect();
                let mut children = fixed(&all);
                let processes = facts.processes();
                children.extend(numbered(processes, PROCESS_COOKIES, |pid| {
                    Self::Task(Owner { pid, tid: None })
                }));
                Ok(children)
            }
            Self::SysctlDir(dir) => Ok(fixed(dir.entries())),
            Self::Task(owner) => {
                let mut all = alloc::vec![
                    ("fd", Self::FdDir(owner)),
                    ("fdinfo", Self::FdInfoDir(owner)),
                    ("net", Self::NetDir(owner)),
                ];
                if owner.tid.is_none() {
                    all.push(("task", Self::Threads(owner.pid)));
                }
                let links = TaskLink::ALL.iter();
                all.extend(links.map(|&(n, l)| (n, Self::TaskLink(owner, l))));
                let files = TaskFile::ALL.iter();
                all.extend(files.map(|&(n, f)| (n, Self::TaskFile(owner, f))));
                Ok(fixed(&all))
            }
            Self::Threads(pid) => {
                let task = |tid| {
                    let tid = Some(tid);
                    Self::Task(Owner { pid, tid })
                };
                Ok(numbered(facts.threads(pid), FIRST_COOKIE, task).collect())
            }
            Self::FdDir(owner) => {
                let fds = facts.descriptors(owner.pid);
                Ok(numbered(fds, FIRST_COOKIE, |fd| Self::Fd(owner, fd)).collect())
            }
            Self::NetDir(owner) => {
                let files = NetFile::ALL.iter();
                let all: Vec<_> = files.map(|&(n, f)| (n, Self::NetFile(owner, f))).collect();
                Ok(fixed(&all))
            }
            Self::FdInfoDir(owner) => {
                let fds = facts.descriptors(owner.pid);
                Ok(numbered(fds, FIRST_COOKIE, |fd| Self::FdInfo(owner, fd)).collect())
            }
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// Finds a name in a directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    pub fn lookup(self, name: &[u8], facts: &dyn ProcFacts) -> Result<Self, Errno> {
        let node = match self {
            Self::Root => {
                let system = || find(SystemFile::ALL, name).map(Self::System);
                let process = |pid| Self::Task(Owner { pid, tid: None });
                find(ROOT_LINKS, name)
                    .or_else(system)
                    .or_else(|| number(name).map(process))
            }
            Self::SysctlDir(dir) => find(dir.entries(), name),
            Self::Task(owner) => match name {
                b"fd" => Some(Self::FdDir(owner)),
                b"fdinfo" => Some(Self::FdInfoDir(owner)),
                b"net" => Some(Self::NetDir(owner)),
                b"task" if owner.tid.is_none() => Some(Self::Threads(owner.pid)),
                _ => find(TaskFile::ALL, name)
                    .map(|f| Self::TaskFile(owner, f))
                    .or_else(|| find(TaskLink::ALL, name).map(|l| Self::TaskLink(owner, l))),
            },
            Self::Threads(pid) => number(name).map(|tid| {
                let tid = Some(tid);
                Self::Task(Owner { pid, tid })
            }),
            Self::FdDir(owner) => number(name).map(|fd| Self::Fd(owner, fd)),
            Self::NetDir(owner) => find(NetFile::ALL, name).map(|f| Self::NetFile(owner, f)),
            Self::FdInfoDir(owner) => number(name).map(|fd| Self::FdInfo(owner, fd)),
            _ => return Err(Errno::ENOTDIR),
        };
        node.filter(|n| n.exists(facts)).ok_or(Errno::ENOENT)
    }

    /// Returns the target of a link that is a text; `None` for other nodes and for links that lead to an object.
    #[must_use]
    pub fn target(self, facts: &dyn ProcFacts) -> Option<String> {
        let (pid, tid) = facts.caller();
        match self {
            Self::SelfLink => Some(pid.to_string()),
            Self::ThreadSelfLink => Some(format!("{pid}/task/{tid}")),
            Self::MountsLink => Some("self/mounts".into()),
            Self::NetLink => Some("self/net".into()),
            _ => None,
        }
    }
}

impl Owner {
    fn exists(self, facts: &dyn ProcFacts) -> bool {
        match self.tid {
            None => facts.has_process(self.pid),
            Some(tid) => facts.threads(self.pid).contains(&tid),
        }
    }

    fn path(self) -> String {
        match self.tid {
            None => format!("/{}", self.pid),
            Some(tid) => format!("/{}/task/{tid}", self.pid),
        }
    }
}

#[cfg(test)]
mod tests;
