//! The `ioctl(2)` calls that ask for interfaces (`netdevice(7)`), which every socket answers.

use alloc::vec::Vec;

use tyn_abi::socket::AF_INET;
use tyn_abi::{Errno, UserVa};
use tyn_net::netlink::InterfaceInfo;

use super::inspect;
use crate::cx::SysResult;
use crate::user_io;

const SIOCGIFNAME: u32 = 0x8910;
const SIOCGIFCONF: u32 = 0x8912;
const SIOCGIFFLAGS: u32 = 0x8913;
const SIOCGIFADDR: u32 = 0x8915;
const SIOCGIFDSTADDR: u32 = 0x8917;
const SIOCGIFBRDADDR: u32 = 0x8919;
const SIOCGIFNETMASK: u32 = 0x891b;
const SIOCGIFMETRIC: u32 = 0x891d;
const SIOCGIFMTU: u32 = 0x8921;
const SIOCGIFHWADDR: u32 = 0x8927;
const SIOCGIFINDEX: u32 = 0x8933;
const SIOCGIFTXQLEN: u32 = 0x8942;
const SIOCGIFMAP: u32 = 0x8970;
/// Size of `struct ifreq`, and of the name in it.
const IFREQ: usize = 40;
const IFNAMSIZ: usize = 16;
/// `struct ifconf`: a length, padding, a pointer.
const IFCONF_POINTER: u64 = 8;
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;
/// What `SIOCGIFTXQLEN` says of interfaces that don't say it themselves (`DEFAULT_TX_QUEUE_LEN` of Linux).
const QUEUE_LENGTH: u32 = 1000;
/// Size of `struct ifmap` without its padding, which is about hardware with addresses to set.
const IFMAP: usize = 21;
/// `IFF_UP | IFF_RUNNING`, and what the kinds have besides.
const UP: u16 = 0x41;
const IFF_LOOPBACK: u16 = 0x8;
const IFF_BROADCAST_MULTICAST: u16 = 0x1002;

fn socket_address(octets: [u8; 4]) -> Vec<u8> {
    let mut bytes = AF_INET.to_le_bytes().to_vec();
    bytes.extend([0; 2]);
    bytes.extend(octets);
    bytes.resize(16, 0);
    bytes
}

fn request(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(IFNAMSIZ, 0);
    bytes
}

/// Answers a call; `None` for one that is not about interfaces. Only a socket of `AF_INET` knows their IPv4 addresses.
pub(crate) fn ioctl(knows_v4: bool, request_code: u32, arg: UserVa) -> Option<SysResult> {
    let is_ours = matches!(
        request_code,
        SIOCGIFNAME
            | SIOCGIFCONF
            | SIOCGIFFLAGS
            | SIOCGIFADDR
            | SIOCGIFDSTADDR
            | SIOCGIFBRDADDR
            | SIOCGIFNETMASK
            | SIOCGIFMETRIC
            | SIOCGIFMTU
            | SIOCGIFHWADDR
            | SIOCGIFINDEX
            | SIOCGIFTXQLEN
            | SIOCGIFMAP
    );
    if !is_ours {
        return None;
    }
    let asks_for_v4 = matches!(
        request_code,
        SIOCGIFADDR | SIOCGIFDSTADDR | SIOCGIFBRDADDR | SIOCGIFNETMASK
    );
    if asks_for_v4 && !knows_v4 {
        return Some(Err(Errno::ENOTTY));
    }
    let interfaces = inspect(tyn_net::Stack::interfaces);
    Some(match request_code {
        SIOCGIFCONF => list(&interfaces, arg),
        SIOCGIFNAME => name_of(&interfaces, arg),
        _ => one(&interfaces, request_code, arg),
    })
}

/// Fills a `struct ifconf`: the interfaces that have an IPv4 address.
fn list(interfaces: &[InterfaceInfo], arg: UserVa) -> SysResult {
    let room = user_io::read_u32(arg)?.cast_signed();
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let pointer = user_io::read_bytes::<8>(arg.wrapping_add(IFCONF_POINTER))?;
    let buffer = UserVa(u64::from_le_bytes(pointer));
    let mut all = Vec::new();
    for interface in interfaces {
        let Some(cidr) = interface.address else {
            continue;
        };
        let mut entry = request(interface.name);
        entry.extend(socket_address(cidr.address.octets()));
        entry.resize(IFREQ, 0);
        all.extend(entry);
    }
    // Without a buffer the length that would do is asked for.
    if !buffer.is_null() {
        let whole = room.min(all.len()) / IFREQ * IFREQ;
        all.truncate(whole);
        user_io::write_bytes(buffer, &all)?;
    }
    user_io::write_bytes(arg, &(all.len() as u32).to_le_bytes())?;
    Ok(0)
}

fn name_of(interfaces: &[InterfaceInfo], arg: UserVa) -> SysResult {
    let index = user_io::read_u32(arg.wrapping_add(IFNAMSIZ as u64))?;
    let named = interfaces.iter().find(|i| i.index == index);
    let named = named.ok_or(Errno::ENODEV)?;
    user_io::write_bytes(arg, &request(named.name))?;
    Ok(0)
}

fn one(interfaces: &[InterfaceInfo], request_code: u32, arg: UserVa) -> SysResult {
    let name = user_io::read_bytes::<IFNAMSIZ>(arg)?;
    let name = name.split(|b| *b == 0).next().unwrap_or_default();
    let interface = interfaces.iter().find(|i| i.name.as_bytes() == name);
    let interface = interface.ok_or(Errno::ENODEV)?;
    let address = || interface.address.ok_or(Errno::EADDRNOTAVAIL);
    let value = match request_code {
        SIOCGIFADDR | SIOCGIFDSTADDR => socket_address(address()?.address.octets()),
        SIOCGIFNETMASK => socket_address(address()?.mask().octets()),
        SIOCGIFBRDADDR => {
            let broadcast = address()?.broadcast().filter(|_| !interface.is_loopback);
            socket_address(broadcast.map_or([0; 4], |b| b.octets()))
        }
        SIOCGIFFLAGS => {
            let kind = if interface.is_loopback {
                IFF_LOOPBACK
            } else {
                IFF_BROADCAST_MULTICAST
            };
            (UP | kind).to_le_bytes().to_vec()
        }
        SIOCGIFMETRIC => 0u32.to_le_bytes().to_vec(),
        SIOCGIFTXQLEN => QUEUE_LENGTH.to_le_bytes().to_vec(),
        SIOCGIFMAP => alloc::vec![0; IFMAP],
        SIOCGIFMTU => interface.mtu.to_le_bytes().to_vec(),
        SIOCGIFHWADDR => {
            let kind = if interface.is_loopback {
                ARPHRD_LOOPBACK
            } else {
                ARPHRD_ETHER
            };
            let mut value = kind.to_le_bytes().to_vec();
            value.extend(interface.mac);
            value.resize(16, 0);
            value
        }
        _ => interface.index.to_le_bytes().to_vec(),
    };
    user_io::write_bytes(arg.wrapping_add(IFNAMSIZ as u64), &value)?;
    Ok(0)
}
