//! Which file is really run: scripts name their interpreter, dynamic programs their linker.

use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::Errno;
use tyn_elf::script::{self, Parsed};
use tyn_elf::stack::Strings;
use tyn_elf::{ElfError, Header, Image};

use super::file;
use crate::file::{At, OpenFile};
use crate::process::FsContext;

/// Most scripts in a row whose interpreter is a script (`execve(2)`, "Interpreter scripts").
const MAX_SCRIPTS: usize = 4;

/// A program that can be loaded.
#[derive(Debug)]
pub(crate) struct Program {
    /// The path that was asked for (`AT_EXECFN`), also when that is a script.
    pub(crate) name: Vec<u8>,
    /// The executable.
    pub(crate) main: Executable,
    /// The dynamic linker (`PT_INTERP`).
    pub(crate) interpreter: Option<Executable>,
    /// The arguments, with what scripts put in front.
    pub(crate) argv: Strings,
}

/// An open file and its load plan.
#[derive(Debug)]
pub(crate) struct Executable {
    /// The file.
    pub(crate) open: Arc<OpenFile>,
    /// Its load plan.
    pub(crate) image: Image,
}

/// Follows scripts from `open`, known by the path `name`, to an executable, and finds its dynamic linker.
///
/// # Errors
/// As `execve(2)`: `ENOEXEC`, `ELOOP`, `ELIBBAD`, and those of opening files.
pub(crate) fn resolve(
    context: &FsContext,
    open: Arc<OpenFile>,
    name: &[u8],
    mut argv: Strings,
) -> Result<Program, Errno> {
    let mut open = open;
    let mut path = name.to_vec();
    for _ in 0..=MAX_SCRIPTS {
        let mut head = [0; script::HEAD_LEN];
        let len = read(&open, 0, &mut head)?;
        let head = head.get(..len).unwrap_or_default();
        let script = match script::parse(head) {
            Parsed::NotScript => {
                let main = Executable::parse(open, head)?;
                let interpreter = dynamic_linker(context, &main)?;
                return Ok(Program {
                    name: name.to_vec(),
                    main,
                    interpreter,
                    argv,
                });
            }
            Parsed::Bad => return Err(Errno::ENOEXEC),
            Parsed::Script(script) => script,
        };
        argv = script_arguments(&script, &path, &argv)?;
        path = script.interpreter.to_vec();
        open = file::open_executable(context, &path)?;
    }
    Err(Errno::ELOOP)
}

/// Puts the interpreter, its argument and the script's path in the place of the first argument.
fn script_arguments(
    script: &script::Script<'_>,
    path: &[u8],
    argv: &Strings,
) -> Result<Strings, Errno> {
    let mut out = Strings::new();
    out.push(script.interpreter)?;
    if let Some(argument) = script.argument {
        out.push(argument)?;
    }
    out.push(path)?;
    for argument in argv.iter().skip(1) {
        out.push(argument)?;
    }
    Ok(out)
}

/// Opens and checks what `PT_INTERP` names.
fn dynamic_linker(context: &FsContext, main: &Executable) -> Result<Option<Executable>, Errno> {
    let Some((offset, len)) = main.image.interpreter else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(len, 0);
    if read(&main.open, offset, &mut bytes)? != len {
        return Err(Errno::EIO);
    }
    let open = file::open_executable(context, Image::interpreter_path(&bytes)?)?;
    let mut head = [0; Header::SIZE];
    let len = read(&open, 0, &mut head)?;
    let linker = Executable::parse(open, head.get(..len).unwrap_or_default());
    linker.map(Some).map_err(|errno| match errno {
        Errno::ENOEXEC => Errno::ELIBBAD,
        other => other,
    })
}

impl Executable {
    fn parse(open: Arc<OpenFile>, head: &[u8]) -> Result<Self, Errno> {
        let header = Header::parse(head)?;
        let len = header.table_len();
        let mut table = Vec::new();
        table.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
        table.resize(len, 0);
        if read(&open, header.phoff, &mut table)? != len {
            return Err(ElfError::BadProgramHeaders.into());
        }
        let image = Image::parse(&header, &table)?;
        Ok(Self { open, image })
    }
}

/// Reads from the file at `offset`; short only at its end.
fn read(open: &OpenFile, offset: u64, dst: &mut [u8]) -> Result<usize, Errno> {
    let mut done = 0;
    while let Some(mut rest) = dst.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let n = open
            .file
            .read(At::Offset(offset.saturating_add(done as u64)), &mut rest)?;
        if n == 0 {
            break;
        }
        done += n;
    }
    Ok(done)
}
