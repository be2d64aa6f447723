//! The lines of `/proc/PID/fdinfo/N` (`proc_pid_fdinfo(5)`).

use alloc::format;
use alloc::string::String;

use tyn_abi::Nanos;
use tyn_abi::fs::{major, minor};

/// A device number as the kernel itself has it, not as `stat(2)` gives it.
fn internal(dev: u64) -> u64 {
    u64::from(major(dev)) << 20 | u64::from(minor(dev))
}

/// The lines of every descriptor: its position, the flags of its description with `O_CLOEXEC` if it is closed by `execve(2)`,
/// mount and inode.
#[must_use]
pub fn common(position: u64, flags: u32, mount: u32, inode: u64) -> String {
    format!("pos:\t{position}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{inode}\n")
}

/// Those of an `eventfd(2)`.
#[must_use]
pub fn event_counter(count: u64, id: u64, is_semaphore: bool) -> String {
    let semaphore = u32::from(is_semaphore);
    format!("eventfd-count: {count:16x}\neventfd-id: {id}\neventfd-semaphore: {semaphore}\n")
}

/// What a set of `epoll(7)` watches.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// The descriptor that it was added by.
    pub fd: i32,
    /// Events and modes.
    pub events: u32,
    /// What is told with them.
    pub data: u64,
    /// The file's inode, and the device of that.
    pub inode: (u64, u64),
}

/// The line of an item of a set.
#[must_use]
pub fn item(item: &Item) -> String {
    let Item {
        fd,
        events,
        data,
        inode: (ino, dev),
    } = *item;
    let dev = internal(dev);
    format!("tfd: {fd:8} events: {events:8x} data: {data:16x}  pos:0 ino:{ino:x} sdev:{dev:x}\n")
}

/// The line of a `signalfd(2)`.
#[must_use]
pub fn signals(mask: u64) -> String {
    format!("sigmask:\t{mask:016x}\n")
}

/// What is shown of a `timerfd_create(2)`.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are those of the lines")]
pub struct Timer {
    pub clock: u32,
    pub ticks: u64,
    pub flags: u32,
    pub value: Nanos,
    pub interval: Nanos,
}

/// The lines of a timer.
#[must_use]
pub fn timer(timer: &Timer) -> String {
    let (value, interval) = (timer.value.split(), timer.interval.split());
    format!(
        "clockid: {}\nticks: {}\nsettime flags: 0{:o}\nit_value: ({}, {})\nit_interval: ({}, {})\n",
        timer.clock, timer.ticks, timer.flags, value.0, value.1, interval.0, interval.1
    )
}

/// The line of a watch of `inotify(7)`; there are no file handles.
#[must_use]
pub fn watch(wd: i32, inode: (u64, u64), mask: u32) -> String {
    let (ino, dev) = (inode.0, internal(inode.1));
    format!("inotify wd:{wd:x} ino:{ino:x} sdev:{dev:x} mask:{mask:x} ignored_mask:0 \n")
}

/// The lines of a `pidfd_open(2)`, -1 for a process that is gone.
#[must_use]
pub fn process(pid: i64) -> String {
    format!("Pid:\t{pid}\nNSpid:\t{pid}\n")
}

/// The line of the master of a `pty(7)`.
#[must_use]
pub fn master(index: u32) -> String {
    format!("tty-index:\t{index}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_linux() {
        assert_eq!(
            common(7, 0o2_100_002, 21, 99),
            "pos:\t7\nflags:\t02100002\nmnt_id:\t21\nino:\t99\n"
        );
        assert_eq!(
            event_counter(0x2a, 5, true),
            "eventfd-count:               2a\neventfd-id: 5\neventfd-semaphore: 1\n"
        );
        let set = Item {
            fd: 5,
            events: 0x1d,
            data: 0x5,
            inode: (0x61af, 7),
        };
        // The example of proc_pid_fdinfo(5), with the spaces that Linux has.
        assert_eq!(
            item(&set),
            "tfd:        5 events:       1d data:                5  pos:0 ino:61af sdev:7\n"
        );
        assert_eq!(signals(0x200), "sigmask:\t0000000000000200\n");
        let facts = Timer {
            clock: 1,
            ticks: 0,
            flags: 1,
            value: Nanos(49_406_829_000),
            interval: Nanos(1),
        };
        assert_eq!(
            timer(&facts),
            "clockid: 1\nticks: 0\nsettime flags: 01\nit_value: (49, 406829000)\nit_interval: (0, 1)\n"
        );
        assert_eq!(
            watch(2, (0x7ef, 0x16), 0x8),
            "inotify wd:2 ino:7ef sdev:16 mask:8 ignored_mask:0 \n"
        );
        let disk = tyn_abi::fs::makedev(254, 1);
        assert!(watch(1, (1, disk), 0).contains(" sdev:fe00001 "));
        assert_eq!(process(-1), "Pid:\t-1\nNSpid:\t-1\n");
        assert_eq!(master(3), "tty-index:\t3\n");
    }
}
