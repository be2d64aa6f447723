//! Running a suite in a guest.

use std::fs;
use std::io::BufWriter;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tyn_bootfmt::{INIT_PATH, Init};
use tyn_release::tree::{Node, Source, Tree};
use tyn_vm_host::{Config, Console, Vm};
use walkdir::WalkDir;

use super::outcome::Expected;
use super::suites::Selected;
use super::{Options, SKIP, arguments, transcript};
use crate::bench::guests;
use crate::{debian, kernel, lab, paths};

/// Runs a suite; returns its output and how the guest ended.
///
/// # Errors
/// When there is no guest.
pub(super) fn run(
    selected: &Selected,
    expected: &Expected,
    options: &Options,
    root: &Path,
) -> Result<(String, String)> {
    debian::ensure_program("qemu-system-x86_64", "qemu-system-x86")?;
    let image = image(selected, expected, options, root)?;
    let (config, system) = if options.linux_guest {
        let guest = guests::cloud_linux(&image)?;
        fs::remove_file(&image)?;
        let config = Config {
            append: guest.append.to_owned(),
            ..Config::new(&guest.kernel, &guest.initrd)
        };
        (config, "linux-guest")
    } else {
        let kernel = match &options.kernel {
            Some(kernel) => kernel.clone(),
            None => kernel::build()?,
        };
        let config = Config {
            append: if options.trace { "trace" } else { "" }.to_owned(),
            ..Config::new(&kernel, &image)
        };
        (config, "tyn")
    };
    let config = Config {
        cpus: options.cpus,
        memory: lab::mib(options.memory),
        ..config
    };
    let out = transcript(system, selected)?;
    let mut vm = Vm::start(&config, Console::Keep, Box::new(|_| {}))?;
    let end = loop {
        let outcome = vm.wait_for(Duration::from_secs(2))?;
        fs::write(&out, vm.console())?;
        if let Some(outcome) = outcome {
            break format!("the guest ended: {outcome:?}");
        }
        if vm.age() > options.limit() {
            break format!("stopped after {:.0?}", vm.age());
        }
    };
    fs::remove_file(&config.initrd)?;
    let report = vm.report();
    let lines: Vec<String> = report.lines.iter().chain(&report.panic).cloned().collect();
    fs::write(out.with_extension("report"), lines.join("\n"))?;
    Ok((vm.console().replace("\r\n", "\n"), end))
}

/// Makes an image of the tree that runs the suite.
fn image(
    selected: &Selected,
    expected: &Expected,
    options: &Options,
    root: &Path,
) -> Result<PathBuf> {
    let mut tree = Tree::default();
    for entry in WalkDir::new(root).min_depth(1) {
        let entry = entry?;
        let path = Path::new("/").join(entry.path().strip_prefix(root)?);
        let data = entry.metadata()?;
        let mode = data.permissions().mode() & 0o7777;
        let node = if data.is_dir() {
            Node::Dir(mode)
        } else if data.is_symlink() {
            Node::Symlink(fs::read_link(entry.path())?)
        } else {
            Node::File(mode, Source::Path(entry.path().to_path_buf(), data.len()))
        };
        tree.insert(&path, node)
            .with_context(|| format!("{}", path.display()))?;
    }
    let arguments = arguments(selected, options.scale.unwrap_or(10));
    let skip = format!("{SKIP}={}", expected.skip());
    let init = Init {
        args: arguments.iter().map(String::as_bytes).collect(),
        env: vec![skip.as_bytes(), b"PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
        cwd: b"/",
        hostname: b"otp",
        ..Init::default()
    };
    let start = Node::File(0o600, Source::Bytes(init.to_bytes()?));
    tree.insert(Path::new(INIT_PATH), start)?;
    let path = paths::target().join(format!("otp-suite/{}.img", selected.suite));
    let out = BufWriter::new(fs::File::create(&path)?);
    tree.write(out, 0, |_| {})
        .map_err(|(at, error)| anyhow::anyhow!("{}: {error}", at.display()))?;
    Ok(path)
}
