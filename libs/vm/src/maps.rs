//! `/proc/PID/maps` (`proc_pid_maps(5)`).

use crate::{PAGE, Prot, Space, Vma};
use alloc::string::String;
use core::fmt::Write;

/// What `/proc/PID/maps` shows of a file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FileName {
    /// Device number, major and minor.
    pub device: (u32, u32),
    /// Inode number.
    pub inode: u64,
    /// Path.
    pub path: String,
}

impl<F: Clone + PartialEq> Space<F> {
    /// Returns what `/proc/PID/maps` shows for a mapping that has no file.
    #[must_use]
    pub fn region_name(&self, vma: &Vma<F>) -> Option<&'static str> {
        let (brk_start, brk_end) = self.brk;
        let stack = self.layout.stack_top - 1;
        match vma.name {
            Some(name) => Some(name),
            None if vma.file.is_some() => None,
            None if vma.start < brk_end && vma.end > brk_start => Some("[heap]"),
            None if vma.contains(stack) => Some("[stack]"),
            None => None,
        }
    }
}

/// Appends the line of a mapping, with `name` for the file behind it and `region` for one that has none.
pub fn maps_line<F>(
    out: &mut String,
    vma: &Vma<F>,
    name: Option<&FileName>,
    region: Option<&'static str>,
) {
    const NAME_COLUMN: usize = 73;
    let begin = out.len();
    let right = |bit, shown| if vma.prot.contains(bit) { shown } else { '-' };
    let sharing = if vma.flags.contains(crate::VmFlags::SHARED) {
        's'
    } else {
        'p'
    };
    let offset = vma.file.as_ref().map_or(0, |part| part.page * PAGE);
    let (major, minor) = name.map_or((0, 0), |n| n.device);
    // Writing to a `String` does not fail.
    let _ = write!(
        out,
        "{:08x}-{:08x} {}{}{}{sharing} {offset:08x} {major:02x}:{minor:02x} {} ",
        vma.start,
        vma.end,
        right(Prot::READ, 'r'),
        right(Prot::WRITE, 'w'),
        right(Prot::EXEC, 'x'),
        name.map_or(0, |n| n.inode),
    );
    let shown = name.map(|n| n.path.as_str()).or(region);
    if let Some(shown) = shown {
        while out.len() - begin < NAME_COLUMN {
            out.push(' ');
        }
        out.push_str(&shown.replace('\n', "\\012"));
    }
    out.push('\n');
}
