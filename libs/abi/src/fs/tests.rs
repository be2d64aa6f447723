use super::*;

#[test]
fn stat_layout_matches_the_header_and_round_trips() {
    let stat = Stat {
        dev: makedev(0, 21),
        ino: 77,
        nlink: 2,
        mode: mode::S_IFREG | 0o644,
        uid: 1,
        gid: 2,
        rdev: makedev(1, 3),
        size: 12345,
        blksize: 4096,
        blocks: 32,
        atime: Timespec { sec: 1, nsec: 2 },
        mtime: Timespec { sec: 3, nsec: 4 },
        ctime: Timespec { sec: 5, nsec: 6 },
        btime: None,
    };
    let bytes = stat.to_bytes();
    assert_eq!(bytes[24..28], (0o100_644u32).to_le_bytes());
    assert_eq!(bytes[48..56], 12345u64.to_le_bytes());
    assert_eq!(bytes[104..112], 5u64.to_le_bytes());
    assert_eq!(Stat::from_bytes(&bytes), stat);
}

#[test]
fn statx_layout_matches_the_header() {
    let stat = Stat {
        mode: 0o100_600,
        ino: 9,
        rdev: makedev(5, 300),
        btime: Some(Timespec { sec: 8, nsec: 9 }),
        ..Stat::default()
    };
    let b = stat.to_statx();
    assert_eq!(b[0..4], 0xfffu32.to_le_bytes());
    assert_eq!(b[28..30], 0o100_600u16.to_le_bytes());
    assert_eq!(b[32..40], 9u64.to_le_bytes());
    assert_eq!(b[80..88], 8u64.to_le_bytes());
    assert_eq!(b[88..92], 9u32.to_le_bytes());
    assert_eq!(b[128..132], 5u32.to_le_bytes());
    assert_eq!(b[132..136], 300u32.to_le_bytes());
}

#[test]
fn device_numbers_split_as_glibc_does() {
    assert_eq!(makedev(1, 3), 0x103);
    assert_eq!(makedev(5, 0x12345), 0x1230_0545);
    assert_eq!(major(makedev(0x12345, 7)), 0x12345);
    assert_eq!(minor(makedev(7, 0x0012_3456)), 0x0012_3456);
}

#[test]
fn dirent_is_padded_to_eight_bytes_and_refused_when_it_does_not_fit() {
    let mut out = Vec::new();
    assert!(push_dirent(&mut out, 100, 5, 3, 8, b"beam.smp"));
    assert_eq!(out.len(), 32);
    assert_eq!(out[16..18], 32u16.to_le_bytes());
    assert_eq!(out[18], 8);
    assert_eq!(&out[19..28], b"beam.smp\0");
    assert!(!push_dirent(&mut out, 23, 5, 3, 8, b"abcd"));
    assert!(push_dirent(&mut out, 24, 5, 3, 8, b"abcd"));
}

#[test]
fn statfs_and_flock_layouts_match_the_headers() {
    let fs = Statfs {
        magic: 0x0102_1994,
        block_size: 4096,
        files_free: 3,
        flags: 0x20,
        ..Statfs::default()
    };
    let b = fs.to_bytes();
    assert_eq!(b[0..8], 0x0102_1994u64.to_le_bytes());
    assert_eq!(b[48..56], 3u64.to_le_bytes());
    assert_eq!(b[64..72], 255u64.to_le_bytes());
    assert_eq!(b[80..88], 0x20u64.to_le_bytes());
    let lock = Flock {
        kind: 1,
        whence: 2,
        start: -3,
        len: 4,
        pid: 5,
    };
    assert_eq!(Flock::from_bytes(&lock.to_bytes()), lock);
}
