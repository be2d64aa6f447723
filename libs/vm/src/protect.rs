//! `mprotect(2)`.

use crate::{Limits, Prot, Space, Vma};
use alloc::vec::Vec;
use tyn_abi::Errno;

/// A range whose rights changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RightsChange {
    /// First address.
    pub start: u64,
    /// First address past it.
    pub end: u64,
    /// Rights before.
    pub old: Prot,
    /// Rights now.
    pub new: Prot,
}

/// What `mprotect(2)` did.
#[derive(Debug)]
#[must_use]
pub struct Protected {
    /// Ranges whose rights changed, in order; adjacent ones with the same change are one. To be carried out even when
    /// `result` is an error: the call changes what lies before the address that it fails at.
    pub changes: Vec<RightsChange>,
    /// The call's result.
    pub result: Result<(), Errno>,
}

impl<F: Clone + PartialEq> Space<F> {
    /// Sets the rights of a range (`mprotect(2)`).
    ///
    /// The result is `EINVAL` when `start` is misaligned, `ENOMEM` when part of the range is not mapped, wraps around, or a limit
    /// is exceeded, `EACCES` when a mapping may not have these rights.
    pub fn protect(&mut self, start: u64, len: u64, prot: Prot, limits: &Limits) -> Protected {
        let mut changes: Vec<RightsChange> = Vec::new();
        let result = Self::page_range(start, len, Errno::ENOMEM).and_then(|(start, end)| {
            self.walk(start, end, |space, piece| {
                space.protect_piece(piece, prot, limits)?;
                let change = RightsChange {
                    start: piece.start,
                    end: piece.end,
                    old: piece.prot,
                    new: prot,
                };
                match changes.last_mut() {
                    Some(last) if last.end == change.start && last.old == change.old => {
                        last.end = change.end;
                    }
                    _ if change.old != change.new => changes.push(change),
                    _ => {}
                }
                Ok(())
            })
        });
        Protected { changes, result }
    }

    fn protect_piece(&mut self, piece: &Vma<F>, prot: Prot, limits: &Limits) -> Result<(), Errno> {
        if !piece.max_prot.contains(prot) {
            return Err(Errno::EACCES);
        }
        if piece.prot == prot {
            return Ok(());
        }
        let newly_charged = Vma::<F>::is_accountable(piece.flags, prot)
            && !Vma::<F>::is_accountable(piece.flags, piece.prot);
        let newly_data = prot.contains(Prot::WRITE)
            && !piece.prot.contains(Prot::WRITE)
            && !piece.is_shared()
            && !piece.flags.contains(crate::VmFlags::GROWS_DOWN);
        let data = self.usage().data.saturating_add(piece.len());
        if newly_charged && piece.len() > limits.ram || newly_data && data > limits.data {
            return Err(Errno::ENOMEM);
        }
        self.change_piece(piece, |vma| vma.prot = prot)
    }
}
