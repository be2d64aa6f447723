//! The network stack as pure state: Ethernet and loopback interfaces, TCP, UDP and DHCP over smoltcp, sockets by
//! 4-tuple. Time, entropy and the device come as arguments; what happened comes back as values.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod device;
