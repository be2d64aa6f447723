//! What a tree is made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A thing in a tree.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Dir,
    File { contents: PathBuf, mode: u32 },
    Link(PathBuf),
}

/// A node, and the archive that it is of, counted from 1.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) node: Node,
    pub(super) layer: u32,
}

/// Everything below a folder.
pub(super) fn below<'a>(
    nodes: &'a BTreeMap<PathBuf, Placed>,
    dir: &'a Path,
) -> impl Iterator<Item = &'a PathBuf> {
    nodes
        .range(dir.to_path_buf()..)
        .map(|(path, _)| path)
        .skip_while(move |path| *path == dir)
        .take_while(move |path| path.starts_with(dir))
}
