//! New threads and processes: what `clone(2)` in all its forms comes to.

use alloc::sync::Arc;

use tyn_abi::process::clone as flag;
use tyn_abi::{Errno, Events, Fd, Pid, Tid, USER_END, UserVa};
use tyn_proc::ParentCell;

use crate::cx::{Cx, SysResult};
use crate::descriptors::OnExec;
use crate::exit;
use crate::kernel::kernel;
use crate::pidfd;
use crate::process::{Parts, Process};
use crate::sched;
use crate::signal::CpuAlarms;
use crate::thread::Thread;
use crate::user_io;
use crate::wait::Observer;

/// What is asked of `clone(2)`, `clone3(2)`, `fork(2)`, `vfork(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    /// `CLONE_*`, without the exit signal.
    pub(crate) flags: u64,
    /// Signal for the parent when the child ends; 0 for none.
    pub(crate) exit_signal: u8,
    /// Stack pointer of the child; 0 for the parent's.
    pub(crate) stack: u64,
    /// For `CLONE_PARENT_SETTID`.
    pub(crate) parent_tid: UserVa,
    /// For `CLONE_CHILD_SETTID` and `CLONE_CHILD_CLEARTID`.
    pub(crate) child_tid: UserVa,
    /// For `CLONE_SETTLS`.
    pub(crate) tls: u64,
    /// For `CLONE_PIDFD`.
    pub(crate) pidfd: UserVa,
}

/// Flags of a thread: it shares all these with the others of its process.
const THREAD: u64 =
    flag::CLONE_VM | flag::CLONE_FS | flag::CLONE_FILES | flag::CLONE_SIGHAND | flag::CLONE_THREAD;

/// Namespaces, of which there is one each.
const NAMESPACES: u64 = flag::CLONE_NEWNS
    | flag::CLONE_NEWCGROUP
    | flag::CLONE_NEWUTS
    | flag::CLONE_NEWIPC
    | flag::CLONE_NEWUSER
    | flag::CLONE_NEWPID
    | flag::CLONE_NEWNET
    | flag::CLONE_NEWTIME;

impl Request {
    fn has(&self, bit: u64) -> bool {
        self.flags & bit != 0
    }

    /// Checks the combination of flags as Linux's `copy_process` does, then what we cannot do.
    fn check(&self, cx: &Cx<'_>) -> Result<(), Errno> {
        let needs = |bit, other| self.has(bit) && !self.has(other);
        if needs(flag::CLONE_THREAD, flag::CLONE_SIGHAND)
            || needs(flag::CLONE_SIGHAND, flag::CLONE_VM)
        {
            return Err(Errno::EINVAL);
        }
        if self.has(flag::CLONE_SETTLS) && self.tls >= USER_END {
            return Err(Errno::EPERM);
        }
        let partly_shared = self.has(flag::CLONE_THREAD) && self.flags & THREAD != THREAD;
        let unsupported = NAMESPACES | flag::CLONE_INTO_CGROUP;
        let pidfd_of_thread = self.has(flag::CLONE_THREAD) && self.has(flag::CLONE_PIDFD);
        if self.has(unsupported) || partly_shared || pidfd_of_thread {
            cx.trace_unsupported("clone flags", self.flags);
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}

/// Makes the thread or process; returns its id to the caller.
///
/// # Errors
/// As `clone(2)`.
pub(crate) fn spawn(cx: &mut Cx<'_>, request: &Request) -> SysResult {
    request.check(cx)?;
    let id = kernel().allocate_id();
    if request.has(flag::CLONE_THREAD) {
        spawn_thread(cx, request, Tid(id))?;
    } else {
        spawn_process(cx, request, Pid(id))?;
    }
    Ok(u64::from(id))
}

fn spawn_thread(cx: &Cx<'_>, request: &Request, tid: Tid) -> Result<(), Errno> {
    let thread = new_thread(cx, request, cx.process, tid)?;
    store_parent_tid(request, tid);
    if request.has(flag::CLONE_CHILD_SETTID) {
        // The address space is ours; a bad address is the child's problem, as on Linux.
        let _ = user_io::write_bytes(request.child_tid, &tid.0.to_le_bytes());
    }
    cx.process.add_thread(&thread)?;
    sched::start(thread);
    Ok(())
}

fn spawn_process(cx: &Cx<'_>, request: &Request, pid: Pid) -> Result<(), Errno> {
    let parent = cx.process;
    let mm = if request.has(flag::CLONE_VM) {
        parent.mm()
    } else {
        parent.mm().fork()?
    };
    let (files, fs) = (parent.files(), parent.fs());
    let parts = Parts {
        parent: ParentCell::default(),
        mm: Arc::clone(&mm),
        files: if request.has(flag::CLONE_FILES) {
            files
        } else {
            Arc::new(files.duplicate()?)
        },
        fs: if request.has(flag::CLONE_FS) {
            fs
        } else {
            fs.duplicate()
        },
        signals: if request.has(flag::CLONE_SIGHAND) {
            parent.signals.share()
        } else {
            parent.signals.fork()
        },
        limits: parent.limits.duplicate(),
        terminal: parent.terminal.get(),
    };
    let child = Process::new(pid, parts, parent.attributes.duplicate());
    if request.has(flag::CLONE_CLEAR_SIGHAND) {
        child.signals.reset_caught();
    }
    let tid = Tid(pid.0);
    let thread = new_thread(cx, request, &child, tid)?;
    if !request.has(flag::CLONE_VM) || request.has(flag::CLONE_VFORK) {
        thread.signals.inherit_alt_stack(&cx.thread.signals);
    }
    if request.has(flag::CLONE_VFORK) {
        *child.vfork_parent.lock() = Some(Arc::downgrade(parent));
    }
    child.add_thread(&thread)?;
    CpuAlarms::follow_limit(&child);
    let adopted = open_pidfd(cx, request, &child)
        .and_then(|fd| adopt(request, parent.pid, &child).inspect_err(|_| close(cx, fd)));
    if let Err(errno) = adopted {
        kernel().threads.lock().remove(&tid);
        // Another thread may have duplicated the descriptor before it was closed again.
        exit::release(&child, || sched::pause_point(cx.thread));
        return Err(errno);
    }
    kernel().processes.lock().insert(pid, Arc::clone(&child));
    store_parent_tid(request, tid);
    if request.has(flag::CLONE_CHILD_SETTID) {
        let _ = mm.write(request.child_tid, &tid.0.to_le_bytes());
    }
    sched::start(thread);
    if request.has(flag::CLONE_VFORK) {
        wait_for_release(cx, &child);
    }
    Ok(())
}

/// Gives the caller a descriptor of the child (`CLONE_PIDFD`).
fn open_pidfd(cx: &Cx<'_>, request: &Request, child: &Arc<Process>) -> Result<Option<Fd>, Errno> {
    if !request.has(flag::CLONE_PIDFD) {
        return Ok(None);
    }
    let fd = cx.install(pidfd::open(child, 0), OnExec::Close)?;
    user_io::write_bytes(request.pidfd, &fd.0.to_le_bytes())
        .inspect_err(|_| close(cx, Some(fd)))?;
    Ok(Some(fd))
}

fn close(cx: &Cx<'_>, fd: Option<Fd>) {
    let open = fd.map(|fd| cx.process.files().remove(fd));
    drop(open);
}

/// Enters the child into the family: as the caller's child, or its sibling under `CLONE_PARENT` (which init cannot have).
fn adopt(request: &Request, caller: Pid, child: &Process) -> Result<(), Errno> {
    let mut family = kernel().family.lock();
    if request.has(flag::CLONE_PARENT) {
        family.fork_sibling(caller, child.pid, child.parent_cell())
    } else {
        family.fork_with_cell(caller, child.pid, request.exit_signal, child.parent_cell())
    }
}

/// Makes the thread that returns 0 from the call.
fn new_thread(
    cx: &Cx<'_>,
    request: &Request,
    process: &Arc<Process>,
    tid: Tid,
) -> Result<Arc<Thread>, Errno> {
    let mut user = cx.user.clone();
    user.regs.rax = 0;
    if request.stack != 0 {
        user.regs.rsp = request.stack;
    }
    let thread = Thread::new(process, tid, user, Some(cx.thread))?;
    if request.has(flag::CLONE_SETTLS) {
        thread.task().set_fs_base(request.tls);
    }
    if request.has(flag::CLONE_CHILD_CLEARTID) {
        thread.set_clear_child_tid(request.child_tid);
    }
    Ok(thread)
}

fn store_parent_tid(request: &Request, tid: Tid) {
    if request.has(flag::CLONE_PARENT_SETTID) {
        // Linux ignores a bad address here, too: the child exists already.
        let _ = user_io::write_bytes(request.parent_tid, &tid.0.to_le_bytes());
    }
}

/// Waits until a vfork child has let go of the address space; only being killed ends the wait early.
fn wait_for_release(cx: &Cx<'_>, child: &Process) {
    let queue = &cx.process.thread_events;
    let observer = Arc::clone(cx.thread) as Arc<dyn Observer>;
    let id = queue.register(observer, Events::IN);
    while child.vfork_parent.lock().is_some() && !cx.thread.is_killed() {
        sched::park(cx.thread, None);
    }
    queue.unregister(id);
}
