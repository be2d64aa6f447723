//! Arguments spliced in, files placed, and what is refused.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use tyn_bootfmt::DATA_ALIGN;
use tyn_fs::cpio::Entries;

use super::*;

fn image(args: &[&str]) -> Checked {
    let entries = [
        ("/app", 0o040_755),
        ("/app/releases/vm.args", 0o100_644),
        ("/lib", 0o120_777),
        ("/root", 0o040_700),
    ];
    Checked {
        bytes: 4096,
        hostname: "app".into(),
        program: args[0].into(),
        args: args.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
        entries: entries
            .map(|(p, m)| (p.into(), m))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        interactive: None,
        daemon_files: Vec::new(),
    }
}

const RELEASE: &[&str] = &[
    "/beam",
    "-Bd",
    "--",
    "-root",
    "/app",
    "--",
    "-home",
    "/root",
    "--",
    "-noshell",
    "-name",
    "a@b",
    "-setcookie",
    "c",
    "-mode",
    "embedded",
    "--",
    "-extra",
    "--no-halt",
];

fn added(args: &[&str], words: &[&str]) -> Result<String, String> {
    let image = image(args);
    let words: Vec<String> = words.iter().map(|&word| word.into()).collect();
    let read = |path: &Path| match path.to_str() {
        Some("vm.args") => Ok("# more\n+S 2:2 -sname \"x y\"\n-env A 'b c' -extra z".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let more = add_arguments(&image.args, &words, &read, &image).map_err(|e| e.to_string())?;
    let text: Vec<_> = more
        .args
        .iter()
        .map(|arg| String::from_utf8_lossy(arg))
        .collect();
    Ok(format!("{} | {:?}", text.join(" "), more.env))
}

#[test]
fn arguments_are_sorted_into_those_of_the_image() {
    assert_eq!(
        added(
            RELEASE,
            &[
                "-args_file",
                "vm.args",
                "+S",
                "1",
                "-mode",
                "interactive",
                "-pa",
                "x"
            ]
        )
        .unwrap(),
        "/beam -Bd -S 2:2 -S 1 -- -root /app -- -home /root -- -noshell -setcookie c -- -sname x y \
         -mode interactive -pa x -- -extra --no-halt z | [\"A=b c\"]"
    );
    assert_eq!(
        added(&RELEASE[..10], &["-s", "x", "-extra", "y"]).unwrap(),
        "/beam -Bd -- -root /app -- -home /root -- -noshell -s x -- -- -extra y | []"
    );
    assert_eq!(
        added(&["/init", "a"], &["-b", "--", "c"]).unwrap(),
        "/init a -b -- c | []"
    );
}

/// Says what becomes of epmd for these arguments.
fn epmd(image: &Checked, args: &[&str]) -> (Epmd, Vec<PathBuf>, Vec<u8>) {
    let mut config = RunConfig {
        args: args.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
        ..RunConfig::default()
    };
    let epmd = add_epmd(&mut config, image);
    (epmd, config.daemons, config.archive)
}

#[test]
fn epmd_comes_with_a_name() {
    let mut image = image(&["/bin/beam.smp"]);
    let found = vec![PathBuf::from("/bin/epmd")];
    let fixed = (Epmd::FixedPort, vec![], vec![]);
    assert_eq!(epmd(&image, &["-sname", "a"]), fixed);
    let missing = (Epmd::Missing, vec![], vec![]);
    let told = ["-sname", "a", "-proto_dist", "inet_tls"];
    assert_eq!(epmd(&image, &told), missing);
    let mut config = RunConfig {
        args: ["-sname", "a", "-extra", "x"]
            .map(|arg| arg.as_bytes().to_vec())
            .to_vec(),
        ..RunConfig::default()
    };
    add_epmd(&mut config, &image);
    let line = config.args.join(&b' ');
    assert_eq!(
        line,
        b"-sname a -start_epmd false -erl_epmd_port 4370 -extra x"
    );
    image.daemon_files = b"archive".to_vec();
    let added = (Epmd::Added, found.clone(), b"archive".to_vec());
    assert_eq!(
        epmd(&image, &["-name", "a@b", "-start_epmd", "true"]),
        added
    );
    image.daemon_files.clear();
    image.entries.insert("/bin/epmd".into(), 0o100_755);
    let present = (Epmd::Added, found, vec![]);
    assert_eq!(
        epmd(&image, &["-sname", "a", "-extra", "-no_epmd"]),
        present
    );
    for args in [
        &["-extra", "-name", "a"][..],
        &["-name", "a", "-start_epmd", "false"],
        &["-name", "a", "-no_epmd"],
        &[],
    ] {
        assert_eq!(
            epmd(&image, args),
            (Epmd::NotWanted, vec![], vec![]),
            "{args:?}"
        );
    }
}

#[test]
fn senseless_arguments_are_refused() {
    for (args, words, want) in [
        (RELEASE, &["+S"][..], "+S lacks its value; add it"),
        (
            RELEASE,
            &["-args_file", "none"],
            "the arguments file none can't be read: entity not found",
        ),
        (
            RELEASE,
            &["-heart"],
            "-heart needs a program that is not in the image",
        ),
        (
            &["/init"],
            &["-args_file", "vm.args"],
            "the image starts /init, not Erlang's virtual machine",
        ),
    ] {
        let error = added(args, words).unwrap_err();
        assert!(error.starts_with(want), "{error}");
    }
}

fn file(path: &str) -> GuestFile {
    GuestFile {
        path: path.into(),
        mode: 0o400,
        data: b"secret".to_vec(),
    }
}

#[test]
fn archive_has_files_and_the_description_last() {
    let config = RunConfig {
        env: vec!["A=1".into()],
        files: vec![
            file("/root/.erlang.cookie"),
            file("/new/folder/file"),
            file("/app/releases/vm.args"),
        ],
        ..RunConfig::default()
    };
    let bytes = config.to_archive(&image(RELEASE)).unwrap();
    let entries: Vec<_> = Entries::new(&bytes).map(|entry| entry.unwrap()).collect();
    let names: Vec<_> = entries
        .iter()
        .map(|e| String::from_utf8_lossy(e.name))
        .collect();
    // No folders: theirs would take the place of the image's permissions.
    let want = [
        "root/.erlang.cookie",
        "new/folder/file",
        "app/releases/vm.args",
        ".tyn/run",
    ];
    assert_eq!(names, want);
    assert_eq!(
        (entries[0].mode, entries[0].data),
        (0o100_400, &b"secret"[..])
    );
    assert!(entries.iter().all(|e| e.data_offset % DATA_ALIGN == 0));
    assert_eq!(bytes.len() % DATA_ALIGN, 0);
    assert_eq!(Run::parse(entries[3].data).unwrap().env, [b"A=1"]);
}

#[test]
fn files_without_a_place_are_refused() {
    for (path, want) in [
        ("etc/x", "etc/x is no absolute path"),
        ("/etc/../x", "/etc/../x is no absolute path"),
        ("/", "/ is no absolute path"),
        ("/etc/x/", "/etc/x/ is no absolute path"),
        (
            "/proc/x",
            "/proc/x can't be a file of yours: /proc belongs to the kernel",
        ),
        ("/.tyn/init", "/.tyn/init can't be a file of yours: /.tyn"),
        (
            "/root",
            "/root can't be a file in the guest: /root is a folder in the image",
        ),
        (
            "/lib/x",
            "/lib/x can't be a file in the guest: /lib is a symbolic link in the image",
        ),
        (
            "/app/releases/vm.args/x",
            "/app/releases/vm.args is a file in the image",
        ),
    ] {
        let config = RunConfig {
            files: vec![file(path)],
            ..RunConfig::default()
        };
        let error = config.to_archive(&image(RELEASE)).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
    let config = RunConfig {
        files: vec![file("/new/x/y/z"), file("/new/x")],
        ..RunConfig::default()
    };
    let error = config.to_archive(&image(RELEASE)).unwrap_err().to_string();
    let want = "/new/x/y/z can't be a file in the guest: /new/x is another file of yours; choose another path";
    assert_eq!(error, want);
    let config = RunConfig {
        env: vec![format!("LONG={}", "x".repeat(131_067))],
        ..RunConfig::default()
    };
    let error = config.to_archive(&image(RELEASE)).unwrap_err().to_string();
    let want = "the variable LONG has 131072 bytes with its name, but programs take 131071 at most";
    assert!(error.starts_with(want), "{error}");
    let config = RunConfig {
        env: vec![format!("LONG={}", "x".repeat(131_066))],
        ..RunConfig::default()
    };
    config.to_archive(&image(RELEASE)).unwrap();
    let config = RunConfig {
        env: vec!["NOVALUE".into()],
        ..RunConfig::default()
    };
    let error = config.to_archive(&image(RELEASE)).unwrap_err().to_string();
    assert_eq!(
        error,
        "the run-time configuration has an environment record (number 0) that is not NAME=VALUE"
    );
}

#[test]
fn copy_behind_an_image_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    fs::write(&image, "image").unwrap();
    let copy = behind_image(&image, b" and more", dir.path()).unwrap();
    assert_eq!(fs::read(copy.path()).unwrap(), b"image and more");
    let mode = copy.path().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
