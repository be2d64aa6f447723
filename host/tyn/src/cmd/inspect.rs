//! `tyn inspect`: what is in an image, and why.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};
use tyn_release::inspect::{Application, Double, Inspection, Library, Same, inspect};

use crate::table::Table;

/// Arguments of `tyn inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Image that `tyn build` made
    image: PathBuf,
    /// Show all files, folders with the size of what is in them
    #[arg(long)]
    tree: bool,
    /// For programs: an object
    #[arg(long, conflicts_with = "tree")]
    json: bool,
}

/// Shows an image.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn show(args: &Args) -> Result<()> {
    let found = inspect(&args.image)?;
    let text = if args.json {
        serde_json::to_string_pretty(&object(&found))? + "\n"
    } else if args.tree {
        tree(&found)
    } else {
        summary(&args.image, &found)
    };
    crate::output::print(&text)
}

fn summary(image: &Path, found: &Inspection) -> String {
    let files = found
        .entries
        .values()
        .filter(|entry| entry.mode & 0o170_000 == 0o100_000)
        .count();
    let mut text = format!(
        "{}: {}, {files} files\n",
        image.display(),
        size(found.bytes)
    );
    if let Some((name, version)) = &found.release {
        let _ = writeln!(text, "release: {name} {version}");
    }
    let _ = writeln!(text, "starts: {}", found.program.display());
    if let Some(erts) = &found.erts {
        let _ = writeln!(text, "ERTS: {}, {}", erts.version, size(erts.bytes));
    }
    let mut applications: Vec<&Application> = found.applications.iter().collect();
    applications.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.name.cmp(&b.name)));
    let mut table = Table::new(["APPLICATION", "VERSION", "MODULES", "SIZE"]);
    for app in &applications {
        table.row([
            app.name.clone(),
            app.version.clone(),
            app.modules.to_string(),
            size(app.bytes),
        ]);
    }
    text += &section(&table);
    let mut table = Table::new(["LIBRARY OR PROGRAM", "SIZE", "NEEDED BY"]);
    for library in &found.libraries {
        table.row([
            library.path.display().to_string(),
            size(library.bytes),
            reason(library),
        ]);
    }
    text += &section(&table);
    let mut table = Table::new(["TWICE", "SPARE", "FILES"]);
    for double in &found.doubles {
        let paths = double.paths.iter().map(|path| path.display().to_string());
        table.row([
            what_is_same(double).into(),
            size(double.spare_bytes),
            paths.collect::<Vec<_>>().join(", "),
        ]);
    }
    text += &section(&table);
    let symbols: u64 = found.libraries.iter().map(|l| l.symbol_bytes).sum();
    if symbols > 0 {
        let _ = writeln!(
            text,
            "\nsymbols and debug information: {}; `tyn build --strip-elf` drops them",
            size(symbols)
        );
    }
    let _ = writeln!(text, "\nother files: {}", size(found.other_bytes));
    text
}

fn what_is_same(double: &Double) -> &'static str {
    match double.same {
        Same::Contents => "contents",
        Same::Library => "library",
    }
}

fn section(table: &Table<impl AsRef<[String]>>) -> String {
    if table.is_empty() {
        return String::new();
    }
    format!("\n{table}")
}

fn reason(library: &Library) -> String {
    match library.reason {
        Some(reason) => format!("({reason})"),
        None => {
            let name = |path: &PathBuf| {
                path.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned()
            };
            library
                .needed_by
                .iter()
                .map(name)
                .collect::<Vec<_>>()
                .join(", ")
        }
    }
}

fn tree(found: &Inspection) -> String {
    let mut sizes: BTreeMap<&Path, u64> = BTreeMap::new();
    for (path, entry) in &found.entries {
        for above in path.ancestors() {
            *sizes.entry(above).or_default() += entry.bytes;
        }
    }
    let mut text = String::new();
    for (path, entry) in &found.entries {
        let depth = path.components().count().saturating_sub(1);
        let name = path
            .file_name()
            .map_or("/".into(), |name| name.to_string_lossy());
        let kind = match entry.mode & 0o170_000 {
            0o040_000 if depth > 0 => "/",
            0o120_000 => "@",
            _ => "",
        };
        let bytes = sizes.get(path.as_path()).copied().unwrap_or_default();
        let _ = writeln!(
            text,
            "{:>9}  {:indent$}{name}{kind}",
            size(bytes),
            "",
            indent = 2 * depth
        );
    }
    text
}

fn object(found: &Inspection) -> Value {
    let application = |app: &Application| json!({ "name": app.name, "version": app.version, "path": app.path, "bytes": app.bytes, "modules": app.modules });
    let library = |library: &Library| json!({ "path": library.path, "bytes": library.bytes, "symbol_bytes": library.symbol_bytes, "needed_by": library.needed_by, "reason": library.reason });
    let double = |double: &Double| json!({ "same": what_is_same(double), "paths": double.paths, "spare_bytes": double.spare_bytes });
    let erts = found.erts.as_ref();
    let release = found.release.as_ref();
    json!({
        "bytes": found.bytes,
        "release": release.map(|(name, version)| json!({ "name": name, "version": version })),
        "hostname": found.hostname,
        "program": found.program,
        "env": found.env,
        "erts": erts.map(|erts| json!({ "version": erts.version, "path": erts.path, "bytes": erts.bytes })),
        "applications": found.applications.iter().map(application).collect::<Vec<_>>(),
        "libraries": found.libraries.iter().map(library).collect::<Vec<_>>(),
        "doubles": found.doubles.iter().map(double).collect::<Vec<_>>(),
        "interactive_bytes": found.interactive_bytes,
        "other_bytes": found.other_bytes,
        "files": found.entries.iter().map(|(path, entry)| json!({
            "path": path, "mode": format!("{:o}", entry.mode), "bytes": entry.bytes, "length": entry.length,
        })).collect::<Vec<_>>(),
    })
}

/// Writes a size as people do.
fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..100_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
