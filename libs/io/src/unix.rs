//! Local sockets (`unix(7)`): addresses, connections, datagram inboxes and listeners.
//!
//! A message may carry rights of type `R` (open files); what must be dropped is handed to the caller, who does it outside
//! any lock, since dropping a right may close a file that holds messages itself.

mod address;
mod connection;
mod garbage;
mod inbox;
mod listener;
mod queue;

pub use address::Address;
pub use connection::{Connection, ConnectionKind, Shutdown, Side};
pub use garbage::{Suspect, unreceivable};
pub use inbox::{Datagram, Inbox};
pub use listener::Backlog;
pub use queue::{Credentials, DEFAULT_BUFFER, Received, Take};
