//! The 16550 UARTs of a PC, as consoles.
//!
//! Output goes to a queue and from there to the transmit FIFO, at once as far as that takes it, the rest when the
//! transmitter interrupts. Nothing is lost and nothing waits. The interrupt is an edge: its handler goes on until the
//! UART has no reason left (16550D data sheet, IIR), else the next edge would never come.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use tyn_hal::irq::{self, IrqError};
use tyn_hal::mem::IoPort;
use tyn_hal::sync::SpinLock;
use tyn_io::console::{ConsoleDevice, ConsoleListener};

/// Where a UART is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// Ports from 0x3f8, ISA interrupt 4.
    Com1,
    /// Ports from 0x2f8, ISA interrupt 3.
    Com2,
}

impl Port {
    const fn place(self) -> (u16, u8) {
        match self {
            Self::Com1 => (0x3f8, 4),
            Self::Com2 => (0x2f8, 3),
        }
    }
}

/// Bytes that the transmit FIFO takes when it is empty.
const FIFO_BYTES: usize = 16;
/// Most bytes that wait for the transmitter; a writer is told to come back later beyond that.
const QUEUE_BYTES: usize = 64 * 1024;

/// Register offsets.
mod reg {
    /// Data, and divisor latch low while DLAB is set.
    pub(super) const DATA: u16 = 0;
    /// Interrupt enable, and divisor latch high.
    pub(super) const INTERRUPT_ENABLE: u16 = 1;
    /// Interrupt identification (read), FIFO control (write).
    pub(super) const FIFO_CONTROL: u16 = 2;
    pub(super) const LINE_CONTROL: u16 = 3;
    pub(super) const MODEM_CONTROL: u16 = 4;
    pub(super) const LINE_STATUS: u16 = 5;
    pub(super) const SCRATCH: u16 = 7;
}

const IER_RECEIVED: u8 = 1;
const IER_TRANSMIT_EMPTY: u8 = 2;
const IIR_NONE_PENDING: u8 = 1;
const LSR_DATA_READY: u8 = 1;
const LSR_TRANSMIT_EMPTY: u8 = 0x20;

struct State {
    pending: VecDeque<u8>,
    listener: Option<Arc<dyn ConsoleListener>>,
    /// Whether a writer was turned away and wants to hear of room.
    starved: bool,
    /// What the interrupt-enable register holds: an access costs a VM exit.
    enabled: u8,
}

/// A UART.
pub struct Uart {
    ports: [IoPort; 8],
    state: SpinLock<State>,
}

impl core::fmt::Debug for Uart {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Uart")
    }
}

impl Uart {
    /// Initialises the UART at `port` (115200 baud, 8N1, FIFOs on); `None` where there is none.
    ///
    /// # Errors
    /// [`IrqError`] when its interrupt cannot be routed.
    pub fn probe(port: Port) -> Result<Option<Arc<Self>>, IrqError> {
        let (first, line) = port.place();
        let ports: Option<alloc::vec::Vec<IoPort>> =
            (0..8).map(|i| IoPort::new(first + i)).collect();
        let Some(Ok(ports)) = ports.map(<[IoPort; 8]>::try_from) else {
            return Ok(None);
        };
        let state = SpinLock::new(State {
            pending: VecDeque::new(),
            listener: None,
            starved: false,
            enabled: IER_RECEIVED,
        });
        let uart = Self { ports, state };
        uart.write_reg(reg::SCRATCH, 0x5a);
        if uart.read_reg(reg::SCRATCH) != 0x5a {
            return Ok(None);
        }
        const DLAB: u8 = 0x80;
        const EIGHT_BITS: u8 = 3;
        uart.write_reg(reg::INTERRUPT_ENABLE, 0);
        uart.write_reg(reg::LINE_CONTROL, DLAB);
        uart.write_reg(reg::DATA, 1);
        uart.write_reg(reg::INTERRUPT_ENABLE, 0);
        uart.write_reg(reg::LINE_CONTROL, EIGHT_BITS);
        // FIFO on, both cleared, receive trigger at 14 bytes.
        uart.write_reg(reg::FIFO_CONTROL, 0xc7);
        // DTR, RTS, OUT2 (gates the interrupt).
        uart.write_reg(reg::MODEM_CONTROL, 0x0b);
        let uart = Arc::new(uart);
        let (gsi, trigger) = irq::isa_line(line);
        let handler_uart = Arc::clone(&uart);
        irq::register_line(gsi, trigger, Box::new(move || handler_uart.on_interrupt()))?;
        uart.write_reg(reg::INTERRUPT_ENABLE, IER_RECEIVED);
        Ok(Some(uart))
    }

    fn read_reg(&self, register: u16) -> u8 {
        self.ports
            .get(usize::from(register))
            .map_or(0, |p| p.read_u8())
    }

    fn write_reg(&self, register: u16, value: u8) {
        if let Some(port) = self.ports.get(usize::from(register)) {
            port.write_u8(value);
        }
    }

    /// Moves queued bytes to the transmitter as long as it takes them.
    fn pump(&self, state: &mut State) {
        while !state.pending.is_empty() && self.read_reg(reg::LINE_STATUS) & LSR_TRANSMIT_EMPTY != 0
        {
            let n = state.pending.len().min(FIFO_BYTES);
            let mut bytes = [0; FIFO_BYTES];
            let drained = state.pending.drain(..n);
            bytes
                .iter_mut()
                .zip(drained)
                .for_each(|(slot, b)| *slot = b);
            if let Some(data) = self.ports.get(usize::from(reg::DATA)) {
                data.write_bytes(bytes.get(..n).unwrap_or_default());
            }
        }
        let transmit = if state.pending.is_empty() {
            0
        } else {
            IER_TRANSMIT_EMPTY
        };
        let wanted = IER_RECEIVED | transmit;
        if state.enabled != wanted {
            state.enabled = wanted;
            self.write_reg(reg::INTERRUPT_ENABLE, wanted);
        }
    }

    fn on_interrupt(&self) {
        while self.read_reg(reg::FIFO_CONTROL) & IIR_NONE_PENDING == 0 {
            self.serve();
        }
    }

    /// Takes what was received, gives what is to be sent, and tells the listener of both.
    fn serve(&self) {
        let mut input = [0; 64];
        let mut count = 0;
        let (listener, has_room) = {
            let mut state = self.state.lock();
            for slot in &mut input {
                if self.read_reg(reg::LINE_STATUS) & LSR_DATA_READY == 0 {
                    break;
                }
                *slot = self.read_reg(reg::DATA);
                count += 1;
            }
            self.pump(&mut state);
            let has_room = state.starved && state.pending.len() < QUEUE_BYTES / 2;
            if has_room {
                state.starved = false;
            }
            (state.listener.clone(), has_room)
        };
        let Some(listener) = listener else { return };
        if count > 0 {
            listener.received(input.get(..count).unwrap_or_default());
        }
        if has_room {
            listener.writable();
        }
    }
}

impl ConsoleDevice for Uart {
    fn write(&self, bytes: &[u8]) -> usize {
        let mut state = self.state.lock();
        let room = QUEUE_BYTES - state.pending.len().min(QUEUE_BYTES);
        let taken = bytes.len().min(room);
        state.pending.extend(bytes.iter().take(taken));
        state.starved |= taken < bytes.len();
        self.pump(&mut state);
        taken
    }

    fn set_listener(&self, listener: Arc<dyn ConsoleListener>) {
        self.state.lock().listener = Some(listener);
    }
}
