//! Images: the reader of cpio archives, and what is built on it in the tool and in the kernel.

use std::path::Path;
use std::sync::Arc;

use tyn_abi::time::Timespec;
use tyn_bootfmt::{DATA_ALIGN, INIT_PATH, Init, RUN_PATH, Run};
use tyn_fs::content::Quota;
use tyn_fs::cpio::Entries;
use tyn_fs::tree::Tree;
use tyn_release::cpio::Writer;

use crate::texts::with_file;

/// Longest file that is put together from its pages and holes.
const MOST: u64 = 1 << 20;

/// Reads entries, each of which must lie in the archive.
pub(crate) fn cpio(data: &[u8]) -> bool {
    let mut end = 0;
    for entry in Entries::new(data) {
        let Ok(entry) = entry else {
            return false;
        };
        assert!(entry.data_offset >= end, "entries overlap");
        end = entry.data_offset + entry.data.len();
        assert_eq!(&data[entry.data_offset..end], entry.data);
        assert!(!entry.name.contains(&0));
        let mut last = None;
        for (first, count) in entry.holes {
            assert!(last.is_none_or(|end| first >= end), "holes overlap");
            last = first.checked_add(count);
            assert!(last.is_some(), "a hole has no end");
            // One of no pages is none.
            if let Some(behind) = last.filter(|_| count > 0) {
                assert_eq!(entry.holes.stored(u64::from(first)), None);
                let next = entry.holes.next_stored(u64::from(first));
                assert!(next >= u64::from(behind), "{next} is in a hole");
            }
        }
        if entry.len() < MOST {
            assert_eq!(entry.contents().len() as u64, entry.len());
        }
    }
    true
}

/// Writes an archive of some files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), 7);
    let written = "archives in memory are written";
    writer.dir(Path::new("/"), 0o755).expect(written);
    writer.dir(Path::new("/app"), 0o755).expect(written);
    for (path, data) in files {
        let (path, len) = (Path::new(path), data.len() as u64);
        writer
            .file(path, 0o644, len, &mut &data[..])
            .expect(written);
    }
    let link = (Path::new("/link"), Path::new("app/x"));
    writer.symlink(link.0, link.1).expect(written);
    // Two pages that are stored, and what is between them is not.
    let page = DATA_ALIGN as u64;
    let mut sparse = vec![1; DATA_ALIGN];
    sparse.resize(21 * DATA_ALIGN, 0);
    sparse.push(2);
    let length = 21 * page + 1;
    let path = Path::new("/app/sparse");
    writer
        .sparse_file(path, 0o755, length, &[(1, 20)], &mut &sparse[..])
        .expect(written);
    writer.finish().expect(written).0
}

pub(crate) fn cpio_seeds() -> Vec<Vec<u8>> {
    let one = archive(&[("/app/x", b"contents"), ("/app/empty", b"")]);
    let two = archive(&[("/app/x", b"others")]);
    // A small one, as cpio(1) writes it.
    let mut small = Vec::new();
    for (name, mode, nlink, data) in [
        ("a", 0o100_644, 2, ""),
        ("b", 0o100_644, 2, "data of both"),
        ("dev", 0o020_600, 1, ""),
        ("TRAILER!!!", 0, 1, ""),
    ] {
        let header = format!(
            "070701{:08x}{mode:08x}{:08x}{:08x}{nlink:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}",
            3,
            0,
            0,
            9,
            data.len(),
            8,
            1,
            5,
            1,
            name.len() + 1,
            0
        );
        small.extend_from_slice(header.as_bytes());
        small.extend_from_slice(name.as_bytes());
        small.push(0);
        small.resize(small.len().next_multiple_of(4), 0);
        small.extend_from_slice(data.as_bytes());
        small.resize(small.len().next_multiple_of(4), 0);
    }
    vec![[one.clone(), two].concat(), one, small]
}

/// Reads an image in every way there is.
pub(crate) fn image(data: &[u8]) -> bool {
    if Entries::new(data).any(|entry| entry.is_ok_and(|entry| entry.len() >= MOST)) {
        return false;
    }
    let is_sound = with_file(data, |file| {
        let is_sound = tyn_release::check(file).is_ok();
        let shown = tyn_release::inspect::inspect(file);
        assert_eq!(
            is_sound,
            shown.is_ok(),
            "one reader takes what another refuses"
        );
        for path in shown.iter().flat_map(|shown| shown.entries.keys()) {
            assert!(path.is_absolute());
        }
        for is_interactive in [false, true] {
            // An error is as good.
            let _ = tyn_release::given(file, &["A=1".into()], is_interactive);
        }
        is_sound
    });
    // What the kernel loads stays in memory for ever, so that only what may be loaded to its end is worth it.
    if !cpio(data) {
        return false;
    }
    let mut tree = Tree::new(Quota::new(0, 1000), 1, Timespec::default());
    let archive = data.to_vec().leak();
    let is_loaded = tyn_fs::load::load(&mut tree, archive, Arc::new).is_ok();
    is_sound && is_loaded
}

pub(crate) fn image_seeds() -> Vec<Vec<u8>> {
    let init = Init {
        args: vec![b"/app/erts-1/bin/beam.smp", b"--", b"-root", b"/app"],
        env: vec![b"RELEASE_NAME=app"],
        hostname: b"app",
        ..Init::default()
    };
    let init = init.to_bytes().expect("it has a program");
    let app = b"{application,x,[{vsn, \"2\"}]}.";
    let files: [(&str, &[u8]); 3] = [
        (INIT_PATH, &init),
        ("/app/erts-1/bin/beam.smp", b"\x7fELF\x02\x01\x01"),
        ("/app/lib/x-1/ebin/x.app", app),
    ];
    let image = archive(&files);
    let run = Run {
        env: vec![b"A=2"],
        ..Run::default()
    };
    let run = run.to_bytes().expect("it has no NUL");
    let files: [(&str, &[u8]); 1] = [(RUN_PATH, &run)];
    vec![[image.clone(), archive(&files)].concat(), image]
}
