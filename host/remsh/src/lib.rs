//! A remote shell into an Erlang node, without an Erlang of our own: what `erl -remsh` and `iex --remsh` do.
//!
//! ```text
//!  terminal ── Editor ──┐                                           node
//!   (lines, history,    ├── Session ── I/O protocol ──┐             shell process (`shell:start/0`, `IEx.start/0`):
//!    completion)        │   (its group leader)        ├── Peer ──── we are its group leader
//!                       └── calls (`rex`) ────────────┘             `rex`: scans expressions, completes words for us
//! ```
//! We are a hidden node of Erlang's distribution and start the node's own shell with a process of ours as its group leader.
//! That is the documented part of how Erlang's shells talk to terminals ("The Erlang I/O-protocol" in stdlib's user's guide), the
//! same in every release of OTP; lines are edited here. What only Erlang can do, such as finding the end of an expression, the
//! node does when it is called.
#![forbid(unsafe_code)]

mod editor;
mod frames;
mod peer;
mod protocol;
mod session;
mod term;

pub use peer::{Address, PeerError, port_of};
pub use session::{End, Signals, run};
