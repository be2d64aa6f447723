//! `tyn inspect` and `tyn doctor`.

use std::fs;

use serde_json::Value;

use crate::bench::Bench;

fn bench() -> Bench {
    let bench = Bench::new();
    let app = b"{application, one, [{vsn, \"3.4\"}]}.";
    bench.image(
        "app.img",
        &["/app/erts-15.0/bin/beam.smp"],
        &[
            ("/app/erts-15.0/bin/beam.smp", &[b'x'; 2_000_000]),
            ("/app/lib/one-3.4/ebin/one.app", app),
            ("/app/lib/one-3.4/ebin/one.beam", b"beam"),
            ("/app/lib/two-1.0/ebin/two.beam", &[b'x'; 1234]),
            ("/etc/hosts", b"hosts"),
        ],
    );
    bench
}

#[test]
fn image_is_summed_up() {
    let bench = bench();
    let ended = bench.tyn("inspect app.img");
    let want = "app.img: 2.0 MB, 6 files
starts: /app/erts-15.0/bin/beam.smp
ERTS: 15.0, 2.0 MB

APPLICATION  VERSION  MODULES  SIZE
two          1.0      1        1.2 kB
one          3.4      1        39 B

other files: 61 B
";
    assert_eq!(
        (ended.code, ended.out.as_str(), ended.err.as_str()),
        (Some(0), want, "")
    );
}

#[test]
fn image_is_shown_as_a_tree() {
    let want = "   2.0 MB  /
     56 B    .tyn/
     56 B      init
   2.0 MB    app/
   2.0 MB      erts-15.0/
   2.0 MB        bin/
   2.0 MB          beam.smp
   1.3 kB      lib/
     39 B        one-3.4/
     39 B          ebin/
     35 B            one.app
      4 B            one.beam
   1.2 kB        two-1.0/
   1.2 kB          ebin/
   1.2 kB            two.beam
      5 B    etc/
      5 B      hosts
";
    assert_eq!(bench().tyn("inspect --tree app.img").out, want);
}

#[test]
fn image_is_told_to_programs() {
    let bench = bench();
    let found: Value = serde_json::from_str(&bench.tyn("inspect --json app.img").out).unwrap();
    assert_eq!(found["erts"]["version"], "15.0");
    assert_eq!(found["applications"][0]["name"], "one");
    assert_eq!(found["applications"][1]["bytes"], 1234);
    assert_eq!(found["hostname"], "app");
    bench.refused("inspect none.img", "the image none.img can't be read: No such file or directory (os error 2); build one with `tyn build`");
    bench.write("text.img", "text");
    assert!(
        bench
            .tyn("inspect text.img")
            .err
            .starts_with("tyn: text.img is not an image or is damaged")
    );
}

#[test]
fn doctor_finds_what_is_missing() {
    let bench = Bench::new();
    let ended = bench.tyn("doctor --json");
    let findings: Vec<Value> = serde_json::from_str(&ended.out).unwrap();
    let names: Vec<_> = findings
        .iter()
        .map(|f| f["what"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "QEMU", "KVM", "kernel", "memory", "files", "setpriv", "sysroots"
        ]
    );
    assert_eq!(findings[0]["state"], "ok");
    // Without any programs, and with no place for files.
    fs::remove_dir(bench.path("tmp")).unwrap();
    let output = bench
        .command("doctor")
        .env("PATH", "/none")
        .output()
        .unwrap();
    let ended = bench.ended(&output);
    assert_eq!(ended.code, Some(1));
    for want in [
        "BAD   QEMU      qemu-system-x86_64 is missing\n",
        "BAD   files     DIR/tmp: No such file or directory (os error 2)",
        "note  setpriv   setpriv is missing: QEMU may outlive a tool that is killed\n",
        "note  sysroots  an Erlang of Debian can't be fetched: apt-get, dpkg-deb, tar missing\n",
    ] {
        assert!(ended.out.contains(want), "{}", ended.out);
    }
    assert!(!ended.out.contains('\x1b'), "no colours but on a terminal");
    let output = bench
        .command("run app.img")
        .env("PATH", "/none")
        .output()
        .unwrap();
    assert_eq!(bench.ended(&output).code, Some(125));
}
