//! Ways from ring 3 into the kernel and back.

use tyn_abi::{Access, Nanos, UserVa};
use tyn_hal::cpu::CpuId;
use tyn_hal::selftest::{self, DATA, Program};
use tyn_hal::trap::{Regs, Trap, UserContext};
use tyn_hal::{time, user};

use crate::check::{Outcome, ensure, need, same};
use crate::cpus::in_thread;
use crate::space::{self, READ, Space, run, run_to_syscall};

const BOOT_CPU: CpuId = CpuId(0);
const CF: u64 = 1;
const TF: u64 = 0x100;
const IF: u64 = 0x200;
const DF: u64 = 0x400;
const IOPL: u64 = 0x3000;
const NT: u64 = 0x4000;
const RF: u64 = 0x1_0000;
const AC: u64 = 0x4_0000;

/// A different value for each register but RSP, RIP and the flags.
fn pattern(regs: &mut Regs, seed: u64) {
    let mut value = seed;
    for register in [
        &mut regs.rbx,
        &mut regs.rcx,
        &mut regs.rdx,
        &mut regs.rsi,
        &mut regs.rdi,
        &mut regs.rbp,
        &mut regs.r8,
        &mut regs.r9,
        &mut regs.r10,
        &mut regs.r11,
        &mut regs.r12,
        &mut regs.r13,
        &mut regs.r14,
        &mut regs.r15,
    ] {
        value = value
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(0x1234_5677);
        *register = value;
    }
    regs.rax = 0;
}

/// A system call changes RCX and R11 only, also when it returns thousands of times.
pub(super) fn syscall_keeps_registers() -> Outcome {
    let space = Space::new()?;
    in_thread(BOOT_CPU, move |_| {
        space.activate();
        let mut context = space::start(Program::Syscall);
        pattern(&mut context.regs, 1);
        for _ in 0..2000 {
            let before = context.regs;
            run_to_syscall(&mut context)?;
            let after = Regs {
                rip: space::entry(Program::Syscall) + 2,
                rcx: space::entry(Program::Syscall) + 2,
                r11: before.rflags,
                ..before
            };
            same("registers after a system call", context.regs, after)?;
        }
        Ok(())
    })?
}

/// What the kernel puts into the registers arrives, RCX and R11 too, whatever the way in was: as after `rt_sigreturn(2)`.
pub(super) fn registers_survive_every_entry() -> Outcome {
    let space = Space::new()?;
    in_thread(BOOT_CPU, move |_| {
        space.activate();
        for (seed, way_in) in [
            None,
            Some(Program::Syscall),
            Some(Program::Breakpoint),
            Some(Program::Spin),
            Some(Program::Read),
        ]
        .into_iter()
        .enumerate()
        {
            let mut context = space::start(way_in.unwrap_or(Program::Store));
            if way_in == Some(Program::Spin) {
                time::set_timer(Some(Nanos(time::now().0 + 200_000)));
            }
            if way_in.is_some() {
                context.run();
            }
            pattern(&mut context.regs, seed as u64 + 2);
            context.regs.rip = space::entry(Program::Store);
            context.regs.rflags |= CF;
            // A fault sets RF, which is not handed back.
            let expected = Regs {
                rflags: context.regs.rflags & !RF,
                ..context.regs
            };
            run_to_syscall(&mut context)?;
            let found = stored()?;
            same("registers that ring 3 saw", found, expected)?;
        }
        Ok(())
    })?
}

/// Reads what [`Program::Store`] stored.
fn stored() -> Outcome<Regs> {
    let mut bytes = [0; 0x90];
    need("copy", user::copy_from(&mut bytes, UserVa(DATA)))?;
    let word = |i: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[8 * i..8 * i + 8]);
        u64::from_le_bytes(word)
    };
    Ok(Regs {
        rax: word(0),
        rbx: word(1),
        rcx: word(2),
        rdx: word(3),
        rsi: word(4),
        rdi: word(5),
        rbp: word(6),
        rsp: word(7),
        r8: word(8),
        r9: word(9),
        r10: word(10),
        r11: word(11),
        r12: word(12),
        r13: word(13),
        r14: word(14),
        r15: word(15),
        rip: word(16),
        rflags: word(17),
    })
}

/// Exceptions of ring 3 and what it may not do are told by vector and error code; the kernel lives.
pub(super) fn exceptions_reach_the_kernel() -> Outcome {
    let space = Space::new()?;
    in_thread(BOOT_CPU, move |_| {
        space.activate();
        for (program, vector, error_code) in [
            (Program::Divide, 0, 0),
            (Program::Breakpoint, 3, 0),
            (Program::Undefined, 6, 0),
            (Program::Halt, 13, 0),
            (Program::Port, 13, 0),
            (Program::Cli, 13, 0),
            (Program::Far32, 13, 0x20),
            (Program::LocalSegment, 13, 4),
        ] {
            let mut context = space::start(program);
            let expected = Trap::Exception { vector, error_code };
            let trap = run(&mut context);
            ensure!(
                trap == expected,
                "{program:?}: {trap:x?} instead of {expected:x?}"
            );
        }
        // The error code names the vector (SDM vol. 3 §6.13); QEMU's TCG puts it into another place.
        let trap = run(&mut space::start(Program::Int80));
        ensure!(
            matches!(trap, Trap::Exception { vector: 13, .. }),
            "int 0x80: {trap:x?}"
        );
        const UMIP: u32 = 1 << 2;
        if core::arch::x86_64::__cpuid_count(7, 0).ecx & UMIP != 0 {
            let trap = run(&mut space::start(Program::Sidt));
            ensure!(
                matches!(trap, Trap::Exception { vector: 13, .. }),
                "sidt in ring 3: {trap:x?}"
            );
        }
        Ok(())
    })?
}

/// Page faults are told by address, kind of access and whether there was a translation.
pub(super) fn page_faults_are_told() -> Outcome {
    const NOTHING: u64 = 0x60_0000;
    const READ_ONLY: u64 = 0x61_0000;
    const KERNEL: u64 = 0xffff_ffff_8020_0000;
    let space = Space::new()?;
    space.add(READ_ONLY, READ)?;
    in_thread(BOOT_CPU, move |_| {
        space.activate();
        for (program, addr, access, present) in [
            (Program::Read, NOTHING, Access::Read, false),
            (Program::Write, NOTHING, Access::Write, false),
            (Program::Jump, NOTHING, Access::Execute, false),
            (Program::Write, READ_ONLY, Access::Write, true),
            (Program::Jump, DATA, Access::Execute, true),
            (Program::Read, KERNEL, Access::Read, true),
            (Program::Write, KERNEL, Access::Write, true),
            (Program::Jump, KERNEL, Access::Execute, true),
        ] {
            let mut context = space::start(program);
            context.regs.rdi = addr;
            let expected = Trap::PageFault {
                addr: UserVa(addr),
                access,
                present,
            };
            let trap = run(&mut context);
            ensure!(
                trap == expected,
                "{program:?} {addr:#x}: {trap:x?} instead of {expected:x?}"
            );
        }
        let mut context = space::start(Program::Read);
        context.regs.rdi = READ_ONLY;
        let trap = run(&mut context);
        ensure!(trap == Trap::Syscall, "reading a readable page: {trap:x?}");
        Ok(())
    })?
}

/// No instruction pointer hurts the kernel, neither by IRET nor by SYSRET.
pub(super) fn odd_instruction_pointers() -> Outcome {
    let space = Space::new()?;
    in_thread(BOOT_CPU, move |_| {
        space.activate();
        for rip in [
            0x0000_8000_0000_0000,
            0xffff_7fff_ffff_ffff,
            0x0000_7fff_ffff_f000,
            0xffff_8000_0000_0000,
            u64::MAX,
            0,
        ] {
            for by_syscall in [false, true] {
                let mut context = space::start(Program::Syscall);
                if by_syscall {
                    run_to_syscall(&mut context)?;
                }
                context.regs.rip = rip;
                context.regs.rcx = rip;
                let trap = run(&mut context);
                let is_canonical = (rip.cast_signed() << 16 >> 16).cast_unsigned() == rip;
                let as_expected = match trap {
                    Trap::PageFault { addr, .. } => is_canonical && addr == UserVa(rip),
                    Trap::Exception { vector, .. } => !is_canonical && vector == 13,
                    Trap::Syscall | Trap::Interrupt => false,
                };
                ensure!(as_expected, "RIP {rip:#x}: {trap:x?}");
            }
        }
        // Nor does a stack pointer: the kernel does not use it.
        let mut context = space::start(Program::Syscall);
        context.regs.rsp = 0x1234_5678_9abc_def0;
        run_to_syscall(&mut context)
    })?
}

/// Ring 3 keeps its own flags; the kernel runs with AC, DF and NT clear whatever they were; IOPL stays 0.
pub(super) fn flags_are_sanitised() -> Outcome {
    let space = Space::new()?;
    in_thread(BOOT_CPU, move |_| {
        space.activate();
        let flags = AC | DF;
        for way_in in 0..3 {
            let mut context = space::start(Program::Flags);
            context.regs.rsi = flags | NT | IF | 2;
            context.regs.rdi = way_in;
            // With DF set in ring 3 the kernel's string instructions would run backwards; with AC SMAP would be off.
            let trap = loop {
                time::set_timer(Some(Nanos(time::now().0 + 500_000)));
                let trap = context.run();
                let is_early = trap == Trap::Interrupt && context.regs.rflags & flags != flags;
                if !is_early {
                    break trap;
                }
            };
            let kernel = selftest::rflags();
            ensure!(
                kernel & (AC | DF | NT | TF | IF | IOPL) == 0,
                "kernel flags {kernel:#x} after {trap:?}"
            );
            same("user flags", context.regs.rflags & flags, flags)?;
            let expected = match way_in {
                0 => Trap::Syscall,
                1 => Trap::Exception {
                    vector: 6,
                    error_code: 0,
                },
                _ => Trap::Interrupt,
            };
            ensure!(trap == expected, "{trap:?} instead of {expected:?}");
        }
        let mut context = space::start(Program::Cli);
        context.regs.rflags |= IOPL;
        let trap = run(&mut context);
        ensure!(
            matches!(trap, Trap::Exception { vector: 13, .. }),
            "cli with IOPL 3: {trap:?}"
        );
        Ok(())
    })?
}

/// TF stops ring 3 after one instruction, and never the kernel.
pub(super) fn single_step() -> Outcome {
    const DEBUG: Trap = Trap::Exception {
        vector: 1,
        error_code: 0,
    };
    let space = Space::new()?;
    in_thread(BOOT_CPU, move |_| {
        space.activate();
        let mut context = space::start(Program::Syscall);
        context.regs.rflags |= TF;
        for _ in 0..3 {
            run_to_syscall(&mut context)?;
            ensure!(context.regs.rflags & TF != 0, "TF got lost");
            let trap = run(&mut context);
            ensure!(trap == DEBUG, "{trap:?} after one instruction");
            same("RIP", context.regs.rip, space::entry(Program::Syscall))?;
        }
        step_spin(&mut space::start(Program::Spin), DEBUG)
    })?
}

fn step_spin(context: &mut UserContext, expected: Trap) -> Outcome {
    context.regs.rflags |= TF;
    let trap = run(context);
    ensure!(trap == expected, "{trap:?} after one instruction");
    context.regs.rflags &= !TF;
    time::set_timer(Some(Nanos(time::now().0 + 200_000)));
    let trap = context.run();
    ensure!(trap == Trap::Interrupt, "{trap:?} without TF");
    Ok(())
}
