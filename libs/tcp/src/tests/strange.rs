//! Arbitrary segments: no panic, and what must be true stays true.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Segment {
        seq: i32,
        ack: i32,
        flags: u8,
        window: u16,
        len: usize,
        blocks: Vec<(i32, i32)>,
        timestamps: Option<(u32, u32)>,
    },
    Bytes(Vec<u8>),
    Write(usize),
    Read(usize),
    Pass(u64),
    TooBig(i32, u16),
    Spare(usize),
    ShutDown,
    Release,
}

fn near() -> impl Strategy<Value = i32> {
    prop_oneof![
        -3000i32..6000,
        -3i32..3,
        any::<i32>(),
        Just(1001),
        Just(2001)
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (near(), near(), any::<u8>(), any::<u16>(), 0usize..2500,
            prop::collection::vec((near(), near()), 0..4),
            prop::option::of((any::<u32>(), any::<u32>())))
            .prop_map(|(seq, ack, flags, window, len, blocks, timestamps)| Step::Segment {
                // Most segments carry an acknowledgement, few a SYN or a reset.
                flags: (flags & 0x19) | 16 | if flags & 0xe0 == 0 { flags & 7 } else { 0 },
                seq, ack, window, len, blocks, timestamps,
            }),
        1 => prop::collection::vec(any::<u8>(), 0..90).prop_map(Step::Bytes),
        3 => (0usize..5000).prop_map(Step::Write),
        2 => (0usize..5000).prop_map(Step::Read),
        3 => (0u64..3000).prop_map(Step::Pass),
        1 => (near(), any::<u16>()).prop_map(|(seq, mss)| Step::TooBig(seq, mss)),
        1 => (0usize..4000).prop_map(Step::Spare),
        1 => Just(Step::Release),
        1 => Just(Step::ShutDown),
    ]
}

fn apply(s: &mut Scene, step: Step) {
    match step {
        Step::Segment {
            seq,
            ack,
            flags,
            window,
            len,
            blocks,
            timestamps,
        } => {
            // Numbers are relative to where the connection is now.
            let (next, received) = s.c.numbers();
            let mut options = Options {
                timestamps,
                ..Options::default()
            };
            for (start, end) in blocks {
                options.push_block(crate::options::Block {
                    start: Seq(s.c.unacknowledged.0.wrapping_add_signed(start)),
                    end: Seq(next.0.wrapping_add_signed(end % 1000)),
                });
            }
            let segment = Segment {
                seq: Seq(received.0.wrapping_add_signed(seq)),
                ack: Seq(s.c.unacknowledged.0.wrapping_add_signed(ack)),
                flags: Flags(flags),
                window,
                options,
                payload: &alloc::vec![3; len],
            };
            s.c.on_segment(&segment, s.now);
        }
        Step::Bytes(bytes) => {
            if let Some(segment) = Segment::parse(&bytes) {
                s.c.on_segment(&segment, s.now);
            }
        }
        Step::Write(len) => {
            let _ = s.c.write(&mut &alloc::vec![1; len][..]);
        }
        Step::Read(len) => {
            let mut buffer = alloc::vec![0; len];
            s.c.read(&mut &mut buffer[..]).unwrap();
            assert!(buffer.iter().all(|&b| b == 0 || b == 3));
        }
        Step::Pass(time) => {
            s.now = s.now + ms(time);
            s.c.on_deadline(s.now);
        }
        Step::TooBig(seq, mss) => {
            let seq = Seq(s.c.unacknowledged.0.wrapping_add_signed(seq));
            s.c.on_packet_too_big(seq, mss, s.now);
        }
        Step::Spare(bytes) => s.c.set_spare(bytes),
        Step::ShutDown => s.c.shut_down(),
        Step::Release => s.c.release(),
    }
    check(&s.c);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_segments_are_survived(
        steps in prop::collection::vec(step(), 1..120),
        kind in 0u8..4,
    ) {
        let handshake = Handshake {
            ours: OURS,
            theirs: THEIRS,
            window: 5000,
            scale: (kind & 1 == 0).then_some(2),
            mss: Some(MSS),
            has_sack: kind & 2 == 0,
            timestamp: None,
        };
        let mut s = if kind == 3 {
            Scene { c: Connection::connect(&config(9000), POLICY, OURS, ms(1000)), now: ms(1000) }
        } else {
            Scene::with(handshake)
        };
        let start = s.now;
        for step in steps {
            apply(&mut s, step);
            let sent = drain(&mut s.c, s.now);
            prop_assert!(sent.len() < 2000);
        }
        // In the end it rests, or is given up.
        let mut rounds = 0;
        while let Some(at) = s.c.deadline() {
            rounds += 1;
            prop_assert!(rounds < 3000, "{:?}", s.c);
            s.now = s.now.max(at);
            s.c.on_deadline(s.now);
            drain(&mut s.c, s.now);
            prop_assert!(s.c.deadline().is_none_or(|d| d > s.now), "{:?}", s.c);
        }
        prop_assert!(s.now - start < ms(400_000 + 1_000_000));
    }
}
