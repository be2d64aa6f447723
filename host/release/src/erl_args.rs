//! From arguments of `erl` (as in `vm.args`) to arguments of `beam.smp`: what `erlexec` does, done when the image is built.
//!
//! `erl` arguments come in three kinds: `+` flags of the emulator, which `beam.smp` wants first and with `-`; flags and
//! plain arguments of the Erlang program, which come after `--`; and what follows `-extra`, last. Some flags exist for
//! `erlexec` alone (`-env`, `-args_file`). Reference: erl(1), and `erlexec -emu_args_exit`, with which `erlexec_tests` compares.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

/// What `beam.smp` gets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ErlArgs {
    /// Flags of the emulator, `-` in front.
    pub emulator: Vec<String>,
    /// Flags and arguments of the program, in order, with `-extra` and its followers.
    pub program: Vec<String>,
    /// Environment variables set by `-env`, in order.
    pub env: Vec<(String, String)>,
    /// Whether the node gets a name and `erlexec` would start epmd.
    pub wants_epmd: bool,
    /// Whether the emulator will start `heart`.
    pub wants_heart: bool,
}

/// Arguments that can't be followed.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// A flag is the last word but has a value.
    #[error("{0} lacks its value; add it")]
    NoValue(String),
    /// A flag has a value that it can't have.
    #[error("{0} can't have the value '{1}'; see erl(1)")]
    BadValue(String, String),
    /// A flag that has no meaning in an image.
    #[error("{0} makes no sense in an image; remove it")]
    Senseless(String),
    /// An arguments file can't be read.
    #[error("the arguments file {} can't be read: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Arguments files include each other too deeply.
    #[error("-args_file {} is included too deeply; remove the circle", .0.display())]
    Circle(PathBuf),
}

/// Reads an arguments file of the given name.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// Ends the words of one origin (a file, the command line), so that none is taken as the value of another's flag.
const SEPARATOR: &str = "--";
/// Nesting of arguments files that is followed.
const MAX_DEPTH: usize = 16;

/// Arguments from the environment (`ERL_AFLAGS`, `ERL_FLAGS`, `ERL_ZFLAGS`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Flags {
    /// Those in front of the others.
    pub before: String,
    /// Those behind.
    pub after: String,
    /// Those behind everything.
    pub last: String,
}

/// Translates arguments of `erl`.
///
/// # Errors
/// [`ArgsError`] for the first argument that can't be followed.
pub fn translate(args: &[String], read: ReadFile<'_>) -> Result<ErlArgs, ArgsError> {
    translate_with(args, &Flags::default(), read)
}

/// Translates arguments of `erl`, and those that its environment adds.
///
/// # Errors
/// [`ArgsError`] for the first argument that can't be followed.
pub fn translate_with(
    args: &[String],
    flags: &Flags,
    read: ReadFile<'_>,
) -> Result<ErlArgs, ArgsError> {
    let mut words = Words {
        read,
        plain: Vec::new(),
        extra: Vec::new(),
    };
    words.expand(ended(split(&flags.before, false)), 0)?;
    words.expand(args.to_vec(), 0)?;
    words.plain.push(SEPARATOR.into());
    words.expand(ended(split(&flags.after, false)), 0)?;
    words.expand(ended(split(&flags.last, false)), 0)?;
    let mut out = sort(words.plain.into())?;
    if !words.extra.is_empty() {
        out.program.push("-extra".into());
        out.program.extend(words.extra);
    }
    Ok(out)
}

/// Ends the words of a file or variable; those with `-extra` end by it.
fn ended(mut words: Vec<String>) -> Vec<String> {
    if !words.is_empty() && !words.iter().any(|word| word == "-extra") {
        words.push(SEPARATOR.into());
    }
    words
}

/// All words, those behind `-extra` apart.
struct Words<'a> {
    read: ReadFile<'a>,
    plain: Vec<String>,
    extra: Vec<String>,
}

impl Words<'_> {
    /// Adds the words of one origin, `-args_file FILE` replaced by the words of the file.
    fn expand(&mut self, args: Vec<String>, depth: usize) -> Result<(), ArgsError> {
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "-args_file" => {
                    let path = PathBuf::from(args.next().ok_or(ArgsError::NoValue(arg))?);
                    if depth == MAX_DEPTH {
                        return Err(ArgsError::Circle(path));
                    }
                    let text = (self.read)(&path);
                    let text = text.map_err(|error| ArgsError::File { path, error })?;
                    self.expand(ended(words(&text)), depth + 1)?;
                }
                "-extra" => {
                    self.extra.extend(args.by_ref());
                    if depth == 0 {
                        self.plain.push(SEPARATOR.into());
                    }
                }
                _ => self.plain.push(arg),
            }
        }
        Ok(())
    }
}

/// Splits an arguments file into words: blanks separate, quotes and backslashes join, `#` begins a comment, even
/// directly behind a word.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    split(text, true)
}

/// Splits text as [`words`] does; in a variable, `#` is a letter like others.
fn split(text: &str, has_comments: bool) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\r' | '\t' | '\x0b' | '\x0c' | ' ' => words.extend(word.take()),
            '#' if has_comments => {
                words.extend(word.take());
                let _ = chars.by_ref().find(|&c| c == '\n');
            }
            '"' | '\'' => word
                .get_or_insert_default()
                .extend(chars.by_ref().take_while(|&d| d != c)),
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// How many words a `+` flag takes.
enum Value {
    /// It stands alone.
    None,
    /// The next word is its value, be it a flag.
    Next,
    /// The next word is its value, and no flag.
    NextPlain,
    /// The next word is its value if it is one of these.
    OneOf(&'static [&'static str]),
}

/// Sorts words into emulator flags and the program's.
fn sort(mut args: VecDeque<String>) -> Result<ErlArgs, ArgsError> {
    let mut out = ErlArgs::default();
    let mut has_name = false;
    let mut is_without_epmd = false;
    while let Some(arg) = args.pop_front() {
        if let Some(flag) = arg.strip_prefix('+') {
            let value = emulator_value(flag, &arg, args.front())?;
            out.emulator.push(format!("-{flag}"));
            out.emulator
                .extend(value.then(|| args.pop_front()).flatten());
            continue;
        }
        let mut value = || {
            args.pop_front()
                .filter(|word| word != SEPARATOR)
                .ok_or_else(|| ArgsError::NoValue(arg.clone()))
        };
        match arg.as_str() {
            "-env" => out.env.push((value()?, value()?)),
            "-epmd" => drop(value()?),
            "-noinput" | "-detached" => out.program.extend(["-noshell".into(), "-noinput".into()]),
            "-emu_args" | "-keep_window" => {}
            "-version" => out.emulator.push("-V".into()),
            "-name" | "-sname" => {
                has_name = true;
                let name = value()?;
                out.program.extend([arg, name]);
            }
            "-start_epmd" => {
                let value = value()?;
                is_without_epmd = match value.as_str() {
                    "true" => false,
                    "false" => true,
                    _ => return Err(ArgsError::BadValue(arg, value)),
                };
                out.program.extend([arg, value]);
            }
            "-no_epmd" => {
                is_without_epmd = true;
                out.program.push(arg);
            }
            "-compile"
            | "-make"
            | "-man"
            | "-emu_args_exit"
            | "-emu_name_exit"
            | "-emu_qouted_cmd_exit" => return Err(ArgsError::Senseless(arg)),
            "-heart" => {
                out.wants_heart = true;
                out.program.push(arg);
            }
            _ => out.program.push(arg),
        }
    }
    out.wants_epmd = has_name && !is_without_epmd;
    Ok(out)
}

/// Returns whether the word behind the flag `+FLAG` is its value.
fn emulator_value(flag: &str, arg: &str, next: Option<&String>) -> Result<bool, ArgsError> {
    let is_flag = |word: &String| word.starts_with(['-', '+']);
    match flag_kind(flag, arg)? {
        Value::None => Ok(false),
        Value::Next if next.is_some_and(|n| n != SEPARATOR) => Ok(true),
        Value::NextPlain if next.is_some_and(|n| !is_flag(n)) => Ok(true),
        Value::Next | Value::NextPlain => Err(ArgsError::NoValue(arg.into())),
        Value::OneOf(words) => Ok(next.is_some_and(|n| words.contains(&n.as_str()))),
    }
}

/// Letters of the memory allocators, and those of their settings that have a value (erts_alloc(3)).
const ALLOCATORS: &str = "uBIDEFHLRSTZ";
const ALLOCATOR_SETTINGS: &[&str] = &[
    "as", "asbcst", "atags", "acul", "acnl", "acfml", "acful", "cp", "e", "t", "lmbcs", "mbcgs",
    "mbsd", "mmbcs", "mmmbc", "mmsbc", "msbclt", "ramv", "rmbcmt", "rsbcmt", "rsbcst", "sbct",
    "smbcs",
];
const MEMORY_SETTINGS: &[&str] = &[
    "ea", "ummc", "uycs", "usac", "im", "is", "lpm", "Mamcbf", "Mrmcbf", "Mmcs", "Mscs", "Mscrfsd",
    "Msco", "Mscrpm", "Ye", "Ym", "Ytp", "Ytt", "Iscs", "Xscs",
];
const SCHEDULER_SETTINGS: &[&str] = &[
    "bt", "bwtdcpu", "bwtdio", "bwt", "cl", "ct", "ecio", "fwi", "tbt", "wct", "wtdcpu", "wtdio",
    "wt", "ws", "ss", "ssdcpu", "ssdio", "pp", "ub",
];
const HEAP_SETTINGS: &[&str] = &[
    "ms", "mbs", "pds", "max", "maxk", "maxel", "maxib", "mqd", "",
];

/// Says which `+` flags have their value in the next word (erl(1), "Emulator Flags").
fn flag_kind(flag: &str, arg: &str) -> Result<Value, ArgsError> {
    let mut letters = flag.chars();
    let first = letters.next().unwrap_or(' ');
    let rest = letters.as_str();
    let plain_if = |is_one| {
        if is_one {
            Value::NextPlain
        } else {
            Value::None
        }
    };
    Ok(match first {
        'a' | 'A' | 'C' | 'e' | 'i' | 'n' | 'P' | 'Q' | 't' | 'T' | 'R' | 'W' | 'K'
            if rest.is_empty() =>
        {
            Value::Next
        }
        'I' if ["Ot", "Op", "OPt", "OPp"].contains(&rest) => Value::Next,
        'S' if ["", "P", "Dcpu", "DPcpu", "Dio"].contains(&rest) => Value::Next,
        'p' if rest == "c" => Value::Next,
        'J' => Value::Next,
        'B' if rest.is_empty() => Value::OneOf(&["i"]),
        'B' if !rest.starts_with(['i', 'c', 'd']) => {
            return Err(ArgsError::BadValue("+B".into(), rest.into()));
        }
        'I' if !rest.starts_with('O') => return Err(ArgsError::Senseless(arg.into())),
        'c' if rest.is_empty() => Value::OneOf(&["true", "false"]),
        'M' => {
            let is_allocator = rest.starts_with(|c| ALLOCATORS.contains(c))
                && ALLOCATOR_SETTINGS.contains(&rest.get(1..).unwrap_or(""));
            plain_if(is_allocator || MEMORY_SETTINGS.contains(&rest))
        }
        'h' => plain_if(HEAP_SETTINGS.contains(&rest)),
        'r' => plain_if(rest == "g"),
        's' => plain_if(SCHEDULER_SETTINGS.contains(&rest)),
        'z' => plain_if(["dbbl", "dntgc", "ebwt", "osrl", "hft"].contains(&rest)),
        _ => Value::None,
    })
}

#[cfg(test)]
mod erlexec_tests;
#[cfg(test)]
mod tests;
