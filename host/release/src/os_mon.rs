//! What `os_mon` starts besides the programs in its `priv`: its processes end, and the release with them, where it isn't there.

use std::path::Path;

use crate::include::{self, Include, IncludeError};
use crate::sysroot::Sysroot;
use crate::tree::Tree;

/// The shell that its ports are commands of, and what `disksup` asks how full disks are.
const PROGRAMS: [&str; 2] = ["/bin/sh", "/usr/bin/df"];

/// Adds these programs to an image that holds `os_mon`, from the sysroot; returns what the user should know.
///
/// # Errors
/// When one can't be read.
pub(crate) fn add_programs(
    tree: &mut Tree,
    sysroot: &Sysroot,
) -> Result<Vec<String>, IncludeError> {
    let is_os_mon = |path: &Path| path.ends_with("ebin/disksup.beam");
    if !tree.iter().any(|(path, _)| is_os_mon(path)) {
        return Ok(Vec::new());
    }
    let mut warnings = Vec::new();
    for program in PROGRAMS {
        let path = Path::new(program);
        if tree.get(path).is_some() {
            continue;
        }
        if sysroot.resolve(path).is_none_or(|file| !file.is_file()) {
            warnings.push(format!(
                "os_mon starts {program}, which {} doesn't have; add it by --include FILE={program}",
                sysroot.dir().display()
            ));
            continue;
        }
        let guest = path.to_path_buf();
        include::add(tree, &Include { from: None, guest }, sysroot)?;
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tree::{Node, Source};

    #[test]
    fn os_mon_gets_what_it_starts_and_others_nothing() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("bin")).unwrap();
        fs::write(root.path().join("bin/sh"), "sh").unwrap();
        let sysroot = Sysroot::new(root.path());
        let mut tree = Tree::default();
        assert_eq!(add_programs(&mut tree, &sysroot).unwrap(), [""; 0]);
        assert!(tree.is_empty());
        let beam = Path::new("/app/lib/os_mon-2.10/ebin/disksup.beam");
        let module = Node::File(0o644, Source::Bytes(Vec::new()));
        tree.insert(beam, module).unwrap();
        let warnings = add_programs(&mut tree, &sysroot).unwrap();
        assert!(tree.get(Path::new("/bin/sh")).is_some());
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].starts_with("os_mon starts /usr/bin/df, which "),
            "{warnings:?}"
        );
    }
}
