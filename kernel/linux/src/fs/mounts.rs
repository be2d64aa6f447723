//! What is mounted where.

use tyn_abi::PAGE_SIZE;
use tyn_abi::fs::{major, minor};
use tyn_fs::proc_text::Mount;

use super::{dev, fs};

/// Returns the mounted file systems.
pub(super) fn mount_table() -> [Mount; 6] {
    let numbers = |dev: u64| (major(dev), minor(dev));
    let size_kib = Some(fs().quota().page_limit * PAGE_SIZE as u64 / 1024);
    let mount = |id, parent, dev, place, source, kind, options, size_kib| Mount {
        id: (id, parent),
        dev: numbers(dev),
        place,
        source,
        kind,
        options,
        size_kib,
        more: "",
    };
    let (rw, ro) = ("rw,noatime", "ro,noatime");
    [
        mount(20, 1, dev::ROOT, "/", "tyn", "tmpfs", rw, size_kib),
        mount(21, 20, dev::PROC, "/proc", "proc", "proc", rw, None),
        mount(22, 20, dev::SYS, "/sys", "sysfs", "sysfs", ro, None),
        mount(23, 20, dev::DEV, "/dev", "devtmpfs", "devtmpfs", rw, None),
        mount(24, 23, dev::SHM, "/dev/shm", "tmpfs", "tmpfs", rw, size_kib),
        Mount {
            more: ",mode=600,ptmxmode=000",
            ..mount(25, 23, dev::PTS, "/dev/pts", "devpts", "devpts", rw, None)
        },
    ]
}

/// Returns the number of the mount that shows the file system with this device number; those without a place are known by
/// their own.
pub(super) fn mount_id(device: u64) -> u32 {
    let numbers = (major(device), minor(device));
    let table = mount_table();
    let mount = table.iter().find(|mount| mount.dev == numbers);
    mount.map_or(numbers.1, |mount| mount.id.0)
}
