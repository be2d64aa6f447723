//! Running other programs, with errors that say which and why.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use tyn_scratch::Program;

/// Runs a command whose output the user sees.
///
/// # Errors
/// When it can't be started or fails.
pub fn run(command: &mut Command) -> Result<()> {
    let name = describe(command);
    let status = command
        .status()
        .with_context(|| format!("'{name}' can't be started"))?;
    if !status.success() {
        bail!("'{name}' failed: {status}");
    }
    Ok(())
}

/// Runs a command and returns what it wrote to its standard output.
///
/// # Errors
/// When it can't be started or fails; with what it wrote to its standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let name = describe(command);
    let output = Program::output(command).with_context(|| format!("'{name}' can't be started"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let stdout = String::from_utf8_lossy(&output.stdout);
        if let Some(errors) = apt_errors(&stderr) {
            bail!("'{name}' failed ({}): {errors}", output.status);
        }
        bail!(
            "'{name}' failed: {}\n{}{}",
            output.status,
            stdout.trim(),
            stderr.trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns what apt calls errors among all it says about its progress; in one line.
fn apt_errors(stderr: &str) -> Option<String> {
    let errors: Vec<&str> = stderr
        .lines()
        .filter_map(|line| line.strip_prefix("E: "))
        .map(str::trim)
        .collect();
    (!errors.is_empty()).then(|| errors.join("; "))
}

/// Returns whether a program of this name is in the PATH.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Returns whether we run as root, so that packages can be installed.
#[must_use]
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // The owner of our own entry in /proc is our effective user.
    Path::new("/proc/self")
        .metadata()
        .is_ok_and(|m| m.uid() == 0)
}

/// Returns the command's program and first arguments, for messages; without apt's many settings.
fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default();
    let mut words = vec![program.to_string_lossy()];
    let mut args = command.get_args().map(OsStr::to_string_lossy);
    while let Some(word) = args.next() {
        if program == "apt-get" && word == "-o" {
            let _ = args.next();
        } else {
            words.push(word);
        }
    }
    let shown = words.len().min(6);
    let dots = if words.len() > shown { " …" } else { "" };
    words[..shown].join(" ") + dots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_says_is_told_in_one_line() {
        let mut apt = Command::new("/usr/bin/apt-get");
        apt.args(["-q", "-o", "Dir::State=/x", "-o", "A=b", "update"]);
        assert_eq!(describe(&apt), "apt-get -q update");
        let said = "Err:2 x\nE: Failed to fetch x\nE: Some index files failed\n";
        let want = "Failed to fetch x; Some index files failed";
        assert_eq!(apt_errors(said).as_deref(), Some(want));
        assert_eq!(apt_errors("W: x\n"), None);
        let script = "echo progress; echo 'E: no mirror' >&2; exit 100";
        let error = output(Command::new("sh").args(["-c", script])).unwrap_err();
        let want = format!("'sh -c {script}' failed (exit status: 100): no mirror");
        assert_eq!(error.to_string(), want);
    }
}
