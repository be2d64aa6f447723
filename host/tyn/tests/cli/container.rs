//! Container images as `docker save` writes them, made by hand: what is said when an image is made of one.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::bench::{Bench, Ended};
use crate::tarball::{archive, entry, gzip};

const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
const MUSL: &str = "lib/ld-musl-x86_64.so.1";

/// What `docker save` writes of an image with a release in `/app`, whose programs are `program`, and these files.
pub(crate) fn saved(user: &str, program: &[u8], files: &[Vec<u8>]) -> Vec<u8> {
    let file = |name: &str, data: &[u8]| entry(name, b'0', "", data);
    let mut layer = vec![
        file("app/releases/start_erl.data", b"15.2 1\n"),
        file("app/releases/1/app.rel", b""),
        file("app/releases/1/start.boot", b""),
        file("app/releases/1/sys.config", b"[]."),
        file(
            "app/bin/app",
            b"#!/bin/sh\nexec $RELEASE_ROOT/erts/bin/erlexec\n",
        ),
    ];
    for name in ["beam.smp", "erl_child_setup", "inet_gethost"] {
        layer.push(file(&format!("app/erts-15.2/bin/{name}"), program));
    }
    layer.extend(files.iter().cloned());
    let config = format!(
        r#"{{"architecture": "amd64", "os": "linux", "config": {{"User": "{user}", "Cmd": ["/app/bin/app", "start"],
            "ExposedPorts": {{"4000/tcp": {{}}}}}}}}"#
    );
    let manifest = r#"[{"Config": "config.json", "RepoTags": null, "Layers": ["layer.tar"]}]"#;
    archive(&[
        file("manifest.json", manifest.as_bytes()),
        file("config.json", config.as_bytes()),
        file("layer.tar", &gzip(&archive(&layer))),
    ])
}

/// Makes an image of what comes by a pipe.
fn build(bench: &Bench, saved: &[u8]) -> Ended {
    let mut command = bench.command("build - -o app.img");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut tool = command.stderr(Stdio::piped()).spawn().unwrap();
    tool.stdin.take().unwrap().write_all(saved).unwrap();
    let ended = bench.ended(&tool.wait_with_output().unwrap());
    bench.has_no_files();
    ended
}

/// Returns what was said, without the sizes of this machine's libraries.
fn said(ended: &Ended) -> String {
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""), "{ended:?}");
    let lines = ended.err.lines();
    let lines = lines.map(|line| match line.split_once(" files, ") {
        Some((start, _)) => start.rsplit_once(' ').unwrap().0.to_owned(),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn glibc() -> Vec<Vec<u8>> {
    ["/lib/x86_64-linux-gnu/libc.so.6", LOADER]
        .map(|path| entry(&path[1..], b'0', "", &fs::read(path).unwrap()))
        .to_vec()
}

#[test]
fn user_is_said_not_to_be_followed() {
    let bench = Bench::new();
    let program = fs::read("/bin/true").unwrap();
    let made = "app.img: app 1, ERTS 15.2, 2 libraries,\nit serves port 4000: tyn run -p 4000:4000";
    for user in ["", "root", "0", "0:0", "root:app"] {
        let ended = build(&bench, &saved(user, &program, &glibc()));
        assert_eq!(said(&ended), made, "{user}");
    }
    let ended = build(&bench, &saved("app:app", &program, &glibc()));
    let want = "tyn: warning: the image asks for the user app, but a guest has root alone (uid 0): permissions of files keep nothing \
         from the release, and programs that refuse to run as root do so; what it can't reach is the host, for the guest is a \
         machine of its own\n";
    assert_eq!(said(&ended), want.to_owned() + made);
}

/// A program of this machine as musl's tools would have linked it.
pub(crate) fn program_for_musl() -> Vec<u8> {
    let mut program = fs::read("/bin/true").unwrap();
    for (old, new) in [
        (
            &b"/lib64/ld-linux-x86-64.so.2\0"[..],
            &b"/lib/ld-musl-x86_64.so.1\0\0\0\0"[..],
        ),
        (b"\0libc.so.6\0", b"\0libc.so\0\0\0"),
    ] {
        let at = program.windows(old.len()).position(|part| part == old);
        program[at.unwrap()..][..new.len()].copy_from_slice(new);
    }
    program
}

/// With its loader, which is musl's library, too.
#[test]
fn release_for_musl_is_made_with_the_images_own_musl() {
    let bench = Bench::new();
    let program = program_for_musl();
    let musl = [
        entry(MUSL, b'0', "", &fs::read(LOADER).unwrap()),
        entry("usr/lib/libc.so", b'2', "/lib/ld-musl-x86_64.so.1", b""),
    ];
    let made = "app.img: app 1, ERTS 15.2, 1 library,\nit serves port 4000: tyn run -p 4000:4000";
    let ended = build(&bench, &saved("", &program, &musl));
    assert_eq!(said(&ended), made);
    // Both count alike.
    let shown = bench.tyn("inspect app.img").out;
    let count = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let at = words.iter().position(|word| word.starts_with("files"));
        words[at.unwrap() - 1].to_owned()
    };
    assert_eq!(count(&ended.err), count(&shown), "{ended:?}");
    let tree = bench.tyn("inspect app.img --tree").out;
    assert!(tree.contains("ld-musl-x86_64.so.1"), "{tree}");
    // With a library of an application that is for glibc.
    let nif = entry(
        "app/lib/a-1/priv/nif.so",
        b'0',
        "",
        &fs::read("/lib/x86_64-linux-gnu/libm.so.6").unwrap(),
    );
    let ended = build(&bench, &saved("", &program, &[&musl[..], &[nif]].concat()));
    let want = "nif.so is built for glibc, but";
    assert_eq!(ended.code, Some(125), "{ended:?}");
    assert!(ended.err.contains(want), "{ended:?}");
}
