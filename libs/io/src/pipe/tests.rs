//! Tests of the pipe buffer.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn open_pipe() -> Pipe {
    let mut pipe = Pipe::new();
    pipe.open(End::Read);
    pipe.open(End::Write);
    pipe
}

fn write(pipe: &mut Pipe, mut bytes: &[u8]) -> Result<usize, Errno> {
    pipe.write(&mut bytes).map(|m| m.count)
}

fn read(pipe: &mut Pipe, len: usize) -> Result<Vec<u8>, Errno> {
    let mut buf = vec![0; len];
    let n = pipe.read(&mut &mut buf[..])?.count;
    buf.truncate(n);
    Ok(buf)
}

#[test]
fn empty_read_wants_to_wait() {
    let mut pipe = open_pipe();
    assert_eq!(read(&mut pipe, 10), Err(Errno::EAGAIN));
    assert_eq!(read(&mut pipe, 0), Ok(vec![]));
}

#[test]
fn bytes_come_out_in_order_and_across_slots() {
    let mut pipe = open_pipe();
    assert_eq!(write(&mut pipe, b"hello "), Ok(6));
    assert_eq!(write(&mut pipe, b"world"), Ok(5));
    assert_eq!(read(&mut pipe, 8), Ok(b"hello wo".to_vec()));
    assert_eq!(read(&mut pipe, 8), Ok(b"rld".to_vec()));
    let long: Vec<u8> = (0..10_000u32).map(|i| i as u8).collect();
    assert_eq!(write(&mut pipe, &long), Ok(10_000));
    assert_eq!(pipe.len(), 10_000);
    assert_eq!(read(&mut pipe, 20_000), Ok(long));
}

#[test]
fn full_pipe_takes_a_short_write_then_none() {
    let mut pipe = open_pipe();
    assert_eq!(write(&mut pipe, &vec![1; 70_000]), Ok(65_536));
    assert_eq!(write(&mut pipe, &[2]), Err(Errno::EAGAIN));
    assert_eq!(pipe.poll(End::Write), Events::empty());
    // Part of a page read makes no room, as in Linux.
    assert_eq!(read(&mut pipe, 4095).map(|v| v.len()), Ok(4095));
    assert_eq!(write(&mut pipe, &[2]), Err(Errno::EAGAIN));
    assert_eq!(read(&mut pipe, 1).map(|v| v.len()), Ok(1));
    assert_eq!(pipe.poll(End::Write), Events::OUT | Events::WRNORM);
    assert_eq!(write(&mut pipe, &[2]), Ok(1));
}

#[test]
fn small_writes_fill_every_byte() {
    let mut pipe = open_pipe();
    for _ in 0..65_536 {
        assert_eq!(write(&mut pipe, &[7]), Ok(1));
    }
    assert_eq!(write(&mut pipe, &[7]), Err(Errno::EAGAIN));
}

#[test]
fn writes_that_do_not_fit_the_last_slot_start_a_new_one() {
    let mut pipe = open_pipe();
    for _ in 0..16 {
        assert_eq!(write(&mut pipe, &[7; 3000]), Ok(3000));
    }
    assert_eq!(write(&mut pipe, &[7; 3000]), Err(Errno::EAGAIN));
    assert_eq!(write(&mut pipe, &[7; 1096]), Ok(1096));
    assert_eq!(write(&mut pipe, &[7]), Err(Errno::EAGAIN));
}

#[test]
fn long_write_puts_its_odd_part_into_the_last_slot() {
    let mut pipe = open_pipe();
    assert_eq!(write(&mut pipe, &[1; 100]), Ok(100));
    // 15 whole pages and 96 bytes: the 96 go to the slot in use, the pages fill the others.
    assert_eq!(
        write(&mut pipe, &vec![2; 15 * 4096 + 96]),
        Ok(15 * 4096 + 96)
    );
    assert_eq!(write(&mut pipe, &[3; 3900]), Err(Errno::EAGAIN));
}

#[test]
fn atomic_write_is_never_split() {
    let mut pipe = open_pipe();
    assert_eq!(write(&mut pipe, &vec![1; 65_536 - 100]), Ok(65_436));
    assert_eq!(write(&mut pipe, &[2; 101]), Err(Errno::EAGAIN));
    assert_eq!(write(&mut pipe, &[2; 100]), Ok(100));
}

#[test]
fn write_without_readers_is_a_broken_pipe() {
    let mut pipe = open_pipe();
    assert!(pipe.close(End::Read));
    assert_eq!(write(&mut pipe, &[1]), Err(Errno::EPIPE));
    assert_eq!(write(&mut pipe, &[]), Ok(0));
    assert!(pipe.poll(End::Write).contains(Events::ERR | Events::OUT));
}

#[test]
fn reader_gets_the_rest_and_then_the_end() {
    let mut pipe = open_pipe();
    pipe.open(End::Write);
    assert_eq!(write(&mut pipe, b"x"), Ok(1));
    assert!(!pipe.close(End::Write));
    assert!(pipe.close(End::Write));
    assert_eq!(
        pipe.poll(End::Read),
        Events::IN | Events::RDNORM | Events::HUP
    );
    assert_eq!(read(&mut pipe, 9), Ok(b"x".to_vec()));
    assert_eq!(read(&mut pipe, 9), Ok(vec![]));
    assert_eq!(pipe.poll(End::Read), Events::HUP);
}

#[test]
fn reader_of_a_fifo_before_any_writer_sees_no_hang_up() {
    let mut pipe = Pipe::new();
    pipe.open(End::Read);
    assert_eq!(pipe.poll(End::Read), Events::empty());
    assert_eq!(read(&mut pipe, 1), Ok(vec![]));
}

#[test]
fn only_a_read_from_a_full_pipe_wakes_the_writer() {
    let mut pipe = open_pipe();
    assert!(
        pipe.write(&mut &vec![0; 65_536][..])
            .unwrap()
            .wakes_other_end
    );
    let mut buf = [0; 4096];
    assert!(pipe.read(&mut &mut buf[..]).unwrap().wakes_other_end);
    assert!(!pipe.read(&mut &mut buf[..]).unwrap().wakes_other_end);
}

/// User memory of which only the first `good` bytes are there.
struct Faulty {
    len: usize,
    good: usize,
}

impl Source for Faulty {
    fn remaining(&self) -> usize {
        self.len
    }
    fn read_exact(&mut self, dst: &mut [u8]) -> Result<(), Errno> {
        self.good = self.good.checked_sub(dst.len()).ok_or(Errno::EFAULT)?;
        self.len -= dst.len();
        Ok(())
    }
}

impl Sink for Faulty {
    fn remaining(&self) -> usize {
        self.len
    }
    fn write_all(&mut self, src: &[u8]) -> Result<(), Errno> {
        self.good = self.good.checked_sub(src.len()).ok_or(Errno::EFAULT)?;
        self.len -= src.len();
        Ok(())
    }
}

#[test]
fn fault_after_some_pages_gives_the_short_count() {
    let mut pipe = open_pipe();
    let write = |pipe: &mut Pipe, len, good| pipe.write(&mut Faulty { len, good }).map(|m| m.count);
    assert_eq!(write(&mut pipe, 10_000, 5000), Ok(4096));
    assert_eq!(write(&mut pipe, 100, 0), Err(Errno::EFAULT));
    assert_eq!(pipe.len(), 4096);
    let read = |pipe: &mut Pipe, len, good| pipe.read(&mut Faulty { len, good }).map(|m| m.count);
    assert_eq!(read(&mut pipe, 4096, 0), Err(Errno::EFAULT));
    assert_eq!(pipe.len(), 4096);
    assert_eq!(read(&mut pipe, 8192, 4096), Ok(4096));
}

#[test]
fn capacity_is_rounded_and_bounded() {
    let mut pipe = open_pipe();
    assert_eq!(pipe.capacity(), 65_536);
    assert_eq!(pipe.set_capacity(5000), Ok(8192));
    assert_eq!(write(&mut pipe, &[0; 9000]), Ok(8192));
    assert_eq!(pipe.set_capacity(0), Err(Errno::EBUSY));
    assert_eq!(pipe.set_capacity(MAX_CAPACITY), Ok(MAX_CAPACITY));
    assert_eq!(pipe.set_capacity(MAX_CAPACITY + 1), Err(Errno::EPERM));
    assert_eq!(pipe.set_capacity(usize::MAX), Err(Errno::EINVAL));
}

proptest! {
    /// Whatever is accepted comes out once, in order; no write of up to `PIPE_BUF` bytes is short.
    #[test]
    fn behaves_as_a_queue(ops in proptest::collection::vec((any::<bool>(), 1usize..9000), 1..200)) {
        let mut pipe = open_pipe();
        let mut written = 0usize;
        let mut seen = 0usize;
        for (is_write, len) in ops {
            if is_write {
                let bytes: Vec<u8> = (written..written + len).map(|i| (i % 251) as u8).collect();
                match write(&mut pipe, &bytes) {
                    Ok(n) => {
                        prop_assert!(n == len || len > PIPE_BUF);
                        written += n;
                    }
                    Err(e) => prop_assert_eq!(e, Errno::EAGAIN),
                }
            } else if let Ok(bytes) = read(&mut pipe, len) {
                for b in bytes {
                    prop_assert_eq!(b, (seen % 251) as u8);
                    seen += 1;
                }
            }
            prop_assert_eq!(pipe.len(), written - seen);
            prop_assert!(pipe.len() <= pipe.capacity());
        }
    }
}
