//! `madvise(2)`.

use crate::{Space, VmFlags, Vma};
use alloc::vec::Vec;
use tyn_abi::Errno;

/// The advice of `madvise(2)`, as far as it has an effect or must be checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// About access order or reclaim (`NORMAL`, `RANDOM`, `SEQUENTIAL`, `WILLNEED`, `COLD`, `PAGEOUT`): nothing to do here.
    Hint,
    /// `MADV_DONTNEED`: private changes are lost, pages are given back.
    DontNeed,
    /// `MADV_DONTNEED_LOCKED`: the same for locked memory, too.
    DontNeedLocked,
    /// `MADV_FREE`: as `DONTNEED`, at a time of the kernel's choice (at once), for private anonymous memory only.
    Free,
    /// Sets and clears properties.
    Set(VmFlags, VmFlags),
    /// `MADV_POPULATE_READ` and `MADV_POPULATE_WRITE`: the caller faults the pages in.
    Populate,
}

impl Advice {
    /// Decodes the argument; `None` for what Linux without KSM, memory failure injection and the like refuses (`EINVAL`).
    #[must_use]
    pub fn decode(advice: i32) -> Option<Self> {
        let (none, set) = (VmFlags::empty(), Self::Set);
        Some(match advice {
            0..=3 | 20 | 21 => Self::Hint,
            4 => Self::DontNeed,
            8 => Self::Free,
            10 => set(VmFlags::NO_FORK, none),
            11 => set(none, VmFlags::NO_FORK),
            14 => set(VmFlags::HUGE, VmFlags::NO_HUGE),
            15 => set(VmFlags::NO_HUGE, VmFlags::HUGE),
            16 => set(VmFlags::NO_DUMP, none),
            17 => set(none, VmFlags::NO_DUMP),
            18 => set(VmFlags::WIPE_ON_FORK, none),
            19 => set(none, VmFlags::WIPE_ON_FORK),
            22 | 23 => Self::Populate,
            24 => Self::DontNeedLocked,
            _ => return None,
        })
    }
}

/// What `madvise(2)` comes to.
#[derive(Debug)]
#[must_use]
pub struct Advised {
    /// Ranges whose translations (and with them private pages) are to be removed, in order. To be carried out even when
    /// `result` is an error.
    pub discard: Vec<(u64, u64)>,
    /// The call's result.
    pub result: Result<(), Errno>,
}

impl<F: Clone + PartialEq> Space<F> {
    /// Takes advice about a range. Holes are passed over, but the result is then `ENOMEM`, as on Linux.
    ///
    /// The result is `EINVAL` when `start` is misaligned, the range wraps around, or the advice does not suit a mapping.
    pub fn advise(&mut self, start: u64, len: u64, advice: Advice) -> Advised {
        let mut discard: Vec<(u64, u64)> = Vec::new();
        let range = Self::page_range(start, len, Errno::EINVAL);
        let result = range.and_then(|(start, end)| {
            let mut at = start;
            let mut has_hole = false;
            while at < end {
                let Some(vma) = self.overlapping(at, end).next() else {
                    has_hole = true;
                    break;
                };
                has_hole |= vma.start > at;
                let piece = vma.clip(at, end);
                self.advise_piece(&piece, advice)?;
                if matches!(
                    advice,
                    Advice::DontNeed | Advice::DontNeedLocked | Advice::Free
                ) {
                    match discard.last_mut() {
                        Some(last) if last.1 == piece.start => last.1 = piece.end,
                        _ => discard.push((piece.start, piece.end)),
                    }
                }
                at = piece.end;
            }
            if has_hole { Err(Errno::ENOMEM) } else { Ok(()) }
        });
        Advised { discard, result }
    }

    fn advise_piece(&mut self, piece: &Vma<F>, advice: Advice) -> Result<(), Errno> {
        let is_anonymous = piece.file.is_none() && !piece.is_shared();
        match advice {
            Advice::Hint | Advice::Populate => Ok(()),
            Advice::DontNeed if piece.flags.contains(VmFlags::LOCKED) => Err(Errno::EINVAL),
            Advice::DontNeed | Advice::DontNeedLocked => Ok(()),
            Advice::Free if is_anonymous => Ok(()),
            Advice::Free => Err(Errno::EINVAL),
            Advice::Set(set, _) if set.contains(VmFlags::WIPE_ON_FORK) && !is_anonymous => {
                Err(Errno::EINVAL)
            }
            Advice::Set(_, clear)
                if clear.contains(VmFlags::NO_FORK) && piece.flags.contains(VmFlags::SPECIAL) =>
            {
                Err(Errno::EINVAL)
            }
            Advice::Set(set, clear) => {
                let flags = (piece.flags | set) & !clear;
                if flags == piece.flags {
                    return Ok(());
                }
                self.change_piece(piece, |vma| vma.flags = flags)
            }
        }
    }
}
