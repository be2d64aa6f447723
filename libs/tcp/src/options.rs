//! The options of a segment (RFC 9293 §3.2; 7323 §2 and §3; 2018).

use crate::seq::Seq;

const END: u8 = 0;
const NOP: u8 = 1;
const SEGMENT_SIZE: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
/// Blocks that fit the 40 bytes of options.
pub const MOST_BLOCKS: usize = 4;
/// Blocks that fit beside timestamps.
pub(crate) const BLOCKS_BESIDE_TIMESTAMPS: usize = 3;
/// Bytes of timestamps, padded to a multiple of four.
pub(crate) const TIMESTAMPS_LEN: usize = 12;

/// A range of bytes that the receiver has, up to but without `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Block {
    /// First byte.
    pub start: Seq,
    /// Behind the last one.
    pub end: Seq,
}

/// The options that we know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Greatest segment that the sender takes.
    pub mss: Option<u16>,
    /// By what the sender's windows are shifted.
    pub scale: Option<u8>,
    /// The sender understands SACK.
    pub sack_permitted: bool,
    /// The sender's clock, and the latest of ours that it has seen.
    pub timestamps: Option<(u32, u32)>,
    pub(crate) blocks: [Block; MOST_BLOCKS],
    pub(crate) block_count: u8,
}

impl Options {
    /// Reads options; unknown ones are skipped, a malformed one ends the list (RFC 9293 MUST-7).
    #[must_use]
    pub fn parse(mut bytes: &[u8]) -> Self {
        let mut options = Self::default();
        // What nearly every segment of Linux has: two times NOP and timestamps.
        if let [NOP, NOP, TIMESTAMPS, 10, a, b, c, d, e, f, g, h] = *bytes {
            options.timestamps = Some((
                u32::from_be_bytes([a, b, c, d]),
                u32::from_be_bytes([e, f, g, h]),
            ));
            return options;
        }
        while let [kind, rest @ ..] = bytes {
            match *kind {
                END => break,
                NOP => {
                    bytes = rest;
                    continue;
                }
                _ => {}
            }
            let Some(&len) = rest.first() else { break };
            let (Some(body), Some(behind)) = (
                bytes.get(2..usize::from(len)),
                bytes.get(usize::from(len)..),
            ) else {
                break;
            };
            options.read(*kind, body);
            bytes = behind;
        }
        options
    }

    fn read(&mut self, kind: u8, body: &[u8]) {
        match (kind, body) {
            (SEGMENT_SIZE, &[a, b]) => self.mss = Some(u16::from_be_bytes([a, b])),
            (WINDOW_SCALE, &[shift]) => self.scale = Some(shift),
            (SACK_PERMITTED, []) => self.sack_permitted = true,
            (TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => {
                self.timestamps = Some((
                    u32::from_be_bytes([a, b, c, d]),
                    u32::from_be_bytes([e, f, g, h]),
                ));
            }
            (SACK, body) => {
                let (blocks, _) = body.as_chunks::<8>();
                for &[a, b, c, d, e, f, g, h] in blocks {
                    self.push_block(Block {
                        start: Seq(u32::from_be_bytes([a, b, c, d])),
                        end: Seq(u32::from_be_bytes([e, f, g, h])),
                    });
                }
            }
            _ => {}
        }
    }

    /// Adds a block, if there is room for one more.
    pub fn push_block(&mut self, block: Block) {
        if let Some(slot) = self.blocks.get_mut(usize::from(self.block_count)) {
            *slot = block;
            self.block_count += 1;
        }
    }

    /// Returns the blocks, the most recent one first.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        self.blocks
            .get(..usize::from(self.block_count))
            .unwrap_or_default()
    }

    /// Returns the length of what [`Options::write`] writes, a multiple of four.
    #[must_use]
    pub fn len(&self) -> usize {
        let mut len = 0;
        if self.mss.is_some() {
            len += 4;
        }
        if self.scale.is_some() {
            len += 4;
        }
        if self.sack_permitted {
            len += 4;
        }
        if self.timestamps.is_some() {
            len += TIMESTAMPS_LEN;
        }
        if self.block_count > 0 {
            len += 4 + 8 * usize::from(self.block_count);
        }
        len
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the options to `to` of [`Options::len`] bytes.
    pub fn write(&self, to: &mut [u8]) {
        let mut to = to;
        let mut put = |bytes: &[u8]| {
            if let Some((piece, rest)) = core::mem::take(&mut to).split_at_mut_checked(bytes.len())
            {
                piece.copy_from_slice(bytes);
                to = rest;
            }
        };
        if let Some(mss) = self.mss {
            put(&[SEGMENT_SIZE, 4]);
            put(&mss.to_be_bytes());
        }
        if let Some(shift) = self.scale {
            put(&[NOP, WINDOW_SCALE, 3, shift]);
        }
        if self.sack_permitted {
            put(&[NOP, NOP, SACK_PERMITTED, 2]);
        }
        if let Some((value, echo)) = self.timestamps {
            put(&[NOP, NOP, TIMESTAMPS, 10]);
            put(&value.to_be_bytes());
            put(&echo.to_be_bytes());
        }
        if self.block_count > 0 {
            put(&[NOP, NOP, SACK, 2 + 8 * self.block_count]);
            for block in self.blocks() {
                put(&block.start.0.to_be_bytes());
                put(&block.end.0.to_be_bytes());
            }
        }
    }
}
