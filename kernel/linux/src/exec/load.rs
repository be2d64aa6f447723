//! Building the address space of a program.

use alloc::sync::Arc;

use tyn_abi::{Errno, PAGE_SIZE, UserVa};
use tyn_elf::stack::{Auxv, Contents, InitialStack, Strings};
use tyn_elf::{Kind, Segment};
use tyn_hal::cpu;
use tyn_vm::{FilePart, Layout, Limits, MapRequest, Placement, Prot, Randomness, VmFlags};

use super::Program;
use super::program::Executable;
use crate::mm::{self, MappedFile, Mm};
use crate::random;
use crate::vdso;

const PAGE: u64 = PAGE_SIZE as u64;

/// Room that the stack has from the start, beyond arguments and environment (as Linux).
const STACK_ROOM: u64 = 128 << 10;

/// Bytes of a signal frame beside the XSAVE area: `siginfo`, `ucontext`, alignment and the red zone.
const SIGNAL_FRAME: u64 = 936;

/// A program ready to run.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Its address space.
    pub(crate) mm: Arc<Mm>,
    /// Where it starts: in the dynamic linker if there is one.
    pub(crate) entry: UserVa,
    /// Its stack pointer.
    pub(crate) stack: UserVa,
}

/// Whether addresses are random (`personality(2)`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Placing {
    /// As usual.
    Random,
    /// `ADDR_NO_RANDOMIZE`.
    Fixed,
}

/// Builds the address space: segments of the program and its dynamic linker, break, stack with arguments.
///
/// # Errors
/// `ENOMEM`, `E2BIG`; `ENOEXEC` when the segments do not fit into user space.
pub(crate) fn load(
    program: &Program,
    envp: &Strings,
    limits: &Limits,
    placing: Placing,
) -> Result<Loaded, Errno> {
    let bits = || {
        if placing == Placing::Random {
            random::number()
        } else {
            0
        }
    };
    let randomness = Randomness {
        stack: bits(),
        mmap: bits(),
        image: bits(),
        brk: bits(),
    };
    let layout = Layout::new(limits.stack, &randomness);
    let mm = Arc::new(Mm::new(layout)?);
    mm.set_stack_limit(limits.stack);

    let main = &program.main;
    let main_base = match (main.image.kind, &program.interpreter) {
        (Kind::Fixed, _) => 0,
        (Kind::Relocatable, Some(_)) => {
            let base = layout.image_base & !(main.image.align - 1);
            base.saturating_sub(main.image.span().0)
        }
        // A dynamic linker that is run itself must not lie where it will put a program.
        (Kind::Relocatable, None) => find_base(&mm, main)?,
    };
    map_segments(&mm, main, main_base)?;
    let linker_base = match &program.interpreter {
        None => None,
        Some(linker) => {
            let base = find_base(&mm, linker)?;
            map_segments(&mm, linker, base)?;
            Some(base)
        }
    };
    let entry = match (&program.interpreter, linker_base) {
        (Some(linker), Some(base)) => base.wrapping_add(linker.image.entry),
        _ => main_base.wrapping_add(main.image.entry),
    };
    let features = cpu::user_features();
    let auxv = Auxv {
        phdr: main.image.phdr.map_or(0, |va| main_base.wrapping_add(va)),
        phnum: main.image.phnum,
        base: linker_base.unwrap_or(0),
        entry: main_base.wrapping_add(main.image.entry),
        hwcap: features.hwcap,
        hwcap2: features.hwcap2,
        min_signal_stack: features.xsave_bytes as u64 + SIGNAL_FRAME,
        vdso: map_vdso(&mm)?,
    };
    let stack = build_stack(&mm, program, envp, &auxv, placing)?;
    let break_base = match (main.image.kind, &program.interpreter) {
        (Kind::Relocatable, None) => layout.image_base,
        _ => main_base.saturating_add(main.image.break_start()),
    };
    let image = mm::Image {
        exe: Arc::clone(&main.open),
        args: (stack.arg_start, stack.arg_end),
        env: (stack.arg_end, stack.env_end),
        auxv: stack.auxv,
    };
    mm.set_program(break_base.saturating_add(layout.brk_offset), image);
    Ok(Loaded {
        mm,
        entry: UserVa(entry),
        stack: UserVa(stack.sp),
    })
}

/// Finds room for a relocatable image in the mmap region; returns what is to be added to its addresses.
fn find_base(mm: &Mm, executable: &Executable) -> Result<u64, Errno> {
    if executable.image.kind == Kind::Fixed {
        return Ok(0);
    }
    let (low, high) = executable.image.span();
    let align = executable.image.align;
    let len = (high - low)
        .checked_add(align - PAGE)
        .ok_or(Errno::ENOMEM)?;
    let start = mm.find_room(len)?;
    let aligned = start.checked_next_multiple_of(align).ok_or(Errno::ENOMEM)?;
    Ok(aligned.wrapping_sub(low & !(align - 1)))
}

/// Maps the vDSO's data page and, right behind it, its image; returns the image's address.
fn map_vdso(mm: &Mm) -> Result<Option<u64>, Errno> {
    let Some(vdso) = vdso::get() else {
        return Ok(None);
    };
    let data = mm.find_room(2 * PAGE)?;
    let image = data.checked_add(PAGE).ok_or(Errno::ENOMEM)?;
    for (open, at, prot) in [
        (&vdso.data, data, Prot::READ),
        (&vdso.image, image, Prot::READ | Prot::EXEC),
    ] {
        let file = FilePart {
            file: MappedFile::new(Arc::clone(open)),
            page: 0,
        };
        let request = MapRequest {
            file: Some(file),
            ..anonymous(at, PAGE, prot)
        };
        mm.map(request, &Limits::NONE)?;
    }
    Ok(Some(image))
}

/// Maps an image's segments with `base` added to their addresses.
fn map_segments(mm: &Mm, executable: &Executable, base: u64) -> Result<(), Errno> {
    for segment in &executable.image.segments {
        map_segment(mm, executable, segment, base)?;
    }
    Ok(())
}

fn map_segment(
    mm: &Mm,
    executable: &Executable,
    segment: &Segment,
    base: u64,
) -> Result<(), Errno> {
    let mut prot = Prot::empty();
    prot.set(Prot::READ, segment.read);
    prot.set(Prot::WRITE, segment.write);
    prot.set(Prot::EXEC, segment.execute);
    let at = |va: u64| base.wrapping_add(va);
    let fixed = |start: u64, end: u64| anonymous(at(start), end - start, prot);
    if segment.file_end > segment.start {
        let file = FilePart {
            file: MappedFile::new(Arc::clone(&executable.open)),
            page: segment.offset / PAGE,
        };
        let request = MapRequest {
            file: Some(file),
            ..fixed(segment.start, segment.file_end)
        };
        mm.map(request, &Limits::NONE).map_err(unmappable)?;
    }
    if segment.end > segment.file_end {
        let request = fixed(segment.file_end, segment.end);
        mm.map(request, &Limits::NONE).map_err(unmappable)?;
    }
    // The page that the file's bytes end in continues with zeros, not with what follows in the file.
    let has_bss = segment.memory_end > segment.zero_from && segment.file_end > segment.zero_from;
    if segment.write && has_bss {
        const ZEROS: [u8; PAGE_SIZE] = [0; PAGE_SIZE];
        let len = (segment.file_end - segment.zero_from) as usize;
        let zeros = ZEROS.get(..len).ok_or(Errno::ENOEXEC)?;
        mm.write(UserVa(at(segment.zero_from)), zeros)?;
    }
    Ok(())
}

/// A segment at an address where nothing may be is the file's fault.
fn unmappable(errno: Errno) -> Errno {
    match errno {
        Errno::ENOMEM => errno,
        _ => Errno::ENOEXEC,
    }
}

fn anonymous(addr: u64, len: u64, prot: Prot) -> MapRequest<MappedFile> {
    MapRequest {
        addr,
        len,
        placement: Placement::Fixed,
        prot,
        max_prot: Prot::all(),
        flags: VmFlags::empty(),
        file: None,
        name: None,
    }
}

/// Maps the stack and writes arguments, environment and auxiliary vector to it.
fn build_stack(
    mm: &Mm,
    program: &Program,
    envp: &Strings,
    auxv: &Auxv,
    placing: Placing,
) -> Result<InitialStack, Errno> {
    const MAX_GAP: u64 = 8192;
    let top = mm.layout().stack_top;
    let mut at_random = [0; 16];
    random::fill(&mut at_random);
    let contents = Contents {
        argv: &program.argv,
        envp,
        file_name: &program.name,
        auxv,
        random: at_random,
        gap: if placing == Placing::Random {
            random::number() % MAX_GAP
        } else {
            0
        },
    };
    let stack = InitialStack::build(top, &contents)?;
    let start = (stack.sp & !(PAGE - 1))
        .checked_sub(STACK_ROOM)
        .ok_or(Errno::ENOMEM)?;
    let mut prot = Prot::READ | Prot::WRITE;
    prot.set(Prot::EXEC, program.main.image.executable_stack);
    let request = MapRequest {
        flags: VmFlags::GROWS_DOWN,
        ..anonymous(start, top - start, prot)
    };
    mm.map(request, &Limits::NONE)?;
    mm.write(UserVa(stack.sp), &stack.bytes)?;
    Ok(stack)
}
