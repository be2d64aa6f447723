//! The context of a system call: whose it is, and how its arguments become values.

use alloc::sync::Arc;

use tyn_abi::{Errno, Fd, UserVa};
use tyn_hal::trap::UserContext;

use crate::descriptors::OnExec;
use crate::file::OpenFile;
use crate::process::Process;
use crate::thread::Thread;
use crate::trace;

/// What a system call returns: the value for RAX, or the error.
pub type SysResult = Result<u64, Errno>;

/// The calling thread, its process and its user registers.
#[derive(Debug)]
pub struct Cx<'a> {
    /// The calling thread.
    pub thread: &'a Arc<Thread>,
    /// Its process.
    pub process: &'a Arc<Process>,
    /// Its registers in ring 3; RAX still holds the call's number. Changes take effect on return.
    pub user: &'a mut UserContext,
}

impl Cx<'_> {
    /// Records that a call, flag or option is not supported: one trace event, shown by `tyn run --trace`.
    pub fn trace_unsupported(&self, what: &'static str, value: u64) {
        trace::unsupported(self.thread.tid(), what, value);
    }

    /// Returns the open file description behind a descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn open_file(&self, fd: Fd) -> Result<Arc<OpenFile>, Errno> {
        self.process.files.lock().get(fd)
    }

    /// Gives an open file description the lowest free descriptor.
    ///
    /// # Errors
    /// `EMFILE` when `RLIMIT_NOFILE` is reached; the description is then closed.
    pub fn install(&self, open: Arc<OpenFile>, on_exec: OnExec) -> Result<Fd, Errno> {
        let limit = self.process.limits.descriptors();
        self.process.files().install(open, 0, limit, on_exec)
    }

    /// Gives two descriptions descriptors and `report`s those as the caller stores them, two ints (`pipe(2)`,
    /// `socketpair(2)`); all or nothing.
    ///
    /// # Errors
    /// `EMFILE`; what `report` gives.
    pub fn install_pair(
        &self,
        first: Arc<OpenFile>,
        second: Arc<OpenFile>,
        on_exec: OnExec,
        report: impl FnOnce([u8; 8]) -> Result<(), Errno>,
    ) -> SysResult {
        let a = self.install(first, on_exec)?;
        let files = self.process.files();
        let undo = |fds: &[Fd]| fds.iter().for_each(|fd| drop(files.remove(*fd)));
        let b = self.install(second, on_exec).inspect_err(|_| undo(&[a]))?;
        let pair = (u64::from(b.0.cast_unsigned()) << 32) | u64::from(a.0.cast_unsigned());
        report(pair.to_le_bytes()).inspect_err(|_| undo(&[a, b]))?;
        Ok(0)
    }
}

/// A type that a raw argument register converts to, as the C prototype in the man page has it (upper halves of
/// 32-bit arguments are ignored, as on Linux).
pub trait SyscallArg: Sized {
    /// Converts the register.
    fn from_register(raw: u64) -> Self;
}

macro_rules! syscall_args {
    ($($ty:ty: $raw:ident => $e:expr;)*) => {
        $(impl SyscallArg for $ty {
            fn from_register($raw: u64) -> Self {
                $e
            }
        })*
    };
}

syscall_args! {
    u64: raw => raw;
    i64: raw => raw.cast_signed();
    usize: raw => raw as usize;
    u32: raw => raw as u32;
    i32: raw => (raw as u32).cast_signed();
    UserVa: raw => UserVa(raw);
    Fd: raw => Fd((raw as u32).cast_signed());
}

/// A handler of any arity; `A` is the tuple of its argument types.
pub trait Handler<A> {
    /// Calls the handler with the argument registers that it takes.
    ///
    /// # Errors
    /// Whatever the call returns.
    fn call(self, cx: &mut Cx<'_>) -> SysResult;
}

macro_rules! handlers {
    ($($arg:ident $register:ident),*) => {
        impl<F, $($arg: SyscallArg),*> Handler<($($arg,)*)> for F
        where
            F: FnOnce(&mut Cx<'_>, $($arg),*) -> SysResult,
        {
            #[inline]
            fn call(self, cx: &mut Cx<'_>) -> SysResult {
                $(let $register = $arg::from_register(cx.user.regs.$register);)*
                self(cx, $($register),*)
            }
        }
    };
}

handlers!();
handlers!(A rdi);
handlers!(A rdi, B rsi);
handlers!(A rdi, B rsi, C rdx);
handlers!(A rdi, B rsi, C rdx, D r10);
handlers!(A rdi, B rsi, C rdx, D r10, E r8);
handlers!(A rdi, B rsi, C rdx, D r10, E r8, G r9);
