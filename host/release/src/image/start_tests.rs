//! What an image says about its start.

use std::fs;
use std::path::Path;

use tyn_bootfmt::Init;
use tyn_fs::cpio::Entries;

use super::check;
use super::tests::{Fixture, build_as, entries};

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
