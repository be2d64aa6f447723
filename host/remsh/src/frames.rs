//! What a node may send: messages of a bounded size, whose terms claim no more than they hold.
//!
//! The guest's node is a stranger's program. Decoders reserve memory for what a message claims and recurse into it, so every message
//! is looked through before ("External Term Format" in ERTS's user's guide).

use std::io::{self, Cursor, ErrorKind, Read};

/// Longest message, in bytes. A shell's output is far below; decoded, a message takes some thirty times its size at the most.
pub(crate) const MAX: u32 = 16 << 20;
/// Deepest nesting of terms.
const MAX_DEPTH: usize = 256;
/// First byte of a message that is no tick.
const PASS_THROUGH: u8 = 112;
/// First byte of a term.
const VERSION: u8 = 131;

/// Reads whole messages and gives them on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frames {
    frame: Cursor<Vec<u8>>,
}

impl Frames {
    /// Reads as [`Read::read`] does, from the message at hand or the next.
    ///
    /// # Errors
    /// When the connection fails, or a message is too long or wrong.
    pub(crate) fn read(&mut self, from: impl Read, into: &mut [u8]) -> io::Result<usize> {
        if self.frame.position() >= self.frame.get_ref().len() as u64 {
            self.frame = Cursor::new(next(from)?);
        }
        self.frame.read(into)
    }
}

/// Reads a message with its length in front; nothing at the connection's end.
fn next(mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut frame = Vec::new();
    from.by_ref().take(4).read_to_end(&mut frame)?;
    let Ok(length) = <[u8; 4]>::try_from(&frame[..]) else {
        return Ok(Vec::new());
    };
    let length = u32::from_be_bytes(length);
    if length > MAX {
        let text = format!("a message of {length} bytes, more than {MAX}");
        return Err(io::Error::new(ErrorKind::InvalidData, text));
    }
    // Memory is taken as bytes arrive.
    from.take(u64::from(length)).read_to_end(&mut frame)?;
    let message = frame.get(4..).unwrap_or_default();
    if message.len() < length as usize {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    match is_sound(message) {
        Some(()) => Ok(frame),
        None => Err(io::Error::new(
            ErrorKind::InvalidData,
            "a message that is none",
        )),
    }
}

/// Looks through a message: a tick, or terms one behind the other.
fn is_sound(message: &[u8]) -> Option<()> {
    let [PASS_THROUGH, terms @ ..] = message else {
        return message.is_empty().then_some(());
    };
    let mut rest = Rest(terms);
    while !rest.0.is_empty() {
        (rest.number(1)? == usize::from(VERSION)).then_some(())?;
        rest.term()?;
    }
    Some(())
}

/// What has not been looked at yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    /// Takes a number of so many bytes.
    fn number(&mut self, bytes: usize) -> Option<usize> {
        let number = self.0.get(..bytes)?;
        let number = number.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
        self.skip(bytes)?;
        Some(number)
    }

    /// Takes bytes with their number, of `width` bytes, in front, and `more` bytes.
    fn bytes(&mut self, width: usize, more: usize) -> Option<()> {
        let length = self.number(width)?;
        self.skip(length.checked_add(more)?)
    }

    fn atom(&mut self) -> Option<()> {
        match self.number(1)? {
            100 | 118 => self.bytes(2, 0),
            115 | 119 => self.bytes(1, 0),
            _ => None,
        }
    }

    /// Takes an atom and so many bytes.
    fn atom_and(&mut self, bytes: usize) -> Option<()> {
        self.atom()?;
        self.skip(bytes)
    }

    /// Takes a term with all that is in it.
    fn term(&mut self) -> Option<()> {
        // How many terms are missing at each level.
        let mut missing = vec![1_usize];
        while let Some(last) = missing.last_mut() {
            let Some(less) = last.checked_sub(1) else {
                missing.pop();
                continue;
            };
            *last = less;
            let inside = self.head()?;
            if inside > 0 {
                // Each has a byte at least.
                (inside <= self.0.len() && missing.len() < MAX_DEPTH).then_some(())?;
                missing.push(inside);
            }
        }
        Some(())
    }

    /// Takes a term up to the terms in it, and returns their number.
    fn head(&mut self) -> Option<usize> {
        match *self.0.first()? {
            100 | 115 | 118 | 119 => return self.atom().map(|()| 0),
            _ => {}
        }
        let tag = self.number(1)?;
        match tag {
            70 => self.skip(8)?,
            77 | 111 => self.bytes(4, 1)?,
            88 | 120 => self.atom_and(12)?,
            89 => self.atom_and(8)?,
            90 | 114 => {
                let words = self.number(2)?;
                self.atom_and(4 * words + if tag == 90 { 4 } else { 1 })?;
            }
            97 => self.skip(1)?,
            98 => self.skip(4)?,
            99 => self.skip(31)?,
            101 | 102 => self.atom_and(5)?,
            103 => self.atom_and(9)?,
            104 => return self.number(1),
            105 => return self.number(4),
            106 => {}
            107 => self.bytes(2, 0)?,
            108 => return self.number(4)?.checked_add(1),
            109 => self.bytes(4, 0)?,
            110 => self.bytes(1, 1)?,
            // Size, arity, MD5 sum and index.
            112 => {
                self.skip(4 + 1 + 16 + 4)?;
                return self.number(4)?.checked_add(4);
            }
            113 => return Some(3),
            116 => return self.number(4)?.checked_mul(2),
            117 => return self.number(4)?.checked_add(4),
            // Compressed ones among them: we never asked for such.
            _ => return None,
        }
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eetf::{
        Atom, BigInteger, Binary, FixInteger, Float, List, Map, Pid, Reference, Term, Tuple,
    };

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap();
        [&length.to_be_bytes(), message].concat()
    }

    fn message(term: &Term) -> Vec<u8> {
        let mut bytes = vec![PASS_THROUGH];
        term.encode(&mut bytes).unwrap();
        bytes
    }

    fn sample() -> Term {
        let reference = Reference {
            node: Atom::from("n@h"),
            id: vec![1, 2, 3],
            creation: 4,
        };
        let big: Term = BigInteger::from(i64::MAX).into();
        let map = Map::from([(Atom::from("k").into(), big)]);
        Tuple::from(vec![
            Atom::from("io_reply").into(),
            Pid::new("n@h", 1, 2, 3).into(),
            reference.into(),
            List::from(vec![
                FixInteger::from(1).into(),
                FixInteger::from(100_000).into(),
            ])
            .into(),
            Binary::from(vec![7; 300]).into(),
            Float::try_from(1.5).unwrap().into(),
            map.into(),
            List::nil().into(),
        ])
        .into()
    }

    #[test]
    fn messages_come_through_as_they_are() {
        let bytes = [
            framed(&message(&sample())),
            framed(&[]),
            framed(&message(&List::nil().into())),
        ]
        .concat();
        let mut from = &bytes[..];
        let (mut frames, mut got, mut piece) = (Frames::default(), Vec::new(), [0; 7]);
        while let Ok(length @ 1..) = frames.read(&mut from, &mut piece) {
            got.extend_from_slice(&piece[..length]);
        }
        assert_eq!(got, bytes);
    }

    #[test]
    fn claims_are_checked_before_anything_is_taken() {
        let refused = |bytes: &[u8]| next(bytes).unwrap_err().kind();
        // Nothing of it has to come.
        assert_eq!(refused(&[0xff; 4]), ErrorKind::InvalidData);
        assert_eq!(refused(&(MAX + 1).to_be_bytes()), ErrorKind::InvalidData);
        assert_eq!(
            refused(&framed(&[112, 131, 106])[..6]),
            ErrorKind::UnexpectedEof
        );
        for wrong in [
            &[1][..],
            // A list, a tuple, a map, a binary, a function of four thousand millions.
            &[112, 131, 108, 255, 255, 255, 255, 106],
            &[112, 131, 105, 255, 255, 255, 255, 106],
            &[112, 131, 116, 255, 255, 255, 255, 106],
            &[112, 131, 109, 255, 255, 255, 255, 0],
            &[112, 131, 117, 255, 255, 255, 255, 106],
            // Compressed, of a cache, unknown; a process of a node that is no atom; another version.
            &[112, 131, 80, 0, 0, 0, 1, 0],
            &[112, 131, 82, 0],
            &[112, 131, 0],
            &[112, 131, 88, 106, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[112, 130, 106],
        ] {
            assert_eq!(refused(&framed(wrong)), ErrorKind::InvalidData, "{wrong:?}");
        }
        let nested = |depth: usize| [vec![112, 131], [104, 1].repeat(depth), vec![106]].concat();
        assert!(next(&framed(&nested(MAX_DEPTH - 1))[..]).is_ok());
        assert!(next(&framed(&nested(MAX_DEPTH))[..]).is_err());
    }

    #[test]
    fn cut_messages_are_never_sound() {
        let whole = message(&sample());
        assert_eq!(is_sound(&whole), Some(()));
        for length in 2..whole.len() {
            assert_eq!(is_sound(&whole[..length]), None, "{length}");
        }
    }
}
