//! The clocks of known rate that the TSC is measured against.

use crate::arch::x86_64::{apic, in_u8, in_u32, out_u8, read_tsc};

/// Frequency of the ACPI power-management timer in Hz.
const PM_TIMER_HZ: u64 = 3_579_545;
/// Frequency of the PIT in Hz.
const PIT_HZ: u64 = 1_193_182;

/// A clock of known rate.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reference {
    PmTimer(u16),
    Pit,
    /// The TSC itself, whose rate in Hz was told: where there is no other.
    Tsc(u64),
}

impl Reference {
    pub(super) fn hz(self) -> u64 {
        match self {
            Self::PmTimer(_) => PM_TIMER_HZ,
            Self::Pit => PIT_HZ,
            Self::Tsc(hz) => hz,
        }
    }

    /// Returns the PIT if there is one (QEMU's microvm may have none): its status tells how it was set up.
    pub(super) fn pit() -> Option<Self> {
        /// Access to both bytes of the count, mode 0, binary (Intel 8254, read-back status).
        const SET_UP: u8 = 0x30;
        Self::Pit.start();
        (status_2() & 0x3f == SET_UP).then_some(Self::Pit)
    }

    /// Starts the clock where it needs that: PIT channel 2 counts down from 65536, speaker off.
    pub(super) fn start(self) {
        if let Self::Pit = self {
            for (port, value) in [(0x61, 0x01), (0x43, 0xb0), (0x42, 0xff), (0x42, 0xff)] {
                // SAFETY: PIT channel 2 and its gate, which only hal uses.
                unsafe { out_u8(port, value) };
            }
        }
    }

    /// Returns whether the clock can no longer tell how much time has passed since [`Reference::start`]: the PIT's output is
    /// high once it has counted down (mode 0), after 55 ms. The other one goes on for 4.7 s.
    pub(super) fn has_run_out(self) -> bool {
        const OUTPUT: u8 = 0x80;
        match self {
            Self::PmTimer(_) | Self::Tsc(_) => false,
            Self::Pit => status_2() & OUTPUT != 0,
        }
    }

    /// Returns after how many ticks the clock begins again; a power of two.
    pub(super) fn period(self) -> u64 {
        match self {
            Self::PmTimer(_) => 1 << 24,
            Self::Pit => 1 << 16,
            Self::Tsc(_) => 1 << 32,
        }
    }

    /// Returns ticks that count upwards modulo [`Reference::period`].
    fn read(self) -> u64 {
        match self {
            // SAFETY: reading the timer has no effects.
            Self::PmTimer(port) => u64::from(unsafe { in_u32(port) } & 0xff_ffff),
            Self::Pit => {
                // SAFETY: latches PIT channel 2, which only hal uses.
                unsafe { out_u8(0x43, 0x80) };
                // SAFETY: reads the latched count.
                let low = unsafe { in_u8(0x42) };
                // SAFETY: reads the latched count.
                let high = unsafe { in_u8(0x42) };
                0xffff - u64::from(u16::from_le_bytes([low, high]))
            }
            Self::Tsc(_) => read_tsc() & (self.period() - 1),
        }
    }

    /// Reads the clock, the TSC and the APIC timer at nearly the same moment: the closest of a few tries, since the host may take
    /// the CPU away in the middle of one.
    pub(super) fn sample(self) -> Sample {
        let try_once = || {
            let before = read_tsc();
            let apic = apic::timer_elapsed();
            let tsc = read_tsc();
            let ticks = self.read();
            let took = read_tsc() - before;
            Sample {
                ticks,
                tsc,
                apic,
                took,
            }
        };
        let mut best = try_once();
        for _ in 0..7 {
            let next = try_once();
            if next.took < best.took {
                best = next;
            }
        }
        best
    }
}

/// Returns the status of PIT channel 2.
fn status_2() -> u8 {
    /// Read-back command: latch the status of channel 2 (Intel 8254).
    const STATUS_2: u8 = 0xe8;
    // SAFETY: PIT channel 2, which only hal uses.
    unsafe { out_u8(0x43, STATUS_2) };
    // SAFETY: reads the latched status.
    unsafe { in_u8(0x42) }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// The clock, modulo [`Reference::period`].
    pub(super) ticks: u64,
    pub(super) tsc: u64,
    /// Ticks of the APIC timer since it was started.
    pub(super) apic: u32,
    /// How many ticks of the TSC it took: the three are no further apart.
    pub(super) took: u64,
}
