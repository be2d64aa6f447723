//! What the vDSO is made of: its functions as position-independent code, and its data page.
//!
//! The code runs in ring 3 only, from a copy. It finds its data in the page before the image's first; its own first byte
//! lies [`TEXT_OFFSET`] bytes into the image.

use crate::cpu;
use crate::time;

core::arch::global_asm!(include_str!("arch/x86_64/vdso.S"));

/// Where the code lies in the image.
pub const TEXT_OFFSET: usize = 0x800;

/// One function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Function {
    /// Name of its symbol.
    pub name: &'static str,
    /// Offset in the code.
    pub offset: usize,
}

unsafe extern "C" {
    static tyn_vdso_start: u8;
    static tyn_vdso_end: u8;
    static tyn_vdso_clock_gettime: u8;
    static tyn_vdso_gettimeofday: u8;
    static tyn_vdso_time: u8;
    static tyn_vdso_getcpu: u8;
}

/// Returns the code.
#[must_use]
pub fn code() -> &'static [u8] {
    let len = (&raw const tyn_vdso_end).addr() - (&raw const tyn_vdso_start).addr();
    // SAFETY: the assembly puts both symbols around its bytes, in read-only data.
    unsafe { core::slice::from_raw_parts(&raw const tyn_vdso_start, len) }
}

/// Returns the functions in the code.
#[must_use]
pub fn functions() -> [Function; 4] {
    let start = (&raw const tyn_vdso_start).addr();
    let function = |name, symbol: *const u8| Function {
        name,
        offset: symbol.addr() - start,
    };
    [
        function("__vdso_clock_gettime", &raw const tyn_vdso_clock_gettime),
        function("__vdso_gettimeofday", &raw const tyn_vdso_gettimeofday),
        function("__vdso_time", &raw const tyn_vdso_time),
        function("__vdso_getcpu", &raw const tyn_vdso_getcpu),
    ]
}

/// Returns the beginning of the data page, for the clock as it is now: TSC at time zero, nanoseconds in 2^32 ticks, wall
/// clock at time zero, whether RDTSCP tells the CPU (8 bytes each).
///
/// # Panics
/// When the clock's scale is not what the code is written for.
#[must_use]
pub fn data() -> [u8; 32] {
    let scale = time::tsc_scale();
    assert!(
        scale.shift == 32 && scale.base_ns == 0,
        "the vDSO computes (tsc - base) * mult >> 32"
    );
    let words = [
        scale.base_tsc,
        scale.mult,
        time::wall_at_boot().0,
        u64::from(cpu::has_rdtscp()),
    ];
    let mut bytes = [0; 32];
    for (dst, word) in bytes.chunks_exact_mut(8).zip(words) {
        dst.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_lie_in_the_code_and_apart() {
        let code = code();
        assert!(code.len() < 4096 - TEXT_OFFSET);
        let functions = functions();
        for pair in functions.windows(2) {
            assert!(pair[0].offset < pair[1].offset);
        }
        assert!(functions.iter().all(|f| f.offset < code.len()));
        assert_eq!(functions[0].offset % 16, 0);
    }
}
