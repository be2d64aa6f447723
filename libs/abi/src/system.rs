//! Structures that describe the system and terminals: `uname(2)`, `sysinfo(2)`, `tcgetattr(3)`, `TIOCGWINSZ`.

/// Fills the six 65-byte fields of `struct utsname`; longer texts are cut.
#[must_use]
pub fn utsname(
    sysname: &str,
    nodename: &str,
    release: &str,
    version: &str,
    machine: &str,
    domainname: &str,
) -> [u8; 390] {
    let mut out = [0; 390];
    let texts = [sysname, nodename, release, version, machine, domainname];
    for (field, text) in out.chunks_exact_mut(65).zip(texts) {
        let len = text.len().min(64);
        for (dst, src) in field.iter_mut().zip(text.as_bytes().iter().take(len)) {
            *dst = *src;
        }
    }
    out
}

/// `struct sysinfo` (`sysinfo(2)`), with a memory unit of one byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sysinfo {
    /// Seconds since boot.
    pub uptime: u64,
    /// Load averages in units of 1/65536.
    pub loads: [u64; 3],
    /// Usable memory in bytes.
    pub total_ram: u64,
    /// Free memory in bytes.
    pub free_ram: u64,
    /// Shared memory (tmpfs) in bytes.
    pub shared_ram: u64,
    /// Number of threads.
    pub procs: u16,
}

impl Sysinfo {
    /// Writes the kernel layout.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 112] {
        let mut out = [0; 112];
        let words = [
            self.uptime,
            self.loads[0],
            self.loads[1],
            self.loads[2],
            self.total_ram,
            self.free_ram,
            self.shared_ram,
            0, // bufferram
            0, // totalswap
            0, // freeswap
            u64::from(self.procs),
            0, // totalhigh
            0, // freehigh
            1, // mem_unit
        ];
        for (dst, word) in out.chunks_exact_mut(8).zip(words) {
            dst.copy_from_slice(&word.to_le_bytes());
        }
        out
    }
}

/// `struct termios` as the kernel has it (`TCGETS`): 36 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are those of termios(3)")]
pub struct Termios {
    pub iflag: u32,
    pub oflag: u32,
    pub cflag: u32,
    pub lflag: u32,
    pub line: u8,
    pub cc: [u8; 19],
}

impl Termios {
    /// Size of the structure in bytes.
    pub const SIZE: usize = 36;

    /// Reads the kernel layout.
    #[must_use]
    pub fn from_bytes(b: &[u8; 36]) -> Self {
        let word = |i: usize| {
            let mut w = [0; 4];
            w.copy_from_slice(&b[i * 4..i * 4 + 4]);
            u32::from_le_bytes(w)
        };
        let mut cc = [0; 19];
        cc.copy_from_slice(&b[17..36]);
        Self {
            iflag: word(0),
            oflag: word(1),
            cflag: word(2),
            lflag: word(3),
            line: b[16],
            cc,
        }
    }

    /// Writes the kernel layout.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 36] {
        let mut b = [0; 36];
        b[0..4].copy_from_slice(&self.iflag.to_le_bytes());
        b[4..8].copy_from_slice(&self.oflag.to_le_bytes());
        b[8..12].copy_from_slice(&self.cflag.to_le_bytes());
        b[12..16].copy_from_slice(&self.lflag.to_le_bytes());
        b[16] = self.line;
        b[17..36].copy_from_slice(&self.cc);
        b
    }
}

/// `struct winsize` (`TIOCGWINSZ`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Winsize {
    /// Rows, in characters.
    pub rows: u16,
    /// Columns, in characters.
    pub cols: u16,
    /// Width in pixels (unused).
    pub x_pixels: u16,
    /// Height in pixels (unused).
    pub y_pixels: u16,
}

impl Winsize {
    /// Reads the kernel layout.
    #[must_use]
    pub fn from_bytes(b: &[u8; 8]) -> Self {
        Self {
            rows: u16::from_le_bytes([b[0], b[1]]),
            cols: u16::from_le_bytes([b[2], b[3]]),
            x_pixels: u16::from_le_bytes([b[4], b[5]]),
            y_pixels: u16::from_le_bytes([b[6], b[7]]),
        }
    }

    /// Writes the kernel layout.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 8] {
        let mut b = [0; 8];
        let words = [self.rows, self.cols, self.x_pixels, self.y_pixels];
        for (dst, word) in b.chunks_exact_mut(2).zip(words) {
            dst.copy_from_slice(&word.to_le_bytes());
        }
        b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utsname_fields_start_every_65_bytes_and_end_with_nul() {
        let long = "x".repeat(80);
        let b = utsname("Linux", "tyn", "6.12", &long, "x86_64", "(none)");
        assert_eq!(&b[..6], b"Linux\0");
        assert_eq!(&b[65..69], b"tyn\0");
        assert_eq!(b[195 + 63], b'x');
        assert_eq!(b[195 + 64], 0);
        assert_eq!(&b[260..267], b"x86_64\0");
    }

    #[test]
    fn sysinfo_has_mem_unit_at_its_offset() {
        let b = Sysinfo {
            uptime: 3,
            total_ram: 1 << 30,
            procs: 7,
            ..Sysinfo::default()
        }
        .to_bytes();
        assert_eq!(b[0], 3);
        assert_eq!(b[32..40], (1u64 << 30).to_le_bytes());
        assert_eq!(b[80], 7);
        assert_eq!(b[104], 1);
    }

    #[test]
    fn termios_and_winsize_round_trip() {
        let t = Termios {
            iflag: 0x500,
            oflag: 5,
            cflag: 0xbf,
            lflag: 0x8a3b,
            line: 0,
            cc: [3; 19],
        };
        assert_eq!(Termios::from_bytes(&t.to_bytes()), t);
        let w = Winsize {
            rows: 24,
            cols: 80,
            ..Winsize::default()
        };
        assert_eq!(Winsize::from_bytes(&w.to_bytes()), w);
    }
}
