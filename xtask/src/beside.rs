//! An Erlang module beside the example: an archive behind the example's image holds it and another start description.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tyn_bootfmt::{INIT_PATH, Init};
use tyn_fs::cpio::Entries;
use tyn_release::cpio::Writer;

use crate::command::output;
use crate::{paths, sysroot};

/// Folder of the module in the guest.
const BEAMS: &str = "/beside";

/// Compiles the module in the file `source` and returns an image named `name` that starts its `main/0` beside the example.
///
/// # Errors
/// When it doesn't compile, or the example's image makes no sense.
pub(crate) fn image(example: &Path, source: &Path, name: &str) -> Result<PathBuf> {
    let out = paths::target().join("beside");
    fs::create_dir_all(&out)?;
    let module = source.file_stem().unwrap_or_default().to_string_lossy();
    let compile = format!(
        "{{ok, _}} = compile:file({:?}, [deterministic, warnings_as_errors, report, {{outdir, {:?}}}]), halt().",
        source.display().to_string(),
        out.display().to_string()
    );
    let mut erl = sysroot::ensure()?.erl()?;
    erl.args(["-eval", &compile]);
    output(&mut erl).with_context(|| format!("{module} can't be compiled"))?;
    let mut bytes = fs::read(example)?;
    let start = start_description(&bytes)?.to_vec();
    let init = Init::parse(&start).map_err(|bad| anyhow::anyhow!("the start description {bad}"))?;
    let more = ["-pa", BEAMS, "-s", &module, "main"].map(str::as_bytes);
    let init = Init {
        args: [init.args, more.to_vec()].concat(),
        ..init
    };
    let mut writer = Writer::new(Vec::new(), 0);
    writer.dir(Path::new(BEAMS), 0o755)?;
    let file = format!("{module}.beam");
    let beam = fs::read(out.join(&file))?;
    let files = [
        (Path::new(BEAMS).join(&file), beam),
        (PathBuf::from(INIT_PATH), init.to_bytes()?),
    ];
    for (path, contents) in files {
        let len = contents.len() as u64;
        writer.file(&path, 0o644, len, &mut contents.as_slice())?;
    }
    bytes.extend(writer.finish()?.0);
    let image = out.join(format!("{name}.img"));
    fs::write(&image, bytes)?;
    Ok(image)
}

/// Returns the start description in an image.
fn start_description(image: &[u8]) -> Result<&[u8]> {
    let name = INIT_PATH.trim_start_matches('/').as_bytes();
    for entry in Entries::new(image) {
        let entry = entry.map_err(|error| anyhow::anyhow!("the example's image: {error}"))?;
        if entry.name == name {
            return Ok(entry.data);
        }
    }
    anyhow::bail!("the example's image has no start description")
}
