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
    let file = File::options().read(true).write(true).open(vmdk);
    let file = file.map_err(io_at(vmdk))?;
    let mut head = vec![0; HEAD];
    let length = file.read_at(&mut head, 0).map_err(io_at(vmdk))?;
    head.truncate(length);
    let Some((at, text)) = with_content_id(&head) else {
        return Err(DiskError::Foreign(
            vmdk.to_path_buf(),
            "qemu-img makes; please report its version",
        ));
    };
    file.write_all_at(&text, at as u64).map_err(io_at(vmdk))
}

/// What to write where in the `head` of a VMDK file for our content identifier (Virtual Disk Format 5.0,
/// "The Header").
///
/// The text goes on behind the identifier, of which `qemu-img` leaves out leading zeros, and ends with zeros up to
/// the end of its sectors; it moves. `None` when that is not what the head holds.
fn with_content_id(head: &[u8]) -> Option<(usize, Vec<u8>)> {
    const KEY: &[u8] = b"\nCID=";
    const OURS: &[u8] = b"74796e30";
    let key = head.windows(KEY.len()).position(|bytes| bytes == KEY)?;
    let at = key + KEY.len();
    let old = head.get(at..)?;
    let digits = old.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let digits = digits.count();
    let end = old.iter().position(|byte| *byte == 0)?;
    let room = old.get(..end + OURS.len().checked_sub(digits)?)?;
    let (text, zeros) = room.split_at(end);
    let fits = zeros.iter().all(|byte| *byte == 0);
    fits.then(|| (at, [OURS, &text[digits..]].concat()))
}

#[cfg(test)]
mod tests {
    use super::with_content_id;

    /// A head with `zeros` behind the descriptor, and one byte that belongs to something else.
    fn head(id: &str, zeros: usize) -> Vec<u8> {
        let text = format!("KDMV\0\nversion=1\nCID={id}\nparentCID=ffffffff\n");
        [text.as_bytes(), &vec![0; zeros], b"x"].concat()
    }

    #[test]
    fn same_whatever_identifier_was_drawn() {
        for id in ["6d0bf323", "c5f4a29", "1"] {
            let mut bytes = head(id, 32);
            let (at, text) = with_content_id(&bytes).expect("a descriptor");
            bytes[at..at + text.len()].copy_from_slice(&text);
            let expected = head("74796e30", 32 + id.len() - 8);
            assert_eq!(bytes, expected, "{id}");
        }
    }

    #[test]
    fn refused_when_there_is_no_room() {
        assert_eq!(with_content_id(&head("1", 6)), None);
        assert_eq!(with_content_id(&head("6d0bf3239", 32)), None);
        assert_eq!(with_content_id(b"no descriptor"), None);
    }
}
