//! A real terminal for tests: tmux, with one program in it.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::command::output;
use crate::debian;

/// How long something may take to appear.
const LIMIT: Duration = Duration::from_secs(90);

/// A terminal; its program ends with it.
#[derive(Debug)]
pub(crate) struct Screen {
    /// Holds tmux's socket and the script.
    dir: TempDir,
}

impl Screen {
    /// Starts a shell script in a terminal of this size.
    ///
    /// # Errors
    /// When tmux can't be had or started.
    pub(crate) fn start(script: &str, columns: u16, rows: u16) -> Result<Self> {
        debian::ensure_program("tmux", "tmux")?;
        let screen = Self {
            dir: tempfile::tempdir()?,
        };
        let file = screen.dir.path().join("script");
        std::fs::write(&file, script)?;
        let mut tmux = screen.tmux();
        // Its own configuration would make the test somebody's own; `-u`: it may be in no UTF-8 locale itself.
        tmux.args(["-f", "/dev/null", "-u", "new-session", "-d"])
            .args(["-x", &columns.to_string(), "-y", &rows.to_string()])
            .arg(format!("sh {}", file.display()))
            .env_remove("TMUX")
            .env("LC_ALL", "C.UTF-8");
        output(&mut tmux)?;
        Ok(screen)
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.dir.path().join("tmux"));
        command
    }

    /// Types text as it is.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn text(&self, text: &str) -> Result<()> {
        output(self.tmux().args(["send-keys", "-l", "--", text])).map(drop)
    }

    /// Presses keys by tmux's names (`Enter`, `Left`, `C-a`).
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn keys(&self, keys: &[&str]) -> Result<()> {
        output(self.tmux().arg("send-keys").args(keys)).map(drop)
    }

    /// Types a line.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn line(&self, text: &str) -> Result<()> {
        self.text(text)?;
        self.keys(&["Enter"])
    }

    /// Gives the terminal another size.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        let (x, y) = (columns.to_string(), rows.to_string());
        output(self.tmux().args(["resize-window", "-x", &x, "-y", &y])).map(drop)
    }

    /// Returns what is to be seen and what was scrolled away, with wrapped lines joined.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn contents(&self) -> Result<String> {
        output(self.tmux().args(["capture-pane", "-p", "-J", "-S", "-"]))
    }

    /// Waits until a line is to be seen that is `wanted`, blanks around it aside, `count` times.
    ///
    /// # Errors
    /// When it does not appear; with what does.
    pub(crate) fn wait_lines(&self, wanted: &str, count: usize) -> Result<()> {
        self.wait(&format!("the line '{wanted}' {count} times"), |text| {
            text.lines().filter(|line| line.trim() == wanted).count() >= count
        })
    }

    /// Waits until `wanted` is to be seen.
    ///
    /// # Errors
    /// When it does not appear; with what does.
    pub(crate) fn wait_for(&self, wanted: &str) -> Result<()> {
        self.wait(wanted, |text| text.contains(wanted))
    }

    fn wait(&self, what: &str, is_there: impl Fn(&str) -> bool) -> Result<()> {
        let start = Instant::now();
        loop {
            let text = self.contents().context("the terminal is gone")?;
            if is_there(&text) {
                return Ok(());
            }
            if start.elapsed() > LIMIT {
                let shown: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
                bail!(
                    "the terminal does not show {what}, but:\n{}",
                    shown.join("\n")
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It has ended by itself when its program has.
        let _ = self.tmux().arg("kill-server").output();
    }
}
