//! Starting the further CPUs, all at once.

use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::{apic, fpu, gdt, idt};
use crate::boot;
use crate::cpu::{self, CpuId, MAX_CPUS};
use crate::cpu_local::CpuLocal;
use crate::mem::kernel_map::kernel_root;
use crate::mem::{KernelStack, PhysAddr, direct};

/// The page (of 4 KiB) that CPUs start at; must match `ap_boot.S`.
const AP_PAGE: u8 = 8;

/// Index that the next CPU to arrive takes; the boot CPU is 0.
#[unsafe(no_mangle)]
static tyn_ap_next: AtomicU32 = AtomicU32::new(1);
/// The kernel's page table.
#[unsafe(no_mangle)]
static tyn_ap_root: AtomicU64 = AtomicU64::new(0);
/// Stack tops by index.
#[unsafe(no_mangle)]
static tyn_ap_stacks: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

static RELEASED: AtomicBool = AtomicBool::new(false);

core::arch::global_asm!(include_str!("ap_boot.S"), options(att_syntax));

unsafe extern "C" {
    static tyn_ap_code: u8;
    static tyn_ap_code_end: u8;
}

/// Puts the start code into low memory and prepares a stack and a block for each of `count` CPUs (the boot CPU's exists).
fn prepare(count: usize) {
    tyn_ap_root.store(kernel_root().0, Ordering::Release);
    for (index, slot) in tyn_ap_stacks.iter().enumerate().take(count).skip(1) {
        CpuLocal::create(index as u32);
        // It is that CPU's for ever.
        let stack =
            ManuallyDrop::new(KernelStack::new().expect("memory for the stacks of all CPUs"));
        slot.store(stack.top(), Ordering::Release);
    }
    let (start, end) = (&raw const tyn_ap_code, &raw const tyn_ap_code_end);
    let target = direct(PhysAddr(u64::from(AP_PAGE) << 12));
    // SAFETY: low memory is never given to anybody else, and what the boot loader left there has been copied.
    unsafe { core::ptr::copy_nonoverlapping(start, target, end as usize - start as usize) };
}

/// Starts every CPU of `apic_ids`, of which the first is this one's, without waiting for them to arrive.
pub(crate) fn start(apic_ids: &[u32]) {
    prepare(apic_ids.len());
    let others = || apic_ids.iter().skip(1);
    for &id in others() {
        apic::send_init(id);
    }
    // The manual wants 10 ms between INIT and start-up; current CPUs and every hypervisor want none (as Linux decides for
    // families 6 and 15 and up), and keep the one start-up that is sent.
    for &id in others() {
        apic::send_startup(id, AP_PAGE);
    }
}

/// Lets the CPUs go on to the kernel above: those that have arrived at once, others when they do.
pub(crate) fn release() {
    RELEASED.store(true, Ordering::SeqCst);
    CpuLocal::others().for_each(CpuLocal::kick);
}

/// Sets up what every CPU needs beyond its mode: descriptor tables, its block, its identity.
pub(crate) fn init_this_cpu(block: &'static CpuLocal) {
    // SAFETY: the block is this CPU's, leaked, with its TSS in its GDT.
    unsafe { gdt::load(block) };
    idt::load();
    cpu::init_identity(CpuId(block.id));
}

/// Sets the mode that all kernel code runs in. The very first thing on each CPU: emulators keep what they translated in one
/// mode apart from another.
pub(crate) fn init_mode() {
    cpu::init_control_registers();
    fpu::init();
}

#[unsafe(no_mangle)]
extern "C" fn tyn_ap_rust(index: u32) -> ! {
    init_mode();
    let block =
        CpuLocal::of(index as usize).expect("invariant: blocks are made before CPUs are started");
    init_this_cpu(block);
    apic::enable();
    // From here on kicks arrive. Whoever made something to look at before did not need to kick: it is looked for after this.
    block.set_apic_id(apic::id());
    // Halted, not spinning: the host's cores may be fewer, and the boot CPU needs them.
    while !RELEASED.load(Ordering::SeqCst) {
        cpu::wait_for_interrupt();
    }
    (boot::entry().ap)()
}
