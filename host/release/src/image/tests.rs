//! Images of small made-up releases: what is in them, that they are deterministic, and what is said about bad input.
//! A small program of this machine plays the emulator; this machine is the sysroot.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::check;
use crate::cpio;
use crate::include::Include;
use crate::input::{Choices, Input};
use crate::{Request, build};
use tyn_bootfmt::{DATA_ALIGN, Init};
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

    fn build_with(&self, out: &str, includes: &[Include]) -> Result<PathBuf, String> {
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
        mtime: 0,
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
fn start_description_is_what_the_start_script_would_run() {
    let fixture = Fixture::new();
    let bytes = fs::read(fixture.build("app.img").unwrap()).unwrap();
    let entries = entries(&bytes);
    let (_, entry) = entries.iter().find(|(n, _)| n == ".tyn/init").unwrap();
    let init = Init::parse(entry.data).unwrap();
    let args: Vec<_> = init
        .args
        .iter()
        .map(|a| String::from_utf8_lossy(a))
        .collect();
    assert_eq!(
        args.join(" "),
        "/app/erts-15.0/bin/beam.smp -Bd -P 4096 -Bi -- -root /app -bindir /app/erts-15.0/bin -progname erl -- \
         -home /root -- -noshell -noinput -boot /app/releases/1.2.3/start -config /app/releases/1.2.3/sys -noshell -noinput -sname me -- --"
    );
    let env: Vec<_> = init
        .env
        .iter()
        .map(|a| String::from_utf8_lossy(a))
        .collect();
    for want in [
        "BINDIR=/app/erts-15.0/bin",
        "LANG=C",
        "RELEASE_NAME=my_app",
        "RELEASE_VSN=1.2.3",
    ] {
        assert!(env.iter().any(|e| e == want), "{want} in {env:?}");
    }
    assert_eq!(init.hostname, b"my-app");
    assert_eq!(init.cwd, b"/app");
    assert_eq!(init.daemons, [[b"/app/erts-15.0/bin/epmd"]]);
}

/// Reads an image's start description: its last arguments, and whether something is started beside it.
fn tail_and_daemons(bytes: &[u8]) -> (String, usize) {
    let entries = entries(bytes);
    let (_, entry) = entries.iter().find(|(n, _)| n == ".tyn/init").unwrap();
    let init = Init::parse(entry.data).unwrap();
    let args = init.args.iter().map(|arg| String::from_utf8_lossy(arg));
    let args: Vec<_> = args.skip_while(|arg| arg != "-config").skip(2).collect();
    (args.join(" "), init.daemons.len())
}

#[test]
fn a_node_without_name_has_epmd_packed_aside_on_request() {
    let fixture = Fixture::new();
    fixture.write("releases/1.2.3/vm.args", b"+P 4096");
    let image = fixture.build("app.img").unwrap();
    assert!(check(&image).unwrap().daemon_files.is_empty());
    let (release, none) = (fixture.release(), Path::new("/"));
    build_as(&release, none, &[], &image, |request| {
        request.epmd = true;
    })
    .unwrap();
    let bytes = fs::read(&image).unwrap();
    assert_eq!(tail_and_daemons(&bytes), ("-- --".into(), 0));
    let names: Vec<_> = entries(&bytes).into_iter().map(|(name, _)| name).collect();
    assert!(
        !names.iter().any(|name| name.ends_with("epmd")),
        "{names:?}"
    );
    let files = check(&image).unwrap().daemon_files;
    let files: Vec<_> = Entries::new(&files).map(|entry| entry.unwrap()).collect();
    let files = files
        .iter()
        .filter(|entry| entry.mode & 0o170_000 == 0o100_000);
    let files: Vec<_> = files
        .map(|entry| String::from_utf8_lossy(entry.name))
        .collect();
    // The libraries of all are in the image.
    assert_eq!(files, ["app/erts-15.0/bin/epmd"]);
}

#[test]
fn a_named_node_without_epmd_listens_on_a_fixed_port() {
    let fixture = Fixture::new();
    fixture.remove("erts-15.0/bin/epmd");
    let bytes = fs::read(fixture.build("app.img").unwrap()).unwrap();
    let added = "-noshell -noinput -sname me -- -- -start_epmd false -erl_epmd_port 4370";
    assert_eq!(tail_and_daemons(&bytes), (added.into(), 0));
}

#[test]
fn elixir_release_is_started_by_elixir() {
    let fixture = Fixture::new();
    fixture.write("lib/elixir-1.18.3/ebin/elixir.app", b"");
    fixture.write("releases/COOKIE", b"TASTY");
    fixture.write("releases/1.2.3/vm.args", b"+P 4096\n");
    let image = fixture.build("app.img").unwrap();
    let bytes = fs::read(&image).unwrap();
    let entries = entries(&bytes);
    let line = |name: &str| {
        let (_, entry) = entries.iter().find(|(n, _)| n == name).unwrap();
        let init = Init::parse(entry.data).unwrap();
        let args: Vec<_> = init
            .args
            .iter()
            .map(|a| String::from_utf8_lossy(a))
            .collect();
        let line = args.join(" ");
        let (emulator, program) = line.split_once(" -home /root -- ").unwrap();
        assert!(!emulator.contains("-Bd"));
        program.to_owned()
    };
    let middle = "-mode embedded -setcookie TASTY -sname my_app -config /app/releases/1.2.3/sys -boot /app/releases/1.2.3/start \
                  -boot_var RELEASE_LIB /app/lib -- -- --";
    assert_eq!(
        line(".tyn/init"),
        format!("-noshell -s elixir start_cli {middle} -extra --no-halt")
    );
    assert_eq!(
        line(".tyn/interactive"),
        format!("-noshell -elixir ansi_enabled true -user elixir {middle} -extra --no-halt +iex")
    );
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
