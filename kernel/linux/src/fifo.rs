//! FIFOs (`fifo(7)`): pipes with a name, and the meeting of readers and writers when they open one.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use tyn_abi::{Errno, Events};
use tyn_fs::tree::Ino;
use tyn_hal::sync::SpinLock;
use tyn_io::pipe::{End, Pipe};

use crate::cx::Cx;
use crate::file::{File, OpenFile, flags};
use crate::fs::{self, Pin};
use crate::pipe::{Ends, PipeEnd, Shared};
use crate::wait::{Interrupted, WaitQueue};

/// The pipes of the FIFOs that somebody has open. Taken before a pipe's own lock.
static OPEN: SpinLock<BTreeMap<Ino, Arc<Shared>>> = SpinLock::new(BTreeMap::new());

/// Where a FIFO is, and what its description found when it was opened.
pub(crate) struct Place {
    pin: Pin,
    /// How often each end had been opened by then.
    reader_opens: u64,
    writer_opens: u64,
    /// It was opened for reading without waiting while there was no writer: until one comes, that is no hang-up.
    began_alone: bool,
}

impl Place {
    /// Returns the inode, kept alive.
    pub(crate) fn pin(&self) -> &Pin {
        &self.pin
    }

    fn ino(&self) -> Ino {
        self.pin.ino()
    }

    /// Returns the `struct stat`.
    pub(crate) fn stat(&self) -> Result<[u8; 144], Errno> {
        Ok(fs::stat_tree(self.ino())?.to_bytes())
    }

    /// Returns whether no writer has come since the description was opened alone.
    pub(crate) fn awaits_writer(&self, pipe: &Pipe) -> bool {
        self.began_alone && pipe.opens(End::Write) == self.writer_opens
    }

    /// Closes a description; what the last one leaves unread is gone.
    pub(crate) fn release(&self, end: &PipeEnd) {
        let mut open = OPEN.lock();
        end.close();
        let unused = end.shared.pipe.lock().is_closed();
        let removed = if unused {
            open.remove(&self.ino())
        } else {
            None
        };
        drop(open);
        drop(removed);
    }
}

/// Opens a FIFO as far as that goes without waiting; [`wait_for_peer`] does the rest.
///
/// # Errors
/// `ENXIO` for writing, with `O_NONBLOCK`, when nobody reads.
pub(crate) fn open(pin: Pin, how: u32) -> Result<PipeEnd, Errno> {
    let ends = match how & flags::O_ACCMODE {
        flags::O_RDONLY => Ends::One(End::Read),
        flags::O_WRONLY => Ends::One(End::Write),
        _ => Ends::Both,
    };
    let waits = how & flags::O_NONBLOCK == 0;
    let mut open = OPEN.lock();
    let known = open.get(&pin.ino()).cloned();
    let shared = known.unwrap_or_else(|| Shared::new(Pipe::new(), Some(WaitQueue::new())));
    let mut pipe = shared.pipe.lock();
    if ends == Ends::One(End::Write) && !waits && !pipe.is_open(End::Read) {
        return Err(Errno::ENXIO);
    }
    let place = Place {
        reader_opens: pipe.opens(End::Read),
        writer_opens: pipe.opens(End::Write),
        began_alone: ends == Ends::One(End::Read) && !waits && !pipe.is_open(End::Write),
        pin,
    };
    ends.each().for_each(|end| pipe.open(end));
    drop(pipe);
    open.insert(place.ino(), Arc::clone(&shared));
    drop(open);
    // Whoever waits for this end in `open` goes on.
    for end in ends.each() {
        match end {
            End::Read => shared.notify(End::Write, Events::OUT),
            End::Write => shared.notify(End::Read, Events::IN),
        }
    }
    Ok(PipeEnd {
        shared,
        ends,
        place: Some(place),
    })
}

/// Waits, if `open` is a FIFO opened for one direction without `O_NONBLOCK`, until somebody opens it for the other. Who came
/// and left again in the meantime counts.
///
/// # Errors
/// `ERESTARTSYS` when a signal came first.
pub(crate) fn wait_for_peer(cx: &Cx<'_>, open: &OpenFile) -> Result<(), Errno> {
    let Some(fifo) = open.downcast::<PipeEnd>() else {
        return Ok(());
    };
    let (Some(place), Ends::One(end), false) = (&fifo.place, fifo.ends, open.is_nonblocking())
    else {
        return Ok(());
    };
    let Some(queue) = fifo.wait_queue() else {
        return Ok(());
    };
    let (peer, before, interest) = match end {
        End::Read => (End::Write, place.writer_opens, Events::IN),
        End::Write => (End::Read, place.reader_opens, Events::OUT),
    };
    let met = || {
        let pipe = fifo.shared.pipe.lock();
        (pipe.is_open(peer) || pipe.opens(peer) != before).then_some(())
    };
    cx.block_on(&[queue], interest, None, met)
        .map_err(Interrupted::or_restart)
}
