use super::*;
use alloc::vec::Vec;

fn task() -> TaskFacts {
    TaskFacts {
        comm: "beam.smp".into(),
        state: 'S',
        pid: 1,
        tid: 3,
        group: 1,
        session: 1,
        tty_group: -1,
        threads: 19,
        fd_slots: 64,
        umask: 0o022,
        times: [Nanos(1_230_000_000), Nanos(20_000_000), Nanos(0), Nanos(0)],
        started: Nanos(50_000_000),
        vm_total: 8192 * 1000,
        vm_resident: 4096 * 100,
        vm_text: 4096 * 10,
        vm_data: 4096 * 50,
        vm_stack: 4096 * 33,
        resident_limit: u64::MAX,
        signals: [0, 0, 0, 0x1000, 0x4002],
        cpus_allowed: 3,
        cpus: 2,
        cpu: 1,
        ..TaskFacts::default()
    }
}

#[test]
fn stat_has_52_fields_in_their_places() {
    let text = stat(&task());
    assert!(text.starts_with("3 (beam.smp) S 0 1 1 0 -1 0 "));
    assert!(text.ends_with('\n'));
    let (_, after) = text.trim_end().split_once(") ").unwrap();
    let fields: Vec<&str> = after.split(' ').collect();
    // Fields are numbered from 1 in proc_pid_stat(5); `after` begins with the third.
    let field = |n: usize| fields[n - 3];
    assert_eq!(fields.len(), 50);
    assert_eq!((field(14), field(15)), ("123", "2"));
    assert_eq!((field(18), field(20), field(22)), ("20", "19", "5"));
    assert_eq!((field(23), field(24)), ("8192000", "100"));
    assert_eq!(field(25), "18446744073709551615");
    assert_eq!((field(38), field(39)), ("17", "1"));
    assert_eq!((field(33), field(34)), ("4096", "16386"));
}

#[test]
fn statm_and_status_agree_with_the_facts() {
    assert_eq!(statm(&task()), "2000 100 0 10 0 83 0\n");
    let text = status(&task()).unwrap();
    for line in [
        "Name:\tbeam.smp",
        "Umask:\t0022",
        "State:\tS (sleeping)",
        "Tgid:\t1",
        "Pid:\t3",
        "VmSize:\t    8000 kB",
        "VmRSS:\t     400 kB",
        "Threads:\t19",
        "SigCgt:\t0000000000004002",
        "Cpus_allowed:\t3",
        "Cpus_allowed_list:\t0-1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line:?} in {text}");
    }
    let zombie = TaskFacts {
        state: 'Z',
        ..task()
    };
    assert!(!status(&zombie).unwrap().contains("VmSize"));
    assert!(!status(&zombie).unwrap().contains("Umask"));
}

#[test]
fn limits_are_in_columns() {
    let mut values = [(u64::MAX, u64::MAX); 16];
    values[7] = (1024, 1 << 20);
    let text = limits(&values);
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("Limit                     Soft Limit           Hard Limit           Units     ")
    );
    assert_eq!(
        lines.nth(7),
        Some("Max open files            1024                 1048576              files     ")
    );
    assert!(text.contains(
        "Max cpu time              unlimited            unlimited            seconds   \n"
    ));
}

#[test]
fn mounts_are_listed_twice_over() {
    let all = [Mount {
        id: (21, 1),
        dev: (0, 2),
        place: "/",
        source: "tyn",
        kind: "tmpfs",
        options: "rw,noatime",
        size_kib: Some(1024),
        more: "",
    }];
    assert_eq!(
        mountinfo(&all),
        "21 1 0:2 / / rw,noatime - tmpfs tyn rw,size=1024k\n"
    );
    assert_eq!(mounts(&all), "tyn / tmpfs rw,noatime,size=1024k 0 0\n");
}

#[test]
fn memory_cpu_and_time_files_are_formatted_as_linux_does() {
    let memory = MemoryFacts {
        total: 512 << 20,
        free: 100 << 20,
        shared: 4 << 20,
    };
    let text = meminfo(&memory);
    assert!(text.starts_with("MemTotal:         524288 kB\nMemFree:          102400 kB\n"));
    let cpu = CpuFacts {
        vendor: "GenuineIntel".into(),
        khz: 2_596_128,
        features: 0x1000_0001,
        ..CpuFacts::default()
    };
    let text = cpuinfo(&[cpu.clone(), cpu]);
    assert!(text.contains("processor\t: 1\nvendor_id\t: GenuineIntel\n"));
    assert!(text.contains("cpu MHz\t\t: 2596.128\n"));
    assert!(text.contains("siblings\t: 2\n"));
    assert!(text.contains("flags\t\t: fpu ht syscall nx lm\n"));
    assert!(text.contains("bogomips\t: 5192.25\n"));
    assert_eq!(
        uptime(Nanos(4_797_290_000_000), Nanos(5_000_000)),
        "4797.29 0.00\n"
    );
    assert_eq!(
        loadavg([1392 << 5, 0x1_8000, 0], 1, 96, 24384),
        "0.68 1.50 0.00 1/96 24384\n"
    );
    let version = version("#1 SMP x");
    assert!(version.starts_with("Linux version 6.") && version.ends_with(" #1 SMP x\n"));
}

#[test]
fn cpu_times_add_up() {
    let one = CpuTimes {
        user: Nanos(1_000_000_000),
        system: Nanos(500_000_000),
        idle: Nanos(3_000_000_000),
    };
    let text = system_stat(&[one, one], 1_700_000_000, 9, 1);
    assert!(text.starts_with("cpu  200 0 100 600 0 0 0 0 0 0\ncpu0 100 0 50 300 "));
    assert!(text.contains("btime 1700000000\n"));
}

#[test]
fn uuids_are_version_4() {
    assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff\n");
    assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000\n");
}

#[test]
fn slabinfo_has_a_line_for_each_size() {
    let slabs = [
        SlabFacts {
            bytes: 16,
            in_use: 3,
            total: 512,
        },
        SlabFacts {
            bytes: 2048,
            in_use: 0,
            total: 0,
        },
    ];
    let text = slabinfo(slabs.into_iter());
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("slabinfo - version: 2.1"));
    assert!(lines.next().is_some_and(|l| l.starts_with("# name ")));
    let fields = |line: &str| {
        line.split_whitespace()
            .map(String::from)
            .collect::<Vec<_>>()
    };
    let rows: Vec<_> = lines.map(fields).collect();
    assert_eq!(rows[0][..6], ["kmalloc-16", "3", "512", "16", "256", "1"]);
    assert_eq!(rows[0][11..], [":", "slabdata", "2", "2", "0"]);
    assert_eq!(rows[1][..6], ["kmalloc-2048", "0", "0", "2048", "2", "1"]);
    assert_eq!(rows.len(), 2);
}
