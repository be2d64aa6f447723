//! Tests of file contents, with a page type over ordinary memory.

use super::*;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use core::cell::RefCell;

/// A page for tests.
#[derive(Clone, Debug)]
pub(crate) struct TestPage(Rc<RefCell<Vec<u8>>>);

impl Page for TestPage {
    fn zeroed() -> Result<Self, Errno> {
        Ok(Self(Rc::new(RefCell::new(vec![0; PAGE_SIZE]))))
    }
    fn read(&self, offset: usize, dst: &mut [u8]) {
        dst.copy_from_slice(&self.0.borrow()[offset..offset + dst.len()]);
    }
    fn write(&self, offset: usize, src: &[u8]) {
        self.0.borrow_mut()[offset..offset + src.len()].copy_from_slice(src);
    }
    fn zero(&self, offset: usize, len: usize) {
        self.0.borrow_mut()[offset..offset + len].fill(0);
    }
}

/// Reads the whole file.
pub(crate) fn read_all(content: &Content<TestPage>) -> Vec<u8> {
    let mut out = Vec::new();
    for index in 0..content.size().div_ceil(PAGE) {
        let mut page = vec![0; PAGE_SIZE];
        match content.chunk(index) {
            Chunk::Hole => {}
            Chunk::Base(bytes) => page[..bytes.len()].copy_from_slice(bytes),
            Chunk::Page(p) => p.read(0, &mut page),
        }
        out.extend(page);
    }
    out.truncate(content.size() as usize);
    out
}

fn empty(pages: u64) -> Content<TestPage> {
    Content::new(Quota::new(pages, 10))
}

fn based(data: Vec<u8>, offset: usize) -> Content<TestPage> {
    let data: &'static [u8] = data.leak();
    Content::from_base(
        Quota::new(10, 10),
        Base {
            offset,
            data,
            holes: Holes::default(),
        },
    )
}

#[test]
fn writes_and_holes_read_back() {
    let mut c = empty(10);
    c.write(5000, b"hello").unwrap();
    assert_eq!(c.size(), 5005);
    let all = read_all(&c);
    assert_eq!(&all[5000..], b"hello");
    assert!(all[..5000].iter().all(|&b| b == 0));
    assert_eq!(c.blocks(), 8);
    c.write(4094, b"abcd").unwrap();
    assert_eq!(&read_all(&c)[4094..4098], b"abcd");
    assert_eq!(c.blocks(), 16);
}

#[test]
fn base_is_read_in_place_and_copied_page_by_page() {
    let data: Vec<u8> = (0..10_000u32).map(|i| (i % 251) as u8).collect();
    let mut c = based(data.clone(), 8192);
    assert_eq!(read_all(&c), data);
    assert_eq!(c.quota.pages_used(), 0);
    c.write(4096, b"X").unwrap();
    assert_eq!(c.quota.pages_used(), 1);
    let all = read_all(&c);
    assert_eq!(all[4096], b'X');
    assert_eq!(all[4097..], data[4097..]);
    assert_eq!(all[..4096], data[..4096]);
    assert_eq!(c.blocks(), 24);
}

#[test]
fn truncated_base_never_comes_back() {
    let mut c = based(vec![7; 10_000], 0);
    c.set_size(100).unwrap();
    c.set_size(9000).unwrap();
    let all = read_all(&c);
    assert!(all[..100].iter().all(|&b| b == 7));
    assert!(all[100..].iter().all(|&b| b == 0));
    assert_eq!(all.len(), 9000);
}

#[test]
fn truncate_zeroes_the_rest_of_an_own_page() {
    let mut c = empty(4);
    c.write(0, &[9; 5000]).unwrap();
    c.set_size(10).unwrap();
    assert_eq!(c.quota.pages_used(), 1);
    c.set_size(20).unwrap();
    assert_eq!(read_all(&c)[10..], [0; 10]);
}

#[test]
fn quota_stops_a_write_after_what_fits_and_drop_gives_back() {
    let quota = Quota::new(2, 1);
    let mut c: Content<TestPage> = Content::new(Arc::clone(&quota));
    let error = c.write(0, &[1; 3 * PAGE_SIZE]);
    assert_eq!(error, Err((2 * PAGE_SIZE, Errno::ENOSPC)));
    assert_eq!(c.size(), 2 * PAGE);
    assert_eq!(quota.pages_used(), 2);
    drop(c);
    assert_eq!(quota.pages_used(), 0);
    quota.charge_inode().unwrap();
    assert_eq!(quota.charge_inode(), Err(Errno::ENOSPC));
    quota.release_inode();
    assert_eq!(quota.inodes_used(), 0);
}

#[test]
fn sizes_past_the_limit_are_too_big() {
    let mut c = empty(4);
    assert_eq!(c.set_size(u64::MAX), Err(Errno::EFBIG));
    assert_eq!(c.write(MAX_SIZE, b"x"), Err((0, Errno::EFBIG)));
    assert_eq!(c.write(u64::MAX, b"x"), Err((0, Errno::EFBIG)));
    assert_eq!(c.allocate(MAX_SIZE, 1, false), Err(Errno::EFBIG));
}

#[test]
fn whole_base_pages_map_in_place_and_the_tail_is_a_zero_padded_copy() {
    let mut c = based(vec![3; 5000], 8192);
    assert!(matches!(c.map(0, false), Ok(Mappable::Archive(2))));
    let resident: Vec<_> = c.resident(0..9).collect();
    assert!(matches!(resident[..], [(0, Mappable::Archive(2))]));
    let Ok(Mappable::Page(tail)) = c.map(1, false) else {
        panic!("the tail is a page of its own");
    };
    let mut bytes = [1; PAGE_SIZE];
    tail.read(0, &mut bytes);
    assert!(bytes[..904].iter().all(|&b| b == 3));
    assert!(bytes[904..].iter().all(|&b| b == 0));
    assert_eq!(c.quota.pages_used(), 0);
    assert!(matches!(c.map(2, false), Err(Errno::ENXIO)));
    // Storing to it makes it the user's page.
    c.write(4096, b"z").unwrap();
    assert_eq!(c.quota.pages_used(), 1);
    tail.read(0, &mut bytes[..1]);
    assert_eq!(bytes[0], b'z');
}

#[test]
fn unaligned_base_is_copied_for_mappings() {
    let mut c = based(vec![3; 5000], 100);
    assert!(matches!(c.map(0, false), Ok(Mappable::Page(_))));
}

#[test]
fn shared_mapping_of_a_hole_sees_later_writes() {
    let mut c = empty(4);
    c.set_size(8192).unwrap();
    let Ok(Mappable::Page(page)) = c.map(1, false) else {
        panic!("a hole is given a page");
    };
    c.write(4096, b"q").unwrap();
    let mut byte = [0];
    page.read(0, &mut byte);
    assert_eq!(byte[0], b'q');
    assert!(matches!(c.map(0, true), Ok(Mappable::Page(_))));
    assert_eq!(c.quota.pages_used(), 2);
}

#[test]
fn data_and_holes_are_found() {
    let mut c = empty(9);
    c.set_size(5 * PAGE).unwrap();
    assert_eq!(c.seek_data(0), Err(Errno::ENXIO));
    assert_eq!(c.seek_hole(10), Ok(10));
    c.write(2 * PAGE + 5, b"x").unwrap();
    assert_eq!(c.seek_data(0), Ok(2 * PAGE));
    assert_eq!(c.seek_data(2 * PAGE + 7), Ok(2 * PAGE + 7));
    assert_eq!(c.seek_hole(2 * PAGE), Ok(3 * PAGE));
    assert_eq!(c.seek_data(3 * PAGE), Err(Errno::ENXIO));
    assert_eq!(c.seek_hole(5 * PAGE), Err(Errno::ENXIO));
    let b = based(vec![1; 100], 0);
    assert_eq!(b.seek_hole(0), Ok(100));
    assert_eq!(b.seek_data(100), Err(Errno::ENXIO));
}

#[test]
fn allocate_charges_holes_and_undoes_on_failure() {
    let mut c = empty(3);
    c.allocate(0, 2 * PAGE, false).unwrap();
    assert_eq!((c.size(), c.quota.pages_used()), (2 * PAGE, 2));
    assert_eq!(c.allocate(0, 4 * PAGE, false), Err(Errno::ENOSPC));
    c.write(0, b"a").unwrap();
    assert_eq!(c.allocate(PAGE, 3 * PAGE, false), Err(Errno::ENOSPC));
    assert_eq!((c.size(), c.quota.pages_used()), (2 * PAGE, 2));
    assert_eq!(c.allocate(0, 1 << 40, false), Err(Errno::ENOSPC));
}

#[test]
fn punched_holes_read_as_zeros_and_free_whole_pages() {
    let mut c = empty(9);
    c.write(0, &[5; 4 * PAGE_SIZE]).unwrap();
    c.punch(100, 2 * PAGE).unwrap();
    assert_eq!(c.quota.pages_used(), 3);
    let all = read_all(&c);
    assert!(all[100..100 + 8192].iter().all(|&b| b == 0));
    assert_eq!((all[99], all[100 + 8192]), (5, 5));
    let mut c = based(vec![4; 9000], 0);
    c.punch(0, 5000).unwrap();
    let all = read_all(&c);
    assert!(all[..5000].iter().all(|&b| b == 0));
    assert!(all[5000..].iter().all(|&b| b == 4));
    // Far past the end, over a long hole: ends at once.
    let mut c = empty(9);
    c.set_size(1 << 50).unwrap();
    c.punch(0, u64::MAX).unwrap();
}

/// A sequence of random operations agrees with a plain vector.
#[test]
fn random_operations_agree_with_a_vector() {
    let mut seed = 12345u64;
    let mut random = move |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % n
    };
    let base: Vec<u8> = (0..20_000u32).map(|i| (i % 7) as u8 + 1).collect();
    let mut c = based(base.clone(), 4096);
    c.quota = Quota::new(100, 1);
    let mut model = base;
    for step in 0..400u32 {
        let offset = random(30_000);
        match random(4) {
            0 | 1 => {
                let data = vec![step as u8; random(9000) as usize];
                c.write(offset, &data).unwrap();
                let end = offset as usize + data.len();
                if !data.is_empty() {
                    model.resize(model.len().max(end), 0);
                    model[offset as usize..end].copy_from_slice(&data);
                }
            }
            2 => {
                c.set_size(offset).unwrap();
                model.resize(offset as usize, 0);
            }
            _ => {
                let len = random(9000);
                c.punch(offset, len).unwrap();
                let end = model.len().min((offset + len) as usize);
                if (offset as usize) < end {
                    model[offset as usize..end].fill(0);
                }
            }
        }
        assert_eq!(read_all(&c), model, "after step {step}");
    }
    let quota = Arc::clone(&c.quota);
    drop(c);
    assert_eq!(quota.pages_used(), 0);
}

#[test]
fn pages_that_the_archive_left_out_are_holes() {
    let stored: &'static [u8] = Box::leak(
        [[1u8; PAGE_SIZE], [2; PAGE_SIZE], [3; PAGE_SIZE]]
            .concat()
            .into_boxed_slice(),
    );
    // Pages 1, 2 and 4 are zeros; the last one, page 5, is not whole.
    let list: &'static [u8] = Box::leak(crate::holes::list(&[(1, 2), (4, 1)]).into_boxed_slice());
    let base = Base {
        offset: 10 * PAGE_SIZE,
        data: &stored[..2 * PAGE_SIZE + 7],
        holes: Holes::in_padding(list),
    };
    let mut content = Content::<TestPage>::from_base(Quota::new(10, 10), base);
    assert_eq!(content.size(), 5 * PAGE + 7);
    assert_eq!(content.blocks(), 3 * 8);
    let first = |content: &Content<TestPage>, index| match content.chunk(index) {
        Chunk::Base(bytes) => bytes.first().copied(),
        Chunk::Hole => None,
        Chunk::Page(_) => Some(99),
    };
    let seen: Vec<_> = (0..6).map(|index| first(&content, index)).collect();
    assert_eq!(seen, [Some(1), None, None, Some(2), None, Some(3)]);
    assert!(matches!(content.map(3, false), Ok(Mappable::Archive(11))));
    assert!(content.resident(1..2).next().is_none());
    assert_eq!(content.seek_data(PAGE + 1), Ok(3 * PAGE));
    assert_eq!(content.seek_hole(3 * PAGE), Ok(4 * PAGE));
    // A hole that is written to, or mapped, gets a page.
    content.write(2 * PAGE + 5, b"x").unwrap();
    assert!(matches!(content.map(1, false), Ok(Mappable::Page(_))));
    assert_eq!(content.blocks(), 5 * 8);
    // Reading costs the user nothing, writing does.
    assert_eq!(content.quota.pages_used(), 1);
    content.map(1, true).unwrap();
    assert_eq!(content.quota.pages_used(), 2);
    assert_eq!(content.seek_data(PAGE), Ok(PAGE));
    content.set_size(PAGE).unwrap();
    content.set_size(6 * PAGE).unwrap();
    assert_eq!((first(&content, 3), content.blocks()), (None, 8));
}
