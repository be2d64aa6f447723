//! `/sys`: CPU topology, the one memory node, and what else programs look up at start
//! (`Documentation/ABI/stable/sysfs-devices-{node,system-cpu}` of Linux). Read-only.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use tyn_abi::Errno;

use crate::synth::{Child, DIR, FILE, FIRST_COOKIE, LINK, cpu_list, cpu_mask, fixed, number};

/// A file or directory of `/sys`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SysNode {
    /// A directory with fixed entries.
    Dir(Dir),
    /// A file directly below one of those.
    File(File),
    /// `devices/system/cpu/cpuN`.
    Cpu(u32),
    /// `devices/system/cpu/cpuN/online`.
    CpuOnline(u32),
    /// `devices/system/cpu/cpuN/node0`, a link.
    CpuNode(u32),
    /// `devices/system/cpu/cpuN/topology`.
    TopologyDir(u32),
    /// A file in there.
    Topology(u32, Topology),
    /// `devices/system/node/node0/cpuN`, a link.
    NodeCpu(u32),
}

/// Directories.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "the names are the paths'")]
pub enum Dir {
    Root,
    Devices,
    DevicesSystem,
    SystemCpu,
    SystemNode,
    Node0,
    Fs,
    Kernel,
    KernelMm,
    TransparentHugepage,
}

/// Files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "the names are the paths'")]
pub enum File {
    CpuOnline,
    CpuPossible,
    CpuPresent,
    CpuOffline,
    CpuKernelMax,
    NodeOnline,
    NodePossible,
    NodeHasCpu,
    NodeHasMemory,
    NodeHasNormalMemory,
    Node0CpuList,
    Node0CpuMap,
    Node0Distance,
    Node0MemInfo,
    HugepageEnabled,
    HugepagePmdSize,
}

/// Files in `cpuN/topology`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "the names are the files'")]
pub enum Topology {
    PhysicalPackageId,
    DieId,
    CoreId,
    CoreCpus,
    CoreCpusList,
    ThreadSiblings,
    ThreadSiblingsList,
    CoreSiblings,
    CoreSiblingsList,
    DieCpus,
    DieCpusList,
    PackageCpus,
    PackageCpusList,
}

/// Facts that the files show. All CPUs are cores of one package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SysFacts {
    /// Number of CPUs.
    pub cpus: u32,
    /// Most CPUs that the kernel can drive.
    pub max_cpus: u32,
    /// Memory in bytes.
    pub total_bytes: u64,
    /// Free memory in bytes.
    pub free_bytes: u64,
}

const ROOT: &[(&str, SysNode)] = &[
    ("devices", SysNode::Dir(Dir::Devices)),
    ("fs", SysNode::Dir(Dir::Fs)),
    ("kernel", SysNode::Dir(Dir::Kernel)),
];
const DEVICES: &[(&str, SysNode)] = &[("system", SysNode::Dir(Dir::DevicesSystem))];
const SYSTEM: &[(&str, SysNode)] = &[
    ("cpu", SysNode::Dir(Dir::SystemCpu)),
    ("node", SysNode::Dir(Dir::SystemNode)),
];
const CPU: &[(&str, SysNode)] = &[
    ("online", SysNode::File(File::CpuOnline)),
    ("possible", SysNode::File(File::CpuPossible)),
    ("present", SysNode::File(File::CpuPresent)),
    ("offline", SysNode::File(File::CpuOffline)),
    ("kernel_max", SysNode::File(File::CpuKernelMax)),
];
const NODE: &[(&str, SysNode)] = &[
    ("online", SysNode::File(File::NodeOnline)),
    ("possible", SysNode::File(File::NodePossible)),
    ("has_cpu", SysNode::File(File::NodeHasCpu)),
    ("has_memory", SysNode::File(File::NodeHasMemory)),
    (
        "has_normal_memory",
        SysNode::File(File::NodeHasNormalMemory),
    ),
    ("node0", SysNode::Dir(Dir::Node0)),
];
const NODE0: &[(&str, SysNode)] = &[
    ("cpulist", SysNode::File(File::Node0CpuList)),
    ("cpumap", SysNode::File(File::Node0CpuMap)),
    ("distance", SysNode::File(File::Node0Distance)),
    ("meminfo", SysNode::File(File::Node0MemInfo)),
];
const KERNEL: &[(&str, SysNode)] = &[("mm", SysNode::Dir(Dir::KernelMm))];
const KERNEL_MM: &[(&str, SysNode)] = &[(
    "transparent_hugepage",
    SysNode::Dir(Dir::TransparentHugepage),
)];
const HUGEPAGE: &[(&str, SysNode)] = &[
    ("enabled", SysNode::File(File::HugepageEnabled)),
    ("hpage_pmd_size", SysNode::File(File::HugepagePmdSize)),
];
const TOPOLOGY: &[(&str, Topology)] = &[
    ("physical_package_id", Topology::PhysicalPackageId),
    ("die_id", Topology::DieId),
    ("core_id", Topology::CoreId),
    ("core_cpus", Topology::CoreCpus),
    ("core_cpus_list", Topology::CoreCpusList),
    ("thread_siblings", Topology::ThreadSiblings),
    ("thread_siblings_list", Topology::ThreadSiblingsList),
    ("core_siblings", Topology::CoreSiblings),
    ("core_siblings_list", Topology::CoreSiblingsList),
    ("die_cpus", Topology::DieCpus),
    ("die_cpus_list", Topology::DieCpusList),
    ("package_cpus", Topology::PackageCpus),
    ("package_cpus_list", Topology::PackageCpusList),
];

/// Cookies of per-CPU entries begin here.
const CPU_COOKIES: u64 = 100;

impl Dir {
    fn fixed_entries(self) -> &'static [(&'static str, SysNode)] {
        match self {
            Self::Root => ROOT,
            Self::Devices => DEVICES,
            Self::DevicesSystem => SYSTEM,
            Self::SystemCpu => CPU,
            Self::SystemNode => NODE,
            Self::Node0 => NODE0,
            Self::Fs => &[],
            Self::Kernel => KERNEL,
            Self::KernelMm => KERNEL_MM,
            Self::TransparentHugepage => HUGEPAGE,
        }
    }

    fn parent(self) -> Self {
        match self {
            Self::Root | Self::Devices | Self::Fs | Self::Kernel => Self::Root,
            Self::DevicesSystem => Self::Devices,
            Self::SystemCpu | Self::SystemNode => Self::DevicesSystem,
            Self::Node0 => Self::SystemNode,
            Self::KernelMm => Self::Kernel,
            Self::TransparentHugepage => Self::KernelMm,
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Root => "",
            Self::Devices => "/devices",
            Self::DevicesSystem => "/devices/system",
            Self::SystemCpu => "/devices/system/cpu",
            Self::SystemNode => "/devices/system/node",
            Self::Node0 => "/devices/system/node/node0",
            Self::Fs => "/fs",
            Self::Kernel => "/kernel",
            Self::KernelMm => "/kernel/mm",
            Self::TransparentHugepage => "/kernel/mm/transparent_hugepage",
        }
    }
}

impl SysNode {
    /// The directory `/sys`.
    pub const ROOT: Self = Self::Dir(Dir::Root);

    /// Returns type and permissions.
    #[must_use]
    pub fn mode(self) -> u32 {
        match self {
            Self::Dir(_) | Self::Cpu(_) | Self::TopologyDir(_) => DIR,
            Self::File(_) | Self::CpuOnline(_) | Self::Topology(..) => FILE,
            Self::CpuNode(_) | Self::NodeCpu(_) => LINK,
        }
    }

    /// Returns the inode number.
    #[must_use]
    pub fn ino(self) -> u64 {
        let per_cpu = |cpu: u32, what: u64| 0x1_0000 + u64::from(cpu) * 64 + what;
        match self {
            Self::Dir(dir) => 1 + dir as u64,
            Self::File(file) => 0x100 + file as u64,
            Self::Cpu(n) => per_cpu(n, 0),
            Self::CpuOnline(n) => per_cpu(n, 1),
            Self::CpuNode(n) => per_cpu(n, 2),
            Self::TopologyDir(n) => per_cpu(n, 3),
            Self::NodeCpu(n) => per_cpu(n, 4),
            Self::Topology(n, file) => per_cpu(n, 8 + file as u64),
        }
    }

    /// Returns the directory that a node is in; the root's is the root.
    #[must_use]
    pub fn parent(self) -> Self {
        match self {
            Self::Dir(dir) => Self::Dir(dir.parent()),
            Self::Cpu(_) => Self::Dir(Dir::SystemCpu),
            Self::CpuOnline(n) | Self::CpuNode(n) | Self::TopologyDir(n) => Self::Cpu(n),
            Self::Topology(n, _) => Self::TopologyDir(n),
            Self::NodeCpu(_) => Self::Dir(Dir::Node0),
            Self::File(file) => {
                let dirs = [
                    Dir::SystemCpu,
                    Dir::SystemNode,
                    Dir::Node0,
                    Dir::TransparentHugepage,
                ];
                let holder = dirs.into_iter().find(|d| {
                    let mut entries = d.fixed_entries().iter();
                    entries.any(|&(_, node)| node == Self::File(file))
                });
                Self::Dir(holder.unwrap_or(Dir::Root))
            }
        }
    }

    /// Returns the path of a directory below the mount point (empty for the root).
    #[must_use]
    pub fn path(self) -> Cow<'static, str> {
        match self {
            Self::Dir(dir) => Cow::Borrowed(dir.path()),
            Self::Cpu(n) => format!("/devices/system/cpu/cpu{n}").into(),
            Self::TopologyDir(n) => format!("/devices/system/cpu/cpu{n}/topology").into(),
            other => other.parent().path(),
        }
    }

    /// Lists a directory.
    ///
    /// # Errors
    /// `ENOTDIR`.
    pub fn children(self, facts: &SysFacts) -> Result<Vec<Child<Self>>, Errno> {
        let per_cpu = |node: fn(u32) -> Self| {
            (0..facts.cpus).map(move |n| Child {
                cookie: CPU_COOKIES + u64::from(n),
                name: format!("cpu{n}").into(),
                node: node(n),
            })
        };
        match self {
            Self::Dir(dir) => {
                let mut children = fixed(dir.fixed_entries());
                match dir {
                    Dir::SystemCpu => children.extend(per_cpu(Self::Cpu)),
                    Dir::Node0 => children.extend(per_cpu(Self::NodeCpu)),
                    _ => {}
                }
                Ok(children)
            }
            Self::Cpu(n) => {
                let online = ("online", Self::CpuOnline(n));
                let mut entries = alloc::vec![
                    ("topology", Self::TopologyDir(n)),
                    ("node0", Self::CpuNode(n)),
                ];
                // The boot CPU cannot be taken offline.
                entries.extend((n > 0).then_some(online));
                Ok(fixed(&entries))
            }
            Self::TopologyDir(n) => Ok((FIRST_COOKIE..)
                .zip(TOPOLOGY)
                .map(|(cookie, &(name, file))| Child {
                    cookie,
                    name: Cow::Borrowed(name),
                    node: Self::Topology(n, file),
                })
                .collect()),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// Finds a name in a directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    pub fn lookup(self, name: &[u8], facts: &SysFacts) -> Result<Self, Errno> {
        if let Self::Dir(dir @ (Dir::SystemCpu | Dir::Node0)) = self
            && let Some(n) = name.strip_prefix(b"cpu").and_then(number)
        {
            if n >= facts.cpus {
                return Err(Errno::ENOENT);
            }
            return Ok(match dir {
                Dir::SystemCpu => Self::Cpu(n),
                _ => Self::NodeCpu(n),
            });
        }
        let children = self.children(facts)?;
        let found = children.iter().find(|c| c.name.as_bytes() == name);
        found.map(|c| c.node).ok_or(Errno::ENOENT)
    }

    /// Returns the target of a symbolic link.
    #[must_use]
    pub fn target(self) -> Option<String> {
        match self {
            Self::CpuNode(_) => Some("../../node/node0".into()),
            Self::NodeCpu(n) => Some(format!("../../cpu/cpu{n}")),
            _ => None,
        }
    }

    /// Returns the text of a file; `None` for directories and links.
    #[must_use]
    pub fn text(self, facts: &SysFacts) -> Option<String> {
        let all = || 0..facts.cpus;
        match self {
            Self::File(file) => Some(file.text(facts)),
            Self::CpuOnline(_) => Some("1\n".into()),
            Self::Topology(n, file) => Some(match file {
                Topology::PhysicalPackageId | Topology::DieId => "0\n".into(),
                Topology::CoreId => format!("{n}\n"),
                Topology::CoreCpus | Topology::ThreadSiblings => cpu_mask(n..n + 1, facts.cpus),
                Topology::CoreCpusList | Topology::ThreadSiblingsList => cpu_list(n..n + 1),
                Topology::CoreSiblings | Topology::DieCpus | Topology::PackageCpus => {
                    cpu_mask(all(), facts.cpus)
                }
                Topology::CoreSiblingsList | Topology::DieCpusList | Topology::PackageCpusList => {
                    cpu_list(all())
                }
            }),
            _ => None,
        }
    }
}

impl File {
    fn text(self, facts: &SysFacts) -> String {
        match self {
            Self::CpuOnline | Self::CpuPossible | Self::CpuPresent | Self::Node0CpuList => {
                cpu_list(0..facts.cpus)
            }
            Self::CpuOffline => "\n".into(),
            Self::CpuKernelMax => format!("{}\n", facts.max_cpus.saturating_sub(1)),
            Self::NodeOnline
            | Self::NodePossible
            | Self::NodeHasCpu
            | Self::NodeHasMemory
            | Self::NodeHasNormalMemory => "0\n".into(),
            Self::Node0CpuMap => cpu_mask(0..facts.cpus, facts.cpus),
            Self::Node0Distance => "10\n".into(),
            Self::Node0MemInfo => {
                let line =
                    |name: &str, bytes: u64| format!("Node 0 {name:<15} {:>8} kB\n", bytes / 1024);
                let used = facts.total_bytes.saturating_sub(facts.free_bytes);
                line("MemTotal:", facts.total_bytes)
                    + &line("MemFree:", facts.free_bytes)
                    + &line("MemUsed:", used)
            }
            // Large pages are not used; asking for them does nothing.
            Self::HugepageEnabled => "always madvise [never]\n".into(),
            Self::HugepagePmdSize => "2097152\n".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tyn_abi::fs::mode;

    const FACTS: SysFacts = SysFacts {
        cpus: 2,
        max_cpus: 64,
        total_bytes: 512 << 20,
        free_bytes: 100 << 20,
    };

    fn find(path: &str) -> Result<SysNode, Errno> {
        path.split('/').try_fold(SysNode::ROOT, |dir, name| {
            dir.lookup(name.as_bytes(), &FACTS)
        })
    }

    fn text(path: &str) -> String {
        find(path).unwrap().text(&FACTS).unwrap()
    }

    #[test]
    fn files_that_erts_reads_say_what_linux_says() {
        let cpu = "devices/system/cpu";
        assert_eq!(text(&format!("{cpu}/online")), "0-1\n");
        assert_eq!(text(&format!("{cpu}/possible")), "0-1\n");
        assert_eq!(text(&format!("{cpu}/kernel_max")), "63\n");
        assert_eq!(text(&format!("{cpu}/cpu1/topology/core_id")), "1\n");
        assert_eq!(
            text(&format!("{cpu}/cpu1/topology/physical_package_id")),
            "0\n"
        );
        assert_eq!(text(&format!("{cpu}/cpu1/topology/thread_siblings")), "2\n");
        assert_eq!(
            text(&format!("{cpu}/cpu1/topology/core_siblings_list")),
            "0-1\n"
        );
        assert_eq!(text("devices/system/node/node0/cpulist"), "0-1\n");
        assert_eq!(
            text("kernel/mm/transparent_hugepage/hpage_pmd_size"),
            "2097152\n"
        );
        assert!(text("devices/system/node/node0/meminfo").starts_with(
            "Node 0 MemTotal:         524288 kB\nNode 0 MemFree:          102400 kB\n"
        ));
        let link = find("devices/system/node/node0/cpu1").unwrap();
        assert_eq!(link.target().as_deref(), Some("../../cpu/cpu1"));
        assert_eq!(find(&format!("{cpu}/cpu2")), Err(Errno::ENOENT));
        assert_eq!(find(&format!("{cpu}/cpu0/online")), Err(Errno::ENOENT));
        assert_eq!(find(&format!("{cpu}/online/x")), Err(Errno::ENOTDIR));
    }

    /// Every node is found under its name, has a number and cookie of its own, and knows its parent.
    #[test]
    fn the_whole_tree_is_consistent() {
        let mut inos = Vec::new();
        let mut queue = alloc::vec![SysNode::ROOT];
        while let Some(dir) = queue.pop() {
            let mut last = 2;
            for child in dir.children(&FACTS).unwrap() {
                assert!(child.cookie > last, "cookies of {dir:?} rise");
                last = child.cookie;
                assert_eq!(dir.lookup(child.name.as_bytes(), &FACTS), Ok(child.node));
                assert_eq!(child.node.parent(), dir);
                inos.push(child.node.ino());
                match child.node.mode() & mode::S_IFMT {
                    mode::S_IFDIR => {
                        let path = format!("{}/{}", dir.path(), child.name);
                        assert_eq!(child.node.path(), path);
                        queue.push(child.node);
                    }
                    mode::S_IFLNK => assert!(child.node.target().is_some()),
                    _ => assert!(child.node.text(&FACTS).is_some()),
                }
            }
        }
        let count = inos.len();
        inos.sort_unstable();
        inos.dedup();
        assert_eq!(inos.len(), count);
        assert!(count > 50);
    }
}
