//! From the boot assembly to [`super::Entry::bsp`].

use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU32;

use super::{Archive, BootInfo, MemoryMap, RAM, console_line, entry, multiboot2, refuse};
use crate::arch::x86_64::{apic, cpuid, idt, smp, write_cr3};
use crate::cpu::{self, MAX_CPUS};
use crate::cpu_local::CpuLocal;
use crate::mem::buddy::Buddy;
use crate::mem::kernel_map::{self, ImageLayout, KERNEL_BASE};
use crate::mem::{PhysAddr, direct, frame};
use crate::{acpi, power, time};

/// What the boot page tables show of the direct map.
const BOOT_MAP_END: u64 = 4 << 30;
/// Below this lie firmware data, the loader's structures and the further CPUs' start code.
const LOW_MEMORY_END: u64 = 1 << 20;
/// Least RAM to try with, in bytes: below it not even the kernel's own tables fit.
const LEAST_RAM: u64 = 16 << 20;
/// Longest command line.
const CMDLINE_BYTES: usize = 4096;

/// `struct hvm_start_info` (Xen `public/arch-x86/hvm/start_info.h`).
#[repr(C)]
#[derive(Clone, Copy)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    cmdline: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

/// `struct hvm_modlist_entry`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Module {
    address: u64,
    size: u64,
    cmdline: u64,
    reserved: u64,
}

/// `struct hvm_memmap_table_entry`.
#[repr(C)]
#[derive(Clone, Copy)]
struct MemoryMapEntry {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

unsafe extern "C" {
    static tyn_kernel_start: u8;
    static tyn_text_end: u8;
    static tyn_rodata_end: u8;
    static tyn_kernel_end: u8;
    static tyn_boot_stack_guard: u8;
}

fn image_layout() -> ImageLayout {
    ImageLayout {
        start: &raw const tyn_kernel_start as u64,
        text_end: &raw const tyn_text_end as u64,
        rodata_end: &raw const tyn_rodata_end as u64,
        end: &raw const tyn_kernel_end as u64,
        stack_guard: &raw const tyn_boot_stack_guard as u64,
    }
}

/// Copies a structure that the loader left in memory.
///
/// # Safety
/// `phys` is below 4 GiB and holds a `T` of plain integers.
unsafe fn read<T: Copy>(phys: u64) -> T {
    // SAFETY: the caller's contract; the boot page tables show the first 4 GiB.
    unsafe { direct(PhysAddr(phys)).cast::<T>().read_unaligned() }
}

/// What is kept of the loader's structures.
struct Loaded {
    ram: MemoryMap,
    module: Option<(u64, u64)>,
    rsdp: u64,
    /// Where the loader's own structures are, if they are wanted later (address, length).
    kept: Option<(u64, u64)>,
    cmdline: [u8; CMDLINE_BYTES],
    cmdline_len: usize,
}

fn read_start_info(phys: u64) -> Loaded {
    const MAGIC: u32 = 0x336e_c578;
    const RAM_KIND: u32 = 1;
    // SAFETY: PVH gives the address of the structure in low memory.
    let info: StartInfo = unsafe { read(phys) };
    if info.magic != MAGIC || info.version < 1 {
        refuse(format_args!(
            "the boot loader gave no PVH start info with a memory map: use QEMU 4.0 or newer"
        ));
    }
    let mut ram = MemoryMap::new();
    for i in 0..u64::from(info.memory_map_entries) {
        // SAFETY: the loader's array has that many entries.
        let entry: MemoryMapEntry =
            unsafe { read(info.memory_map + i * size_of::<MemoryMapEntry>() as u64) };
        if entry.kind == RAM_KIND {
            ram.add(entry.address, entry.address.saturating_add(entry.size));
        }
    }
    let module = (info.modules > 0).then(|| {
        // SAFETY: the loader's array has at least one entry.
        let module: Module = unsafe { read(info.module_list) };
        (module.address, module.size)
    });
    let mut cmdline = [0; CMDLINE_BYTES];
    let mut cmdline_len = 0;
    if info.cmdline != 0 {
        while cmdline_len < CMDLINE_BYTES {
            // SAFETY: the command line is a NUL-terminated string below 4 GiB.
            match unsafe { read::<u8>(info.cmdline + cmdline_len as u64) } {
                0 => break,
                byte => cmdline[cmdline_len] = byte,
            }
            cmdline_len += 1;
        }
    }
    Loaded {
        ram,
        module,
        rsdp: info.rsdp,
        kept: None,
        cmdline,
        cmdline_len,
    }
}

fn read_multiboot2(phys: u64) -> Loaded {
    // SAFETY: Multiboot2 gives the address of its information below 4 GiB; its first word is its length.
    let length = unsafe { read::<u32>(phys) }.min(multiboot2::MAX_BYTES);
    // SAFETY: so many bytes; nobody writes them.
    let bytes = unsafe { core::slice::from_raw_parts(direct(PhysAddr(phys)), length as usize) };
    let Some(found) = multiboot2::parse(bytes) else {
        refuse(format_args!(
            "the boot loader's Multiboot2 information is cut off: use GRUB 2"
        ));
    };
    let mut cmdline = [0; CMDLINE_BYTES];
    let cmdline_len = found.cmdline.len().min(CMDLINE_BYTES);
    cmdline[..cmdline_len].copy_from_slice(&found.cmdline[..cmdline_len]);
    Loaded {
        ram: found.ram,
        module: found.module,
        rsdp: found.rsdp.map_or(0, |at| phys + at as u64),
        kept: Some((phys, u64::from(length))),
        cmdline,
        cmdline_len,
    }
}

/// Builds the kernel's page table and hands the frames to the allocator.
fn start_memory(loaded: &Loaded) {
    let image = image_layout();
    let mut free = loaded.ram;
    free.remove(0, LOW_MEMORY_END);
    free.remove(image.start - KERNEL_BASE, image.end - KERNEL_BASE);
    for (address, size) in loaded.module.iter().chain(&loaded.kept) {
        free.remove(*address, address + size);
    }
    let too_little = || -> ! {
        refuse(format_args!(
            "too little memory: {} MiB of RAM do not hold kernel and image: give the machine more (--memory)",
            loaded.ram.total() >> 20
        ))
    };
    if loaded.ram.total() < LEAST_RAM {
        too_little();
    }
    let has_1g_pages = cpuid(0x8000_0001, 0).edx & 1 << 26 != 0;
    let mut allocate = || free.take(4096, BOOT_MAP_END).map(PhysAddr);
    if kernel_map::build(image, loaded.ram.end(), has_1g_pages, &mut allocate).is_none() {
        too_little();
    }
    // SAFETY: the table maps image and direct map as the boot tables do; the boot stack is in the image.
    unsafe { write_cr3(kernel_map::kernel_root().0) };

    let frames = (loaded.ram.end() >> 12) as usize;
    let counts_bytes = frames * size_of::<AtomicU32>();
    let words = Buddy::storage_words(frames);
    let take = |free: &mut MemoryMap, bytes: usize| {
        let phys = free
            .take(bytes as u64, u64::MAX)
            .unwrap_or_else(|| too_little());
        direct(PhysAddr(phys))
    };
    let counts = take(&mut free, counts_bytes).cast::<AtomicU32>();
    // Counts are written when frames are allocated: zeroing all of them would touch a thousandth of the machine's memory.
    // SAFETY: page-aligned RAM, ours for ever; any bytes make integers.
    let counts: &'static [AtomicU32] = unsafe { core::slice::from_raw_parts(counts, frames) };
    let storage = take(&mut free, words * 8).cast::<u64>();
    // SAFETY: RAM that nobody else uses.
    unsafe { core::ptr::write_bytes(storage, 0, words) };
    // SAFETY: zeroed, page-aligned, ours for ever.
    let storage: &'static mut [u64] = unsafe { core::slice::from_raw_parts_mut(storage, words) };
    let mut buddy = Buddy::new(frames, storage);
    for (start, end) in free.iter() {
        buddy.add_range((start >> 12) as usize, (end >> 12) as usize);
    }
    if let Some((address, size)) = loaded.module {
        for frame in address >> 12..(address + size).div_ceil(4096) {
            if let Some(count) = counts.get(frame as usize) {
                count.store(1, core::sync::atomic::Ordering::Relaxed);
            }
        }
    }
    frame::init(counts, buddy);
}

/// The boot module as an archive; the tail of its last page is zeroed.
fn archive(module: (u64, u64)) -> Archive {
    let (address, size) = module;
    if address % 4096 != 0 {
        refuse(format_args!(
            "the boot loader placed the image at {address:#x}, not on a page boundary"
        ));
    }
    let tail = size.next_multiple_of(4096) - size;
    // SAFETY: the page's rest belongs to the module's reserved frames.
    unsafe { core::ptr::write_bytes(direct(PhysAddr(address + size)), 0, tail as usize) };
    Archive {
        phys: PhysAddr(address),
        len: size as usize,
    }
}

/// Returns the local APIC ids of the CPUs to drive, this one's first, and says which are left alone.
fn choose_cpus(found: &[u32]) -> Vec<u32> {
    let chosen = cpu::choose(found, apic::id(), apic::largest_id());
    if chosen.unreachable > 0 {
        console_line(format_args!(
            "tyn: {} CPUs are not used: their APIC ids need x2APIC, which this machine lacks",
            chosen.unreachable
        ));
    }
    if chosen.beyond > 0 {
        console_line(format_args!(
            "tyn: {} CPUs are not used: {MAX_CPUS} is the most",
            chosen.beyond
        ));
    }
    chosen.ids
}

#[unsafe(no_mangle)]
extern "C" fn tyn_boot_rust(information: u64, protocol: u32) -> ! {
    CpuLocal::use_early();
    time::start();
    smp::init_mode();
    let loaded = match protocol {
        0 => read_start_info(information),
        multiboot2::MAGIC => read_multiboot2(information),
        _ => refuse(format_args!(
            "the boot loader speaks another protocol than Multiboot2: use GRUB's multiboot2 command"
        )),
    };
    RAM.set(loaded.ram);
    start_memory(&loaded);

    // First what the clock is measured with: the measurement takes milliseconds, in which the rest comes up.
    apic::init();
    apic::enable();
    acpi::init(loaded.rsdp, apic::id());
    let calibration = time::start_calibration();

    let block = CpuLocal::create(0);
    block.set_apic_id(apic::id());
    idt::init();
    smp::init_this_cpu(block);
    let info = acpi::info();
    let cpus = choose_cpus(&info.cpus);
    cpu::set_count(cpus.len());
    power::init();
    apic::init_io(&info.io_apics);
    smp::start(&cpus);
    let archive = loaded.module.map(archive);
    let cmdline = String::from_utf8_lossy(&loaded.cmdline[..loaded.cmdline_len]).into_owned();
    (entry().bsp)(BootInfo {
        cmdline,
        archive,
        ram_bytes: loaded.ram.total(),
        cpus: cpus.len(),
        calibration,
    })
}
