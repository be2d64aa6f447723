//! Shared anonymous memory (`MAP_SHARED | MAP_ANONYMOUS`): a file without a name whose pages live as long as mappings do.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use tyn_abi::{Errno, PAGE_SIZE};
use tyn_hal::mem::Frame;
use tyn_hal::sync::SpinLock;

use crate::file::{File, OpenFile, flags};

/// Pages shared by all who map them; made when touched.
#[derive(Debug)]
pub struct SharedMemory {
    pages: SpinLock<BTreeMap<u64, Frame>>,
    /// Length in pages; what lies beyond (after `mremap`) is SIGBUS.
    len: u64,
    inode: u64,
}

impl SharedMemory {
    /// Makes `len` bytes (rounded up to pages) of zeros, as the description that mappings refer to.
    #[must_use]
    pub fn create(len: u64) -> Arc<OpenFile> {
        static NEXT_INODE: AtomicU64 = AtomicU64::new(1);
        let memory = Self {
            pages: SpinLock::new(BTreeMap::new()),
            len: len.div_ceil(PAGE_SIZE as u64),
            inode: NEXT_INODE.fetch_add(1, Ordering::Relaxed),
        };
        OpenFile::new(
            Arc::new(memory),
            flags::O_RDWR,
            String::from("/dev/zero (deleted)"),
        )
    }
}

impl File for SharedMemory {
    fn stat(&self) -> Result<[u8; 144], Errno> {
        // Device 0:1 is that of the kernel's internal tmpfs, as on Linux; the rest nobody can ask for.
        let mut stat = [0; 144];
        let (device, rest) = stat.split_at_mut(8);
        device.copy_from_slice(&1u64.to_le_bytes());
        if let Some(inode) = rest.first_chunk_mut() {
            *inode = self.inode.to_le_bytes();
        }
        Ok(stat)
    }

    fn frame(&self, index: u64, write: bool) -> Result<Frame, Errno> {
        let _ = write;
        if index >= self.len {
            return Err(Errno::ENXIO);
        }
        let mut pages = self.pages.lock();
        if let Some(frame) = pages.get(&index) {
            return Ok(frame.clone());
        }
        let frame = Frame::zeroed()?;
        pages.insert(index, frame.clone());
        Ok(frame)
    }

    fn resident_frames(&self, pages: Range<u64>, each: &mut dyn FnMut(u64, Frame)) {
        for (&index, frame) in self.pages.lock().range(pages) {
            each(index, frame.clone());
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
