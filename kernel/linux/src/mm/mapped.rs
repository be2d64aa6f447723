//! A file as a mapping refers to it.

use alloc::string::String;
use alloc::sync::Arc;
use core::ops::Range;

use tyn_abi::Errno;
use tyn_hal::mem::Frame;
use tyn_vm::FileName;

use crate::file::OpenFile;
use crate::fs;

/// The open file description behind a mapping; mappings of one description can merge.
#[derive(Clone, Debug)]
pub struct MappedFile(Arc<OpenFile>);

impl PartialEq for MappedFile {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl MappedFile {
    /// Wraps a description.
    #[must_use]
    pub fn new(open: Arc<OpenFile>) -> Self {
        Self(open)
    }

    /// Returns the description.
    #[must_use]
    pub fn open_file(&self) -> &Arc<OpenFile> {
        &self.0
    }

    pub(super) fn frame(&self, page: u64, write: bool) -> Result<Frame, Errno> {
        self.0.file.frame(page, write)
    }

    pub(super) fn resident_frames(&self, pages: Range<u64>, each: &mut dyn FnMut(u64, Frame)) {
        self.0.file.resident_frames(pages, each);
    }

    /// Returns device and inode number.
    fn device_and_inode(&self) -> (u64, u64) {
        let field = |stat: &[u8; 144], at: usize| {
            stat.get(at..)
                .and_then(<[u8]>::first_chunk)
                .map_or(0, |b| u64::from_le_bytes(*b))
        };
        self.0
            .file
            .stat()
            .map_or((0, 0), |stat| (field(&stat, 0), field(&stat, 8)))
    }

    /// Returns what `/proc/PID/maps` shows.
    pub(super) fn maps_name(&self) -> FileName {
        let (device, inode) = self.device_and_inode();
        // The encoding of `makedev(3)`.
        let major = (device >> 8 & 0xfff) | (device >> 32 & !0xfff);
        let minor = (device & 0xff) | (device >> 12 & 0xffff_ff00);
        FileName {
            device: (major as u32, minor as u32),
            inode,
            path: String::from_utf8_lossy(&fs::shown_name(&self.0)).into_owned(),
        }
    }

    /// Returns a number that identifies the file among all files in use.
    pub(super) fn identity(&self) -> u64 {
        let (device, inode) = self.device_and_inode();
        inode ^ device.rotate_left(40)
    }
}
