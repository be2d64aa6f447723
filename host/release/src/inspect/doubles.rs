//! What is in an image more than once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tyn_fs::cpio;

use super::{Double, Library, Same};

/// Shortest file that is looked at, in bytes: a page, which is what a file takes at least.
const LEAST: usize = 4096;

/// What is in a file: the bytes that are stored, and where zeros are not.
type Key<'a> = (&'a [u8], Vec<(u32, u32)>);

/// Files by what is in them.
#[derive(Default)]
pub(super) struct Contents<'a>(BTreeMap<Key<'a>, Vec<PathBuf>>);

impl<'a> Contents<'a> {
    pub(super) fn add(&mut self, path: &Path, file: &cpio::Entry<'a>) {
        if file.data.len() >= LEAST {
            let contents = (file.data, file.holes.into_iter().collect());
            self.0.entry(contents).or_default().push(path.to_path_buf());
        }
    }
}

/// Returns the files that are there more than once, what weighs most first.
pub(super) fn doubles(contents: Contents<'_>, libraries: &[Library]) -> Vec<Double> {
    let mut found = Vec::new();
    for ((data, _), paths) in contents.0 {
        if paths.len() > 1 {
            found.push(Double {
                same: Same::Contents,
                spare_bytes: (data.len() * (paths.len() - 1)) as u64,
                paths,
            });
        }
    }
    let mut by_name: BTreeMap<&str, Vec<&Library>> = BTreeMap::new();
    for library in libraries.iter().filter(|l| !l.needed_by.is_empty()) {
        let name = library.path.file_name().and_then(|name| name.to_str());
        // Another number behind `.so` is another version of it.
        if let Some((name, _)) = name.and_then(|name| name.split_once(".so")) {
            by_name.entry(name).or_default().push(library);
        }
    }
    for libraries in by_name.into_values().filter(|all| all.len() > 1) {
        let paths: Vec<PathBuf> = libraries.iter().map(|l| l.path.clone()).collect();
        if found.iter().any(|double| double.paths == paths) {
            continue;
        }
        let bytes = libraries.iter().map(|l| l.bytes);
        found.push(Double {
            same: Same::Library,
            spare_bytes: bytes.clone().sum::<u64>() - bytes.max().unwrap_or_default(),
            paths,
        });
    }
    found.sort_by(|a, b| {
        let order = b.spare_bytes.cmp(&a.spare_bytes);
        order.then_with(|| a.paths.cmp(&b.paths))
    });
    found
}
