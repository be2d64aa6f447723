//! `SO_BINDTODEVICE` (`socket(7)`): a socket that has to do with one interface alone.

use alloc::vec::Vec;

use tyn_abi::Errno;
use tyn_net::Path;

use super::inet::{InetSocket, Protocol};
use super::{adjust, inspect};

/// Room that the caller must have for a name, NUL included.
const IFNAMSIZ: usize = 16;

/// Answers `getsockopt(2)`: the name with its NUL, or nothing.
///
/// # Errors
/// `EINVAL` where a name might not fit.
pub(super) fn get(socket: &InetSocket, room: usize) -> Result<Vec<u8>, Errno> {
    let device = inspect(|stack| match socket.protocol {
        Protocol::Tcp => stack.tcp_options(socket.id).map(|o| o.device),
        Protocol::Udp => stack.udp_options(socket.id).map(|o| o.device),
    })?;
    if device.is_some() && room < IFNAMSIZ {
        return Err(Errno::EINVAL);
    }
    Ok(match device {
        None => Vec::new(),
        Some(Path::Loopback) => b"lo\0".to_vec(),
        Some(Path::Nic) => b"eth0\0".to_vec(),
    })
}

/// Answers `setsockopt(2)`: no name unbinds.
///
/// # Errors
/// `ENODEV`.
pub(super) fn set(socket: &InetSocket, name: &[u8]) -> Result<(), Errno> {
    let name = name.get(..IFNAMSIZ - 1).unwrap_or(name);
    let name = name.split(|b| *b == 0).next().unwrap_or_default();
    adjust(|stack| {
        let device = match name {
            b"" => None,
            b"lo" => Some(Path::Loopback),
            b"eth0" if stack.has_card() => Some(Path::Nic),
            _ => return Err(Errno::ENODEV),
        };
        match socket.protocol {
            Protocol::Tcp => stack.tcp_change_options(socket.id, |o| o.device = device),
            Protocol::Udp => stack.udp_change_options(socket.id, |o| o.device = device),
        }
    })
}
