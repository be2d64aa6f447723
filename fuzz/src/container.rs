//! Archives of tar: tarballs of releases, and container images of layers and descriptions. Nothing of this machine may get in.

use std::path::Path;

use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};
use tyn_release::input::{Choices, Input};
use tyn_release::tree::{Node, Source};

use crate::programs;
use crate::texts::with_file;

/// Unit of a tar archive.
const BLOCK: usize = 512;
/// Where a header has the length of what follows, and its own sum.
const LENGTH: std::ops::Range<usize> = 124..136;
const SUM: std::ops::Range<usize> = 148..156;

/// Path, kind, contents or target.
type Entry<'a> = (&'a [u8], EntryType, &'a [u8]);

/// Opens an archive as `tyn build` does; returns whether an image could be made of it.
fn open(archive: &[u8]) -> bool {
    with_file(archive, |file| {
        let input = Input::detect(file).expect("a file is taken for an archive");
        let choices = Choices {
            release: None,
            start: None,
            sysroot: Path::new("/nonexistent"),
            otp: None,
        };
        let app = match input.open(&choices) {
            Ok(app) => app,
            Err(error) => {
                let text = error.to_string();
                assert!(!text.is_empty());
                return false;
            }
        };
        // Only what was in it, which was unpacked to where temporary files are.
        let temporary = std::env::temp_dir().canonicalize().expect("it is there");
        for (path, node) in &app.files {
            assert!(path.is_absolute(), "{path:?}");
            if let Node::File(_, Source::Path(from, _)) = node {
                let from = from.canonicalize().expect("what was listed is there");
                assert!(
                    from.starts_with(&temporary),
                    "{from:?} is not of the archive"
                );
            }
        }
        true
    })
}

/// Reads a tar archive whose headers have the right sums, so that what is wrong gets deeper.
pub(crate) fn tarball(data: &[u8]) -> bool {
    let mut bytes = data.to_vec();
    let mut at = 0;
    while let Some(header) = bytes.get_mut(at..at + BLOCK) {
        if header.iter().all(|&byte| byte == 0) {
            break;
        }
        header[SUM].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits = String::from_utf8_lossy(&header[LENGTH]).into_owned();
        let digits = digits.trim_matches([' ', '\0']);
        let length = usize::from_str_radix(digits, 8).unwrap_or(0);
        let Some(next) = length
            .checked_next_multiple_of(BLOCK)
            .and_then(|length| at.checked_add(BLOCK + length))
        else {
            break;
        };
        at = next;
    }
    open(&bytes)
}

/// Makes an archive.
fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for &(path, kind, data) in entries {
        let mut header = Header::new_ustar();
        let put = |to: &mut [u8], from: &[u8]| {
            let length = from.len().min(to.len() - 1);
            to[..length].copy_from_slice(&from[..length]);
        };
        put(&mut header.as_old_mut().name, path);
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        if is_link {
            put(&mut header.as_old_mut().linkname, data);
        }
        let data = if is_link { b"" } else { data };
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data).expect("memory takes it");
    }
    builder.into_inner().expect("memory takes it")
}

/// The program of the run-time system.
const EMULATOR: &[u8] = b"app/erts-15.0/bin/beam.smp";
/// A release with a run-time system, but for [`EMULATOR`].
const RELEASE: &[Entry<'_>] = &[
    (
        b"app/releases/start_erl.data",
        EntryType::Regular,
        b"15.0 1",
    ),
    (b"app/releases/1/start.boot", EntryType::Regular, b"boot"),
    (
        b"app/releases/1/a.rel",
        EntryType::Regular,
        b"{release,{\"a\",\"1\"},{erts,\"15.0\"},[{kernel,\"1\"}]}.",
    ),
    (b"app/releases/1/sys.config", EntryType::Regular, b"[]."),
    (b"app/releases/1/vm.args", EntryType::Regular, b"-sname a\n"),
    (
        b"app/erts-15.0/bin/erl_child_setup",
        EntryType::Regular,
        b"elf",
    ),
    (
        b"app/erts-15.0/bin/inet_gethost",
        EntryType::Regular,
        b"elf",
    ),
    (
        b"app/lib/kernel-1/ebin/kernel.app",
        EntryType::Regular,
        b"{application,kernel,[]}.",
    ),
    (
        b"app/bin/a",
        EntryType::Regular,
        b"#!/bin/sh\nRELEASE_ROOT=/app\n",
    ),
];

pub(crate) fn tarball_seeds() -> Vec<Vec<u8>> {
    let program = programs::program();
    let mut release = RELEASE.to_vec();
    release.push((EMULATOR, EntryType::Regular, &program));
    let mut entries = release.clone();
    entries.extend([
        (&b"app/lib/link"[..], EntryType::Symlink, &b"kernel-1"[..]),
        (b"app/lib/hard", EntryType::Link, b"app/bin/a"),
        (b"./app/lib/", EntryType::Directory, b""),
    ]);
    vec![tar(&entries), tar(&release)]
}

/// What a record says, by its first byte; two bytes of length and its own bytes follow.
const LAYER: u8 = 0;
const FILE: u8 = 1;
const DIR: u8 = 2;
const SYMLINK: u8 = 3;
const HARD_LINK: u8 = 4;
const DEVICE: u8 = 5;
const CONFIG: u8 = 6;
const MANIFEST: u8 = 7;
const INDEX: u8 = 8;
const SAVED: u8 = 9;
const KINDS: u8 = 10;
/// Ends a path, before contents or a target.
const END_OF_PATH: u8 = b'\n';

/// Reads a container image. Its parts are records, and where a description names `@layer0`, `@config` or `@manifest`, the sum of
/// that is put in.
pub(crate) fn read(mut data: &[u8]) -> bool {
    let mut layers: Vec<Vec<Entry<'_>>> = Vec::new();
    let mut descriptions = [None; KINDS as usize];
    while let [kind, low, high, rest @ ..] = data {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (record, behind) = rest.split_at(length);
        data = behind;
        let entry = match kind % KINDS {
            LAYER => {
                layers.push(Vec::new());
                continue;
            }
            FILE => EntryType::Regular,
            DIR => EntryType::Directory,
            SYMLINK => EntryType::Symlink,
            HARD_LINK => EntryType::Link,
            DEVICE => EntryType::Char,
            kind => {
                descriptions[usize::from(kind)] = Some(record);
                continue;
            }
        };
        let mut parts = record.splitn(2, |&byte| byte == END_OF_PATH);
        let path = parts.next().unwrap_or_default();
        let data = parts.next().unwrap_or_default();
        if let Some(layer) = layers.last_mut() {
            layer.push((path, entry, data));
        }
    }
    open(&image(&layers, descriptions))
}

fn image(layers: &[Vec<Entry<'_>>], descriptions: [Option<&[u8]>; KINDS as usize]) -> Vec<u8> {
    let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
    let mut names: Vec<(String, String)> = Vec::new();
    let mut add = |name: String, bytes: Vec<u8>, names: &mut Vec<(String, String)>| {
        let sum = Sha256::digest(&bytes);
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        parts.push((format!("blobs/sha256/{sum}"), bytes));
        names.push((name, sum));
    };
    for (n, layer) in layers.iter().enumerate() {
        add(format!("@layer{n}"), tar(layer), &mut names);
    }
    let filled = |kind: u8, names: &[(String, String)]| {
        let text = descriptions[usize::from(kind)]?;
        let mut text = String::from_utf8_lossy(text).into_owned();
        for (name, sum) in names {
            text = text.replace(name, sum);
        }
        Some(text.into_bytes())
    };
    for (kind, name) in [(CONFIG, "@config"), (MANIFEST, "@manifest")] {
        let bytes = filled(kind, &names).unwrap_or_default();
        add(name.into(), bytes, &mut names);
    }
    for (kind, name) in [(INDEX, "index.json"), (SAVED, "manifest.json")] {
        parts.extend(filled(kind, &names).map(|bytes| (name.into(), bytes)));
    }
    parts.push(("oci-layout".into(), b"{}".into()));
    let entries: Vec<_> = parts
        .iter()
        .map(|(name, bytes)| (name.as_bytes(), EntryType::Regular, bytes.as_slice()))
        .collect();
    tar(&entries)
}

fn record(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&[kind][..], &length.to_le_bytes(), bytes].concat()
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let config = r#"{"architecture":"amd64","os":"linux","config":{"Entrypoint":["/usr/bin/tini","--"],"Cmd":["/app/run","x"],
        "Env":["PORT=4000"],"WorkingDir":"/app","ExposedPorts":{"4000/tcp":{}},"User":"nobody"}}"#;
    let manifest = r#"{"schemaVersion":2,"config":{"digest":"sha256:@config"},"layers":[
        {"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:@layer0"},{"digest":"sha256:@layer1"}]}"#;
    let index = r#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "digest":"sha256:@manifest","platform":{"architecture":"amd64","os":"linux"}}]}"#;
    let saved = r#"[{"Config":"blobs/sha256/@config","RepoTags":["a:1"],
        "Layers":["blobs/sha256/@layer0","blobs/sha256/@layer1"]}]"#;
    let mut layers = record(LAYER, b"");
    let program = [EMULATOR, b"\n", &programs::program()].concat();
    layers.extend(record(FILE, &program));
    for (path, _, data) in RELEASE {
        layers.extend(record(FILE, &[*path, b"\n", data].concat()));
    }
    for (kind, bytes) in [
        (FILE, &b"old/file\n1"[..]),
        (FILE, b"gone\n1"),
        (LAYER, b""),
        (FILE, b"gone/.wh..wh..opq\n"),
        (FILE, b".wh.gone\n"),
        (DIR, b"old\n"),
        (FILE, b"old/.wh..wh..opq\n"),
        (SYMLINK, b"opt\n/app"),
        (HARD_LINK, b"app/other\n/app/bin/a"),
        (DEVICE, b"dev/null\n"),
        (
            FILE,
            b"app/run\n#!/bin/sh\nexport A=1\nexec /app/bin/a start\n",
        ),
    ] {
        layers.extend(record(kind, bytes));
    }
    layers.extend(record(CONFIG, config.as_bytes()));
    let mut layout = layers.clone();
    layout.extend(record(MANIFEST, manifest.as_bytes()));
    layout.extend(record(INDEX, index.as_bytes()));
    layers.extend(record(SAVED, saved.as_bytes()));
    vec![layout, layers]
}
