//! TCP as pure state: one connection that takes segments and time in, and gives segments and deadlines out.
//!
//! No I/O, no clock, no demultiplexing, no listening: whoever owns a [`Connection`] finds it for a segment, hands the
//! segment to [`Connection::on_segment`], calls [`Connection::next_segment`] until it has nothing more to send, and
//! [`Connection::on_deadline`] when [`Connection::deadline`] has passed.
//!
//! | concept | module | by |
//! |---|---|---|
//! | sequence numbers | [`seq`] | RFC 9293 §3.4 |
//! | options, headers | [`options`], [`segment`] | RFC 9293 §3.1, 7323, 2018 |
//! | states and arriving segments | `input` | RFC 9293 §3.10.7, 5961 |
//! | what is sent next | `output` | RFC 9293 §3.8, 896, 1122 |
//! | segments that leave as one | `train` | |
//! | windows of both sides | `window` | RFC 9293 §3.8.6, 7323 §2 |
//! | received bytes | `receive`, [`ring`] | RFC 9293 §3.10.7.4 |
//! | bytes that came too early or twice | `islands`, `report` | RFC 2018, 2883 |
//! | sent segments | `board`, `recovery` | RFC 6675, 8985 |
//! | how much while losses are repaired | `prr` | RFC 6937 |
//! | losses that were none | `undo` | RFC 3522, 3708, 9438 §4.9 |
//! | round-trip time | `rtt` | RFC 6298 |
//! | congestion window | `congestion`, `usage` | RFC 9438, 5681, 6928, 7661 |
//! | timers | `timers` | RFC 6298, 8985 §7, 9293 §3.8.6 |
//! | what a program may ask | `info` | |
//! | path MTU | `path` | RFC 1191, 8201 |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod board;
mod congestion;
mod connection;
mod info;
mod input;
mod islands;
pub mod options;
mod output;
mod path;
mod prr;
mod receive;
mod recovery;
mod report;
pub mod ring;
mod rtt;
pub mod segment;
pub mod seq;
#[cfg(test)]
mod tests;
mod timers;
mod train;
mod undo;
mod usage;
mod user;
mod window;

pub use congestion::Algorithm;
pub use connection::{Config, Connection, End, Handshake, Policy, State};
pub use info::{Congestion, Counters, Info};
pub use output::Outgoing;
pub use segment::{Flags, Segment};
pub use seq::Seq;
