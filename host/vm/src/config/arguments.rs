//! The QEMU command line that makes a machine.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::{Config, Forward, Machine, Network, Ram};

impl Config {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Accel, Mac};
    use tyn_bootfmt::options::TtySize;

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
}
