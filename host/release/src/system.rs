//! What an image has of a Linux system besides libraries, and what an interactive start adds.

use std::io;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::image::HOME;
use crate::limit;
use crate::sysroot::Sysroot;
use crate::tree::{Conflict, Node, Source, Tree};

/// Terminals whose descriptions (`terminfo(5)`) are part of an image, so that a shell on the console knows them.
const TERMINALS: &[&str] = &[
    "dumb",
    "linux",
    "screen",
    "screen-256color",
    "tmux",
    "tmux-256color",
    "vt100",
    "xterm",
    "xterm-256color",
];
/// What glibc reads of the locale `C.UTF-8`, which is that of `LANG` in an image.
const LOCALE: &str = "/usr/lib/locale/C.utf8/LC_CTYPE";
/// Where ncurses looks for descriptions.
const TERMINFO_DIRS: &[&str] = &["/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo"];

/// Longest archive within an image, unpacked, in bytes.
const MAX_PACKED: u64 = 256 << 20;

/// Adds the few files that libc expects of a system, and the folders that the kernel mounts upon.
pub(crate) fn add(tree: &mut Tree, hostname: &str) -> Result<(), Conflict> {
    let hosts = format!("127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 {hostname}\n");
    for (path, text) in [
        ("/etc/hosts", hosts.as_str()),
        ("/etc/hostname", &format!("{hostname}\n")),
        (
            "/etc/nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\n",
        ),
        ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("/etc/group", "root:x:0:\n"),
    ] {
        // Those that were included win.
        if tree.get(Path::new(path)).is_none() {
            let bytes = text.as_bytes().to_vec();
            tree.insert(Path::new(path), Node::File(0o644, Source::Bytes(bytes)))?;
        }
    }
    for (path, mode) in [
        ("/dev", 0o755),
        ("/proc", 0o555),
        ("/sys", 0o555),
        (HOME, 0o700),
        ("/tmp", 0o1777),
        ("/.tyn", 0o700),
    ] {
        tree.insert(Path::new(path), Node::Dir(mode))?;
    }
    Ok(())
}

/// Returns the archive of what a shell on the console needs: the locale and descriptions of common terminals. Kept
/// compressed in an image, for most starts need none of it.
pub(crate) fn interactive_files(
    sysroot: &Sysroot,
    latest: Option<u32>,
) -> Result<Vec<u8>, Conflict> {
    let mut tree = Tree::default();
    add_locale(&mut tree, sysroot)?;
    add_terminals(&mut tree, sysroot)?;
    // A file that can't be read is missing, as one that isn't there.
    Ok(pack(&tree, latest).unwrap_or_default())
}

/// Makes a compressed archive of `tree`, whose times are as [`Tree::write`] makes them.
///
/// # Errors
/// The file that can't be read, and why.
pub(crate) fn pack(tree: &Tree, latest: Option<u32>) -> Result<Vec<u8>, (PathBuf, io::Error)> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    tree.write(&mut packed, latest, |_| {})?;
    packed.finish().map_err(|error| (PathBuf::new(), error))
}

/// Unpacks what [`pack`] made.
///
/// # Errors
/// When it is damaged.
pub(crate) fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
    limit::unpack(GzDecoder::new(packed), MAX_PACKED)
}

/// glibc needs a file to know which bytes make a character; other libcs know UTF-8 by themselves.
pub(crate) fn add_locale(tree: &mut Tree, sysroot: &Sysroot) -> Result<(), Conflict> {
    let path = Path::new(LOCALE);
    match sysroot.resolve(path).filter(|file| file.is_file()) {
        Some(file) => add_file(tree, path, &file),
        None => Ok(()),
    }
}

/// Adds a file of this machine; one that vanished is as good as one that never was.
fn add_file(tree: &mut Tree, path: &Path, file: &Path) -> Result<(), Conflict> {
    match file.metadata() {
        Ok(meta) => {
            let source = Source::Path(file.to_path_buf(), meta.len());
            tree.insert(path, Node::File(0o644, source))
        }
        Err(_) => Ok(()),
    }
}

/// A sysroot may have no descriptions: then shells know only what every terminal can do.
fn add_terminals(tree: &mut Tree, sysroot: &Sysroot) -> Result<(), Conflict> {
    for name in TERMINALS {
        let letter = name.get(..1).unwrap_or_default();
        let found = TERMINFO_DIRS.iter().find_map(|dir| {
            let path = Path::new(dir).join(letter).join(name);
            let file = sysroot.resolve(&path).filter(|file| file.is_file())?;
            Some((path, file))
        });
        if let Some((path, file)) = found {
            add_file(tree, &path, &file)?;
        }
    }
    Ok(())
}
