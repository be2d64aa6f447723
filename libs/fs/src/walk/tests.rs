use super::*;
use alloc::collections::BTreeMap;
use alloc::format;

/// Directories end with `/`; links hold their target; the rest are files.
struct Fake(BTreeMap<Vec<u8>, Option<&'static str>>);

fn fake() -> Fake {
    let mut entries = BTreeMap::new();
    let mut add = |path: &str, link| entries.insert(path.as_bytes().to_vec(), link);
    for dir in ["/", "/a/", "/a/b/", "/etc/", "/mnt/"] {
        add(dir, None);
    }
    add("/etc/passwd", None);
    add("/a/f", None);
    add("/mnt/other", None);
    add("/link", Some("a/b"));
    add("/abs", Some("/etc"));
    add("/slash", Some("/"));
    add("/loop", Some("loop"));
    add("/a/up", Some("../etc/passwd"));
    add("/dangling", Some("a/new"));
    add("/magic", Some("!/etc/"));
    add("/magicfile", Some("!/etc/passwd"));
    add("/file", Some("etc/passwd"));
    for i in 1..=42 {
        add(&format!("/l{i}"), Some(format!("l{}", i - 1).leak()));
    }
    add("/l0", None);
    Fake(entries)
}

impl Namespace for Fake {
    type Node = Vec<u8>;
    fn kind(&self, node: &Vec<u8>) -> Result<NodeKind, Errno> {
        match self.0.get(node).ok_or(Errno::ENOENT)? {
            Some(_) => Ok(NodeKind::Symlink),
            None if node.ends_with(b"/") => Ok(NodeKind::Directory),
            None => Ok(NodeKind::Other),
        }
    }
    fn lookup(&self, dir: &Vec<u8>, name: &[u8]) -> Result<Vec<u8>, Errno> {
        assert!(dir.ends_with(b"/"), "only directories are searched");
        let plain = [dir, name].concat();
        let as_dir = [dir, name, b"/"].concat();
        let mut candidates = [plain, as_dir].into_iter();
        candidates
            .find(|p| self.0.contains_key(p))
            .ok_or(Errno::ENOENT)
    }
    fn parent(&self, dir: &Vec<u8>) -> Result<Vec<u8>, Errno> {
        let cut = dir[..dir.len().max(1) - 1].iter().rposition(|&b| b == b'/');
        Ok(cut.map_or(b"/".to_vec(), |i| dir[..=i].to_vec()))
    }
    fn target(&self, link: &Vec<u8>) -> Result<Target<Vec<u8>>, Errno> {
        let text = self.0.get(link).copied().flatten().ok_or(Errno::EINVAL)?;
        Ok(match text.strip_prefix('!') {
            Some(node) => Target::Node(node.as_bytes().to_vec()),
            None => Target::Path(text.as_bytes().to_vec()),
        })
    }
    fn is_crossing(&self, a: &Vec<u8>, b: &Vec<u8>) -> bool {
        a.starts_with(b"/mnt/") != b.starts_with(b"/mnt/")
    }
}

fn walk_with(
    dir: &str,
    path: &str,
    last: Last,
    resolve_flags: Resolve,
) -> Result<Resolved<Vec<u8>>, Errno> {
    let start = Start {
        root: b"/".to_vec(),
        dir: dir.as_bytes().to_vec(),
        resolve: resolve_flags,
    };
    resolve(&fake(), &start, path.as_bytes(), last)
}

fn walk(path: &str) -> Result<Resolved<Vec<u8>>, Errno> {
    walk_with("/a/", path, Last::Follow, Resolve::empty())
}

fn found(path: &str) -> Result<alloc::string::String, Errno> {
    let node = walk(path)?.existing()?;
    Ok(alloc::string::String::from_utf8(node).unwrap())
}

#[test]
fn names_dots_and_slashes_resolve() {
    for (path, expected) in [
        ("/", "/"),
        ("///", "/"),
        (".", "/a/"),
        ("..", "/"),
        ("../..", "/"),
        ("/../a/./b//", "/a/b/"),
        ("b", "/a/b/"),
        ("f", "/a/f"),
        ("/etc/passwd", "/etc/passwd"),
        ("b/../f", "/a/f"),
    ] {
        assert_eq!(found(path).as_deref(), Ok(expected), "{path}");
    }
}

#[test]
fn errors_are_those_of_linux() {
    let long = "n".repeat(256);
    for (path, errno) in [
        ("", Errno::ENOENT),
        ("nope/x", Errno::ENOENT),
        ("f/x", Errno::ENOTDIR),
        ("f/", Errno::ENOTDIR),
        ("f/.", Errno::ENOTDIR),
        ("f/..", Errno::ENOTDIR),
        ("/loop", Errno::ELOOP),
        ("/loop/x", Errno::ELOOP),
        (long.as_str(), Errno::ENAMETOOLONG),
        ("/file/", Errno::ENOTDIR),
        ("/magicfile/x", Errno::ENOTDIR),
        ("/dangling/", Errno::ENOENT),
    ] {
        assert_eq!(found(path), Err(errno), "{path}");
    }
}

#[test]
fn links_are_followed_up_to_forty() {
    for (path, expected) in [
        ("/link", "/a/b/"),
        ("/link/..", "/a/"),
        ("/abs/passwd", "/etc/passwd"),
        ("/slash", "/"),
        ("/slash/etc", "/etc/"),
        ("up", "/etc/passwd"),
        ("/magic", "/etc/"),
        ("/magic/passwd", "/etc/passwd"),
        ("/magicfile", "/etc/passwd"),
        ("/l40", "/l0"),
    ] {
        assert_eq!(found(path).as_deref(), Ok(expected), "{path}");
    }
    assert_eq!(found("/l41"), Err(Errno::ELOOP));
}

#[test]
fn the_last_link_is_kept_on_request_unless_a_slash_follows() {
    let keep = |path| {
        let r = walk_with("/", path, Last::Keep, Resolve::empty());
        r.and_then(Resolved::existing)
    };
    assert_eq!(keep("link"), Ok(b"/link".to_vec()));
    assert_eq!(keep("link/"), Ok(b"/a/b/".to_vec()));
    assert_eq!(keep("abs/passwd"), Ok(b"/etc/passwd".to_vec()));
    let name = walk_with("/", "abs/", Last::Name, Resolve::empty()).unwrap();
    assert_eq!(name.node, Some(b"/abs".to_vec()));
    assert!(name.wants_directory);
    let name = walk_with("/", "a/f/", Last::Name, Resolve::empty()).unwrap();
    assert!(name.node.is_some() && name.wants_directory);
}

#[test]
fn a_missing_last_name_comes_with_its_directory() {
    let r = walk("b/new").unwrap();
    assert_eq!((r.parent, r.node), (b"/a/b/".to_vec(), None));
    assert_eq!(r.name, LastName::Name(b"new".to_vec()));
    assert!(!r.wants_directory);
    let r = walk("b/new/").unwrap();
    assert!(r.wants_directory && r.node.is_none());
    // Through a dangling link: where the target would be.
    let r = walk("/dangling").unwrap();
    assert_eq!(r.parent, b"/a/");
    assert_eq!(r.ordinary_name(Errno::EEXIST), Ok(&b"new"[..]));
    let r = walk("b/..").unwrap();
    assert_eq!(r.ordinary_name(Errno::EBUSY), Err(Errno::EBUSY));
}

#[test]
fn restrictions_of_openat2_hold() {
    let with =
        |dir, path, flags| walk_with(dir, path, Last::Follow, flags).and_then(Resolved::existing);
    let beneath = Resolve::BENEATH;
    assert_eq!(with("/a/", "b/../f", beneath), Ok(b"/a/f".to_vec()));
    assert_eq!(with("/a/", "..", beneath), Err(Errno::EXDEV));
    assert_eq!(with("/a/", "/etc", beneath), Err(Errno::EXDEV));
    assert_eq!(with("/a/", "up", beneath), Err(Errno::EXDEV));
    assert_eq!(with("/", "magic", beneath), Err(Errno::EXDEV));
    let in_root = Resolve::IN_ROOT;
    assert_eq!(with("/a/", "/f", in_root), Ok(b"/a/f".to_vec()));
    assert_eq!(with("/a/", "../../f", in_root), Ok(b"/a/f".to_vec()));
    assert_eq!(with("/", "link", Resolve::NO_SYMLINKS), Err(Errno::ELOOP));
    assert_eq!(
        with("/", "link", Resolve::NO_MAGICLINKS),
        Ok(b"/a/b/".to_vec())
    );
    assert_eq!(
        with("/", "magic", Resolve::NO_MAGICLINKS),
        Err(Errno::ELOOP)
    );
    assert_eq!(with("/", "mnt/other", Resolve::NO_XDEV), Err(Errno::EXDEV));
    assert_eq!(with("/", "etc", Resolve::NO_XDEV), Ok(b"/etc/".to_vec()));
}

#[test]
fn a_changed_root_confines() {
    let start = Start {
        root: b"/a/".to_vec(),
        dir: b"/a/b/".to_vec(),
        resolve: Resolve::empty(),
    };
    let go = |path: &[u8]| resolve(&fake(), &start, path, Last::Follow)?.existing();
    assert_eq!(go(b"../../../f"), Ok(b"/a/f".to_vec()));
    assert_eq!(go(b"/f"), Ok(b"/a/f".to_vec()));
    assert_eq!(go(b"/etc"), Err(Errno::ENOENT));
}
