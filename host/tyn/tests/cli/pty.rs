//! A terminal for the tool: both sides of it are ours.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// A terminal.
pub(crate) struct Pty {
    ours: OwnedFd,
    name: String,
}

impl Pty {
    pub(crate) fn new() -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let name = name.into_string().unwrap();
        Self { ours, name }
    }

    /// Opens the side of a program.
    pub(crate) fn open(&self) -> File {
        let mut options = File::options();
        options.read(true).write(true).open(&self.name).unwrap()
    }

    /// Runs a program whose output is the terminal; returns how it ended, and what was to be seen.
    pub(crate) fn run(self, command: &mut Command) -> (ExitStatus, String) {
        command.stdout(self.open()).stderr(self.open());
        let status = command.status().unwrap();
        // Ours are the last ones: without them, reading ends in an error.
        command.stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        let mut bytes = Vec::new();
        // The error that says that nobody writes any more (pty(7)).
        let _ = File::from(self.ours).read_to_end(&mut bytes);
        (status, String::from_utf8(bytes).unwrap())
    }
}
