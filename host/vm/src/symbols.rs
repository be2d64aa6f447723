//! Names for the return addresses that a kernel panic reports.
//!
//! The kernel prints raw addresses (`panic frame 0xffffffff80201234`, and `panic at` for where a trap happened), so that its
//! panic handler needs no tables and no memory. [`Symbols`] holds the kernel ELF's function symbols on the host and turns such
//! lines into readable ones.

use std::borrow::Cow;

use object::{Object, ObjectSymbol, SymbolKind};
use rustc_demangle::demangle;

/// What precedes an address in a line of a backtrace (without the line's `panic `), and how far before the address to look. A
/// frame has a return address: the call was the instruction before it, which belongs to another function when the call never
/// returns and was the last of its function.
const KINDS: [(&str, u64); 2] = [("frame 0x", 1), ("at 0x", 0)];

/// Why a kernel file has no names to give.
#[derive(Debug, thiserror::Error)]
pub enum SymbolError {
    /// The file is not an ELF file or is damaged.
    #[error("the kernel file cannot be read as ELF: {0}")]
    Elf(#[from] object::Error),
}

/// The functions of a kernel file, by address. A stripped file gives an empty table, which leaves lines as they are.
#[derive(Debug)]
pub struct Symbols {
    /// Sorted by address.
    functions: Vec<Function>,
}

#[derive(Debug)]
struct Function {
    start: u64,
    /// Bytes; 0 where the assembler gave none: the function then reaches to the next one.
    len: u64,
    /// As in the file, mangled.
    name: String,
}

impl Symbols {
    /// Reads the symbol table of a kernel ELF file.
    ///
    /// # Errors
    /// [`SymbolError::Elf`] when `kernel` is not an ELF file.
    pub fn from_elf(kernel: &[u8]) -> Result<Self, SymbolError> {
        let file = object::File::parse(kernel)?;
        let functions = file
            .symbols()
            .filter(|s| {
                // Labels of assembly files have no type; section and file symbols are no code.
                matches!(s.kind(), SymbolKind::Text | SymbolKind::Unknown) && s.is_definition()
            })
            .filter_map(|s| {
                let name = s.name().ok().filter(|n| !n.is_empty())?;
                Some(Function {
                    start: s.address(),
                    len: s.size(),
                    name: name.to_owned(),
                })
            });
        Ok(Self::from_functions(functions.collect()))
    }

    fn from_functions(mut functions: Vec<Function>) -> Self {
        // Among symbols of one address the one with a size comes last, where `name` looks first.
        functions.sort_by(|a, b| (a.start, a.len, &a.name).cmp(&(b.start, b.len, &b.name)));
        Self { functions }
    }

    /// Returns `function+0xoffset` for a code address.
    #[must_use]
    pub fn name(&self, address: u64) -> Option<String> {
        let after = self.functions.partition_point(|f| f.start <= address);
        let function = self.functions.get(after.checked_sub(1)?)?;
        let offset = address - function.start;
        // A symbol without a size ends where the next begins; past the last one nothing is known.
        let is_inside = match function.len {
            0 => after < self.functions.len(),
            len => offset < len,
        };
        // `{:#}` leaves out the hash that the compiler appends.
        is_inside.then(|| format!("{:#}+{offset:#x}", demangle(&function.name)))
    }

    /// Adds the name to the text of a panic line when it is `frame 0xADDRESS` or `at 0xADDRESS`; returns any other text as it
    /// is.
    #[must_use]
    pub fn annotate<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let text = text.trim_end();
        let address = KINDS.iter().find_map(|(kind, back)| {
            let hex = text.strip_prefix(kind)?;
            u64::from_str_radix(hex, 16).ok()?.checked_sub(*back)
        });
        match address.and_then(|a| self.name(a)) {
            Some(name) => Cow::Owned(format!("{text} {name}")),
            None => Cow::Borrowed(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(functions: &[(u64, u64, &str)]) -> Symbols {
        let functions = functions.iter().map(|&(start, len, name)| Function {
            start,
            len,
            name: name.to_owned(),
        });
        Symbols::from_functions(functions.collect())
    }

    #[test]
    fn address_inside_a_function_is_named_and_gaps_are_not() {
        let symbols = table(&[(0x2000, 0x10, "second"), (0x1000, 0x20, "first")]);
        assert_eq!(symbols.name(0x0fff), None);
        assert_eq!(symbols.name(0x1000).as_deref(), Some("first+0x0"));
        assert_eq!(symbols.name(0x101f).as_deref(), Some("first+0x1f"));
        assert_eq!(symbols.name(0x1020), None);
        assert_eq!(symbols.name(0x200f).as_deref(), Some("second+0xf"));
        assert_eq!(symbols.name(u64::MAX), None);
        assert_eq!(table(&[]).name(0x1000), None);
    }

    #[test]
    fn symbol_without_size_reaches_to_the_next() {
        let symbols = table(&[(0x1000, 0, "asm"), (0x1100, 8, "rust"), (0x1200, 0, "last")]);
        assert_eq!(symbols.name(0x10ff).as_deref(), Some("asm+0xff"));
        assert_eq!(symbols.name(0x1108), None);
        assert_eq!(symbols.name(0x1200), None);
    }

    #[test]
    fn sized_symbol_wins_over_a_label_at_the_same_address() {
        let symbols = table(&[(0x1000, 0x10, "function"), (0x1000, 0, "label")]);
        assert_eq!(symbols.name(0x1004).as_deref(), Some("function+0x4"));
    }

    #[test]
    fn rust_names_are_demangled_without_their_hash() {
        let symbols = table(&[(0x1000, 0x10, "_ZN7tyn_hal5power3off17h0123456789abcdefE")]);
        assert_eq!(
            symbols.name(0x1001).as_deref(),
            Some("tyn_hal::power::off+0x1")
        );
    }

    #[test]
    fn frame_lines_get_the_caller_and_others_stay() {
        let symbols = table(&[(0x1000, 0x10, "caller"), (0x1010, 0x10, "next")]);
        // A call that never returns is the last instruction of its function.
        assert_eq!(symbols.annotate("frame 0x1010"), "frame 0x1010 caller+0xf");
        assert_eq!(symbols.annotate("at 0x1010\n"), "at 0x1010 next+0x0");
        for text in [
            "frame 0x0",
            "frame 0x",
            "frame 0x9999",
            "frame",
            "",
            "src/x.rs:1:2: frame 0x1010",
        ] {
            assert_eq!(symbols.annotate(text), text);
        }
    }

    #[test]
    fn own_test_binary_names_its_functions() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let symbols = Symbols::from_elf(&file).unwrap();
        let known = symbols
            .functions
            .iter()
            .find(|f| f.name.contains("own_test_binary") && f.len > 0);
        let known = known.expect("the test binary has symbols");
        assert!(
            symbols
                .name(known.start)
                .unwrap()
                .contains("own_test_binary")
        );
    }

    #[test]
    fn other_bytes_are_an_error() {
        assert!(Symbols::from_elf(b"").is_err());
        assert!(Symbols::from_elf(b"\x7fELF").is_err());
        assert!(Symbols::from_elf(&[0; 4096]).is_err());
    }
}
