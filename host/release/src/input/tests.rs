//! What is taken for what, and what is made of it. A small program of this machine plays the emulator.

use std::os::unix::fs::PermissionsExt;

use super::archive::tests::{file, tarball};
use super::*;
use crate::recipe::Kind;

struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Writes a release of two applications, with or without a run-time system.
    fn release(&self, path: &str, name: &str, has_erts: bool) {
        self.write(&format!("{path}/releases/start_erl.data"), "15.0 1.0");
        self.write(&format!("{path}/releases/1.0/start.boot"), "boot");
        let rel = format!(
            "{{release,{{\"{name}\",\"1.0\"}},{{erts,\"15.0\"}},[{{kernel,\"10.0\"}},{{x,\"1\"}}]}}."
        );
        self.write(&format!("{path}/releases/1.0/{name}.rel"), rel);
        self.write(&format!("{path}/lib/x-1/ebin/x.beam"), "beam");
        if has_erts {
            self.erts(path, "15.0");
            self.write(
                &format!("{path}/lib/kernel-10.0/ebin/kernel.app"),
                "{application,kernel,[]}.",
            );
        }
    }

    fn erts(&self, path: &str, version: &str) {
        let me = fs::read("/bin/true").unwrap();
        for program in crate::release::ERTS_PROGRAMS {
            let path = format!("{path}/erts-{version}/bin/{program}");
            self.write(&path, &me);
            fs::set_permissions(self.path(&path), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// Writes an installation of Erlang/OTP.
    fn otp(&self, path: &str, erts: &str) {
        self.erts(path, erts);
        self.write(&format!("{path}/bin/start.boot"), "boot");
        for (app, needs) in [
            ("kernel-10.0", ""),
            ("stdlib-6.0", "kernel"),
            ("ssl-11", "crypto"),
            ("crypto-5", ""),
            ("wx-2", ""),
        ] {
            let name = app.split('-').next().unwrap();
            let text = format!("{{application,{name},[{{applications,[{needs}]}}]}}.");
            self.write(&format!("{path}/lib/{app}/ebin/{name}.app"), text);
            self.write(&format!("{path}/lib/{app}/ebin/{name}.beam"), "beam");
        }
    }

    fn open<'a>(&self, path: &str, set: impl FnOnce(&mut Choices<'a>)) -> Result<App, String> {
        let mut choices = Choices {
            release: None,
            start: None,
            sysroot: Path::new("/nowhere"),
            otp: None,
        };
        set(&mut choices);
        let input = Input::detect(&self.path(path)).map_err(|error| error.to_string())?;
        input.open(&choices).map_err(|error| error.to_string())
    }
}

fn has(app: &App, path: &str) -> bool {
    app.files.iter().any(|(file, _)| file == Path::new(path))
}

#[test]
fn inputs_are_told_apart() {
    let fixture = Fixture::new();
    fixture.release("rel", "x", true);
    fixture.write("layout/index.json", "{}");
    fixture.write("layout/oci-layout", "{}");
    fixture.write("saved/manifest.json", "[]");
    fixture.write("shipment/entrypoint.sh", "PACKAGE=x");
    fixture.write("shipment/x/ebin/x.beam", "");
    fixture.write("modules/x.beam", "");
    fixture.write("app/ebin/x.beam", "");
    fixture.write("x.tar", "");
    for project in [
        "mix/_build/prod/rel/x",
        "rebar/_build/default/rel/x",
        "other/_build/test/rel/x",
        "build/rel/x",
    ] {
        fixture.release(project, "x", false);
    }
    let path = |path: &str| fixture.path(path);
    for (name, input) in [
        ("rel", Input::Release(path("rel"))),
        ("layout", Input::Layout(path("layout"))),
        ("saved", Input::Layout(path("saved"))),
        ("shipment", Input::Shipment(path("shipment"))),
        ("modules", Input::Modules(path("modules"))),
        ("app", Input::Modules(path("app"))),
        ("x.tar", Input::Archive(path("x.tar"))),
        ("mix", Input::Releases(vec![path("mix/_build/prod/rel/x")])),
        (
            "mix/_build/prod",
            Input::Releases(vec![path("mix/_build/prod/rel/x")]),
        ),
        (
            "mix/_build/prod/rel",
            Input::Releases(vec![path("mix/_build/prod/rel/x")]),
        ),
        (
            "rebar",
            Input::Releases(vec![path("rebar/_build/default/rel/x")]),
        ),
        (
            "other",
            Input::Releases(vec![path("other/_build/test/rel/x")]),
        ),
        ("build", Input::Releases(vec![path("build/rel/x")])),
    ] {
        assert_eq!(Input::detect(&path(name)).unwrap(), input, "{name}");
    }
    fixture.write("nothing/README.md", "");
    let error = Input::detect(&path("nothing")).unwrap_err().to_string();
    assert!(
        error.contains("nothing is nothing that an image can be made of")
            && error.contains("`mix release`"),
        "{error}"
    );
    let error = Input::detect(&path("none")).unwrap_err().to_string();
    assert!(
        error.contains("none isn't there; name a release"),
        "{error}"
    );
}

#[test]
fn one_of_several_releases_is_chosen_by_name() {
    let fixture = Fixture::new();
    for name in ["a", "b"] {
        fixture.release(&format!("umbrella/_build/prod/rel/{name}"), name, true);
    }
    let error = fixture.open("umbrella", |_| {}).unwrap_err();
    assert_eq!(
        error,
        "there are several releases: a, b; choose one by --release NAME"
    );
    let app = fixture.open("umbrella", |c| c.release = Some("b")).unwrap();
    assert_eq!(app.recipe.name, "b");
    let error = fixture
        .open("umbrella", |c| c.release = Some("c"))
        .unwrap_err();
    assert_eq!(error, "there is no release 'c': there are a, b");
    let one = "umbrella/_build/prod/rel/a";
    assert!(fixture.open(one, |c| c.release = Some("a")).is_ok());
    assert!(fixture.open(one, |c| c.release = Some("b")).is_err());
}

#[test]
fn tarballs_of_releases_are_opened() {
    let fixture = Fixture::new();
    let entries = [
        file("releases/start_erl.data", "15.0 1.0"),
        file("releases/1.0/start.boot", ""),
        file("lib/x-1/ebin/x.beam", "beam"),
    ];
    fixture.otp("otp", "15.1");
    let otp = fixture.path("otp");
    fixture.write("x.tar", tarball(&entries));
    let app = fixture.open("x.tar", |c| c.otp = Some(&otp)).unwrap();
    assert!(has(&app, "/app/lib/x-1/ebin/x.beam"));
    let unpacked = app.unpacked.as_ref().unwrap().path().to_path_buf();
    assert!(unpacked.is_dir());
    drop(app);
    assert!(!unpacked.exists());
    // With a folder of its own around it.
    let entries = [
        file("x-1.0/releases/start_erl.data", "15.0 1.0"),
        file("x-1.0/releases/1.0/start.boot", ""),
    ];
    fixture.write("y.tar", tarball(&entries));
    let app = fixture.open("y.tar", |c| c.otp = Some(&otp)).unwrap();
    assert!(has(&app, "/app/releases/1.0/start.boot"));
    fixture.write("z.tar", tarball(&[file("README", "")]));
    let error = fixture.open("z.tar", |_| {}).unwrap_err();
    assert!(
        error.contains("z.tar is neither the tarball of a release"),
        "{error}"
    );
    fixture.write("evil.tar", tarball(&[file("../evil", "")]));
    let error = fixture.open("evil.tar", |_| {}).unwrap_err();
    assert!(error.contains("evil.tar has the path '../evil'"), "{error}");
    fixture.write("text", "hello");
    let error = fixture.open("text", |_| {}).unwrap_err();
    assert!(error.contains("text is not a tar archive"), "{error}");
}

#[test]
fn releases_without_a_run_time_system_take_one() {
    let fixture = Fixture::new();
    fixture.release("rel", "x", false);
    let error = fixture.open("rel", |_| {}).unwrap_err();
    assert!(error.contains("rel brings no Erlang/OTP of its own, and there is none in /nowhere; name one by --otp 25"), "{error}");
    fixture.otp("system/usr/lib/erlang", "15.1.2");
    let system = fixture.path("system");
    for choose in [true, false] {
        let app = fixture
            .open("rel", |c| match choose {
                true => c.otp = Some(&system),
                false => c.sysroot = &system,
            })
            .unwrap();
        assert_eq!(app.recipe.otp, Path::new("/usr/lib/erlang"));
        assert_eq!(app.recipe.erts, "15.1.2");
        assert!(has(&app, "/usr/lib/erlang/erts-15.1.2/bin/beam.smp"));
        assert!(has(&app, "/usr/lib/erlang/lib/kernel-10.0/ebin/kernel.app"));
        // Its own applications are in the release, and others aren't needed.
        assert!(!has(&app, "/usr/lib/erlang/lib/wx-2/ebin/wx.app"));
    }
    fixture.otp("other/usr/lib/erlang", "16.0");
    let other = fixture.path("other");
    let error = fixture.open("rel", |c| c.otp = Some(&other)).unwrap_err();
    let want = format!(
        "was built with ERTS 15.0, but the Erlang/OTP 28 in {}/usr/lib/erlang has 16.0; name the one it was built with by --otp 27",
        other.display()
    );
    assert!(error.contains(&want), "{error}");
    fs::rename(
        fixture.path("system/usr/lib/erlang/lib/kernel-10.0"),
        fixture.path("system/usr/lib/erlang/lib/kernel-10.1"),
    )
    .unwrap();
    let error = fixture.open("rel", |c| c.otp = Some(&system)).unwrap_err();
    assert!(
        error.contains("was built with kernel 10.0, but the Erlang/OTP 27"),
        "{error}"
    );
}

#[test]
fn shipments_name_their_package() {
    let fixture = Fixture::new();
    fixture.otp("otp", "15.0");
    let otp = fixture.path("otp");
    fixture.write(
        "ship/entrypoint.sh",
        "#!/bin/sh\nPACKAGE=hello\nOTP_VERSION=26\nerl -eval \"$PACKAGE@@main:run($PACKAGE)\"\n",
    );
    fixture.write("ship/hello/ebin/hello.beam", "");
    fixture.write(
        "ship/hello/ebin/hello.app",
        "{application, hello, [{applications, [ssl]}]}.",
    );
    fixture.write("ship/hello/priv/static/x", "");
    let app = fixture.open("ship", |c| c.otp = Some(&otp)).unwrap();
    assert_eq!(
        (app.recipe.kind, app.recipe.main.as_str()),
        (Kind::Shipment, "hello")
    );
    assert!(has(&app, "/app/hello/ebin/hello.beam") && has(&app, "/app/hello/priv/static/x"));
    let lib = "/usr/lib/erlang/lib";
    assert!(
        has(&app, &format!("{lib}/ssl-11/ebin/ssl.app"))
            && has(&app, &format!("{lib}/crypto-5/ebin/crypto.app"))
    );
    assert!(!has(&app, &format!("{lib}/wx-2/ebin/wx.app")));
    assert!(
        app.warnings[0].contains("built with Erlang/OTP 26, but gets 27"),
        "{:?}",
        app.warnings
    );
    // What one goes without is not asked for; what nobody has is.
    let needs = |apps: &str| {
        let text = format!(
            "{{application, hello, [{{applications, [{apps}]}}, {{optional_applications, [wx, none]}}]}}."
        );
        fixture.write("ship/hello/ebin/hello.app", text);
        fixture.open("ship", |c| c.otp = Some(&otp))
    };
    fixture.write("ship/dep/ebin/dep.beam", "");
    let app = needs("ssl, wx, none, dep").unwrap();
    assert!(has(&app, &format!("{lib}/wx-2/ebin/wx.app")));
    let error = needs("ssl, lost, none, gone").unwrap_err();
    assert!(
        error.contains(
            "ship: it needs the applications gone, lost, which neither it nor the Erlang/OTP 27 in"
        ),
        "{error}"
    );
    needs("ssl").unwrap();
    let ring = fixture.path("otp/lib/ssl-11/ebin/ring");
    std::os::unix::fs::symlink("../ebin", &ring).unwrap();
    let error = fixture.open("ship", |c| c.otp = Some(&otp)).unwrap_err();
    assert!(error.contains("ssl-11/ebin/ring can't be read"), "{error}");
    fs::remove_file(ring).unwrap();
    fixture.write("ship/entrypoint.sh", "#!/bin/sh\n");
    let error = fixture.open("ship", |c| c.otp = Some(&otp)).unwrap_err();
    assert!(error.contains("entrypoint.sh names no package"), "{error}");
}

#[test]
fn modules_need_to_be_told_what_to_start() {
    let fixture = Fixture::new();
    fixture.otp("otp", "15.0");
    let otp = fixture.path("otp");
    fixture.write("ebin/hello.beam", "");
    let error = fixture.open("ebin", |c| c.otp = Some(&otp)).unwrap_err();
    assert!(
        error.contains("name the module by --start MODULE"),
        "{error}"
    );
    let error = fixture
        .open("ebin", |c| {
            c.otp = Some(&otp);
            c.start = Some("other");
        })
        .unwrap_err();
    assert!(error.contains("there is no module other in"), "{error}");
    let app = fixture
        .open("ebin", |c| {
            c.otp = Some(&otp);
            c.start = Some("hello");
        })
        .unwrap();
    assert_eq!(
        (app.recipe.kind, app.recipe.main.as_str()),
        (Kind::Modules, "hello")
    );
    assert!(has(&app, "/app/hello.beam"));
}
