//! `bin/NAME start` of `mix release` (and `start_iex`), with `releases/VSN/elixir` behind it.
//!
//! One thing differs from the script, on purpose: a configuration that is computed at start is written over `sys.config`,
//! for the root file system of a guest is its own.

use super::{Mode, Script, StartError};

pub(super) fn start(script: &mut Script<'_>, mode: Mode) -> Result<(), StartError> {
    let recipe = script.recipe;
    let root = &recipe.root;
    let version = recipe.version_dir();
    let command = match mode {
        Mode::Daemon => "start",
        Mode::Interactive => "start_iex",
    };
    let text = |path: &std::path::Path| path.display().to_string();
    let shell = &mut script.shell;
    shell.export("RELEASE_ROOT", text(root));
    shell.export_default("RELEASE_NAME", recipe.name.as_str());
    shell.export("RELEASE_VSN", recipe.version.as_str());
    shell.export("RELEASE_COMMAND", command);
    shell.export_default("RELEASE_PROG", recipe.name.as_str());
    script.source(&version.join("env.sh"));

    let cookie = script.files.text(&root.join("releases/COOKIE"));
    let cookie = cookie.unwrap_or_default().trim().to_owned();
    let shell = &mut script.shell;
    let cookie = shell.export_default("RELEASE_COOKIE", cookie);
    let code_mode = shell.export_default("RELEASE_MODE", "embedded");
    let name = shell.get("RELEASE_NAME").unwrap_or_default().to_owned();
    let node = shell.export_default("RELEASE_NODE", name);
    shell.export_default("RELEASE_TMP", "/tmp");
    let vm_args = shell.export_default("RELEASE_VM_ARGS", text(&version.join("vm.args")));
    let remote = text(&version.join("remote.vm.args"));
    shell.export_default("RELEASE_REMOTE_VM_ARGS", remote);
    let distribution = shell.export_default("RELEASE_DISTRIBUTION", "sname");
    let boot = shell.export_default("RELEASE_BOOT_SCRIPT", "start");
    shell.export_default("RELEASE_BOOT_SCRIPT_CLEAN", "start_clean");
    let config = shell.export_default("RELEASE_SYS_CONFIG", text(&version.join("sys")));
    let options = shell
        .get("ELIXIR_ERL_OPTIONS")
        .unwrap_or_default()
        .to_owned();

    script.vm_args = vm_args.clone().into();
    script.words("-noshell").words(&options);
    match mode {
        Mode::Daemon => script.words("-s elixir start_cli"),
        // On a terminal.
        Mode::Interactive => script.words("-elixir ansi_enabled true -user elixir"),
    };
    script.words("-mode").word(code_mode);
    if !cookie.is_empty() {
        script.words("-setcookie").word(cookie);
    }
    match distribution.as_str() {
        "none" => {}
        "name" | "sname" => {
            script.word(format!("-{distribution}")).word(node);
        }
        _ => {
            return Err(StartError::Value {
                name: "RELEASE_DISTRIBUTION",
                value: distribution,
                wanted: "name, sname or none",
            });
        }
    }
    script.words("-config").word(config);
    script.words("-boot").path(&version.join(boot));
    script
        .words("-boot_var RELEASE_LIB")
        .path(&root.join("lib"));
    if script.files.read(vm_args.as_ref()).is_some() {
        script.words("-args_file").word(vm_args);
    }
    script.words("-extra --no-halt");
    if mode == Mode::Interactive {
        script.words("+iex");
    }
    script.export_erts();
    Ok(())
}
