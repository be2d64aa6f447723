//! Address spaces: the map of what is where ([`tyn_vm::Space`], which decides) and the page table that caches it.
//!
//! Both are under one spinlock. It is taken by page faults, also those of user copies that run under an object's
//! lock, so the code under it takes nothing but a file's page lock ([`crate::file::File::frame`]), never copies from or
//! to user memory, and never drops a mapping's file: calls hand removed mappings out of the lock.
//!
//! A page table goes from less to more than the map allows only under the lock, so a fault that finds the map and the
//! page table in agreement was overtaken by another CPU and is simply retried.

mod calls;
mod fault;
mod image;
mod mapped;
mod shared;

pub use fault::BadAccess;
pub use image::Image;
pub use mapped::MappedFile;
pub use shared::SharedMemory;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tyn_abi::{Access, Errno, UserVa};
use tyn_hal::cpu::PerCpu;
use tyn_hal::mem::{Frame, PageTable};
use tyn_hal::sync::{Once, SpinLock};
use tyn_hal::user;
use tyn_vm::{Layout, Limits, Prot, Space, Usage, Vma};

use crate::file::OpenFile;
use crate::kernel::kernel;
use crate::process::Process;
use crate::sched;

const PAGE: u64 = tyn_abi::PAGE_SIZE as u64;

/// What memory the word of a shared futex lies in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FutexPlace {
    /// Private memory: the address identifies it within the address space.
    Private,
    /// A shared mapping.
    Shared {
        /// Identifies the file or anonymous object; never reused while somebody waits.
        object: u64,
        /// Byte offset.
        offset: u64,
    },
}

/// An address space.
#[derive(Debug)]
pub struct Mm {
    /// Tells address spaces apart; never reused.
    id: u64,
    inner: SpinLock<Inner>,
    /// `RLIMIT_STACK` of the process, for faults below the stack.
    stack_limit: AtomicU64,
    image: Once<Image>,
    /// Registrations of `membarrier(2)`.
    pub(crate) barriers: AtomicU32,
}

#[derive(Debug)]
struct Inner {
    space: Space<MappedFile>,
    table: PageTable,
}

/// The frame of zeros that untouched private memory reads from.
static ZEROS: Once<Frame> = Once::new();

/// What processes that have ended run in: nothing is mapped.
static NOTHING: Once<Arc<Mm>> = Once::new();

/// The address space that each CPU has loaded.
static LOADED: Once<PerCpu<AtomicU64>> = Once::new();

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Prepares memory management; called once, before the first process.
///
/// # Errors
/// `ENOMEM`.
pub fn init() -> Result<(), Errno> {
    ZEROS.set(Frame::zeroed()?);
    LOADED.set(PerCpu::new(|_| AtomicU64::new(0)));
    NOTHING.set(Arc::new(Mm::new(Layout::new(
        0,
        &tyn_vm::Randomness::default(),
    ))?));
    user::set_fault_handler(on_copy_fault);
    Ok(())
}

/// Resolves a fault of a user copy in the current thread's address space.
fn on_copy_fault(addr: UserVa, access: Access) -> bool {
    let Some(thread) = sched::current() else {
        return false;
    };
    let process = thread.process();
    thread.run.times.count_fault();
    process.times.count_fault();
    process.mm().handle_fault(addr, access).is_ok()
}

/// What happens to private copies of pages that leave a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrivateCopies {
    /// They go, too: the file is cut off before them.
    Forget,
    /// They stay: only the file's own pages are others now.
    Keep,
}

/// Makes every address space fault anew on `pages` of a file, which the file has dropped or replaced; `is_file` recognises
/// the file and takes no lock. The caller holds no page lock.
pub fn forget_pages(
    is_file: &impl Fn(&OpenFile) -> bool,
    pages: &Range<u64>,
    copies: PrivateCopies,
) {
    let processes: Vec<Arc<Process>> = kernel().processes.lock().values().cloned().collect();
    for process in processes {
        process.mm().forget_pages(is_file, pages, copies);
    }
}

/// Returns whether any process has a file mapped shared so that it may write, or may come to by `mprotect(2)`.
pub fn is_mapped_for_writing(is_file: &impl Fn(&OpenFile) -> bool) -> bool {
    let processes: Vec<Arc<Process>> = kernel().processes.lock().values().cloned().collect();
    processes.iter().any(|process| {
        let mut found = false;
        process.mm().for_each_mapping(|vma| {
            let file = vma.file.as_ref();
            found |= vma.is_shared()
                && vma.max_prot.contains(Prot::WRITE)
                && file.is_some_and(|part| is_file(part.file.open_file()));
        });
        found
    })
}

fn zeros() -> &'static Frame {
    ZEROS
        .get()
        .expect("invariant: mm::init ran before the first fault")
}

impl Mm {
    /// Makes an empty address space.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new(layout: Layout) -> Result<Self, Errno> {
        let table = PageTable::new()?;
        let inner = Inner {
            space: Space::new(layout),
            table,
        };
        Ok(Self {
            id: next_id(),
            inner: SpinLock::new(inner),
            stack_limit: AtomicU64::new(u64::MAX),
            image: Once::new(),
            barriers: AtomicU32::new(0),
        })
    }

    /// Returns the address space in which nothing is mapped, for processes that have ended.
    ///
    /// # Panics
    /// Before [`init`].
    #[must_use]
    pub fn nothing() -> Arc<Self> {
        Arc::clone(
            NOTHING
                .get()
                .expect("invariant: mm::init ran before the first process"),
        )
    }

    /// Returns a number that no other address space ever has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Loads this address space on the current CPU; called at each switch to a thread. Without the lock when it is loaded
    /// already: nothing else loads one, and as long as it exists nobody takes it from a CPU.
    ///
    /// # Panics
    /// Before [`init`].
    pub fn activate(&self) {
        let loaded = LOADED
            .get()
            .expect("invariant: mm::init ran before the first thread")
            .get();
        if loaded.load(Ordering::Relaxed) != self.id {
            self.inner.lock().table.activate();
            loaded.store(self.id, Ordering::Relaxed);
        }
    }

    /// Returns a copy for the child of a fork: private pages are shared copy-on-write, other pages come back by faulting.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn fork(&self) -> Result<Arc<Self>, Errno> {
        // The child is dropped after the lock is released when this fails half-way.
        let mut table = PageTable::new()?;
        let mut inner = self.inner.lock();
        let space = inner.space.fork();
        let result = space
            .iter()
            .filter(|vma| vma.has_pages_to_fork())
            .try_for_each(|vma| {
                let (start, end) = (UserVa(vma.start), UserVa(vma.end));
                inner.table.share_with(&mut table, start, end, true)
            });
        drop(inner);
        result?;
        let child = Self {
            id: next_id(),
            inner: SpinLock::new(Inner { space, table }),
            stack_limit: AtomicU64::new(self.stack_limit.load(Ordering::Relaxed)),
            image: Once::new(),
            barriers: AtomicU32::new(self.barriers.load(Ordering::Relaxed)),
        };
        if let Some(image) = self.image.get() {
            child.image.set(image.clone());
        }
        Ok(Arc::new(child))
    }

    /// Makes every CPU that runs a thread of this address space pass a full memory barrier and serialise its instruction
    /// stream before this returns (`membarrier(2)`).
    pub fn barrier(&self) {
        self.inner.lock().table.barrier();
    }

    /// Sets `RLIMIT_STACK`.
    pub fn set_stack_limit(&self, bytes: u64) {
        self.stack_limit.store(bytes, Ordering::Relaxed);
    }

    /// Returns facts about the program that was loaded, if any.
    #[must_use]
    pub fn image(&self) -> Option<&Image> {
        self.image.get()
    }

    /// Returns the sizes by kind.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.inner.lock().space.usage()
    }

    /// Returns how many frames are mapped (`VmRSS`).
    #[must_use]
    pub fn resident(&self) -> u64 {
        self.inner.lock().table.resident()
    }

    /// Returns how many mappings there are.
    #[must_use]
    pub fn mappings(&self) -> usize {
        self.inner.lock().space.count()
    }

    /// Returns how many frames were mapped at most (`ru_maxrss`, `VmHWM`).
    #[must_use]
    pub fn peak_resident(&self) -> u64 {
        self.inner.lock().table.peak_resident()
    }

    /// Returns the text of `/proc/PID/maps`.
    #[must_use]
    pub fn maps(&self) -> String {
        // Names come from files, whose locks must not be taken under ours.
        let space = self.inner.lock().space.clone();
        let mut out = String::new();
        for vma in space.iter() {
            let name = vma.file.as_ref().map(|part| part.file.maps_name());
            tyn_vm::maps_line(&mut out, vma, name.as_ref(), space.region_name(vma));
        }
        out
    }

    /// Tells what memory the word at `va` lies in (`futex(2)` without `FUTEX_PRIVATE_FLAG`).
    ///
    /// # Errors
    /// `EFAULT` when nothing is mapped there.
    pub fn futex_place(&self, va: UserVa) -> Result<FutexPlace, Errno> {
        let (file, page) = {
            let inner = self.inner.lock();
            let vma = inner.space.find(va.0).ok_or(Errno::EFAULT)?;
            match (&vma.file, vma.file_page(va.0)) {
                (Some(part), Some(page)) if vma.is_shared() => (part.file.clone(), page),
                _ => return Ok(FutexPlace::Private),
            }
        };
        let offset = page * tyn_abi::PAGE_SIZE as u64 + (va.0 - va.page().0);
        Ok(FutexPlace::Shared {
            object: file.identity(),
            offset,
        })
    }

    /// Writes into the address space, whether it is active or not, as ring 3 would (the stack of a new program,
    /// `CLONE_CHILD_SETTID`).
    ///
    /// # Errors
    /// `EFAULT`, `ENOMEM`.
    pub fn write(&self, va: UserVa, mut bytes: &[u8]) -> Result<(), Errno> {
        let mut va = va;
        while !bytes.is_empty() {
            let in_page = (va.0 - va.page().0) as usize;
            let len = bytes.len().min(tyn_abi::PAGE_SIZE - in_page);
            let (head, tail) = bytes.split_at(len);
            self.write_in_page(va, in_page, head)?;
            va = va.checked_add(len as u64).ok_or(Errno::EFAULT)?;
            bytes = tail;
        }
        Ok(())
    }

    /// Copies bytes that lie in one page out of the address space, whether it is active or not, bringing the page in as a
    /// read in ring 3 would (`process_vm_readv(2)`).
    ///
    /// # Errors
    /// `EFAULT`, `ENOMEM`.
    pub fn read_through(&self, va: UserVa, dst: &mut [u8]) -> Result<(), Errno> {
        let limits = self.fault_limits();
        let frame = {
            let mut inner = self.inner.lock();
            inner.fault(va, Access::Read, &limits)?;
            inner.table.get(va).ok_or(Errno::EFAULT)?.frame
        };
        frame.read((va.0 - va.page().0) as usize, dst);
        Ok(())
    }

    fn write_in_page(&self, va: UserVa, in_page: usize, bytes: &[u8]) -> Result<(), Errno> {
        let limits = self.fault_limits();
        let mut inner = self.inner.lock();
        inner.fault(va, Access::Write, &limits)?;
        let mapping = inner.table.get(va).ok_or(Errno::EFAULT)?;
        mapping.frame.write(in_page, bytes);
        Ok(())
    }

    /// Copies out of the address space, whether it is active or not, without bringing pages in: pages that are not present
    /// read as zeros. At most one page's worth of bytes for each page that is mapped there.
    pub fn read(&self, va: UserVa, dst: &mut [u8]) {
        let mut va = va;
        let mut rest = dst;
        while !rest.is_empty() {
            let in_page = (va.0 - va.page().0) as usize;
            let len = rest.len().min(tyn_abi::PAGE_SIZE - in_page);
            let (head, tail) = rest.split_at_mut(len);
            let mapping = self.inner.lock().table.get(va);
            match mapping {
                Some(mapping) => mapping.frame.read(in_page, head),
                None => head.fill(0),
            }
            va = va.wrapping_add(len as u64);
            rest = tail;
        }
    }

    fn fault_limits(&self) -> Limits {
        Limits {
            stack: self.stack_limit.load(Ordering::Relaxed),
            ..Limits::NONE
        }
    }

    /// Removes the translations of `pages` of a file from the mappings that `is_file` recognises.
    fn forget_pages(
        &self,
        is_file: &impl Fn(&OpenFile) -> bool,
        pages: &Range<u64>,
        copies: PrivateCopies,
    ) {
        let Inner { space, table } = &mut *self.inner.lock();
        for vma in space.iter() {
            let Some(part) = vma
                .file
                .as_ref()
                .filter(|part| is_file(part.file.open_file()))
            else {
                continue;
            };
            let first = pages.start.max(part.page);
            let end = pages.end.min(part.page + vma.len() / PAGE);
            if first < end && (vma.is_shared() || copies == PrivateCopies::Forget) {
                let at = |page: u64| UserVa(vma.start + (page - part.page) * PAGE);
                table.unmap(at(first), at(end));
            }
        }
    }

    /// Calls `f` for each mapping, under the lock.
    pub fn for_each_mapping(&self, f: impl FnMut(&Vma<MappedFile>)) {
        self.inner.lock().space.iter().for_each(f);
    }
}
