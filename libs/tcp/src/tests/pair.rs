//! Two connections on a wire that loses, repeats and delays: bytes arrive whole, and both end.

use super::*;
use alloc::collections::BTreeMap;
use proptest::prelude::*;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[derive(Clone, Copy, Debug)]
struct Wire {
    delay: u64,
    loss: u64,
    repeats: u64,
    late: u64,
}

struct Pair {
    ends: [Connection; 2],
    now: Nanos,
    flying: BTreeMap<(Nanos, u64), (usize, Out)>,
    count: u64,
    wire: Wire,
    dice: Dice,
    /// Segments of a train, if there are cards that cut them apart.
    most: usize,
}

impl Pair {
    fn new(wire: Wire, seed: u64, queue: usize, has_options: bool) -> Self {
        let now = ms(1000);
        let handshake = |ours, theirs| Handshake {
            ours,
            theirs,
            window: queue.min(65_535) as u16,
            scale: has_options.then_some(super::super::connection::scale_for(queue)),
            mss: Some(MSS),
            has_sack: has_options,
            timestamp: has_options.then_some(0),
        };
        let mut ends = [(OURS, THEIRS), (THEIRS, OURS)]
            .map(|(a, b)| Connection::answered(&config(queue), POLICY, &handshake(a, b), now));
        // Both have acknowledged the other's SYN.
        for (end, peer) in [(0, THEIRS), (1, OURS)] {
            let numbers = ends[end].numbers();
            let ack = Segment {
                seq: peer + 1,
                ack: numbers.0,
                flags: Flags::ACK,
                window: (queue.min(65_535) >> ends[end].peer_scale) as u16,
                options: Options::default(),
                payload: &[],
            };
            ends[end].on_segment(&ack, now);
            assert_eq!(ends[end].state(), State::Established);
        }
        Self {
            ends,
            now,
            flying: BTreeMap::new(),
            count: 0,
            wire,
            dice: Dice(seed),
            most: 1,
        }
    }

    fn send(&mut self) {
        for from in [0, 1] {
            for out in drain_trains(&mut self.ends[from], self.now, self.most) {
                // The peer's card may put together again what came apart.
                let is_whole = self.most > 1 && self.dice.roll(2) == 0;
                let pieces = if is_whole {
                    alloc::vec![out]
                } else {
                    out.cut()
                };
                pieces.iter().for_each(|piece| self.launch(1 - from, piece));
            }
        }
    }

    fn launch(&mut self, to: usize, out: &Out) {
        if self.dice.roll(1000) < self.wire.loss {
            return;
        }
        let copies = 1 + u64::from(self.dice.roll(1000) < self.wire.repeats);
        for copy in 0..copies {
            let mut at = self.now + ms(self.wire.delay) + ms(copy * 3);
            if self.dice.roll(1000) < self.wire.late {
                at = at + ms(self.dice.roll(20));
            }
            self.count += 1;
            self.flying.insert((at, self.count), (to, out.clone()));
        }
    }

    /// Goes to the next event; returns whether there was one.
    fn step(&mut self) -> bool {
        self.send();
        let arrival = self.flying.first_key_value().map(|(k, _)| k.0);
        let deadlines = self.ends.iter().filter_map(Connection::deadline);
        let Some(next) = deadlines.chain(arrival).min() else {
            return false;
        };
        self.now = self.now.max(next);
        while let Some(entry) = self.flying.first_entry()
            && entry.key().0 <= self.now
        {
            let (to, out) = entry.remove();
            self.ends[to].on_segment(&out.segment(), self.now);
            check(&self.ends[to]);
        }
        for end in &mut self.ends {
            end.on_deadline(self.now);
            check(end);
        }
        true
    }

    /// Sends `len` bytes each way, with both programs reading at most `chunk` at a time, and closes.
    fn exchange(&mut self, len: usize, chunk: usize) {
        let data: Vec<u8> = (0..len).map(|i| (i * 7 + i / 251) as u8).collect();
        let mut sent = [0; 2];
        let mut received = [Vec::new(), Vec::new()];
        for round in 0.. {
            assert!(round < 500_000, "no progress: {sent:?} {:?}", self.ends);
            for end in 0..2 {
                let c = &mut self.ends[end];
                if sent[end] < len {
                    let piece = &data[sent[end]..len.min(sent[end] + chunk)];
                    sent[end] += c.write(&mut &piece[..]).unwrap();
                }
                let is_all = sent[end] == len;
                if is_all {
                    c.shut_down();
                }
                if self.dice.roll(3) > 0 {
                    let mut buffer = alloc::vec![0; chunk];
                    let n = c.read(&mut &mut buffer[..]).unwrap();
                    received[end].extend_from_slice(&buffer[..n]);
                }
            }
            let is_over = self
                .ends
                .iter()
                .all(|c| matches!(c.state(), State::Closed | State::TimeWait));
            if is_over && received.iter().all(|r| r.len() == len) {
                break;
            }
            self.step();
        }
        assert!(received[0] == data && received[1] == data);
        for c in &self.ends {
            assert!(c.end().is_none_or(|e| e == crate::End::Finished), "{c:?}");
        }
    }
}

#[test]
fn clean_wire_needs_no_repetition() {
    let wire = Wire {
        delay: 10,
        loss: 0,
        repeats: 0,
        late: 0,
    };
    let mut pair = Pair::new(wire, 1, 50_000, true);
    pair.exchange(400_000, 9000);
    // Data, acknowledgements of every second segment, and not much else.
    assert!(pair.count < 2 * (400 + 250) + 40, "{}", pair.count);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_wire_delivers_everything_and_both_end(
        seed in 1u64..,
        delay in 0u64..80,
        loss in 0u64..200,
        repeats in 0u64..200,
        late in 0u64..300,
        len in 0usize..80_000,
        chunk in 1usize..9000,
        queue in 2048usize..200_000,
        has_options: bool,
        most in 1usize..50,
    ) {
        let wire = Wire { delay, loss, repeats, late };
        let mut pair = Pair::new(wire, seed, queue, has_options);
        pair.most = most;
        pair.exchange(len, chunk.max(len / 300));
        // Nothing is left but, at most, one that waits for strays.
        pair.wire = Wire { loss: 0, repeats: 0, ..wire };
        let mut steps = 0;
        while pair.step() {
            steps += 1;
            prop_assert!(steps < 1000, "they never rest: {:?}", pair.ends);
        }
    }
}
