//! IPv6 over the card: neighbours find each other, a router's announcement gives the guest an address. Datagrams that Linux
//! sends in pieces are put together, of IPv4, too.
//!
//! The example serves IPv4 alone. That nobody listens is told by the guest's stack, so a refusal is an answer.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::flood::{GUEST_MAC, OUR_MAC, Wire, checksum, sum};
use super::tap::Tap;
use super::{Guest, Options, Wiring};
use crate::lab::Lab;

/// The network that the router announces.
const NETWORK: [u16; 4] = [0xfd78, 0, 0, 1];
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Length of a datagram that the wire does not take whole.
const IN_PIECES: usize = 4000;
/// A port on which nobody listens.
const PORT: u16 = 7;
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Returns the address of a network that the guest makes from its hardware address.
fn guest_in([a, b, c, d]: [u16; 4]) -> Ipv6Addr {
    let [m0, m1, m2, m3, m4, m5] = GUEST_MAC.map(u16::from);
    let (e, f) = ((m0 ^ 2) << 8 | m1, m2 << 8 | 0xff);
    Ipv6Addr::new(a, b, c, d, e, f, 0xfe00 | m3, m4 << 8 | m5)
}

/// Builds a router's announcement of [`NETWORK`]; the router itself leads nowhere.
fn announcement() -> Vec<u8> {
    let mut icmp = vec![134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    icmp.extend([
        3, 4, 64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0,
    ]);
    let [a, b, c, d] = NETWORK;
    icmp.extend(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).octets());
    let pseudo = sum(&ROUTER.octets()) + sum(&ALL_NODES.octets()) + 58 + icmp.len() as u32;
    let check = checksum(pseudo + sum(&icmp));
    if let Some(place) = icmp.get_mut(2..4) {
        place.copy_from_slice(&check);
    }
    let length = (icmp.len() as u16).to_be_bytes();
    let mut frame = vec![0x33, 0x33, 0, 0, 0, 1];
    frame.extend(OUR_MAC);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, length[0], length[1], 58, 255]);
    frame.extend(ROUTER.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(icmp);
    frame
}

/// Waits until the guest refuses a connection, and a datagram, and one that comes in pieces.
fn refused_at(address: SocketAddr) -> Result<()> {
    let start = Instant::now();
    loop {
        match TcpStream::connect_timeout(&address, LIMIT) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => break,
            Ok(_) => anyhow::bail!("somebody listens at {address}"),
            Err(error) => ensure!(start.elapsed() < LIMIT, "connecting to {address}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let any = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(LIMIT))?;
    for len in [7, IN_PIECES] {
        socket.send(&vec![b'?'; len])?;
        let answer = socket.recv(&mut [0; 8]);
        ensure!(
            answer
                .as_ref()
                .is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused),
            "a datagram of {len} bytes to {address}: {answer:?}"
        );
    }
    Ok(())
}

/// Reaches the guest by its link-local address, then by one of the network that a router announces.
///
/// # Errors
/// When it can't be reached.
pub(super) fn neighbours(lab: &Lab, options: &Options) -> Result<()> {
    let guest = Guest::boot(lab, options, Wiring::Wire)?;
    let [a, b, c, d] = NETWORK;
    guest.tap.add_v6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 1))?;
    let local = guest_in([0xfe80, 0, 0, 0]);
    let local = SocketAddrV6::new(local, PORT, 0, guest.tap.index()?);
    guest.explain(refused_at(local.into()))?;
    guest.explain(refused_at(Tap::guest(PORT)))?;
    let wire: &Wire = guest.wire.as_ref().context("the guest has a wire")?;
    wire.send(&announcement())?;
    let global = SocketAddr::from((guest_in(NETWORK), PORT));
    guest.explain(refused_at(global))?;
    guest.shut_down()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_address_comes_from_its_card() {
        let address = guest_in([0xfe80, 0, 0, 0]);
        assert_eq!(address.to_string(), "fe80::5054:ff:fe12:3456");
        let frame = announcement();
        let icmp = &frame[54..];
        let pseudo = sum(&frame[22..54]) + 58 + icmp.len() as u32;
        assert_eq!(checksum(pseudo + sum(icmp)), [0, 0]);
    }
}
