//! GRUB: found on this machine, built with our few commands inside, and put where firmware starts it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::esp::{IMAGE, KERNEL};
use crate::{DiskError, SECTOR, convert, io_at};

/// What GRUB must know to load us besides the medium: searching, the protocol.
const MODULES: [&str; 3] = ["search_fs_file", "multiboot2", "boot"];

/// What GRUB starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Medium {
    /// A disk with a GPT.
    Disk,
    /// An ISO 9660 disc.
    OpticalDisc,
}

impl Medium {
    /// GRUB's modules that read it.
    fn modules(self) -> &'static [&'static str] {
        match self {
            Self::Disk => &["part_gpt", "fat"],
            Self::OpticalDisc => &["iso9660"],
        }
    }

    /// GRUB's name for what BIOS machines load from it.
    fn bios_format(self) -> &'static str {
        match self {
            Self::Disk => "i386-pc",
            Self::OpticalDisc => "i386-pc-eltorito",
        }
    }
}

/// GRUB as it is installed.
#[derive(Clone, Debug)]
pub struct Grub {
    mkimage: PathBuf,
    lib: PathBuf,
}

/// What was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The first sector of a disk for BIOS machines.
    pub boot: Vec<u8>,
    /// What that loads; what BIOS machines load from an optical disc.
    pub core: Vec<u8>,
    /// The program for UEFI machines.
    pub efi: Vec<u8>,
}

impl Grub {
    /// Finds GRUB below the root of a Debian system (`/` is this machine).
    ///
    /// # Errors
    /// [`DiskError::NoGrub`]: what of it is missing.
    pub fn find(root: &Path) -> Result<Self, DiskError> {
        let grub = Self {
            mkimage: root.join("usr/bin/grub-mkimage"),
            lib: root.join("usr/lib/grub"),
        };
        let parts = [
            grub.mkimage.clone(),
            grub.lib.join("i386-pc/boot.img"),
            grub.lib.join("x86_64-efi/multiboot2.mod"),
        ];
        match parts.iter().find(|part| !part.is_file()) {
            Some(missing) => Err(DiskError::NoGrub {
                what: missing.display().to_string(),
            }),
            None => Ok(grub),
        }
    }

    /// Builds both loaders, with temporary files below `folder`; the kernel gets `options`.
    ///
    /// # Errors
    /// When an option can't be written down, or GRUB's tool fails.
    pub fn build(&self, options: &str, folder: &Path, medium: Medium) -> Result<Built, DiskError> {
        let dir = tyn_scratch::Dir::new_in(folder).map_err(io_at(folder))?;
        let config = dir.path().join("grub.cfg");
        fs::write(&config, commands(options)?).map_err(io_at(&config))?;
        let boot = self.lib.join("i386-pc/boot.img");
        let sector = fs::read(&boot).map_err(io_at(&boot))?;
        if sector.len() as u64 != SECTOR || !sector.ends_with(&[0x55, 0xaa]) {
            let what = "GRUB 2 installs on a disk; reinstall grub-pc-bin";
            return Err(DiskError::Foreign(boot, what));
        }
        let build = |platform: &str, format: &str, more: &[&str]| {
            let out = dir.path().join(format);
            let mut mkimage = Command::new(&self.mkimage);
            mkimage.arg("--directory").arg(self.lib.join(platform));
            mkimage.args(["--format", format]);
            mkimage.arg("--config").arg(&config);
            mkimage.arg("--output").arg(&out);
            mkimage.args(["--prefix", "/boot/grub"]);
            mkimage.args(medium.modules()).args(MODULES).args(more);
            convert::run(&mut mkimage)?;
            fs::read(&out).map_err(io_at(&out))
        };
        Ok(Built {
            boot: sector,
            core: build("i386-pc", medium.bios_format(), &["biosdisk"])?,
            efi: build("x86_64-efi", "x86_64-efi", &[])?,
        })
    }
}

/// Returns the commands that load kernel and image, and start them.
fn commands(options: &str) -> Result<String, DiskError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".,:/@=_-".contains(c);
    if let Some(bad) = options
        .split_whitespace()
        .find(|word| !word.chars().all(is_plain))
    {
        return Err(DiskError::Option(bad.to_owned()));
    }
    Ok(format!(
        "search.file {KERNEL} root\nmultiboot2 {KERNEL} {options}\nmodule2 {IMAGE}\nboot\n"
    ))
}

/// Returns the first sector, which loads the core image from the sector `core`.
#[must_use]
pub fn boot_sector(boot: &[u8], core: u64) -> [u8; SECTOR as usize] {
    // `GRUB_BOOT_MACHINE_KERNEL_SECTOR` and `GRUB_BOOT_MACHINE_DRIVE_CHECK` in GRUB's include/grub/i386/pc/boot.h; the latter
    // skips a check that is for floppies only.
    const KERNEL_SECTOR: usize = 0x5c;
    const DRIVE_CHECK: usize = 0x66;
    let mut sector = [0; SECTOR as usize];
    for (to, from) in sector.iter_mut().zip(boot) {
        *to = *from;
    }
    sector[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&core.to_le_bytes());
    sector[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);
    sector
}

/// Returns the core image, told where it lies: from the sector `core`.
#[must_use]
pub fn core_image(image: &[u8], core: u64) -> Vec<u8> {
    // `struct grub_pc_bios_boot_blocklist` at the end of its first sector: start, length, and a segment that is right already.
    const LIST: usize = SECTOR as usize - 12;
    let mut image = image.to_vec();
    image.resize(image.len().next_multiple_of(SECTOR as usize), 0);
    let rest = (image.len() / SECTOR as usize).saturating_sub(1);
    if let Some(list) = image.get_mut(LIST..LIST + 10) {
        list[..8].copy_from_slice(&(core + 1).to_le_bytes());
        list[8..].copy_from_slice(&u16::try_from(rest).unwrap_or(u16::MAX).to_le_bytes());
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_words_that_grub_reads_as_they_are() {
        let text = commands(" trace  ip=10.0.2.15/24,10.0.2.2").unwrap();
        assert!(text.contains("\nmultiboot2 /tyn/kernel  trace  ip=10.0.2.15/24,10.0.2.2\nmodule2 /tyn/app.img\nboot\n"));
        for bad in ["a;b", "$x", "'", "a{", "é"] {
            let error = commands(bad).unwrap_err().to_string();
            assert!(error.contains(&format!("'{bad}'")), "{error}");
        }
    }

    #[test]
    fn places_are_written_into_the_loaders() {
        let sector = boot_sector(&[0x11; 512], 2048);
        assert_eq!(&sector[0x5b..0x65], &[0x11, 0, 8, 0, 0, 0, 0, 0, 0, 0x11]);
        let core = core_image(&[0x22; 1500], 2048);
        assert_eq!(core.len(), 1536);
        assert_eq!(
            &core[499..512],
            &[0x22, 1, 8, 0, 0, 0, 0, 0, 0, 2, 0, 0x22, 0x22]
        );
    }

    #[test]
    fn missing_grub_is_named() {
        let error = Grub::find(Path::new("/none")).unwrap_err().to_string();
        assert!(
            error.starts_with("/none/usr/bin/grub-mkimage is missing; install GRUB"),
            "{error}"
        );
    }
}
