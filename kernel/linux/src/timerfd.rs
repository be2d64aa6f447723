//! Timers as files (`timerfd_create(2)`).

use alloc::string::String;
use alloc::sync::{Arc, Weak};
use core::any::Any;

use tyn_abi::{Errno, Events, Nanos, Sink};
use tyn_fs::fd_info;
use tyn_hal::sync::SpinLock;
use tyn_hal::time;
use tyn_io::timerfd::{Clock, Now, Setting, Start, TimerFd};

use crate::anon::{self, Home};
use crate::file::{At, File, OpenFile, flags};
use crate::sched::{self, TimerId, TimerTarget};
use crate::wait::WaitQueue;

/// A timer.
pub struct TimerFile {
    state: SpinLock<State>,
    queue: WaitQueue,
    /// The clock as the program named it.
    clock: u32,
    inode: u64,
    this: Weak<Self>,
}

struct State {
    timer: TimerFd,
    /// The kernel timer for the next expiration.
    armed: Option<TimerId>,
    /// Flags of the last `timerfd_settime(2)`.
    flags: u32,
}

impl core::fmt::Debug for TimerFile {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "TimerFile({})", self.inode)
    }
}

fn now() -> Now {
    let monotonic = time::now();
    Now {
        monotonic,
        realtime: time::wall_at_boot() + monotonic,
    }
}

/// Opens a new, disarmed timer of the clock with the number `name`; `status` is `O_NONBLOCK` or 0.
#[must_use]
pub fn open(clock: Clock, name: u32, status: u32) -> Arc<OpenFile> {
    let file = Arc::new_cyclic(|this| TimerFile {
        state: SpinLock::new(State {
            timer: TimerFd::new(clock),
            armed: None,
            flags: 0,
        }),
        queue: WaitQueue::new(),
        clock: name,
        inode: anon::inode_number(),
        this: Weak::clone(this),
    });
    let shown = String::from("anon_inode:[timerfd]");
    OpenFile::new(file, flags::O_RDWR | status, shown)
}

impl TimerFile {
    /// Answers `timerfd_settime(2)`, whose `flags` became `start`, and returns the former setting.
    #[must_use]
    pub fn set(&self, start: Start, flags: u32, new: Setting) -> Setting {
        let now = now();
        let mut state = self.state.lock();
        state.flags = flags;
        let old = state.timer.set(now, start, new);
        self.arm(&mut state, now);
        let is_due = !state.timer.poll(now).is_empty();
        drop(state);
        if is_due {
            self.queue.notify(Events::IN);
        }
        old
    }

    /// Answers `timerfd_gettime(2)`.
    #[must_use]
    pub fn get(&self) -> Setting {
        self.state.lock().timer.get(now())
    }

    /// Sets the kernel timer to the timer's deadline. One that is firing already only makes observers look in vain.
    fn arm(&self, state: &mut State, now: Now) {
        if let Some(id) = state.armed.take() {
            sched::cancel_timer(id);
        }
        if let (Some(deadline), Some(this)) = (state.timer.deadline(now), self.this.upgrade()) {
            state.armed = Some(sched::set_timer(deadline, this));
        }
    }
}

impl TimerTarget for TimerFile {
    fn expired(self: Arc<Self>, _: Nanos) {
        self.queue.notify(Events::IN);
    }
}

impl File for TimerFile {
    fn read(&self, _: At, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let now = now();
        let mut state = self.state.lock();
        let result = state.timer.read(now, dst);
        self.arm(&mut state, now);
        result
    }

    fn poll(&self) -> Events {
        self.state.lock().timer.poll(now())
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn has_least_read(&self) -> bool {
        true
    }

    fn ignores_seek(&self) -> bool {
        true
    }

    fn stat(&self) -> Result<[u8; 144], Errno> {
        Ok(anon::stat(Home::Anonymous, self.inode))
    }

    fn release(&self) {
        if let Some(id) = self.state.lock().armed.take() {
            sched::cancel_timer(id);
        }
    }

    fn show_info(&self, out: &mut String) {
        let state = self.state.lock();
        let (is_expired, value) = state.timer.progress(now());
        let timer = fd_info::Timer {
            clock: self.clock,
            ticks: u64::from(is_expired),
            flags: state.flags,
            value,
            interval: state.timer.get(now()).interval,
        };
        drop(state);
        out.push_str(&fd_info::timer(&timer));
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
