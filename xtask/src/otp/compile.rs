//! Compiling OTP's suites, by the sysroot's Erlang and this machine's C compiler, without root's rights.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use walkdir::WalkDir;

use super::suites::{Area, Selected};
use crate::command::output;
use crate::sysroot::Sysroot;
use crate::{debian, paths};

/// What the C programs are to know of the system, as `configure` would have found it.
const DEFS: &str = "-D_GNU_SOURCE -DHAVE_POLL_H -DHAVE_UNISTD_H -DHAVE_STRERROR";

/// Changed when what is done here changes.
const VERSION: &str = "2";

/// Compiles what is missing or out of date of what the suites need.
///
/// # Errors
/// What doesn't compile.
pub(super) fn ensure(
    sysroot: &Sysroot,
    source: &Path,
    root: &Path,
    suites: &[Selected],
) -> Result<()> {
    let compiler = Compiler::new(sysroot, source, root)?;
    compiler.runner()?;
    for selected in suites {
        compiler.shared(selected.area)?;
        compiler.suite(selected)?;
    }
    Ok(())
}

struct Compiler<'a> {
    source: &'a Path,
    root: &'a Path,
    /// Folder with `erlc`.
    bin: PathBuf,
}

impl<'a> Compiler<'a> {
    fn new(sysroot: &Sysroot, source: &'a Path, root: &'a Path) -> Result<Self> {
        let bin = root.with_file_name("bin");
        fs::create_dir_all(&bin)?;
        let mut erl = sysroot.erl()?;
        erl.args(["-s", "erl_compile", "compile_cmdline", "-extra"]);
        let libs = root.join("usr/lib/erlang/lib");
        let mut script = format!("#!/bin/sh\nexport ERL_LIBS='{}'\n", libs.display());
        for (name, value) in erl.get_envs() {
            let value = value.unwrap_or_default();
            script += &format!("export {}='{}'\n", name.display(), value.display());
        }
        script += &format!("exec '{}'", erl.get_program().display());
        for argument in erl.get_args() {
            script += &format!(" '{}'", argument.display());
        }
        let erlc = bin.join("erlc");
        fs::write(&erlc, script + " \"$@\"\n")?;
        fs::set_permissions(&erlc, fs::Permissions::from_mode(0o755))?;
        Ok(Self { source, root, bin })
    }

    fn erlc(&self) -> Command {
        Command::new(self.bin.join("erlc"))
    }

    /// Puts the runner into the tree.
    fn runner(&self) -> Result<()> {
        let from = paths::root().join("tests/otp");
        let to = self.root.join("otp/runner");
        fs::create_dir_all(&to)?;
        let script = to.join("run.sh");
        fs::copy(from.join("run.sh"), &script)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        let mut modules = Vec::new();
        for entry in fs::read_dir(&from)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "erl") {
                modules.push(path);
            }
        }
        // Shared by suites of several parts of OTP.
        modules.push(self.source.join("lib/stdlib/test/error_info_lib.erl"));
        modules.push(self.patient_peer()?);
        output(self.erlc().arg("-o").arg(&to).args(modules))?;
        Ok(())
    }

    /// Returns the source of OTP's `peer` with longer limits: other nodes take more than its 15 seconds to start (of which
    /// suites make 5), and 60 to connect, where instructions are translated and processors shared.
    fn patient_peer(&self) -> Result<PathBuf> {
        let mut text = fs::read_to_string(self.source.join("lib/stdlib/src/peer.erl"))?;
        for (name, limit) in [("WAIT_BOOT", 15000), ("ACCEPT", 60000)] {
            let found = format!("-define ({name}_TIMEOUT, {limit}).");
            ensure!(text.contains(&found), "peer.erl has another limit");
            text = text.replace(&found, &format!("-define ({name}_TIMEOUT, 180000)."));
        }
        let asked = "maps:get(wait_boot, Options, ?WAIT_BOOT_TIMEOUT)";
        ensure!(
            text.contains(asked),
            "peer.erl asks elsewhere for the limit"
        );
        // What is no number is greater.
        text = text.replace(asked, &format!("max(?WAIT_BOOT_TIMEOUT, {asked})"));
        let path = self.bin.join("peer.erl");
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Compiles the modules that the suites of one part of OTP share; what was compiled with older ones goes.
    fn shared(&self, area: &Area) -> Result<()> {
        let to = self.folder(area);
        let stamp = to.with_extension("stamp");
        if fs::read_to_string(&stamp).is_ok_and(|found| found == VERSION) {
            return Ok(());
        }
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        fs::create_dir_all(&to)?;
        eprintln!("compiling what the suites of {} share", area.name);
        self.modules(area, |name| !name.contains("_SUITE"))?;
        fs::write(&stamp, VERSION)?;
        Ok(())
    }

    /// Compiles a suite: its modules, and what is in its data folders.
    fn suite(&self, selected: &Selected) -> Result<()> {
        let to = self.folder(selected.area);
        let stamp = to.join(format!("{}.stamp", selected.suite));
        if stamp.exists() {
            return Ok(());
        }
        eprintln!("compiling {}", selected.name());
        let prefix = format!("{}_SUITE", selected.suite);
        for entry in fs::read_dir(self.source.join(selected.area.source))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && name.starts_with(&prefix) && name.ends_with("_SUITE_data") {
                copy(&path, &to.join(&*name))?;
                self.neighbours(selected.area, &to.join(&*name))?;
                self.data(&to.join(&*name))?;
            }
        }
        self.modules(selected.area, |name| name.starts_with(&prefix))?;
        fs::write(&stamp, "")?;
        Ok(())
    }

    /// Returns where the suites of one part of OTP are in the tree.
    fn folder(&self, area: &Area) -> PathBuf {
        self.root.join(area.folder().trim_start_matches('/'))
    }

    /// Copies and compiles the modules whose file names are wanted.
    fn modules(&self, area: &Area, is_wanted: impl Fn(&str) -> bool) -> Result<()> {
        let to = self.folder(area);
        let mut modules = Vec::new();
        for entry in fs::read_dir(self.source.join(area.source))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_module = name.ends_with(".erl");
            if is_wanted(&name) && (is_module || name.ends_with(".hrl")) {
                fs::copy(&path, to.join(&*name))?;
                if is_module {
                    modules.push(to.join(&*name));
                }
            }
        }
        modules.sort();
        output(
            self.erlc()
                .current_dir(&to)
                .args(["+debug_info", "+no_error_module_mismatch", "-W0", "-I"])
                // Where `include_lib` of sources leads.
                .arg(self.source.join("lib"))
                .args(["-I", "."])
                .args(modules),
        )
        .with_context(|| format!("suites of {} don't compile", area.name))?;
        Ok(())
    }

    /// Copies the data folders of other suites whose sources the makefile of this one names.
    fn neighbours(&self, area: &Area, folder: &Path) -> Result<()> {
        let makefile = folder.join("Makefile.src");
        if !makefile.exists() {
            return Ok(());
        }
        let rules = fs::read_to_string(makefile)?;
        let words = rules.split(|c: char| c.is_whitespace() || c == '/');
        for name in words.filter(|word| word.ends_with("_SUITE_data")) {
            let (from, to) = (
                self.source.join(area.source).join(name),
                self.folder(area).join(name),
            );
            if from.is_dir() && !to.exists() {
                copy(&from, &to)?;
            }
        }
        Ok(())
    }

    /// Makes the C programs, drivers and NIFs of a suite's data folder.
    fn data(&self, folder: &Path) -> Result<()> {
        debian::ensure_program("gcc", "gcc")?;
        debian::ensure_program("make", "make")?;
        let path = std::env::var("PATH").unwrap_or_default();
        for entry in WalkDir::new(folder) {
            let path_of = entry?.into_path();
            if !path_of.ends_with("Makefile.src") {
                continue;
            }
            let dir = path_of.parent().unwrap_or(folder);
            let rules = fs::read_to_string(&path_of)?;
            fs::write(dir.join("Makefile"), self.substitute(&rules)?)?;
            output(
                Command::new("make")
                    .current_dir(dir)
                    .env("PATH", format!("{}:{path}", self.bin.display())),
            )
            .with_context(|| format!("{}", dir.display()))?;
        }
        Ok(())
    }

    /// Fills in a makefile as OTP's `configure` does.
    fn substitute(&self, rules: &str) -> Result<String> {
        let otp = self.root.join("usr/lib/erlang");
        let include = otp.join("usr/include").display().to_string();
        let mut ei = None;
        for entry in fs::read_dir(otp.join("lib"))? {
            let path = entry?.path();
            if path.to_string_lossy().contains("/erl_interface-") {
                ei = Some(path.display().to_string());
            }
        }
        let ei = ei.context("erl_interface is not among the packages")?;
        let values = BTreeMap::from([
            ("CC", "gcc".to_owned()),
            ("LD", "gcc".to_owned()),
            ("CFLAGS", format!("-O1 -w -fPIC -pthread -I{include}")),
            ("EI_CFLAGS", "-O1 -w -pthread".to_owned()),
            ("SHLIB_CFLAGS", format!("-O1 -w -fPIC -pthread -I{include}")),
            ("CROSSLDFLAGS", "-Wl,--allow-shlib-undefined".to_owned()),
            ("DEFS", DEFS.to_owned()),
            ("LIBS", "-lm -lpthread -ldl".to_owned()),
            ("EMULATOR", "beam".to_owned()),
            ("WSL", String::new()),
            ("erl_include", include.clone()),
            ("erl_interface_include", format!("{ei}/include")),
            ("erl_interface_eilib", format!("{ei}/lib/libei.a")),
            ("erl_interface_sock_libs", String::new()),
            // libei.a was compiled for the tree's C library, which may be newer than this machine's.
            (
                "erl_interface_threadlib",
                self.root
                    .join("usr/lib/x86_64-linux-gnu/libc.so.6")
                    .display()
                    .to_string(),
            ),
            ("erl_interface_mk_include", "/dev/null".to_owned()),
            ("exe", String::new()),
            ("obj", ".o".to_owned()),
            ("dll", ".so".to_owned()),
            ("SHLIB_RULES", shared_library_rules(&include)),
        ]);
        let mut text = rules.replace("@erl_name@ -compile port_test", "erlc port_test.erl");
        for (name, value) in values {
            text = text.replace(&format!("@{name}@"), &value);
        }
        Ok(text)
    }
}

/// How a driver or a NIF is made of one source file.
fn shared_library_rules(include: &str) -> String {
    format!(
        "%.so: %.c\n\t\
         gcc -O1 -w -fPIC -pthread $(SHLIB_EXTRA_CFLAGS) -I{include} {DEFS} \
         -shared -o $@ $< $(SHLIB_EXTRA_LDLIBS)\n\
         %.o: %.c\n\tgcc -O1 -w -fPIC -pthread -I{include} -c -o $@ $<\n"
    )
}

/// Copies a folder with what is in it, in place of what is there; everything becomes writable.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    for entry in WalkDir::new(from) {
        let entry = entry?;
        let target = to.join(entry.path().strip_prefix(from)?);
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target)?;
        } else if entry.file_type().is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
