//! Entropy from the CPU.

use core::arch::asm;

use crate::arch::x86_64::{cpuid, max_leaf, read_tsc};

/// Tries of RDRAND or RDSEED before it counts as unavailable (Intel SDM vol. 1 §7.3.17 recommends ten).
const TRIES: u32 = 10;

fn rdrand() -> Option<u64> {
    const RDRAND: u32 = 1 << 30;
    if cpuid(1, 0).ecx & RDRAND == 0 {
        return None;
    }
    (0..TRIES).find_map(|_| {
        let (value, ok): (u64, u8);
        // SAFETY: the CPU has RDRAND.
        unsafe {
            asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) ok, options(nomem, nostack));
        };
        (ok != 0).then_some(value)
    })
}

fn rdseed() -> Option<u64> {
    const RDSEED: u32 = 1 << 18;
    if max_leaf() < 7 || cpuid(7, 0).ebx & RDSEED == 0 {
        return None;
    }
    (0..TRIES).find_map(|_| {
        let (value, ok): (u64, u8);
        // SAFETY: the CPU has RDSEED.
        unsafe {
            asm!("rdseed {}", "setc {}", out(reg) value, out(reg_byte) ok, options(nomem, nostack));
        };
        (ok != 0).then_some(value)
    })
}

/// Fills `dst` with entropy: RDSEED or RDRAND where the CPU has them, always mixed with time-stamp jitter. It seeds
/// generators; it is not one itself. Returns whether a hardware source was used.
pub fn seed(dst: &mut [u8; 32]) -> bool {
    let mut has_hardware = true;
    let mut jitter = read_tsc();
    for chunk in dst.chunks_exact_mut(8) {
        let hardware = rdseed().or_else(rdrand);
        has_hardware &= hardware.is_some();
        // SplitMix64 over time stamps taken at uneven distances.
        for _ in 0..16 {
            jitter = jitter
                .wrapping_add(read_tsc())
                .wrapping_add(0x9e37_79b9_7f4a_7c15);
            jitter = (jitter ^ jitter >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            jitter ^= jitter >> 27;
        }
        chunk.copy_from_slice(&(hardware.unwrap_or(0) ^ jitter).to_le_bytes());
    }
    has_hardware
}
