//! The first process, and what is started beside it.

use alloc::sync::Arc;

use tyn_abi::{Errno, Pid, Tid};
use tyn_elf::stack::Strings;
use tyn_hal::trap::UserContext;
use tyn_proc::ParentCell;

use super::load::{self, Placing};
use super::replace::command_name;
use super::{file, program};
use crate::descriptors::{FdTable, OnExec};
use crate::exit::INIT;
use crate::file::OpenFile;
use crate::kernel::kernel;
use crate::limits::Rlimits;
use crate::process::{Attributes, FsContext, Parts, Process};
use crate::sched;
use crate::signal::ProcessSignals;
use crate::thread::Thread;
use crate::tty;

/// Loads the first process: `argv[0]` from the root file system in the working directory of `context`, with `console`
/// as standard input, output and error if there is one. Called once, after [`crate::mm::init`] and the file system. It
/// runs when it is given to [`sched::start`].
///
/// # Errors
/// As `execve(2)`; `ENOENT` when `argv` is empty.
pub fn load_init(
    argv: &[&[u8]],
    envp: &[&[u8]],
    context: Arc<FsContext>,
    console: Option<Arc<OpenFile>>,
) -> Result<Arc<Thread>, Errno> {
    let (process, thread) = load_first(INIT, argv, envp, context, console)?;
    kernel().processes.lock().insert(INIT, process);
    Ok(thread)
}

/// Starts a daemon, as a child of the first process in a session of its own, with `null` as standard input, output and
/// error. It runs as soon as [`sched::run_cpu`] does.
///
/// # Errors
/// As [`load_init`].
pub fn start_daemon(
    argv: &[&[u8]],
    envp: &[&[u8]],
    context: Arc<FsContext>,
    null: Arc<OpenFile>,
) -> Result<(), Errno> {
    let pid = Pid(kernel().allocate_id());
    let (process, thread) = load_first(pid, argv, envp, context, Some(null))?;
    let mut family = kernel().family.lock();
    family.fork_with_cell(INIT, pid, 0, process.parent_cell())?;
    family.new_session(pid)?;
    family.exec(pid);
    drop(family);
    kernel().processes.lock().insert(pid, process);
    sched::start(thread);
    Ok(())
}

/// Loads a process that nobody forked.
fn load_first(
    pid: Pid,
    argv: &[&[u8]],
    envp: &[&[u8]],
    context: Arc<FsContext>,
    standard: Option<Arc<OpenFile>>,
) -> Result<(Arc<Process>, Arc<Thread>), Errno> {
    let path = argv.first().ok_or(Errno::ENOENT)?;
    let open = file::open_executable(&context, path)?;
    let program = program::resolve(&context, open, path, strings(argv)?)?;
    let limits = Rlimits::initial();
    let loaded = load::load(&program, &strings(envp)?, &limits.memory(), Placing::Random)?;

    let files = FdTable::new();
    if let Some(file) = standard {
        for _ in 0..3 {
            files.install(Arc::clone(&file), 0, 3, OnExec::Keep)?;
        }
    }
    let parts = Parts {
        parent: ParentCell::default(),
        mm: loaded.mm,
        files: Arc::new(files),
        fs: context,
        signals: ProcessSignals::new(),
        limits,
        // Daemons are in sessions of their own.
        terminal: tty::console().filter(|_| pid == INIT).cloned(),
    };
    let process = Process::new(pid, parts, Attributes::default());
    let user = UserContext::new(loaded.entry, loaded.stack);
    let thread = Thread::new(&process, Tid(pid.0), user, None)?;
    *thread.name.lock() = command_name(path);
    process.add_thread(&thread)?;
    Ok((process, thread))
}

fn strings(list: &[&[u8]]) -> Result<Strings, Errno> {
    let mut out = Strings::new();
    for string in list {
        out.push(string)?;
    }
    Ok(out)
}
