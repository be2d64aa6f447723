//! `poll(2)`, `select(2)` and their variants.

use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::time::Timespec;
use tyn_abi::{Errno, Events, Fd, Nanos, UserVa};
use tyn_hal::time;
use tyn_io::poll::{PollFd, Set, contains, fd_set_bytes, insert, members};

use crate::cx::{Cx, SysResult};
use crate::file::OpenFile;
use crate::signal::Rest;
use crate::user_io;
use crate::wait::{Interrupted, WaitQueue};

/// Reads an optional signal mask (`sigset_t` of 8 bytes).
///
/// # Errors
/// `EINVAL` for another size, `EFAULT`.
pub(super) fn read_mask(mask: UserVa, size: usize) -> Result<Option<u64>, Errno> {
    if mask.is_null() {
        return Ok(None);
    }
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    user_io::read_u64(mask).map(Some)
}

/// Runs a call that may wait under another signal mask. The old mask is back at once, unless a handler is about to run,
/// which then sees the other one.
pub(super) fn with_mask(
    cx: &mut Cx<'_>,
    mask: Option<u64>,
    call: impl FnOnce(&mut Cx<'_>) -> SysResult,
) -> SysResult {
    let Some(mask) = mask else {
        return call(cx);
    };
    cx.set_temporary_mask(mask);
    let result = call(cx);
    if !matches!(result, Err(Errno::EINTR | Errno::ERESTARTNOHAND)) {
        cx.restore_mask();
    }
    result
}

/// Reads an optional `struct timespec` with a duration.
///
/// # Errors
/// `EINVAL` when a field is out of range, `EFAULT`.
pub(super) fn read_timeout(timeout: UserVa) -> Result<Option<Nanos>, Errno> {
    if timeout.is_null() {
        return Ok(None);
    }
    let timeout = Timespec::from_bytes(&user_io::read_bytes(timeout)?);
    timeout.to_nanos().map(Some).ok_or(Errno::EINVAL)
}

/// The caller's time-out: when it ends, and where the time left goes.
#[derive(Clone, Copy)]
enum Timeout {
    Never,
    Millis(Nanos),
    Timespec(UserVa, Nanos),
    Timeval(UserVa, Nanos),
}

impl Timeout {
    fn from_timespec(at: UserVa) -> Result<Self, Errno> {
        let duration = read_timeout(at)?;
        Ok(duration.map_or(Self::Never, |d| Self::Timespec(at, time::now() + d)))
    }

    fn deadline(self) -> Option<Nanos> {
        match self {
            Self::Never => None,
            Self::Millis(t) | Self::Timespec(_, t) | Self::Timeval(_, t) => Some(t),
        }
    }

    /// Writes the time left; when that fails, a call that would restart must not, since its time-out would begin anew.
    fn finish(self, result: SysResult) -> SysResult {
        let left = |deadline| Timespec::from_nanos(deadline - time::now());
        let written = match self {
            Self::Never | Self::Millis(_) => Ok(()),
            Self::Timespec(at, deadline) => user_io::write_bytes(at, &left(deadline).to_bytes()),
            Self::Timeval(at, deadline) => {
                let left = left(deadline);
                let timeval = Timespec {
                    sec: left.sec,
                    nsec: left.nsec / 1000,
                };
                user_io::write_bytes(at, &timeval.to_bytes())
            }
        };
        match result {
            Err(Errno::ERESTARTNOHAND) if written.is_err() => Err(Errno::EINTR),
            result => result,
        }
    }
}

/// Waits until `attempt` counts something, the time-out ends or a signal comes. `files` are waited on for `interest`.
fn wait(
    cx: &Cx<'_>,
    files: &[Arc<OpenFile>],
    interest: Events,
    deadline: Option<Nanos>,
    mut attempt: impl FnMut() -> u64,
) -> SysResult {
    let queues: Vec<&WaitQueue> = files
        .iter()
        .filter_map(|open| open.file.wait_queue())
        .collect();
    let counted = || Some(attempt()).filter(|&count| count > 0);
    match cx.block_on(&queues, interest, deadline, counted) {
        Ok(count) => Ok(count),
        Err(Interrupted::TimedOut) => Ok(0),
        Err(Interrupted::Signal) => Err(Errno::ERESTARTNOHAND),
    }
}

/// `poll(2)` once the arguments are decoded.
fn do_poll(cx: &mut Cx<'_>, fds: UserVa, count: u32, timeout: Timeout) -> SysResult {
    let count = count as usize;
    if count > cx.process.limits.descriptors() {
        return Err(Errno::EINVAL);
    }
    let mut buffer = Vec::new();
    buffer
        .try_reserve_exact(count * PollFd::SIZE)
        .map_err(|_| Errno::ENOMEM)?;
    buffer.resize(count * PollFd::SIZE, 0);
    tyn_hal::user::copy_from(&mut buffer, fds)?;
    let table = cx.process.files();
    let mut items: Vec<(PollFd, Option<Arc<OpenFile>>)> = buffer
        .as_chunks()
        .0
        .iter()
        .map(|bytes| PollFd::from_bytes(*bytes))
        .map(|item| {
            (
                item,
                table
                    .get(Fd(item.fd))
                    .ok()
                    .filter(|open| !open.is_path_only()),
            )
        })
        .collect();
    let files: Vec<Arc<OpenFile>> = items.iter().filter_map(|(_, open)| open.clone()).collect();
    let interest = items
        .iter()
        .fold(Events::empty(), |all, (item, _)| all | item.interest());
    let result = wait(cx, &files, interest, timeout.deadline(), || {
        let ready = items.iter_mut().filter_map(|(item, open)| {
            item.answer(open.as_ref().map(|open| open.file.poll()))
                .then_some(())
        });
        ready.count() as u64
    });
    for (index, (item, _)) in items.iter().enumerate() {
        let at = (index * PollFd::SIZE + PollFd::REVENTS_OFFSET) as u64;
        user_io::write_bytes(fds.wrapping_add(at), &item.revents.to_le_bytes())?;
    }
    timeout.finish(result)
}

/// `poll(2)`.
pub(crate) fn sys_poll(cx: &mut Cx<'_>, fds: UserVa, count: u32, timeout_ms: i32) -> SysResult {
    let timeout = u64::try_from(timeout_ms).ok();
    let deadline = timeout.map(|ms| time::now() + Nanos::from_millis(ms));
    poll_until(cx, fds, count, deadline)
}

/// Polls until the deadline; when a signal interrupts that, and no handler runs, it goes on for the rest of the time.
pub(super) fn poll_until(
    cx: &mut Cx<'_>,
    fds: UserVa,
    count: u32,
    deadline: Option<Nanos>,
) -> SysResult {
    let timeout = deadline.map_or(Timeout::Never, Timeout::Millis);
    match do_poll(cx, fds, count, timeout) {
        Err(Errno::ERESTARTNOHAND) => {
            cx.thread.signals.set_rest(Rest::Poll {
                fds,
                count,
                deadline,
            });
            Err(Errno::ERESTART_RESTARTBLOCK)
        }
        result => result,
    }
}

/// `ppoll(2)`.
pub(crate) fn sys_ppoll(
    cx: &mut Cx<'_>,
    fds: UserVa,
    count: u32,
    timeout: UserVa,
    mask: UserVa,
    mask_size: usize,
) -> SysResult {
    let timeout = Timeout::from_timespec(timeout)?;
    let mask = read_mask(mask, mask_size)?;
    with_mask(cx, mask, |cx| do_poll(cx, fds, count, timeout))
}

/// `select(2)` once the time-out and mask are decoded.
fn do_select(cx: &mut Cx<'_>, n: i32, at: [UserVa; 3], timeout: Timeout) -> SysResult {
    let table = cx.process.files();
    let n = usize::try_from(n)
        .map_err(|_| Errno::EINVAL)?
        .min(table.capacity());
    let mut wanted: [Vec<u8>; 3] = Default::default();
    for (set, at) in wanted.iter_mut().zip(at).filter(|(_, at)| !at.is_null()) {
        set.resize(fd_set_bytes(n), 0);
        tyn_hal::user::copy_from(set, at)?;
    }
    let mut fds = Vec::new();
    let mut files = Vec::new();
    for fd in members(&wanted, n) {
        let open = i32::try_from(fd)
            .map_err(|_| Errno::EBADF)
            .and_then(|fd| table.get(Fd(fd)))?;
        if open.is_path_only() {
            return Err(Errno::EBADF);
        }
        fds.push(fd);
        files.push(open);
    }
    let interest = Set::ALL
        .iter()
        .zip(&wanted)
        .filter(|(_, wanted)| !wanted.is_empty())
        .fold(Events::empty(), |all, (set, _)| all | set.events());
    let mut found = wanted.clone();
    let result = wait(cx, &files, interest, timeout.deadline(), || {
        found.iter_mut().for_each(|set| set.fill(0));
        let mut count = 0;
        for (fd, open) in fds.iter().zip(&files) {
            let ready = open.file.poll();
            for ((set, wanted), found) in Set::ALL.iter().zip(&wanted).zip(&mut found) {
                if contains(wanted, *fd) && ready.intersects(set.events()) {
                    insert(found, *fd);
                    count += 1;
                }
            }
        }
        count
    });
    if result.is_ok() {
        for (set, at) in found.iter().zip(at).filter(|(_, at)| !at.is_null()) {
            user_io::write_bytes(at, set)?;
        }
    }
    timeout.finish(result)
}

/// `select(2)`.
pub(crate) fn sys_select(
    cx: &mut Cx<'_>,
    n: i32,
    read: UserVa,
    write: UserVa,
    except: UserVa,
    timeout: UserVa,
) -> SysResult {
    let timeout = if timeout.is_null() {
        Timeout::Never
    } else {
        let Timespec { sec, nsec: micros } = Timespec::from_bytes(&user_io::read_bytes(timeout)?);
        let sec = sec.checked_add(micros / 1_000_000).ok_or(Errno::EINVAL)?;
        let duration = Timespec {
            sec,
            nsec: micros % 1_000_000 * 1000,
        };
        let duration = duration.to_nanos().ok_or(Errno::EINVAL)?;
        Timeout::Timeval(timeout, time::now() + duration)
    };
    do_select(cx, n, [read, write, except], timeout)
}

/// `pselect(2)`; the last argument points to the mask's address and size.
pub(crate) fn sys_pselect6(
    cx: &mut Cx<'_>,
    n: i32,
    read: UserVa,
    write: UserVa,
    except: UserVa,
    timeout: UserVa,
    mask: UserVa,
) -> SysResult {
    let mask = if mask.is_null() {
        None
    } else {
        let at = UserVa(user_io::read_u64(mask)?);
        let size = user_io::read_u64(mask.wrapping_add(8))?;
        read_mask(at, size as usize)?
    };
    let timeout = Timeout::from_timespec(timeout)?;
    with_mask(cx, mask, |cx| {
        do_select(cx, n, [read, write, except], timeout)
    })
}
