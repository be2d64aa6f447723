//! Stripped modules, compared with what `beam_lib:strip/1` makes of them; imports, with what `beam_lib` says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Beam;

/// The OTP sysroot of this name that `cargo xtask sysroot` makes.
fn sysroot(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/sysroot")
        .join(name)
}

/// Evaluates an expression in the sysroot's Erlang.
fn erl(root: &Path, expression: &str) {
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let otp = root.join("usr/lib/erlang");
    let mut entries = fs::read_dir(&otp)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let erts = entries
        .find(|path| path.join("bin/beam.smp").is_file())
        .unwrap();
    let bin = root.with_file_name("trixie-host-bin");
    let output = Command::new(libraries.join("ld-linux-x86-64.so.2"))
        .arg("--library-path")
        .arg(&libraries)
        .arg(erts.join("bin/beam.smp"))
        .args(["--", "-root"])
        .arg(&otp)
        .arg("-bindir")
        .arg(&bin)
        .args([
            "-progname",
            "erl",
            "--",
            "-home",
            "/tmp",
            "--",
            "-boot",
            "no_dot_erlang",
            "-noshell",
        ])
        .args(["-eval", expression])
        .env("BINDIR", &bin)
        .env("ROOTDIR", &otp)
        .env("EMU", "beam")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
#[ignore = "needs the OTP sysroot: run `cargo xtask test` or `cargo xtask sysroot` first"]
fn modules_are_stripped_as_beam_lib_does() {
    let root = sysroot("trixie");
    let temp = tempfile::tempdir().unwrap();
    let files = walkdir::WalkDir::new(root.join("usr/lib/erlang/lib")).sort_by_file_name();
    let files = files.into_iter().map(|entry| entry.unwrap().into_path());
    let modules = files.filter(|path| path.extension().is_some_and(|e| e == "beam"));
    // Some of all applications, compiled in different ways.
    let modules: Vec<PathBuf> = modules.step_by(17).collect();
    assert!(modules.len() > 20);
    let list: Vec<String> = modules
        .iter()
        .map(|path| format!("{:?}", path.display().to_string()))
        .collect();
    let expression = format!(
        "lists:foldl(fun(F, N) -> {{ok, B0}} = file:read_file(F), {{ok, {{_, S}}}} = beam_lib:strip(B0), \
         B = case S of <<31, 139, _/binary>> -> zlib:gunzip(S); _ -> S end, \
         ok = file:write_file(\"{dir}/\" ++ integer_to_list(N) ++ \".beam\", B), \
         ok = file:write_file(\"{dir}/\" ++ integer_to_list(N) ++ \".gz\", zlib:gzip(B0)), \
         {{ok, {{_, [{{imports, I}}]}}}} = beam_lib:chunks(F, [imports]), \
         Ms = lists:usort([atom_to_binary(M) || {{M, _, _}} <- I]), \
         ok = file:write_file(\"{dir}/\" ++ integer_to_list(N) ++ \".imports\", [[M, 10] || M <- Ms]), \
         N + 1 end, 0, [{list}]), halt().",
        dir = temp.path().display(),
        list = list.join(", ")
    );
    erl(&root, &expression);
    for (number, path) in modules.iter().enumerate() {
        let real = |ending: &str| fs::read(temp.path().join(format!("{number}.{ending}"))).unwrap();
        let bytes = fs::read(path).unwrap();
        let beam = Beam::parse(&bytes).unwrap();
        assert!(beam.stripped() == real("beam"), "{}", path.display());
        let packed = real("gz");
        assert!(Beam::parse(&packed).unwrap().stripped() == real("beam"));
        let mut imports = beam.imports().join("\n") + "\n";
        if imports == "\n" {
            imports.clear();
        }
        assert_eq!(
            imports,
            String::from_utf8(real("imports")).unwrap(),
            "{}",
            path.display()
        );
    }
}
