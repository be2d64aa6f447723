//! The vDSO: its image, a shared object of one page (`arch/x86_64/vdso.S`), and its data page.
//!
//! The code runs in ring 3 only, from a copy. It finds its data in the page before the image.

use core::sync::atomic::{AtomicU64, Ordering, fence};

use crate::cpu;
use crate::mem::{Frame, OutOfMemory, direct};
use crate::sync::Once;
use crate::time::{self, TscScale};

core::arch::global_asm!(include_str!("arch/x86_64/vdso.S"));

unsafe extern "C" {
    static tyn_vdso_start: u8;
    static tyn_vdso_end: u8;
}

/// Returns the image: at most a page.
#[must_use]
pub fn image() -> &'static [u8] {
    let len = (&raw const tyn_vdso_end).addr() - (&raw const tyn_vdso_start).addr();
    // SAFETY: the assembly puts both symbols around its bytes, in read-only data.
    unsafe { core::slice::from_raw_parts(&raw const tyn_vdso_start, len) }
}

/// Words of the data page, in this order: a count that is odd while the page changes; TSC and nanoseconds at the base, and
/// nanoseconds in 2^32 ticks ([`TscScale`]); wall clock at time zero; whether RDTSCP tells the CPU.
const WORDS: usize = 6;

static DATA: Once<Frame> = Once::new();

/// Makes the data page, for the clock as it is now and, by [`time::follow_reference`], as it will be; called once.
///
/// # Errors
/// [`OutOfMemory`].
///
/// # Panics
/// When the clock's scale is not what the code is written for.
pub fn data_page() -> Result<Frame, OutOfMemory> {
    let scale = time::tsc_scale();
    assert_eq!(
        scale.shift, 32,
        "the vDSO computes base_ns + ((tsc - base_tsc) * mult >> 32)"
    );
    let frame = Frame::zeroed()?;
    let words: [u64; WORDS] = [
        0,
        scale.base_tsc,
        scale.base_ns,
        scale.mult,
        time::wall_at_boot().0,
        u64::from(cpu::has_rdtscp()),
    ];
    for (n, word) in words.iter().enumerate() {
        frame.write(8 * n, &word.to_le_bytes());
    }
    Ok(DATA.set(frame).clone())
}

/// Lets programs see the clock's new scale.
pub(crate) fn tell(scale: &TscScale) {
    let Some(frame) = DATA.get() else { return };
    let page = direct(frame.phys()).cast::<[AtomicU64; WORDS]>();
    // SAFETY: the direct map of a frame that lives for ever and has room for the words, page-aligned. Nobody but this function,
    // which one CPU calls at a time, writes to it; programs read it.
    let [sequence, base_tsc, base_ns, mult, _, _] = unsafe { &*page };
    let before = sequence.load(Ordering::Relaxed);
    sequence.store(before + 1, Ordering::Relaxed);
    // x86 keeps stores in order, and so does the compiler with these.
    fence(Ordering::Release);
    base_tsc.store(scale.base_tsc, Ordering::Relaxed);
    base_ns.store(scale.base_ns, Ordering::Relaxed);
    mult.store(scale.mult, Ordering::Relaxed);
    sequence.store(before + 2, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn u16_at(at: usize) -> u16 {
        u16::from_le_bytes(image()[at..at + 2].try_into().unwrap())
    }

    fn u32_at(at: usize) -> usize {
        u32::from_le_bytes(image()[at..at + 4].try_into().unwrap()) as usize
    }

    fn u64_at(at: usize) -> usize {
        u64::from_le_bytes(image()[at..at + 8].try_into().unwrap()) as usize
    }

    fn string(at: usize) -> String {
        let rest = &image()[at..];
        let end = rest.iter().position(|&b| b == 0).unwrap();
        String::from_utf8(rest[..end].to_vec()).unwrap()
    }

    fn dynamic(tag: usize) -> usize {
        let at = u64_at(64 + 56 + 8);
        let entry = (0..).map(|i| at + i * 16).find(|&e| u64_at(e) == tag);
        u64_at(entry.unwrap() + 8)
    }

    /// The hash function of the System V ABI.
    fn elf_hash(name: &str) -> usize {
        name.bytes().fold(0u32, |h, byte| {
            let h = (h << 4).wrapping_add(u32::from(byte));
            let high = h & 0xf000_0000;
            (h ^ high >> 24) & !high
        }) as usize
    }

    /// Looks a symbol up as a dynamic linker does: hash table, name, version.
    fn lookup(name: &str, version: &str) -> Option<usize> {
        let (hash, strings, symbols) = (dynamic(4), dynamic(5), dynamic(6));
        let versions = dynamic(0x6fff_fff0);
        let buckets = u32_at(hash);
        let mut index = u32_at(hash + 8 + 4 * (elf_hash(name) % buckets));
        while index != 0 {
            let symbol = symbols + 24 * index;
            let its_version = version_name(u16_at(versions + 2 * index));
            if string(strings + u32_at(symbol)) == name && its_version == version {
                return Some(u64_at(symbol + 8));
            }
            index = u32_at(hash + 8 + 4 * buckets + 4 * index);
        }
        None
    }

    fn version_name(index: u16) -> String {
        let mut at = dynamic(0x6fff_fffc);
        while u16_at(at + 4) != index {
            assert_ne!(u32_at(at + 16), 0, "no such version");
            at += u32_at(at + 16);
        }
        let name = string(dynamic(5) + u32_at(at + 20));
        assert_eq!(u32_at(at + 8), elf_hash(&name));
        name
    }

    #[test]
    fn image_is_a_shared_object_of_one_page() {
        assert_eq!(&image()[..6], b"\x7fELF\x02\x01");
        assert_eq!(u64_at(32), 64);
        assert_eq!(u64_at(64 + 32), image().len());
        assert!(image().len() <= 4096);
        assert_eq!(string(dynamic(5) + dynamic(14)), "linux-vdso.so.1");
    }

    #[test]
    fn functions_are_found_by_hash_name_and_version() {
        let names = ["clock_gettime", "gettimeofday", "time", "getcpu"];
        let addresses = names.map(|n| lookup(&alloc::format!("__vdso_{n}"), "LINUX_2.6").unwrap());
        assert!(addresses.is_sorted());
        assert!(addresses.iter().all(|&a| a % 16 == 0 && a < image().len()));
        assert_eq!(lookup("__vdso_time", "LINUX_5"), None);
        assert_eq!(lookup("__vdso_getrandom", "LINUX_2.6"), None);
    }

    #[test]
    fn hash_is_the_one_that_glibc_knows_the_version_by() {
        // `dl_vdso_vsym` of glibc: LINUX_2.6, 61765110.
        assert_eq!(elf_hash("LINUX_2.6"), 61_765_110);
    }
}
