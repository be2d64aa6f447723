//! Entropy from the CPU.

/// Fills `dst` with entropy: RDSEED or RDRAND where the CPU has them, always mixed with time-stamp jitter. It seeds
/// generators; it is not one itself. Returns whether a hardware source was used.
pub fn seed(dst: &mut [u8; 32]) -> bool {
    let _ = dst;
    unimplemented!()
}
