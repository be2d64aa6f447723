//! A long path: two stacks joined by a link with a rate, a delay, a bounded queue, loss and reordering, in virtual time.
//! `cargo test --release -p tyn-net path -- --ignored --nocapture` prints what it carries.

use super::transfer::pattern;
use super::*;
use alloc::collections::BTreeMap;
use std::println;

/// What the link does to frames, each way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// Time from one end to the other.
    pub(super) delay: Nanos,
    /// Bits per second.
    pub(super) rate: u64,
    /// Frames that wait for their turn; more are lost.
    pub(super) queue: usize,
    /// Frames of a thousand that are lost.
    pub(super) loss: u64,
    /// Frames of a thousand that take `jitter` longer and so are overtaken.
    pub(super) late: u64,
    pub(super) jitter: Nanos,
    /// Frames of a thousand that take no time to the other end, and so overtake all others.
    pub(super) early: u64,
}

impl Link {
    /// 50 ms there and back, 100 Mbit/s.
    pub(super) const CLEAN: Self = Self {
        delay: ms(25),
        rate: 100_000_000,
        queue: 500,
        loss: 0,
        late: 0,
        jitter: ms(5),
        early: 0,
    };
    /// The same, losing one frame in a hundred and reordering one.
    pub(super) const LOSSY: Self = Self {
        loss: 10,
        late: 10,
        ..Self::CLEAN
    };
}

/// Two stacks at the ends of a link.
pub(super) struct LongPath {
    pub(super) w: World,
    link: Link,
    dice: Dice,
    /// Frames under way by arrival; the number keeps those of one time apart.
    flying: BTreeMap<(Nanos, u64), (usize, Vec<u8>)>,
    count: u64,
    /// When each direction's last frame has left.
    free_at: [Nanos; 2],
    pub(super) lost: usize,
}

impl LongPath {
    pub(super) fn new(link: Link, seed: u64) -> Self {
        Self {
            w: World::new(),
            link,
            dice: Dice(seed),
            flying: BTreeMap::new(),
            count: 0,
            free_at: [Nanos::ZERO; 2],
            lost: 0,
        }
    }

    fn take_frames(&mut self) {
        for from in [0, 1] {
            let frames = self.w.cards[from].with(|c| core::mem::take(&mut c.sent));
            for frame in frames {
                self.launch(from, frame);
            }
        }
    }

    fn launch(&mut self, from: usize, frame: Vec<u8>) {
        let now = self.w.now;
        let bits = frame.len() as u64 * 8;
        let time = Nanos(bits * Nanos::PER_SEC / self.link.rate);
        let full = Nanos(1514 * 8 * Nanos::PER_SEC / self.link.rate * self.link.queue as u64);
        let is_tcp = segment(&frame).is_some();
        let start = self.free_at[from].max(now);
        let is_lost = self.dice.roll(1000) < self.link.loss || start - now > full;
        if is_tcp && is_lost {
            self.lost += 1;
            return;
        }
        self.free_at[from] = start + time;
        let mut at = self.free_at[from] + self.link.delay;
        if self.dice.roll(1000) < self.link.late {
            at = at + self.link.jitter;
        }
        if self.dice.roll(1000) < self.link.early {
            at = now;
        }
        self.count += 1;
        self.flying.insert((at, self.count), (1 - from, frame));
    }

    /// Lets everything happen up to the next event, and goes there; at most to `until`.
    pub(super) fn step(&mut self, until: Nanos) {
        for _ in 0..1000 {
            self.w.a.on_interrupt(self.w.now);
            self.w.b.on_interrupt(self.w.now);
            self.take_frames();
            let is_due = |s: &Stack| s.deadline().is_some_and(|d| d <= self.w.now);
            if !is_due(&self.w.a) && !is_due(&self.w.b) {
                break;
            }
        }
        let arrival = self.flying.first_key_value().map(|(&(at, _), _)| at);
        let next = [self.w.a.deadline(), self.w.b.deadline(), arrival];
        let next = next.into_iter().flatten().min().unwrap_or(until);
        self.w.now = next.min(until).max(self.w.now);
        while let Some(entry) = self.flying.first_entry()
            && entry.key().0 <= self.w.now
        {
            let (to, frame) = entry.remove();
            self.w.cards[to].with(|c| c.received.push_back(frame));
        }
    }

    /// Makes a connection with queues of these sizes; returns both ends.
    pub(super) fn pair(&mut self, options: &TcpOptions) -> (SocketId, SocketId) {
        let listener = self.w.listen(80, 16);
        self.w
            .b
            .tcp_change_options(listener, |o| *o = options.clone())
            .unwrap();
        let client = self.w.a.tcp_socket(options.clone()).unwrap();
        self.w.a.tcp_connect(client, at(B, 80), self.w.now).unwrap();
        loop {
            self.step(self.w.now + seconds(1));
            assert!(self.w.now < seconds(200), "no connection");
            if let Ok((server, _)) = self.w.b.tcp_accept(listener) {
                return (client, server);
            }
        }
    }

    /// Sends `len` bytes from A to B and returns how long that took.
    pub(super) fn transfer(&mut self, a: SocketId, b: SocketId, len: usize) -> Nanos {
        let data = pattern(len);
        let (mut sent, mut received) = (0, 0);
        let start = self.w.now;
        while received < len {
            while sent < len {
                let end = len.min(sent + 65_536);
                match send(&mut self.w.a, a, &data[sent..end]) {
                    Ok(n) => sent += n,
                    Err(Errno::EAGAIN) => break,
                    Err(e) => panic!("{e:?} after {sent} bytes"),
                }
            }
            while let Ok(bytes) = receive(&mut self.w.b, b, 65_536) {
                assert!(!bytes.is_empty() && data[received..].starts_with(&bytes));
                received += bytes.len();
            }
            assert!(self.w.now - start < seconds(100_000), "no progress");
            self.step(self.w.now + seconds(1));
        }
        self.w.now - start
    }
}

#[test]
fn long_lossy_path_delivers_every_byte() {
    for seed in 1..4 {
        let mut path = LongPath::new(Link::LOSSY, seed);
        let (a, b) = path.pair(&TcpOptions::new(65_536));
        path.transfer(a, b, 500_000);
        assert!(path.lost > 0);
    }
}

#[test]
#[ignore = "a measurement"]
fn goodput_over_long_paths() {
    let lossier = |loss| Link {
        loss,
        ..Link::CLEAN
    };
    let links = [
        ("clean", Link::CLEAN),
        ("0.1 % loss", lossier(1)),
        ("1 % loss", lossier(10)),
        ("1 % loss, 1 % late", Link::LOSSY),
        (
            "1 % early",
            Link {
                early: 10,
                ..Link::CLEAN
            },
        ),
        (
            "1 % loss, 1 % early",
            Link {
                early: 10,
                ..lossier(10)
            },
        ),
    ];
    // Thirty tell apart what differs by a tenth; an unoptimised build only sees that it works.
    const SEEDS: u64 = if cfg!(debug_assertions) { 1 } else { 30 };
    for buffer in [32 << 10, 1 << 20, 4 << 20] {
        for (name, link) in links {
            let len = 8 << 20;
            let (mut time, mut lost) = (0, 0);
            for seed in 1..=SEEDS {
                let mut path = LongPath::new(link, seed * 77);
                let (a, b) = path.pair(&TcpOptions::new(buffer));
                time += path.transfer(a, b, len).0;
                lost += path.lost;
            }
            let goodput = SEEDS * len as u64 * 1_000_000 / (time / 1000);
            println!(
                "queues {:4} KiB, {name}: {} KB/s, {lost} frames lost",
                buffer >> 10,
                goodput / 1000
            );
        }
    }
}
