//! Extended state: which vector registers user code may use, and saving and loading them.
//!
//! The kernel has no use of them (docs/design/0015): a task's state stays in the registers while it runs, in ring 3 and in ring 0,
//! and is stored when another task is switched to, or when somebody asks what it is.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::arch::asm;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::{cpuid, max_leaf};
use crate::mem::OutOfMemory;

/// Offset of MXCSR in the legacy region.
pub(crate) const MXCSR_OFFSET: usize = 24;
/// Offset of xmm0 in the legacy region.
pub(crate) const XMM_OFFSET: usize = 160;
/// Size of the legacy region and the XSAVE header.
const LEGACY_BYTES: usize = 512;
/// Offset of XSTATE_BV.
const HEADER_OFFSET: usize = 512;
/// Offset of MXCSR_MASK in the legacy region.
const MXCSR_MASK_OFFSET: usize = 28;

/// x87, SSE, AVX, AVX-512 (opmask, upper ZMM, high ZMM).
const WANTED: u64 = 0b1110_0111;

/// Bit of the component SSE, xmm0-15 and MXCSR, which [`tyn_store_sse`] and [`tyn_load_sse`] move.
const SSE: u64 = 0b10;
/// The components that XSAVE and XRSTOR move (low half): all others.
const BY_XSAVE: u32 = !(SSE as u32);
/// Size of xmm0-15.
const XMM_BYTES: usize = 256;

unsafe extern "C" {
    fn tyn_store_sse(area: *mut u8);
    fn tyn_load_sse(area: *const u8);
}

/// Enabled components (XCR0); 0 when there is no XSAVE.
static COMPONENTS: AtomicU64 = AtomicU64::new(0);
/// Size of an area for them.
static AREA_BYTES: AtomicUsize = AtomicUsize::new(LEGACY_BYTES);
/// Bits of MXCSR that may be set.
static MXCSR_BITS: AtomicU32 = AtomicU32::new(0);

/// Enables extended state on the current CPU (CR4.OSXSAVE is set where XSAVE exists).
pub(crate) fn init() {
    const XSAVE: u32 = 1 << 26;
    MXCSR_BITS.store(mxcsr_bits(mxcsr_mask()), Ordering::Relaxed);
    if cpuid(1, 0).ecx & XSAVE == 0 || max_leaf() < 0xd {
        return;
    }
    let supported = cpuid(0xd, 0);
    let supported = u64::from(supported.edx) << 32 | u64::from(supported.eax);
    let mut enabled = supported & WANTED;
    if enabled & 0b1110_0000 != 0b1110_0000 || enabled & 0b100 == 0 {
        enabled &= 0b111;
    }
    // SAFETY: CR4.OSXSAVE is set, and the bits are supported and consistent (AVX-512 needs AVX).
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") enabled as u32, in("edx") (enabled >> 32) as u32, options(nostack));
    }
    COMPONENTS.store(enabled, Ordering::Relaxed);
    AREA_BYTES.store(cpuid(0xd, 0).ebx as usize, Ordering::Relaxed);
}

/// Returns MXCSR_MASK as FXSAVE stores it.
fn mxcsr_mask() -> u32 {
    #[repr(align(16))]
    struct Legacy([u8; LEGACY_BYTES]);
    let mut legacy = Legacy([0; LEGACY_BYTES]);
    // SAFETY: writes the 512 bytes, 16-byte aligned; FXSAVE exists on every x86-64 CPU.
    unsafe { asm!("fxsave64 [{}]", in(reg) &raw mut legacy, options(nostack, preserves_flags)) };
    let bytes = legacy.0[MXCSR_MASK_OFFSET..].first_chunk();
    bytes.copied().map_or(0, u32::from_le_bytes)
}

/// Returns which bits of MXCSR a CPU has that stores this mask (Intel SDM vol. 1 §11.6.6).
const fn mxcsr_bits(mask: u32) -> u32 {
    const ALL_BUT_DAZ: u32 = 0xffbf;
    if mask == 0 { ALL_BUT_DAZ } else { mask }
}

/// Returns whether MXCSR can hold the value: loading another one faults. AMD's CPUs have a bit more than Intel's (17, MM).
fn is_valid_mxcsr(value: u32) -> bool {
    value & !MXCSR_BITS.load(Ordering::Relaxed) == 0
}

/// Returns XCR0 (0 without XSAVE).
pub(crate) fn components() -> u64 {
    COMPONENTS.load(Ordering::Relaxed)
}

/// Returns the size of a save area in bytes.
pub(crate) fn area_bytes() -> usize {
    AREA_BYTES.load(Ordering::Relaxed)
}

/// A save area.
#[derive(Debug)]
pub(crate) struct Area {
    memory: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the area owns its memory.
unsafe impl Send for Area {}

impl Area {
    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes, 64).ok()
    }

    /// Allocates an area in the initial state.
    pub(crate) fn new() -> Result<Self, OutOfMemory> {
        let bytes = area_bytes();
        let layout = Self::layout(bytes).ok_or(OutOfMemory)?;
        // SAFETY: the layout's size is at least 512.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(OutOfMemory)?;
        let mut area = Self { memory, bytes };
        area.reset();
        Ok(area)
    }

    /// Returns the bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the allocation has that many initialised bytes.
        unsafe { core::slice::from_raw_parts(self.memory.as_ptr(), self.bytes) }
    }

    /// Returns the bytes.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the allocation has that many initialised bytes, and we have it exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.memory.as_ptr(), self.bytes) }
    }

    /// Puts the area into the initial state: no component in use but SSE, control words at their defaults.
    pub(crate) fn reset(&mut self) {
        let bytes = self.bytes_mut();
        bytes.fill(0);
        bytes[..2].copy_from_slice(&0x037fu16.to_le_bytes());
        bytes[MXCSR_OFFSET..MXCSR_OFFSET + 4].copy_from_slice(&0x1f80u32.to_le_bytes());
        self.set_in_use(0);
    }

    /// Writes XSTATE_BV. SSE is always in use, as it is not XSAVE that stores it.
    fn set_in_use(&mut self, components: u64) {
        if let Some(header) = self.bytes_mut().get_mut(HEADER_OFFSET..HEADER_OFFSET + 8) {
            header.copy_from_slice(&(components | SSE).to_le_bytes());
        }
    }

    /// Takes the state over from an image; components that are not in it get their initial state.
    pub(crate) fn set(&mut self, image: Image<'_>) {
        self.reset();
        let bytes = self.bytes_mut();
        bytes[..image.bytes.len()].copy_from_slice(image.bytes);
        if image.in_use & SSE == 0 {
            bytes[XMM_OFFSET..XMM_OFFSET + XMM_BYTES].fill(0);
        }
        self.set_in_use(image.in_use);
    }

    /// Stores the CPU's extended state.
    pub(crate) fn save(&mut self) {
        let area = self.memory.as_ptr();
        if components() == 0 {
            // SAFETY: the area has 512 bytes, 16-byte aligned.
            unsafe { asm!("fxsave64 [{}]", in(reg) area, options(nostack)) };
            return;
        }
        // SAFETY: the area is as large as XCR0 needs, 64-byte aligned, its header written by `reset`, `set` or XSAVE.
        unsafe {
            asm!("xsave64 [{}]", in(reg) area, in("eax") BY_XSAVE, in("edx") -1, options(nostack));
        }
        // SAFETY: the area begins with the legacy region, 16-byte aligned.
        unsafe { tyn_store_sse(area) };
        // XSAVE may leave it out, as it goes with SSE.
        let mask = MXCSR_BITS.load(Ordering::Relaxed).to_le_bytes();
        self.bytes_mut()[MXCSR_MASK_OFFSET..MXCSR_MASK_OFFSET + 4].copy_from_slice(&mask);
    }

    /// Loads the CPU's extended state: what [`Area::save`], [`Area::reset`] or [`Area::set`] left.
    pub(crate) fn load(&self) {
        let area = self.memory.as_ptr();
        if components() == 0 {
            // SAFETY: as for `save`; MXCSR has only valid bits. The registers are no Rust code's (no vectors).
            unsafe { asm!("fxrstor64 [{}]", in(reg) area, options(nostack, readonly)) };
            return;
        }
        // SAFETY: as for `save`; XSTATE_BV is within XCR0, the rest of the header is zero, MXCSR has only valid bits; the registers
        // are no Rust code's (no vectors).
        unsafe {
            asm!("xrstor64 [{}]", in(reg) area, in("eax") BY_XSAVE, in("edx") -1, options(nostack, readonly));
        }
        // SAFETY: the area begins with the legacy region, 16-byte aligned; MXCSR has only valid bits.
        unsafe { tyn_load_sse(area) };
    }
}

/// What a signal frame says extended state is to be, of which every bit was found fit to be loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image<'a> {
    /// A full area in standard format, or its legacy region alone.
    bytes: &'a [u8],
    /// XSTATE_BV.
    in_use: u64,
}

/// Checks an image; `None` when XRSTOR or LDMXCSR would fault on it.
pub(crate) fn check_image(src: &[u8]) -> Option<Image<'_>> {
    let word = |at: usize| Some(u64::from_le_bytes(*src.get(at..)?.first_chunk()?));
    let legacy = src.get(..LEGACY_BYTES)?;
    if !is_valid_mxcsr(word(MXCSR_OFFSET)? as u32) {
        return None;
    }
    let full = src.get(..area_bytes()).filter(|_| components() != 0);
    let Some(full) = full else {
        return Some(Image {
            bytes: legacy,
            in_use: 0b11,
        });
    };
    let in_use = word(HEADER_OFFSET)?;
    let is_reserved_clear = (1..8).all(|i| word(HEADER_OFFSET + 8 * i) == Some(0));
    (in_use & !components() == 0 && is_reserved_clear).then_some(Image {
        bytes: full,
        in_use,
    })
}

impl Drop for Area {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.bytes) {
            // SAFETY: allocated in `new` with this layout.
            unsafe { dealloc(self.memory.as_ptr(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mxcsr_has_the_bits_that_the_cpu_says() {
        assert_eq!(mxcsr_bits(0), 0xffbf);
        assert_eq!(mxcsr_bits(0xffff), 0xffff);
        assert_eq!(mxcsr_bits(0x2_ffff), 0x2_ffff);
        // This machine's: at least flags, masks, rounding and flush-to-zero.
        assert_eq!(mxcsr_bits(mxcsr_mask()) & 0xffbf, 0xffbf);
    }
}
