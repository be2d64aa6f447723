//! A flood of connection requests whose senders do not exist, as Ethernet frames.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{JoinHandle, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::bulk;
use super::tap::{self, Tap};
use crate::lab::GUEST_PORT;

/// The address that QEMU gives to its first network card.
pub(super) const GUEST_MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
pub(super) const OUR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0x66, 0x01];

/// Returns the paths of the sockets in a folder: where QEMU receives, and where it sends.
pub(crate) fn sockets(dir: &Path) -> [PathBuf; 2] {
    [dir.join("to-guest"), dir.join("from-guest")]
}

/// The wire's other end. Must be there before QEMU is.
#[derive(Debug)]
pub(crate) struct Wire {
    to: UnixDatagram,
    target: PathBuf,
    /// Takes what QEMU sends, so that it never waits; ends when the socket is shut down.
    from: UnixDatagram,
    /// How many of the frames that it took are for forged senders.
    answers: Arc<AtomicU64>,
    drain: Option<JoinHandle<()>>,
}

impl Wire {
    /// Opens the wire in a folder.
    ///
    /// # Errors
    /// When the sockets can't be made.
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        let [target, from] = sockets(dir);
        let from = UnixDatagram::bind(from).context("no socket for frames")?;
        let reader = from.try_clone()?;
        let answers = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&answers);
        let drain = std::thread::spawn(move || {
            let mut frame = [0; 2048];
            while let Ok(n @ 1..) = reader.recv(&mut frame) {
                let is_answer = frame.get(..n).is_some_and(is_for_forged);
                counter.fetch_add(u64::from(is_answer), Ordering::Relaxed);
            }
        });
        Ok(Self {
            to: UnixDatagram::unbound()?,
            target,
            from,
            answers,
            drain: Some(drain),
        })
    }

    /// Returns how many answers the guest has sent to those who do not exist.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Sends a frame to the guest.
    ///
    /// # Errors
    /// When QEMU is gone.
    pub(crate) fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = self.to.send_to(frame, &self.target);
        sent.map(drop).context("QEMU takes no frames")
    }

    /// Sends the requests of these numbers to a port of the guest, each from another address.
    ///
    /// # Errors
    /// When QEMU is gone.
    pub(crate) fn flood(&self, guest: Ipv4Addr, port: u16, numbers: Range<u32>) -> Result<()> {
        for n in numbers {
            self.send(&request(n, guest, port))?;
        }
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.from.shutdown(std::net::Shutdown::Both);
        if let Some(drain) = self.drain.take() {
            let _ = drain.join();
        }
    }
}

/// Transfers `blocks` in all, over connections that are there before; requests are forged until the last one has ended.
///
/// # Errors
/// When one byte is wrong.
pub(super) fn transfer(wire: &Wire, blocks: usize) -> Result<()> {
    /// Transfers, half of them each way.
    const TRANSFERS: usize = 24;
    /// Requests in a hundredth of a second.
    const AT_ONCE: u32 = 100;
    let count = blocks.div_ceil(TRANSFERS);
    let open = |n: usize| {
        let wish = format!("{} {count}\n", ["give", "take"][n % 2]);
        bulk::open(Tap::guest(bulk::PORT), &wish, None)
    };
    let streams: Vec<_> = (0..TRANSFERS).map(open).collect::<Result<_>>()?;
    let start = Instant::now();
    let mut sent = 0;
    std::thread::scope(|scope| -> Result<()> {
        let flood = |sent| wire.flood(tap::GUEST, GUEST_PORT, sent..sent + AT_ONCE);
        flood(sent)?;
        let transfers: Vec<_> = streams
            .into_iter()
            .enumerate()
            .map(|(n, stream)| {
                scope.spawn(move || [bulk::receive, bulk::send][n % 2](stream, count))
            })
            .collect();
        while !transfers.iter().all(ScopedJoinHandle::is_finished) {
            sent += AT_ONCE;
            flood(sent)?;
            let next = start + Duration::from_millis(u64::from(10 * sent / AT_ONCE));
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        for transfer in transfers {
            let done = transfer.join();
            done.map_err(|_| anyhow::anyhow!("a transfer panicked"))??;
        }
        Ok(())
    })?;
    eprintln!(
        "          {TRANSFERS} transfers of {count} blocks, half each way, among {sent} forged requests: exact, in {:.1?}",
        start.elapsed()
    );
    Ok(())
}

/// Adds up 16-bit words (RFC 1071).
pub(super) fn sum(bytes: &[u8]) -> u32 {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs
        .iter()
        .map(|&p| u32::from(u16::from_be_bytes(p)))
        .sum()
}

pub(super) fn checksum(sum: u32) -> [u8; 2] {
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    (!(sum as u16)).to_be_bytes()
}

/// Returns whether a frame is an IPv4 packet for one of the addresses of [`request`].
fn is_for_forged(frame: &[u8]) -> bool {
    matches!(frame.get(30..32), Some([198, 18 | 19])) && frame.get(12..14) == Some(&[8, 0])
}

/// Builds the `n`th request: source addresses are those set aside for benchmarks (RFC 2544), 198.18.0.0/15.
fn request(n: u32, guest: Ipv4Addr, port: u16) -> Vec<u8> {
    let spread = n.wrapping_mul(0x9e37_79b1);
    let source = (0xc612_0000 | spread >> 15).to_be_bytes();
    let [p0, p1] = (1024 + (spread % 60_000) as u16).to_be_bytes();
    let [d0, d1] = port.to_be_bytes();
    let [s0, s1, s2, s3] = spread.to_be_bytes();
    let mut tcp = vec![
        p0, p1, d0, d1, s0, s1, s2, s3, 0, 0, 0, 0, 0x60, 0x02, 0xff, 0xff,
    ];
    tcp.extend([0, 0, 0, 0, 2, 4, 0x05, 0xb4]);
    let pseudo = sum(&source) + sum(&guest.octets()) + 6 + tcp.len() as u32;
    let check = checksum(pseudo + sum(&tcp));
    if let Some(place) = tcp.get_mut(16..18) {
        place.copy_from_slice(&check);
    }
    let length = (20 + tcp.len() as u16).to_be_bytes();
    let mut ip = vec![0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, 6, 0, 0];
    ip.extend(source);
    ip.extend(guest.octets());
    let check = checksum(sum(&ip));
    if let Some(place) = ip.get_mut(10..12) {
        place.copy_from_slice(&check);
    }
    [&GUEST_MAC[..], &OUR_MAC, &[0x08, 0x00], &ip, &tcp].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_sound_and_come_from_different_places() {
        let frames: std::collections::HashSet<_> = (0..10_000)
            .map(|n| {
                let frame = request(n, Ipv4Addr::LOCALHOST, 8080);
                assert_eq!(checksum(sum(&frame[14..34])), [0, 0]);
                assert_eq!(frame[26..28], [198, 18 + (frame[27] & 1)]);
                assert!(!is_for_forged(&frame));
                let answer = [&frame[..26], &frame[30..34], &frame[26..30]].concat();
                assert!(is_for_forged(&answer));
                frame[26..36].to_vec()
            })
            .collect();
        assert_eq!(frames.len(), 10_000);
    }
}
