//! Starts that are one command: systools' `start_erl`, Gleam's `entrypoint.sh`, and modules alone.

use super::{Mode, Script};

/// `start_erl`: the boot file, the configuration and `vm.args` of the version that `start_erl.data` names; with the
/// cookie, where a release has one.
pub(super) fn systools(script: &mut Script<'_>, mode: Mode) {
    let recipe = script.recipe;
    let version = recipe.version_dir();
    let vm_args = version.join("vm.args");
    if mode == Mode::Daemon {
        script.words("-noinput +Bd");
    }
    script.words("-boot").path(&version.join("start"));
    if !recipe.has_own_erts() {
        let libraries = recipe.otp.join("lib");
        script.words("-boot_var SYSTEM_LIB_DIR").path(&libraries);
    }
    let cookie = script.files.text(&recipe.root.join("releases/COOKIE"));
    if let Some(cookie) = cookie.filter(|cookie| !cookie.trim().is_empty()) {
        script.words("-setcookie").word(cookie.trim());
    }
    if script.files.read(&version.join("sys.config")).is_some() {
        script.words("-config").path(&version.join("sys"));
    }
    if script.files.read(&vm_args).is_some() {
        script.words("-args_file").path(&vm_args);
    }
    script.vm_args = vm_args;
    let shell = &mut script.shell;
    shell.export("RELEASE_ROOT", recipe.root.display().to_string());
    shell.export("RELEASE_NAME", recipe.name.as_str());
    shell.export("RELEASE_VSN", recipe.version.as_str());
    script.export_erts();
    // Its boot file looks below the root for all applications: where its own are.
    let applications = script.files.names(&recipe.root.join("lib"));
    if applications.iter().any(|app| app.starts_with("kernel-")) {
        let root = recipe.root.display().to_string();
        script.shell.export("ROOTDIR", root);
    }
}

/// `entrypoint.sh run`, or `shell`.
pub(super) fn shipment(script: &mut Script<'_>, mode: Mode) {
    let recipe = script.recipe;
    let folders = script.files.names(&recipe.root).into_iter();
    let folders = folders.map(|name| recipe.root.join(name).join("ebin"));
    let folders: Vec<_> = folders
        .filter(|ebin| !script.files.names(ebin).is_empty())
        .collect();
    script.words("-pa");
    for ebin in &folders {
        script.path(ebin);
    }
    if mode == Mode::Daemon {
        let main = &recipe.main;
        script
            .words("-eval")
            .word(format!("{main}@@main:run({main})"))
            .words("-noshell -extra");
        script.line.extend(recipe.args.iter().cloned());
    }
    script.export_erts();
}

/// `erl -noinput +Bd -pa DIR -s MODULE`, or a shell in which the module was not started.
pub(super) fn modules(script: &mut Script<'_>, mode: Mode) {
    let recipe = script.recipe;
    if mode == Mode::Daemon {
        script.words("-noinput +Bd");
    }
    script.words("-pa").path(&recipe.root);
    main(script, mode);
}

/// `erl -noinput +Bd -s MODULE FUNCTION` with the applications in `ERL_LIBS`.
pub(super) fn applications(script: &mut Script<'_>, mode: Mode) {
    let libs = script
        .recipe
        .libs
        .iter()
        .map(|dir| dir.display().to_string());
    let given = script
        .shell
        .get("ERL_LIBS")
        .filter(|given| !given.is_empty());
    let libs: Vec<String> = libs.chain(given.map(str::to_owned)).collect();
    script.shell.export("ERL_LIBS", libs.join(":"));
    if mode == Mode::Daemon {
        script.words("-noinput +Bd");
    }
    main(script, mode);
}

fn main(script: &mut Script<'_>, mode: Mode) {
    let recipe = script.recipe;
    if mode == Mode::Daemon {
        script.words("-s");
        script
            .line
            .extend(recipe.main.split(':').map(str::to_owned));
    }
    if !recipe.args.is_empty() {
        script.words("-extra");
        script.line.extend(recipe.args.iter().cloned());
    }
    script.export_erts();
}
