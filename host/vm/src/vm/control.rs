//! What may be done with a machine from any thread, while another waits for it.

use std::io;
use std::process::Child;
use std::sync::{Arc, Mutex};

use super::lock;
use crate::config::Forward;
use crate::qmp::Qmp;

/// Stops a machine; may be used from any thread while another waits for it.
#[derive(Clone, Debug)]
pub struct Control {
    pub(super) child: Arc<Mutex<Child>>,
    pub(super) qmp: Arc<Mutex<Qmp>>,
    pub(super) pid: u32,
}

impl Control {
    /// Presses the power button.
    ///
    /// # Errors
    /// When QEMU is gone.
    pub fn power_down(&self) -> io::Result<()> {
        lock(&self.qmp).execute("system_powerdown").map(drop)
    }

    /// Forwards one more port.
    ///
    /// # Errors
    /// When QEMU can't.
    pub fn add_forward(&self, forward: Forward) -> io::Result<()> {
        let Forward { host, guest } = forward;
        let line = format!("hostfwd_add net tcp:127.0.0.1:{host}-:{guest}");
        match lock(&self.qmp).monitor(&line)?.trim() {
            "" => Ok(()),
            refusal => Err(io::Error::other(refusal.to_owned())),
        }
    }

    /// Ends the forwarding of a port that [`Control::add_forward`] began; connections that were made stay.
    ///
    /// # Errors
    /// When QEMU is gone.
    pub fn remove_forward(&self, forward: Forward) -> io::Result<()> {
        let line = format!("hostfwd_remove net tcp:127.0.0.1:{}", forward.host);
        lock(&self.qmp).monitor(&line).map(drop)
    }

    /// Asks QEMU's human monitor, for what has no other command.
    ///
    /// # Errors
    /// When QEMU refuses the command or is gone.
    pub fn monitor(&self, line: &str) -> io::Result<String> {
        lock(&self.qmp).monitor(line)
    }

    /// Ends QEMU at once.
    pub fn kill(&self) {
        // An error says that it has ended already.
        let _ = lock(&self.child).kill();
    }

    /// Returns QEMU's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }
}
