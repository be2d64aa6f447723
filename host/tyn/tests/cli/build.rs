//! `tyn build`: what is said when there is nothing to make an image of, and its table in `tyn.toml`.

use crate::bench::Bench;

const NO_INPUT: &str = "nothing is named that an image could be made of; name a release, or write `input = \"…\"` below [build] in tyn.toml";
const NO_OUTPUT: &str =
    "no image is named; name one by -o, or write `output = \"…\"` below [build] in tyn.toml";

#[test]
fn what_is_missing_is_named() {
    let bench = Bench::new();
    bench.program("ebin/hello.beam", "");
    std::fs::create_dir(bench.path("sub")).unwrap();
    bench.refused("build", NO_INPUT);
    bench.refused("build rel", NO_OUTPUT);
    let missing =
        "isn't there; name a release, e.g. _build/prod/rel/NAME, its tarball, or a container image";
    bench.refused("build rel -o app.img", &format!("rel {missing}"));
    bench.refused("build sub -o app.img", "sub is nothing that an image can be made of: there is no release (releases/start_erl.data), Gleam shipment (entrypoint.sh), container image (index.json, manifest.json), .beam file, application (ebin/NAME.app), or _build with a release in it; make one by `mix release`, `rebar3 release` or `gleam export erlang-shipment`");
    bench.refused(
        "build . --otp 26 -o app.img",
        "Debian has no Erlang/OTP 26, but 25, 27, 29; name one of these, or the folder of your own",
    );
    bench.refused(
        "build . --otp none -o app.img",
        "--otp none is neither the number of a release (25, 27, 29) nor a folder",
    );
}

#[test]
fn project_file_says_what_flags_do_not() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("sub")).unwrap();
    bench.program("ebin/hello.beam", "");
    let missing =
        "isn't there; name a release, e.g. _build/prod/rel/NAME, its tarball, or a container image";
    bench.write(
        "sub/tyn.toml",
        "[build]\ninput = \"rel\"\n[run]\nimage = \"app.img\"\n",
    );
    // The image is that of [run]; paths begin at the file.
    bench.refused("build --config sub/tyn.toml", &format!("sub/rel {missing}"));
    bench.refused(
        "build other --config sub/tyn.toml",
        &format!("other {missing}"),
    );
    bench.write("tyn.toml", "[build]\noutput = \"app.img\"\notp = 26\n");
    bench.refused("build", NO_INPUT);
    bench.refused(
        "build .",
        "Debian has no Erlang/OTP 26, but 25, 27, 29; name one of these, or the folder of your own",
    );
    bench.refused("run", "the image app.img can't be read: No such file or directory (os error 2); build one with `tyn build`");
    bench.write(
        "tyn.toml",
        "[build]\ninput = \"rel\"\noutptu = \"app.img\"\n",
    );
    let keys = "`input`, `output`, `release`, `start`, `otp`, `sysroot`, `env`, `include`, `files`, `strip-beams`, `strip-elf`, `epmd`, `skip-foreign`, `compress`, `sbom`";
    bench.refused(
        "build",
        &format!("tyn.toml:3: unknown field `outptu`, expected one of {keys}"),
    );
}
