//! Trees made by chance are written, read again by the kernel's reader, and are the same.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tyn_fs::cpio::Entries;

use super::ALIGN;
use crate::tree::{Node, Source, Tree};

/// What is at a path.
fn node() -> impl Strategy<Value = Node> {
    let modes = || prop::sample::select(vec![0o644, 0o755, 0o400, 0o4711]);
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    // Pages of zeros between others, and what does not fill one.
    let pages = prop::collection::vec((any::<bool>(), 1..40_usize), 0..4);
    let sparse = (pages, 0..5_usize).prop_map(|(runs, rest)| {
        let mut file = Vec::new();
        for (is_zero, count) in runs {
            file.resize(file.len() + count * ALIGN as usize, u8::from(!is_zero));
        }
        file.resize(file.len() + rest, 7);
        file
    });
    let file = prop_oneof![3 => bytes, 1 => sparse];
    prop_oneof![
        6 => (modes(), file).prop_map(|(mode, bytes)| Node::File(mode, Source::Bytes(bytes))),
        1 => modes().prop_map(Node::Dir),
        1 => name().prop_map(|target| Node::Symlink(target.into())),
    ]
}

/// Any name that Linux takes, but for what paths make of dots.
fn name() -> impl Strategy<Value = String> {
    let long = (1..256_usize).prop_map(|length| "n".repeat(length));
    let odd = "[^/\0]{1,20}";
    prop_oneof![long, odd, "[a-c]"].prop_filter("a path's own", |name| name != "." && name != "..")
}

fn tree() -> impl Strategy<Value = Tree> {
    let path = prop::collection::vec(name(), 1..5);
    let path = path.prop_map(|names| Path::new("/").join(names.join("/")));
    prop::collection::vec((path, node()), 0..12).prop_map(|nodes| {
        let mut tree = Tree::default();
        for (path, node) in nodes {
            // What wants the place of another is not in it.
            let _ = tree.insert(&path, node);
        }
        tree
    })
}

/// Returns what was read at each path: type and permissions, contents.
fn read(bytes: &[u8]) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let entries = Entries::new(bytes).map(|entry| {
        let entry = entry.unwrap();
        let is_file = entry.mode & 0o170_000 == 0o100_000;
        assert!(
            !is_file || entry.data.is_empty() || entry.data_offset.is_multiple_of(ALIGN as usize),
            "a file does not begin with a page"
        );
        let path = Path::new("/").join(std::ffi::OsStr::from_bytes(entry.name));
        let path = if entry.name == b"." { "/".into() } else { path };
        (path, (entry.mode, entry.contents().into_owned()))
    });
    entries.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_written_is_read(tree in tree()) {
        let mut bytes = Vec::new();
        tree.write(&mut bytes, Some(0), |_| {}).unwrap();
        prop_assert!(bytes.len().is_multiple_of(ALIGN as usize));
        let mut want = BTreeMap::new();
        for (path, node) in tree.iter() {
            let (mode, contents) = match node {
                Node::Dir(mode) => (0o040_000 | mode, Vec::new()),
                Node::File(mode, Source::Bytes(bytes)) => (0o100_000 | mode, bytes.clone()),
                Node::Symlink(to) => (0o120_777, to.as_os_str().as_bytes().to_vec()),
                Node::File(_, Source::Path(..) | Source::Changed(..)) => unreachable!(),
            };
            want.insert(path.to_path_buf(), (mode, contents));
        }
        let found = read(&bytes);
        prop_assert_eq!(found.len(), want.len());
        for ((path, found), (other, want)) in found.iter().zip(&want) {
            prop_assert_eq!(path, other);
            prop_assert!(found == want, "{}: {:o} {:o}", path.display(), found.0, want.0);
        }
    }
}
