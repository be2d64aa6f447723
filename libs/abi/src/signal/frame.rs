//! `struct rt_sigframe` of x86-64 (Linux `arch/x86/include/asm/sigframe.h`, `uapi/asm/sigcontext.h`): what the kernel puts
//! on the user stack for a handler, and takes back in `rt_sigreturn(2)`.
//!
//! ```text
//!   0  pretcode     return address: sa_restorer
//!   8  uc_flags     16 uc_link     24 uc_stack (24)
//!  48  uc_mcontext  r8..r15 rdi rsi rbp rbx rdx rax rcx rsp rip rflags; cs gs fs ss; err trapno oldmask cr2; fpstate;
//!                   reserved[8]
//! 304  uc_sigmask
//! 312  siginfo (128)
//! 440  end
//! ```
//! The floating-point state lies above, 64-byte aligned: an XSAVE image in standard format whose bytes 464 to 511 say so
//! (`struct _fpx_sw_bytes`), followed by a second magic number.

use super::{AltStack, SigInfo, SignalSet};

/// Size of the frame without floating-point state.
pub const FRAME_BYTES: usize = 440;
/// Bytes of the magic number behind the XSAVE image.
pub const FPSTATE_MAGIC_BYTES: usize = 4;

const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;
/// Where `struct _fpx_sw_bytes` lies in the XSAVE image.
const SW_RESERVED: usize = 464;
/// The legacy part of an XSAVE image, and its header.
const LEGACY_BYTES: usize = 512;
const HEADER_BYTES: usize = 64;

/// `uc_flags`: the floating-point state is an XSAVE image; SS is saved and is to be restored.
const UC_FP_XSTATE: u64 = 1;
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;

/// Bytes below the stack pointer that user code may use (System V ABI, 3.2.2).
const RED_ZONE: u64 = 128;

const USER_CS: u64 = 0x33;
const USER_SS: u64 = 0x2b;

/// General registers in the order of `struct sigcontext`.
#[expect(missing_docs, reason = "the names are the registers'")]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FrameRegs {
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rsp: u64,
    pub rip: u64,
    pub rflags: u64,
}

impl FrameRegs {
    const fn to_words(self) -> [u64; 18] {
        [
            self.r8,
            self.r9,
            self.r10,
            self.r11,
            self.r12,
            self.r13,
            self.r14,
            self.r15,
            self.rdi,
            self.rsi,
            self.rbp,
            self.rbx,
            self.rdx,
            self.rax,
            self.rcx,
            self.rsp,
            self.rip,
            self.rflags,
        ]
    }

    const fn from_words(w: [u64; 18]) -> Self {
        Self {
            r8: w[0],
            r9: w[1],
            r10: w[2],
            r11: w[3],
            r12: w[4],
            r13: w[5],
            r14: w[6],
            r15: w[7],
            rdi: w[8],
            rsi: w[9],
            rbp: w[10],
            rbx: w[11],
            rdx: w[12],
            rax: w[13],
            rcx: w[14],
            rsp: w[15],
            rip: w[16],
            rflags: w[17],
        }
    }
}

/// What a frame says, apart from the floating-point state itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignalFrame {
    /// Where the handler returns to.
    pub restorer: u64,
    /// The alternate stack in force when the signal came.
    pub stack: AltStack,
    /// Registers of the interrupted code.
    pub regs: FrameRegs,
    /// Error code and vector of the exception that caused the signal, 0 otherwise.
    pub err: u64,
    /// See [`SignalFrame::err`].
    pub trapno: u64,
    /// Faulting address.
    pub cr2: u64,
    /// Address of the floating-point state; 0: none.
    pub fpstate: u64,
    /// The mask to restore.
    pub mask: SignalSet,
    /// What the signal is about.
    pub info: SigInfo,
}

impl SignalFrame {
    /// Writes the kernel layout.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; FRAME_BYTES] {
        let mut b = [0; FRAME_BYTES];
        let mut put = |at: usize, bytes: &[u8]| {
            for (dst, src) in b.iter_mut().skip(at).zip(bytes) {
                *dst = *src;
            }
        };
        let uc_flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
        put(0, &self.restorer.to_le_bytes());
        put(8, &uc_flags.to_le_bytes());
        put(24, &self.stack.to_bytes());
        for (i, word) in self.regs.to_words().iter().enumerate() {
            put(48 + i * 8, &word.to_le_bytes());
        }
        let rest = [
            USER_CS | USER_SS << 48,
            self.err,
            self.trapno,
            self.mask.0, // oldmask
            self.cr2,
            self.fpstate,
        ];
        for (i, word) in rest.iter().enumerate() {
            put(192 + i * 8, &word.to_le_bytes());
        }
        put(304, &self.mask.0.to_le_bytes());
        put(312, &self.info.to_bytes());
        b
    }

    /// Reads the kernel layout as `rt_sigreturn(2)` does: segment selectors and `siginfo` do not matter.
    #[must_use]
    pub fn from_bytes(b: &[u8; FRAME_BYTES]) -> Self {
        let (words, _) = b.as_chunks::<8>();
        let word = |at: usize| words.get(at / 8).map_or(0, |w| u64::from_le_bytes(*w));
        let stack = AltStack {
            base: word(24),
            flags: word(32) as u32,
            size: word(40),
        };
        let mut info = [0; SigInfo::SIZE];
        info.copy_from_slice(&b[312..]);
        let signal = u32::from_le_bytes([info[0], info[1], info[2], info[3]]);
        let signal = super::Signal::from_number(signal).unwrap_or(super::Signal::SIGKILL);
        Self {
            restorer: word(0),
            stack,
            regs: FrameRegs::from_words(core::array::from_fn(|i| word(48 + i * 8))),
            err: word(200),
            trapno: word(208),
            cr2: word(224),
            fpstate: word(232),
            mask: SignalSet(word(304)),
            info: SigInfo::from_bytes(info, signal),
        }
    }
}

/// Where a frame goes: its own address and that of the floating-point state; `None` when it would lie below address 0.
///
/// `top` is the end of the alternate stack when the handler switches to it, else the interrupted stack pointer, which
/// has the red zone below it. At the handler's first instruction RSP + 8 is a multiple of 16, as after a call.
#[must_use]
pub fn place(top: u64, is_alternate: bool, xsave_bytes: usize) -> Option<(u64, u64)> {
    let below = if is_alternate { 0 } else { RED_ZONE };
    let extended = (xsave_bytes as u64).checked_add(FPSTATE_MAGIC_BYTES as u64)?;
    let fpstate = top.checked_sub(below)?.checked_sub(extended)? & !63;
    let frame = (fpstate.checked_sub(FRAME_BYTES as u64)? & !15).checked_sub(8)?;
    Some((frame, fpstate))
}

/// Marks `image`, an XSAVE image with [`FPSTATE_MAGIC_BYTES`] to spare behind it, as `struct _fpx_sw_bytes` says; `xfeatures`
/// are the components that are enabled (XCR0).
pub fn seal_extended(image: &mut [u8], xfeatures: u64) {
    let total = image.len() as u32;
    let size = total.saturating_sub(FPSTATE_MAGIC_BYTES as u32);
    let mut put = |at: usize, bytes: &[u8]| {
        for (dst, src) in image.iter_mut().skip(at).zip(bytes) {
            *dst = *src;
        }
    };
    put(SW_RESERVED, &FP_XSTATE_MAGIC1.to_le_bytes());
    put(SW_RESERVED + 4, &total.to_le_bytes());
    put(SW_RESERVED + 8, &xfeatures.to_le_bytes());
    put(SW_RESERVED + 16, &size.to_le_bytes());
    put(SW_RESERVED + 20, &[0; 28]);
    put(size as usize, &FP_XSTATE_MAGIC2.to_le_bytes());
}

/// Takes the XSAVE image out of what `rt_sigreturn(2)` found: `image` is as long as [`seal_extended`] had it. Without both
/// magic numbers only the legacy part counts (x87 and SSE), as on Linux: the rest is made the initial state.
/// Returns the length of the image, without the magic number.
pub fn find_extended(image: &mut [u8]) -> usize {
    let size = image.len().saturating_sub(FPSTATE_MAGIC_BYTES);
    let word = |at: usize| {
        let mut le = [0; 4];
        for (dst, src) in le.iter_mut().zip(image.iter().skip(at)) {
            *dst = *src;
        }
        u32::from_le_bytes(le)
    };
    let is_extended = word(SW_RESERVED) == FP_XSTATE_MAGIC1
        && word(SW_RESERVED + 16) as usize == size
        && word(size) == FP_XSTATE_MAGIC2;
    if !is_extended && size >= LEGACY_BYTES + HEADER_BYTES {
        const X87_AND_SSE: u8 = 0b11;
        for (i, byte) in image.iter_mut().enumerate().skip(LEGACY_BYTES) {
            *byte = if i == LEGACY_BYTES { X87_AND_SSE } else { 0 };
        }
    }
    size
}

/// Fills `image` with the initial extended state: x87 control word and MXCSR as `fninit` and reset leave them, no component
/// in use.
pub fn init_extended(image: &mut [u8]) {
    const CONTROL_WORD: u16 = 0x37f;
    const MXCSR: u32 = 0x1f80;
    let control = CONTROL_WORD.to_le_bytes();
    let mxcsr = MXCSR.to_le_bytes();
    for (i, byte) in image.iter_mut().enumerate() {
        *byte = match i {
            0..2 => control[i],
            24..28 => mxcsr[i - 24],
            _ => 0,
        };
    }
}
