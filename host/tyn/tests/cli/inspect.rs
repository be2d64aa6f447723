//! `tyn inspect` and `tyn doctor`.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tyn_fs::holes::MARK;

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
fn what_is_there_twice_is_told() {
    let bench = Bench::new();
    let data = [b'x'; 5000];
    bench.image(
        "app.img",
        &["/a"],
        &[
            ("/a", &data),
            ("/b", &data),
            ("/lib/c", &data),
            ("/short", b"y"),
            ("/short2", b"y"),
        ],
    );
    let ended = bench.tyn("inspect app.img");
    let want = "\nTWICE     SPARE    FILES\ncontents  10.0 kB  /a, /b, /lib/c\n\nother files";
    assert!(ended.out.contains(want), "{}", ended.out);
    let found: Value = serde_json::from_str(&bench.tyn("inspect --json app.img").out).unwrap();
    let double = serde_json::json!({
        "same": "contents", "paths": ["/a", "/b", "/lib/c"], "spare_bytes": 10_000,
    });
    assert_eq!(found["doubles"], Value::Array(vec![double]));
}

/// A few bytes say how many pages of a file are zeros: as many as 4 GiB, and as many files as fit.
#[test]
fn damaged_image_takes_no_memory() {
    let bench = Bench::new();
    let program = [b"\x7fELF".as_slice(), &[1; 4092], &[0; 20 * 4096], &[1; 9]].concat();
    bench.image("app.img", &["/a"], &[("/a", &program)]);
    let mut image = fs::read(bench.path("app.img")).unwrap();
    let list = image.windows(MARK.len()).position(|part| part == MARK);
    // Behind the number of holes and the first one's page.
    let at = list.unwrap() + MARK.len() + 8;
    assert_eq!(image[at..at + 4], [20, 0, 0, 0]);
    image[at..at + 4].copy_from_slice(&0xf_fff0_u32.to_le_bytes());
    bench.write("app.img", &image);
    // No room for what would be there.
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 1000000 && exec \"$0\" inspect app.img"])
        .arg(env!("CARGO_BIN_EXE_tyn"))
        .current_dir(bench.path(""))
        .output();
    let ended = bench.ended(&output.unwrap());
    let is_listed = ended
        .out
        .contains("/a                  4.1 kB  (a program, included)");
    assert!(ended.code == Some(0) && is_listed, "{ended:?}");
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
