//! What must not outlive us.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

static REGISTER: Mutex<Register> = Mutex::new(Register {
    paths: BTreeSet::new(),
    programs: Vec::new(),
    swept: BTreeSet::new(),
    has_own_groups: false,
});

#[derive(Debug)]
pub(crate) struct Register {
    /// Files and folders, as absolute paths.
    pub(crate) paths: BTreeSet<PathBuf>,
    /// Programs, each the leader of its group.
    pub(crate) programs: Vec<Pid>,
    /// Folders that were looked through for what others left.
    pub(crate) swept: BTreeSet<PathBuf>,
    /// Whether programs are put into groups of their own: somebody calls [`end`] on signals.
    pub(crate) has_own_groups: bool,
}

/// Takes the register; a thread that panicked with it has left the plain data in it whole.
pub(crate) fn lock() -> MutexGuard<'static, Register> {
    REGISTER.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn own_groups() {
    lock().has_own_groups = true;
}

/// Kills the programs that run, removes what is temporary, and exits.
pub fn end(code: i32) -> ! {
    let register = lock();
    for program in &register.programs {
        // It may have ended; it was not waited for, so the number is still its own.
        let _ = kill_process_group(*program, Signal::KILL);
    }
    for program in &register.programs {
        let _ = waitid(
            WaitId::Pid(*program),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        );
    }
    for path in &register.paths {
        remove_from_under(path);
    }
    // The lock goes with the process.
    std::process::exit(code)
}

/// Removes what another thread may be at work in: what it makes by its path after this began fails.
fn remove_from_under(path: &Path) {
    let mut aside = path.as_os_str().to_owned();
    aside.push("gone");
    let aside = PathBuf::from(aside);
    if path.is_dir() && fs::rename(path, &aside).is_ok() {
        // In the way of a thread that would make it anew, with all folders that lead to one below.
        let _ = fs::write(path, "");
        // Whoever was about to make a file there had one at hand, and finds no folder for the next.
        while fs::remove_dir_all(&aside).is_err_and(|e| e.kind() == ErrorKind::DirectoryNotEmpty) {}
    }
    // What can't be removed stays for the next sweep.
    let _ = fs::remove_file(path);
}
