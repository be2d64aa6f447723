//! How much is sent while losses are repaired: proportional rate reduction (RFC 6937 §3, with slow start reduction bound).

use crate::connection::Connection;

/// What has happened since a recovery began, in bytes: fewer than there are sequence numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prr {
    /// What was unacknowledged then (RecoverFS).
    flight: u32,
    /// What has arrived since (prr_delivered).
    delivered: u32,
    /// What was sent since (prr_out).
    out: u32,
}

impl Prr {
    pub(crate) fn new(flight: usize) -> Self {
        Self {
            flight: (flight as u32).max(1),
            delivered: 0,
            out: 0,
        }
    }

    /// Returns how much may be sent for an acknowledgement of `arrived` bytes when `pipe` bytes are under way, and the
    /// window is to be `target` in the end.
    fn allowance(&mut self, arrived: usize, pipe: usize, target: usize, segment: usize) -> usize {
        self.delivered = self.delivered.saturating_add(arrived as u32);
        let due = if pipe > target {
            let share = u64::from(self.delivered) * target as u64;
            let share = share.div_ceil(u64::from(self.flight)) as usize;
            share.saturating_sub(self.out as usize)
        } else {
            let unused = self.delivered.saturating_sub(self.out) as usize;
            let limit = unused.max(arrived) + segment;
            limit.min(target - pipe)
        };
        // The first repair goes at once.
        if self.out == 0 { due.max(segment) } else { due }
    }
}

impl Connection {
    /// Sets the window for what may be sent on an acknowledgement in recovery by which `arrived` bytes have arrived.
    pub(crate) fn reduce_by_rate(&mut self, arrived: usize) {
        let (pipe, segment) = (self.in_flight(), self.payload_size());
        let Some(target) = self.congestion.threshold() else {
            return;
        };
        if let Some(prr) = &mut self.recovery.prr {
            let due = prr.allowance(arrived, pipe, target as usize, segment);
            self.congestion.window = u32::try_from(pipe + due).unwrap_or(u32::MAX);
        }
    }

    /// Counts bytes that are sent in recovery.
    pub(crate) fn count_in_recovery(&mut self, len: usize) {
        if let Some(prr) = &mut self.recovery.prr {
            prr.out = prr.out.saturating_add(len as u32);
        }
    }
}
