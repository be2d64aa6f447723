//! Random bytes: for `getrandom(2)`, `/dev/urandom`, and what programs are placed at.

use tyn_hal::random;
use tyn_hal::sync::SpinLock;
use tyn_rand::Generator;

/// Fresh entropy is mixed in after this many bytes.
const RESEED_AFTER: u64 = 1 << 20;

static GENERATOR: SpinLock<Option<Generator>> = SpinLock::new(None);

/// Fills `dst` with unpredictable bytes.
pub fn fill(dst: &mut [u8]) {
    let mut slot = GENERATOR.lock();
    let generator = slot.get_or_insert_with(|| Generator::new(&fresh_seed()));
    if generator.produced() > RESEED_AFTER {
        generator.reseed(&fresh_seed());
    }
    generator.fill(dst);
}

/// Returns an unpredictable number.
#[must_use]
pub fn number() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

fn fresh_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    // Without a hardware source the time-stamp counter's jitter has to do, as on Linux early after boot.
    let _ = random::seed(&mut seed);
    seed
}
