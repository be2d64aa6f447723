//! Running programs: `execve(2)`, `execveat(2)`.

use alloc::format;
use alloc::sync::Arc;

use tyn_abi::fs::at;
use tyn_abi::{Errno, Fd, UserVa};
use tyn_elf::stack::{MAX_STRING, Strings, argument_budget};

use crate::cx::{Cx, SysResult};
use crate::exec;
use crate::limits::Resource;
use crate::user_io;

/// `execve(2)`: ELF programs for x86-64 and `#!` scripts.
pub(crate) fn sys_execve(cx: &mut Cx<'_>, path: UserVa, argv: UserVa, envp: UserVa) -> SysResult {
    let path = user_io::read_path(path)?;
    let open = exec::open_executable(&cx.process.fs(), &path)?;
    let (argv, envp) = read_arguments(cx, argv, envp)?;
    exec::execute(cx, open, &path, argv, &envp)
}

/// `execveat(2)`: `AT_EMPTY_PATH`, and paths that are absolute or relative to the working directory; others are `EINVAL`.
pub(crate) fn sys_execveat(
    cx: &mut Cx<'_>,
    dir: Fd,
    path: UserVa,
    argv: UserVa,
    envp: UserVa,
    flags: u32,
) -> SysResult {
    if flags & !(at::AT_EMPTY_PATH | at::AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let path = user_io::read_path(path)?;
    if path.is_empty() && flags & at::AT_EMPTY_PATH != 0 {
        let open = cx.process.files().get(dir)?;
        exec::check_executable(&open)?;
        let name = format!("/dev/fd/{}", dir.0);
        let (argv, envp) = read_arguments(cx, argv, envp)?;
        return exec::execute(cx, Arc::clone(&open), name.as_bytes(), argv, &envp);
    }
    let is_plain = path.starts_with(b"/") || dir.0 == at::AT_FDCWD;
    if !is_plain || flags & at::AT_SYMLINK_NOFOLLOW != 0 {
        cx.trace_unsupported("execveat", u64::from(flags));
        return Err(Errno::EINVAL);
    }
    let open = exec::open_executable(&cx.process.fs(), &path)?;
    let (argv, envp) = read_arguments(cx, argv, envp)?;
    exec::execute(cx, open, &path, argv, &envp)
}

/// Reads arguments and environment within the limit that both have together.
fn read_arguments(cx: &Cx<'_>, argv: UserVa, envp: UserVa) -> Result<(Strings, Strings), Errno> {
    let budget = argument_budget(cx.process.limits.get(Resource::STACK).soft);
    let mut args = read_strings(argv, budget)?;
    if args.count() == 0 {
        // A program may rely on its name being there (as Linux since 5.18).
        args.push(b"")?;
    }
    let rest = budget.checked_sub(args.cost()).ok_or(Errno::E2BIG)?;
    let env = read_strings(envp, rest)?;
    Ok((args, env))
}

/// Reads an array of string pointers that a null pointer ends; a null array is empty.
fn read_strings(array: UserVa, budget: usize) -> Result<Strings, Errno> {
    let mut out = Strings::new();
    let mut at = array;
    while !array.is_null() {
        let string = UserVa(user_io::read_u64(at)?);
        if string.is_null() {
            break;
        }
        let bytes = user_io::read_c_string(string, MAX_STRING).map_err(|errno| match errno {
            Errno::ENAMETOOLONG => Errno::E2BIG,
            other => other,
        })?;
        out.push(&bytes)?;
        if out.cost() > budget {
            return Err(Errno::E2BIG);
        }
        at = at.wrapping_add(8);
    }
    Ok(out)
}
