//! Tests of `tyn run -i` in a real terminal: Erlang's shell as on Linux, and our terminal as before on every way out.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tyn_vm_host::Machine;

use super::Tally;
use crate::lab::Lab;
use crate::screen::Screen;

/// Runs all tests of the console.
pub(super) fn run() -> Result<Tally> {
    let lab = Lab::new()?;
    let mut tally = Tally::default();
    tally.count("shell_edits_completes_breaks_and_quits", shell(&lab));
    for (machine, more) in [(Machine::Pc, ""), (Machine::Microvm, "--with-parent")] {
        let name = format!("window_size_reaches_the_guest_on_{machine}{more}");
        tally.count(&name, window(&lab, machine, more));
    }
    tally.count("escape_key_stops_the_guest", escape(&lab));
    tally.count(
        "terminal_is_restored_when_the_guest_is_killed",
        killed(&lab),
    );
    tally.count("terminal_is_restored_when_nothing_boots", refused(&lab));
    tally.count("input_from_a_pipe_is_typed", piped(&lab));
    Ok(tally)
}

/// Size of the terminals.
const COLUMNS: u16 = 100;
const ROWS: u16 = 40;

/// Returns a script that runs the tool with `arguments` and says how it ended and what became of the terminal.
pub(super) fn script(lab: &Lab, image: &Path, arguments: &str) -> String {
    // As Erlang starts programs: of a session to which the terminal sends no signals.
    let starter = match arguments.contains("--with-parent") {
        true => "setsid --wait",
        false => "",
    };
    format!(
        "before=$(stty -g)\n{starter} '{}' run -i '{}' {arguments}\necho \"code $?\"\n\
         [ \"$(stty -g)\" = \"$before\" ] && echo 'terminal restored' || stty -a\nsleep 1000\n",
        lab.tool.display(),
        image.display(),
    )
}

fn start(lab: &Lab, arguments: &str) -> Result<Screen> {
    let screen = Screen::start(&script(lab, &lab.image, arguments), COLUMNS, ROWS)?;
    screen.wait_for("1> ")?;
    Ok(screen)
}

/// Expects the tool to end so, and the terminal to be as before.
pub(super) fn ended(screen: &Screen, code: u8) -> Result<()> {
    screen.wait_for(&format!("code {code}"))?;
    screen.wait_lines("terminal restored", 1)
}

fn shell(lab: &Lab) -> Result<()> {
    let screen = start(lab, "--cpus 2")?;
    // Within the line, and at both its ends.
    screen.text("Number = 13.")?;
    screen.keys(&["Left", "Left", "7", "Enter"])?;
    screen.wait_lines("173", 1)?;
    screen.text("= 45x")?;
    screen.keys(&["BSpace", "C-a"])?;
    screen.text("Other ")?;
    screen.keys(&["C-e", ".", "Enter"])?;
    screen.wait_lines("45", 1)?;
    // The line before the last, again. One key at a time: Erlang's shell drops what comes while it looks for a line, on
    // Linux, too.
    screen.keys(&["Up"])?;
    screen.wait_lines("3> Other = 45.", 1)?;
    screen.keys(&["Up"])?;
    screen.wait_lines("3> Number = 173.", 1)?;
    screen.keys(&["Enter"])?;
    screen.wait_lines("173", 2)?;
    screen.text("io:colu")?;
    screen.keys(&["Tab"])?;
    screen.wait_for("io:columns(")?;
    screen.line(").")?;
    screen.wait_lines(&format!("{{ok,{COLUMNS}}}"), 1)?;
    screen.line(r#"io:format("~ts~n", [[$h | "éłłö 日本"]])."#)?;
    screen.wait_lines("héłłö 日本", 1)?;
    resized(&screen)?;
    screen.keys(&["C-c"])?;
    screen.wait_for("BREAK: (a)bort")?;
    screen.line("c")?;
    screen.keys(&["C-g"])?;
    screen.wait_for("User switch command")?;
    screen.line("s")?;
    // Its echo first: the prompt that it was typed at looks like the next one.
    screen.wait_for("--> s")?;
    screen.wait_lines("-->", 1)?;
    screen.line("c")?;
    screen.wait_lines("1>", 1)?;
    screen.line("lists:sum([1000, 234]).")?;
    screen.wait_lines("1234", 1)?;
    screen.line("q().")?;
    ended(&screen, 0)
}

/// The shell learns of another size of the window.
fn resized(screen: &Screen) -> Result<()> {
    screen.resize(COLUMNS - 13, ROWS - 7)?;
    let want = format!("{{{{ok,{}}},{{ok,{}}}}}", ROWS - 7, COLUMNS - 13);
    // It asks until the size is there.
    let ask = "(fun F() -> case {io:rows(), io:columns()} of";
    screen.line(&format!(
        "{ask} {want} -> seen; _ -> timer:sleep(50), F() end end)()."
    ))?;
    screen.wait_lines("seen", 1)
}

fn window(lab: &Lab, machine: Machine, more: &str) -> Result<()> {
    let screen = start(lab, &format!("--machine {machine} {more}"))?;
    screen.line("io:columns().")?;
    screen.wait_lines(&format!("{{ok,{COLUMNS}}}"), 1)?;
    resized(&screen)?;
    screen.line("q().")?;
    ended(&screen, 0)
}

fn escape(lab: &Lab) -> Result<()> {
    let screen = start(lab, "")?;
    screen.keys(&["C-]", "?"])?;
    screen.wait_for("Ctrl-] x stops the guest")?;
    screen.keys(&["C-]", "x"])?;
    screen.wait_for("tyn: stopping the guest")?;
    ended(&screen, 0)
}

fn killed(lab: &Lab) -> Result<()> {
    let screen = start(lab, "")?;
    // A shell that does not stop: its process is stuck in a function.
    screen.line("os:set_signal(sigterm, ignore).")?;
    screen.wait_lines("ok", 1)?;
    screen.keys(&["C-]", "x"])?;
    screen.wait_for("tyn: stopping the guest")?;
    screen.keys(&["C-]", "x"])?;
    ended(&screen, 137)
}

fn refused(lab: &Lab) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let image = dir.path().join("none.img");
    let screen = Screen::start(&script(lab, &image, ""), COLUMNS, ROWS)?;
    screen.wait_for("none.img can't be read")?;
    ended(&screen, 125)
}

/// Without a terminal of our own the guest has one all the same; the end of our input is the key for it.
fn piped(lab: &Lab) -> Result<()> {
    use std::io::Write;
    use std::process::Stdio;
    let mut tool = lab
        .tyn()
        .args(["run", "-i"])
        .arg(&lab.image)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = tool.stdin.take().context("standard input is a pipe")?;
    stdin.write_all(b"io:format(\"sum ~p~n\", [lists:seq(1, 3)]).\nhalt(7).\n")?;
    drop(stdin);
    let output = tool.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        text.contains("sum [1,2,3]") && output.status.code() == Some(7),
        "{}: {text}",
        output.status
    );
    Ok(())
}
