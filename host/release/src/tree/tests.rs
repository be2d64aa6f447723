use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tyn_fs::cpio::Entries;

use super::*;

/// Returns the times of a tree's entries in an archive of it.
fn times(tree: &Tree, latest: Option<u32>) -> BTreeMap<String, u32> {
    let mut archive = Vec::new();
    tree.write(&mut archive, latest, |_| {}).unwrap();
    Entries::new(&archive)
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                String::from_utf8_lossy(entry.name).into_owned(),
                entry.mtime,
            )
        })
        .collect()
}

#[test]
fn files_keep_their_times() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str, seconds: u64, nanos: u32| {
        let path = dir.path().join(name);
        let file = File::create(&path).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        file.set_modified(time).unwrap();
        path
    };
    let (old, new) = (at("old", 1_000, 999_999_999), at("new", 2_000, 0));
    let mut tree = Tree::default();
    for (path, source) in [
        ("/app/old", Source::Path(old.clone(), 0)),
        ("/app/changed", Source::Changed(vec![1], old)),
        ("/app/new", Source::Path(new, 0)),
        ("/made", Source::Bytes(vec![2])),
    ] {
        tree.insert(Path::new(path), Node::File(0o644, source))
            .unwrap();
    }
    tree.insert(Path::new("/link"), Node::Symlink("made".into()))
        .unwrap();
    let expected = |newest| {
        [
            ("app", newest),
            ("app/changed", 1_000),
            ("app/new", newest),
            ("app/old", 1_000),
            ("link", newest),
            ("made", newest),
        ]
        .map(|(path, time)| (path.to_owned(), time))
    };
    let without_root = |mut all: BTreeMap<String, u32>| {
        all.retain(|path, _| !path.is_empty() && path != ".");
        all
    };
    assert_eq!(
        without_root(times(&tree, None)),
        BTreeMap::from(expected(2_000))
    );
    assert_eq!(
        without_root(times(&tree, Some(1_500))),
        BTreeMap::from(expected(1_500))
    );
    assert!(times(&tree, Some(0)).values().all(|&time| time == 0));
}
