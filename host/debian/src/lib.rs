//! Debian packages through this machine's own apt: Erlang/OTP for releases that bring none ([`otp`]), sysroots and tools for
//! tests. apt checks signatures and checksums; nothing is installed unless a caller says so.
#![forbid(unsafe_code)]

mod apt;
pub mod command;
pub mod otp;

pub use apt::{Apt, Keys, ensure_files, ensure_program, unpack, unpack_source};
