//! The tool as its users see it: what each command prints and how it ends, without a guest or with one of a few bytes.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../../../vm/src/vm/mini_kernel.rs"]
mod mini_kernel;

#[cfg(test)]
mod background;
mod bench;
#[cfg(test)]
mod build;
#[cfg(test)]
mod colours;
#[cfg(test)]
mod container;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod goldens;
#[cfg(test)]
mod image;
#[cfg(test)]
mod inspect;
#[cfg(test)]
mod interrupted;
mod pty;
#[cfg(test)]
mod run;
mod tarball;
