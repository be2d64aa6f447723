//! The network: the one stack, its lock, its interrupts and timers, and the internet sockets over it.
//!
//! Everything that changes the stack goes through [`operate`]: take the lock, do the work, let the stack take a turn (so that
//! what was queued goes out), take what happened; then, without the lock, wake those concerned, ring the card's bell, arm the
//! timer for the stack's next deadline, and write down a new configuration. The card's interrupt and the timer are such
//! operations, too. What seldom gives the stack anything to do ([`adjust`]) takes the lock alone first. A virtual machine leaves the guest for the bell, which takes longer than a turn: nobody waits for a lock
//! meanwhile, and one CPU at a time rings for all (docs/performance.md, "The network").
//!
//! | who | when | does |
//! |---|---|---|
//! | system call | any time, holding no lock | `operate(call)`; `adjust(call)` for options |
//! | card's interrupt | ring 3 or idle was interrupted | `operate(on_interrupt)` |
//! | timer | the stack's deadline passed | `operate(nothing)` |

mod address;
pub(crate) mod census;
mod counters;
pub(crate) mod device;
mod ends;
mod error_queue;
mod filter_options;
mod inet;
pub(crate) mod interface_ioctl;
mod ip_options;
mod minor_options;
mod mtu_options;
mod multicast_options;
pub(crate) mod netlink;
mod options;
mod packet_options;
mod source_options;
mod stamps;
mod switches;
pub(crate) mod sysctl;
mod tables;
mod tcp_info;
mod tcp_options;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use core::net::{Ipv4Addr, Ipv6Addr};

use tyn_abi::Nanos;
use tyn_bootfmt::options::{Ip, Ip6};
use tyn_hal::sync::{Once, SpinLock};
use tyn_hal::{mem, random, time};
use tyn_net::device::{Bell, NetDevice, Rings, RingsDue};
use tyn_net::{
    Cidr, Cidr6, ConfigEvent, Ip6Config, IpConfig, Lease, Limits, SocketId, Stack, StackConfig,
};

use crate::boot;
use crate::file::flags;
use crate::fs::{self, FsContext, How};
use crate::sched::{self, TimerId, TimerTarget};
use crate::wait::WaitQueue;

pub(crate) use inet::open;

/// The stack and who waits for it.
struct Network {
    stack: SpinLock<Stack>,
    /// The card's.
    bell: Option<Arc<dyn Bell>>,
    /// What it must be rung for.
    due: SpinLock<RingsDue>,
    /// The queue of each open socket.
    queues: SpinLock<BTreeMap<SocketId, Arc<WaitQueue>>>,
    /// The timer that is set, and for when.
    timer: SpinLock<Option<(Nanos, TimerId)>>,
}

impl Network {
    /// Rings the card's bell, holding no lock, or leaves that to a CPU that is ringing it.
    fn ring(&self, rings: Rings) {
        let Some(bell) = self.bell.as_ref().filter(|_| !rings.is_empty()) else {
            return;
        };
        let Some(rings) = self.due.lock().begin(rings) else {
            return;
        };
        bell.ring(rings);
        let since = self.due.lock().end();
        if let Some(rings) = since {
            bell.ring(rings);
        }
    }
}

static NETWORK: Once<Network> = Once::new();

/// The stack's deadline.
struct Turn;

impl TimerTarget for Turn {
    fn expired(self: Arc<Self>, _: Nanos) {
        let Some(network) = NETWORK.get() else { return };
        *network.timer.lock() = None;
        operate(|_| ());
    }
}

/// Makes the stack over the card, if there is one, and starts to configure it.
pub fn init(device: Option<Box<dyn NetDevice>>, ip: Ip, ip6: Ip6, ram_bytes: u64) {
    let mut entropy = [0; 32];
    random::seed(&mut entropy);
    let ip6 = match ip6 {
        // Without the card's IPv4 there is no card, unless an address says otherwise.
        Ip6::Auto if ip != Ip::Off => Ip6Config::Auto,
        Ip6::Auto | Ip6::Off => Ip6Config::Off,
        Ip6::Static {
            address,
            prefix,
            gateway,
            dns,
        } => Ip6Config::Static {
            address: Cidr6 {
                address: Ipv6Addr::from(address),
                prefix,
            },
            gateway: gateway.map(Ipv6Addr::from),
            dns: dns.map(Ipv6Addr::from).into_iter().collect(),
        },
    };
    let ip = match ip {
        Ip::Dhcp => IpConfig::Dhcp,
        Ip::Off => IpConfig::Off,
        Ip::Static {
            address,
            prefix,
            gateway,
            dns,
        } => IpConfig::Static(Lease {
            address: Cidr {
                address: Ipv4Addr::from(address),
                prefix,
            },
            gateway: gateway.map(Ipv4Addr::from),
            dns: dns.map(Ipv4Addr::from).into_iter().collect(),
        }),
    };
    // A quarter of the memory for queues, as Linux's tcp_mem.
    let tcp_buffers = usize::try_from(ram_bytes / 4).unwrap_or(usize::MAX);
    let limits = Limits {
        tcp_buffers,
        ..Limits::default()
    };
    let bell = device.as_ref().and_then(|card| card.bell());
    let stack = Stack::new(
        StackConfig {
            device,
            ip,
            ip6,
            entropy,
            limits,
            free_memory: Box::new(mem::available),
        },
        time::now(),
    );
    NETWORK.set(Network {
        stack: SpinLock::new(stack),
        bell,
        due: SpinLock::new(RingsDue::default()),
        queues: SpinLock::new(BTreeMap::new()),
        timer: SpinLock::new(None),
    });
    operate(Stack::enable_interrupts);
}

/// Takes the card's interrupt. Harmless before [`init`].
pub fn on_interrupt() {
    if NETWORK.get().is_some() {
        operate_at(|stack, now| stack.on_interrupt(now));
    }
}

/// Returns the network, which may be still being started on another CPU.
fn network() -> &'static Network {
    NETWORK.get().unwrap_or_else(|| {
        boot::finish_devices();
        NETWORK
            .get()
            .expect("invariant: starting the devices sets the network up")
    })
}

/// Does `work` on the stack, lets it take a turn, and tells everybody what came of it. The caller holds no lock that a wait
/// queue or the file system may want.
fn operate<T>(work: impl FnOnce(&mut Stack) -> T) -> T {
    operate_at(|stack, _| work(stack))
}

/// As [`operate`], for work that wants to know the time.
fn operate_at<T>(work: impl FnOnce(&mut Stack, Nanos) -> T) -> T {
    let network = network();
    let (result, rings, wakes, events, deadline) = {
        let mut stack = network.stack.lock();
        // Once: work takes microseconds, and what becomes due meanwhile has its deadline.
        let now = time::now();
        stack.set_now(now);
        let result = work(&mut stack, now);
        let deadline = stack.poll_if_due(now);
        (
            result,
            stack.take_rings(),
            stack.take_wakes(),
            stack.take_config_events(),
            deadline,
        )
    };
    for wake in wakes {
        let queue = network.queues.lock().get(&wake.socket).cloned();
        if let Some(queue) = queue {
            queue.notify(wake.events);
        }
    }
    network.ring(rings);
    for event in events {
        configured(&event);
    }
    if let Some(deadline) = deadline {
        arm(network, deadline);
    }
    result
}

/// Does `work` that seldom gives the stack anything to do, as options that programs set to what they are; only then everything
/// else of [`operate`] follows. The work sets no deadlines.
fn adjust<T>(work: impl FnOnce(&mut Stack) -> T) -> T {
    let (result, is_done) = inspect(|stack| (work(stack), stack.has_nothing_new()));
    if !is_done {
        operate(|_| ());
    }
    result
}

/// Returns about how many bytes of memory a socket takes.
fn memory(id: SocketId) -> usize {
    NETWORK.get().map_or(0, |n| n.stack.lock().memory(id))
}

/// Looks at the stack without giving it a turn.
fn inspect<T>(look: impl FnOnce(&mut Stack) -> T) -> T {
    look(&mut network().stack.lock())
}

/// Makes sure that the timer fires at `deadline` or before.
fn arm(network: &Network, deadline: Nanos) {
    let mut timer = network.timer.lock();
    if let Some((at, id)) = *timer {
        if at <= deadline {
            return;
        }
        sched::cancel_timer(id);
    }
    *timer = Some((deadline, sched::set_timer(deadline, Arc::new(Turn))));
}

/// Writes `/etc/resolv.conf` when the card got its configuration.
fn configured(event: &ConfigEvent) {
    let servers = inspect(|stack| stack.resolvers());
    if *event == ConfigEvent::Down || servers.is_empty() && *event == ConfigEvent::Changed6 {
        return;
    }
    let text: String = servers
        .iter()
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    let write = || {
        let context = FsContext::new()?;
        let how = How {
            flags: flags::O_WRONLY | O_CREAT | O_TRUNC,
            mode: 0o644,
            umask: 0o022,
            may_wait: false,
        };
        let open = fs::open(&context.start(), b"/etc/resolv.conf", how)?;
        let mut src = text.as_bytes();
        open.file.write(crate::file::At::Offset(0), &mut src)
    };
    // Without a file system there is nobody to read it.
    let _ = write();
}

const O_CREAT: u32 = 0o100;
const O_TRUNC: u32 = 0o1000;

/// Notes a socket's queue.
fn register(id: SocketId, queue: &Arc<WaitQueue>) {
    if let Some(network) = NETWORK.get() {
        network.queues.lock().insert(id, Arc::clone(queue));
    }
}

/// Closes a socket.
fn close(id: SocketId) {
    if let Some(network) = NETWORK.get() {
        let queue = network.queues.lock().remove(&id);
        drop(queue);
        operate(|stack| stack.close(id));
    }
}
