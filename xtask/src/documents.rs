//! What documents name must be there: the files that they link to, and the tasks of this program. The commands of `tyn` are
//! checked by its own tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::paths;

/// Folders of the root in which no document is ours.
const FOREIGN: [&str; 2] = ["target", ".git"];

/// Checks all documents; `tasks` are the names of our tasks.
///
/// # Errors
/// What is named and isn't there, with file and line.
pub(crate) fn check(tasks: &BTreeSet<String>) -> Result<()> {
    let mut links = 0;
    let mut calls = 0;
    for document in documents()? {
        let text = fs::read_to_string(&document)?;
        for (number, line) in text.lines().enumerate() {
            let at = || format!("{}:{}", document.display(), number + 1);
            for target in targets(line) {
                exists(&document, target).with_context(at)?;
                links += 1;
            }
            for task in called(line) {
                ensure!(
                    tasks.contains(task),
                    "{}: there is no `cargo xtask {task}`",
                    at()
                );
                calls += 1;
            }
        }
    }
    ensure!(
        links > 20 && calls > 20,
        "only {links} links and {calls} tasks were found: is this check looking at the documents?"
    );
    Ok(())
}

fn documents() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let ours = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        !FOREIGN.contains(&name.as_ref()) && !name.starts_with("_build")
    };
    for entry in walkdir::WalkDir::new(paths::root())
        .into_iter()
        .filter_entry(ours)
    {
        let path = entry?.into_path();
        if path.extension().is_some_and(|kind| kind == "md") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Returns where the links of a line lead, those to other places on the network aside.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let parts = line.split("](").skip(1);
    let ends = parts.filter_map(|part| part.split_once(')').map(|(target, _)| target));
    ends.filter(|target| !target.contains("://"))
}

fn exists(document: &Path, target: &str) -> Result<()> {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = document.parent().context("a document is in a folder")?;
    let path = if file.is_empty() {
        document.to_path_buf()
    } else {
        folder.join(file)
    };
    ensure!(path.exists(), "the link to '{target}' leads nowhere");
    if anchor.is_empty() {
        return Ok(());
    }
    let text = fs::read_to_string(&path)?;
    let mut headings = text.lines().filter(|line| line.starts_with('#'));
    if !headings.any(|line| slug(line) == anchor) {
        bail!("{} has no heading '{anchor}'", path.display());
    }
    Ok(())
}

/// Returns a heading's anchor.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Returns the tasks that a line calls.
fn called(line: &str) -> impl Iterator<Item = &str> {
    let parts = line.split("cargo xtask ").skip(1);
    let words = parts.map(|part| {
        let end = part.find(|c: char| !(c.is_ascii_lowercase() || c == '-'));
        &part[..end.unwrap_or(part.len())]
    });
    words.filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_tasks_of_a_line_are_found() {
        let line = "[a](b.md) and [c](https://d/e) or [f](#g): `cargo xtask bench boot`, `cargo xtask TASK`";
        assert!(targets(line).eq(["b.md", "#g"]));
        assert!(called(line).eq(["bench"]));
        assert_eq!(slug("## What works, today"), "what-works-today");
    }

    #[test]
    fn link_to_nowhere_is_refused() {
        let readme = paths::root().join("README.md");
        assert!(exists(&readme, "docs/cli.md#exit-codes").is_ok());
        assert!(exists(&readme, "docs/none.md").is_err());
        assert!(exists(&readme, "docs/cli.md#none").is_err());
    }
}
