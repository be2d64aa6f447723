//! Connections that are over but whose last segments may still be under way (TIME-WAIT, RFC 9293 §3.6.1), as records
//! without buffers.

use alloc::collections::{BTreeMap, VecDeque};
use core::ops::Bound;

use smoltcp::wire::TcpPacket;
use tyn_abi::Nanos;

use crate::ports::Use;
use crate::types::{Path, Tuple};

/// How long a record stays (`TCP_TIMEWAIT_LEN` of Linux).
const LIFETIME: Nanos = Nanos(60 * Nanos::PER_SEC);

/// What a connection has sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LastSent {
    /// The sequence number after everything that was ever sent (SND.NXT of RFC 9293).
    pub(crate) next: u32,
    /// The last acknowledgement number.
    pub(crate) acked: u32,
}

/// What is left of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    /// Sequence number after our FIN, and after the peer's.
    pub(crate) last_sent: LastSent,
    pub(crate) path: Path,
    /// How it uses its port.
    by: Use,
    until: Nanos,
}

/// What a segment for such a connection asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// Nothing.
    Ignore,
    /// Our last acknowledgement again.
    Acknowledge(Record),
    /// The peer opens a new connection with the same addresses; the record is gone (RFC 9293 §3.10.7.4).
    Reopen(Use),
    /// The peer reset the connection; the record is gone.
    Forget(Use),
}

/// The records, oldest first.
#[derive(Debug, Default)]
pub(crate) struct TimeWaits {
    records: BTreeMap<Tuple, Record>,
    order: VecDeque<(Nanos, Tuple)>,
}

impl TimeWaits {
    pub(crate) fn contains(&self, tuple: &Tuple) -> bool {
        self.records.contains_key(tuple)
    }

    /// Lists what the records are of, in order from a place on.
    pub(crate) fn tuples_after(&self, from: Bound<Tuple>) -> impl Iterator<Item = &Tuple> {
        let here = self.records.range((from, Bound::Unbounded));
        here.map(|(tuple, _)| tuple)
    }

    /// Returns how many records there are.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Adds a record and returns one that had to give way, if there were `limit`. Without memory for one more
    /// it is this one: nothing is remembered of it.
    pub(crate) fn insert(
        &mut self,
        tuple: Tuple,
        (path, by): (Path, Use),
        last_sent: LastSent,
        now: Nanos,
        limit: usize,
    ) -> Option<(Tuple, Use)> {
        if self.order.len() > 2 * limit.max(self.records.len()) {
            // Most are of records that are gone: their peers came back with the same port.
            self.order.retain(|(until, tuple)| {
                let record = self.records.get(tuple);
                record.is_some_and(|r| r.until == *until)
            });
        }
        if self.order.try_reserve(1).is_err() {
            return Some((tuple, by));
        }
        let evicted = if self.records.len() >= limit {
            self.pop_first()
        } else {
            None
        };
        let until = now + LIFETIME;
        self.records.insert(
            tuple,
            Record {
                last_sent,
                path,
                by,
                until,
            },
        );
        self.order.push_back((until, tuple));
        evicted
    }

    fn pop_first(&mut self) -> Option<(Tuple, Use)> {
        while let Some((until, tuple)) = self.order.pop_front() {
            let gone = self.remove(until, tuple);
            if gone.is_some() {
                return gone;
            }
        }
        None
    }

    /// Removes a record, if it is the one that was made for this time.
    fn remove(&mut self, until: Nanos, tuple: Tuple) -> Option<(Tuple, Use)> {
        let by = self.records.get(&tuple).filter(|r| r.until == until)?.by;
        self.records.remove(&tuple);
        Some((tuple, by))
    }

    /// Returns when [`TimeWaits::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Nanos> {
        self.order.front().map(|&(until, _)| until)
    }

    /// Removes the first record whose time has come and returns what it was about.
    pub(crate) fn expire(&mut self, now: Nanos) -> Option<(Tuple, Use)> {
        while let Some(&(until, tuple)) = self.order.front().filter(|(until, _)| *until <= now) {
            self.order.pop_front();
            let gone = self.remove(until, tuple);
            if gone.is_some() {
                return gone;
            }
        }
        None
    }

    /// Decides what a segment for `tuple` leads to; `None` when there is no record.
    pub(crate) fn on_segment(
        &mut self,
        tuple: &Tuple,
        segment: &TcpPacket<&[u8]>,
    ) -> Option<Answer> {
        let record = *self.records.get(tuple)?;
        let start = segment.seq_number().0.cast_unsigned();
        let beyond = start.wrapping_sub(record.last_sent.acked).cast_signed();
        let answer = if segment.rst() {
            if beyond == 0 {
                Answer::Forget(record.by)
            } else {
                Answer::Ignore
            }
        } else if segment.syn() && !segment.ack() && beyond > 0 {
            Answer::Reopen(record.by)
        } else if segment.segment_len() > 0 || beyond != 0 {
            Answer::Acknowledge(record)
        } else {
            Answer::Ignore
        };
        if matches!(answer, Answer::Forget(_) | Answer::Reopen(_)) {
            self.records.remove(tuple);
        }
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Sharing;
    use core::net::{Ipv4Addr, SocketAddr};
    use smoltcp::wire::TcpSeqNumber;

    fn tuple(port: u16) -> Tuple {
        let at = |p| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), p);
        Tuple {
            local: at(80),
            remote: at(port),
        }
    }

    const BY: Use = Use {
        device: None,
        sharing: Sharing {
            address: true,
            port: false,
        },
    };
    const SENT: LastSent = LastSent {
        next: 100,
        acked: 200,
    };

    fn segment(
        seq: u32,
        set: impl Fn(&mut TcpPacket<&mut [u8]>),
        data: &[u8],
    ) -> alloc::vec::Vec<u8> {
        let mut bytes = alloc::vec![0; 20];
        bytes.extend_from_slice(data);
        let mut p = TcpPacket::new_unchecked(&mut bytes[..]);
        p.set_header_len(20);
        p.set_seq_number(TcpSeqNumber(seq as i32));
        set(&mut p);
        bytes
    }

    fn answer(w: &mut TimeWaits, bytes: &[u8]) -> Option<Answer> {
        w.on_segment(&tuple(1), &TcpPacket::new_checked(bytes).unwrap())
    }

    #[test]
    fn answers_follow_the_kind_of_segment() {
        let mut w = TimeWaits::default();
        w.insert(tuple(1), (Path::Nic, BY), SENT, Nanos(0), 10);
        let fin = segment(199, |p| p.set_fin(true), &[]);
        assert!(matches!(
            answer(&mut w, &fin),
            Some(Answer::Acknowledge(r)) if r.last_sent == SENT
        ));
        let ack = segment(200, |p| p.set_ack(true), &[]);
        assert_eq!(answer(&mut w, &ack), Some(Answer::Ignore));
        let stray = segment(200, |p| p.set_ack(true), &[1]);
        assert!(matches!(
            answer(&mut w, &stray),
            Some(Answer::Acknowledge(_))
        ));
        let old_syn = segment(200, |p| p.set_syn(true), &[]);
        assert!(matches!(
            answer(&mut w, &old_syn),
            Some(Answer::Acknowledge(_))
        ));
        let blind_reset = segment(205, |p| p.set_rst(true), &[]);
        assert_eq!(answer(&mut w, &blind_reset), Some(Answer::Ignore));
        let syn = segment(201, |p| p.set_syn(true), &[]);
        assert_eq!(answer(&mut w, &syn), Some(Answer::Reopen(BY)));
        assert_eq!(answer(&mut w, &syn), None);
        w.insert(tuple(1), (Path::Nic, BY), SENT, Nanos(0), 10);
        let reset = segment(200, |p| p.set_rst(true), &[]);
        assert_eq!(answer(&mut w, &reset), Some(Answer::Forget(BY)));
    }

    #[test]
    fn records_end_in_order_and_give_way_when_there_are_too_many() {
        let mut w = TimeWaits::default();
        assert_eq!(w.insert(tuple(1), (Path::Nic, BY), SENT, Nanos(0), 2), None);
        assert_eq!(w.insert(tuple(2), (Path::Nic, BY), SENT, Nanos(5), 2), None);
        assert_eq!(
            w.insert(tuple(3), (Path::Nic, BY), SENT, Nanos(6), 2),
            Some((tuple(1), BY))
        );
        assert_eq!(w.deadline(), Some(LIFETIME + Nanos(5)));
        assert_eq!(w.expire(LIFETIME + Nanos(5)), Some((tuple(2), BY)));
        assert_eq!(w.expire(LIFETIME + Nanos(5)), None);
        assert_eq!(w.len(), 1);
    }

    #[test]
    fn peer_that_comes_back_again_and_again_costs_no_memory() {
        let mut w = TimeWaits::default();
        w.insert(tuple(2), (Path::Nic, BY), SENT, Nanos(0), 8);
        let syn = segment(201, |p| p.set_syn(true), &[]);
        for n in 1..1000 {
            w.insert(tuple(1), (Path::Nic, BY), SENT, Nanos(n), 8);
            assert_eq!(answer(&mut w, &syn), Some(Answer::Reopen(BY)));
            assert!(w.order.len() <= 17, "{}", w.order.len());
        }
        w.insert(tuple(1), (Path::Nic, BY), SENT, Nanos(1000), 8);
        assert_eq!(w.expire(LIFETIME), Some((tuple(2), BY)));
        assert_eq!(w.expire(LIFETIME + Nanos(999)), None);
        assert_eq!(w.expire(LIFETIME + Nanos(1000)), Some((tuple(1), BY)));
    }

    #[test]
    fn record_that_was_replaced_lives_its_own_time() {
        let mut w = TimeWaits::default();
        w.insert(tuple(1), (Path::Nic, BY), SENT, Nanos(0), 9);
        let reset = segment(200, |p| p.set_rst(true), &[]);
        assert_eq!(answer(&mut w, &reset), Some(Answer::Forget(BY)));
        w.insert(tuple(1), (Path::Nic, BY), SENT, Nanos(50), 9);
        assert_eq!(w.expire(LIFETIME), None);
        assert_eq!(w.len(), 1);
        assert_eq!(w.expire(LIFETIME + Nanos(50)), Some((tuple(1), BY)));
    }
}
