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
    /// The descriptor is within the first sectors.
    const HEAD: usize = 64 << 10;
    let file = File::options().read(true).write(true).open(vmdk);
    let file = file.map_err(io_at(vmdk))?;
    let mut head = vec![0; HEAD];
    let length = file.read_at(&mut head, 0).map_err(io_at(vmdk))?;
    head.truncate(length);
    if set_content_id(&mut head).is_none() {
        return Err(DiskError::Foreign(
            vmdk.to_path_buf(),
            "qemu-img makes; please report its version",
        ));
    }
    file.write_all_at(&head, 0).map_err(io_at(vmdk))
}

/// Sets our content identifier in the `head` of a VMDK file, and nothing but zeros behind the descriptor's text
/// (Virtual Disk Format 5.0, "Hosted Sparse Extents").
///
/// `qemu-img` leaves out the leading zeros of an identifier, so the text moves; and it writes a shorter text over
/// a longer one, of which the end stays. `None` when the head is not such a file's.
fn set_content_id(head: &mut [u8]) -> Option<()> {
    const SECTOR: usize = 512;
    /// `descriptorOffset` and `descriptorSize`, in sectors.
    const OFFSET: usize = 28;
    const SIZE: usize = 36;
    const KEY: &str = "\nCID=";
    let field = |at: usize| {
        let bytes = head.get(at..)?.first_chunk()?;
        usize::try_from(u64::from_le_bytes(*bytes)).ok()
    };
    let (offset, size) = (field(OFFSET)?, field(SIZE)?);
    let (offset, size) = (offset.checked_mul(SECTOR)?, size.checked_mul(SECTOR)?);
    let descriptor = head.get_mut(offset..offset.checked_add(size)?)?;
    let text = descriptor.split(|byte| *byte == 0).next()?;
    let text = str::from_utf8(text).ok()?;
    let (before, after) = text.split_once(KEY)?;
    let (_, after) = after.split_once('\n')?;
    let text = format!("{before}{KEY}74796e30\n{after}");
    let (start, rest) = descriptor.split_at_mut_checked(text.len())?;
    start.copy_from_slice(text.as_bytes());
    rest.fill(0);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::set_content_id;

    /// The head of a disk whose descriptor, of two sectors from the second on, holds `text`; a grain follows.
    fn head(text: &str) -> Vec<u8> {
        let mut head = vec![0; 3 * 512];
        head[28] = 1;
        head[36] = 2;
        head[512..][..text.len()].copy_from_slice(text.as_bytes());
        head.extend(b"grain");
        head
    }

    fn with_id(id: &str) -> String {
        format!("# Disk DescriptorFile\nversion=1\nCID={id}\nparentCID=ffffffff\n")
    }

    #[test]
    fn same_whatever_identifier_was_drawn() {
        for id in ["6d0bf323", "c5f4a29", "1"] {
            let mut bytes = head(&with_id(id));
            set_content_id(&mut bytes).expect("a descriptor");
            assert_eq!(bytes, head(&with_id("74796e30")), "{id}");
        }
    }

    #[test]
    fn end_of_an_earlier_longer_text_is_gone() {
        let mut bytes = head(&(with_id("4260e6") + "\0\n"));
        set_content_id(&mut bytes).expect("a descriptor");
        assert_eq!(bytes, head(&with_id("74796e30")));
    }

    #[test]
    fn refused_when_it_is_no_descriptor_or_full() {
        assert_eq!(set_content_id(&mut head("version=1\n")), None);
        let full = with_id("1") + &"#".repeat(1024 - with_id("1").len());
        assert_eq!(set_content_id(&mut head(&full)), None);
        let mut outside = head(&with_id("1"));
        outside[36] = 3;
        assert_eq!(set_content_id(&mut outside), None);
        outside[28..44].fill(0xff);
        assert_eq!(set_content_id(&mut outside), None);
        assert_eq!(set_content_id(&mut []), None);
    }
}
