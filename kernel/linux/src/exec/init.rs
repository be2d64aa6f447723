//! The first process.

use alloc::sync::Arc;

use tyn_abi::{Errno, Tid};
use tyn_elf::stack::Strings;
use tyn_hal::trap::UserContext;
use tyn_proc::ParentCell;

use super::load::{self, Placing};
use super::replace::command_name;
use super::{file, program};
use crate::exit::INIT;
use crate::file::{FdTable, OnExec, OpenFile};
use crate::kernel::kernel;
use crate::limits::Rlimits;
use crate::process::{Attributes, FsContext, Parts, Process};
use crate::sched;
use crate::signal::ProcessSignals;
use crate::thread::Thread;

/// Starts the first process: loads `argv[0]` from the root file system in the working directory of `context`, with `console`
/// as standard input, output and error if there is one. It runs as soon as [`sched::run_cpu`] does. Called once, after
/// [`crate::mm::init`] and the file system.
///
/// # Errors
/// As `execve(2)`; `ENOENT` when `argv` is empty.
pub fn start_init(
    argv: &[&[u8]],
    envp: &[&[u8]],
    context: Arc<FsContext>,
    console: Option<Arc<OpenFile>>,
) -> Result<(), Errno> {
    let path = argv.first().ok_or(Errno::ENOENT)?;
    let open = file::open_executable(&context, path)?;
    let program = program::resolve(&context, open, path, strings(argv)?)?;
    let limits = Rlimits::initial();
    let loaded = load::load(&program, &strings(envp)?, &limits.memory(), Placing::Random)?;

    let files = FdTable::new();
    if let Some(console) = console {
        for _ in 0..3 {
            files.install(Arc::clone(&console), 0, 3, OnExec::Keep)?;
        }
    }
    let parts = Parts {
        parent: ParentCell::default(),
        mm: loaded.mm,
        files: Arc::new(files),
        fs: context,
        signals: ProcessSignals::new(),
        limits,
    };
    let process = Process::new(INIT, parts, Attributes::default());
    let user = UserContext::new(loaded.entry, loaded.stack);
    let thread = Thread::new(&process, Tid(INIT.0), user, None)?;
    *thread.name.lock() = command_name(path);
    process.add_thread(&thread)?;
    kernel().processes.lock().insert(INIT, process);
    sched::start(thread);
    Ok(())
}

fn strings(list: &[&[u8]]) -> Result<Strings, Errno> {
    let mut out = Strings::new();
    for string in list {
        out.push(string)?;
    }
    Ok(out)
}
