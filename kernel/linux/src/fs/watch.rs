//! What happens to files, for those who watch them (`inotify(7)`). While nobody does, each of these is a look at a number.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use tyn_abi::fs::mode;
use tyn_abi::inotify::Inotify;
use tyn_fs::inotify::{News, Watches};
use tyn_fs::tree::{Ino, Removed};
use tyn_hal::sync::SpinLock;

use super::{Body, Node, ShownName, fs, node_of};
use crate::file::OpenFile;
use crate::wait::WaitQueue;

/// All instances; what wakes one's readers is the queue.
static WATCHES: SpinLock<Watches<Arc<WaitQueue>>> = SpinLock::new(Watches::new());

/// How many watches there are. Who does not see one yet came before it.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Asks or changes the table of instances. What `work` returns is dropped after the lock is released.
pub(crate) fn with_watches<T>(work: impl FnOnce(&mut Watches<Arc<WaitQueue>>) -> T) -> T {
    let mut watches = WATCHES.lock();
    let result = work(&mut watches);
    COUNT.store(watches.watches(), Ordering::Relaxed);
    result
}

/// Returns whether anything is watched.
pub(crate) fn is_active() -> bool {
    COUNT.load(Ordering::Relaxed) != 0
}

/// Wakes the readers of an instance.
pub(crate) fn wake(queue: &Arc<WaitQueue>) {
    queue.notify(tyn_abi::Events::IN | tyn_abi::Events::RDNORM);
}

/// Tells that a description was opened, read, written or closed.
pub(crate) fn open_file(open: &OpenFile, event: Inotify) {
    if !is_active() || open.is_path_only() {
        return;
    }
    if let Some(node) = node_of(open) {
        named(&node, &open.name, event);
    }
}

/// Tells that a description is closed.
pub(crate) fn closed(open: &OpenFile) {
    let event = if open.is_writable() {
        Inotify::CLOSE_WRITE
    } else {
        Inotify::CLOSE_NOWRITE
    };
    open_file(open, event);
}

/// Tells what happened to a file that was found by a name: to those who watch the name's directory, and the file.
pub(crate) fn named(node: &Node, name: &ShownName, event: Inotify) {
    let Some(pin) = node.tree_pin().filter(|_| is_active()) else {
        return;
    };
    let ino = pin.ino();
    let event = event | kind(ino);
    if let Some(entry) = name.entry() {
        let news = News {
            event,
            cookie: 0,
            name: &entry.name,
            is_unlinked: !entry.is_there,
        };
        with_watches(|w| w.tell(entry.dir, &news, wake));
    }
    with_watches(|w| w.tell(ino, &News::own(event), wake));
}

/// Tells what happened to a file as such, whatever its names.
pub(crate) fn inode(ino: Ino, event: Inotify) {
    if is_active() {
        let news = News::own(event | kind(ino));
        with_watches(|w| w.tell(ino, &news, wake));
    }
}

/// Tells that an entry `name` was made in `dir` or removed from it.
pub(crate) fn entry(dir: Ino, name: &[u8], event: Inotify) {
    if is_active() {
        let news = News {
            event,
            cookie: 0,
            name,
            is_unlinked: false,
        };
        with_watches(|w| w.tell(dir, &news, wake));
    }
}

/// A file that was renamed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved<'a> {
    pub(crate) ino: Ino,
    pub(crate) from: (Ino, &'a [u8]),
    pub(crate) to: (Ino, &'a [u8]),
    /// What had the new name before.
    pub(crate) replaced: Option<Ino>,
}

/// Tells that a file was renamed.
pub(crate) fn moved(moved: &Moved<'_>) {
    if !is_active() {
        return;
    }
    let kind = kind(moved.ino);
    let cookie = with_watches(Watches::next_cookie);
    for (event, (dir, name)) in [
        (Inotify::MOVED_FROM, moved.from),
        (Inotify::MOVED_TO, moved.to),
    ] {
        let news = News {
            event: event | kind,
            cookie,
            name,
            is_unlinked: false,
        };
        with_watches(|w| w.tell(dir, &news, wake));
    }
    if let Some(replaced) = moved.replaced {
        inode(replaced, Inotify::ATTRIB);
    }
    with_watches(|w| w.tell(moved.ino, &News::own(Inotify::MOVE_SELF), wake));
}

/// Tells that an inode ended, if one did, and frees it.
pub(crate) fn removed(removed: Removed<Arc<Body>>) {
    if let Some(ino) = removed.ino().filter(|_| is_active()) {
        with_watches(|w| w.gone(ino, wake));
    }
    drop(removed);
}

/// Returns `ISDIR` for a directory.
fn kind(ino: Ino) -> Inotify {
    match fs().with_tree(|t| t.mode(ino)) {
        Ok(found) if found & mode::S_IFMT == mode::S_IFDIR => Inotify::ISDIR,
        Ok(_) | Err(_) => Inotify::empty(),
    }
}
