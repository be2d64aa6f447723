//! Trees of archives, made by hand and by chance.

use std::os::unix::fs::MetadataExt;

use proptest::prelude::*;
use tar::{Builder, Header};

use super::*;

/// One entry of an archive that is made for a test.
#[derive(Clone, Debug)]
pub(crate) enum Made {
    Dir(String),
    File(String, Vec<u8>),
    Symlink(String, String),
    Hard(String, String),
    Fifo(String),
}

/// Writes an archive; names are put into headers as they are, be they ever so hostile.
pub(crate) fn tarball(entries: &[Made]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_ustar();
        let (name, kind, data, target) = match entry {
            Made::Dir(name) => (name, EntryType::Directory, &[][..], None),
            Made::File(name, data) => (name, EntryType::Regular, &data[..], None),
            Made::Symlink(name, target) => (name, EntryType::Symlink, &[][..], Some(target)),
            Made::Hard(name, target) => (name, EntryType::Link, &[][..], Some(target)),
            Made::Fifo(name) => (name, EntryType::Fifo, &[][..], None),
        };
        let raw = header.as_old_mut();
        let name = &name.as_bytes()[..name.len().min(99)];
        raw.name[..name.len()].copy_from_slice(name);
        if let Some(target) = target {
            let target = &target.as_bytes()[..target.len().min(99)];
            raw.linkname[..target.len()].copy_from_slice(target);
        }
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) fn dir(name: &str) -> Made {
    Made::Dir(name.into())
}

pub(crate) fn file(name: &str, data: &str) -> Made {
    Made::File(name.into(), data.into())
}

pub(crate) fn link(name: &str, target: &str) -> Made {
    Made::Symlink(name.into(), target.into())
}

fn hard(name: &str, target: &str) -> Made {
    Made::Hard(name.into(), target.into())
}

/// Unpacks archives over each other; returns the folder.
pub(super) fn unpacked(archives: &[&[Made]], rules: Rules) -> Result<tempfile::TempDir, Defect> {
    let temp = tempfile::tempdir().unwrap();
    let mut tree = Unpacker::new(&temp.path().join("spool")).unwrap();
    for entries in archives {
        tree.read(tarball(entries).as_slice(), rules)?;
    }
    tree.lay_out(&temp.path().join("root")).unwrap();
    assert!(!temp.path().join("spool").exists());
    Ok(temp)
}

/// Lists a folder: `a/` folders, `a -> b` links, `a = text` files.
pub(super) fn listed(dir: &Path) -> Vec<String> {
    let walk = walkdir::WalkDir::new(dir).min_depth(1).sort_by_file_name();
    walk.into_iter()
        .map(|entry| {
            let entry = entry.unwrap();
            let path = entry.path();
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            if entry.file_type().is_symlink() {
                format!("{name} -> {}", fs::read_link(path).unwrap().display())
            } else if entry.file_type().is_dir() {
                name + "/"
            } else {
                format!("{name} = {}", fs::read_to_string(path).unwrap())
            }
        })
        .collect()
}

fn refused(entries: &[Made], want: &str) {
    let error = unpacked(&[entries], Rules::Tarball)
        .unwrap_err()
        .to_string();
    assert!(error.contains(want), "{error}");
}

#[test]
fn tarballs_are_laid_out() {
    let entries = [
        file("./a/b", "x"),
        dir("a/"),
        link("a/c", "../a/b"),
        hard("d", "a/b"),
        file("a/b", "again"),
    ];
    let temp = unpacked(&[&entries], Rules::Tarball).unwrap();
    let root = temp.path().join("root");
    assert_eq!(
        listed(&root),
        ["a/", "a/b = again", "a/c -> ../a/b", "d = x"]
    );
    assert_eq!(root.join("d").metadata().unwrap().mode() & 0o777, 0o755);
}

#[test]
fn what_leads_out_of_a_tarball_is_refused() {
    refused(
        &[file("../x", "")],
        "the path '../x', which leads out of it",
    );
    refused(&[file("/etc/x", "")], "the path '/etc/x'");
    refused(&[file("a/../../x", "")], "the path 'a/../../x'");
    refused(&[link("a", "/etc")], "the link 'a' to '/etc'");
    refused(&[link("a/b", "../../x")], "the link 'a/b' to '../../x'");
    refused(&[link("a", "")], "'a' links to nothing");
    refused(&[hard("a", "../x")], "the path '../x'");
    refused(
        &[hard("a", "b")],
        "the hard link 'a' to 'b', which is not in it",
    );
    refused(&[Made::Fifo("p".into())], "'p', which is neither file");
    refused(
        &[file("a", ""), file("a/b", "")],
        "'a' both as a file and as a folder",
    );
    // Through a link to itself.
    refused(
        &[link("l", "l"), file("l/x", "")],
        "as a file and as a folder",
    );
}

/// The header of a file that is said to be so long, and nothing of it.
fn huge(name: &str, length: u64) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(length);
    header.set_cksum();
    header.as_bytes().to_vec()
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let temp = tempfile::tempdir().unwrap();
    let spool = temp.path().join("spool");
    let refused = |bytes: &mut dyn Read, want: &str| {
        let mut tree = Unpacker::new(&spool).unwrap();
        tree.budget = Budget::with_room(1 << 30);
        let error = tree.read(bytes, Rules::Layer).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
        let kept: Vec<_> = fs::read_dir(&spool).unwrap().collect();
        assert!(kept.is_empty(), "{kept:?}");
    };
    // As much as is said, in as little as gzip makes of it.
    let zeros = || io::repeat(0);
    let over = huge("x", 33 << 30);
    refused(&mut over.chain(zeros()), "unpacks to more than 32 GiB");
    let over = huge("x", (1 << 30) + 1);
    let want = "unpacks to more than the 1024 MiB that it may take in";
    refused(&mut over.chain(zeros()), want);
    // Nothing, for ever: behind the end, and as the name of an entry.
    let want = "is damaged (64 MiB and more follow its end)";
    refused(&mut tarball(&[]).chain(zeros()), want);
    let mut long = Header::new_gnu();
    long.set_path("././@LongLink").unwrap();
    long.set_entry_type(EntryType::GNULongName);
    long.set_size(1 << 40);
    long.set_cksum();
    let want = "a header of more than 1 MiB";
    refused(&mut long.as_bytes().chain(io::repeat(b'a')), want);
}

#[test]
fn long_paths_and_too_many_are_refused() {
    let mut budget = Budget::with_room(u64::MAX);
    let path = "a/".repeat(2048) + "b";
    let error = budget.entry(Path::new(&path)).unwrap_err().to_string();
    assert!(error.contains("has a path of 4097 bytes"), "{error}");
    let path = "a/".repeat(2048);
    let taken = (1..).find(|_| budget.entry(Path::new(&path)).is_err());
    assert_eq!(taken, Some((128 << 20) / 4096 + 1));
    let mut budget = Budget::with_room(u64::MAX);
    let taken = (1..).find(|_| budget.entry(Path::new("a")).is_err());
    assert_eq!(taken, Some(1_000_001));
    // Small files take room, too.
    let mut budget = Budget::with_room(1 << 20);
    let spool = Path::new("spool");
    let taken = (1..).find(|_| budget.contents(1, spool).is_err());
    assert_eq!(taken, Some((1 << 20) / 4096 + 1));
    assert!(budget.contents(u64::MAX, spool).is_err());
}

#[test]
fn links_are_followed_within_the_tree() {
    let entries = [
        dir("usr/lib"),
        link("lib", "usr/lib"),
        file("lib/a", "1"),
        link("up", "usr/../lib"),
        file("up/b", "2"),
    ];
    let temp = unpacked(&[&entries], Rules::Tarball).unwrap();
    let root = temp.path().join("root");
    assert_eq!(fs::read_to_string(root.join("usr/lib/a")).unwrap(), "1");
    assert_eq!(fs::read_to_string(root.join("usr/lib/b")).unwrap(), "2");
    // In a container's root, an absolute link begins at that root.
    let layers: [&[Made]; 2] = [
        &[link("lib", "/usr/lib"), link("out", "../../../../etc")],
        &[file("lib/a", "1"), file("out/passwd", "mine")],
    ];
    let temp = unpacked(&layers, Rules::Layer).unwrap();
    let root = temp.path().join("root");
    assert_eq!(fs::read_to_string(root.join("usr/lib/a")).unwrap(), "1");
    assert_eq!(fs::read_to_string(root.join("etc/passwd")).unwrap(), "mine");
}

#[test]
fn layers_hide_what_is_below() {
    let layers: [&[Made]; 3] = [
        &[
            file("a/1", "old"),
            file("a/2", "old"),
            file("b/x/1", "old"),
            file("b/y", "old"),
            dir("b/kept"),
            dir("b/gone"),
            file("c", "old"),
            link("d", "c"),
            file("e/1", "old"),
        ],
        &[
            file("a/.wh.1", ""),
            file("b/x/new", "new"),
            dir("b/kept"),
            file("b/.wh..wh..opq", ""),
            file("c", "new"),
            file(".wh.d", ""),
            file("e", "now a file"),
            file("f/.wh.none", ""),
        ],
        &[file("a/1", "back")],
    ];
    let temp = unpacked(&layers, Rules::Layer).unwrap();
    assert_eq!(
        listed(&temp.path().join("root")),
        [
            "a/",
            "a/1 = back",
            "a/2 = old",
            "b/",
            "b/kept/",
            "b/x/",
            "b/x/new = new",
            "c = new",
            "e = now a file"
        ]
    );
}

#[test]
fn layers_have_no_hard_links_to_what_is_hidden() {
    let below: &[Made] = &[file("a", "old"), file("d/1", "old")];
    for (layer, want) in [
        (&[file(".wh.a", ""), hard("b", "a")][..], "'b' to 'a'"),
        (&[hard("b", ".wh.a")], "'b' to '.wh.a'"),
        (&[file(".wh.a", ""), hard("b", ".wh.a")], "'b' to '.wh.a'"),
        (
            &[file("d/.wh..wh..opq", ""), hard("b", "d/1")],
            "'b' to 'd/1'",
        ),
    ] {
        let error = unpacked(&[below, layer], Rules::Layer).unwrap_err();
        let want = format!("the hard link {want}, which is not in it");
        assert!(error.to_string().contains(&want), "{error}");
    }
    for (layer, want) in [
        (file("../x", ""), "the path '../x'"),
        (hard("b", "../a"), "the path '../a'"),
        (file("d/../../.wh.a", ""), "the path 'd/../../.wh.a'"),
    ] {
        let error = unpacked(&[below, &[layer]], Rules::Layer).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
    }
    // One that was made before keeps what was there.
    let layer: &[Made] = &[hard("b", "/a"), file(".wh.a", "")];
    let temp = unpacked(&[below, layer], Rules::Layer).unwrap();
    let left = listed(&temp.path().join("root"));
    assert_eq!(left, ["b = old", "d/", "d/1 = old"]);
}

#[test]
fn archives_are_known_by_their_first_bytes() {
    use std::io::Write;
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("x.tar");
    let plain = tarball(&[file("a", &"x".repeat(3000))]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let mut tree = Unpacker::new(&temp.path().join("spool")).unwrap();
        let result = tree.add(&path, Rules::Tarball);
        fs::remove_dir_all(temp.path().join("spool")).unwrap();
        result.map_err(|error| error.to_string())
    };
    for whole in [&plain, &gzip, &zstd] {
        read(whole).unwrap();
        for length in 1..whole.len() {
            // What is left out at the end of a plain archive may be padding only.
            if length % 97 == 0 && length < plain.len() - 1024 {
                let error = read(&whole[..length]).unwrap_err();
                let is_named = error.contains("is cut short") || error.contains("is not a tar");
                assert!(is_named && error.contains("x.tar"), "{length}: {error}");
            }
        }
    }
    assert!(read(b"").unwrap_err().contains("is cut short"));
    assert!(read(b"hello").unwrap_err().contains("is not a tar archive"));
    assert!(
        read(b"BZh91AY")
            .unwrap_err()
            .contains("by bzip2; use gzip or zstd")
    );
    assert!(read(b"\xfd7zXZ\0").unwrap_err().contains("by xz"));
    let mut damaged = gzip.clone();
    damaged[40] ^= 0x55;
    assert!(
        read(&damaged)
            .unwrap_err()
            .contains("copy or download it again")
    );
    let missing = Unpacker::new(&temp.path().join("s"))
        .unwrap()
        .add(&temp.path().join("none"), Rules::Tarball);
    assert!(missing.unwrap_err().to_string().contains("No such file"));
}

fn hostile_name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("l".to_owned()),
        Just(".wh.a".to_owned()),
        Just(".wh..wh..opq".to_owned()),
        Just(String::new()),
        "[a-c]{1,2}",
    ];
    proptest::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

fn hostile_entry() -> impl Strategy<Value = Made> {
    prop_oneof![
        hostile_name().prop_map(Made::Dir),
        (hostile_name(), "[a-z]{0,9}").prop_map(|(name, data)| Made::File(name, data.into())),
        (hostile_name(), hostile_name()).prop_map(|(name, to)| Made::Symlink(name, to)),
        (hostile_name(), hostile_name()).prop_map(|(name, to)| Made::Hard(name, to)),
        hostile_name().prop_map(Made::Fifo),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is in an archive, what is beside the folder that it is unpacked to stays as it was.
    #[test]
    fn hostile_archives_stay_inside(
        layers in proptest::collection::vec(proptest::collection::vec(hostile_entry(), 0..12), 1..4),
        is_layer in any::<bool>(),
    ) {
        let temp = tempfile::tempdir().unwrap();
        let inner = temp.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(temp.path().join("a"), "outside").unwrap();
        let rules = if is_layer { Rules::Layer } else { Rules::Tarball };
        let mut tree = Unpacker::new(&inner.join("spool")).unwrap();
        let result = layers
            .iter()
            .try_for_each(|entries| tree.read(tarball(entries).as_slice(), rules));
        if result.is_ok() {
            tree.lay_out(&inner.join("root")).unwrap();
        }
        let outside = listed(temp.path());
        let outside: Vec<_> = outside.iter().filter(|l| !l.starts_with("inner/")).collect();
        prop_assert_eq!(outside, ["a = outside"]);
        let inner = fs::read_dir(&inner).unwrap().count();
        prop_assert_eq!(inner, 1);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), at in 0..1500_usize) {
        let temp = tempfile::tempdir().unwrap();
        let mut tree = Unpacker::new(&temp.path().join("spool")).unwrap();
        let _ = tree.read(bytes.as_slice(), Rules::Layer);
        // A sound archive with a few bytes changed.
        let mut archive = tarball(&[dir("a"), file("a/b", "data"), link("l", "a")]);
        for (to, from) in archive.iter_mut().skip(at).zip(bytes.iter().take(8)) {
            *to = *from;
        }
        let _ = tree.read(archive.as_slice(), Rules::Layer);
    }
}

/// A name is kept in memory before anybody can look at it: a small file could ask for all there is.
#[test]
fn long_headers_have_an_end() {
    for kind in [
        EntryType::GNULongName,
        EntryType::GNULongLink,
        EntryType::XHeader,
    ] {
        for (length, is_refused) in [(4 << 20, true), (200, false)] {
            let mut builder = Builder::new(Vec::new());
            let long = match kind {
                // "204 path=aa…\n"
                EntryType::XHeader if !is_refused => format!("205 path={}\n", "a".repeat(195)),
                _ => "a".repeat(length),
            };
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(long.len() as u64);
            header.set_cksum();
            builder.append(&header, long.as_bytes()).unwrap();
            let mut archive = builder.into_inner().unwrap();
            // Without what an archive ends with.
            archive.truncate(archive.len() - 1024);
            archive.extend(tarball(&[file("x", "1")]));
            let dir = tempfile::tempdir().unwrap();
            let mut unpacker = Unpacker::new(&dir.path().join("spool")).unwrap();
            let result = unpacker.read(&archive[..], Rules::Tarball);
            match result {
                Err(Defect::Damaged(why)) if is_refused => {
                    assert_eq!(why, "it has a header of more than 1 MiB");
                }
                other => assert!(!is_refused && other.is_ok(), "{kind:?}: {other:?}"),
            }
        }
    }
}
