//! Running programs: `execve(2)`, and the first process with its daemons.
//!
//! The new address space is built aside ([`load`]); until it is complete nothing of the old program is touched, so every
//! error goes back to the caller. Then the point of no return ([`replace`]): the other threads end, the address space is
//! swapped, and what does not outlive an exec is reset.

mod file;
mod init;
mod load;
mod program;
mod replace;

pub(crate) use file::{check_executable, open_executable};
pub use init::{load_init, start_daemon};
use program::Program;
pub(crate) use replace::execute;
