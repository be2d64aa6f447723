//! Folders of OTP applications without a release around them: what `rebar3 compile` leaves in `_build/default/lib`, or a
//! distribution's package of a program in Erlang. The code server finds them by `ERL_LIBS`.

use std::path::{Path, PathBuf};

use super::modules::module_of;
use super::open::{Opener, add_folder, needed_of, otp_files};
use super::{App, OpenError, folders};
use crate::image::ROOT;
use crate::otp::{self, Parts};
use crate::recipe::{Kind, Recipe};
use crate::release::BUILD_ONLY;
use crate::tree::Node;

/// An application: its folder, and its name.
type Application = (PathBuf, String);

/// Returns whether a folder is an application, has such in it, or folders of such.
pub(super) fn are_in(dir: &Path) -> bool {
    !libraries(dir).is_empty()
}

/// Returns the folders below `dir` that hold applications, each with these: that around `dir` when it is one itself.
fn libraries(dir: &Path) -> Vec<(PathBuf, Vec<Application>)> {
    if let Some(name) = name(dir) {
        let parent = dir.parent().unwrap_or(dir).to_path_buf();
        return vec![(parent, vec![(dir.to_path_buf(), name)])];
    }
    let inside = |dir: PathBuf| {
        let apps = folders(&dir).into_iter();
        let apps: Vec<_> = apps
            .filter_map(|app| name(&app).map(|name| (app, name)))
            .collect();
        (dir, apps)
    };
    let places = [vec![dir.to_path_buf()], folders(dir)].concat();
    let found = places.into_iter().map(inside);
    found.filter(|(_, apps)| !apps.is_empty()).collect()
}

/// Returns the name of the application in a folder, from its `ebin/NAME.app`.
fn name(dir: &Path) -> Option<String> {
    let folder = dir.canonicalize().ok()?;
    let folder = folder.file_name()?.to_str()?;
    let name = folder.split('-').next().unwrap_or(folder);
    let is_one = dir.join(format!("ebin/{name}.app")).is_file();
    is_one.then(|| name.to_owned())
}

/// Adds the folder of an application, without what is not needed to run it.
fn add_application(
    files: &mut Vec<(PathBuf, Node)>,
    from: &Path,
    to: &Path,
) -> Result<(), OpenError> {
    for part in folders(from) {
        let part = part.file_name().unwrap_or_default();
        if !BUILD_ONLY.iter().any(|only| part == *only) {
            add_folder(files, &from.join(part), &to.join(part))?;
        }
    }
    Ok(())
}

impl Opener<'_> {
    /// Opens the applications in `dir`.
    pub(super) fn applications(self, dir: &Path) -> Result<App, OpenError> {
        let main = self.choices.start;
        let main = main.ok_or_else(|| OpenError::NoStart(dir.to_path_buf()))?;
        let root = Path::new(ROOT);
        let otp = self.otp(dir, None)?;
        let mut recipe = Recipe {
            name: module_of(main).into(),
            main: main.into(),
            ..self.recipe(Kind::Applications, &otp, root)
        };
        let (mut files, mut parts, mut ebins) = (Vec::new(), Parts::default(), Vec::new());
        for (library, apps) in libraries(dir) {
            let guest = root.join(library.strip_prefix(dir).unwrap_or(Path::new("")));
            for (app, name) in apps {
                let ebin = app.join("ebin");
                parts
                    .needs
                    .extend(otp::needs(&ebin.join(format!("{name}.app"))));
                parts.imports.extend(otp::imports(&ebin));
                parts.apps.insert(name);
                ebins.push(ebin);
                let to = guest.join(app.file_name().unwrap_or_default());
                add_application(&mut files, &app, &to)?;
            }
            recipe.libs.push(guest);
        }
        let beam = format!("{}.beam", recipe.name);
        if !ebins.iter().any(|ebin| ebin.join(&beam).is_file()) {
            return Err(OpenError::NoModule {
                path: dir.to_path_buf(),
                module: recipe.name,
            });
        }
        let needed = needed_of(&otp, dir, &parts)?;
        files.extend(otp_files(&otp, &needed)?);
        Ok(self.app(recipe, files, otp.programs()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::input::{Choices, Input};
    use crate::start::{self, Mode};
    use crate::tree::Tree;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn otp(dir: &Path) {
        let app = "{application,kernel,[]}.";
        write(
            dir,
            &[
                ("erts-15.0/bin/beam.smp", "beam"),
                ("erts-15.0/bin/erl_child_setup", "setup"),
                ("erts-15.0/bin/inet_gethost", "host"),
                ("bin/start_sasl.boot", "boot"),
                ("lib/kernel-10.0/ebin/kernel.app", app),
                ("lib/stdlib-6.0/ebin/stdlib.app", app),
                ("lib/sasl-4.0/ebin/sasl.app", app),
                ("lib/wx-2/ebin/wx.app", app),
            ],
        );
    }

    fn open(dir: &Path, input: &str, main: Option<&str>) -> Result<App, String> {
        let otp = dir.join("otp");
        let input = Input::detect(&dir.join(input)).map_err(|error| error.to_string())?;
        let choices = Choices {
            release: None,
            start: main,
            sysroot: Path::new("/nowhere"),
            otp: Some(&otp),
        };
        input.open(&choices).map_err(|error| error.to_string())
    }

    fn paths(app: &App) -> Vec<String> {
        let own = app.files.iter().filter(|(path, _)| path.starts_with(ROOT));
        own.map(|(path, _)| path.display().to_string()).collect()
    }

    fn fixture() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        otp(&dir.path().join("otp"));
        write(
            dir.path(),
            &[
                (
                    "server/plugins/a-1/ebin/a.app",
                    "{application,a,[{applications,[kernel,b,sasl]}]}.",
                ),
                ("server/plugins/a-1/ebin/a.beam", "beam"),
                ("server/plugins/a-1/priv/page.html", "page"),
                ("server/plugins/a-1/include/a.hrl", "header"),
                ("server/plugins/b-2/ebin/b.app", "{application,b,[]}."),
                ("server/plugins/README", "text"),
                ("server/sbin/start", "script"),
            ],
        );
        dir
    }

    #[test]
    fn folders_of_applications_are_libraries() {
        let dir = fixture();
        let app = open(dir.path(), "server", Some("a:boot")).unwrap();
        let want = [
            "/app/plugins/a-1/ebin/a.app",
            "/app/plugins/a-1/ebin/a.beam",
            "/app/plugins/a-1/priv/page.html",
            "/app/plugins/b-2/ebin/b.app",
        ];
        assert_eq!(paths(&app), want);
        assert_eq!(app.recipe.libs, [Path::new("/app/plugins")]);
        let has = |path: &str| app.files.iter().any(|(file, _)| file == Path::new(path));
        assert!(has("/usr/lib/erlang/lib/sasl-4.0/ebin/sasl.app"));
        assert!(has("/usr/lib/erlang/bin/start_sasl.boot"));
        assert!(!has("/usr/lib/erlang/lib/wx-2/ebin/wx.app"));

        let tree = Tree::default();
        let given = [("ERL_LIBS".to_owned(), "/more".to_owned())];
        let start = start::derive(&app.recipe, &tree, &given, Mode::Daemon).unwrap();
        assert_eq!(start.env["ERL_LIBS"], "/app/plugins:/more");
        let args = start.args.program.join(" ");
        assert!(args.contains("-s a boot"), "{args}");
        let shell = start::derive(&app.recipe, &tree, &[], Mode::Interactive).unwrap();
        assert!(!shell.args.program.contains(&"-s".into()));
    }

    #[test]
    fn one_application_and_a_folder_of_some_are_taken() {
        let dir = fixture();
        let app = open(dir.path(), "server/plugins", Some("a")).unwrap();
        assert_eq!(app.recipe.libs, [Path::new("/app")]);
        assert_eq!(paths(&app)[0], "/app/a-1/ebin/a.app");
        // By whatever name it is called, it keeps its own.
        std::os::unix::fs::symlink("plugins/b-2", dir.path().join("server/b")).unwrap();
        write(dir.path(), &[("server/b/ebin/b.beam", "beam")]);
        let app = open(dir.path(), "server/b", Some("b")).unwrap();
        assert_eq!(paths(&app)[0], "/app/b/ebin/b.app");
    }

    #[test]
    fn what_is_missing_is_named() {
        let dir = fixture();
        let error = open(dir.path(), "server", None).unwrap_err();
        assert!(
            error.contains("name the module by --start MODULE"),
            "{error}"
        );
        let error = open(dir.path(), "server", Some("c:boot")).unwrap_err();
        assert!(error.starts_with("there is no module c in "), "{error}");
        let needs = "{application,a,[{applications,[nowhere]}]}.";
        write(dir.path(), &[("server/plugins/a-1/ebin/a.app", needs)]);
        let error = open(dir.path(), "server", Some("a")).unwrap_err();
        assert!(
            error.contains("it needs the applications nowhere"),
            "{error}"
        );
    }
}
