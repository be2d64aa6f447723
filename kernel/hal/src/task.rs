//! Kernel stacks and switching between them.
//!
//! A [`Task`] is a kernel stack with a saved context, plus the user register state that stays in the CPU while the
//! kernel runs: extended vector state (XSAVE) and the FS/GS bases. Who runs when is decided above; hal checks that no
//! task runs on two CPUs.

use crate::mem::OutOfMemory;
use alloc::boxed::Box;

/// A schedulable context.
#[derive(Debug)]
pub struct Task {
    _private: (),
}

impl Task {
    /// Makes a task which, when first switched to, runs `body` on its own kernel stack (32 KiB, guard page below).
    /// `body` must not return: it ends by switching away for ever. With `user` it gets vector state and segment
    /// bases in their initial state, saved and restored at each switch.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(user: UserState, body: Box<dyn FnOnce() + Send>) -> Result<Self, OutOfMemory> {
        let _ = (user, body);
        unimplemented!()
    }

    /// Makes the task that stands for the context we are running in now (a CPU's boot stack: its idle task).
    #[must_use]
    pub fn adopt_current() -> Self {
        unimplemented!()
    }

    /// Copies the vector state and segment bases of the current task (`parent`) into this one, not yet started (`fork`).
    ///
    /// # Panics
    /// When `self` has started, or either has no user state.
    pub fn inherit_user_state(&self, parent: &Self) {
        let _ = parent;
        unimplemented!()
    }

    /// Resets vector state and segment bases of the current task to their initial values (`execve`).
    pub fn reset_user_state(&self) {
        unimplemented!()
    }

    /// Returns the user's FS base (`ARCH_GET_FS`).
    #[must_use]
    pub fn fs_base(&self) -> u64 {
        unimplemented!()
    }

    /// Sets the user's FS base (`ARCH_SET_FS`, `CLONE_SETTLS`); the caller checks that it is canonical and below `USER_END`.
    /// Works on the current task and on one that has not started.
    pub fn set_fs_base(&self, base: u64) {
        let _ = base;
        unimplemented!()
    }

    /// Returns the user's GS base.
    #[must_use]
    pub fn gs_base(&self) -> u64 {
        unimplemented!()
    }

    /// Sets the user's GS base.
    pub fn set_gs_base(&self, base: u64) {
        let _ = base;
        unimplemented!()
    }

    /// Writes the current task's extended state as XSAVE (standard format) lays it out for a signal frame, with the xmm
    /// registers and MXCSR taken from `cx`; `dst` is [`crate::cpu::UserFeatures::xsave_bytes`] long.
    pub fn save_extended(&self, cx: &crate::trap::UserContext, dst: &mut [u8]) {
        let _ = (cx, dst);
        unimplemented!()
    }

    /// Loads extended state from a signal frame into the current task and `cx`; invalid bits are refused.
    /// Returns whether the image was valid (`false`: the thread gets SIGSEGV).
    pub fn load_extended(&self, cx: &mut crate::trap::UserContext, src: &[u8]) -> bool {
        let _ = (cx, src);
        unimplemented!()
    }
}

/// Whether a task ever goes to ring 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserState {
    /// It has vector state and segment bases.
    Yes,
    /// Kernel only.
    No,
}

/// Switches from the current task to `next` and returns when something switches back to `prev`. If `next` is still
/// leaving another CPU (it was made runnable while switching away there), waits for that first.
///
/// # Panics
/// When `prev` is not the current task, `next` runs elsewhere for good, or the CPU holds a spinlock.
pub fn switch(prev: &Task, next: &Task) {
    let _ = (prev, next);
    unimplemented!()
}

/// Ends the current task: switches to `next` for ever. From then on the owner may drop the ended [`Task`], which frees its
/// stack; `next` may do so first thing. (With [`switch`] the ending context would have to own the task that it borrows as
/// `prev`, and could never let go of it.)
///
/// # Panics
/// When `next` runs elsewhere for good, or the CPU holds a spinlock.
pub fn finish(next: &Task) -> ! {
    let _ = next;
    unimplemented!()
}
