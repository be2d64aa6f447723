//! Segments that belong to no socket.

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};
use tyn_tcp::Outgoing;

use crate::output::Output;
use crate::stack::Stack;
use crate::tcp::connection::emit;
use crate::types::{Path, Tuple};
use crate::wire::{header_len, write_header};

/// A TCP segment with its IP header.
pub(crate) fn segment_len(tuple: &Tuple, repr: &TcpRepr<'_>) -> usize {
    header_len(tuple.remote.ip()) + repr.buffer_len()
}

/// Writes a TCP segment with its IP header to `packet` of [`segment_len`] bytes.
pub(crate) fn write_segment(
    packet: &mut [u8],
    tuple: &Tuple,
    ttl: u8,
    repr: &TcpRepr<'_>,
    checksums: &ChecksumCapabilities,
) {
    let (source, destination) = (tuple.local.ip(), tuple.remote.ip());
    let protocol = IpProtocol::Tcp;
    let payload = write_header(packet, source, destination, protocol, ttl, checksums);
    let mut tcp = TcpPacket::new_unchecked(payload);
    repr.emit(&mut tcp, &source.into(), &destination.into(), checksums);
}

/// Returns a segment without flags, options or data.
pub(crate) fn plain_segment(tuple: &Tuple, seq: u32, ack: Option<u32>) -> TcpRepr<'static> {
    TcpRepr {
        src_port: tuple.local.port(),
        dst_port: tuple.remote.port(),
        control: TcpControl::None,
        seq_number: TcpSeqNumber(seq.cast_signed()),
        ack_number: ack.map(|a| TcpSeqNumber(a.cast_signed())),
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    }
}

impl Stack {
    /// Sends a segment that belongs to no socket.
    pub(crate) fn send_segment(
        &mut self,
        tuple: &Tuple,
        path: Path,
        tos: u8,
        ttl: u8,
        repr: &TcpRepr<'_>,
    ) {
        let checksums = self.out.checksums(path);
        let fill = |packet: &mut [u8]| {
            write_segment(packet, tuple, ttl, repr, &checksums);
            Ok::<(), core::convert::Infallible>(())
        };
        let Ok(()) = self.out.emit(path, segment_len(tuple, repr), tos, fill);
    }

    /// Answers a segment for port 0, which nobody has, by a reset (RFC 9293 §3.10.7.1). smoltcp knows no such segments.
    pub(crate) fn refuse_port_zero(
        &mut self,
        path: Path,
        tuple: Tuple,
        segment: &TcpPacket<&[u8]>,
    ) {
        if segment.rst() || !self.out.routes.is_own(tuple.local.ip()) {
            return;
        }
        let (seq, ack) = if segment.ack() {
            (segment.ack_number(), None)
        } else {
            let end = segment.seq_number() + segment.segment_len();
            (TcpSeqNumber(0), Some(end))
        };
        let reset = TcpRepr {
            control: TcpControl::Rst,
            ..plain_segment(
                &tuple,
                seq.0.cast_unsigned(),
                ack.map(|end| end.0.cast_unsigned()),
            )
        };
        self.send_segment(&tuple, path, 0, 64, &reset);
    }
}

/// Sends a segment without data that belongs to no socket.
pub(crate) fn send_bare(
    out: &mut Output,
    tuple: &Tuple,
    path: Path,
    (tos, ttl): (u8, u8),
    segment: &Outgoing,
) {
    emit(out, tuple, path, (tos, ttl), segment, (&[], &[]));
}
