//! `bin/NAME foreground` (and `console`) of rebar3 and relx: the script that they call extended.
//!
//! Hooks are not run; what the script needs for its other commands (the node's name, for instance) is left out.

use std::path::{Path, PathBuf};

use super::{Mode, Script};
use crate::shell::Shell;

pub(super) fn start(script: &mut Script<'_>, mode: Mode) {
    let recipe = script.recipe;
    let root = recipe.root.clone();
    let version = recipe.version_dir();
    let program = root.join("bin").join(&recipe.name);
    let text = |path: &Path| path.display().to_string();
    let erts = recipe.erts_bin();
    let erts = erts.parent().unwrap_or(&root);
    let shell = &mut script.shell;
    for (name, value) in [
        ("REL_NAME", recipe.name.clone()),
        ("RELEASE_NAME", recipe.name.clone()),
        ("RELEASE_VSN", recipe.version.clone()),
        ("RELEASE_PROG", text(&program)),
        ("ROOTDIR", text(&root)),
        ("BINDIR", text(&erts.join("bin"))),
        ("EMU", "beam".into()),
        ("PROGNAME", text(&program).trim_start_matches('/').into()),
        ("RUN_ERL_DISABLE_FLOWCNTRL", "true".into()),
        ("RELX_RPC_TIMEOUT", "60".into()),
    ] {
        shell.export(name, value);
    }
    shell.export_default("ESCRIPT_NAME", text(&program));
    shell.export_default("TERM", "screen");
    let path = shell.get("LD_LIBRARY_PATH").unwrap_or_default().to_owned();
    shell.export(
        "LD_LIBRARY_PATH",
        format!("{}:{path}", text(&erts.join("lib"))),
    );
    let vm_args = own_or_given(script, "VMARGS_PATH", "vm.args");
    let vm_args = replaced(script, &vm_args);
    let config = own_or_given(script, "RELX_CONFIG_PATH", "sys.config");
    let config = replaced(script, &config);
    script.vm_args = vm_args.clone();

    if mode == Mode::Daemon {
        script.words("-noinput +Bd");
    }
    let named = version.join(format!("{}.boot", recipe.name));
    let boot = match script.files.read(&named) {
        Some(_) => named.with_extension(""),
        None => version.join("start"),
    };
    let code_mode = script.shell.get("CODE_LOADING_MODE");
    let code_mode = code_mode.filter(|mode| !mode.is_empty());
    let code_mode = code_mode.unwrap_or("embedded").to_owned();
    let system_libraries = recipe.otp.join("lib");
    script.words("-boot").path(&boot);
    script.words("-mode").word(code_mode);
    script
        .words("-boot_var SYSTEM_LIB_DIR")
        .path(&system_libraries);
    script.words("-config").path(&config);
    script.words("-args_file").path(&vm_args);
    distribution_port(script, &vm_args);
    // The script's own command is among the arguments that it passes on.
    let command = match mode {
        Mode::Daemon => "foreground",
        Mode::Interactive => "console",
    };
    script.words("--").words(command);
}

/// Returns the file that a variable names, else the one in the release's root, else that of its version.
fn own_or_given(script: &Script<'_>, variable: &str, name: &str) -> PathBuf {
    let given = script.shell.get(variable).filter(|given| !given.is_empty());
    if let Some(given) = given {
        return script.recipe.root.join(given);
    }
    let in_root = script.recipe.root.join(name);
    match script.files.read(&in_root) {
        Some(_) => in_root,
        None => script.recipe.version_dir().join(name),
    }
}

/// Writes a file with its variables replaced where relx does that: `NAME.src` always, `NAME` (or `NAME.orig`) when
/// `RELX_REPLACE_OS_VARS` is set. Returns the file to use.
fn replaced(script: &mut Script<'_>, path: &Path) -> PathBuf {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let is_set = |name: &str| script.shell.get(name).is_some_and(|v| !v.is_empty());
    let source = script.files.text(&beside(".src"));
    let original = script.files.text(&beside(".orig"));
    let text = match (source, is_set("RELX_REPLACE_OS_VARS")) {
        (Some(source), _) => {
            warn_of_unset(script, &beside(".src"), &source);
            replace(&source, &script.shell)
        }
        (None, true) => {
            let text = original.or_else(|| script.files.text(path));
            replace(&text.unwrap_or_default(), &script.shell)
        }
        (None, false) => match original {
            Some(original) => original,
            None => return path.to_path_buf(),
        },
    };
    script.written.push((path.to_path_buf(), text.into_bytes()));
    path.to_path_buf()
}

/// Says which variables of a file have no value, of those that have no other.
fn warn_of_unset(script: &mut Script<'_>, path: &Path, text: &str) {
    let mut names: Vec<&str> = text
        .split("${")
        .skip(1)
        .filter_map(|rest| rest.split_once('}').map(|(inside, _)| inside))
        .filter(|inside| !inside.contains(":-"))
        .filter(|name| environment(&script.shell, name).is_none())
        .collect();
    names.sort_unstable();
    names.dedup();
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    script.unset.extend(names.iter().cloned());
    for name in names {
        script.warnings.push(format!(
            "{}: ${{{name}}} has no value yet; give it one by `tyn run -e {name}=…`",
            path.display()
        ));
    }
}

/// Replaces `${NAME}` and `${NAME:-VALUE}`, what is put in included; an unset variable is empty.
fn replace(text: &str, shell: &Shell) -> String {
    let lines = text.split_inclusive('\n');
    lines.map(|line| replace_line(line, shell)).collect()
}

fn replace_line(line: &str, shell: &Shell) -> String {
    /// A variable that contains itself would go on for ever.
    const MOST: usize = 1000;
    let mut line = line.to_owned();
    for _ in 0..MOST {
        let Some(from) = line.find("${") else { break };
        let Some(length) = line[from..].find('}') else {
            break;
        };
        let inside = line[from + 2..from + length].to_owned();
        let (name, default) = inside.split_once(":-").unwrap_or((&inside, ""));
        let value = environment(shell, name).filter(|value| !value.is_empty());
        line = line.replace(&format!("${{{inside}}}"), value.unwrap_or(default));
    }
    line
}

fn environment<'a>(shell: &'a Shell, name: &str) -> Option<&'a str> {
    let mut all = shell.environment();
    all.find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

/// `ERL_DIST_PORT` makes the node listen there, without epmd.
fn distribution_port(script: &mut Script<'_>, vm_args: &Path) {
    let port = script.shell.get("ERL_DIST_PORT").unwrap_or_default();
    if port.is_empty() {
        return;
    }
    let port = port.to_owned();
    let written = script.written.iter().find(|(path, _)| path == vm_args);
    let text = match written {
        Some((_, bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        None => script.files.text(vm_args).unwrap_or_default(),
    };
    script.words("-erl_epmd_port").word(port);
    if !text.lines().any(|line| line.starts_with("-start_epmd")) {
        script.words("-start_epmd false");
    }
}
