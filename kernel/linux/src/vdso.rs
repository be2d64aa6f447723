//! The vDSO (`vdso(7)`): its image and its data page as two files that every program has mapped.

use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;
use core::ops::Range;

use tyn_abi::Errno;
use tyn_hal::mem::Frame;
use tyn_hal::sync::Once;
use tyn_hal::{time, vdso};

use crate::file::{File, OpenFile, flags};

/// One page that is mapped read-only, under a name that `/proc/PID/maps` shows.
struct Page(Frame);

impl File for Page {
    fn stat(&self) -> Result<[u8; 144], Errno> {
        // No device and no inode, as Linux shows it.
        Ok([0; 144])
    }

    fn frame(&self, index: u64, _write: bool) -> Result<Frame, Errno> {
        if index == 0 {
            Ok(self.0.clone())
        } else {
            Err(Errno::ENXIO)
        }
    }

    fn resident_frames(&self, pages: Range<u64>, each: &mut dyn FnMut(u64, Frame)) {
        if pages.contains(&0) {
            each(0, self.0.clone());
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What is mapped into each process: the data page, and the image right behind it.
#[derive(Debug)]
pub struct Vdso {
    /// The data page, `[vvar]`: read only.
    pub data: Arc<OpenFile>,
    /// The image, `[vdso]`: read and execute.
    pub image: Arc<OpenFile>,
}

static VDSO: Once<Vdso> = Once::new();

/// Makes the two pages; called once, when the clock is set. Where the TSC cannot be relied on there are none: programs ask the
/// kernel then, as under Linux's `vdso=0`.
///
/// # Errors
/// `ENOMEM`.
pub fn init() -> Result<(), Errno> {
    if !time::is_tsc_common() {
        return Ok(());
    }
    let image = Frame::zeroed()?;
    image.write(0, vdso::image());
    VDSO.set(Vdso {
        data: page(vdso::data_page()?, "[vvar]"),
        image: page(image, "[vdso]"),
    });
    Ok(())
}

fn page(frame: Frame, name: &str) -> Arc<OpenFile> {
    let file = Arc::new(Page(frame));
    OpenFile::new(file, flags::O_RDONLY, String::from(name))
}

/// Returns the pages to map, if there are any.
#[must_use]
pub fn get() -> Option<&'static Vdso> {
    VDSO.get()
}
