//! When what was received came (`socket(7)`: `SO_TIMESTAMP`, `SO_TIMESTAMPNS`).

use core::sync::atomic::{AtomicU8, Ordering};

use tyn_abi::Nanos;
use tyn_abi::socket::{SOL_SOCKET, so};
use tyn_hal::time;

use crate::socket::Control;

/// What a socket tells: nothing, `struct timeval`, `struct timespec`.
const NONE: u8 = 0;
const MICROSECONDS: u8 = 1;
const NANOSECONDS: u8 = 2;

/// Whether a socket tells when what it received came, and how.
#[derive(Debug, Default)]
pub(super) struct Stamps(AtomicU8);

impl Stamps {
    fn form(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn duplicate(&self) -> Self {
        Self(AtomicU8::new(self.form()))
    }

    pub(super) fn are_wanted(&self) -> bool {
        self.form() != NONE
    }

    /// Answers `getsockopt(2)`; `None` for other options.
    pub(super) fn get(&self, name: i32) -> Option<bool> {
        form_of(name).map(|form| self.form() == form)
    }

    /// Answers `setsockopt(2)`: one takes the other's place, and either ends both. `None` for other options.
    pub(super) fn set(&self, name: i32, is_on: bool) -> Option<()> {
        let form = form_of(name)?;
        let form = if is_on { form } else { NONE };
        self.0.store(form, Ordering::Relaxed);
        Some(())
    }

    /// Returns the control message of what came at `at`, if one is wanted.
    pub(super) fn control(&self, at: Nanos) -> Option<Control> {
        let (sec, nsec) = (time::wall_at_boot() + at).split();
        let (kind, part) = match self.form() {
            MICROSECONDS => (so::TIMESTAMP, nsec / 1000),
            NANOSECONDS => (so::TIMESTAMPNS, nsec),
            _ => return None,
        };
        Some(Control {
            level: SOL_SOCKET,
            kind,
            data: [sec.to_le_bytes(), u64::from(part).to_le_bytes()].concat(),
        })
    }
}

fn form_of(name: i32) -> Option<u8> {
    match name {
        so::TIMESTAMP => Some(MICROSECONDS),
        so::TIMESTAMPNS => Some(NANOSECONDS),
        _ => None,
    }
}
