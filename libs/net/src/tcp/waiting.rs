//! Requests that are complete and wait for room in the queue of their listener.

use tyn_tcp::options::Options;
use tyn_tcp::{Flags, Segment};

use crate::stack::{Socket, Stack};
use crate::tcp::TcpState;
use crate::types::{SocketId, Tuple};

impl Stack {
    /// Lets a request that is complete wait for room in its listener's queue.
    pub(super) fn wait(&mut self, tuple: Tuple) {
        self.out.mib.tcp.listen_overflows += 1;
        self.out.mib.tcp.listen_drops += 1;
        let Some(half) = self.tcp.half_open.get_mut(&tuple) else {
            return;
        };
        // Its timer goes on: as many wait as there may be requests, and no longer than others.
        if core::mem::replace(&mut half.is_waiting, true) {
            return;
        }
        if let Some(Socket::Tcp(l)) = self.sockets.get_mut(half.listener)
            && let TcpState::Listening(listener) = &mut l.state
        {
            listener.waiting.push_back(tuple);
        }
    }

    /// Establishes requests that waited for room in a listener's queue.
    pub(crate) fn establish_waiting(&mut self, listener: SocketId) {
        while self.has_memory() {
            let Some(Socket::Tcp(l)) = self.sockets.get_mut(listener) else {
                return;
            };
            let TcpState::Listening(queue) = &mut l.state else {
                return;
            };
            if queue.is_full() {
                return;
            }
            let Some(tuple) = queue.waiting.pop_front() else {
                return;
            };
            let Some(half) = self.tcp.half_open.get_mut(&tuple) else {
                continue;
            };
            if !half.is_waiting {
                // Another request of the same peer, which it has not acknowledged.
                continue;
            }
            half.is_waiting = false;
            // What the peer sent then, without its data: it will send these again.
            let opening = &half.opening;
            let segment = Segment {
                seq: opening.theirs + 1,
                ack: opening.ours + 1,
                flags: Flags::ACK,
                window: opening.window >> opening.scale.unwrap_or(0).min(14),
                options: Options::default(),
                payload: &[],
            };
            self.establish(tuple, &segment);
            // What is not acceptable would be so again.
            if self
                .tcp
                .half_open
                .get(&tuple)
                .is_some_and(|h| !h.is_waiting)
            {
                self.forget_half_open(&tuple);
            }
        }
    }
}
