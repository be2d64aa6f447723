//! What a machine is made of, and how that is written.

use std::fmt;
use std::str::FromStr;

/// The QEMU machine type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Machine {
    /// PCI Express, as in machines of today.
    #[default]
    Q35,
    /// PCI, as in machines of the nineties.
    Pc,
    /// No PCI: virtio over MMIO.
    Microvm,
}

/// How guest instructions are executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Accel {
    /// KVM where the processor and the machine offer it, else TCG.
    #[default]
    Auto,
    /// By the processor itself.
    Kvm,
    /// By translation, one host thread a CPU.
    Tcg,
}

/// An amount of memory in bytes; its text is a number with `K`, `M` or `G` behind it, or of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MemorySize(pub u64);

/// A TCP port of this machine that leads to one of the guest's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forward {
    /// Port on 127.0.0.1 of this machine.
    pub host: u16,
    /// Port of the guest.
    pub guest: u16,
}

/// A locally administered address of a network card.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mac([u8; 6]);

impl Mac {
    /// Makes one of a number, of which the lower 40 bits count: `02:…`.
    #[must_use]
    pub fn of(number: u64) -> Self {
        let [_, _, _, a, b, c, d, e] = number.to_be_bytes();
        Self([2, a, b, c, d, e])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A word that is none of the values.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("'{text}' is not {expected}")]
pub struct BadValue {
    text: String,
    expected: &'static str,
}

impl Machine {
    /// All machine types.
    pub const ALL: [Self; 3] = [Self::Q35, Self::Pc, Self::Microvm];

    pub(super) fn option(self) -> &'static str {
        match self {
            Self::Q35 => "q35",
            Self::Pc => "pc",
            Self::Microvm => "microvm,acpi=on,rtc=on",
        }
    }
}

impl Accel {
    /// Replaces `Auto` by what this machine can do.
    #[must_use]
    pub fn resolved(self) -> Self {
        match self {
            Self::Auto if kvm_problem().is_none() => Self::Kvm,
            Self::Auto => Self::Tcg,
            other => other,
        }
    }

    pub(super) fn option(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Auto | Self::Tcg => "tcg,thread=multi",
        }
    }
}

/// Returns why KVM can't be used here, or `None` when it can. A `/dev/kvm` alone is no proof: the processor must say that
/// it has the extension.
#[must_use]
pub fn kvm_problem() -> Option<&'static str> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has_extension = cpuinfo
        .lines()
        .find(|line| line.starts_with("flags"))
        .is_some_and(|line| line.split_whitespace().any(|f| f == "vmx" || f == "svm"));
    if !has_extension {
        return Some("the processor offers no virtualisation (no vmx or svm in /proc/cpuinfo)");
    }
    let device = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm");
    match device.err()?.kind() {
        std::io::ErrorKind::NotFound => {
            Some("there is no /dev/kvm; load its module: sudo modprobe kvm_intel, or kvm_amd")
        }
        _ => Some(
            "/dev/kvm can't be opened; join its group and log in again: sudo usermod -aG kvm $USER",
        ),
    }
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.guest)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Q35 => "q35",
            Self::Pc => "pc",
            Self::Microvm => "microvm",
        })
    }
}

impl FromStr for Machine {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let mut all = Self::ALL.into_iter();
        all.find(|m| m.to_string() == text).ok_or(BadValue {
            text: text.into(),
            expected: "a machine type: use q35, pc or microvm",
        })
    }
}

impl FromStr for Accel {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text {
            "auto" => Ok(Self::Auto),
            "kvm" => Ok(Self::Kvm),
            "tcg" => Ok(Self::Tcg),
            _ => Err(BadValue {
                text: text.into(),
                expected: "an accelerator: use auto, kvm or tcg",
            }),
        }
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1 << 30 && bytes.is_multiple_of(1 << 30) => {
                write!(f, "{}G", bytes >> 30)
            }
            bytes if bytes.is_multiple_of(1 << 20) => write!(f, "{}M", bytes >> 20),
            bytes => write!(f, "{bytes}"),
        }
    }
}

impl FromStr for MemorySize {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let bad = || BadValue {
            text: text.into(),
            expected: "an amount of memory: use e.g. 512M or 2G",
        };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
            "" => 0,
            "K" | "KB" | "KIB" => 10,
            "M" | "MB" | "MIB" => 20,
            "G" | "GB" | "GIB" => 30,
            _ => return Err(bad()),
        };
        let number: u64 = digits.parse().map_err(|_| bad())?;
        // QEMU takes whole pages only.
        let bytes = number.checked_mul(1 << shift).ok_or_else(bad)?;
        if bytes == 0 || bytes % 4096 != 0 {
            return Err(bad());
        }
        Ok(Self(bytes))
    }
}

impl FromStr for Forward {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let port = |t: &str| t.parse::<u16>().ok().filter(|&p| p != 0);
        text.split_once(':')
            .and_then(|(host, guest)| {
                Some(Self {
                    host: port(host)?,
                    guest: port(guest)?,
                })
            })
            .ok_or_else(|| BadValue {
                text: text.into(),
                expected: "a pair of ports HOST:GUEST, e.g. 8080:8080",
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_parsed_and_written_back() {
        for (text, bytes, back) in [
            ("512M", 512 << 20, "512M"),
            ("2g", 2 << 30, "2G"),
            ("1536MiB", 1536 << 20, "1536M"),
            ("4096", 4096, "4096"),
            ("72MB", 72 << 20, "72M"),
        ] {
            let size: MemorySize = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, back));
        }
        for machine in Machine::ALL {
            assert_eq!(machine.to_string().parse(), Ok(machine));
        }
        assert_eq!(
            "80:8080".parse(),
            Ok(Forward {
                host: 80,
                guest: 8080
            })
        );
        for accel in [Accel::Auto, Accel::Kvm, Accel::Tcg] {
            assert_eq!(accel.to_string().parse(), Ok(accel));
        }
        let forward = Forward { host: 8, guest: 9 };
        assert_eq!(forward.to_string().parse(), Ok(forward));
    }

    #[test]
    fn bad_values_are_named_with_what_would_be_right() {
        for text in ["", "M", "0", "1.5G", "12T", "99999999999G", "100"] {
            let error = text.parse::<MemorySize>().unwrap_err().to_string();
            assert!(
                error.contains(&format!("'{text}'")) && error.contains("512M"),
                "{error}"
            );
        }
        for text in ["8080", "0:1", "1:", "70000:1", "a:b"] {
            assert!(text.parse::<Forward>().is_err(), "{text}");
        }
        assert!("isapc".parse::<Machine>().is_err());
        assert!("hvf".parse::<Accel>().is_err());
    }

    #[test]
    fn accelerator_follows_the_processor() {
        let expected = if kvm_problem().is_none() {
            Accel::Kvm
        } else {
            Accel::Tcg
        };
        assert_eq!(Accel::Auto.resolved(), expected);
        assert_eq!(Accel::Tcg.resolved(), Accel::Tcg);
    }
}
