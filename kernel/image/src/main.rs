//! The kernel image: finds the devices and starts the personality, nothing else.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::boxed::Box;
use alloc::sync::Arc;

use tyn_drivers::uart::{Port, Uart};
use tyn_drivers::virtio_net::VirtioNet;
use tyn_drivers::{discover, virtio};
use tyn_hal::boot::{BootInfo, Entry};
use tyn_hal::irq;
use tyn_hal::power::{self, report};
use tyn_io::ConsoleDevice;
use tyn_linux::boot::{self, Probes};
use tyn_net::device::NetDevice;

tyn_hal::entry!(Entry {
    bsp: main,
    ap: boot::start_further_cpu
});

fn main(info: BootInfo) -> ! {
    let probes = Probes {
        console: find_console,
        control: find_control,
        network: find_network_card,
    };
    boot::start(Box::leak(Box::new(info)), probes)
}

fn find_console() -> Option<Arc<dyn ConsoleDevice>> {
    find_serial(Port::Com1)
}

fn find_control() -> Option<Arc<dyn ConsoleDevice>> {
    find_serial(Port::Com2)
}

fn find_serial(port: Port) -> Option<Arc<dyn ConsoleDevice>> {
    match Uart::probe(port) {
        Ok(uart) => uart.map(|u| u as Arc<dyn ConsoleDevice>),
        Err(e) => {
            report(format_args!(
                "log the serial port {port:?} cannot be used: {e:?}"
            ));
            None
        }
    }
}

/// Virtio device type of network cards (virtio 1.2 §5).
const NETWORK: u32 = 1;

fn find_network_card(info: &BootInfo) -> Option<Box<dyn NetDevice>> {
    let mut network = None;
    for device in discover::virtio_devices(&info.cmdline, power::dsdt()) {
        match device {
            Ok(virtio::Found {
                device_type: NETWORK,
                transport,
            }) if network.is_none() => {
                let handler = || Box::new(tyn_linux::net::on_interrupt) as irq::Handler;
                match VirtioNet::new(transport, info.ram_bytes, handler) {
                    Ok(card) => network = Some(Box::new(card) as Box<dyn NetDevice>),
                    Err(e) => report(format_args!("log the network card cannot be used: {e:?}")),
                }
            }
            Ok(_) => {}
            Err((kind, e)) => report(format_args!(
                "log virtio device of type {kind} cannot be used: {e:?}"
            )),
        }
    }
    network
}
