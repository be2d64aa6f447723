//! Descriptions of container images (index, manifest, config, `manifest.json`) that are any JSON, or ours with a part changed:
//! they are read, or refused with the image's name; nothing panics, and nothing beside the image is read.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

use super::super::archive::tests::{file, tarball};
use super::tests::{blob, follow_unpacked, manifest_of, write};
use super::*;

/// Texts that mean something somewhere, and some that mean nothing.
const TEXTS: [&str; 18] = [
    "",
    "/",
    "..",
    "../stolen.tar",
    "/../stolen.tar",
    "blobs/../../stolen.tar",
    "/bin/x",
    "start",
    "sh",
    "-c",
    "exec /bin/x start",
    "A=1",
    "=",
    "linux",
    "arm64",
    "sha256:",
    "sha512:00",
    "blobs/sha256/../../../stolen.tar",
];
/// Keys of all descriptions.
const KEYS: [&str; 16] = [
    "manifests",
    "config",
    "layers",
    "digest",
    "mediaType",
    "platform",
    "annotations",
    "os",
    "architecture",
    "Config",
    "Layers",
    "RepoTags",
    "Cmd",
    "Env",
    "ExposedPorts",
    "WorkingDir",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => select(&TEXTS[..]).prop_map(str::to_owned), 1 => ".{0,8}"]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = prop_oneof![select(&KEYS[..]).prop_map(str::to_owned), text()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4)
                .prop_map(|pairs| Value::from(Map::from_iter(pairs))),
        ]
    })
}

/// What is done to a description.
#[derive(Clone, Debug)]
enum Change {
    /// It is something else.
    Whole(Value),
    /// A part, found by going down, is something else.
    Part(Vec<Index>, Value),
    /// One of its texts is another.
    Words(usize, String),
    /// A part is not there.
    Drop(Vec<Index>),
    /// A part of a list is there twice.
    Twice(Vec<Index>),
    /// A byte of its text.
    Byte(Index, u8),
    /// Its text ends early.
    Cut(Index),
    /// It is another text.
    Text(Vec<u8>),
    /// Nothing.
    None,
}

fn change() -> impl Strategy<Value = Change> {
    let way = || prop::collection::vec(any::<Index>(), 1..5);
    prop_oneof![
        1 => any_json().prop_map(Change::Whole),
        1 => (way(), any_json()).prop_map(|(way, to)| Change::Part(way, to)),
        5 => (0..16_usize, text()).prop_map(|(which, to)| Change::Words(which, to)),
        1 => way().prop_map(Change::Drop),
        1 => way().prop_map(Change::Twice),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        1 => any::<Index>().prop_map(Change::Cut),
    ]
}

/// Changes the part at the end of the way, or where it can't go on.
fn alter(value: &mut Value, way: &[Index], change: &Change) {
    let (first, rest) = way.split_first().unwrap();
    let inner = match value {
        Value::Array(all) if !all.is_empty() => {
            let at = first.index(all.len());
            match change {
                Change::Drop(_) if rest.is_empty() => return drop(all.remove(at)),
                Change::Twice(_) if rest.is_empty() => return all.push(all[at].clone()),
                _ => &mut all[at],
            }
        }
        Value::Object(all) if !all.is_empty() => {
            let key = all.keys().nth(first.index(all.len())).unwrap().clone();
            match change {
                Change::Drop(_) if rest.is_empty() => return drop(all.remove(&key)),
                _ => &mut all[&key],
            }
        }
        _ => value,
    };
    match change {
        _ if !rest.is_empty() => alter(inner, rest, change),
        Change::Part(_, to) => *inner = to.clone(),
        _ => {}
    }
}

fn words(value: &mut Value) -> Vec<&mut Value> {
    match value {
        Value::String(_) => vec![value],
        Value::Array(all) => all.iter_mut().flat_map(words).collect(),
        Value::Object(all) => all.values_mut().flat_map(words).collect(),
        _ => Vec::new(),
    }
}

fn changed(mut value: Value, change: &Change) -> Vec<u8> {
    match change {
        Change::Whole(other) => value = other.clone(),
        Change::Part(way, _) | Change::Drop(way) | Change::Twice(way) => {
            alter(&mut value, way, change);
        }
        Change::Words(which, to) => {
            let mut all = words(&mut value);
            let at = which % all.len();
            *all[at] = to.as_str().into();
        }
        Change::Byte(..) | Change::Cut(_) | Change::Text(_) | Change::None => {}
    }
    let mut text = value.to_string().into_bytes();
    match change {
        Change::Byte(at, byte) => *at.get_mut(&mut text) = *byte,
        Change::Cut(at) => text.truncate(at.index(text.len())),
        Change::Text(other) => text.clone_from(other),
        _ => {}
    }
    text
}

/// Which description is changed; those above it name it as it is then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Which {
    Config,
    Manifest,
    Index,
    Saved,
}

/// Writes an image whose description `which` is changed, and a layer beside it that nobody may have.
fn image(dir: &Path, which: Which, change: &Change) {
    let text = |of: Which, value: Value| match of == which {
        true => changed(value, change),
        false => value.to_string().into_bytes(),
    };
    write(&dir.join("stolen.tar"), &tarball(&[file("stolen", "")]));
    let dir = dir.join("image");
    let layer = tarball(&[
        file("bin/x", "#!/bin/sh\nRELEASE_ROOT=/\n"),
        file("releases/start_erl.data", "15.0 1"),
    ]);
    let layer = blob(&dir, "application/vnd.oci.image.layer.v1.tar", &layer);
    let config = json!({"architecture": "amd64", "os": "linux", "config": {
        "Cmd": ["/bin/x", "start"], "Env": ["A=1"], "Entrypoint": null, "WorkingDir": "/app",
        "ExposedPorts": {"4000/tcp": {}}, "User": "nobody"}});
    let config = blob(&dir, "application/json", &text(Which::Config, config));
    let path = |d: &Value| d["digest"].as_str().unwrap().replace(':', "/");
    let saved = json!([{"Config": format!("blobs/{}", path(&config)), "RepoTags": ["a:1"],
        "Layers": [format!("blobs/{}", path(&layer))]}]);
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
    let manifest = manifest_of(&dir, &text(Which::Manifest, manifest));
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    write(&dir.join("index.json"), &text(Which::Index, index));
    if which == Which::Saved {
        write(&dir.join("manifest.json"), &text(Which::Saved, saved));
    }
}

/// Reads it, and follows its start.
fn read(dir: &Path) -> Result<(), String> {
    let (root, spool) = (dir.join("root"), dir.join("spool"));
    let path = dir.join("image");
    let config = Image::new(&path, &path).unpack(&root, &spool);
    assert!(!root.join("stolen").exists(), "it is not of the image");
    let config = config.map_err(|error| error.to_string())?;
    follow_unpacked(&path, &config, &root).map(drop)
}

#[test]
fn descriptions_are_sound_as_long_as_nothing_is_changed() {
    for which in [Which::Config, Which::Manifest, Which::Index, Which::Saved] {
        let temp = tempfile::tempdir().unwrap();
        image(temp.path(), which, &Change::None);
        read(temp.path()).unwrap();
    }
}

/// Whatever a text is replaced by.
#[test]
fn descriptions_lead_nowhere_but_into_the_image() {
    let hostile = TEXTS.iter().filter(|text| text.contains("stolen"));
    for (text, at) in hostile.flat_map(|text| (0..10).map(move |at| (text, at))) {
        for which in [Which::Manifest, Which::Index, Which::Saved] {
            let temp = tempfile::tempdir().unwrap();
            image(temp.path(), which, &Change::Words(at, (*text).into()));
            // An error is as good.
            let _ = read(temp.path());
        }
    }
}

/// Deeper than any stack.
#[test]
fn deep_descriptions_are_refused() {
    let deep = "[".repeat(1 << 20);
    for (which, part) in [
        (Which::Config, "blobs/sha256/"),
        (Which::Manifest, "blobs/sha256/"),
        (Which::Index, "index.json"),
        (Which::Saved, "manifest.json"),
    ] {
        let temp = tempfile::tempdir().unwrap();
        image(temp.path(), which, &Change::Text(deep.clone().into_bytes()));
        let error = read(temp.path()).unwrap_err();
        let is_named = error.contains("image: ") && error.contains(part);
        assert!(is_named && error.contains("can't be understood"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_descriptions_are_refused_or_read(
        which in select(vec![Which::Config, Which::Manifest, Which::Index, Which::Saved]),
        change in change(),
    ) {
        let temp = tempfile::tempdir().unwrap();
        image(temp.path(), which, &change);
        if let Err(error) = read(temp.path()) {
            let name = temp.path().join("image").display().to_string();
            prop_assert!(error.contains(&name), "{error}");
            let part = match which {
                Which::Index => "index.json",
                Which::Saved => "manifest.json",
                Which::Config | Which::Manifest => "blobs/sha256/",
            };
            prop_assert!(!error.contains("can't be understood") || error.contains(part), "{error}");
        }
    }
}
