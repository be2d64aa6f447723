//! What inotify(7) tells, and `struct inotify_event`.

bitflags::bitflags! {
    /// Events and options of `inotify_add_watch(2)`, `mask` of `struct inotify_event`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Inotify: u32 {
        /// The file was read.
        const ACCESS = 0x0001;
        /// The file was written or truncated.
        const MODIFY = 0x0002;
        /// Metadata changed.
        const ATTRIB = 0x0004;
        /// Closed by one who might write.
        const CLOSE_WRITE = 0x0008;
        /// Closed by one who might not.
        const CLOSE_NOWRITE = 0x0010;
        /// Opened.
        const OPEN = 0x0020;
        /// An entry left the directory.
        const MOVED_FROM = 0x0040;
        /// An entry came into the directory.
        const MOVED_TO = 0x0080;
        /// An entry was made.
        const CREATE = 0x0100;
        /// An entry was removed.
        const DELETE = 0x0200;
        /// The file itself is gone.
        const DELETE_SELF = 0x0400;
        /// The file itself was moved.
        const MOVE_SELF = 0x0800;
        /// The queue was full.
        const Q_OVERFLOW = 0x4000;
        /// The watch is gone.
        const IGNORED = 0x8000;
        /// Option: the path must be a directory.
        const ONLYDIR = 0x0100_0000;
        /// Option: a symbolic link is not followed.
        const DONT_FOLLOW = 0x0200_0000;
        /// Option: no events of entries that were unlinked.
        const EXCL_UNLINK = 0x0400_0000;
        /// Option: the file must not be watched yet.
        const MASK_CREATE = 0x1000_0000;
        /// Option: the events are added to those that are watched.
        const MASK_ADD = 0x2000_0000;
        /// The event is about a directory.
        const ISDIR = 0x4000_0000;
        /// Option: the watch ends with its first event.
        const ONESHOT = 0x8000_0000;

        /// All that can be asked for.
        const ALL_EVENTS = 0x0fff;
        /// All that Linux knows (`ALL_INOTIFY_BITS`): one of them must be given. `UNMOUNT` is 0x2000.
        const KNOWN = 0xf700_efff;
    }
}

/// Length of `struct inotify_event` without its name; names are padded to multiples of it.
pub const EVENT_LEN: usize = 16;
