//! Hardware abstraction layer: the only crate of the kernel that may use `unsafe`.
//!
//! Everything above it is safe Rust: it owns frames, page tables, tasks and interrupts as values whose types
//! make misuse impossible or whose constructors check it.
//!
//! # Safety
//! Blanket facts which SAFETY comments refer to by name:
//! - **ring 0**: this code only runs at CPL 0 on x86-64, entered through `arch/x86_64/boot.S`.
//! - **direct map**: all RAM is mapped, writable and non-executable, at [`mem::DIRECT_MAP`] + physical address,
//!   in every address space, for ever.
//! - **IF=0**: interrupts are disabled in ring 0, except in the idle `sti; hlt` and where they are asked for
//!   ([`cpu::take_interrupts`]). Other ring-0 code is never interrupted,
//!   so a spinlock is never taken twice by an interrupt handler and prebuilt `core`'s red zone is safe.
//! - **no vectors**: the kernel is compiled without vector registers and computes with no floating-point numbers
//!   (docs/design/0015), so these registers are the running task's all the time and are switched with it. Each linked kernel is
//!   searched for instructions that use them (`xtask/src/kernel/vectors.rs`).
//! - **user window**: ring-0 accesses to user addresses happen only in the assembly of [`user`], which has a
//!   fix-up for each access.
#![no_std]
#![deny(clippy::float_arithmetic)]
#![cfg_attr(
    not(feature = "entry"),
    allow(
        dead_code,
        reason = "without the boot entry (host tests, checks of the crates above) much of hal has no caller"
    )
)]

extern crate alloc;

mod acpi;
mod arch;
pub mod boot;
pub mod cpu;
mod cpu_local;
pub mod irq;
pub mod mem;
mod panic;
pub mod power;
pub mod random;
#[cfg(feature = "selftest")]
pub mod selftest;
pub mod sync;
pub mod task;
pub mod time;
pub mod trap;
pub mod user;
pub mod vdso;
