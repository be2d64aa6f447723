//! `epoll_create(2)`, `epoll_ctl(2)`, `epoll_wait(2)` and their variants.

use alloc::string::String;
use alloc::sync::Arc;

use tyn_abi::fs::open::{O_CLOEXEC, O_RDWR};
use tyn_abi::{Errno, Events, Fd, Nanos, UserVa};
use tyn_hal::time;
use tyn_io::epoll::{EXCLUSIVE, EpollEvent};

use crate::cx::{Cx, SysResult};
use crate::descriptors::OnExec;
use crate::epoll::Epoll;
use crate::file::{File, OpenFile};
use crate::sys::poll;
use crate::user_io;
use crate::wait::Interrupted;

const EPOLL_CTL_ADD: u32 = 1;
const EPOLL_CTL_DEL: u32 = 2;
const EPOLL_CTL_MOD: u32 = 3;
/// Most events that one call may ask for: as many as an int can count the bytes of.
const MAX_EVENTS: usize = i32::MAX as usize / EpollEvent::SIZE;

/// `epoll_create(2)`: `size` must be positive and is ignored.
pub(crate) fn sys_epoll_create(cx: &mut Cx<'_>, size: i32) -> SysResult {
    if size <= 0 {
        return Err(Errno::EINVAL);
    }
    sys_epoll_create1(cx, 0)
}

/// `epoll_create(2)`: flag `EPOLL_CLOEXEC`.
pub(crate) fn sys_epoll_create1(cx: &mut Cx<'_>, flags: u32) -> SysResult {
    if flags & !O_CLOEXEC != 0 {
        return Err(Errno::EINVAL);
    }
    let name = String::from("anon_inode:[eventpoll]");
    let open = OpenFile::new(Arc::new(Epoll::new()), O_RDWR, name);
    let fd = cx.install(open, OnExec::from_flags(flags))?;
    Ok(fd.0 as u64)
}

/// `epoll_ctl(2)`: all operations; modes `EPOLLET`, `EPOLLONESHOT`, `EPOLLEXCLUSIVE` (all sets are woken, which its
/// description allows), `EPOLLWAKEUP` (no effect: the machine never sleeps).
pub(crate) fn sys_epoll_ctl(
    cx: &mut Cx<'_>,
    epfd: Fd,
    op: u32,
    fd: Fd,
    event: UserVa,
) -> SysResult {
    let event = match op {
        EPOLL_CTL_DEL => EpollEvent::default(),
        _ => EpollEvent::from_bytes(user_io::read_bytes(event)?),
    };
    let set = cx.open_file(epfd)?;
    let open = cx.open_file(fd)?;
    open.file.wait_queue().ok_or(Errno::EPERM)?;
    let epoll: &Epoll = set.downcast().ok_or(Errno::EINVAL)?;
    if Arc::ptr_eq(&set, &open) {
        return Err(Errno::EINVAL);
    }
    match op {
        EPOLL_CTL_ADD => {
            if event.events & EXCLUSIVE != 0 && open.downcast::<Epoll>().is_some() {
                return Err(Errno::EINVAL);
            }
            epoll.add(&open, fd, event)?;
        }
        EPOLL_CTL_MOD => epoll.modify(&open, fd, event)?,
        EPOLL_CTL_DEL => epoll.remove(&open, fd)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// How long to wait.
enum Patience {
    /// Not at all.
    None,
    /// Until then, or for ever.
    Until(Option<Nanos>),
}

impl Patience {
    fn from_millis(timeout: i32) -> Self {
        match u64::try_from(timeout) {
            Ok(0) => Self::None,
            Ok(ms) => Self::Until(Some(time::now() + Nanos::from_millis(ms))),
            Err(_) => Self::Until(None),
        }
    }
}

fn wait(cx: &mut Cx<'_>, epfd: Fd, events: UserVa, max: i32, patience: &Patience) -> SysResult {
    let max = usize::try_from(max)
        .ok()
        .filter(|n| (1..=MAX_EVENTS).contains(n))
        .ok_or(Errno::EINVAL)?;
    let open = cx.open_file(epfd)?;
    let epoll: &Epoll = open.downcast().ok_or(Errno::EINVAL)?;
    let take = || {
        let mut at = events;
        let taken = epoll.take_events(max, |event| {
            user_io::write_bytes(at, &event.to_bytes())?;
            at = at.wrapping_add(EpollEvent::SIZE as u64);
            Ok(())
        });
        Some(taken).filter(|t| *t != Ok(0))
    };
    let taken = match *patience {
        Patience::None => take().unwrap_or(Ok(0)),
        Patience::Until(deadline) => {
            let queue = epoll.wait_queue().ok_or(Errno::EINVAL)?;
            match cx.block_on(&[queue], Events::IN, deadline, take) {
                Ok(taken) => taken,
                Err(Interrupted::TimedOut) => Ok(0),
                Err(Interrupted::Signal) => Err(Errno::EINTR),
            }
        }
    };
    taken.map(|n| n as u64)
}

/// `epoll_wait(2)`.
pub(crate) fn sys_epoll_wait(
    cx: &mut Cx<'_>,
    epfd: Fd,
    events: UserVa,
    max: i32,
    timeout: i32,
) -> SysResult {
    wait(cx, epfd, events, max, &Patience::from_millis(timeout))
}

/// `epoll_wait(2)` under another signal mask.
pub(crate) fn sys_epoll_pwait(
    cx: &mut Cx<'_>,
    epfd: Fd,
    events: UserVa,
    max: i32,
    timeout: i32,
    mask: UserVa,
    mask_size: usize,
) -> SysResult {
    let patience = Patience::from_millis(timeout);
    let mask = poll::read_mask(mask, mask_size)?;
    poll::with_mask(cx, mask, |cx| wait(cx, epfd, events, max, &patience))
}

/// `epoll_wait(2)` with a `struct timespec` and another signal mask.
pub(crate) fn sys_epoll_pwait2(
    cx: &mut Cx<'_>,
    epfd: Fd,
    events: UserVa,
    max: i32,
    timeout: UserVa,
    mask: UserVa,
    mask_size: usize,
) -> SysResult {
    let patience = match poll::read_timeout(timeout)? {
        None => Patience::Until(None),
        Some(Nanos::ZERO) => Patience::None,
        Some(duration) => Patience::Until(Some(time::now() + duration)),
    };
    let mask = poll::read_mask(mask, mask_size)?;
    poll::with_mask(cx, mask, |cx| wait(cx, epfd, events, max, &patience))
}
