//! What this machine offers to guests: facts, and what is made of them. `tyn doctor` shows it.

use std::fs;
use std::path::Path;

use serde::Serialize;
use tyn_vm_host::config::kvm_problem;
use tyn_vm_host::qemu::{self, OLDEST, QEMU, Version, find_program};

/// What a guest takes unless told otherwise, and QEMU beside it, in MiB.
const GUEST_MIB: u64 = 512 + 100;

/// How something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could.
    Note,
    /// Nothing can be started.
    Bad,
}

/// What was found about one thing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) what: &'static str,
    pub(crate) state: State,
    pub(crate) found: String,
    /// A command, or what to do.
    pub(crate) remedy: Option<String>,
}

/// What was looked up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// What QEMU says about its version; `None` when it isn't there.
    pub(crate) qemu: Option<String>,
    /// Why there is no KVM.
    pub(crate) kvm_problem: Option<String>,
    /// Whether there is a `/dev/kvm`.
    pub(crate) has_kvm_device: bool,
    pub(crate) has_setpriv: bool,
    /// `MemAvailable`.
    pub(crate) memory_mib: Option<u64>,
    /// `/etc/os-release`.
    pub(crate) os_release: String,
    /// Programs for sysroots that are missing.
    pub(crate) missing_tools: Vec<&'static str>,
    /// Whether this tool has a kernel inside.
    pub(crate) has_kernel: bool,
    /// Folders that can't be written to, each with why.
    pub(crate) unwritable: Vec<String>,
}

impl Facts {
    /// Looks at this machine.
    pub(crate) fn of_this_machine(has_kernel: bool) -> Self {
        let has = |name| find_program(name).is_some();
        let tools = ["apt-get", "dpkg-deb", "tar"];
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let available = meminfo
            .lines()
            .find_map(|line| line.strip_prefix("MemAvailable:"));
        let kib = available.and_then(|rest| {
            rest.trim()
                .trim_end_matches("kB")
                .trim()
                .parse::<u64>()
                .ok()
        });
        let temporary = std::env::temp_dir();
        let unwritable = tempfile::tempfile_in(&temporary).err();
        Self {
            qemu: qemu::version_text(),
            kvm_problem: kvm_problem().map(str::to_owned),
            has_kvm_device: Path::new("/dev/kvm").exists(),
            has_setpriv: has("setpriv"),
            memory_mib: kib.map(|kib| kib >> 10),
            os_release: fs::read_to_string("/etc/os-release").unwrap_or_default(),
            missing_tools: tools.into_iter().filter(|tool| !has(tool)).collect(),
            has_kernel,
            unwritable: unwritable
                .iter()
                .map(|error| format!("{}: {error}", temporary.display()))
                .collect(),
        }
    }

    /// Says what is good and what isn't.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        vec![
            self.qemu(),
            self.kvm(),
            self.kernel(),
            self.memory(),
            self.files(),
            self.setpriv(),
            self.tools(),
        ]
    }

    fn qemu(&self) -> Finding {
        let finding = |state, found: String, remedy| Finding {
            what: "QEMU",
            state,
            found,
            remedy,
        };
        let install = || Some(self.install(Package::Qemu));
        let Some(text) = &self.qemu else {
            return finding(State::Bad, format!("{QEMU} is missing"), install());
        };
        match Version::parse(text) {
            None => finding(
                State::Bad,
                format!("{QEMU} does not tell its version: {}", text.trim()),
                install(),
            ),
            Some(version) if version < OLDEST => finding(
                State::Bad,
                format!("{version} is too old; {OLDEST} or newer is needed"),
                install(),
            ),
            Some(version) => finding(State::Ok, version.to_string(), None),
        }
    }

    fn kvm(&self) -> Finding {
        let remedy = |problem: &str| match self.has_kvm_device {
            _ if problem.starts_with("the processor") => {
                "switch virtualisation on in the firmware; in a virtual machine, ask its host for nested virtualisation"
            }
            true => "sudo usermod -aG kvm $USER   # then log in again",
            false => "sudo modprobe kvm_intel || sudo modprobe kvm_amd",
        };
        match &self.kvm_problem {
            None => Finding {
                what: "KVM",
                state: State::Ok,
                found: "usable".into(),
                remedy: None,
            },
            Some(problem) => {
                let problem = problem.split(';').next().unwrap_or_default();
                Finding {
                    what: "KVM",
                    state: State::Note,
                    found: format!("guests are emulated, which is slower: {problem}"),
                    remedy: Some(remedy(problem).into()),
                }
            }
        }
    }

    fn kernel(&self) -> Finding {
        let (state, found, remedy) = match self.has_kernel {
            true => (State::Ok, "inside this tool", None),
            false => (
                State::Bad,
                "this tool was built without a kernel",
                Some("cargo xtask build".into()),
            ),
        };
        Finding {
            what: "kernel",
            state,
            found: found.into(),
            remedy,
        }
    }

    fn memory(&self) -> Finding {
        let (state, remedy) = match self.memory_mib {
            Some(mib) if mib < GUEST_MIB => (
                State::Note,
                Some("give guests less: tyn run --memory 128M".into()),
            ),
            _ => (State::Ok, None),
        };
        Finding {
            what: "memory",
            state,
            found: self
                .memory_mib
                .map_or("unknown".into(), |mib| format!("{mib} MiB available")),
            remedy,
        }
    }

    fn files(&self) -> Finding {
        let is_good = self.unwritable.is_empty();
        Finding {
            what: "files",
            state: if is_good { State::Ok } else { State::Bad },
            found: if is_good {
                "temporary files can be written".into()
            } else {
                self.unwritable.join("; ")
            },
            remedy: (!is_good).then(|| "set TMPDIR to a folder that you can write to".into()),
        }
    }

    fn setpriv(&self) -> Finding {
        let (state, found) = match self.has_setpriv {
            true => (State::Ok, "QEMU ends with the tool"),
            false => (
                State::Note,
                "setpriv is missing: QEMU may outlive a tool that is killed",
            ),
        };
        Finding {
            what: "setpriv",
            state,
            found: found.into(),
            remedy: (!self.has_setpriv).then(|| self.install(Package::UtilLinux)),
        }
    }

    fn tools(&self) -> Finding {
        let is_good = self.missing_tools.is_empty();
        Finding {
            what: "sysroots",
            state: if is_good { State::Ok } else { State::Note },
            found: match is_good {
                true => "apt-get, dpkg-deb and tar can fetch an Erlang of Debian".into(),
                false => format!(
                    "an Erlang of Debian can't be fetched: {} missing",
                    self.missing_tools.join(", ")
                ),
            },
            remedy: (!is_good)
                .then(|| "name a Linux root with Erlang's libraries by tyn build --sysroot".into()),
        }
    }

    /// Returns the command that installs something on this distribution.
    fn install(&self, package: Package) -> String {
        let field = |name: &str| {
            let value = self
                .os_release
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_default().trim_matches('"').to_owned()
        };
        let family = format!("{} {}", field("ID"), field("ID_LIKE"));
        let is = |name: &str| family.split_whitespace().any(|word| word.starts_with(name));
        let (command, qemu) = match () {
            () if is("debian") || is("ubuntu") => ("sudo apt-get install", "qemu-system-x86"),
            () if is("fedora") || is("rhel") || is("centos") => {
                ("sudo dnf install", "qemu-system-x86-core")
            }
            () if is("arch") => ("sudo pacman -S", "qemu-system-x86"),
            () if is("alpine") => ("sudo apk add", "qemu-system-x86_64"),
            () if is("opensuse") || is("suse") => ("sudo zypper install", "qemu-x86"),
            () if is("nixos") => ("nix-shell -p", "qemu"),
            () => ("install", "QEMU for x86-64"),
        };
        match package {
            Package::Qemu => format!("{command} {qemu}"),
            Package::UtilLinux => format!("{command} util-linux"),
        }
    }
}

/// What may be missing.
#[derive(Clone, Copy)]
enum Package {
    Qemu,
    UtilLinux,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Facts {
        Facts {
            qemu: Some("QEMU emulator version 7.2.22 (Debian 1:7.2)\nCopyright".into()),
            has_kvm_device: true,
            has_setpriv: true,
            memory_mib: Some(4000),
            os_release: "PRETTY_NAME=\"x\"\nID=ubuntu\nID_LIKE=debian\n".into(),
            has_kernel: true,
            ..Facts::default()
        }
    }

    /// What is not good, as one line each.
    fn complaints(change: impl FnOnce(&mut Facts)) -> Vec<String> {
        let mut facts = good();
        change(&mut facts);
        let bad = facts
            .findings()
            .into_iter()
            .filter(|f| f.state != State::Ok);
        bad.map(|f| {
            format!(
                "{:?} {}: {} -> {}",
                f.state,
                f.what,
                f.found,
                f.remedy.unwrap_or_default()
            )
        })
        .collect()
    }

    #[test]
    fn each_lack_has_its_remedy() {
        assert!(complaints(|_| {}).is_empty());
        let bad = complaints(|f| f.qemu = None);
        assert_eq!(
            bad,
            ["Bad QEMU: qemu-system-x86_64 is missing -> sudo apt-get install qemu-system-x86"]
        );
        let bad = complaints(|f| f.qemu = Some("QEMU emulator version 4.2.1".into()));
        assert_eq!(
            bad,
            [
                "Bad QEMU: 4.2 is too old; 5.2 or newer is needed -> sudo apt-get install qemu-system-x86"
            ]
        );
        let bad = complaints(|f| f.qemu = Some("Segmentation fault".into()));
        assert!(bad[0].starts_with("Bad QEMU: qemu-system-x86_64 does not tell its version: Seg"));
        let bad =
            complaints(|f| f.kvm_problem = Some("the processor offers no virtualisation".into()));
        assert!(bad[0].starts_with("Note KVM: guests are emulated, which is slower: the processor offers no virtualisation -> switch"));
        let bad = complaints(|f| f.kvm_problem = Some("/dev/kvm can't be opened; x".into()));
        assert!(bad[0].ends_with(
            "/dev/kvm can't be opened -> sudo usermod -aG kvm $USER   # then log in again"
        ));
        let bad = complaints(|f| {
            f.kvm_problem = Some("/dev/kvm can't be opened; x".into());
            f.has_kvm_device = false;
        });
        assert!(bad[0].ends_with("-> sudo modprobe kvm_intel || sudo modprobe kvm_amd"));
        assert_eq!(
            complaints(|f| f.has_kernel = false),
            ["Bad kernel: this tool was built without a kernel -> cargo xtask build"]
        );
        assert!(
            complaints(|f| f.memory_mib = Some(300))[0]
                .starts_with("Note memory: 300 MiB available -> give")
        );
        assert!(
            complaints(|f| f.unwritable = vec!["/tmp: full".into()])[0]
                .starts_with("Bad files: /tmp: full -> set TMPDIR")
        );
        assert!(
            complaints(|f| f.has_setpriv = false)[0]
                .ends_with("-> sudo apt-get install util-linux")
        );
        assert!(
            complaints(|f| f.missing_tools = vec!["apt-get"])[0].starts_with(
                "Note sysroots: an Erlang of Debian can't be fetched: apt-get missing -> name"
            )
        );
    }

    #[test]
    fn remedy_is_the_distributions() {
        for (os, want) in [
            ("ID=debian", "sudo apt-get install qemu-system-x86"),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"",
                "sudo dnf install qemu-system-x86-core",
            ),
            ("ID=arch", "sudo pacman -S qemu-system-x86"),
            ("ID=alpine", "sudo apk add qemu-system-x86_64"),
            ("ID=\"opensuse-leap\"", "sudo zypper install qemu-x86"),
            ("ID=nixos", "nix-shell -p qemu"),
            ("", "install QEMU for x86-64"),
        ] {
            let facts = Facts {
                os_release: os.into(),
                ..Facts::default()
            };
            assert_eq!(facts.install(Package::Qemu), want);
        }
    }
}
