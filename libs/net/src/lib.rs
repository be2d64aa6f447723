//! The network stack as pure state: Ethernet and loopback, ARP, IPv4, IPv6 with neighbour
//! discovery and autoconfiguration, UDP and DHCP over smoltcp, TCP over `tyn-tcp`, sockets by 4-tuple.
//!
//! Time, entropy and the network card come as arguments; what happened comes back as values ([`Wake`], [`ConfigEvent`]).
//! smoltcp does the protocols of ICMP and DHCP, unmodified, `tyn-tcp` that of a connection; finding the socket for a packet, listening, waiting for
//! neighbours, closing and timing out are ours. Start at [`stack`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod census;
mod checksum;
pub mod device;
mod dhcp;
mod errors;
mod extension;
mod fragment;
mod icmp;
mod input;
pub mod mib;
mod multicast;
mod ndisc;
mod neighbor;
pub mod netlink;
mod offload;
mod output;
mod ports;
mod reassembly;
mod routes;
mod secret;
mod shim;
mod slab;
pub mod stack;
mod tcp;
#[cfg(test)]
mod tests;
mod timer;
mod trouble;
pub mod types;
mod udp;
pub mod virtio;
mod wire;

pub use device::NetDevice;
pub use errors::{NetError, Origin, QueuedError, Trouble};
pub use fragment::MtuDiscovery;
pub use multicast::filter::{FilterMode, SourceChange, SourceFilter, most_sources};
pub use ports::EPHEMERAL;
pub use stack::{FreeMemory, Limits, Stack, StackConfig};
pub use tcp::info::{TcpInfo, TcpLife};
pub use tcp::stream::Take;
pub use tcp::{Seen, TcpOptions, TcpStatus};
pub use tyn_tcp::{Algorithm, Counters, Info};
pub use types::{
    Cidr, Cidr6, ConfigEvent, Ip6Config, IpConfig, Lease, Path, SocketId, Tuple, Wake, Wakes,
};
pub use udp::{Multicast, UdpOptions, UdpReceived, UdpSend};
