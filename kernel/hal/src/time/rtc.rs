//! The real-time clock (Motorola MC146818).

use crate::arch::x86_64::{in_u8, out_u8};

/// Reads a CMOS register.
#[inline(never)]
fn cmos(register: u8) -> u8 {
    // SAFETY: selects a clock register (NMI stays enabled); only hal uses these ports.
    unsafe { out_u8(0x70, register) };
    // SAFETY: reading it has no effects.
    unsafe { in_u8(0x71) }
}

/// What ports read as where there is no clock, as on QEMU's microvm under KVM.
const NOTHING: [u8; 6] = [0xff; 6];

/// Returns the seconds since 1970, `None` where there is no such clock. Two equal readings in a row are taken, so no update fell
/// in between.
pub(super) fn read() -> Option<u64> {
    let read = || [0, 2, 4, 7, 8, 9].map(cmos);
    let mut last = read();
    for _ in 0..16 {
        let next = read();
        if next == last {
            break;
        }
        last = next;
    }
    (last != NOTHING).then(|| decode(last, cmos(0x0b)))
}

/// Converts clock registers (seconds, minutes, hours, day, month, year) to seconds since 1970; `status_b` says whether they
/// are binary (bit 2) and 24-hour (bit 1).
fn decode(registers: [u8; 6], status_b: u8) -> u64 {
    const BINARY: u8 = 4;
    const HOURS_24: u8 = 2;
    const PM: u8 = 0x80;
    let value = |r: u8| {
        if status_b & BINARY != 0 {
            u64::from(r)
        } else {
            u64::from(r >> 4) * 10 + u64::from(r & 15)
        }
    };
    let [second, minute, hour, day, month, year] = registers;
    let mut hours = value(hour & !PM);
    if status_b & HOURS_24 == 0 {
        hours = hours % 12 + if hour & PM != 0 { 12 } else { 0 };
    }
    let days = days_from_civil(
        2000 + value(year),
        value(month).clamp(1, 12),
        value(day).max(1),
    );
    ((days * 24 + hours) * 60 + value(minute)) * 60 + value(second)
}

/// Returns the days from 1970-01-01 to a Gregorian date from 1970 on.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    // Years from March on, so that the leap day is the last one.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_from_1970() {
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(days_from_civil(2000, 3, 1), 11_017);
        assert_eq!(days_from_civil(2026, 11, 24), 20_781);
    }

    #[test]
    fn rtc_is_read_in_bcd_and_binary() {
        let noon = (20_781 * 24 + 13) * 3600 + 59 * 60 + 58;
        assert_eq!(decode([0x58, 0x59, 0x13, 0x24, 0x11, 0x26], 2), noon);
        assert_eq!(decode([58, 59, 13, 24, 11, 26], 6), noon);
        assert_eq!(decode([0x58, 0x59, 0x81, 0x24, 0x11, 0x26], 0), noon);
    }
}
