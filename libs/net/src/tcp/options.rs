//! Options of sockets.

use core::net::IpAddr;

use tyn_abi::Nanos;
use tyn_tcp::Algorithm;

use crate::errors::{Origin, is_asked_for};
use crate::fragment::MtuDiscovery;
use crate::routes::Wish;
use crate::types::Path;

/// Options of a TCP socket (`tcp(7)`, `socket(7)`, `ip(7)`). Accepted connections inherit them from the listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TcpOptions {
    /// `SO_REUSEADDR`.
    pub reuses_address: bool,
    /// `SO_REUSEPORT`: connections are spread over all who listen so.
    pub reuses_port: bool,
    /// `SO_BINDTODEVICE`: packets go and come by this interface alone.
    pub device: Option<Path>,
    /// `SO_DONTROUTE`: no router is used to reach hosts of IPv4.
    pub avoids_routers: bool,
    /// `IP_FREEBIND`, `IP_TRANSPARENT`: it may be bound to an address that is not ours.
    pub binds_freely: bool,
    /// `IP_MINTTL`, `IPV6_MINHOPCOUNT`: packets that come with less are dropped (RFC 5082).
    pub least_ttl: [u8; 2],
    /// `SO_KEEPALIVE`.
    pub keeps_alive: bool,
    /// `TCP_KEEPIDLE`: silence before the first probe.
    pub keep_idle: Nanos,
    /// `TCP_KEEPINTVL`: time between probes.
    pub keep_interval: Nanos,
    /// `TCP_KEEPCNT`: unanswered probes after which the peer is gone.
    pub keep_count: u8,
    /// `TCP_NODELAY`: do not hold back small segments.
    pub no_delay: bool,
    /// `TCP_CORK`: hold back what fills no segment.
    pub is_corked: bool,
    /// `TCP_USER_TIMEOUT`: how long sent data may stay unacknowledged; zero is the default of about 15 minutes.
    pub user_timeout: Nanos,
    /// `SO_LINGER`, in seconds; zero closes by a reset.
    pub linger: Option<u32>,
    /// `IP_RECVERR` and `IPV6_RECVERR`: errors of either are told at once, and queued.
    pub asks_for_errors: [bool; 2],
    /// `IP_MTU_DISCOVER` and `IPV6_MTU_DISCOVER`.
    pub mtu_discovery: [MtuDiscovery; 2],
    /// `IPV6_V6ONLY`: `::` does not stand for IPv4 as well.
    pub is_v6_only: bool,
    /// `IP_TOS`.
    pub tos: u8,
    /// `IPV6_TCLASS`.
    pub traffic_class: u8,
    /// `IP_TTL`, `IPV6_UNICAST_HOPS`, never 0.
    pub ttl: u8,
    /// Bytes that the receive queue may hold; takes effect when a connection is made.
    pub receive_buffer: u32,
    /// The same for the send queue.
    pub send_buffer: u32,
    /// What they may grow to when both the program and the network are fast.
    pub receive_most: u32,
    /// The same for the send queue.
    pub send_most: u32,
    /// `SO_RCVLOWAT`: bytes that make the socket readable.
    pub low_water: u32,
    /// `TCP_SYNCNT`: how often a SYN is sent again, and a SYN|ACK of a listener; 0 for Linux's defaults.
    pub syn_retries: u8,
    /// `TCP_LINGER2`: seconds that a closed socket waits for the peer's FIN, 0 for Linux's default; `None` resets instead.
    pub fin_timeout: Option<u8>,
    /// `TCP_DEFER_ACCEPT`: time-outs of a request that a listener waits for its data. A connection that is made lets its
    /// acknowledgement wait for data if this is not 0.
    pub defers: u8,
    /// `TCP_QUICKACK`, switched off: acknowledgements of connections made from now on wait for company.
    pub delays_acks: bool,
    /// Which headers are noted of what arrives by IPv6 (`IPV6_RECVPKTINFO`, `IPV6_RECVHOPLIMIT`, `IPV6_RECVTCLASS`).
    pub notes: [bool; 3],
    /// `TCP_MAXSEG`: segments that connections made from now on may have at most, both ways.
    pub longest_segment: Option<u16>,
    /// `TCP_CONGESTION`.
    pub algorithm: Algorithm,
    /// `TCP_THIN_LINEAR_TIMEOUTS`.
    pub is_thin: bool,
    /// `TCP_WINDOW_CLAMP`; 0 for as much as there is room for.
    pub window_clamp: u32,
    /// `TCP_NOTSENT_LOWAT`; 0 for as much as the queue holds.
    pub unsent_low: u32,
    /// `TCP_FASTOPEN`: how many requests with data may wait. It is kept; such requests are answered as those without.
    pub fast_open: u32,
}

/// How often a SYN is sent again (`tcp_syn_retries`), and the greatest time-out in seconds (`TCP_RTO_MAX`).
const SYN_RETRIES: u8 = 6;
const LONGEST_TIME_OUT: u64 = 120;

/// The least and the greatest capacity of a queue.
const BUFFER_RANGE: core::ops::RangeInclusive<usize> = 2048..=4 << 20;

impl TcpOptions {
    /// Returns the defaults of Linux, with queues of the given capacity.
    #[must_use]
    pub const fn new(buffer: usize) -> Self {
        let size = if buffer > u32::MAX as usize {
            u32::MAX
        } else {
            buffer as u32
        };
        Self {
            reuses_address: false,
            reuses_port: false,
            device: None,
            avoids_routers: false,
            asks_for_errors: [false; 2],
            mtu_discovery: [MtuDiscovery::Want; 2],
            is_corked: false,
            binds_freely: false,
            least_ttl: [0; 2],
            keeps_alive: false,
            keep_idle: Nanos(7200 * Nanos::PER_SEC),
            keep_interval: Nanos(75 * Nanos::PER_SEC),
            keep_count: 9,
            no_delay: false,
            user_timeout: Nanos::ZERO,
            linger: None,
            is_v6_only: false,
            tos: 0,
            traffic_class: 0,
            ttl: 64,
            receive_buffer: size,
            send_buffer: size,
            receive_most: size,
            send_most: size,
            low_water: 1,
            syn_retries: 0,
            fin_timeout: Some(0),
            defers: 0,
            delays_acks: false,
            notes: [false; 3],
            longest_segment: None,
            algorithm: Algorithm::Cubic,
            is_thin: false,
            window_clamp: 0,
            unsent_low: 0,
            fast_open: 0,
        }
    }

    /// Returns what an accepted connection has of its listener's.
    pub(crate) fn inherited(&self) -> Self {
        Self {
            defers: 0,
            delays_acks: false,
            fast_open: 0,
            ..self.clone()
        }
    }

    pub(crate) fn is_error_asked_for(&self, origin: Origin) -> bool {
        is_asked_for(self.asks_for_errors, origin == Origin::Icmp6)
    }

    pub(crate) fn wish(&self) -> Wish {
        Wish {
            device: self.device,
            avoids_routers: self.avoids_routers,
        }
    }

    pub(crate) fn discovery(&self, address: IpAddr) -> MtuDiscovery {
        let [v4, v6] = self.mtu_discovery;
        if address.is_ipv4() { v4 } else { v6 }
    }

    /// Returns for how long a SYN is repeated: each time-out is twice the one before, up to two minutes.
    pub(crate) fn connects_for(&self) -> Nanos {
        let retries = match self.syn_retries {
            0 => SYN_RETRIES,
            chosen => chosen,
        };
        let time_out = |n: u8| (1 << n.min(7)).min(LONGEST_TIME_OUT);
        let seconds: u64 = (0..=retries).map(time_out).sum();
        Nanos(seconds * Nanos::PER_SEC)
    }

    /// Returns what the header of packets to `address` says of the service.
    pub(crate) fn service(&self, address: IpAddr) -> u8 {
        match address {
            IpAddr::V4(_) => self.tos,
            IpAddr::V6(_) => self.traffic_class,
        }
    }

    pub(crate) fn most_window(&self) -> usize {
        match self.window_clamp {
            0 => usize::MAX,
            clamp => clamp as usize,
        }
    }

    /// Returns what the queues may hold at first and in the end, within what we allow: received bytes, bytes to send.
    pub(crate) fn buffers(&self) -> ((usize, usize), (usize, usize)) {
        let clamp = |n: u32| (n as usize).clamp(*BUFFER_RANGE.start(), *BUFFER_RANGE.end());
        let pair = |first: u32, most: u32| (clamp(first), clamp(most).max(clamp(first)));
        (
            pair(self.receive_buffer, self.receive_most),
            pair(self.send_buffer, self.send_most),
        )
    }
}
