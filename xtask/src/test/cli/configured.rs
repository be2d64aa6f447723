//! Run-time configuration in a real guest: variables, files, arguments; none of it on a command line.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, ensure};

use super::{Bench, text};
use crate::lab::ANSWER_LIMIT;

/// Erlang that tells what came over: variables, a file and its permissions, the file's folder's, emulator and program flags,
/// the port on which a node is found that was named without epmd in the image.
const ASK: &str = concat!(
    r#"{ok, F} = file:read_file("/root/new/secret.txt"), {ok, I} = file:read_file_info("/root/new/secret.txt"), "#,
    r#"{ok, D} = file:read_file_info("/root"), {port, Port, _} = erl_epmd:port_please("told", "localhost"), "#,
    r#"io:format("told ~0p~n", [{[os:getenv(N) || N <- ["A", "B", "C", "D"]], F, element(8, I) band 8#777, "#,
    r#"element(8, D) band 8#777, erlang:system_info(schedulers_online), init:get_plain_arguments(), "#,
    r#"application:get_env(kernel, x), Port, node()}])."#,
    "\n"
);

pub(super) fn configuration(bench: &Bench<'_>) -> Result<()> {
    let file = |name: &str, bytes: &str| -> Result<String> {
        let path = bench.file(name);
        fs::write(&path, bytes)?;
        Ok(text(&path))
    };
    let vm_args = file(
        "vm.args",
        "# more\n+S 2:1 -sname told\n-env D args -kernel x \"{y, 1}\"\n",
    )?;
    let env_file = file("run.env", "B=tr0ub4dor\nC=\"c\"\n")?;
    let secret = file("secret.txt", "tr0ub4dor file")?;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o440))?;
    let toml = format!(
        "[run]\ncpus = 2\nenv = {{ A = 1 }}\nfiles = {{ \"/root/new/secret.txt\" = {secret:?} }}\n"
    );
    let toml = file("tyn.toml", &toml)?;
    let mut tool = bench
        .lab
        .tyn()
        .args([
            "run",
            "-i",
            "--config",
            &toml,
            "--env-file",
            &env_file,
            "-e",
            "C",
        ])
        .args(["--vm-args", &vm_args])
        .arg(&bench.lab.image)
        .args(["--", "-extra", "plain"])
        .env("C", "tr0ub4dor env")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let told = talk(&mut tool);
    let _ = tool.kill();
    tool.wait()?;
    let (told, line) = told?;
    let want = "told {[\"1\",\"tr0ub4dor\",\"tr0ub4dor env\",\"args\"],<<\"tr0ub4dor file\">>,288,448,1,[\"plain\"],{ok,{y,1}},4370,'told@erlang-http'}";
    ensure!(told.trim_end() == want, "{told}");
    ensure!(line.contains("-initrd"), "QEMU was not found: {line}");
    ensure!(
        !line.contains("tr0ub4dor"),
        "a secret is on QEMU's command line"
    );
    Ok(())
}

/// Asks the shell, and reads QEMU's command line while it runs.
fn talk(tool: &mut Child) -> Result<(String, String)> {
    let mut stdin = tool.stdin.take().context("standard input is a pipe")?;
    let console = BufReader::new(tool.stdout.take().context("standard output is a pipe")?);
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        // Ends with the guest, or with who listens.
        let _ = console
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line));
    });
    stdin.write_all(ASK.as_bytes())?;
    let told = loop {
        let line = lines
            .recv_timeout(ANSWER_LIMIT)
            .context("the guest does not tell")?;
        if let Some(at) = line.find("told {") {
            break line[at..].to_owned();
        }
    };
    let pid = tool.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let qemu = children.split_whitespace().next().unwrap_or("none");
    let command = fs::read(format!("/proc/{qemu}/cmdline")).unwrap_or_default();
    Ok((told, String::from_utf8_lossy(&command).into_owned()))
}
