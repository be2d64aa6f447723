//! What a machine is like, and the QEMU command line that makes it.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tyn_bootfmt::options::TtySize;

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

/// Where the guest's memory comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ram {
    /// Anonymous memory: fastest, the host may use huge pages.
    #[default]
    Anonymous,
    /// A memfd: what the guest touched can be told to the page ([`crate::Vm::guest_ram_touched`]).
    Memfd,
}

/// What the guest's network card is connected to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Network {
    /// QEMU's user network, which forwards ports.
    #[default]
    User,
    /// A TAP device of this machine.
    Tap(String),
    /// A hub with a TAP device of this machine and a pair of Unix datagram sockets: frames sent to the first come out of
    /// the hub as if they came from the wire, the second one gets all that the hub carries.
    Hub {
        /// The device.
        tap: String,
        /// Where QEMU receives frames, and where it sends them.
        sockets: [PathBuf; 2],
    },
    /// A Unix stream socket on which somebody listens who carries frames, each behind its length in four bytes, most
    /// significant first. The card offers no checksums and no segmentation then: a frame is a packet. Needs QEMU 7.2.
    Stream(PathBuf),
}

/// A word that is none of the values.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("'{text}' is not {expected}")]
pub struct BadValue {
    text: String,
    expected: &'static str,
}

/// A virtual machine to be started.
#[derive(Clone, Debug)]
pub struct Config {
    /// Machine type.
    pub machine: Machine,
    /// Accelerator.
    pub accel: Accel,
    /// The guest's clock counts its instructions, one nanosecond each, whatever the host does: TCG in one thread, whatever
    /// `accel` says.
    pub counts_instructions: bool,
    /// Number of virtual CPUs.
    pub cpus: u32,
    /// Memory.
    pub memory: MemorySize,
    /// Where the memory comes from.
    pub ram: Ram,
    /// The kernel's ELF file.
    pub kernel: PathBuf,
    /// The root archive.
    pub initrd: PathBuf,
    /// Kernel options.
    pub append: String,
    /// What the network card is connected to.
    pub network: Network,
    /// Address of the network card; QEMU's default, the same for all machines, where there is none.
    pub mac: Option<Mac>,
    /// More properties of the network card, as QEMU writes them: `mrg_rxbuf=off,csum=off`.
    pub card: String,
    /// Pairs of queues that the network card offers; more than one only with a TAP device that has as many.
    pub queue_pairs: u16,
    /// Forwarded ports; only the user network has them.
    pub forwards: Vec<Forward>,
    /// Size of the terminal that shows the console; with it the guest follows [`crate::Vm::resize`].
    pub tty_size: Option<TtySize>,
}

impl Config {
    /// Returns a machine with one CPU and 512 MiB, without forwarded ports.
    #[must_use]
    pub fn new(kernel: &Path, initrd: &Path) -> Self {
        Self {
            machine: Machine::default(),
            accel: Accel::default(),
            counts_instructions: false,
            cpus: 1,
            memory: MemorySize(512 << 20),
            ram: Ram::default(),
            kernel: kernel.to_path_buf(),
            initrd: initrd.to_path_buf(),
            append: String::new(),
            network: Network::default(),
            mac: None,
            card: String::new(),
            queue_pairs: 1,
            forwards: Vec::new(),
            tty_size: None,
        }
    }

    /// Returns QEMU's arguments. `dir` is a private folder where [`qmp_socket`] and [`report_socket`] are listened on, and
    /// [`size_socket`] if there is a terminal.
    #[must_use]
    pub fn qemu_args(&self, dir: &Path) -> Vec<String> {
        let mut args = Args::default();
        args.flag("-nodefaults")
            .flag("-no-user-config")
            .flag("-no-reboot")
            // Stopped at first: a guest must not be over before its machine was spoken to.
            .flag("-S");
        args.pair("-display", "none");
        args.pair("-name", "tyn");
        args.pair("-machine", self.machine.option());
        if self.counts_instructions {
            args.pair("-accel", "tcg,thread=single");
            args.pair("-icount", "shift=0,sleep=off");
        } else {
            args.pair("-accel", self.accel.resolved().option());
        }
        args.pair("-cpu", "max");
        args.pair("-smp", self.cpus.to_string());
        args.pair("-m", format!("{}B", self.memory.0));
        if self.ram == Ram::Memfd {
            args.pair(
                "-object",
                format!("memory-backend-memfd,id=ram,size={}", self.memory.0),
            );
            args.pair("-machine", "memory-backend=ram");
        }
        args.pair("-kernel", file(&self.kernel));
        args.pair("-initrd", file(&self.initrd));
        let size = self
            .tty_size
            .map(|s| format!(" tty.size={}x{}", s.rows, s.columns));
        args.pair(
            "-append",
            self.append.clone() + size.as_deref().unwrap_or_default(),
        );
        args.pair("-chardev", "stdio,id=console,signal=off");
        args.pair("-serial", "chardev:console");
        if self.tty_size.is_some() {
            args.pair("-chardev", socket("size", &size_socket(dir)));
            args.pair("-device", "isa-serial,index=1,chardev=size");
        }
        args.pair("-chardev", socket("report", &report_socket(dir)));
        args.pair("-device", "isa-debugcon,iobase=0xe9,chardev=report");
        args.pair("-device", "isa-debug-exit,iobase=0x501,iosize=1");
        args.pair("-chardev", socket("qmp", &qmp_socket(dir)));
        args.pair("-mon", "chardev=qmp,mode=control");
        self.add_network(&mut args);
        let mut more = self
            .mac
            .map_or_else(String::new, |mac| format!(",mac={mac}"));
        if !self.card.is_empty() {
            more += &format!(",{}", self.card);
        }
        let mut vectors = String::new();
        if self.queue_pairs > 1 {
            more += ",mq=on";
            // One for each queue, for changes of the configuration, and for the control queue.
            vectors = format!(",vectors={}", 2 * u32::from(self.queue_pairs) + 2);
        }
        match self.machine {
            // Without its ROM the firmware does not look for a boot server.
            Machine::Q35 | Machine::Pc => args
                .pair(
                    "-device",
                    format!("virtio-net-pci,netdev=net,romfile={vectors}{more}"),
                )
                .pair("-device", "virtio-rng-pci"),
            // QEMU's MMIO devices follow virtio 0.9 unless told; ours are of virtio 1.
            Machine::Microvm => args
                .pair("-global", "virtio-mmio.force-legacy=false")
                .pair("-device", format!("virtio-net-device,netdev=net{more}"))
                .pair("-device", "virtio-rng-device"),
        };
        args.0
    }

    fn add_network(&self, args: &mut Args) {
        match &self.network {
            Network::User => {
                let mut net = String::from("user,id=net");
                for Forward { host, guest } in &self.forwards {
                    net += &format!(",hostfwd=tcp:{}:{host}-:{guest}", Ipv4Addr::LOCALHOST);
                }
                args.pair("-netdev", net);
            }
            Network::Tap(name) => {
                let queues = match self.queue_pairs {
                    0 | 1 => String::new(),
                    pairs => format!(",queues={pairs}"),
                };
                args.pair("-netdev", tap("net", name) + &queues);
            }
            Network::Stream(path) => {
                let path = escaped(path);
                args.pair(
                    "-netdev",
                    format!("stream,id=net,server=off,addr.type=unix,addr.path={path}"),
                );
            }
            Network::Hub {
                tap: name,
                sockets: [to_us, from_us],
            } => {
                let frames = format!(
                    "dgram,id=frames,local.type=unix,local.path={},remote.type=unix,remote.path={}",
                    escaped(to_us),
                    escaped(from_us),
                );
                args.pair("-netdev", tap("tap", name));
                args.pair("-netdev", frames);
                args.pair("-netdev", "hubport,id=net,hubid=0");
                args.pair("-netdev", "hubport,id=hub1,hubid=0,netdev=tap");
                args.pair("-netdev", "hubport,id=hub2,hubid=0,netdev=frames");
            }
        }
    }
}

fn tap(id: &str, name: &str) -> String {
    format!("tap,id={id},ifname={name},script=no,downscript=no")
}

/// Returns where the machine protocol's socket is.
#[must_use]
pub fn qmp_socket(dir: &Path) -> PathBuf {
    dir.join("qmp")
}

/// Returns where the report channel's socket is.
#[must_use]
pub fn report_socket(dir: &Path) -> PathBuf {
    dir.join("report")
}

/// Returns where the socket is over which the guest learns of the terminal's size.
#[must_use]
pub fn size_socket(dir: &Path) -> PathBuf {
    dir.join("size")
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(name.to_owned());
        self
    }

    fn pair(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.0.extend([name.to_owned(), value.into()]);
        self
    }
}

fn socket(id: &str, path: &Path) -> String {
    format!("socket,id={id},path={}", escaped(path))
}

/// In QEMU's option lists a comma within a value is written twice.
fn escaped(path: &Path) -> String {
    file(path).replace(',', ",,")
}

/// QEMU takes paths as text; those that are none are refused before ([`crate::VmError::Path`]).
fn file(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Machine {
    /// All machine types.
    pub const ALL: [Self; 3] = [Self::Q35, Self::Pc, Self::Microvm];

    fn option(self) -> &'static str {
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

    fn option(self) -> &'static str {
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

    fn line(config: &Config) -> String {
        config.qemu_args(Path::new("/run/a,b")).join(" ")
    }

    fn config(machine: Machine) -> Config {
        Config {
            machine,
            accel: Accel::Tcg,
            cpus: 4,
            forwards: vec![Forward { host: 1, guest: 2 }, Forward { host: 3, guest: 4 }],
            append: "trace ip=dhcp".into(),
            ..Config::new(Path::new("/k"), Path::new("/i"))
        }
    }

    #[test]
    fn instructions_are_counted_in_one_thread() {
        let counting = Config {
            counts_instructions: true,
            ..config(Machine::Q35)
        };
        let line = line(&counting);
        assert!(
            line.contains("-accel tcg,thread=single -icount shift=0,sleep=off -cpu max"),
            "{line}"
        );
        assert!(!line.contains("thread=multi"), "{line}");
    }

    #[test]
    fn machines_differ_in_their_devices() {
        for (machine, has, has_not) in [
            (Machine::Q35, "-machine q35 ", "-device virtio-net-device"),
            (
                Machine::Pc,
                "virtio-net-pci,netdev=net,romfile= ",
                "microvm",
            ),
            (Machine::Microvm, "-device virtio-rng-device", "pci"),
        ] {
            let line = line(&config(machine));
            assert!(line.contains(has) && !line.contains(has_not), "{line}");
            for common in [
                "-accel tcg,thread=multi -cpu max -smp 4 -m 536870912B",
                "-kernel /k -initrd /i -append trace ip=dhcp",
                "isa-debugcon,iobase=0xe9",
                "user,id=net,hostfwd=tcp:127.0.0.1:1-:2,hostfwd=tcp:127.0.0.1:3-:4",
                "socket,id=qmp,path=/run/a,,b/qmp",
            ] {
                assert!(line.contains(common), "{common} in {line}");
            }
        }
    }

    #[test]
    fn terminal_adds_a_port_and_an_option() {
        let mut config = config(Machine::Microvm);
        assert!(!line(&config).contains("isa-serial"));
        config.tty_size = TtySize::parse("24x80");
        let line = line(&config);
        for want in [
            "-append trace ip=dhcp tty.size=24x80 ",
            "socket,id=size,path=/run/a,,b/size -device isa-serial,index=1,chardev=size ",
        ] {
            assert!(line.contains(want), "{want} in {line}");
        }
    }

    #[test]
    fn cards_have_an_address_of_their_own_on_request() {
        for machine in Machine::ALL {
            let mut config = config(machine);
            assert!(!line(&config).contains("mac="));
            config.mac = Some(Mac::of(0xff_ffff_0102_0304));
            assert!(line(&config).contains(",mac=02:ff:01:02:03:04 "));
        }
    }

    #[test]
    fn networks_differ_in_what_the_card_is_connected_to() {
        let mut config = config(Machine::Q35);
        config.network = Network::Tap("tap7".into());
        let text = line(&config);
        assert!(
            text.contains("-netdev tap,id=net,ifname=tap7,script=no")
                && !text.contains("-netdev user")
        );
        config.network = Network::Stream("/a,b".into());
        assert!(
            line(&config)
                .contains("-netdev stream,id=net,server=off,addr.type=unix,addr.path=/a,,b ")
        );
        config.network = Network::Hub {
            tap: "tap7".into(),
            sockets: ["/in,1".into(), "/out".into()],
        };
        let text = line(&config);
        for want in [
            "-netdev tap,id=tap,ifname=tap7",
            "local.path=/in,,1,remote.type=unix,remote.path=/out ",
            "hubport,id=net,hubid=0 ",
        ] {
            assert!(text.contains(want), "{want} in {text}");
        }
    }

    #[test]
    fn cards_offer_several_pairs_of_queues_on_request() {
        for (machine, card) in [
            (
                Machine::Q35,
                "virtio-net-pci,netdev=net,romfile=,vectors=8,csum=off,mq=on ",
            ),
            (
                Machine::Microvm,
                "virtio-net-device,netdev=net,csum=off,mq=on ",
            ),
        ] {
            let mut config = config(machine);
            config.network = Network::Tap("tap7".into());
            config.card = "csum=off".to_owned();
            assert!(!line(&config).contains("queues="));
            config.queue_pairs = 3;
            let text = line(&config);
            for want in ["ifname=tap7,script=no,downscript=no,queues=3 ", card] {
                assert!(text.contains(want), "{want} in {text}");
            }
        }
    }

    #[test]
    fn memory_is_a_backend_on_request() {
        let mut config = config(Machine::Q35);
        config.ram = Ram::Memfd;
        assert!(line(&config).contains("memory-backend-memfd,id=ram,size=536870912 "));
    }

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
