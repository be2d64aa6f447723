//! Page faults.

use tyn_abi::{Access, Errno, PAGE_SIZE, UserVa};
use tyn_hal::mem::{Frame, OutOfMemory, PageTable, Perms};
use tyn_vm::{Fix, Limits, PagePerms, SegvCode};

use super::{Inner, MappedFile, Mm, zeros};

/// Pages of a file around the faulting one are mapped with it if they exist: this many bytes (as Linux).
const FAULT_AROUND: u64 = 64 << 10;

/// An access that cannot be made, as the signal that it becomes (`sigaction(2)`, "The siginfo_t argument").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadAccess {
    /// Nothing is mapped there: SIGSEGV, `SEGV_MAPERR`.
    NotMapped,
    /// The mapping forbids it: SIGSEGV, `SEGV_ACCERR`.
    Forbidden,
    /// Past the end of the mapped file: SIGBUS, `BUS_ADRERR`.
    PastEnd,
    /// No memory is left: some process is killed (SIGKILL), and the access is tried again.
    OutOfMemory,
}

impl From<OutOfMemory> for BadAccess {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl From<SegvCode> for BadAccess {
    fn from(code: SegvCode) -> Self {
        match code {
            SegvCode::NotMapped => Self::NotMapped,
            SegvCode::NotAllowed => Self::Forbidden,
        }
    }
}

impl From<BadAccess> for Errno {
    fn from(bad: BadAccess) -> Self {
        match bad {
            BadAccess::OutOfMemory => Self::ENOMEM,
            _ => Self::EFAULT,
        }
    }
}

impl Mm {
    /// Brings in the page at `addr` for `access`, in ring 3's name.
    ///
    /// # Errors
    /// [`BadAccess`].
    pub fn handle_fault(&self, addr: UserVa, access: Access) -> Result<(), BadAccess> {
        let limits = self.fault_limits();
        self.inner.lock().fault(addr, access, &limits)
    }

    /// Brings in the pages of `[start, end)`, for writing where that is allowed (`MAP_POPULATE`, `mlock(2)`). Stops at the first
    /// page that cannot be had.
    ///
    /// # Errors
    /// [`BadAccess`] of that page.
    pub fn populate(&self, start: UserVa, end: UserVa) -> Result<(), BadAccess> {
        let mut va = start.page();
        while va < end {
            match self.handle_fault(va, Access::Write) {
                Err(BadAccess::Forbidden) => self.handle_fault(va, Access::Read)?,
                result => result?,
            }
            va = va
                .checked_add(PAGE_SIZE as u64)
                .ok_or(BadAccess::NotMapped)?;
        }
        Ok(())
    }
}

impl Inner {
    /// Resolves one fault.
    pub(super) fn fault(
        &mut self,
        addr: UserVa,
        access: Access,
        limits: &Limits,
    ) -> Result<(), BadAccess> {
        let va = addr.page();
        let Self { space, table } = self;
        let present = table.get(va).map(|mapping| from_perms(mapping.perms));
        match space.fault(addr.0, access, present, limits)? {
            Fix::Retry => Ok(()),
            Fix::MapZero { execute } => Ok(table.map(
                va,
                zeros().clone(),
                Perms {
                    write: false,
                    execute,
                },
            )?),
            Fix::MapFresh { execute } => Ok(table.map(
                va,
                Frame::zeroed()?,
                Perms {
                    write: true,
                    execute,
                },
            )?),
            Fix::Widen { perms } => {
                let mapping = table.get(va).ok_or(BadAccess::NotMapped)?;
                Ok(table.map(va, mapping.frame, to_perms(perms))?)
            }
            Fix::Own { execute } => own(table, va, execute),
            Fix::CopyFile {
                file,
                page,
                execute,
            } => {
                let copy = file_frame(file, page, false)?.duplicate()?;
                Ok(table.map(
                    va,
                    copy,
                    Perms {
                        write: true,
                        execute,
                    },
                )?)
            }
            Fix::MapFile { file, page, perms } => {
                table.map(va, file_frame(file, page, perms.write)?, to_perms(perms))?;
                if !perms.write {
                    let file = file.clone();
                    self.map_around(va, &file, page, to_perms(perms));
                }
                Ok(())
            }
        }
    }

    /// Maps the pages around `va` of the same mapping that exist and are not mapped yet.
    fn map_around(&mut self, va: UserVa, file: &MappedFile, page: u64, perms: Perms) {
        const PAGE: u64 = PAGE_SIZE as u64;
        let range = self.space.fault_around(va.0, FAULT_AROUND);
        // Without memory for page tables the neighbours simply stay away. They are in the same part as `va`.
        let Ok(mut leaf) = self.table.leaf(va) else {
            return;
        };
        let first = page - (va.0 - range.start) / PAGE;
        let end = first + (range.end - range.start) / PAGE;
        file.resident_frames(first..end, &mut |index, frame| {
            let at = UserVa(range.start + (index - first) * PAGE);
            leaf.map_if_absent(at, frame, perms);
        });
    }
}

/// Gives a private page to its address space for writing: as it is when nobody else has it, else as a copy.
fn own(table: &mut PageTable, va: UserVa, execute: bool) -> Result<(), BadAccess> {
    if table.allow_write_if_unique(va) {
        return Ok(());
    }
    let mapping = table.get(va).ok_or(BadAccess::NotMapped)?;
    let is_zeros = mapping.frame.phys() == zeros().phys();
    let copy = if is_zeros {
        Frame::zeroed()?
    } else {
        mapping.frame.duplicate()?
    };
    Ok(table.map(
        va,
        copy,
        Perms {
            write: true,
            execute,
        },
    )?)
}

fn file_frame(file: &MappedFile, page: u64, write: bool) -> Result<Frame, BadAccess> {
    file.frame(page, write).map_err(|errno| match errno {
        Errno::ENOMEM => BadAccess::OutOfMemory,
        _ => BadAccess::PastEnd,
    })
}

fn from_perms(perms: Perms) -> PagePerms {
    PagePerms {
        write: perms.write,
        execute: perms.execute,
    }
}

fn to_perms(perms: PagePerms) -> Perms {
    Perms {
        write: perms.write,
        execute: perms.execute,
    }
}
