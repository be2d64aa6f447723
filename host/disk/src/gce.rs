//! What Google Compute Engine imports: a gzip'ed tar archive of GNU's old format whose one file, `disk.raw`, is a raw disk of whole
//! gigabytes ("Requirements to build custom images"). The nothing at the end of the disk is a hole of the archive (tar's `-S`).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use crate::{DiskError, Made, convert, io_at};

/// Sizes of disks are multiples of it.
pub const MULTIPLE: u64 = 1 << 30;

/// Packs the disk `raw` as `out`, whole or not at all.
///
/// # Errors
/// When a file can't be read or written.
pub fn pack(raw: &Path, made: &Made, out: &Path) -> Result<(), DiskError> {
    let new = raw.with_extension("new");
    let ranges = [(0, made.data), (made.backup, made.bytes - made.backup)];
    let stored = ranges.iter().map(|(_, length)| length).sum();
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_mode(0o644);
    header.set_size(stored);
    header.set_path("disk.raw").map_err(io_at(&new))?;
    if let Some(gnu) = header.as_gnu_mut() {
        gnu.set_real_size(made.bytes);
        for (slot, (start, length)) in gnu.sparse.iter_mut().zip(ranges) {
            slot.set_offset(start);
            slot.set_length(length);
        }
    }
    header.set_cksum();
    let file = File::create(&new).map_err(io_at(&new))?;
    let gzip = GzBuilder::new()
        .mtime(0)
        .write(file, Compression::default());
    let mut archive = Builder::new(gzip);
    let mut pack = || {
        let mut back = File::open(raw)?;
        back.seek(SeekFrom::Start(made.backup))?;
        archive.append(&header, File::open(raw)?.take(made.data).chain(back))
    };
    pack().map_err(io_at(raw))?;
    let gzip = archive.into_inner().map_err(io_at(&new))?;
    gzip.finish().map_err(io_at(&new))?;
    convert::finish(&new, out)
}
