//! What the host tool and the kernel must agree on: where the start description of an image lies and how
//! it is written, and the kernel's command-line options.
//!
//! An image (`app.img`) is a cpio "newc" archive whose file data begins on 4096-byte boundaries, counted from
//! the start of the archive (names are padded with NUL bytes, as Linux's `gen_init_cpio -a` does), and whose
//! total length is a multiple of 4096, so that archives can be concatenated and mapped in place. Later
//! archives override files of earlier ones. Long runs of zeros within a file may be left out; a list in the
//! padding of its name says where (`tyn_fs::holes`).
//!
//! These files say what to start. All are sequences of records, each ended by a NUL byte:
//! - [`INIT_PATH`], in the image: a first record `tyn-init 2`, then `arg=…` (argv, in order; the first is also
//!   the path of the program), `env=NAME=VALUE`, `cwd=PATH`, `hostname=NAME`; and for each program that is started beside
//!   it `daemon=PATH`, followed by its `daemon-arg=…`.
//! - [`INTERACTIVE_PATH`], optional: the same for a start with somebody at the console. Tools read it, the kernel does not;
//!   nor does it read [`INTERACTIVE_FILES_PATH`], a compressed archive of what such a start needs besides.
//! - [`RUN_PATH`], optional, in a small second archive made when the guest starts: first record `tyn-run 1`,
//!   then `env=NAME=VALUE` records that override those of the image, and `arg=…` records that replace its arguments
//!   and, with `daemon=…`, what is started beside it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod contract;
pub mod options;
pub mod start;

pub use start::{BadStart, Init, Run};

/// Path of the start description inside the image.
pub const INIT_PATH: &str = "/.tyn/init";
/// Path of the start description for an interactive start, whose arguments a tool hands over at run time.
pub const INTERACTIVE_PATH: &str = "/.tyn/interactive";
/// Path of a gzip-compressed archive that a tool puts between the image and the run-time configuration for an interactive
/// start.
pub const INTERACTIVE_FILES_PATH: &str = "/.tyn/interactive.cpio.gz";
/// Path of a gzip-compressed archive that a tool puts there for a start whose daemons are not in the image otherwise.
pub const DAEMON_FILES_PATH: &str = "/.tyn/daemons.cpio.gz";
/// Path of the run-time configuration, in an archive appended when the guest starts.
pub const RUN_PATH: &str = "/.tyn/run";
/// Alignment of file data inside an archive, and of the archive's own length, in bytes.
pub const DATA_ALIGN: usize = 4096;
