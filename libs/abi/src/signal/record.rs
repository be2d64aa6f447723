//! `struct signalfd_siginfo` (`signalfd(2)`).

use super::{SigInfo, Signal, code};

/// What the part of `siginfo_t` behind the code means (Linux's `siginfo_layout`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Kill,
    Timer,
    Queue,
    Child,
    Fault,
    Other,
}

fn layout(signal: Signal, code: i32) -> Layout {
    match code {
        code::SI_TIMER => Layout::Timer,
        code::SI_USER | code::SI_KERNEL | code::SI_TKILL => Layout::Kill,
        ..0 => Layout::Queue,
        _ => match signal {
            Signal::SIGCHLD => Layout::Child,
            Signal::SIGSEGV
            | Signal::SIGBUS
            | Signal::SIGILL
            | Signal::SIGFPE
            | Signal::SIGTRAP => Layout::Fault,
            _ => Layout::Other,
        },
    }
}

/// Copies fields, each from an offset in `siginfo_t` to one here, with its length.
fn copy(info: &[u8; 128], record: &mut [u8; 128], fields: &[(usize, usize, usize)]) {
    for &(from, to, len) in fields {
        let source = info.get(from..from.saturating_add(len));
        let target = record.get_mut(to..to.saturating_add(len));
        if let (Some(source), Some(target)) = (source, target) {
            target.copy_from_slice(source);
        }
    }
}

impl SigInfo {
    /// Returns the `struct signalfd_siginfo` that `read(2)` gives.
    #[must_use]
    pub fn to_signalfd(&self) -> [u8; 128] {
        let info = self.to_bytes();
        let mut record = [0; 128];
        // Number, errno, code.
        copy(&info, &mut record, &[(0, 0, 4), (4, 4, 4), (8, 8, 4)]);
        let fields: &[(usize, usize, usize)] = match layout(self.signal(), self.code()) {
            // Process, user.
            Layout::Kill => &[(16, 12, 4), (20, 16, 4)],
            // Timer, overrun, value as pointer and as int.
            Layout::Timer => &[(16, 24, 4), (20, 32, 4), (24, 48, 8), (24, 44, 4)],
            // Process, user, value.
            Layout::Queue => &[(16, 12, 4), (20, 16, 4), (24, 48, 8), (24, 44, 4)],
            // Process, user, status, times.
            Layout::Child => &[
                (16, 12, 4),
                (20, 16, 4),
                (24, 40, 4),
                (32, 56, 8),
                (40, 64, 8),
            ],
            // Address.
            Layout::Fault => &[(16, 72, 8)],
            Layout::Other => &[],
        };
        copy(&info, &mut record, fields);
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(record: &[u8; 128], at: usize) -> u32 {
        u32::from_le_bytes(record[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn child_keeps_status_and_times() {
        let info = SigInfo::from_child(code::CLD_EXITED, 7, 0, 9, 11, 12);
        let record = info.to_signalfd();
        let found = [0, 8, 12, 40, 56, 64].map(|at| word(&record, at));
        assert_eq!(found, [17, 1, 7, 9, 11, 12]);
    }

    #[test]
    fn timer_keeps_overrun_and_value_but_no_mark() {
        let info = SigInfo::from_timer(Signal::SIGALRM, 3, 0x1_0000_0002, 5);
        assert_eq!(info.timer_and_mark(), Some((3, 5)));
        let info = info.with_overrun(4);
        assert_eq!(info.timer_and_mark(), None);
        let record = info.to_signalfd();
        let found = [24, 32, 44, 48, 52].map(|at| word(&record, at));
        assert_eq!(found, [3, 4, 2, 2, 1]);
    }
}
