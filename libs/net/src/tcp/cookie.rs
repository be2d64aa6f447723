//! SYN cookies (RFC 4987 §3.6): while there are as many requests as we keep, a further one is answered without being
//! written down. What we must know of it later comes back in the acknowledgement, as our initial sequence number: when it
//! was, the peer's segment size, and a keyed hash that nobody else can make. Scaled windows and SACK are not offered then.

use smoltcp::wire::TcpPacket;
use tyn_abi::Nanos;
use tyn_tcp::options::Options;
use tyn_tcp::{Flags, Outgoing, Segment, Seq};

use crate::stack::{Socket, Stack};
use crate::tcp::TcpState;
use crate::tcp::bare::send_bare;
use crate::tcp::listen::HalfOpen;
use crate::types::{Path, SocketId, Tuple};

/// Length of a slot of time; a cookie is good in the slot it was made in and the next one.
const SLOT: Nanos = Nanos(64 * Nanos::PER_SEC);
/// Segment sizes that a cookie can tell, in order.
const SIZES: [u16; 8] = [536, 1220, 1280, 1360, 1400, 1440, 1460, 8960];
const HASH_MASK: u32 = 0x00ff_ffff;

fn slot_of(now: Nanos) -> u32 {
    (now.0 / SLOT.0) as u32
}

/// Returns the index of the greatest size that is not above the peer's.
fn index_of(mss: Option<u16>) -> u32 {
    let mss = mss.unwrap_or(0);
    let fitting = SIZES.iter().rposition(|&size| size <= mss);
    fitting.unwrap_or(0) as u32
}

impl Stack {
    fn cookie(&self, tuple: &Tuple, theirs: u32, slot: u32, index: u32) -> u32 {
        let hash = self.secret.cookie(tuple, [theirs, slot, index]);
        slot << 27 | index << 24 | hash & HASH_MASK
    }

    /// Answers a request without taking note of it.
    pub(crate) fn send_cookie(
        &mut self,
        tuple: &Tuple,
        path: Path,
        listener: SocketId,
        syn: &Segment<'_>,
    ) {
        let Some(Socket::Tcp(socket)) = self.sockets.get(listener) else {
            return;
        };
        let ((receive, _), _) = socket.options.buffers();
        let service = (
            socket.options.service(tuple.remote.ip()),
            socket.options.ttl,
        );
        let slot = slot_of(self.out.now);
        let ours = self.cookie(tuple, syn.seq.0, slot, index_of(syn.options.mss));
        self.tcp.last_cookie = Some(slot);
        let window = u16::try_from(receive).unwrap_or(u16::MAX);
        let mut options = Options::default();
        options.mss = Some(self.config_for(tuple, path, &socket.options).mss);
        let flags = Flags::SYN.with(Flags::ACK);
        let answer = Outgoing::bare(Seq(ours), syn.seq + 1, flags, window, options);
        send_bare(&mut self.out, tuple, path, service, &answer);
        self.out.mib.tcp.cookies_sent += 1;
    }

    /// Makes the connection whose request was answered by a cookie that `segment` brings back. Returns whether it does.
    pub(crate) fn on_cookie(
        &mut self,
        tuple: Tuple,
        (path, packet): (Path, &[u8]),
        listener: SocketId,
        segment: &TcpPacket<&[u8]>,
    ) -> bool {
        let now = slot_of(self.out.now);
        let is_sent = |slot: u32| self.tcp.last_cookie.is_some_and(|last| slot <= last);
        if !segment.ack() || segment.syn() || segment.rst() {
            return false;
        }
        let ours = segment.ack_number().0.cast_unsigned().wrapping_sub(1);
        let theirs = segment.seq_number().0.cast_unsigned().wrapping_sub(1);
        let index = ours >> 24 & 7;
        let slots = [now, now.wrapping_sub(1)].into_iter();
        let mut good = slots.filter(|&slot| is_sent(slot));
        if !good.any(|slot| self.cookie(&tuple, theirs, slot, index) == ours) {
            let is_recent = is_sent(now) || is_sent(now.wrapping_sub(1));
            self.out.mib.tcp.cookies_failed += u64::from(is_recent);
            return false;
        }
        let Some(Socket::Tcp(socket)) = self.sockets.get(listener) else {
            return false;
        };
        // While the queue is full the peer waits; it sends its segment again.
        if matches!(&socket.state, TcpState::Listening(queue) if queue.is_full()) {
            return true;
        }
        let Some(segment) = Segment::parse(segment.as_ref()) else {
            return false;
        };
        let opening = tyn_tcp::Handshake {
            ours: Seq(ours),
            theirs: Seq(theirs),
            window: segment.window,
            scale: None,
            mss: SIZES.get(index as usize).copied(),
            has_sack: false,
            timestamp: None,
        };
        let config = self.config_for(&tuple, path, &socket.options);
        self.out.mib.tcp.cookies_received += 1;
        let mut half = HalfOpen::new(
            listener,
            path,
            opening,
            config,
            &socket.options,
            tuple.remote.ip(),
        );
        half.see(packet);
        self.tcp.half_open.insert(tuple, half);
        self.establish(tuple, &segment);
        self.tcp.half_open.remove(&tuple);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_never_above_what_the_peer_said() {
        for (mss, index) in [
            (None, 0),
            (Some(100), 0),
            (Some(1219), 0),
            (Some(1460), 6),
            (Some(9000), 7),
        ] {
            assert_eq!(index_of(mss), index);
        }
        assert!(SIZES.is_sorted());
    }
}
