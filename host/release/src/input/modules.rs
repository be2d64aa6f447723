//! Folders of compiled modules without more.

use std::path::Path;

use super::open::{Opener, add_folder, needed_of, otp_files};
use super::{App, OpenError};
use crate::image::ROOT;
use crate::otp::{self, Parts};
use crate::recipe::{Kind, Recipe};

/// Returns the module of `MODULE:FUNCTION`.
pub(super) fn module_of(main: &str) -> &str {
    main.split(':').next().unwrap_or(main)
}

impl Opener<'_> {
    /// Opens the modules in `dir`.
    pub(super) fn modules(self, dir: &Path) -> Result<App, OpenError> {
        // The folder of an application holds its modules in ebin.
        let ebin = match dir.join("ebin").is_dir() {
            true => dir.join("ebin"),
            false => dir.to_path_buf(),
        };
        let main = self.choices.start;
        let main = main.ok_or_else(|| OpenError::NoStart(dir.to_path_buf()))?;
        let module = module_of(main);
        if !ebin.join(format!("{module}.beam")).is_file() {
            return Err(OpenError::NoModule {
                path: ebin,
                module: module.into(),
            });
        }
        let root = Path::new(ROOT);
        let mut files = Vec::new();
        add_folder(&mut files, &ebin, root)?;
        let otp = self.otp(dir, None)?;
        let mut parts = Parts {
            imports: otp::imports(&ebin),
            ..Parts::default()
        };
        for (path, _) in &files {
            if path.extension().is_some_and(|e| e == "app") {
                let name = path.file_name().unwrap_or_default();
                parts.needs.extend(otp::needs(&ebin.join(name)));
                let app = path.file_stem().unwrap_or_default();
                parts.apps.insert(app.to_string_lossy().into_owned());
            }
        }
        let needed = needed_of(&otp, dir, &parts)?;
        files.extend(otp_files(&otp, &needed)?);
        let recipe = Recipe {
            name: module.into(),
            main: main.into(),
            ..self.recipe(Kind::Modules, &otp, root)
        };
        Ok(self.app(recipe, files, otp.programs()))
    }
}
