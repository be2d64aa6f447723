//! Small parts of reading archives: paths, headers, what reading tells.

use std::cell::Cell;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use super::{BLOCK, Defect, Rules};

/// Returns whether a file that begins with these bytes is an uncompressed tar archive: the first header's sum is right.
pub(crate) fn is_header(start: &[u8]) -> bool {
    let Some(header) = start.get(..BLOCK as usize) else {
        return false;
    };
    if header.iter().all(|&byte| byte == 0) {
        return true;
    }
    let sum: u32 = header
        .iter()
        .enumerate()
        .map(|(at, &byte)| {
            let is_sum = (148..156).contains(&at);
            u32::from(if is_sum { b' ' } else { byte })
        })
        .sum();
    let field = String::from_utf8_lossy(&header[148..156]).into_owned();
    let field = field.trim_matches(|c: char| c == ' ' || c == '\0');
    u32::from_str_radix(field, 8) == Ok(sum)
}

/// Returns a path of an archive, relative to its root; `None` when it leads out of it. Layers may begin at a slash.
pub(super) fn inside(path: &Path, rules: Rules) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::CurDir => {}
            Component::RootDir if rules == Rules::Layer => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(inside)
}

/// Returns whether a link at `path` (below the root) leads to somewhere below the root.
pub(super) fn stays_inside(path: &Path, target: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// Returns the normal and `..` parts of a path, last one first.
pub(super) fn parts(path: &Path) -> Vec<PathBuf> {
    let parts = path.components().rev();
    let parts = parts.filter(|p| matches!(p, Component::Normal(_) | Component::ParentDir));
    parts.map(|part| PathBuf::from(part.as_os_str())).collect()
}

pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
pub(super) fn damaged(error: io::Error) -> Defect {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Defect::Short,
        _ if error.to_string().contains("unexpected EOF") => Defect::Short,
        _ if error.to_string().contains("incomplete frame") => Defect::Short,
        _ => Defect::Damaged(error.to_string()),
    }
}

/// Counts the zeros at the end of what was read, and lets no more be read than there is a budget for: headers are kept in memory.
pub(super) struct Tail<R> {
    pub(super) data: R,
    pub(super) zeros: u64,
    pub(super) budget: Rc<Cell<u64>>,
}

impl<R: Read> Read for Tail<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let budget = self.budget.get();
        if budget == 0 {
            return Err(io::Error::other("it has a header of more than 1 MiB"));
        }
        let most = usize::try_from(budget).map_or(out.len(), |most| most.min(out.len()));
        let length = self.data.read(out.get_mut(..most).unwrap_or_default())?;
        self.budget.set(budget.saturating_sub(length as u64));
        let read = out.get(..length).unwrap_or_default();
        let zeros = read.iter().rev().take_while(|&&byte| byte == 0).count();
        let before = if zeros == length { self.zeros } else { 0 };
        self.zeros = before + zeros as u64;
        Ok(length)
    }
}

/// Tells errors of reading from those of writing.
pub(super) struct Checked<'a, R> {
    pub(super) data: &'a mut R,
    pub(super) failed: bool,
}

impl<R: Read> Read for Checked<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let result = self.data.read(out);
        self.failed |= result.is_err();
        result
    }
}
