//! What a machine is like. The QEMU command line that makes it is in `arguments`, words for what it is made of in `values`.

use std::path::{Path, PathBuf};

use tyn_bootfmt::options::TtySize;

mod arguments;
mod values;

pub use arguments::{qmp_socket, report_socket, size_socket};
pub use values::{Accel, BadValue, Forward, Mac, Machine, MemorySize, kvm_problem};

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
}
