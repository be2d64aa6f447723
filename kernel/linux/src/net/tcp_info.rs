//! `struct tcp_info` (`tcp(7)`, `include/uapi/linux/tcp.h`), as of Linux 6.2.

use alloc::vec::Vec;

use tyn_abi::Nanos;
use tyn_net::{Counters, Info, TcpInfo, TcpLife};

/// Size of the structure.
const SIZE: usize = 240;
/// `TCPI_OPT_TIMESTAMPS`, `TCPI_OPT_SACK`, `TCPI_OPT_WSCALE`.
const TIMESTAMPS: u8 = 1;
const SACK: u8 = 2;
const SCALE: u8 = 4;
/// `tcp_reordering`: segments that may be overtaken before one counts as lost.
const REORDERING: u32 = 3;
/// `TCP_INFINITE_SSTHRESH`.
const NO_THRESHOLD: u32 = 0x7fff_ffff;
/// What a socket says that never had a connection: time-out, segment, variation, initial window.
const FIRST_TIMEOUT_US: u32 = 1_000_000;
const FIRST_VARIATION_US: u32 = 250_000;
const FIRST_SEGMENT: u32 = 536;
const FIRST_WINDOW: u32 = 10;
/// `TCP_DELACK_MIN`.
const ACK_DELAY_US: u32 = 40_000;

/// The structure, with fields at their offsets.
struct Layout(Vec<u8>);

impl Layout {
    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        if let Some(to) = self.0.get_mut(at..at + N) {
            to.copy_from_slice(&bytes);
        }
    }

    fn words<const N: usize>(&mut self, at: usize, values: [u32; N]) {
        for (n, value) in values.into_iter().enumerate() {
            self.put(at + 4 * n, value.to_le_bytes());
        }
    }

    fn long(&mut self, at: usize, value: u64) {
        self.put(at, value.to_le_bytes());
    }
}

/// What took any time took a microsecond, as 0 means that it was not measured.
fn micros(time: Nanos) -> u32 {
    u32::try_from(time.0.div_ceil(1000)).unwrap_or(u32::MAX)
}

fn millis(time: Nanos) -> u32 {
    u32::try_from(time.0 / 1_000_000).unwrap_or(u32::MAX)
}

fn word(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Encodes what a socket tells.
pub(super) fn encode(of: &TcpInfo) -> Vec<u8> {
    let mut to = Layout(alloc::vec![0; SIZE]);
    to.put(0, [of.status as u8]);
    to.words(88, [REORDERING]);
    // Nothing holds the sender back to a rate.
    to.long(104, u64::MAX);
    to.long(112, u64::MAX);
    match &of.life {
        TcpLife::None => {
            to.words(8, [FIRST_TIMEOUT_US]);
            to.words(16, [FIRST_SEGMENT]);
            to.words(72, [FIRST_VARIATION_US, NO_THRESHOLD, FIRST_WINDOW]);
            to.words(148, [u32::MAX]);
        }
        TcpLife::Listening { queued, backlog } => {
            to.words(24, [word(*queued), word(*backlog)]);
            to.words(80, [FIRST_WINDOW]);
        }
        TcpLife::Connection { info, mtu } => {
            state(&mut to, info);
            estimates(&mut to, info, word(*mtu));
            counters(&mut to, &info.counters);
        }
    }
    to.0
}

fn state(to: &mut Layout, info: &Info) {
    let on = |is_on: bool, bit: u8| if is_on { bit } else { 0 };
    let options =
        on(info.has_timestamps, TIMESTAMPS) | on(info.has_sack, SACK) | on(info.has_scale, SCALE);
    let (peer_scale, own_scale) = info.scales;
    to.put(
        1,
        [
            info.congestion as u8,
            info.timeouts,
            info.probes,
            info.timeouts,
            options,
            peer_scale | (own_scale << 4),
        ],
    );
    to.words(
        8,
        [
            micros(info.timeout),
            ACK_DELAY_US,
            info.segment,
            info.peer_segment,
            info.unacknowledged,
            info.sacked,
            info.lost,
            info.repeated,
        ],
    );
    to.words(44, [millis(info.since_sent)]);
    to.words(
        52,
        [millis(info.since_received), millis(info.since_acknowledged)],
    );
}

fn estimates(to: &mut Layout, info: &Info, mtu: u32) {
    to.words(
        60,
        [
            mtu,
            info.receive_space,
            micros(info.rtt),
            micros(info.variation),
            info.threshold.unwrap_or(NO_THRESHOLD),
            info.window,
            info.offered,
        ],
    );
    to.words(96, [info.receive_space]);
    let least = match info.rtt {
        Nanos::ZERO => u32::MAX,
        _ => micros(info.least_rtt),
    };
    to.words(144, [info.unsent, least]);
    to.words(228, [info.peer_window, info.own_window]);
}

fn counters(to: &mut Layout, sums: &Counters) {
    to.words(100, [sums.repeated]);
    to.long(120, sums.bytes_acked);
    to.long(128, sums.bytes_received);
    to.words(136, [sums.segments_out, sums.segments_in]);
    to.words(152, [sums.data_segments_in, sums.data_segments_out]);
    to.words(192, [sums.delivered]);
    to.long(200, sums.bytes_sent);
    to.long(208, sums.bytes_repeated);
    to.words(216, [sums.twice, sums.reordered, sums.early]);
}
