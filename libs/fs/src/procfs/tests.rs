use super::*;

struct Fake;

impl ProcFacts for Fake {
    fn caller(&self) -> (u32, u32) {
        (7, 8)
    }
    fn processes(&self) -> Vec<u32> {
        alloc::vec![1, 7]
    }
    fn has_process(&self, pid: u32) -> bool {
        [1, 7].contains(&pid)
    }
    fn threads(&self, pid: u32) -> Vec<u32> {
        if pid == 7 {
            alloc::vec![7, 8]
        } else {
            alloc::vec![1]
        }
    }
    fn descriptors(&self, _: u32) -> Vec<u32> {
        alloc::vec![0, 1, 5]
    }
    fn descriptor_access(&self, _: u32, fd: u32) -> Option<u32> {
        [0, 1, 5].contains(&fd).then_some(fd)
    }
}

fn look(path: &str) -> Result<ProcNode, Errno> {
    path.split('/').try_fold(ProcNode::Root, |dir, name| {
        dir.lookup(name.as_bytes(), &Fake)
    })
}

#[test]
fn names_lead_to_nodes() {
    let owner = Owner { pid: 7, tid: None };
    let thread = Owner {
        pid: 7,
        tid: Some(8),
    };
    assert_eq!(look("7"), Ok(ProcNode::Task(owner)));
    assert_eq!(
        look("7/maps"),
        Ok(ProcNode::TaskFile(owner, TaskFile::Maps))
    );
    assert_eq!(look("7/exe"), Ok(ProcNode::TaskLink(owner, TaskLink::Exe)));
    assert_eq!(look("7/fd/5"), Ok(ProcNode::Fd(owner, 5)));
    assert_eq!(
        look("7/net/tcp6"),
        Ok(ProcNode::NetFile(owner, NetFile::Tcp6))
    );
    assert_eq!(look("net"), Ok(ProcNode::NetLink));
    assert_eq!(look("7/fdinfo/5"), Ok(ProcNode::FdInfo(owner, 5)));
    let comm = ProcNode::TaskFile(thread, TaskFile::Comm);
    assert_eq!(look("7/task/8/comm"), Ok(comm));
    let overcommit = ProcNode::Sysctl(Sysctl::OvercommitMemory);
    assert_eq!(look("sys/vm/overcommit_memory"), Ok(overcommit));
    let disabled = ProcNode::NetSysctl(NetSysctl::DisableIpv6);
    assert_eq!(look("sys/net/ipv6/conf/all/disable_ipv6"), Ok(disabled));
    for missing in [
        "9",
        "7/fd/2",
        "7/fdinfo/2",
        "7/task/1",
        "7/task/8/task",
        "nope",
        "07",
        "sys/vm/x",
    ] {
        assert_eq!(look(missing), Err(Errno::ENOENT), "{missing}");
    }
    assert_eq!(look("version/x"), Err(Errno::ENOTDIR));
}

#[test]
fn links_show_the_caller_and_modes_the_access() {
    let target = |path| look(path).unwrap().target(&Fake);
    assert_eq!(target("self").as_deref(), Some("7"));
    assert_eq!(target("thread-self").as_deref(), Some("7/task/8"));
    assert_eq!(target("mounts").as_deref(), Some("self/mounts"));
    assert_eq!(target("7/exe"), None);
    let mode = |path| look(path).unwrap().mode(&Fake);
    assert_eq!(mode("7/fd/0"), 0o120_500);
    assert_eq!(mode("7/fd/1"), 0o120_300);
    assert_eq!(mode("7/environ"), 0o100_400);
    assert_eq!(mode("7/fd"), 0o040_500);
}

/// Every node is found under its name, has a number and cookie of its own, and knows its parent.
#[test]
fn the_whole_tree_is_consistent() {
    let mut inos = Vec::new();
    let mut queue = alloc::vec![ProcNode::Root];
    while let Some(dir) = queue.pop() {
        let mut last = 2;
        for child in dir.children(&Fake).unwrap() {
            assert!(child.cookie > last, "cookies of {dir:?} rise");
            last = child.cookie;
            assert_eq!(dir.lookup(child.name.as_bytes(), &Fake), Ok(child.node));
            assert_eq!(child.node.parent(), dir);
            inos.push(child.node.ino());
            if child.node.mode(&Fake) & mode::S_IFMT == mode::S_IFDIR {
                let path = format!("{}/{}", dir.path(), child.name);
                assert_eq!(child.node.path(), path);
                queue.push(child.node);
            } else {
                let children = child.node.children(&Fake).unwrap_err();
                assert_eq!(children, Errno::ENOTDIR);
            }
        }
    }
    let count = inos.len();
    inos.sort_unstable();
    inos.dedup();
    assert_eq!(inos.len(), count);
}

#[test]
fn nodes_of_a_process_that_ended_are_gone() {
    let owner = Owner { pid: 3, tid: None };
    assert!(!ProcNode::TaskFile(owner, TaskFile::Stat).exists(&Fake));
    assert_eq!(ProcNode::FdDir(owner).children(&Fake), Err(Errno::ENOENT));
    assert_eq!(ProcNode::Threads(3).children(&Fake), Err(Errno::ENOENT));
}
