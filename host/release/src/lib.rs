//! From what people have (an OTP release, a container image, compiled modules) to an image that Tyn boots.
//!
//! [`Input`] tells what something is and makes an [`App`] of it. [`build`] adds what is to come with it ([`include`]), finds
//! the shared libraries that the ELF files need ([`libraries`]), derives from its own start scripts how it is started
//! (`start`, [`shell`], [`erl_args`]), and writes everything as one page-aligned archive ([`cpio`], format: `tyn_bootfmt`).
//! [`check`] tells whether a file is such an image, [`handover`] makes the second archive that goes with it when it is
//! started. All that Tyn knows about Erlang is here; the kernel knows nothing.
#![forbid(unsafe_code)]

pub mod beam;
mod build;
pub mod cpio;
pub mod elf;
mod elf_strip;
pub mod erl_args;
pub mod handover;
mod holes;
pub mod image;
pub mod include;
pub mod input;
pub mod inspect;
pub mod libraries;
mod limit;
mod os_mon;
pub mod otp;
pub mod recipe;
pub mod release;
pub mod sbom;
pub mod shell;
mod start;
pub mod sysroot;
mod system;
mod term;
pub mod tree;
mod walk;

pub use build::{BuildError, Built, Progress, Request, Taken, build, check_output};
pub use handover::{GuestFile, HandoverError, RunConfig};
pub use image::{Checked, ImageError, check};
pub use include::{Include, IncludeError};
pub use input::{App, Choices, Input, OpenError};
pub use limit::is_unnamed_pipe;
pub use recipe::Recipe;
pub use release::{Release, ReleaseError};
pub use start::{DISTRIBUTION_PORT, Given, StartError, given};
