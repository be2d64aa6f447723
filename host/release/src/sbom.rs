//! A bill of materials of an image, in the CycloneDX format (version 1.6, JSON): applications, the run-time system, shared
//! libraries. Read out of the image itself, and equal for equal images.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tyn_fs::cpio::Entries;

use crate::image::{self, ImageError, absolute};
use crate::inspect::{Inspection, inspect};
use crate::recipe::Recipe;

/// Why none can be written.
#[derive(Debug, thiserror::Error)]
pub enum SbomError {
    /// The image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The file.
    #[error("the bill of materials {} can't be written: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// Writes the bill of materials of an image to the file `out`, which appears whole or not at all.
///
/// # Errors
/// [`SbomError`].
pub fn write(image: &Path, recipe: &Recipe, out: &Path) -> Result<(), SbomError> {
    let inspection = inspect(image)?;
    let bytes = image::read(image).map_err(|error| ImageError::Io {
        path: image.to_path_buf(),
        error,
    })?;
    let sums = Entries::new(&bytes).flatten().map(|entry| {
        let sum = Sha256::digest(entry.contents());
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        (absolute(entry.name), sum)
    });
    let sums = sums.collect();
    let mut text = format!("{:#}", bill(&inspection, recipe, &sums));
    text.push('\n');
    let failed = |error| SbomError::Write {
        path: out.to_path_buf(),
        error,
    };
    let file = tyn_scratch::File::beside(out).map_err(failed)?;
    let written = file.as_file().write_all(text.as_bytes());
    written.and_then(|()| file.keep(out)).map_err(failed)
}

type Sums = std::collections::BTreeMap<PathBuf, String>;

fn bill(inspection: &Inspection, recipe: &Recipe, sums: &Sums) -> Value {
    let mut components = Vec::new();
    if let Some(erts) = &inspection.erts {
        components.push(json!({
            "type": "platform", "bom-ref": "erts", "name": "erts", "version": erts.version,
            "purl": format!("pkg:otp/erts@{}", erts.version),
        }));
    }
    for app in &inspection.applications {
        components.push(json!({
            "type": "library", "bom-ref": format!("app:{}", app.name), "name": app.name, "version": app.version,
            "properties": [{"name": "tyn:path", "value": app.path}],
        }));
    }
    for library in &inspection.libraries {
        let name = library.path.file_name().unwrap_or_default();
        let sum = sums.get(&library.path).cloned().unwrap_or_default();
        components.push(json!({
            "type": "file", "bom-ref": library.path, "name": name.to_string_lossy(),
            "hashes": [{"alg": "SHA-256", "content": sum}],
            "properties": [{"name": "tyn:path", "value": library.path}],
        }));
    }
    json!({
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {
            "component": {"type": "application", "bom-ref": "image", "name": recipe.name, "version": recipe.version},
            "tools": {"components": [{"type": "application", "name": "tyn", "version": env!("CARGO_PKG_VERSION")}]},
        },
        "components": components,
    })
}
