//! An image of made-up files: what is said about each.

use flate2::Compression;
use flate2::write::GzEncoder;
use tyn_bootfmt::Init;

use std::fs;

use super::*;
use crate::tree::{Node, Source, Tree};

#[test]
fn files_are_sorted_with_their_reasons() {
    let me = fs::read("/proc/self/exe").unwrap();
    // An archive behind a program: so long that it is no padding, whatever length the linker gave the program.
    let other = [&me[..], &[b'o'; 100]].concat();
    let init = Init {
        args: vec![b"/app/erts-15.0/bin/beam.smp", b"-setcookie", b"secret"],
        env: vec![b"RELEASE_NAME=app", b"RELEASE_VSN=1.2", b"X=secret"],
        hostname: b"host",
        ..Init::default()
    };
    let init = init.to_bytes().unwrap();
    let app = b"{application, one,\n [{vsn , \"3.4\"},{modules,[]}]}.";
    let empty = GzEncoder::new(Vec::new(), Compression::fast())
        .finish()
        .unwrap();
    let mut tree = Tree::default();
    for (path, bytes) in [
        (INIT_PATH, init.as_slice()),
        (INTERACTIVE_FILES_PATH, &empty),
        ("/app/erts-15.0/bin/beam.smp", &me),
        ("/app/lib/one-9/ebin/one.app", app),
        ("/app/lib/one-9/ebin/one.beam", b"beam"),
        ("/app/lib/one-9/priv/nif.so", &me),
        ("/app/lib/two-1.0/ebin/two.beam", b"beams"),
        ("/lib/libc.so.6", &me),
        ("/lib/ossl-modules/legacy.so", &me),
        ("/lib/libcrypto.so.3", &me),
        ("/bin/tool", &me),
        ("/opt/libc.so.6", &other),
        ("/etc/hosts", b"hosts"),
    ] {
        let node = Node::File(0o644, Source::Bytes(bytes.to_vec()));
        tree.insert(Path::new(path), node).unwrap();
    }
    let mut bytes = Vec::new();
    tree.write(&mut bytes, Some(0), |_| {}).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &bytes).unwrap();

    let found = inspect(file.path()).unwrap();
    assert_eq!(found.release, Some(("app".into(), "1.2".into())));
    assert_eq!(found.env, ["RELEASE_NAME", "RELEASE_VSN", "X"]);
    let size = me.len() as u64;
    let erts = found.erts.as_ref().unwrap();
    assert_eq!((erts.version.as_str(), erts.bytes), ("15.0", size));
    let apps: Vec<_> = found
        .applications
        .iter()
        .map(|a| (a.name.as_str(), a.version.as_str(), a.modules))
        .collect();
    assert_eq!(apps, [("one", "3.4", 1), ("two", "1.0", 1)]);
    assert_eq!(found.applications[0].bytes, size + 4 + app.len() as u64);
    let why: Vec<_> = found
        .libraries
        .iter()
        .map(|l| {
            (
                l.path.to_str().unwrap(),
                l.needed_by.len(),
                l.reason.unwrap_or("needed"),
            )
        })
        .collect();
    // Every one of the seven copies of this program needs libc.
    assert_eq!(
        why,
        [
            ("/app/lib/one-9/priv/nif.so", 0, "loaded by its application"),
            ("/bin/tool", 0, "a program, included"),
            ("/lib/libc.so.6", 7, "needed"),
            ("/lib/libcrypto.so.3", 0, "loaded by name, or included"),
            ("/lib/ossl-modules/legacy.so", 0, "loaded by OpenSSL"),
            ("/opt/libc.so.6", 7, "needed"),
        ]
    );
    assert_eq!(
        (found.interactive_bytes, found.other_bytes),
        (empty.len() as u64, (empty.len() + 5 + init.len()) as u64)
    );
    assert_eq!(found.entries[Path::new("/lib")].mode, 0o040_755);
    are_doubles_told(&found, size);
    assert!(inspect(Path::new("/none")).is_err());
}

/// Six copies of one program, and one that is longer by the name of the C library.
fn are_doubles_told(found: &Inspection, size: u64) {
    let doubles: Vec<_> = found
        .doubles
        .iter()
        .map(|d| (d.same, d.paths.len(), d.spare_bytes))
        .collect();
    assert_eq!(
        doubles,
        [(Same::Contents, 6, 5 * size), (Same::Library, 2, size)]
    );
    // Cargo's programs have symbols; those in front of an archive can't be dropped, so they are not told.
    for library in &found.libraries {
        let has_archive = library.path.starts_with("/opt");
        let symbols = if has_archive { 0..1 } else { 1..size };
        assert!(
            symbols.contains(&library.symbol_bytes),
            "{}: {} bytes of symbols",
            library.path.display(),
            library.symbol_bytes
        );
    }
}

#[test]
fn versions_are_found_only_where_they_are() {
    for (text, want) in [
        ("{vsn,\"1\"}", Some("1")),
        ("{vsn, 1}", None),
        ("vsn", None),
        ("{vsn,\"", Some("")),
        ("", None),
    ] {
        assert_eq!(version_in(text.as_bytes()).as_deref(), want);
    }
}
