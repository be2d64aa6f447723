//! Guests in the background: served, logged, stopped by their power button; and the shell of one, left and come back to.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use tyn_vm_host::http;

use super::Bench;
use crate::command::output;
use crate::lab::{ANSWER_LIMIT, GUEST_PORT, STOP_LIMIT, free_ports};
use crate::screen::Screen;

impl Bench<'_> {
    /// Returns the tool, with its state in our folder.
    pub(super) fn with_state(&self) -> Command {
        let mut tyn = self.lab.tyn();
        tyn.env("XDG_STATE_HOME", self.file("state"));
        tyn
    }

    /// Goes to a shell of a guest's node in a terminal, waits for its prompt, and leaves it again.
    fn shell_afar(
        &self,
        name: &str,
        prompt: &str,
        use_it: fn(&Screen) -> Result<()>,
    ) -> Result<()> {
        // Ctrl-C is for the tool, not for the script.
        let script = format!(
            "trap : INT\nbefore=$(stty -g)\nexport XDG_STATE_HOME='{}'\n'{}' shell '{name}'; echo \"left $?\"\n\
             [ \"$(stty -g)\" = \"$before\" ] && echo 'terminal restored'\nsleep 1000\n",
            self.file("state").display(),
            self.lab.tool.display(),
        );
        let screen = Screen::start(&script, 100, 40)?;
        screen.wait_for(prompt)?;
        use_it(&screen)?;
        screen.keys(&["C-d"])?;
        screen.wait_lines("left 0", 1)?;
        screen.wait_lines("terminal restored", 1)
    }

    /// Stops a guest, which must end by itself with exit status 0.
    pub(super) fn stops(&self, name: &str) -> Result<()> {
        let limit = STOP_LIMIT.as_secs().to_string();
        output(self.with_state().args(["stop", name, "--timeout", &limit]))?;
        let listed = output(self.with_state().args(["ps", "-a"]))?;
        let line = listed
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        let line = line.with_context(|| format!("{name} is not listed: {listed}"))?;
        ensure!(line.contains("exited (0)"), "{line}");
        Ok(())
    }
}

pub(super) fn background(bench: &Bench<'_>) -> Result<()> {
    let ports = free_ports(2)?;
    let (Some(&port), Some(&dist)) = (ports.first(), ports.get(1)) else {
        bail!("no free ports");
    };
    let mut run = bench.with_state();
    run.args(["run", "-d", "-p", &format!("{port}:{GUEST_PORT}")]);
    run.args(["-p", &format!("{dist}:{dist}")])
        .arg(&bench.lab.image);
    let dist = dist.to_string();
    let distributed = [
        "-setcookie",
        "tyn-test",
        "-start_epmd",
        "false",
        "-erl_epmd_port",
        &dist,
    ];
    run.args(["--", "-name", "app@127.0.0.1"]).args(distributed);
    let name = output(&mut run)?;
    ensure!(name.trim() == "erlang_http", "it is called {name}");
    let answer = http::wait(port, "/", ANSWER_LIMIT, || false);
    let log = output(bench.with_state().args(["logs", "erlang_http"]));
    let from_afar = bench.shell_afar("erlang_http", "(app@127.0.0.1)1> ", remote_erl);
    // Another node of this machine, through the forwarded port.
    let mut erl = bench.lab.sysroot.erl()?;
    erl.args(["-name", "me@127.0.0.1", "-dist_listen", "false"])
        .args(distributed);
    let told = output(erl.args([
        "-eval",
        "io:write(rpc:call('app@127.0.0.1', erlang, node, [])), halt().",
    ]));
    bench.stops("erlang_http")?;
    let answer = answer.context("it did not answer")?;
    ensure!(answer.status == 200, "status {}", answer.status);
    from_afar?;
    let (log, told) = (log?, told?);
    ensure!(
        log.contains("listening on port 8080"),
        "its log says: {log}"
    );
    ensure!(told.trim() == "'app@127.0.0.1'", "the node says: {told}");
    Ok(())
}

/// Erlang's shell through its distribution: over lines, interrupted, completed, in Unicode.
fn remote_erl(screen: &Screen) -> Result<()> {
    screen.line("X = 6 *")?;
    screen.line("7.")?;
    screen.wait_lines("42", 1)?;
    screen.wait_for("2> ")?;
    screen.line("io:format(\"begun~n\"), timer:sleep(1000000).")?;
    screen.wait_lines("begun", 1)?;
    screen.keys(&["C-c"])?;
    // Behind the `^C` that the terminal shows.
    screen.wait_for("** exception exit: killed")?;
    screen.wait_for("3> ")?;
    screen.text("io:colu")?;
    screen.keys(&["Tab"])?;
    screen.wait_for("io:columns(")?;
    screen.line("), X.")?;
    screen.wait_lines("42", 2)?;
    screen.wait_for("4> ")?;
    screen.line("io:format(\"~ts~n\", [[233,322]]).")?;
    screen.wait_lines("éł", 1)?;
    screen.wait_for("5> ")
}

pub(super) fn shell(bench: &Bench<'_>) -> Result<()> {
    let mut run = bench.with_state();
    run.args(["run", "-d", "-i", "--name", "with-shell"]);
    output(run.arg(&bench.lab.image))?;
    let result = at_the_shell(bench);
    let stopped = bench.stops("with-shell");
    result?;
    stopped
}

fn at_the_shell(bench: &Bench<'_>) -> Result<()> {
    let tool = bench.lab.tool.display().to_string();
    let script = format!(
        "before=$(stty -g)\nexport XDG_STATE_HOME='{}'\n\
         '{tool}' shell with-shell; echo \"left $?\"\n'{tool}' shell with-shell; echo \"code $?\"\n\
         '{tool}' shell '{}'; echo \"again $?\"\n\
         [ \"$(stty -g)\" = \"$before\" ] && echo 'terminal restored'\nsleep 1000\n",
        bench.file("state").display(),
        bench.lab.image.display(),
    );
    let screen = Screen::start(&script, 100, 40)?;
    screen.wait_for("1> ")?;
    screen.line("Kept = 1000.")?;
    screen.wait_lines("1000", 1)?;
    // What is typed before the prompt is echoed elsewhere, on Linux, too.
    screen.wait_for("2> ")?;
    screen.line("{io:columns(), io:rows()}.")?;
    screen.wait_lines("{{ok,100},{ok,40}}", 1)?;
    let second = Screen::start(&format!("{script}\n"), 80, 24)?;
    second.wait_for("somebody is at the guest's console already")?;
    drop(second);
    screen.keys(&["C-]", "d"])?;
    screen.wait_lines("left 0", 1)?;
    // Back at the prompt where it was left.
    screen.wait_for("console; Ctrl-] d leaves it, Ctrl-] ? says more\n3> ")?;
    screen.line("Kept + 234.")?;
    screen.wait_lines("1234", 1)?;
    screen.wait_for("4> ")?;
    screen.keys(&["C-]", "d"])?;
    screen.wait_lines("code 0", 1)?;
    screen.wait_for("Ctrl-] ? says more\n4> ")?;
    screen.line("Kept + 1111.")?;
    screen.wait_lines("2111", 1)?;
    screen.keys(&["C-]", "d"])?;
    screen.wait_lines("again 0", 1)?;
    screen.wait_lines("terminal restored", 1)
}
