//! Memory: `mmap(2)`, `munmap(2)`, `mprotect(2)`, `brk(2)`, `mremap(2)`, `madvise(2)`, `mincore(2)`, `msync(2)`, `mlock(2)` and
//! its family.

use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::fs::fcntl;
use tyn_abi::memory::{map, mlock, mremap, msync, prot};
use tyn_abi::{Errno, Fd, PAGE_SIZE, USER_END, UserVa};
use tyn_vm::{Advice, FilePart, MapRequest, Placement, Prot, RemapRequest, VmFlags};

use crate::cx::{Cx, SysResult};
use crate::file::OpenFile;
use crate::fs::RegularFile;
use crate::mm::{MappedFile, SharedMemory};
use crate::sched;
use crate::user_io;

const PAGE: u64 = PAGE_SIZE as u64;

/// Flags that `MAP_SHARED_VALIDATE` accepts: those of old (`LEGACY_MAP_MASK`).
const LEGACY_FLAGS: u32 = map::MAP_SHARED
    | map::MAP_PRIVATE
    | map::MAP_FIXED
    | map::MAP_ANONYMOUS
    | map::MAP_DENYWRITE
    | map::MAP_EXECUTABLE
    | map::MAP_GROWSDOWN
    | map::MAP_LOCKED
    | map::MAP_NORESERVE
    | map::MAP_POPULATE
    | map::MAP_NONBLOCK
    | map::MAP_STACK
    | map::MAP_HUGETLB
    | map::MAP_32BIT;

/// `mmap(2)`. Huge pages (`MAP_HUGETLB`) are `ENOMEM`, as on a system that has none reserved; `MAP_SYNC` is `EOPNOTSUPP`.
/// Addresses below 64 KiB are refused even though everybody is root.
pub(crate) fn sys_mmap(
    cx: &mut Cx<'_>,
    addr: u64,
    len: u64,
    rights: u32,
    flags: u32,
    fd: Fd,
    offset: u64,
) -> SysResult {
    if !offset.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let open = if flags & map::MAP_ANONYMOUS == 0 {
        let open = cx.process.files().get(fd)?;
        if open.is_path_only() {
            return Err(Errno::EBADF);
        }
        Some(open)
    } else {
        None
    };
    if flags & map::MAP_HUGETLB != 0 {
        cx.trace_unsupported("mmap MAP_HUGETLB", u64::from(flags));
        return Err(if open.is_some() {
            Errno::EINVAL
        } else {
            Errno::ENOMEM
        });
    }
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    let prot = Prot::from_bits_truncate(rights);
    let limits = cx.process.limits.memory();
    let sealable = open.clone();
    let (file, max_prot) = match open {
        Some(open) => file_to_map(cx, open, prot, flags, offset / PAGE)?,
        None => (anonymous(flags, len, limits.ram)?, Prot::all()),
    };
    let request = MapRequest {
        addr,
        len,
        placement: placement(flags),
        prot,
        max_prot,
        flags: vm_flags(flags),
        file,
        name: None,
    };
    let mm = cx.process.mm();
    let writes_shared = flags & map::MAP_TYPE != map::MAP_PRIVATE && max_prot.contains(Prot::WRITE);
    let start = mm.map(request, &limits)?;
    if writes_shared && sealable.is_some_and(|open| is_sealed(&open)) {
        // It was sealed meanwhile (see `Body::add_seals`).
        mm.unmap(start, len, || {})?;
        return Err(Errno::EPERM);
    }
    if flags & map::MAP_POPULATE != 0 && flags & map::MAP_NONBLOCK == 0 {
        // The mapping stands whether or not it can be filled now.
        let _ = mm.populate(UserVa(start), UserVa(start.saturating_add(len)));
    }
    Ok(start)
}

/// Checks that a file may be mapped like this; returns it with the rights that `mprotect(2)` may give later.
fn file_to_map(
    cx: &Cx<'_>,
    open: Arc<OpenFile>,
    prot: Prot,
    flags: u32,
    page: u64,
) -> Result<(Option<FilePart<MappedFile>>, Prot), Errno> {
    let kind = flags & map::MAP_TYPE;
    let mut max_prot = Prot::all();
    match kind {
        map::MAP_SHARED_VALIDATE if flags & !(LEGACY_FLAGS | map::MAP_FIXED_NOREPLACE) != 0 => {
            cx.trace_unsupported("mmap MAP_SHARED_VALIDATE", u64::from(flags));
            return Err(Errno::EOPNOTSUPP);
        }
        map::MAP_SHARED | map::MAP_SHARED_VALIDATE => {
            if !open.is_writable() {
                max_prot = Prot::READ | Prot::EXEC;
            }
        }
        map::MAP_PRIVATE => {}
        _ => return Err(Errno::EINVAL),
    }
    if !open.is_readable() || !max_prot.contains(prot) {
        return Err(Errno::EACCES);
    }
    if is_sealed(&open) && flags & map::MAP_TYPE != map::MAP_PRIVATE {
        if prot.contains(Prot::WRITE) {
            return Err(Errno::EPERM);
        }
        max_prot.remove(Prot::WRITE);
    }
    // A page past every end exists in no file; what cannot be mapped at all says so.
    if open.file.frame(u64::MAX / PAGE, false).err() == Some(Errno::ENODEV) {
        return Err(Errno::ENODEV);
    }
    Ok((
        Some(FilePart {
            file: MappedFile::new(open),
            page,
        }),
        max_prot,
    ))
}

/// Returns whether a file is sealed against being written through mappings (`F_SEAL_WRITE`, `F_SEAL_FUTURE_WRITE`).
fn is_sealed(open: &OpenFile) -> bool {
    let seals = open
        .downcast::<RegularFile>()
        .map(|file| file.body().seals());
    seals.is_some_and(|seals| seals & (fcntl::F_SEAL_WRITE | fcntl::F_SEAL_FUTURE_WRITE) != 0)
}

/// Returns what is behind anonymous memory: nothing, or pages of its own when it is shared.
fn anonymous(flags: u32, len: u64, ram: u64) -> Result<Option<FilePart<MappedFile>>, Errno> {
    match flags & map::MAP_TYPE {
        map::MAP_PRIVATE => Ok(None),
        map::MAP_SHARED if flags & map::MAP_GROWSDOWN != 0 => Err(Errno::EINVAL),
        map::MAP_SHARED => {
            if flags & map::MAP_NORESERVE == 0 && len > ram {
                return Err(Errno::ENOMEM);
            }
            let file = MappedFile::new(SharedMemory::create(len));
            Ok(Some(FilePart { file, page: 0 }))
        }
        _ => Err(Errno::EINVAL),
    }
}

fn placement(flags: u32) -> Placement {
    if flags & map::MAP_FIXED_NOREPLACE != 0 {
        Placement::FixedNoReplace
    } else if flags & map::MAP_FIXED != 0 {
        Placement::Fixed
    } else if flags & map::MAP_32BIT != 0 {
        Placement::Low
    } else {
        Placement::Anywhere
    }
}

fn vm_flags(flags: u32) -> VmFlags {
    let mut out = VmFlags::empty();
    out.set(VmFlags::SHARED, flags & map::MAP_SHARED != 0);
    out.set(VmFlags::GROWS_DOWN, flags & map::MAP_GROWSDOWN != 0);
    out.set(VmFlags::NO_RESERVE, flags & map::MAP_NORESERVE != 0);
    out.set(VmFlags::LOCKED, flags & map::MAP_LOCKED != 0);
    out
}

/// `munmap(2)`.
pub(crate) fn sys_munmap(cx: &mut Cx<'_>, addr: u64, len: u64) -> SysResult {
    cx.process
        .mm()
        .unmap(addr, len, || sched::pause_point(cx.thread))?;
    Ok(0)
}

/// `mprotect(2)`. `PROT_GROWSDOWN` and `PROT_GROWSUP` are `EINVAL`.
pub(crate) fn sys_mprotect(cx: &mut Cx<'_>, addr: u64, len: u64, rights: u32) -> SysResult {
    if !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let known = prot::PROT_READ | prot::PROT_WRITE | prot::PROT_EXEC | prot::PROT_SEM;
    if rights & !known != 0 && len != 0 {
        cx.trace_unsupported("mprotect rights", u64::from(rights));
        return Err(Errno::EINVAL);
    }
    let limits = cx.process.limits.memory();
    let prot = Prot::from_bits_truncate(rights);
    cx.process.mm().protect(addr, len, prot, &limits)?;
    Ok(0)
}

/// `brk(2)`, the system call: returns the break, moved or not.
pub(crate) fn sys_brk(cx: &mut Cx<'_>, end: u64) -> SysResult {
    let limits = cx.process.limits.memory();
    Ok(cx.process.mm().set_break(end, &limits))
}

/// `mremap(2)`: all flags.
pub(crate) fn sys_mremap(
    cx: &mut Cx<'_>,
    old: u64,
    old_len: u64,
    new_len: u64,
    flags: u32,
    new_addr: u64,
) -> SysResult {
    let known = mremap::MREMAP_MAYMOVE | mremap::MREMAP_FIXED | mremap::MREMAP_DONTUNMAP;
    if flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let request = RemapRequest {
        old,
        old_len,
        new_len,
        may_move: flags & mremap::MREMAP_MAYMOVE != 0,
        fixed: (flags & mremap::MREMAP_FIXED != 0).then_some(new_addr),
        keep_old: (flags & mremap::MREMAP_DONTUNMAP != 0).then_some(new_addr),
    };
    let limits = cx.process.limits.memory();
    cx.process.mm().remap(&request, &limits)
}

/// `madvise(2)`. `MADV_REMOVE` and what needs KSM or memory failure injection are `EINVAL`.
pub(crate) fn sys_madvise(cx: &mut Cx<'_>, addr: u64, len: u64, advice: i32) -> SysResult {
    let Some(advice) = Advice::decode(advice) else {
        cx.trace_unsupported("madvise", u64::from(advice.cast_unsigned()));
        return Err(Errno::EINVAL);
    };
    cx.process.mm().advise(addr, len, advice, || {
        sched::pause_point(cx.thread);
        !cx.thread.is_killed()
    })?;
    Ok(0)
}

/// `mincore(2)`. Pages that are not mapped count as absent even when their file has them in memory.
pub(crate) fn sys_mincore(cx: &mut Cx<'_>, addr: u64, len: u64, vec: UserVa) -> SysResult {
    const CHUNK: u64 = 4096 * PAGE;
    if !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let end = len
        .checked_next_multiple_of(PAGE)
        .and_then(|len| addr.checked_add(len));
    let end = end.filter(|&end| end <= USER_END).ok_or(Errno::ENOMEM)?;
    let mm = cx.process.mm();
    let (mut at, mut out) = (addr, vec);
    while at < end {
        let next = at.saturating_add(CHUNK).min(end);
        sched::pause_point(cx.thread);
        let present = mm.residency(UserVa(at), UserVa(next))?;
        let bytes: Vec<u8> = present.into_iter().map(u8::from).collect();
        user_io::write_bytes(out, &bytes)?;
        out = out.wrapping_add(bytes.len() as u64);
        at = next;
    }
    Ok(0)
}

/// `msync(2)`: there is nothing to write back, files and shared mappings are the same pages.
pub(crate) fn sys_msync(cx: &mut Cx<'_>, addr: u64, len: u64, flags: u32) -> SysResult {
    let both = msync::MS_ASYNC | msync::MS_SYNC;
    let is_valid = flags & !(both | msync::MS_INVALIDATE) == 0 && flags & both != both;
    if !is_valid || !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let end = len
        .checked_next_multiple_of(PAGE)
        .and_then(|len| addr.checked_add(len));
    let end = end.ok_or(Errno::ENOMEM)?;
    let (is_mapped, is_locked) = cx.process.mm().coverage(addr, end);
    if flags & msync::MS_INVALIDATE != 0 && is_locked {
        return Err(Errno::EBUSY);
    }
    if is_mapped { Ok(0) } else { Err(Errno::ENOMEM) }
}

/// `mlock(2)`; nothing is ever paged out, so it brings the pages in.
pub(crate) fn sys_mlock(cx: &mut Cx<'_>, addr: u64, len: u64) -> SysResult {
    cx.process.mm().set_locked(addr, len, true, false)?;
    Ok(0)
}

/// `mlock2(2)`.
pub(crate) fn sys_mlock2(cx: &mut Cx<'_>, addr: u64, len: u64, flags: u32) -> SysResult {
    if flags & !mlock::MLOCK_ONFAULT != 0 {
        return Err(Errno::EINVAL);
    }
    cx.process
        .mm()
        .set_locked(addr, len, true, flags & mlock::MLOCK_ONFAULT != 0)?;
    Ok(0)
}

/// `munlock(2)`.
pub(crate) fn sys_munlock(cx: &mut Cx<'_>, addr: u64, len: u64) -> SysResult {
    cx.process.mm().set_locked(addr, len, false, false)?;
    Ok(0)
}

/// `mlockall(2)`.
pub(crate) fn sys_mlockall(cx: &mut Cx<'_>, flags: u32) -> SysResult {
    let known = mlock::MCL_CURRENT | mlock::MCL_FUTURE | mlock::MCL_ONFAULT;
    if flags == 0 || flags & !known != 0 || flags == mlock::MCL_ONFAULT {
        return Err(Errno::EINVAL);
    }
    let current = (flags & mlock::MCL_CURRENT != 0).then_some(true);
    let future = flags & mlock::MCL_FUTURE != 0;
    let on_fault = flags & mlock::MCL_ONFAULT != 0;
    cx.process.mm().set_all_locked(current, future, on_fault);
    Ok(0)
}

/// `munlockall(2)`.
pub(crate) fn sys_munlockall(cx: &mut Cx<'_>) -> SysResult {
    cx.process.mm().set_all_locked(Some(false), false, false);
    Ok(0)
}
