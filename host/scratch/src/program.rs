//! Programs that end with us.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::register::lock;

/// A program that runs; killed when this is dropped, or by [`end`](crate::end). Where we end on signals
/// ([`end_on_signals`](crate::end_on_signals)), what it started itself goes with it.
#[derive(Debug)]
pub struct Program {
    /// For its pipes.
    pub child: Child,
    /// Whether nobody has waited for it yet.
    runs: bool,
    /// Whether it leads a group of its own.
    has_group: bool,
}

impl Program {
    /// Starts one. Where we end on signals it gets none of the terminal's own, so its standard input should not be that.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut register = lock();
        let has_group = register.has_own_groups;
        if has_group {
            command.process_group(0);
        }
        let child = command.spawn()?;
        if has_group {
            register.programs.push(Pid::from_child(&child));
        }
        Ok(Self {
            child,
            runs: true,
            has_group,
        })
    }

    /// Runs one to its end and returns what it wrote; it reads nothing.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn output(command: &mut Command) -> io::Result<Output> {
        command.stdin(Stdio::null());
        Self::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?.finish()
    }

    /// Waits for its end, and returns what it wrote to the pipes that were not taken.
    ///
    /// # Errors
    /// When it can't be waited for.
    pub fn finish(mut self) -> io::Result<Output> {
        let mut errors = self.child.stderr.take();
        let errors = thread::spawn(move || read(errors.as_mut()));
        let stdout = read(self.child.stdout.take().as_mut())?;
        // A panic there has ended us.
        let stderr = errors.join().unwrap_or_else(|_| Ok(Vec::new()))?;
        let status = self.wait()?;
        Ok(Output {
            status,
            stdout,
            stderr,
        })
    }

    fn wait(&mut self) -> io::Result<std::process::ExitStatus> {
        let pid = Pid::from_child(&self.child);
        // Its number stays its own until it is not registered any more.
        waitid(
            WaitId::Pid(pid),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        )?;
        let mut register = lock();
        register.programs.retain(|program| *program != pid);
        self.runs = false;
        self.child.wait()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.runs {
            // It may have ended by itself; nobody waited for it, so the number is still its own.
            let _ = match self.has_group {
                true => kill_process_group(Pid::from_child(&self.child), Signal::KILL)
                    .map_err(io::Error::from),
                false => self.child.kill(),
            };
            let _ = self.wait();
        }
    }
}

fn read(pipe: Option<&mut impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match pipe {
        Some(pipe) => pipe.read_to_end(&mut bytes).map(|_| bytes),
        None => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn both_outputs_are_read_to_their_ends() {
        let script = "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; exit 3";
        let output = Program::output(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!(
            (output.stdout.len(), output.stderr.len()),
            (300_000, 300_000)
        );
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn dropped_program_is_killed() {
        let program = Program::start(Command::new("sleep").arg("600")).unwrap();
        let pid = Pid::from_child(&program.child);
        drop(program);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }

    #[test]
    fn what_a_dropped_program_started_is_killed_where_signals_end_us() {
        crate::register::own_groups();
        let script = "sleep 600 & echo $!; wait";
        let mut command = Command::new("sh");
        let mut program =
            Program::start(command.args(["-c", script]).stdout(Stdio::piped())).unwrap();
        let mut line = String::new();
        let mut output = io::BufReader::new(program.child.stdout.take().unwrap());
        io::BufRead::read_line(&mut output, &mut line).unwrap();
        let started = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
        let started = pidfd_open(started, PidfdFlags::empty()).unwrap();
        drop(program);
        // Not its state in /proc: a killed process is not a zombie yet while its files are closed.
        let limit = Timespec::try_from(Duration::from_secs(60)).unwrap();
        let mut ended = [PollFd::new(&started, PollFlags::IN)];
        assert_eq!(poll(&mut ended, Some(&limit)).unwrap(), 1);
    }
}
