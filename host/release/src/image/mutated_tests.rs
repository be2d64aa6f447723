//! Images with bytes changed by chance: every reader says what is wrong with them, or reads on; none panics, whatever it meets.

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use tyn_bootfmt::{INIT_PATH, Init};
use tyn_fs::cpio::Entries;
use tyn_fs::holes::MARK;

use crate::tree::{Node, Source, Tree};
use crate::{image, inspect};

/// Where the numbers of a header begin, and how many there are.
const NUMBERS: (usize, usize) = (6, 13);

/// A sound image of a few files: nested, with a link, and with pages that are not stored.
static IMAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let init = Init {
        args: vec![b"/app/erts-1/bin/beam.smp", b"--", b"-root", b"/app"],
        env: vec![b"RELEASE_NAME=app"],
        hostname: b"app",
        ..Init::default()
    };
    let mut sparse = std::fs::read("/proc/self/exe").unwrap();
    sparse.truncate(5000);
    sparse.resize(200_000, 0);
    sparse.push(1);
    let app = b"{application,x,[{vsn, \"2\"}]}.".to_vec();
    let files: [(&str, Vec<u8>); 5] = [
        (INIT_PATH, init.to_bytes().unwrap()),
        ("/app/erts-1/bin/beam.smp", sparse),
        ("/app/lib/x-1/ebin/x.app", app),
        ("/app/lib/x-1/priv/x.so", b"\x7fELF\x02\x01\x01".to_vec()),
        ("/empty", Vec::new()),
    ];
    let mut tree = Tree::default();
    for (path, bytes) in files {
        let node = Node::File(0o755, Source::Bytes(bytes));
        tree.insert(Path::new(path), node).unwrap();
    }
    let link = Node::Symlink("app".into());
    tree.insert(Path::new("/link"), link).unwrap();
    let mut bytes = Vec::new();
    tree.write(&mut bytes, Some(0), |_| {}).unwrap();
    bytes
});

/// What is done to an image.
#[derive(Clone, Debug)]
enum Change {
    /// A byte anywhere.
    Set(Index, u8),
    /// A number of a header: whose, which, and what it is now.
    Number(Index, u8, u32),
    /// The number of pages of a file's holes.
    Hole(u32),
    /// A byte of a header or what follows it: its name, what is known of its holes.
    Head(Index, u8, u8),
    /// The end goes.
    Cut(Index),
    /// Bytes are put where others are, too.
    Copy(Index, Index, u16),
}

fn change() -> impl Strategy<Value = Change> {
    let byte = any::<u8>;
    let at = any::<Index>;
    let number = prop_oneof![
        any::<u32>(),
        0u32..9000,
        prop::sample::select(vec![
            u32::MAX,
            i32::MAX as u32,
            0o100_644,
            0o120_777,
            0o60_000
        ]),
    ];
    prop_oneof![
        (at(), byte()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at(), byte(), number).prop_map(|(at, which, to)| Change::Number(at, which, to)),
        (0..1u32 << 20).prop_map(Change::Hole),
        (at(), byte(), byte()).prop_map(|(at, place, byte)| Change::Head(at, place, byte)),
        at().prop_map(Change::Cut),
        (at(), at(), any::<u16>()).prop_map(|(from, to, count)| Change::Copy(from, to, count)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let starts = bytes.windows(6).enumerate();
    let heads: Vec<usize> = starts
        .filter_map(|(at, start)| (start == b"070701").then_some(at))
        .collect();
    let length = bytes.len();
    if heads.is_empty() {
        return;
    }
    let (at, new) = match change {
        Change::Set(at, byte) => (at.index(length), vec![*byte]),
        Change::Number(at, which, to) => {
            let place = NUMBERS.0 + usize::from(*which) % NUMBERS.1 * 8;
            (*at.get(&heads) + place, format!("{to:08x}").into_bytes())
        }
        Change::Hole(pages) => {
            let list = bytes.windows(MARK.len()).position(|part| part == MARK);
            // Behind the number of holes and the first one's page.
            let at = list.map_or(length, |at| at + MARK.len() + 8);
            (at, pages.to_le_bytes().to_vec())
        }
        Change::Head(at, place, byte) => (*at.get(&heads) + usize::from(*place), vec![*byte]),
        Change::Cut(at) => return bytes.truncate(at.index(length)),
        Change::Copy(from, to, count) => {
            let from = from.index(length);
            let end = length.min(from + usize::from(*count));
            (to.index(length), bytes[from..end].to_vec())
        }
    };
    for (old, new) in bytes.iter_mut().skip(at).zip(new) {
        *old = new;
    }
}

/// Reads an image in every way there is; returns the number of sound entries.
fn read(bytes: &[u8]) -> usize {
    let mut sound = 0;
    for entry in Entries::new(bytes).flatten() {
        assert!(entry.data_offset + entry.data.len() <= bytes.len());
        // Holes may be long; those of this test are, too, when they have changed.
        if entry.len() < 1 << 26 {
            assert_eq!(entry.contents().len() as u64, entry.len());
        }
        sound += 1;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.img");
    std::fs::write(&file, bytes).unwrap();
    match image::check(&file) {
        Ok(_) => {
            let shown = inspect::inspect(&file).unwrap();
            assert!(shown.entries.keys().all(|path| path.is_absolute()));
        }
        Err(_) => assert!(inspect::inspect(&file).is_err()),
    }
    // An error is as good.
    let _ = crate::given(&file, &["A=1".into()], false);
    // The kernel's own reader; an archive stays in its memory for ever.
    let quota = tyn_fs::content::Quota::new(0, 1000);
    let mut tree = tyn_fs::tree::Tree::new(quota, 1, tyn_abi::time::Timespec::default());
    let archive = bytes.to_vec().leak();
    // An error is as good.
    let _ = tyn_fs::load::load(&mut tree, archive, std::sync::Arc::new);
    sound
}

#[test]
fn image_is_sound_as_long_as_nothing_is_changed() {
    // The files, the link and the folders they are in.
    assert!(read(&IMAGE) > 10);
    assert!(IMAGE.len() < 150_000, "zeros are stored");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_images_are_refused_or_read(changes in prop::collection::vec(change(), 1..6)) {
        let mut bytes = IMAGE.clone();
        changes.iter().for_each(|change| apply(&mut bytes, change));
        read(&bytes);
    }
}
