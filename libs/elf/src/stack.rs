//! The initial stack of a program (System V ABI AMD64 3.4.1; Linux's `create_elf_tables`).
//!
//! From the top down: eight zero bytes, the file name (`AT_EXECFN`), environment strings, argument strings, a random
//! gap, the platform string, sixteen random bytes, then 16-byte aligned: auxiliary vector, environment pointers,
//! argument pointers, the argument count, which is where RSP points.

use alloc::vec::Vec;
use tyn_abi::Errno;

/// Longest single argument or environment string, including its NUL (`MAX_ARG_STRLEN`).
pub const MAX_STRING: usize = 32 * 4096;

/// Most bytes of strings and pointers together, whatever the stack limit (three quarters of `_STK_LIM`).
pub const MAX_TOTAL: usize = 6 << 20;

/// Bytes that are always allowed (`ARG_MAX`).
pub const MIN_TOTAL: usize = 131_072;

const PLATFORM: &[u8] = b"x86_64\0";

/// Returns how many bytes arguments and environment (strings and their pointers) may take under a stack limit:
/// a quarter of it, within [`MIN_TOTAL`] and [`MAX_TOTAL`] (`execve(2)`, "Limits on size of arguments").
#[must_use]
pub fn argument_budget(stack_limit: u64) -> usize {
    let quarter = usize::try_from(stack_limit / 4).unwrap_or(usize::MAX);
    quarter.clamp(MIN_TOTAL, MAX_TOTAL)
}

/// Strings in a row, each with its NUL: `argv` or `envp`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    bytes: Vec<u8>,
    count: usize,
}

impl Strings {
    /// Makes an empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            count: 0,
        }
    }

    /// Appends a string (without NUL).
    ///
    /// # Errors
    /// `E2BIG` when it is longer than [`MAX_STRING`], `ENOMEM` when there is no memory for it.
    pub fn push(&mut self, string: &[u8]) -> Result<(), Errno> {
        if string.len() >= MAX_STRING {
            return Err(Errno::E2BIG);
        }
        let more = string.len().saturating_add(1);
        self.bytes.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
        self.bytes.extend_from_slice(string);
        self.bytes.push(0);
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// Returns how many strings there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Returns what the list costs of the [`argument_budget`]: strings and pointers.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.bytes
            .len()
            .saturating_add(self.count.saturating_mul(8))
    }

    /// Returns the strings, without their NULs.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split(|&b| b == 0).take(self.count)
    }
}

/// Facts for the auxiliary vector (`getauxval(3)`). Ids are those of root and `AT_SECURE` is 0: there is one user.
#[derive(Clone, Debug)]
pub struct Auxv {
    /// `AT_PHDR`: address of the program headers, 0 when unknown.
    pub phdr: u64,
    /// `AT_PHNUM`.
    pub phnum: u16,
    /// `AT_BASE`: load address of the interpreter, 0 without one.
    pub base: u64,
    /// `AT_ENTRY`: the program's entry point.
    pub entry: u64,
    /// `AT_HWCAP`.
    pub hwcap: u64,
    /// `AT_HWCAP2`.
    pub hwcap2: u64,
    /// `AT_MINSIGSTKSZ`: bytes a signal frame needs.
    pub min_signal_stack: u64,
    /// `AT_SYSINFO_EHDR`: address of the vDSO.
    pub vdso: Option<u64>,
}

/// What the stack is made of.
#[derive(Debug)]
pub struct Contents<'a> {
    /// Arguments.
    pub argv: &'a Strings,
    /// Environment.
    pub envp: &'a Strings,
    /// The path given to `execve` (`AT_EXECFN`).
    pub file_name: &'a [u8],
    /// Auxiliary vector.
    pub auxv: &'a Auxv,
    /// `AT_RANDOM`.
    pub random: [u8; 16],
    /// Size of the random gap below the strings, in bytes (Linux takes 0 to 8191).
    pub gap: u64,
}

/// A laid-out stack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InitialStack {
    /// Stack pointer at entry; 16-byte aligned.
    pub sp: u64,
    /// The bytes of `[sp, top)`.
    pub bytes: Vec<u8>,
    /// Address of the first argument string (`/proc/PID/cmdline` starts here).
    pub arg_start: u64,
    /// End of the argument strings; the environment strings start here.
    pub arg_end: u64,
    /// End of the environment strings.
    pub env_end: u64,
    /// The auxiliary vector as in memory (`/proc/PID/auxv`).
    pub auxv: Vec<u8>,
}

impl InitialStack {
    /// Lays out the stack below `top` (page-aligned).
    ///
    /// # Errors
    /// `E2BIG` when it would not fit below `top` or [`MAX_TOTAL`] is exceeded; `ENOMEM` when there is no memory for it.
    pub fn build(top: u64, contents: &Contents<'_>) -> Result<Self, Errno> {
        if contents.argv.cost().saturating_add(contents.envp.cost()) > MAX_TOTAL {
            return Err(Errno::E2BIG);
        }
        let below = |at: u64, len: usize| at.checked_sub(len as u64).ok_or(Errno::E2BIG);
        let name_len = contents.file_name.len().saturating_add(1);
        let execfn = below(below(top, 8)?, name_len)?;
        let env_start = below(execfn, contents.envp.bytes.len())?;
        let arg_start = below(env_start, contents.argv.bytes.len())?;
        let gap_end = arg_start.checked_sub(contents.gap).ok_or(Errno::E2BIG)? & !15;
        let platform = below(gap_end, PLATFORM.len())?;
        let random = below(platform, 16)?;

        let auxv = contents.auxv.to_bytes(execfn, platform, random)?;
        let words = contents
            .argv
            .count
            .saturating_add(contents.envp.count)
            .saturating_add(3);
        let table_len = words.saturating_mul(8).saturating_add(auxv.len());
        let sp = below(random & !15, table_len)? & !15;

        let total = top.saturating_sub(sp) as usize;
        let mut out = Writer {
            bytes: Vec::new(),
            base: sp,
        };
        out.bytes
            .try_reserve_exact(total)
            .map_err(|_| Errno::ENOMEM)?;
        out.word(contents.argv.count as u64);
        out.pointers(arg_start, contents.argv);
        out.pointers(env_start, contents.envp);
        out.bytes.extend_from_slice(&auxv);
        out.at(random, &contents.random);
        out.at(platform, PLATFORM);
        out.at(arg_start, &contents.argv.bytes);
        out.at(env_start, &contents.envp.bytes);
        out.at(execfn, contents.file_name);
        out.bytes.resize(total, 0);
        Ok(Self {
            sp,
            bytes: out.bytes,
            arg_start,
            arg_end: env_start,
            env_end: execfn,
            auxv,
        })
    }
}

impl Auxv {
    /// Writes the vector in Linux's order, with its `AT_NULL`.
    ///
    /// # Errors
    /// `ENOMEM`.
    fn to_bytes(&self, execfn: u64, platform: u64, random: u64) -> Result<Vec<u8>, Errno> {
        const PAGE_SIZE: u64 = 4096;
        const CLOCK_TICKS: u64 = 100;
        let entries = [
            (51, self.min_signal_stack),
            (16, self.hwcap),
            (6, PAGE_SIZE),
            (17, CLOCK_TICKS),
            (3, self.phdr),
            (4, crate::Header::PHENT as u64),
            (5, u64::from(self.phnum)),
            (7, self.base),
            (8, 0),
            (9, self.entry),
            (11, 0),
            (12, 0),
            (13, 0),
            (14, 0),
            (23, 0),
            (25, random),
            (26, self.hwcap2),
            (31, execfn),
            (15, platform),
            (0, 0),
        ];
        let vdso = self.vdso.map(|va| (33, va));
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(entries.len().saturating_add(1).saturating_mul(16))
            .map_err(|_| Errno::ENOMEM)?;
        for (tag, value) in vdso.into_iter().chain(entries) {
            let tag: u64 = tag;
            bytes.extend_from_slice(&tag.to_le_bytes());
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        Ok(bytes)
    }
}

/// Writes at rising addresses, zeros in between.
struct Writer {
    bytes: Vec<u8>,
    base: u64,
}

impl Writer {
    fn word(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn at(&mut self, va: u64, bytes: &[u8]) {
        self.bytes.resize(va.saturating_sub(self.base) as usize, 0);
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes the addresses of the strings that lie in a row from `first`, and a null pointer.
    fn pointers(&mut self, first: u64, strings: &Strings) {
        let mut va = first;
        for string in strings.iter() {
            self.word(va);
            va = va.saturating_add(string.len() as u64).saturating_add(1);
        }
        self.word(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOP: u64 = 0x7fff_f000_0000;

    fn strings(list: &[&[u8]]) -> Strings {
        let mut s = Strings::new();
        for item in list {
            s.push(item).unwrap();
        }
        s
    }

    fn auxv() -> Auxv {
        Auxv {
            phdr: 0x5000_0040,
            phnum: 13,
            base: 0x7f00_0000_0000,
            entry: 0x5000_1234,
            hwcap: 0xbfeb_fbff,
            hwcap2: 2,
            min_signal_stack: 3632,
            vdso: None,
        }
    }

    /// Reads the stack as a program would.
    struct View<'a>(&'a InitialStack);

    impl View<'_> {
        fn word(&self, va: u64) -> u64 {
            let at = (va - self.0.sp) as usize;
            u64::from_le_bytes(self.0.bytes[at..at + 8].try_into().unwrap())
        }

        fn string(&self, va: u64) -> &[u8] {
            self.0.bytes[(va - self.0.sp) as usize..]
                .split(|&b| b == 0)
                .next()
                .unwrap()
        }

        fn list(&self, mut va: u64) -> (Vec<&[u8]>, u64) {
            let mut out = Vec::new();
            while self.word(va) != 0 {
                out.push(self.string(self.word(va)));
                va += 8;
            }
            (out, va + 8)
        }

        fn aux(&self, tag: u64) -> Option<u64> {
            let (_, env) = self.list(self.0.sp + 8);
            let (_, mut va) = self.list(env);
            loop {
                match self.word(va) {
                    t if t == tag => return Some(self.word(va + 8)),
                    0 => return None,
                    _ => va += 16,
                }
            }
        }
    }

    fn check(argv: &Strings, envp: &Strings, gap: u64) -> InitialStack {
        let aux = auxv();
        let stack = InitialStack::build(
            TOP,
            &Contents {
                argv,
                envp,
                file_name: b"/bin/true",
                auxv: &aux,
                random: [7; 16],
                gap,
            },
        )
        .unwrap();
        assert_eq!(stack.sp % 16, 0);
        assert_eq!(stack.bytes.len() as u64, TOP - stack.sp);
        assert!(stack.bytes.ends_with(&[0; 8]));
        let view = View(&stack);
        assert_eq!(view.word(stack.sp), argv.count() as u64);
        let (args, env_at) = view.list(stack.sp + 8);
        assert!(args.into_iter().eq(argv.iter()));
        let (envs, aux_at) = view.list(env_at);
        assert!(envs.into_iter().eq(envp.iter()));
        let at = (aux_at - stack.sp) as usize;
        assert!(stack.bytes[at..].starts_with(&stack.auxv));
        assert_eq!(view.string(view.aux(31).unwrap()), b"/bin/true");
        assert_eq!(view.string(view.aux(15).unwrap()), b"x86_64");
        let random = (view.aux(25).unwrap() - stack.sp) as usize;
        assert_eq!(stack.bytes[random..random + 16], [7; 16]);
        assert_eq!(
            stack.arg_end - stack.arg_start,
            argv.iter().map(|s| s.len() as u64 + 1).sum()
        );
        stack
    }

    #[test]
    fn a_program_finds_its_arguments_environment_and_auxv() {
        let stack = check(
            &strings(&[b"true", b"", b"-x"]),
            &strings(&[b"A=1", b"B="]),
            4095,
        );
        let view = View(&stack);
        for (tag, value) in [
            (3, 0x5000_0040),
            (4, 56),
            (5, 13),
            (6, 4096),
            (7, 0x7f00_0000_0000),
            (8, 0),
            (9, 0x5000_1234),
            (11, 0),
            (16, 0xbfeb_fbff),
            (17, 100),
            (23, 0),
            (26, 2),
            (51, 3632),
        ] {
            assert_eq!(view.aux(tag), Some(value), "AT_{tag}");
        }
        assert_eq!(view.aux(33), None);
    }

    #[test]
    fn vdso_is_announced_when_there_is_one() {
        let aux = Auxv {
            vdso: Some(0x7fff_1000),
            ..auxv()
        };
        let (argv, envp) = (strings(&[b"x"]), Strings::new());
        let contents = Contents {
            argv: &argv,
            envp: &envp,
            file_name: b"x",
            auxv: &aux,
            random: [0; 16],
            gap: 0,
        };
        let stack = InitialStack::build(TOP, &contents).unwrap();
        assert_eq!(View(&stack).aux(33), Some(0x7fff_1000));
    }

    #[test]
    fn no_arguments_at_all_is_laid_out() {
        check(&Strings::new(), &Strings::new(), 0);
    }

    #[test]
    fn too_long_is_e2big() {
        let mut s = Strings::new();
        assert_eq!(s.push(&alloc::vec![b'a'; MAX_STRING]), Err(Errno::E2BIG));
        let long = alloc::vec![b'a'; MAX_STRING - 1];
        for _ in 0..48 {
            s.push(&long).unwrap();
        }
        let aux = auxv();
        let envp = Strings::new();
        let contents = Contents {
            argv: &s,
            envp: &envp,
            file_name: b"x",
            auxv: &aux,
            random: [0; 16],
            gap: 0,
        };
        assert_eq!(InitialStack::build(TOP, &contents), Err(Errno::E2BIG));
        let argv = strings(&[b"x"]);
        let contents = Contents {
            argv: &argv,
            ..contents
        };
        assert_eq!(InitialStack::build(64, &contents), Err(Errno::E2BIG));
    }

    #[test]
    fn budget_is_a_quarter_of_the_stack_within_bounds() {
        assert_eq!(argument_budget(8 << 20), 2 << 20);
        assert_eq!(argument_budget(0), MIN_TOTAL);
        assert_eq!(argument_budget(u64::MAX), MAX_TOTAL);
    }

    proptest! {
        #[test]
        fn any_strings_come_back(
            argv in proptest::collection::vec(proptest::collection::vec(1u8.., 0..40), 0..8),
            envp in proptest::collection::vec(proptest::collection::vec(1u8.., 0..40), 0..8),
            gap in 0u64..8192,
        ) {
            let list = |v: &Vec<Vec<u8>>| {
                let refs: Vec<&[u8]> = v.iter().map(Vec::as_slice).collect();
                strings(&refs)
            };
            check(&list(&argv), &list(&envp), gap);
        }
    }
}
