//! Container images made by hand, of both kinds, and what is said about bad ones.

use std::io::Write;

use serde_json::json;

use super::super::archive::tests::{dir, file, link, tarball};
use super::*;
use crate::input::container::{self, Found};

pub(super) fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn digest(bytes: &[u8]) -> String {
    let sum: String = Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    sum
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Writes a blob; returns its descriptor.
pub(super) fn blob(dir: &Path, kind: &str, bytes: &[u8]) -> serde_json::Value {
    let sum = digest(bytes);
    write(&dir.join("blobs/sha256").join(&sum), bytes);
    json!({"mediaType": kind, "digest": format!("sha256:{sum}"), "size": bytes.len()})
}

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

fn manifest(dir: &Path, architecture: &str, layers: &[Vec<u8>]) -> serde_json::Value {
    let config = json!({"architecture": architecture, "os": "linux",
        "config": {"Cmd": ["/app/bin/x", "start"], "Env": ["A=1"], "Entrypoint": null,
                   "ExposedPorts": {"4000/tcp": {}}, "User": "nobody", "WorkingDir": "/app"}});
    let config = blob(dir, CONFIG, config.to_string().as_bytes());
    let layers: Vec<_> = layers.iter().map(|layer| blob(dir, LAYER, layer)).collect();
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
    let mut found = manifest_of(dir, manifest.to_string().as_bytes());
    found["platform"] = json!({"architecture": architecture, "os": "linux"});
    found
}

/// Writes a manifest; returns its descriptor.
pub(super) fn manifest_of(dir: &Path, text: &[u8]) -> serde_json::Value {
    blob(dir, MANIFEST, text)
}

fn layers() -> Vec<Vec<u8>> {
    let first = tarball(&[dir("app"), file("app/a", "1"), file("app/b", "1")]);
    let second = gzip(&tarball(&[file("app/.wh.a", ""), link("etc", "app")]));
    let third = zstd::encode_all(tarball(&[file("etc/c", "3")]).as_slice(), 1).unwrap();
    vec![first, second, third]
}

fn index(dir: &Path, manifests: &[serde_json::Value]) {
    write(
        &dir.join("oci-layout"),
        b"{\"imageLayoutVersion\": \"1.0.0\"}",
    );
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    write(&dir.join("index.json"), index.to_string().as_bytes());
}

fn unpack(dir: &Path) -> Result<(Config, tempfile::TempDir), String> {
    let temp = tempfile::tempdir().unwrap();
    let (root, spool) = (temp.path().join("root"), temp.path().join("spool"));
    let image = Image::new(dir, dir);
    let config = image.unpack(&root, &spool);
    config
        .map(|config| (config, temp))
        .map_err(|error| error.to_string())
}

fn check(dir: &Path) {
    let (config, temp) = unpack(dir).unwrap();
    let root = temp.path().join("root");
    assert!(!root.join("app/a").exists());
    assert_eq!(fs::read(root.join("app/b")).unwrap(), b"1");
    assert_eq!(fs::read(root.join("app/c")).unwrap(), b"3");
    assert_eq!(config.cmd, ["/app/bin/x", "start"]);
    assert_eq!(config.working_dir, "/app");
    assert!(config.entrypoint.is_empty());
    assert_eq!(
        config.exposed_ports.into_keys().collect::<Vec<_>>(),
        ["4000/tcp"]
    );
}

#[test]
fn layouts_are_unpacked_for_this_platform() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let ours = manifest(dir, "amd64", &layers());
    index(dir, std::slice::from_ref(&ours));
    check(dir);
    // Several platforms, in an index of their own, with an attestation.
    let other = manifest(dir, "arm64", &[]);
    let mut attestation = other.clone();
    attestation["platform"] = json!({"architecture": "unknown", "os": "unknown"});
    let nested = json!({"schemaVersion": 2, "manifests": [other.clone(), ours, attestation]});
    let nested = blob(dir, INDEX, nested.to_string().as_bytes());
    index(dir, &[nested]);
    check(dir);
    index(dir, &[other]);
    let error = unpack(dir).unwrap_err();
    assert!(
        error.contains("is for linux/arm64, but Tyn runs linux/amd64"),
        "{error}"
    );
}

#[test]
fn saved_images_are_unpacked() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    manifest(dir, "amd64", &layers());
    // As older versions of docker write it: names of their own, equal layers as links.
    let config = json!({"architecture": "amd64", "os": "linux",
        "config": {"Cmd": ["/app/bin/x", "start"], "WorkingDir": "/app", "ExposedPorts": {"4000/tcp": {}}}});
    write(&dir.join("config.json"), config.to_string().as_bytes());
    for (number, layer) in layers().iter().enumerate() {
        write(&dir.join(format!("l{number}/layer.tar")), layer);
    }
    std::os::unix::fs::symlink("../l1/layer.tar", dir.join("l2/link.tar")).unwrap();
    let saved = |layers: &[&str]| {
        let one = json!({"Config": "config.json", "RepoTags": ["a:1"], "Layers": layers});
        write(
            &dir.join("manifest.json"),
            json!([one]).to_string().as_bytes(),
        );
        one
    };
    let one = saved(&["l0/layer.tar", "l2/link.tar", "l2/layer.tar"]);
    check(dir);
    saved(&["l0/layer.tar", "none"]);
    let error = unpack(dir).unwrap_err();
    assert!(
        error.contains("lacks the layer none; save or copy the image again"),
        "{error}"
    );
    write(
        &dir.join("manifest.json"),
        json!([one, one]).to_string().as_bytes(),
    );
    let error = unpack(dir).unwrap_err();
    assert!(
        error.contains("holds several images (a:1, a:1); save one"),
        "{error}"
    );
    write(&dir.join("manifest.json"), b"[{");
    let error = unpack(dir).unwrap_err();
    assert!(
        error.contains("manifest.json can't be understood"),
        "{error}"
    );
    // Paths lead nowhere but into the image.
    saved(&["../../../../../../etc/passwd"]);
    let error = unpack(dir).unwrap_err();
    assert!(error.contains("lacks the layer"), "{error}");
}

#[test]
fn damaged_parts_are_named() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let whole = manifest(dir, "amd64", &layers());
    index(dir, std::slice::from_ref(&whole));
    let part = dir.join("blobs/sha256").join(digest(&layers()[1]));
    let bytes = fs::read(&part).unwrap();
    fs::write(&part, &bytes[..bytes.len() - 1]).unwrap();
    let error = unpack(dir).unwrap_err();
    assert!(
        error.contains("has another SHA-256 sum than its name says"),
        "{error}"
    );
    fs::remove_file(&part).unwrap();
    assert!(unpack(dir).unwrap_err().contains("lacks blobs/sha256/"));
    // Cut short before it got its name.
    let cut = manifest(dir, "amd64", &[bytes[..bytes.len() / 2].to_vec()]);
    index(dir, &[cut]);
    let error = unpack(dir).unwrap_err();
    assert!(
        error.contains("a layer of") && error.contains("is cut short"),
        "{error}"
    );
    index(dir, &[json!({"digest": "sha256:../../x"})]);
    assert!(
        unpack(dir)
            .unwrap_err()
            .contains("lacks a part with the digest")
    );
    index(dir, &[]);
    assert!(unpack(dir).unwrap_err().contains("lacks a manifest"));
}

#[test]
fn saved_parts_are_checked_where_their_name_is_a_sum() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let whole = manifest(dir, "amd64", &layers());
    let manifest: Manifest = {
        let sum = whole["digest"].as_str().unwrap().replace(':', "/");
        serde_json::from_slice(&fs::read(dir.join("blobs").join(sum)).unwrap()).unwrap()
    };
    let name = |d: &Descriptor| format!("blobs/{}", d.digest.replace(':', "/"));
    let names: Vec<String> = manifest.layers.iter().map(name).collect();
    let config = name(&manifest.config);
    let save = |config: &str, layers: &[String]| {
        let one = json!([{"Config": config, "RepoTags": null, "Layers": layers}]);
        write(&dir.join("manifest.json"), one.to_string().as_bytes());
    };
    save(&config, &names);
    check(dir);
    // Of the same length, and still JSON or an archive.
    for part in [&config, &names[0]] {
        let bytes = fs::read(dir.join(part)).unwrap();
        let mut other = bytes.clone();
        let at = other.iter().rposition(|byte| *byte == b'1').unwrap();
        other[at] = b'2';
        fs::write(dir.join(part), other).unwrap();
        let error = unpack(dir).unwrap_err();
        assert!(
            error.contains(&format!(
                "{part} has another SHA-256 sum than its name says"
            )),
            "{error}"
        );
        fs::write(dir.join(part), bytes).unwrap();
    }
    save(&config, &["blobs/sha512/00".into()]);
    let error = unpack(dir).unwrap_err();
    assert!(
        error.contains("names a part by sha512:00, which can't be checked"),
        "{error}"
    );
}

fn follow(files: &[(&str, &str)], config: &Config) -> Result<Found, String> {
    let temp = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(&temp.path().join(path), text.as_bytes());
    }
    follow_unpacked(Path::new("image.tar"), config, temp.path())
}

/// Follows the start of the image `path`, which is unpacked in `root`.
pub(super) fn follow_unpacked(path: &Path, config: &Config, root: &Path) -> Result<Found, String> {
    let found = container::follow(path, config, &Sysroot::new(root));
    found.map_err(|error| error.to_string())
}

const RELEASE: [(&str, &str); 2] = [
    ("srv/x/bin/x", "#!/bin/sh\nRELEASE_ROOT=...\n"),
    ("srv/x/releases/start_erl.data", "15.0 1"),
];

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

#[test]
fn starts_lead_to_the_release() {
    let server = (
        "srv/x/bin/server",
        "#!/bin/sh\nset -eu\ncd -P -- \"$(dirname -- \"$0\")\"\nPHX_SERVER=true exec ./x start\n",
    );
    let entrypoint = (
        "docker-entrypoint.sh",
        "#!/bin/sh\nset -e\nexport B=2\numask 22\nexec \"$@\"\n",
    );
    let files = [
        RELEASE[0],
        RELEASE[1],
        server,
        entrypoint,
        ("sbin/tini", "ELF"),
    ];
    for (entry, cmd, dir, variable) in [
        ("", "/srv/x/bin/x start", "", "A=1"),
        ("", "bin/x foreground", "/srv/x", "A=1"),
        ("", "bin/server", "/srv/x", "PHX_SERVER=true"),
        ("/docker-entrypoint.sh", "/srv/x/bin/x start", "/", "B=2"),
        ("/sbin/tini -s --", "/srv/x/bin/x start", "", "A=1"),
        ("x", "start", "", "PATH=/srv/x/bin"),
    ] {
        let config = Config {
            entrypoint: words(entry).into_iter().filter(|w| !w.is_empty()).collect(),
            cmd: words(cmd),
            env: vec!["A=1".into(), "PATH=/srv/x/bin".into()],
            working_dir: dir.into(),
            ..Config::default()
        };
        let found = follow(&files, &config).unwrap();
        assert_eq!(found.root, Path::new("/srv/x"), "{cmd}");
        assert!(!found.is_shipment);
        let env: Vec<String> = found.env.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert!(env.contains(&variable.to_owned()), "{env:?}");
        let is_warned = found
            .warnings
            .iter()
            .any(|w| w.contains("/docker-entrypoint.sh:4: 'umask 22' is not run"));
        assert_eq!(
            is_warned,
            entry.starts_with("/docker"),
            "{:?}",
            found.warnings
        );
    }
    let shell = Config {
        cmd: vec![
            "/bin/sh".into(),
            "-c".into(),
            "C=3 /srv/x/bin/x start".into(),
        ],
        ..Config::default()
    };
    let found = follow(&files, &shell).unwrap();
    assert!(found.env.contains(&("C".into(), "3".into())));
    let shipment = [(
        "app/entrypoint.sh",
        "#!/bin/sh\nerl -eval \"$PACKAGE@@main:run($PACKAGE)\"\n",
    )];
    let config = Config {
        entrypoint: vec!["/app/entrypoint.sh".into()],
        cmd: words("run a b"),
        ..Config::default()
    };
    let found = follow(&shipment, &config).unwrap();
    assert!(found.is_shipment);
    assert_eq!((found.root, found.args), ("/app".into(), words("a b")));
}

#[test]
fn starts_that_lead_nowhere_are_refused() {
    let started = |line: &str| Config {
        cmd: words(line).into_iter().filter(|w| !w.is_empty()).collect(),
        ..Config::default()
    };
    let files = [
        RELEASE[0],
        RELEASE[1],
        ("usr/bin/nginx", "\x7fELF"),
        ("loop.sh", "#!/bin/sh\nexec /loop.sh\n"),
        ("srv/x/bin/other", "#!/bin/sh\necho hello\n"),
    ];
    for (line, want) in [
        ("", "says nothing about what it starts"),
        (
            "nginx -g x",
            "starts 'nginx -g x', which leads to /usr/bin/nginx: neither the start script",
        ),
        ("/none start", "there is no /none in it"),
        ("/srv/x/bin/x eval x", "asks it to 'eval'; make it `start`"),
        ("/srv/x/bin/x", "asks it to ''"),
        ("/loop.sh", "leads to /loop.sh"),
        ("/srv/x/bin/other", "leads to /srv/x/bin/other"),
    ] {
        let error = follow(&files, &started(line)).unwrap_err();
        assert!(
            error.contains(want) && error.contains("image.tar"),
            "{line}: {error}"
        );
    }
}
