//! An address space with the ring-3 programs in it.

use alloc::boxed::Box;
use alloc::sync::Arc;

use tyn_abi::{Access, PAGE_SIZE, UserVa};
use tyn_hal::mem::{Frame, PageTable, Perms};
use tyn_hal::selftest::{DATA, Program, code};
use tyn_hal::sync::{SpinGuard, SpinLock};
use tyn_hal::trap::{Trap, UserContext};
use tyn_hal::user;

use crate::check::{Outcome, ensure, need};

/// Where the programs are.
const CODE: u64 = 0x40_0000;
/// End of the stack page that every space has.
const STACK_END: u64 = 0x70_0000;

/// Readable and writable.
pub(crate) const READ_WRITE: Perms = Perms {
    write: true,
    execute: false,
};
/// Readable only.
pub(crate) const READ: Perms = Perms {
    write: false,
    execute: false,
};

type Handler = Arc<dyn Fn(UserVa, Access) -> bool + Send + Sync>;

static HANDLER: SpinLock<Option<Handler>> = SpinLock::new(None);

/// Sets the fault handler of user copies: it asks what [`with_handler`] set.
pub(crate) fn init() {
    user::set_fault_handler(|addr, access| {
        let handler = HANDLER.lock().clone();
        handler.is_some_and(|h| h(addr, access))
    });
}

/// Runs `f` while `handler` resolves the faults of user copies.
pub(crate) fn with_handler<T>(
    handler: impl Fn(UserVa, Access) -> bool + Send + Sync + 'static,
    f: impl FnOnce() -> T,
) -> T {
    *HANDLER.lock() = Some(Arc::new(handler));
    let result = f();
    let old = HANDLER.lock().take();
    drop(old);
    result
}

/// An address space.
pub(crate) struct Space {
    table: SpinLock<PageTable>,
}

impl Space {
    /// Makes a space with the programs, a stack page and one zeroed page at `DATA`.
    pub(crate) fn new() -> Outcome<Arc<Self>> {
        let space = Self::bare()?;
        space.add(DATA, READ_WRITE)?;
        Ok(space)
    }

    /// Makes a space with the programs and a stack page.
    pub(crate) fn bare() -> Outcome<Arc<Self>> {
        let mut table = need("page table", PageTable::new())?;
        for (page, bytes) in code().chunks(PAGE_SIZE).enumerate() {
            let frame = need("frame", Frame::zeroed())?;
            frame.write(0, bytes);
            let perms = Perms {
                write: false,
                execute: true,
            };
            let va = UserVa(CODE + (page * PAGE_SIZE) as u64);
            need("map code", table.map(va, frame, perms))?;
        }
        let space = Arc::new(Self {
            table: SpinLock::new(table),
        });
        space.add(STACK_END - PAGE_SIZE as u64, READ_WRITE)?;
        Ok(space)
    }

    /// Returns the page table.
    pub(crate) fn table(&self) -> SpinGuard<'_, PageTable> {
        self.table.lock()
    }

    /// Maps a zeroed frame and returns another handle on it.
    pub(crate) fn add(&self, va: u64, perms: Perms) -> Outcome<Frame> {
        let frame = need("frame", Frame::zeroed())?;
        need("map", self.table().map(UserVa(va), frame.clone(), perms))?;
        Ok(frame)
    }

    /// Removes pages.
    pub(crate) fn remove(&self, va: u64, pages: u64) {
        let end = UserVa(va + pages * PAGE_SIZE as u64);
        self.table().unmap(UserVa(va), end);
    }

    /// Loads the space on this CPU.
    pub(crate) fn activate(&self) {
        self.table().activate();
    }
}

/// Returns where a program starts.
pub(crate) fn entry(program: Program) -> u64 {
    CODE + program.offset()
}

/// Makes the context that starts a program.
pub(crate) fn start(program: Program) -> Box<UserContext> {
    Box::new(UserContext::new(
        UserVa(entry(program)),
        UserVa(STACK_END - 64),
    ))
}

/// Runs until something else than an interrupt ends ring 3.
pub(crate) fn run(context: &mut UserContext) -> Trap {
    loop {
        match context.run() {
            Trap::Interrupt => {}
            trap => return trap,
        }
    }
}

/// Runs until the next system call, which must be the next trap, and must not report an error (RAX 1).
pub(crate) fn run_to_syscall(context: &mut UserContext) -> Outcome {
    let trap = run(context);
    ensure!(
        trap == Trap::Syscall,
        "{trap:x?} at {:#x} instead of a system call",
        context.regs.rip
    );
    ensure!(
        context.regs.rax == 0,
        "the program found something wrong: {:x?}",
        context.regs
    );
    Ok(())
}
