//! The virtio network device (virtio 1.2 §5.1), with checksums, segmentation and merged receive buffers left to it as far
//! as it offers that, and with as many queue pairs as it has, one for each CPU at most. What the header before a frame
//! means, and by which pair it goes, is [`tyn_net::virtio`]'s.

mod pair;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_hal::cpu::{self, CpuId};
use tyn_hal::irq;
use tyn_hal::power::report;
use tyn_net::device::{Bell, Full, NetDevice, Offload, Offloads, Received, Rings};
use tyn_net::virtio::{self, LONGEST_FRAME, pairs};

use self::pair::{Pair, SLOT_BYTES};
use crate::virtio::queue::{Direction, Virtqueue};
use crate::virtio::{DeviceError, Doorbell, Transport, features, negotiate, start};

/// A network device.
pub struct VirtioNet {
    bell: Arc<VirtioBell>,
    /// At least one.
    pairs: Vec<Pair>,
    /// How many of them frames are sent by: one until the device has said that it uses all.
    in_use: u16,
    /// The pair whose frame is received next.
    turn: usize,
    control: Option<Control>,
    mac: [u8; 6],
    offloads: Offloads,
    /// A received frame may take several slots.
    merges: bool,
    mtu: u16,
}

impl core::fmt::Debug for VirtioNet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "VirtioNet({:02x?})", self.mac)
    }
}

impl VirtioNet {
    /// Brings the device up in a machine with `memory` bytes. `on_interrupt` makes what runs when frames arrived or room for
    /// frames came back, as asked for, on whatever CPU.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn new(
        transport: Box<dyn Transport>,
        memory: u64,
        on_interrupt: impl Fn() -> irq::Handler,
    ) -> Result<Self, DeviceError> {
        let transport: Arc<dyn Transport> = transport.into();
        let config_u16 = |at| {
            let byte = |n| transport.config_u8(at + n);
            u16::from_le_bytes([byte(0), byte(1)])
        };
        let (mut says, mut most, mut count) = (0, 1, 1);
        let accepted = negotiate(&*transport, |offered| {
            if offered & virtio::feature::MTU != 0 {
                says = config_u16(virtio::CONFIG_MTU);
            }
            if offered & virtio::feature::MQ != 0 {
                most = config_u16(pairs::CONFIG_MAX_PAIRS);
                count = pairs::count(offered, most, cpu::count(), memory);
            }
            let several = if count > 1 { pairs::FEATURES } else { 0 };
            virtio::accepted(offered, says, SLOT_BYTES) | several | features::EVENT_IDX
        })?;
        let event_index = accepted & features::EVENT_IDX != 0;
        // Each pair interrupts a CPU of its own, if it can.
        let interrupts = transport.interrupts().clamp(1, count);
        for number in 0..interrupts {
            let cpu = (cpu::current().0 as usize + usize::from(number)) % cpu::count();
            transport.on_interrupt(number, CpuId(cpu as u32), on_interrupt())?;
        }
        let mut pairs = (0..count)
            .map(|number| Pair::new(&*transport, number, number % interrupts, event_index))
            .collect::<Result<Vec<_>, _>>()?;
        let mut control = match count {
            1 => None,
            _ => Some(Control::new(
                &*transport,
                pairs::control_queue(most),
                event_index,
            )?),
        };
        let mac = match accepted & virtio::feature::MAC {
            // Locally administered, for a device that leaves the choice to us.
            0 => [0x02, 0x54, 0x59, 0x4e, 0, 1],
            _ => core::array::from_fn(|i| transport.config_u8(i)),
        };
        start(&*transport);
        let bell = Arc::new(VirtioBell {
            transport: Arc::clone(&transport),
            doorbells: pairs.iter().flat_map(Pair::doorbells).collect(),
        });
        pairs.iter_mut().for_each(Pair::post_all);
        bell.ring(flush(&mut pairs));
        if let Some(control) = &mut control {
            control.command(&*transport, pairs::command(count));
        }
        Ok(Self {
            bell,
            pairs,
            in_use: 1,
            turn: 0,
            control,
            mac,
            offloads: virtio::offloads(accepted),
            merges: accepted & virtio::feature::MRG_RXBUF != 0,
            mtu: virtio::mtu(accepted, says),
        })
    }

    /// Looks whether the device has answered that it uses all pairs, as long as it has not.
    fn settle(&mut self) {
        if let Some(answer) = self.control.as_mut().and_then(Control::answer)
            && answer == pairs::OK
        {
            self.in_use = self.pairs.len() as u16;
            report(format_args!("metric net_queue_pairs {}", self.in_use));
        }
    }
}

/// Lets the device see what was queued in each pair; returns which queues it must be told of.
fn flush(pairs: &mut [Pair]) -> Rings {
    let all = pairs.iter_mut().zip(0..);
    all.fold(Rings::default(), |rings, (pair, number)| {
        rings.union(Rings(pair.flush() << (2 * number)))
    })
}

/// The doorbells of all queues but the one for commands.
struct VirtioBell {
    transport: Arc<dyn Transport>,
    /// In the order of the queues.
    doorbells: Vec<Doorbell>,
}

impl Bell for VirtioBell {
    fn ring(&self, rings: Rings) {
        let Rings(mut left) = rings;
        while left != 0 {
            if let Some(&doorbell) = self.doorbells.get(left.trailing_zeros() as usize) {
                self.transport.notify(doorbell);
            }
            left &= left - 1;
        }
    }
}

/// The control queue, for the one command that is given.
struct Control {
    queue: Virtqueue,
    doorbell: Doorbell,
}

/// Slots of the control queue: the command, and the answer to it.
const COMMAND: u16 = 0;
const ANSWER: u16 = 1;

impl Control {
    fn new(transport: &dyn Transport, index: u16, event_index: bool) -> Result<Self, DeviceError> {
        if transport.queue_limit(index) < 2 {
            return Err(DeviceError::Missing("control queue"));
        }
        // The command is looked for when there is something else to do.
        let direction = Direction::DeviceReads;
        let mut queue = Virtqueue::new(index, 2, pairs::COMMAND, direction, event_index)?;
        queue.disable_interrupts();
        let doorbell = transport.enable_queue(&queue, None)?;
        Ok(Self { queue, doorbell })
    }

    fn command(&mut self, transport: &dyn Transport, command: [u8; pairs::COMMAND]) {
        const ERR: u8 = 1;
        self.queue.fill(COMMAND, 0, &command);
        self.queue.fill(ANSWER, 0, &[ERR]);
        self.queue.post_request(COMMAND, command.len(), ANSWER, 1);
        if self.queue.publish() {
            transport.notify(self.doorbell);
        }
    }

    /// Takes the answer to the command.
    fn answer(&mut self) -> Option<u8> {
        self.queue.pop()?;
        let mut answer = [0];
        self.queue.read(ANSWER, 0, &mut answer);
        let [answer] = answer;
        Some(answer)
    }
}

impl NetDevice for VirtioNet {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn bell(&self) -> Option<Arc<dyn Bell>> {
        Some(Arc::clone(&self.bell) as Arc<dyn Bell>)
    }

    fn mtu(&self) -> usize {
        self.mtu.into()
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn room(&mut self) -> usize {
        self.settle();
        let each = virtio::slots(self.mtu, SLOT_BYTES);
        // Whichever pair the frames go by.
        let in_use = self.pairs.iter_mut().take(self.in_use.into());
        in_use.map(|pair| pair.room(each)).min().unwrap_or(0)
    }

    fn transmit(&mut self, frame: &[u8], offload: Option<Offload>) -> Result<(), Full> {
        let frame = frame.get(..LONGEST_FRAME).unwrap_or(frame);
        let number = pairs::of_frame(frame, self.in_use);
        let pair = self.pairs.get_mut(usize::from(number)).ok_or(Full)?;
        pair.transmit(frame, offload.as_ref())
    }

    fn receive(&mut self, frame: &mut Vec<u8>) -> Option<Received> {
        // Each pair in turn, so that none of them waits for the others to be empty.
        let count = self.pairs.len();
        for _ in 0..count {
            let pair = self.pairs.get_mut(self.turn)?;
            self.turn = (self.turn + 1) % count;
            let received = pair.receive(self.merges, frame);
            if received.is_some() {
                return received;
            }
        }
        None
    }

    fn flush(&mut self) -> Rings {
        flush(&mut self.pairs)
    }

    fn enable_interrupts(&mut self) -> bool {
        // All of them, whatever the first says.
        let enable = |more, pair: &mut Pair| pair.enable_interrupts() | more;
        self.pairs.iter_mut().fold(false, enable)
    }

    fn disable_interrupts(&mut self) {
        for pair in &mut self.pairs {
            pair.disable_interrupts();
        }
    }
}
