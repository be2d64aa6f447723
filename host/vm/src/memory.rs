//! How much of a guest's memory the host has had to provide, from `/proc/PID/smaps`.

/// Name of the guest's memory in the list of mappings when it is a memfd.
const MEMFD: &str = "/memfd:memory-backend-memfd";

/// Returns the resident bytes of the mapping that is the guest's memory of `ram_bytes`: the memfd of that name, else the
/// largest anonymous mapping that could be it. `None` when there is none.
#[must_use]
pub fn touched(smaps: &str, ram_bytes: u64) -> Option<u64> {
    let mut best: Option<(bool, u64)> = None;
    // Whether the mapping we are in is the memfd; `None` when it can't be the guest's memory.
    let mut current = None;
    for line in smaps.lines() {
        if let Some(size) = mapping_size(line) {
            let is_memfd = line.contains(MEMFD);
            let may_be = is_memfd || (size <= ram_bytes && size > ram_bytes / 2);
            current = may_be.then_some(is_memfd);
        } else if let Some(is_memfd) = current
            && let Some(kib) = line.strip_prefix("Rss:")
        {
            let kib = kib.trim().trim_end_matches("kB").trim().parse::<u64>();
            best = best.max(kib.ok().map(|kib| (is_memfd, kib << 10)));
        }
    }
    best.map(|(_, bytes)| bytes)
}

/// Returns the length of the mapping that a line `START-END rwxp ...` begins, `None` for other lines.
fn mapping_size(line: &str) -> Option<u64> {
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    let number = |hex| u64::from_str_radix(hex, 16).ok();
    number(end)?.checked_sub(number(start)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANONYMOUS: &str = "\
7f0000000000-7f0004000000 rw-p 00000000 00:00 0 
Size:              65536 kB
Rss:               20480 kB
7f1000000000-7f1040000000 rw-p 00000000 00:00 0 
Size:            1048576 kB
Rss:              999999 kB
7f2000000000-7f2003f00000 rw-p 00000000 00:00 0 
Rss:                  12 kB
";
    const NAMED: &str = "\
7f3000000000-7f3004000000 rw-s 00000000 00:01 9 /memfd:memory-backend-memfd (deleted)
Rss:                4096 kB
VmFlags: rd wr sh
";

    #[test]
    fn anonymous_memory_is_found_by_its_size() {
        assert_eq!(touched(ANONYMOUS, 64 << 20), Some(20 << 20));
        assert_eq!(touched(ANONYMOUS, 1 << 20), None);
        assert_eq!(touched("", 64 << 20), None);
    }

    #[test]
    fn memfd_wins_over_mappings_that_look_alike() {
        let both = format!("{ANONYMOUS}{NAMED}");
        assert_eq!(touched(&both, 64 << 20), Some(4 << 20));
    }
}
