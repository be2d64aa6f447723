//! From the folder of an OTP release to an image that Tyn boots.
//!
//! [`build`] reads a [`Release`], adds what is to come with it ([`include`]), finds the shared libraries that the ELF files
//! need ([`libraries`]), translates `vm.args` ([`erl_args`]), and writes everything as one page-aligned archive ([`cpio`], format: `tyn_bootfmt`).
//! [`check`] tells whether a file is such an image, [`handover`] makes the second archive that goes with it when it is started. All that Tyn knows about Erlang is here; the kernel knows nothing.
#![forbid(unsafe_code)]

pub mod cpio;
pub mod elf;
pub mod erl_args;
pub mod handover;
pub mod image;
pub mod include;
pub mod inspect;
pub mod libraries;
pub mod release;
mod start;
pub mod sysroot;
mod system;
pub mod tree;

pub use handover::{GuestFile, HandoverError, RunConfig};
pub use image::{BuildError, Built, Checked, ImageError, Progress, Request, build, check};
pub use include::{Include, IncludeError};
pub use release::{Release, ReleaseError};
