//! Releases and images that are refused, and what is said about them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tyn_bootfmt::DATA_ALIGN;
use tyn_fs::cpio::Entries;

use super::check;
use super::tests::{Fixture, build_of, entries};
use crate::cpio;

#[test]
fn bad_releases_are_refused_with_a_remedy() {
    let fixture = Fixture::new();
    fixture.remove("erts-15.0/bin/inet_gethost");
    fixture.refused("inet_gethost is missing from the release; build the release again");
    fixture.remove("erts-15.0");
    fixture.refused("brings no Erlang/OTP of its own, and there is none in /; name one by --otp");
    fixture.write("releases/start_erl.data", b"15.0");
    fixture.refused("should hold two words");
    fixture.remove("releases");
    fixture.refused(
        "is nothing that an image can be made of: there is no release (releases/start_erl.data)",
    );
    fixture.remove("");
    fixture.refused("isn't there; name a release");
}

#[test]
fn foreign_emulators_are_refused() {
    let fixture = Fixture::new();
    let mut beam = fs::read("/bin/true").unwrap();
    beam[18] = 183; // EM_AARCH64
    fixture.write("erts-15.0/bin/beam.smp", &beam);
    fixture.refused("beam.smp is built for 64-bit ARM, but Tyn runs x86-64 programs");
    fixture.write("erts-15.0/bin/beam.smp", b"#!/bin/sh\n");
    fixture.refused("beam.smp is not an ELF file");
    fixture.write("erts-15.0/bin/beam.smp", &beam[..17]);
    fixture.refused("beam.smp is built for ELF machine 0");
}

#[test]
fn missing_libraries_name_who_needs_them() {
    let fixture = Fixture::new();
    let empty = tempfile::tempdir().unwrap();
    let out = fixture.dir.path().join("refused.img");
    let release = fixture.release();
    let text = build_of(&release, empty.path(), &[], &out).unwrap_err();
    assert!(
        text.contains("which /app/erts-15.0/bin/beam.smp needs"),
        "{text}"
    );
    assert!(text.contains("--sysroot"), "{text}");
    let none = empty.path().join("none");
    let text = build_of(&release, &none, &[], &out).unwrap_err();
    assert!(text.contains("is not a folder"), "{text}");
    assert!(!out.exists());
}

#[test]
fn links_out_of_the_release_and_bad_arguments_are_refused() {
    let fixture = Fixture::new();
    symlink("/etc/passwd", fixture.release().join("lib/my_app-1/priv")).unwrap();
    fixture.refused("priv is a symbolic link out of the release");
    fixture.remove("lib/my_app-1/priv");
    fixture.write("releases/1.2.3/vm.args", b"+sbwt");
    fixture.refused("vm.args: +sbwt lacks its value");
}

#[test]
fn images_are_checked_before_boot() {
    let fixture = Fixture::new();
    let image = fixture.build("app.img").unwrap();
    let sound = check(&image).unwrap();
    assert_eq!(sound.hostname, "my-app");
    assert_eq!(sound.program, Path::new("/app/erts-15.0/bin/beam.smp"));
    let shell = sound.interactive.unwrap();
    for word in ["-noshell", "-noinput", "-Bd", "-Bi"] {
        assert!(
            !shell.args.iter().any(|arg| arg == word.as_bytes()),
            "{word}"
        );
    }
    // What this machine has of terminals and locales depends on the machine; that it is an archive does not.
    assert_eq!(shell.files.len() % DATA_ALIGN, 0);
    assert!(Entries::new(&shell.files).all(|entry| entry.is_ok()));
    let bytes = fs::read(&image).unwrap();
    let bad = fixture.dir.path().join("bad.img");
    let refuse = |bytes: &[u8], want: &str| {
        fs::write(&bad, bytes).unwrap();
        let error = check(&bad).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
        assert!(error.contains("tyn build"), "{error}");
    };
    refuse(b"", "it is empty");
    refuse(b"hello, this is no archive at all, but it is long enough for a header if that is what matters; really it is not", "no cpio newc header");
    for length in [100, 5000, bytes.len() / 2, bytes.len() - 4096] {
        refuse(&bytes[..length], "is not an image or is damaged");
    }
    let entries = entries(&bytes);
    let (_, init) = entries.iter().find(|(n, _)| n == ".tyn/init").unwrap();
    let mut broken = bytes.clone();
    broken[init.data_offset] = b'x';
    fs::write(&bad, broken).unwrap();
    let error = check(&bad).unwrap_err().to_string();
    assert!(
        error.contains("start description was written by another version of tyn"),
        "{error}"
    );
    let mut old = bytes.clone();
    old[init.data_offset + b"tyn-init ".len()] = b'1';
    refuse(&old, "its format is tyn-init 1, this tyn's");
    let error = check(&fixture.dir.path().join("none.img")).unwrap_err();
    assert!(error.to_string().contains("none.img can't be read"));
}

#[test]
fn archives_without_a_program_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("x.img");
    let write = |init: Option<&[u8]>| {
        let mut writer = cpio::Writer::new(Vec::new(), 0);
        writer.dir(Path::new("/"), 0o755).unwrap();
        if let Some(init) = init {
            writer
                .file(
                    Path::new("/.tyn/init"),
                    0o600,
                    init.len() as u64,
                    &mut &*init,
                )
                .unwrap();
        }
        let (bytes, length) = writer.finish().unwrap();
        assert_eq!(bytes.len() as u64, length);
        fs::write(&image, bytes).unwrap();
        check(&image).unwrap_err().to_string()
    };
    assert!(write(None).contains("has no start description (/.tyn/init)"));
    assert!(
        write(Some(b"tyn-init 2\0arg=/bin/x\0")).contains("would start /bin/x, which is not in it")
    );
}
