//! A shell of the node in a guest on our terminal, by Erlang's distribution (`docs/design/0007-remote-shell.md`). The guest's
//! supervisor forwards a port of this machine for us as long as we are connected to it.

use std::io::{BufReader, Read};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use tyn_remsh::{Address, End, Signals};

use crate::control::{self, Request};
use crate::guests::Guest;
use crate::node::EPMD_PORT;
use crate::terminal::{self, Terminal};

/// A port of this machine that leads into the guest while this lives.
struct Way {
    port: u16,
    _supervisor: BufReader<UnixStream>,
}

impl Way {
    fn to(guest: &Guest, port: u16) -> Result<Self> {
        let mut supervisor = control::ask(guest.dir(), Request::Forward(port))?;
        let mut ours = [0; 2];
        let read = supervisor.read_exact(&mut ours);
        read.context("the guest's supervisor forwards no port")?;
        Ok(Self {
            port: u16::from_le_bytes(ours),
            _supervisor: supervisor,
        })
    }
}

/// Runs a shell of the guest's node.
///
/// # Errors
/// Why there is no way to it, and the remedy.
pub(crate) fn shell(guest: &Guest) -> Result<u8> {
    let guest_name = &guest.record.name;
    let node = guest.node()?;
    let (name, cookie) = node.expect_reachable(guest_name, &guest.record.image)?;
    let port = match node.port {
        Some(port) => port,
        None => {
            let epmd = Way::to(guest, EPMD_PORT)?;
            let port = tyn_remsh::port_of(name, epmd.port)
                .with_context(|| format!("the epmd of {guest_name} does not answer"))?;
            port.with_context(|| {
                format!("the epmd of {guest_name} knows no node {name}; it may still be starting")
            })?
        }
    };
    let way = Way::to(guest, port)?;
    let address = Address {
        port: way.port,
        cookie: cookie.to_owned(),
    };
    // Before the terminal is another: whatever ends us from here on puts it back.
    let signals = Signals::follow(|signal| {
        terminal::restore();
        tyn_scratch::end(128 + signal)
    })
    .context("signals can't be handled")?;
    let waiting = Terminal::enter_waiting()?;
    let size = || {
        let size = terminal::size();
        (size.rows, size.columns)
    };
    let greet = |node: &str| {
        terminal::say(&format!(
            "tyn: {node} in {guest_name}; Ctrl-D leaves it, Ctrl-C interrupts"
        ));
    };
    let end = tyn_remsh::run(&address, &signals, &size, &greet);
    drop(waiting);
    match end.with_context(|| format!("no shell in {guest_name}"))? {
        End::Left => terminal::say(&format!("\ntyn: {guest_name} runs on")),
        End::Ended => terminal::say(&format!("\ntyn: the shell has ended; {guest_name} runs on")),
        End::Closed => terminal::say(&format!(
            "\ntyn: the node in {guest_name} has closed the connection"
        )),
    }
    Ok(0)
}
