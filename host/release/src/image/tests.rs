//! Images of small made-up releases: what is in them, that they are deterministic, and what is said about bad input.
//! A small program of this machine plays the emulator; this machine is the sysroot.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::include::Include;
use crate::input::{Choices, Input};
use crate::{Request, build};
use tyn_bootfmt::DATA_ALIGN;
use tyn_fs::cpio::{Entries, Entry};

pub(super) struct Fixture {
    pub(super) dir: tempfile::TempDir,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fixture = Self { dir };
        let me = fs::read("/bin/true").unwrap();
        for program in ["beam.smp", "erl_child_setup", "inet_gethost", "epmd"] {
            fixture.write(&format!("erts-15.0/bin/{program}"), &me);
        }
        fixture.write("releases/start_erl.data", b"15.0 1.2.3\n");
        fixture.write("releases/1.2.3/start.boot", b"boot");
        fixture.write("releases/1.2.3/start.script", b"script");
        fixture.write("releases/1.2.3/my_app.rel", b"rel");
        fixture.write("releases/1.2.3/sys.config", b"[].");
        fixture.write(
            "releases/1.2.3/vm.args",
            b"# a comment\n+P 4096 +Bi\n-env LANG 'C'\n-noinput -sname me",
        );
        fixture.write("lib/my_app-1/ebin/my_app.beam", b"beam");
        fixture.write("lib/my_app-1/src/my_app.erl", b"source");
        fixture.write("bin/my_app", b"#!/bin/sh\n");
        fixture
    }

    pub(super) fn release(&self) -> PathBuf {
        self.dir.path().join("rel")
    }

    pub(super) fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.release().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        if bytes.starts_with(b"\x7fELF") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        }
    }

    pub(super) fn remove(&self, path: &str) {
        let path = self.release().join(path);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    pub(super) fn build(&self, out: &str) -> Result<PathBuf, String> {
        self.build_with(out, &[])
    }

    pub(super) fn build_with(&self, out: &str, includes: &[Include]) -> Result<PathBuf, String> {
        let out = self.dir.path().join(out);
        build_of(&self.release(), Path::new("/"), includes, &out)?;
        Ok(out)
    }

    /// Builds and expects a refusal that says `want`, with nothing left behind.
    pub(super) fn refused(&self, want: &str) {
        let error = self.build("refused.img").unwrap_err();
        assert!(error.contains(want), "{error}");
        let left: Vec<_> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .filter(|n| n != "rel")
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

pub(super) fn build_of(
    input: &Path,
    sysroot: &Path,
    includes: &[Include],
    out: &Path,
) -> Result<(), String> {
    build_as(input, sysroot, includes, out, |_| {})
}

pub(super) fn build_as(
    input: &Path,
    sysroot: &Path,
    includes: &[Include],
    out: &Path,
    set: impl FnOnce(&mut Request<'_>),
) -> Result<(), String> {
    let choices = Choices {
        release: None,
        start: None,
        sysroot,
        otp: None,
    };
    let input = Input::detect(input).map_err(|error| error.to_string())?;
    let app = input.open(&choices).map_err(|error| error.to_string())?;
    let mut request = Request {
        app: &app,
        includes,
        out,
        latest: Some(0),
        strip_beams: false,
        skip_foreign: false,
        strip_elf: false,
        epmd: false,
        compress: false,
    };
    set(&mut request);
    let built = build(&request, &mut |_| {});
    built.map(|_| ()).map_err(|error| error.to_string())
}

pub(super) fn entries(bytes: &[u8]) -> Vec<(String, Entry<'_>)> {
    Entries::new(bytes)
        .map(|e| e.unwrap())
        .map(|e| (String::from_utf8(e.name.to_vec()).unwrap(), e))
        .collect()
}

#[test]
fn image_holds_what_the_release_needs_and_no_more() {
    let fixture = Fixture::new();
    let bytes = fs::read(fixture.build("app.img").unwrap()).unwrap();
    let entries = entries(&bytes);
    let names: Vec<&str> = entries.iter().map(|(n, _)| n.as_str()).collect();
    for name in [
        ".",
        "app/erts-15.0/bin/beam.smp",
        "app/erts-15.0/bin/erl_child_setup",
        "app/erts-15.0/bin/inet_gethost",
        "app/erts-15.0/bin/epmd",
        "app/lib/my_app-1/ebin/my_app.beam",
        "app/releases/1.2.3/start.boot",
        "app/releases/1.2.3/my_app.rel",
        "lib64/ld-linux-x86-64.so.2",
        "etc/hosts",
        "tmp",
        "proc",
        ".tyn/init",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert!(names.iter().any(|n| n.ends_with("/libc.so.6")));
    let loaders = names
        .iter()
        .filter(|n| n.ends_with("/ld-linux-x86-64.so.2"));
    assert_eq!(loaders.count(), 1);
    for name in [
        "daemons.cpio.gz",
        "bin/my_app",
        "my_app.erl",
        "start.script",
        "libtinfo",
    ] {
        assert!(
            !names.iter().any(|n| n.ends_with(name)),
            "{name} in {names:?}"
        );
    }
}

#[test]
fn data_is_page_aligned_and_folders_come_first() {
    let fixture = Fixture::new();
    let bytes = fs::read(fixture.build("app.img").unwrap()).unwrap();
    assert_eq!(bytes.len() % DATA_ALIGN, 0);
    let mut seen = vec!["".to_owned(), ".".to_owned()];
    for (name, entry) in entries(&bytes) {
        if entry.mode & 0o170_000 == 0o100_000 {
            assert_eq!(entry.data_offset % DATA_ALIGN, 0, "{name}");
        }
        let parent = Path::new(&name).parent().unwrap().display().to_string();
        assert!(seen.contains(&parent), "{name} before its folder");
        assert_eq!((entry.uid, entry.gid, entry.mtime), (0, 0, 0));
        seen.push(name);
    }
    let beam = fs::read("/bin/true").unwrap();
    let entries = entries(&bytes);
    let (_, entry) = entries
        .iter()
        .find(|(n, _)| n.ends_with("beam.smp"))
        .unwrap();
    assert!(
        entry.data == beam,
        "the emulator must be the release's, byte for byte"
    );
    assert_eq!(entry.mode, 0o100_755);
}

#[test]
fn images_replace_files_only() {
    let fixture = Fixture::new();
    let out = fixture.build("x.img").unwrap();
    fixture.build("x.img").unwrap();
    fs::remove_file(&out).unwrap();
    // As /dev/null would be: a rename over it takes no notice of what it is.
    let socket = std::os::unix::net::UnixListener::bind(&out).unwrap();
    let error = fixture.build("x.img").unwrap_err();
    assert!(
        error.contains(
            "x.img is there and no regular file, so it is not replaced; name a file by -o"
        ),
        "{error}"
    );
    assert!(!out.is_file());
    drop(socket);
}

#[test]
fn two_builds_are_equal() {
    let fixture = Fixture::new();
    let first = fixture.build("a.img").unwrap();
    let second = fixture.build("b.img").unwrap();
    assert!(fs::read(first).unwrap() == fs::read(second).unwrap());
}

#[test]
fn cpio_lists_an_image() {
    let fixture = Fixture::new();
    let image = fixture.build("app.img").unwrap();
    let output = Command::new("cpio")
        .args(["-it", "--quiet"])
        .stdin(fs::File::open(&image).unwrap())
        .stderr(Stdio::piped())
        .output()
        .expect("install the Debian package cpio");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let listed = String::from_utf8(output.stdout).unwrap();
    let bytes = fs::read(&image).unwrap();
    let names: Vec<String> = entries(&bytes).into_iter().map(|(n, _)| n).collect();
    assert_eq!(listed.lines().collect::<Vec<_>>(), names);
}

#[test]
fn libraries_of_the_release_win_over_the_sysroot() {
    let fixture = Fixture::new();
    let me = fs::read("/bin/true").unwrap();
    fixture.write("lib/my_app-1/priv/port", &me);
    symlink("port", fixture.release().join("lib/my_app-1/priv/link")).unwrap();
    let bytes = fs::read(fixture.build("app.img").unwrap()).unwrap();
    let entries = entries(&bytes);
    let (_, link) = entries
        .iter()
        .find(|(n, _)| n.ends_with("priv/link"))
        .unwrap();
    assert_eq!(
        (link.mode & 0o170_000, link.data),
        (0o120_000, &b"port"[..])
    );
}

#[test]
fn included_programs_bring_their_libraries() {
    let fixture = Fixture::new();
    let extra = fixture.dir.path().join("extra");
    fs::copy("/bin/true", &extra).unwrap();
    let hosts = fixture.dir.path().join("hosts");
    fs::write(&hosts, "127.0.0.1 mine\n").unwrap();
    let includes = [
        format!("{}=/usr/bin/extra", extra.display()),
        format!("{}=/etc/hosts", hosts.display()),
        "/lib64/ld-linux-x86-64.so.2".into(),
    ]
    .map(|text| text.parse().unwrap());
    let bytes = fs::read(fixture.build_with("app.img", &includes).unwrap()).unwrap();
    let entries = entries(&bytes);
    let get = |name: &str| entries.iter().find(|(n, _)| n == name).map(|(_, e)| e);
    assert!(get("usr/bin/extra").unwrap().data == fs::read(&extra).unwrap());
    assert_eq!(get("etc/hosts").unwrap().data, b"127.0.0.1 mine\n");
    let none = ["/usr/bin/none-such".parse().unwrap()];
    fs::remove_file(fixture.dir.path().join("app.img")).unwrap();
    let error = fixture.build_with("app.img", &none).unwrap_err();
    assert!(error.contains("/usr/bin/none-such isn't there"), "{error}");
    assert!(!fixture.dir.path().join("app.img").exists());
}

#[test]
fn heart_comes_when_it_is_asked_for() {
    let fixture = Fixture::new();
    fixture.write("releases/1.2.3/vm.args", b"-heart");
    fixture.refused("heart is missing from the release");
    let me = fs::read("/bin/true").unwrap();
    fixture.write("erts-15.0/bin/heart", &me);
    for (args, want) in [(&b"-heart"[..], 1), (b"", 0)] {
        fixture.write("releases/1.2.3/vm.args", args);
        let bytes = fs::read(fixture.build("app.img").unwrap()).unwrap();
        let entries = entries(&bytes);
        let hearts = entries.iter().filter(|(n, _)| n.ends_with("/heart"));
        assert_eq!(hearts.count(), want);
    }
}
