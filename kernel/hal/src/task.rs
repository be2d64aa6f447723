//! Kernel stacks and switching between them.
//!
//! A [`Task`] is a kernel stack with a saved context, plus the user register state that stays in the CPU while the
//! kernel runs: extended vector state (XSAVE) and the FS/GS bases. Who runs when is decided above; hal checks that no
//! task runs on two CPUs.
//!
//! # On which CPU a task is
//! `running` says that some CPU uses the task's stack. [`switch`] sets it for the task it goes to, waiting while it is still
//! set (the task was made runnable while it was leaving another CPU), and the task that comes next clears it for the one that
//! was left, once that stack is no longer in use (release, paired with the acquire of the waiter).

use alloc::boxed::Box;
use core::cell::{Cell, UnsafeCell};
use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::arch::x86_64::fpu::{self, Area};
use crate::arch::x86_64::{fs_base, kernel_gs_base, set_fs_base, set_kernel_gs_base};
use crate::cpu_local::CpuLocal;
use crate::mem::{KernelStack, OutOfMemory};

type Body = Box<dyn FnOnce() + Send>;

/// No CPU.
const NO_CPU: u32 = u32::MAX;

/// A schedulable context.
pub struct Task {
    /// Saved stack pointer while switched away.
    rsp: Cell<u64>,
    /// Whether a CPU uses the stack.
    running: AtomicBool,
    /// `None` for a CPU's boot stack.
    stack: Option<KernelStack>,
    /// What a task that has not started will run.
    body: Cell<Option<Body>>,
    user: Option<UserArea>,
}

struct UserArea {
    extended: UnsafeCell<Area>,
    /// The CPU whose registers hold this state as long as it says so, too ([`CpuLocal::extended_of`]).
    extended_cpu: Cell<u32>,
    fs_base: Cell<u64>,
    gs_base: Cell<u64>,
}

// SAFETY: cells are touched by the CPU that runs the task, by the one that is switching to it (after `running` was acquired), or
// before it starts by its creator; `switch` and the asserts keep these apart.
unsafe impl Sync for Task {}
// SAFETY: as above.
unsafe impl Send for Task {}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({:#x})", ptr::from_ref(self) as usize)
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

unsafe extern "C" {
    fn tyn_switch_stacks(save: *mut u64, load: u64);
    fn tyn_task_start();
}

impl Task {
    /// Makes a task which, when first switched to, runs `body` on its own kernel stack (32 KiB, guard page below).
    /// `body` must not return: it ends by switching away for ever. With `user` it gets vector state and segment
    /// bases in their initial state, saved and restored at each switch.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(user: UserState, body: Body) -> Result<Self, OutOfMemory> {
        let stack = KernelStack::new()?;
        // What `tyn_switch_stacks` pops: six registers, then the return address; the stack is 16-byte aligned at the call
        // that `tyn_task_start` makes.
        let frame: [u64; 7] = [0, 0, 0, 0, 0, 0, tyn_task_start as *const () as u64];
        let rsp = stack.top() - size_of_val(&frame) as u64;
        for (i, word) in frame.into_iter().enumerate() {
            let slot = (rsp as usize + 8 * i) as *mut u64;
            // SAFETY: the slots are the topmost bytes of a fresh stack that is ours alone.
            unsafe { slot.write(word) };
        }
        let user = match user {
            UserState::No => None,
            UserState::Yes => Some(UserArea {
                extended: UnsafeCell::new(Area::new()?),
                extended_cpu: Cell::new(NO_CPU),
                fs_base: Cell::new(0),
                gs_base: Cell::new(0),
            }),
        };
        Ok(Self {
            rsp: Cell::new(rsp),
            running: AtomicBool::new(false),
            stack: Some(stack),
            body: Cell::new(Some(body)),
            user,
        })
    }

    /// Makes the task that stands for the context we are running in now (a CPU's boot stack: its idle task). It becomes the
    /// CPU's current task with the first [`switch`] from it, and must live for ever.
    #[must_use]
    pub fn adopt_current() -> Self {
        Self {
            rsp: Cell::new(0),
            running: AtomicBool::new(true),
            stack: None,
            body: Cell::new(None),
            user: None,
        }
    }

    fn is_current(&self) -> bool {
        CpuLocal::current().current_task.get() == ptr::from_ref(self)
    }

    /// Copies the vector state and segment bases of the current task (`parent`) into this one, not yet started (`fork`).
    ///
    /// # Panics
    /// When `self` has started, or either has no user state.
    pub fn inherit_user_state(&self, parent: &Self) {
        let (Some(to), Some(from)) = (&self.user, &parent.user) else {
            panic!("a task without user state")
        };
        assert!(
            parent.is_current() && !self.running.load(Ordering::Relaxed),
            "fork from a task that does not run"
        );
        to.fs_base.set(fs_base());
        to.gs_base.set(kernel_gs_base());
        // SAFETY: the parent is current on this CPU, so nobody else touches its area.
        let source = unsafe { &mut *from.extended.get() };
        source.save();
        // SAFETY: the child has not started, so its area is its creator's.
        let target = unsafe { &mut *to.extended.get() };
        target.bytes_mut().copy_from_slice(source.bytes());
    }

    /// Resets vector state and segment bases of the current task to their initial values (`execve`).
    ///
    /// # Panics
    /// When the task is not current.
    pub fn reset_user_state(&self) {
        let Some(user) = &self.user else { return };
        assert!(self.is_current(), "reset of a task that does not run");
        // SAFETY: the task is current on this CPU, so nobody else touches its area.
        let area = unsafe { &mut *user.extended.get() };
        area.reset();
        area.load();
        set_fs_base(0);
        set_kernel_gs_base(0);
    }

    /// Returns the user's FS base (`ARCH_GET_FS`).
    #[must_use]
    pub fn fs_base(&self) -> u64 {
        if self.is_current() {
            fs_base()
        } else {
            self.user.as_ref().map_or(0, |u| u.fs_base.get())
        }
    }

    /// Sets the user's FS base (`ARCH_SET_FS`, `CLONE_SETTLS`); the caller checks that it is below `USER_END`.
    /// Works on the current task and on one that has not started.
    ///
    /// # Panics
    /// When `base` is not a user address.
    pub fn set_fs_base(&self, base: u64) {
        assert!(
            base < tyn_abi::USER_END,
            "FS base {base:#x} is no user address"
        );
        if self.is_current() {
            set_fs_base(base);
        } else if let Some(user) = &self.user {
            user.fs_base.set(base);
        }
    }

    /// Returns the user's GS base.
    #[must_use]
    pub fn gs_base(&self) -> u64 {
        if self.is_current() {
            kernel_gs_base()
        } else {
            self.user.as_ref().map_or(0, |u| u.gs_base.get())
        }
    }

    /// Sets the user's GS base.
    ///
    /// # Panics
    /// When `base` is not a user address.
    pub fn set_gs_base(&self, base: u64) {
        assert!(
            base < tyn_abi::USER_END,
            "GS base {base:#x} is no user address"
        );
        if self.is_current() {
            set_kernel_gs_base(base);
        } else if let Some(user) = &self.user {
            user.gs_base.set(base);
        }
    }

    /// Writes the current task's extended state as XSAVE (standard format) lays it out for a signal frame; `dst` is
    /// [`crate::cpu::UserFeatures::xsave_bytes`] long.
    ///
    /// # Panics
    /// When the task is not current or `dst` has another length.
    pub fn save_extended(&self, dst: &mut [u8]) {
        assert!(
            self.is_current(),
            "signal frame for a task that does not run"
        );
        let Some(user) = &self.user else { return };
        // SAFETY: the task is current on this CPU, so nobody else touches its area.
        let area = unsafe { &mut *user.extended.get() };
        area.save();
        dst.copy_from_slice(area.bytes());
    }

    /// Loads extended state from a signal frame into the current task. Returns whether the image was valid (`false`: nothing
    /// changed, the thread gets SIGSEGV). `src` may be shorter than a full area: then only the legacy region is taken, and the
    /// other components return to their initial state.
    ///
    /// # Panics
    /// When the task is not current.
    pub fn load_extended(&self, src: &[u8]) -> bool {
        assert!(
            self.is_current(),
            "signal return of a task that does not run"
        );
        let Some(user) = &self.user else { return false };
        let Some(checked) = fpu::check_image(src) else {
            return false;
        };
        // SAFETY: the task is current on this CPU, so nobody else touches its area.
        let area = unsafe { &mut *user.extended.get() };
        area.set(checked);
        area.load();
        true
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // The last switch away from it may still be under way on another CPU.
        while self.running.load(Ordering::Acquire) {
            assert!(
                self.stack.is_some() && !self.is_current(),
                "a running task was dropped"
            );
            core::hint::spin_loop();
        }
    }
}

/// Switches from the current task to `next` and returns when something switches back to `prev`. If `next` is still
/// leaving another CPU (it was made runnable while switching away there), waits for that first.
///
/// # Panics
/// When `prev` is not the current task, or the CPU holds a spinlock.
pub fn switch(prev: &Task, next: &Task) {
    let cpu = CpuLocal::current();
    assert_eq!(
        cpu.spin_depth.get(),
        0,
        "task switch while holding a spinlock"
    );
    if cpu.current_task.get().is_null() {
        // A CPU's first switch: from its adopted boot context.
        assert!(
            prev.stack.is_none(),
            "the first switch leaves the boot stack"
        );
        cpu.current_task.set(prev);
    }
    assert!(
        prev.is_current(),
        "switch from a task that does not run here"
    );
    if ptr::eq(prev, next) {
        return;
    }
    while next.running.swap(true, Ordering::Acquire) {
        core::hint::spin_loop();
    }
    if let Some(user) = &prev.user {
        user.fs_base.set(fs_base());
        user.gs_base.set(kernel_gs_base());
        // SAFETY: `prev` is current on this CPU, so nobody else touches its area.
        unsafe { &mut *user.extended.get() }.save();
    }
    enter(next);
    cpu.leaving_task.set(prev);
    // SAFETY: `next` is not in use by another CPU (`running` was clear), its RSP was saved by this function on a CPU that has left
    // its stack since, or prepared by `new`; `prev`'s slot is ours.
    unsafe { tyn_switch_stacks(prev.rsp.as_ptr(), next.rsp.get()) };
    finish_switch();
}

/// Makes `next`, whose `running` was acquired, the current task and loads its user state.
fn enter(next: &Task) {
    let cpu = CpuLocal::current();
    if let Some(stack) = &next.stack {
        stack.forget_stale(cpu.id);
    }
    if let Some(user) = &next.user {
        set_fs_base(user.fs_base.get());
        set_kernel_gs_base(user.gs_base.get());
        // A task that comes back to a CPU that has loaded no other's state since, and has been on no other CPU, finds its state
        // in the registers. (Both are asked: a new task may have the address of one that is gone.)
        let is_loaded = ptr::eq(cpu.extended_of.get(), next) && user.extended_cpu.get() == cpu.id;
        if !is_loaded {
            // SAFETY: `running` was acquired for `next`, so nobody else touches its area.
            unsafe { &*user.extended.get() }.load();
            cpu.extended_of.set(next);
            user.extended_cpu.set(cpu.id);
        }
    }
    cpu.current_task.set(next);
}

/// Ends the current task: switches to `next` for ever. From then on the owner may drop the ended [`Task`], which frees its
/// stack; `next` may do so first thing. (With [`switch`] the ending context would have to own the task that it borrows as
/// `prev`, and could never let go of it.)
///
/// # Panics
/// When `next` is the current task, or the CPU holds a spinlock.
pub fn finish(next: &Task) -> ! {
    let cpu = CpuLocal::current();
    assert_eq!(cpu.spin_depth.get(), 0, "task end while holding a spinlock");
    let ending = cpu.current_task.get();
    assert!(
        !ptr::eq(ending, next),
        "a task cannot end in favour of itself"
    );
    while next.running.swap(true, Ordering::Acquire) {
        core::hint::spin_loop();
    }
    enter(next);
    cpu.leaving_task.set(ending);
    let mut unused = 0;
    // SAFETY: as in `switch`; the ended task's RSP is never used again.
    unsafe { tyn_switch_stacks(&raw mut unused, next.rsp.get()) };
    unreachable!("an ended task was switched to")
}

/// Releases the task that was left. Runs on the stack that was switched to.
fn finish_switch() {
    let left = CpuLocal::current().leaving_task.replace(ptr::null());
    // SAFETY: the task was alive when it was left and is not dropped before `running` is cleared (its drop waits for that).
    if let Some(left) = unsafe { left.as_ref() } {
        left.running.store(false, Ordering::Release);
    }
}

/// A new task's first Rust code.
#[unsafe(no_mangle)]
extern "C" fn tyn_task_main() -> ! {
    finish_switch();
    let current = CpuLocal::current().current_task.get();
    // SAFETY: the current task is alive while it runs.
    let body = unsafe { &*current }.body.take();
    let body = body.expect("invariant: a task starts once");
    body();
    panic!("a task's body returned");
}
