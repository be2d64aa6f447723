//! `docs/tutorial.md`, section 6: what it tells a reader to type makes a cluster of two guests.
//!
//! The commands are taken out of the document. Its Phoenix application needs Hex, so the release is `examples/elixir_http`: another
//! image under the same name, another port in the guest, and ports of this machine that are free.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tyn_vm_host::http;

use super::Tally;
use crate::command::output;
use crate::lab::{ANSWER_LIMIT, GUEST_PORT, Lab, free_ports};
use crate::screen::Screen;
use crate::sysroot;
use crate::{example, paths};

/// The section that is followed.
const SECTION: &str = "## 6. Two nodes";
/// The ports of this machine in it, and the guest's.
const PORTS: [u16; 3] = [4001, 4002, 4370];
const SERVED: u16 = 4000;

/// Follows the tutorial.
pub(super) fn run() -> Result<Tally> {
    let lab = Lab::new()?;
    let mut tally = Tally::default();
    tally.count(
        "two_guests_form_a_cluster_as_the_tutorial_says",
        cluster(&lab),
    );
    Ok(tally)
}

/// A block of the document.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// Whether it is typed; else it is what is seen.
    is_typed: bool,
    text: String,
}

/// Returns the blocks of a section.
fn blocks(document: &str, section: &str) -> Vec<Block> {
    let mut lines = document.lines().skip_while(|line| *line != section).skip(1);
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with("## ") {
            break;
        }
        if let Some(language) = line.strip_prefix("```") {
            let inside: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block {
                is_typed: language == "sh",
                text: inside.join("\n"),
            });
        }
    }
    blocks
}

/// A shell in which the reader types.
struct Reader<'a> {
    lab: &'a Lab,
    dir: &'a TempDir,
}

impl Reader<'_> {
    fn set_up(&self, command: &mut Command) -> Result<()> {
        let tools = self.lab.tool.parent().context("the tool is in a folder")?;
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .current_dir(self.dir.path())
            .env("XDG_STATE_HOME", self.dir.path().join("state"))
            .env("SECRET_KEY_BASE", "not-a-secret")
            .env("PATH", format!("{}:{path}", tools.display()));
        Ok(())
    }

    fn types(&self, text: &str) -> Result<String> {
        let mut shell = Command::new("sh");
        self.set_up(&mut shell)?;
        output(shell.args(["-e", "-c", text]))
    }

    /// Opens a shell of a guest, types what the document shows behind prompts, and expects the answers.
    fn at_shell(&self, command: &str, shown: &str) -> Result<()> {
        let dir = self.dir.path().display();
        let state = self.dir.path().join("state");
        let script = format!(
            "cd '{dir}'\nexport XDG_STATE_HOME='{}' PATH='{}':$PATH\n{command}\necho 'left it'\nsleep 1000\n",
            state.display(),
            self.lab.tool.parent().unwrap_or(Path::new("/")).display(),
        );
        let screen = Screen::start(&script, 120, 40)?;
        let mut lines = shown.lines().peekable();
        while let Some(line) = lines.next() {
            let (prompt, typed) = line.split_once("> ").context("no prompt")?;
            screen.wait_for(&format!("{prompt}>"))?;
            screen.line(typed)?;
            while let Some(answer) = lines.next_if(|line| !line.starts_with("iex(")) {
                screen.wait_lines(answer, 1)?;
            }
        }
        screen.keys(&["C-]", "d"])?;
        screen.wait_lines("left it", 1)
    }
}

fn cluster(lab: &Lab) -> Result<()> {
    let sysroot = sysroot::ensure_kind(sysroot::TRIXIE_ELIXIR)?;
    let release = example::ensure_elixir("elixir_http-1.18", &sysroot)?;
    let dir = tempfile::tempdir()?;
    let mut build = lab.tyn();
    build
        .arg("build")
        .arg(&release)
        .arg("--sysroot")
        .arg(sysroot.dir());
    output(build.arg("--output").arg(dir.path().join("hello.img")))?;
    let mut text = fs::read_to_string(paths::root().join("docs/tutorial.md"))?;
    for (known, free) in PORTS.iter().zip(free_ports(PORTS.len())?) {
        text = text.replace(&known.to_string(), &free.to_string());
    }
    let text = text.replace(&format!(":{SERVED}"), &format!(":{GUEST_PORT}"));
    let blocks = blocks(&text, SECTION);
    let reader = Reader { lab, dir: &dir };
    let result = follow(&reader, &blocks);
    // Whatever went wrong, no guest is left.
    let ended = reader.types("tyn stop --timeout 0 one two; tyn rm --all");
    result?;
    ensure!(ended.is_err(), "the tutorial left guests behind");
    Ok(())
}

fn follow(reader: &Reader<'_>, blocks: &[Block]) -> Result<()> {
    let mut blocks = blocks.iter().peekable();
    let (mut shells, mut answers) = (0, 0);
    while let Some(Block { is_typed, text }) = blocks.next() {
        if !*is_typed {
            continue;
        }
        let (shell, rest): (Vec<&str>, Vec<&str>) = text
            .lines()
            .partition(|line| line.starts_with("tyn shell "));
        let (curl, rest): (Vec<&str>, Vec<&str>) =
            rest.into_iter().partition(|line| line.starts_with("curl "));
        reader.types(&rest.join("\n"))?;
        // A reader is slower than two nodes that start at the same time.
        for port in published(text) {
            let answer = http::wait(port, "/", ANSWER_LIMIT, || false);
            ensure!(answer.is_some(), "nothing serves on port {port}");
        }
        for line in shell {
            let shown = blocks
                .next_if(|block| !block.is_typed)
                .context("nothing is shown")?;
            reader.at_shell(line.split('#').next().unwrap_or(line), &shown.text)?;
            shells += 1;
        }
        for line in curl {
            let port = line
                .split("localhost:")
                .nth(1)
                .and_then(|rest| rest.split('/').next());
            let port = port.and_then(|port| port.parse().ok()).context("no port")?;
            let answer = http::wait(port, "/", ANSWER_LIMIT, || false);
            ensure!(
                answer.is_some_and(|answer| answer.status == 200),
                "'{line}' failed"
            );
            answers += 1;
        }
    }
    ensure!(
        (shells, answers) == (1, 1),
        "the tutorial has {shells} shells and {answers} answers"
    );
    Ok(())
}

/// Returns the ports of this machine that lead to the guests' web servers.
fn published(text: &str) -> Vec<u16> {
    let pairs = text.split_whitespace().filter_map(|w| w.split_once(':'));
    pairs
        .filter(|(_, guest)| guest.parse::<u16>() == Ok(GUEST_PORT))
        .filter_map(|(host, _)| host.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_ports_are_those_of_web_servers() {
        let text = "tyn run -d x.img -p 4001:8080 -p 4370:4370\ntyn run y.img -p 4002:8080";
        assert_eq!(published(text), [4001, 4002]);
        assert!(published("curl http://localhost:8080/").is_empty());
    }

    #[test]
    fn blocks_are_those_of_the_section() {
        let text = "```sh\nno\n```\n## 6. Two nodes\nText.\n```sh\na\nb\n```\n```\nseen\n```\n## 7\n```sh\nno\n```\n";
        let want = [(true, "a\nb"), (false, "seen")].map(|(is_typed, text)| Block {
            is_typed,
            text: text.into(),
        });
        assert_eq!(blocks(text, SECTION), want);
    }
}
