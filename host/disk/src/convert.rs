//! Other formats of a raw disk, by `qemu-img`; and how tools are run.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use tyn_scratch::Program;

use crate::{DiskError, io_at};

/// What `qemu-img` makes of a raw disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// QEMU's and OpenStack's.
    Qcow2,
    /// VMware's, packed ("streamOptimized"): what vSphere, VirtualBox and clouds import.
    Vmdk,
}

/// Makes `out`, whole or not at all, of the disk `raw`, with a temporary file beside that.
///
/// # Errors
/// When the tool or writing fails.
pub fn convert(qemu_img: &Path, raw: &Path, target: Target, out: &Path) -> Result<(), DiskError> {
    let new = raw.with_extension("new");
    let mut command = Command::new(qemu_img);
    command.args(["convert", "-f", "raw"]);
    match target {
        Target::Qcow2 => command.args(["-O", "qcow2"]),
        Target::Vmdk => command.args(["-O", "vmdk", "-o", "subformat=streamOptimized"]),
    };
    run(command.args([raw, &new]))?;
    if target == Target::Vmdk {
        fix_content_id(&new)?;
    }
    finish(&new, out)
}

/// Runs a tool to its end.
pub(crate) fn run(command: &mut Command) -> Result<(), DiskError> {
    let tool = Path::new(command.get_program()).to_path_buf();
    let output = Program::output(command).map_err(io_at(&tool))?;
    if output.status.success() {
        return Ok(());
    }
    let tool = tool.file_name().unwrap_or(tool.as_os_str());
    let text = String::from_utf8_lossy(&output.stderr);
    Err(DiskError::Tool {
        tool: tool.to_string_lossy().into_owned(),
        text: text.trim().replace('\n', "; "),
    })
}

/// Gives the finished file `new` its permissions and its name.
pub(crate) fn finish(new: &Path, out: &Path) -> Result<(), DiskError> {
    fs::set_permissions(new, tyn_scratch::public()).map_err(io_at(new))?;
    fs::rename(new, out).map_err(io_at(out))
}

/// Replaces the content identifier of a VMDK file, which `qemu-img` draws by lot: the same disk is the same file.
fn fix_content_id(vmdk: &Path) -> Result<(), DiskError> {
    /// The descriptor, a text, is within the first sectors.
    const HEAD: usize = 64 << 10;
    const KEY: &[u8] = b"\nCID=";
    let file = File::options().read(true).write(true).open(vmdk);
    let file = file.map_err(io_at(vmdk))?;
    let mut head = vec![0; HEAD];
    let length = file.read_at(&mut head, 0).map_err(io_at(vmdk))?;
    head.truncate(length);
    let Some(at) = head.windows(KEY.len()).position(|bytes| bytes == KEY) else {
        return Err(DiskError::Foreign(
            vmdk.to_path_buf(),
            "qemu-img makes; please report its version",
        ));
    };
    file.write_all_at(b"74796e30", (at + KEY.len()) as u64)
        .map_err(io_at(vmdk))
}
