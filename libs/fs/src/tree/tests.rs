//! Tests of the tree.

use super::*;
use alloc::format;
use alloc::string::String;

type TestTree = Tree<Arc<u32>>;

const NOW: Timespec = Timespec { sec: 100, nsec: 5 };
const LATER: Timespec = Timespec { sec: 200, nsec: 6 };
const ROOT: Ino = TestTree::ROOT;

fn tree() -> TestTree {
    TestTree::new(Quota::new(0, 1000), 1, NOW)
}

fn new(kind: NewKind<Arc<u32>>, mode: u32) -> New<Arc<u32>> {
    New {
        kind,
        mode,
        uid: 0,
        gid: 0,
    }
}

fn mkdir(t: &mut TestTree, dir: Ino, name: &str) -> Ino {
    let new = new(NewKind::Directory, mode::S_IFDIR | 0o755);
    t.create(dir, Name::copied(name.as_bytes()), new, NOW)
        .unwrap()
}

fn touch(t: &mut TestTree, dir: Ino, name: &str) -> Ino {
    let new = new(NewKind::Regular(Arc::new(7)), mode::S_IFREG | 0o644);
    t.create(dir, Name::copied(name.as_bytes()), new, NOW)
        .unwrap()
}

fn rename(
    t: &mut TestTree,
    from: (Ino, &str),
    to: (Ino, &str),
    how: RenameMode,
) -> Result<(), Errno> {
    let to = (to.0, Name::copied(to.1.as_bytes()));
    t.rename((from.0, from.1.as_bytes()), to, how, LATER)
        .map(drop)
}

fn names(t: &mut TestTree, dir: Ino) -> Vec<String> {
    let mut out = Vec::new();
    t.read_dir(dir, 0, |e| {
        out.push(String::from_utf8_lossy(e.name).into_owned());
        true
    })
    .unwrap();
    out
}

/// Checks the invariants of the whole tree.
fn check(t: &TestTree) {
    for (ino, inode) in t.inodes.iter() {
        assert!(inode.nlink > 0 || inode.pins > 0, "{ino:?} is held");
        if let Kind::Directory(d) = &inode.kind {
            let dirs = d.by_name.values().filter(|s| t.directory(s.ino).is_ok());
            if inode.nlink > 0 {
                assert_eq!(inode.nlink as usize, 2 + dirs.count(), "links of {ino:?}");
            }
            if let Some(order) = &d.by_cookie {
                assert_eq!(d.by_name.len(), order.len());
            }
            for (name, slot) in &d.by_name {
                if let Some(order) = &d.by_cookie {
                    assert_eq!(order.get(&slot.cookie), Some(name));
                }
                if let Ok(child) = t.directory(slot.ino) {
                    assert_eq!((child.parent, &child.name), (ino, name));
                }
            }
        } else {
            let entries = t.inodes.iter().filter_map(|(_, i)| match &i.kind {
                Kind::Directory(d) => Some(d.by_name.values().filter(|s| s.ino == ino).count()),
                _ => None,
            });
            assert_eq!(inode.nlink as usize, entries.sum::<usize>());
        }
    }
    // Each further name of a file counts, too.
    let further = |i: &Inode<_>| match i.kind {
        Kind::Directory(_) => 0,
        _ => (i.nlink as usize).saturating_sub(1),
    };
    let names: usize = t.inodes.iter().map(|(_, i)| further(i)).sum();
    let inodes = t.inodes.iter().count() - 1;
    assert_eq!(t.quota.inodes_used() as usize, inodes + names);
}

#[test]
fn created_entries_are_found_and_counted() {
    let mut t = tree();
    let d = mkdir(&mut t, ROOT, "d");
    let f = touch(&mut t, d, "f");
    assert_eq!(t.lookup(ROOT, b"d"), Ok(d));
    assert_eq!(t.lookup(d, b"f"), Ok(f));
    assert_eq!(t.lookup(d, b"g"), Err(Errno::ENOENT));
    assert_eq!(t.lookup(f, b"g"), Err(Errno::ENOTDIR));
    assert_eq!(t.stat(ROOT).unwrap().nlink, 3);
    assert_eq!(t.stat(d).unwrap().size, 60);
    assert_eq!(t.path(d).unwrap(), b"/d");
    assert_eq!(t.path(ROOT).unwrap(), b"/");
    assert_eq!(t.parent(d), Ok(ROOT));
    assert_eq!(t.body(f).as_deref(), Ok(&7));
    assert_eq!(t.body(d), Err(Errno::EISDIR));
    check(&t);
}

#[test]
fn bad_names_and_places_are_refused() {
    let mut t = tree();
    let f = touch(&mut t, ROOT, "f");
    let long = "n".repeat(256);
    let mut create = |dir, name: &str| {
        let new = new(NewKind::Directory, mode::S_IFDIR);
        t.create(dir, Name::copied(name.as_bytes()), new, NOW)
            .unwrap_err()
    };
    assert_eq!(create(ROOT, "f"), Errno::EEXIST);
    assert_eq!(create(f, "x"), Errno::ENOTDIR);
    assert_eq!(create(ROOT, &long), Errno::ENAMETOOLONG);
    assert_eq!(create(ROOT, ""), Errno::ENOENT);
    assert_eq!(t.lookup(ROOT, long.as_bytes()), Err(Errno::ENAMETOOLONG));
    check(&t);
}

#[test]
fn an_open_file_outlives_its_last_name() {
    let mut t = tree();
    let f = touch(&mut t, ROOT, "f");
    t.pin(f).unwrap();
    drop(t.unlink(ROOT, b"f", LATER).unwrap());
    assert_eq!(t.stat(f).unwrap().nlink, 0);
    assert_eq!(t.stat(f).unwrap().ctime, LATER);
    assert_eq!(
        t.link(f, ROOT, Name::Static(b"g"), false, NOW),
        Err(Errno::ENOENT)
    );
    drop(t.unpin(f));
    assert_eq!(t.stat(f), Err(Errno::ENOENT));
    check(&t);
}

#[test]
fn a_removed_directory_takes_no_entries() {
    let mut t = tree();
    let d = mkdir(&mut t, ROOT, "d");
    t.pin(d).unwrap();
    drop(t.rmdir(ROOT, b"d", NOW).unwrap());
    let file = new(NewKind::Regular(Arc::new(1)), mode::S_IFREG);
    let made = t.create(d, Name::Static(b"x"), file, NOW);
    assert_eq!(made, Err(Errno::ENOENT));
    assert_eq!(t.path(d), Err(Errno::ENOENT));
    assert_eq!(t.read_dir(d, 0, |_| true), Err(Errno::ENOENT));
    check(&t);
}

#[test]
fn hard_links_count_and_directories_have_none() {
    let mut t = tree();
    let f = touch(&mut t, ROOT, "f");
    let d = mkdir(&mut t, ROOT, "d");
    t.link(f, d, Name::Static(b"g"), false, NOW).unwrap();
    assert_eq!(t.stat(f).unwrap().nlink, 2);
    let again = t.link(f, d, Name::Static(b"g"), false, NOW);
    assert_eq!(again, Err(Errno::EEXIST));
    let dir = t.link(d, ROOT, Name::Static(b"h"), false, NOW);
    assert_eq!(dir, Err(Errno::EPERM));
    drop(t.unlink(ROOT, b"f", NOW).unwrap());
    assert_eq!(t.stat(f).unwrap().nlink, 1);
    check(&t);
}

#[test]
fn an_orphan_can_be_given_a_name() {
    let mut t = tree();
    let file = new(NewKind::Regular(Arc::new(1)), mode::S_IFREG | 0o600);
    let f = t.create_orphan(file, 1, NOW).unwrap();
    assert_eq!(t.stat(f).unwrap().nlink, 0);
    t.link(f, ROOT, Name::Static(b"f"), true, NOW).unwrap();
    drop(t.unpin(f));
    assert_eq!(t.lookup(ROOT, b"f"), Ok(f));
    check(&t);
}

#[test]
fn unlink_and_rmdir_mind_the_kind() {
    let mut t = tree();
    touch(&mut t, ROOT, "f");
    let d = mkdir(&mut t, ROOT, "d");
    touch(&mut t, d, "x");
    let err = |r: Result<Removed<Arc<u32>>, Errno>| r.map(drop).unwrap_err();
    assert_eq!(err(t.unlink(ROOT, b"d", NOW)), Errno::EISDIR);
    assert_eq!(err(t.rmdir(ROOT, b"f", NOW)), Errno::ENOTDIR);
    assert_eq!(err(t.rmdir(ROOT, b"d", NOW)), Errno::ENOTEMPTY);
    assert_eq!(err(t.rmdir(ROOT, b"e", NOW)), Errno::ENOENT);
    let m = mkdir(&mut t, ROOT, "m");
    t.set_dev(m, 2).unwrap();
    assert_eq!(err(t.rmdir(ROOT, b"m", NOW)), Errno::EBUSY);
    let crossed = rename(&mut t, (ROOT, "f"), (m, "f"), RenameMode::Replace);
    assert_eq!(crossed, Err(Errno::EXDEV));
    let busy = rename(&mut t, (ROOT, "m"), (ROOT, "n"), RenameMode::Replace);
    assert_eq!(busy, Err(Errno::EBUSY));
    check(&t);
}

#[test]
fn rename_replaces_atomically_and_minds_the_kinds() {
    let mut t = tree();
    let a = touch(&mut t, ROOT, "a");
    let b = touch(&mut t, ROOT, "b");
    let d = mkdir(&mut t, ROOT, "d");
    let e = mkdir(&mut t, ROOT, "e");
    touch(&mut t, e, "x");
    let mut mv = |from, to, how| rename(&mut t, (ROOT, from), (ROOT, to), how);
    assert_eq!(mv("a", "b", RenameMode::NoReplace), Err(Errno::EEXIST));
    assert_eq!(mv("a", "b", RenameMode::Replace), Ok(()));
    assert_eq!(mv("a", "c", RenameMode::Replace), Err(Errno::ENOENT));
    assert_eq!(mv("b", "d", RenameMode::Replace), Err(Errno::EISDIR));
    assert_eq!(mv("d", "b", RenameMode::Replace), Err(Errno::ENOTDIR));
    assert_eq!(mv("d", "e", RenameMode::Replace), Err(Errno::ENOTEMPTY));
    assert_eq!(mv("e", "d", RenameMode::Replace), Ok(()));
    assert_eq!(mv("b", "b", RenameMode::Replace), Ok(()));
    assert_eq!(t.lookup(ROOT, b"b"), Ok(a));
    assert_eq!(t.stat(b), Err(Errno::ENOENT));
    assert_eq!(t.stat(d), Err(Errno::ENOENT));
    assert_eq!(t.lookup(ROOT, b"d"), Ok(e));
    assert_eq!(t.path(e).unwrap(), b"/d");
    check(&t);
}

#[test]
fn a_directory_is_not_moved_into_itself() {
    let mut t = tree();
    let a = mkdir(&mut t, ROOT, "a");
    let b = mkdir(&mut t, a, "b");
    let into = rename(&mut t, (ROOT, "a"), (b, "c"), RenameMode::Replace);
    assert_eq!(into, Err(Errno::EINVAL));
    let up = rename(&mut t, (a, "b"), (ROOT, "a"), RenameMode::Replace);
    assert_eq!(up, Err(Errno::ENOTEMPTY));
    touch(&mut t, b, "f");
    let file_up = rename(&mut t, (b, "f"), (ROOT, "a"), RenameMode::Replace);
    assert_eq!(file_up, Err(Errno::ENOTEMPTY));
    let swap = rename(&mut t, (a, "b"), (ROOT, "a"), RenameMode::Exchange);
    assert_eq!(swap, Err(Errno::EINVAL));
    let out = rename(&mut t, (a, "b"), (ROOT, "b"), RenameMode::Replace);
    assert_eq!(out, Ok(()));
    assert_eq!(t.stat(a).unwrap().nlink, 2);
    assert_eq!(t.parent(b), Ok(ROOT));
    check(&t);
}

#[test]
fn exchange_swaps_a_file_and_a_directory() {
    let mut t = tree();
    let d = mkdir(&mut t, ROOT, "d");
    let f = touch(&mut t, d, "f");
    let e = mkdir(&mut t, ROOT, "e");
    let swap = rename(&mut t, (d, "f"), (ROOT, "e"), RenameMode::Exchange);
    assert_eq!(swap, Ok(()));
    assert_eq!(t.lookup(d, b"f"), Ok(e));
    assert_eq!(t.lookup(ROOT, b"e"), Ok(f));
    assert_eq!(t.path(e).unwrap(), b"/d/f");
    let none = rename(&mut t, (ROOT, "e"), (ROOT, "zz"), RenameMode::Exchange);
    assert_eq!(none, Err(Errno::ENOENT));
    check(&t);
}

#[test]
fn reading_a_directory_resumes_at_a_cookie_despite_changes() {
    let mut t = tree();
    for i in 0..10 {
        touch(&mut t, ROOT, &format!("f{i}"));
    }
    let mut seen = Vec::new();
    let mut cookie = 0;
    t.read_dir(ROOT, 0, |e| {
        seen.push(e.name.to_vec());
        cookie = e.cookie;
        seen.len() < 5
    })
    .unwrap();
    assert_eq!(seen[0], b".");
    assert_eq!(seen[1], b"..");
    drop(t.unlink(ROOT, b"f0", NOW).unwrap());
    drop(t.unlink(ROOT, b"f3", NOW).unwrap());
    touch(&mut t, ROOT, "g");
    t.read_dir(ROOT, cookie, |e| {
        seen.push(e.name.to_vec());
        true
    })
    .unwrap();
    assert_eq!(seen.len(), 2 + 9 + 1);
    assert_eq!(seen.last().unwrap(), b"g");
    assert_eq!(names(&mut t, ROOT).len(), 11);
    t.read_dir(ROOT, u64::MAX, |_| panic!("past the end"))
        .unwrap();
}

#[test]
fn metadata_changes_keep_the_type_and_stamp_ctime() {
    let mut t = tree();
    let f = touch(&mut t, ROOT, "f");
    t.set_mode(f, 0o106_755, LATER).unwrap();
    let stat = t.stat(f).unwrap();
    assert_eq!(
        (stat.mode, stat.ctime, stat.mtime),
        (0o106_755 & 0o7777 | mode::S_IFREG, LATER, NOW)
    );
    t.set_owner(f, Some(3), None, LATER).unwrap();
    let stat = t.stat(f).unwrap();
    assert_eq!((stat.uid, stat.gid, stat.mode & 0o7000), (3, 0, 0));
    t.set_times(f, None, Some(LATER), NOW).unwrap();
    let stat = t.stat(f).unwrap();
    assert_eq!((stat.atime, stat.mtime, stat.ctime), (NOW, LATER, NOW));
}

#[test]
fn set_gid_directories_pass_their_group_on() {
    let mut t = tree();
    let d = mkdir(&mut t, ROOT, "d");
    t.set_owner(d, None, Some(9), NOW).unwrap();
    t.set_mode(d, 0o2755, NOW).unwrap();
    let sub = mkdir(&mut t, d, "sub");
    let f = touch(&mut t, d, "f");
    assert_eq!(t.stat(sub).unwrap().gid, 9);
    assert_eq!(t.mode(sub).unwrap() & mode::S_ISGID, mode::S_ISGID);
    assert_eq!(t.stat(f).unwrap().gid, 9);
    assert_eq!(t.mode(f).unwrap() & mode::S_ISGID, 0);
}

#[test]
fn inode_quota_ends_in_enospc_and_is_given_back() {
    let mut t = TestTree::new(Quota::new(0, 1), 1, NOW);
    touch(&mut t, ROOT, "a");
    let file = new(NewKind::Regular(Arc::new(1)), mode::S_IFREG);
    let full = t.create(ROOT, Name::Static(b"b"), file, NOW);
    assert_eq!(full, Err(Errno::ENOSPC));
    drop(t.unlink(ROOT, b"a", NOW).unwrap());
    touch(&mut t, ROOT, "b");
    check(&t);
}

#[test]
fn random_operations_keep_the_invariants() {
    let mut seed = 99u64;
    let mut random = move |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % n
    };
    let mut t = tree();
    let mut pinned = Vec::new();
    for _ in 0..1500 {
        let inos: Vec<Ino> = t.inodes.iter().map(|(ino, _)| ino).collect();
        let pick = |n: u64| inos[(n % inos.len() as u64) as usize];
        let (dir, other) = (pick(random(1000)), pick(random(1000)));
        let name = Name::copied(format!("n{}", random(4)).as_bytes());
        let name2 = Name::copied(format!("n{}", random(4)).as_bytes());
        match random(9) {
            0 | 1 => {
                let new = new(NewKind::Directory, mode::S_IFDIR);
                let _ = t.create(dir, name, new, NOW);
            }
            2 | 3 => {
                let new = new(NewKind::Regular(Arc::new(0)), mode::S_IFREG);
                let _ = t.create(dir, name, new, NOW);
            }
            4 => drop(t.unlink(dir, &name, NOW)),
            5 => drop(t.rmdir(dir, &name, NOW)),
            6 => {
                let hows = [
                    RenameMode::Replace,
                    RenameMode::Exchange,
                    RenameMode::NoReplace,
                ];
                let how = hows[random(3) as usize];
                drop(t.rename((dir, &name), (other, name2), how, NOW));
            }
            7 => {
                let _ = t.read_dir(other, 0, |_| true);
                let _ = t.link(other, dir, name, false, NOW);
            }
            _ => {
                if t.pin(other).is_ok() {
                    pinned.push(other);
                }
                if pinned.len() > 5 {
                    drop(t.unpin(pinned.remove(0)));
                }
            }
        }
        check(&t);
    }
}

#[test]
fn renamed_file_is_found_by_its_former_names() {
    let mut t = tree();
    let dir = mkdir(&mut t, ROOT, "d");
    let file = touch(&mut t, ROOT, "a");
    let entry = |t: &TestTree, name: &str| t.entry_now(file, ROOT, name.as_bytes());
    let new = |dir, name: &str, is_there| Entry {
        dir,
        name: Name::copied(name.as_bytes()),
        is_there,
    };
    let (at, gone) = (
        |dir, name| new(dir, name, true),
        |name| new(ROOT, name, false),
    );
    assert_eq!(entry(&t, "a"), at(ROOT, "a"));
    rename(&mut t, (ROOT, "a"), (ROOT, "b"), RenameMode::Replace).unwrap();
    rename(&mut t, (ROOT, "b"), (dir, "c"), RenameMode::Replace).unwrap();
    // Another file with a former name is another file.
    let _ = touch(&mut t, ROOT, "a");
    assert_eq!(entry(&t, "a"), at(dir, "c"));
    assert_eq!(entry(&t, "b"), at(dir, "c"));
    assert_eq!(entry(&t, "x"), gone("x"));
    rename(&mut t, (dir, "c"), (ROOT, "a"), RenameMode::Exchange).unwrap();
    assert_eq!(entry(&t, "b"), at(ROOT, "a"));
    // As many names as are kept, the oldest go first.
    for n in 0..20 {
        let (from, to) = (format!("{n}"), format!("{}", n + 1));
        let from = if n == 0 { "a" } else { &from };
        rename(&mut t, (ROOT, from), (ROOT, &to), RenameMode::Replace).unwrap();
    }
    assert_eq!(entry(&t, "19"), at(ROOT, "20"));
    assert_eq!(entry(&t, "b"), gone("b"));
    t.pin(file).unwrap();
    drop(t.unlink(ROOT, b"20", LATER).unwrap());
    assert_eq!(entry(&t, "19"), gone("20"));
    check(&t);
}

#[test]
fn entry_of_a_directory_follows_it() {
    let mut t = tree();
    let (dir, below) = (mkdir(&mut t, ROOT, "d"), mkdir(&mut t, ROOT, "e"));
    rename(&mut t, (ROOT, "e"), (dir, "f"), RenameMode::Replace).unwrap();
    let entry = t.entry_of(below).unwrap();
    assert_eq!(t.entry_now(below, ROOT, b"e"), entry);
    assert_eq!(
        (entry.dir, &*entry.name, entry.is_there),
        (dir, &b"f"[..], true)
    );
    t.pin(below).unwrap();
    drop(t.rmdir(dir, b"f", LATER).unwrap());
    assert_eq!(
        t.entry_of(below),
        Some(Entry {
            is_there: false,
            ..entry
        })
    );
    assert_eq!(t.entry_of(ROOT), None);
}

#[test]
fn nobody_changes_what_is_in_a_sealed_directory() {
    let mut t = tree();
    let dir = mkdir(&mut t, ROOT, "pts");
    let file = touch(&mut t, dir, "0");
    touch(&mut t, ROOT, "f");
    t.seal(dir, true).unwrap();
    let made = |t: &mut TestTree| {
        let new = new(NewKind::Special(1), mode::S_IFCHR | 0o600);
        t.create(dir, Name::copied(b"1"), new, NOW)
    };
    assert_eq!(made(&mut t), Err(Errno::EPERM));
    let linked = t.link(file, dir, Name::copied(b"2"), false, NOW);
    assert_eq!(linked, Err(Errno::EPERM));
    assert_eq!(t.unlink(dir, b"0", NOW).err(), Some(Errno::EPERM));
    let replace = RenameMode::Replace;
    for (from, to) in [((dir, "0"), (ROOT, "x")), ((ROOT, "f"), (dir, "x"))] {
        assert_eq!(rename(&mut t, from, to, replace), Err(Errno::EPERM));
    }
    assert_eq!(names(&mut t, dir), [".", "..", "0"]);
    t.seal(dir, false).unwrap();
    made(&mut t).unwrap();
    drop(t.unlink(dir, b"0", NOW).unwrap());
    assert_eq!(names(&mut t, dir), [".", "..", "1"]);
    check(&t);
}
