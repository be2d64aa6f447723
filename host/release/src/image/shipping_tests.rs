//! Images for shipping (equal, small, compressed, with a bill of materials), and libraries that don't fit.

use std::fs;
use std::path::Path;

use super::check;
use super::tests::{Fixture, build_as, build_of, entries};

#[test]
fn a_tarball_makes_the_image_of_its_folder() {
    let fixture = Fixture::new();
    let folder = fixture.build("folder.img").unwrap();
    let tarball = fixture.dir.path().join("x.tar.gz");
    let file = fs::File::create(&tarball).unwrap();
    let gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    tar.append_dir_all(".", fixture.release()).unwrap();
    tar.into_inner().unwrap().finish().unwrap();
    let out = fixture.dir.path().join("tarball.img");
    build_of(&tarball, Path::new("/"), &[], &out).unwrap();
    assert!(fs::read(folder).unwrap() == fs::read(out).unwrap());
}

#[test]
fn compressed_images_are_the_same_images() {
    let fixture = Fixture::new();
    let plain = fixture.build("plain.img").unwrap();
    let out = fixture.dir.path().join("packed.img");
    build_as(&fixture.release(), Path::new("/"), &[], &out, |request| {
        request.compress = true;
    })
    .unwrap();
    assert!(super::is_compressed(&out).unwrap() && !super::is_compressed(&plain).unwrap());
    let packed = fs::read(&out).unwrap();
    let bytes = fs::read(&plain).unwrap();
    assert!(packed.len() < bytes.len() / 2);
    assert!(super::read(&out).unwrap() == bytes);
    assert_eq!(check(&out).unwrap().hostname, "my-app");
    let copy = crate::handover::behind_image(&out, b"more", fixture.dir.path()).unwrap();
    assert!(fs::read(copy.path()).unwrap() == [&bytes[..], b"more"].concat());
    for length in [3, 100, packed.len() / 2, packed.len() - 1] {
        fs::write(&out, &packed[..length]).unwrap();
        let error = check(&out).unwrap_err().to_string();
        assert!(
            error.contains("packed.img") && error.contains("tyn build"),
            "{error}"
        );
    }
}

#[test]
fn modules_are_stripped_on_request() {
    let fixture = Fixture::new();
    let chunk = |name: &str, data: &[u8; 4]| [name.as_bytes(), &[0, 0, 0, 4], data].concat();
    let module = |chunks: &[Vec<u8>]| {
        let body = [b"BEAM".to_vec(), chunks.concat()].concat();
        [&b"FOR1"[..], &(body.len() as u32).to_be_bytes(), &body].concat()
    };
    let code = chunk("Code", b"code");
    let beam = module(&[chunk("Dbgi", b"junk"), code.clone()]);
    fixture.write("lib/my_app-1/ebin/real.beam", &beam);
    let out = fixture.dir.path().join("stripped.img");
    build_as(&fixture.release(), Path::new("/"), &[], &out, |request| {
        request.strip_beams = true;
    })
    .unwrap();
    let bytes = fs::read(&out).unwrap();
    let entries = entries(&bytes);
    let get = |name: &str| {
        entries
            .iter()
            .find(|(n, _)| n.ends_with(name))
            .unwrap()
            .1
            .data
    };
    assert!(get("real.beam") == module(&[code]));
    assert_eq!(get("my_app.beam"), b"beam", "what is no module stays");
}

#[test]
fn bills_of_materials_list_what_is_in_an_image() {
    let fixture = Fixture::new();
    let image = fixture.build("app.img").unwrap();
    let recipe = super::read(&image).unwrap();
    let recipe = entries(&recipe);
    let recipe = recipe
        .iter()
        .find(|(n, _)| n == ".tyn/recipe.json")
        .unwrap()
        .1
        .data;
    let recipe = serde_json::from_slice(recipe).unwrap();
    let out = fixture.dir.path().join("app.cdx.json");
    crate::sbom::write(&image, &recipe, &out).unwrap();
    let text = fs::read_to_string(&out).unwrap();
    let bill: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (bill["bomFormat"].as_str(), bill["specVersion"].as_str()),
        (Some("CycloneDX"), Some("1.6"))
    );
    assert_eq!(bill["metadata"]["component"]["name"], "my_app");
    let components = bill["components"].as_array().unwrap();
    let has = |name: &str, version: &str| {
        components
            .iter()
            .any(|c| c["name"] == name && c["version"] == version)
    };
    assert!(has("my_app", "1") && has("erts", "15.0"), "{text}");
    let libc = components
        .iter()
        .find(|c| c["name"] == "libc.so.6")
        .unwrap();
    assert_eq!(libc["hashes"][0]["content"].as_str().unwrap().len(), 64);
    crate::sbom::write(&image, &recipe, &out).unwrap();
    assert_eq!(fs::read_to_string(&out).unwrap(), text);
}

#[test]
fn a_sysroot_with_an_older_glibc_is_refused() {
    let fixture = Fixture::new();
    let sysroot = tempfile::tempdir().unwrap();
    let lib = sysroot.path().join("lib64");
    fs::create_dir_all(&lib).unwrap();
    for name in ["ld-linux-x86-64.so.2", "libc.so.6"] {
        let system = crate::sysroot::Sysroot::new(Path::new("/"));
        let mut places = crate::sysroot::LIBRARY_DIRS.iter();
        let file = places
            .find_map(|dir| system.resolve(&Path::new(dir).join(name)))
            .unwrap();
        let mut bytes = fs::read(file).unwrap();
        // Versions are names in it: an old library has none like these.
        let old = b"GLIBC_2.3x";
        for minor in 10..60 {
            let version = format!("GLIBC_2.{minor}\0");
            let mut at = 0;
            while let Some(found) = bytes[at..]
                .windows(version.len())
                .position(|w| w == version.as_bytes())
            {
                bytes[at + found..at + found + old.len()].copy_from_slice(old);
                at += found + 1;
            }
        }
        fs::write(lib.join(name), bytes).unwrap();
    }
    let out = fixture.dir.path().join("refused.img");
    let error = build_of(&fixture.release(), sysroot.path(), &[], &out).unwrap_err();
    assert!(
        error.contains(" needs glibc 2.") && error.contains("/lib64/libc.so.6 is 2."),
        "{error}"
    );
    assert!(
        error.contains("name a newer system by --sysroot"),
        "{error}"
    );
    assert!(!out.exists());
}

#[test]
fn libraries_for_another_libc_are_refused() {
    let fixture = Fixture::new();
    // The name of glibc in a copy of a program becomes that of musl, which is no longer.
    let mut bytes = fs::read("/bin/true").unwrap();
    let at = bytes.windows(10).position(|w| w == b"libc.so.6\0").unwrap();
    bytes[at..at + 10].copy_from_slice(b"libc.so\0\0\0");
    fixture.write("lib/my_app-1/priv/nif.so", &bytes);
    fixture.refused("/app/lib/my_app-1/priv/nif.so is built for musl, but the emulator for glibc");
    fixture.refused("or leave it out by --skip-foreign (if the release works without)");
    // One for another processor beside it, and a script, which is none.
    let mut other = fs::read("/bin/true").unwrap();
    other[18..20].copy_from_slice(&183u16.to_le_bytes());
    fixture.write("lib/my_app-1/priv/arm/nif.so", &other);
    fixture.write("lib/my_app-1/priv/run.sh", b"#!/bin/sh\n");
    let out = fixture.dir.path().join("without.img");
    let (release, here) = (fixture.release(), Path::new("/"));
    build_as(&release, here, &[], &out, |request| {
        request.skip_foreign = true;
    })
    .unwrap();
    let bytes = fs::read(&out).unwrap();
    let names: Vec<_> = entries(&bytes).into_iter().map(|(name, _)| name).collect();
    assert!(
        !names.iter().any(|name| name.ends_with("nif.so")),
        "{names:?}"
    );
    assert!(
        names.iter().any(|name| name.ends_with("priv/run.sh")),
        "{names:?}"
    );
    fixture.remove("lib/my_app-1/priv/arm/nif.so");
    fixture.remove("lib/my_app-1/priv/nif.so");
    let mut bytes = fs::read("/bin/true").unwrap();
    let loader = b"/lib64/ld-linux-x86-64.so.2\0";
    let at = bytes
        .windows(loader.len())
        .position(|w| w == loader)
        .unwrap();
    bytes[at..at + 26].copy_from_slice(b"/lib/ld-musl-x86_64.so.1\0\0");
    let name = bytes.windows(10).position(|w| w == b"libc.so.6\0").unwrap();
    bytes[name..name + 10].copy_from_slice(b"libc.so\0\0\0");
    for program in ["beam.smp", "erl_child_setup", "inet_gethost", "epmd"] {
        fixture.write(&format!("erts-15.0/bin/{program}"), &bytes);
    }
    // This machine may have musl, too.
    let empty = tempfile::tempdir().unwrap();
    let out = fixture.dir.path().join("refused.img");
    let error = build_of(&fixture.release(), empty.path(), &[], &out).unwrap_err();
    assert!(
        error.contains("ld-musl-x86_64.so.1, which /app/erts-15.0/bin/beam.smp needs"),
        "{error}"
    );
    assert!(
        error.contains("it is for musl (Alpine Linux): name the root of such a system"),
        "{error}"
    );
}
