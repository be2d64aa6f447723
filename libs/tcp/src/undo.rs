//! Taking back a reduction of the window that was for nothing: what was taken for lost had only been overtaken, or was late
//! (RFC 9438 §4.9). Two signs tell so: an acknowledgement that echoes a time before anything was sent again is for the
//! first transmission (Eifel, RFC 3522), and all that was sent again was reported to have come twice (RFC 3708).

use tyn_abi::Nanos;

use crate::congestion::Before;
use crate::connection::{Connection, clock};
use crate::options::Block;
use crate::segment::Segment;
use crate::seq::Seq;

/// What is needed to take a reduction back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Undo {
    before: Before,
    /// Nothing before this was sent again.
    from: Seq,
    /// Segments that were sent again, and have not been reported to have come twice.
    unreported: u32,
    /// Our clock when the first of them was.
    since: Option<u32>,
}

impl Connection {
    /// Remembers the window, which is about to be reduced; during a recovery it was remembered at its beginning.
    pub(crate) fn remember_window(&mut self) {
        if self.recovery.is_on() {
            return;
        }
        self.recovery.undo = Some(Undo {
            before: self.congestion.before(),
            from: self.unacknowledged,
            // A probe of the tail may be reported, too.
            unreported: self.board.repeated_segments() as u32,
            since: None,
        });
    }

    /// Notes that a segment that was taken for lost is sent again.
    pub(crate) fn note_repeated(&mut self, now: Nanos) {
        if let Some(undo) = &mut self.recovery.undo {
            undo.unreported = undo.unreported.saturating_add(1);
            undo.since.get_or_insert(clock(now, self.clock_offset));
        }
    }

    /// Notes what was reported to have come twice.
    pub(crate) fn note_twice(&mut self, block: Block) {
        let size = self.payload_size();
        let Some(undo) = &mut self.recovery.undo else {
            return;
        };
        if undo.since.is_none() || block.start.is_before(undo.from) {
            return;
        }
        let segments = block.end.beyond(block.start).div_ceil(size) as u32;
        undo.unreported = undo.unreported.saturating_sub(segments);
        if undo.unreported == 0 {
            self.undo();
        }
    }

    /// Looks whether an acknowledgement of something new is for what was sent first, and nothing else that was sent again is
    /// under way: that might be for a real loss.
    pub(crate) fn note_echo(&mut self, segment: &Segment<'_>) {
        let Some(since) = self.recovery.undo.and_then(|undo| undo.since) else {
            return;
        };
        let echo = segment.options.timestamps.map_or(0, |(_, echo)| echo);
        let is_early = self.has_timestamps && echo != 0 && Seq(echo).is_before(Seq(since));
        if is_early && self.recovery.is_on() && self.board.repeated_segments() == 0 {
            self.undo();
        }
    }

    fn undo(&mut self) {
        let Some(undo) = self.recovery.undo.take() else {
            return;
        };
        self.congestion.restore(undo.before);
        let recovery = &mut self.recovery;
        (recovery.until, recovery.prr) = (None, None);
        recovery.is_after_timeout = false;
        // What has overtaken the others does not tell of losses.
        recovery.forget_latest();
        self.reorder_at = None;
        self.board.forget_losses();
    }
}
