//! Archives made by hand, be they ever so hostile.

use std::io::Write as _;

/// A header of tar, and its contents.
pub(crate) fn entry(name: &str, kind: u8, target: &str, data: &[u8]) -> Vec<u8> {
    let mut head = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000755\0");
    put(124, format!("{:011o}\0", data.len()).as_bytes());
    put(156, &[kind]);
    put(157, target.as_bytes());
    put(257, b"ustar\x0000");
    mend(&mut head);
    head.extend(data);
    head.resize(head.len().next_multiple_of(512), 0);
    head
}

/// Makes a header's sum right.
fn mend(head: &mut [u8]) {
    head[148..156].fill(b' ');
    let sum: u32 = head.iter().map(|&byte| u32::from(byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Says in a header that its file has this length.
pub(crate) fn lengthened(mut head: Vec<u8>, length: u64) -> Vec<u8> {
    head[124..136].copy_from_slice(format!("{length:012o}").as_bytes());
    mend(&mut head);
    head
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

pub(crate) fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}
