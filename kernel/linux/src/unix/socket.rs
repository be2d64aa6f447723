//! Local sockets as sockets: what the socket calls do with them.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use tyn_abi::socket::{
    AF_UNIX, MsgFlags, SCM_CREDENTIALS, SHUT_RD, SHUT_WR, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET, so,
};
use tyn_abi::{Errno, Events, Nanos, Sink, Source, UserVa};
use tyn_io::unix::{Address, Credentials, Shutdown, Take};

use super::names::Name;
use super::rights::{self, InFlight};
use super::stream::Listener;
use super::{Role, UnixSocket, connection_kind, running};
use crate::cx::Cx;
use crate::socket::{Accepted, Blocking, Control, Direction, Incoming, Outgoing, Socket};
use crate::socket_options::{Value, int};

impl UnixSocket {
    fn passes_credentials(&self) -> bool {
        self.passes_credentials.load(Ordering::Relaxed)
    }

    fn pass_credentials(&self, passes: bool) {
        self.passes_credentials.store(passes, Ordering::Relaxed);
    }

    fn bind_to(&self, cx: &Cx<'_>, address: Address) -> Result<(), Errno> {
        let this = self.this.upgrade().ok_or(Errno::EINVAL)?;
        if self.name.lock().is_some() {
            return Err(Errno::EINVAL);
        }
        let name = Name::claim(cx, address, &this)?;
        let address = name.address().clone();
        let mut slot = self.name.lock();
        if slot.is_some() {
            return Err(Errno::EINVAL);
        }
        *slot = Some(name);
        drop(slot);
        match &*self.role.lock() {
            Role::Connected(end) => end.set_name(address),
            Role::Datagram { inbox, .. } => inbox.set_name(address),
            Role::Fresh | Role::Listening(_) => {}
        }
        Ok(())
    }

    /// Gives a socket a name that is to be told who sends, unless it has one: it may be answered.
    pub(super) fn name_if_asked(&self, cx: &Cx<'_>) -> Result<(), Errno> {
        if !self.passes_credentials() || self.name.lock().is_some() {
            return Ok(());
        }
        match self.bind_to(cx, Address::Unnamed) {
            // Another thread was first.
            Err(Errno::EINVAL) => Ok(()),
            result => result,
        }
    }

    /// Returns what is told beside a message: who sent it. Of those, only a stream has an end that is told of nobody.
    fn control(&self, writer: Credentials) -> Vec<Control> {
        let is_end = writer == Credentials::default() && self.kind != SOCK_STREAM;
        let wants = self.passes_credentials() && !is_end;
        let control = wants.then(|| Control {
            level: SOL_SOCKET,
            kind: SCM_CREDENTIALS,
            data: writer.to_bytes(),
        });
        control.into_iter().collect()
    }
}

impl Socket for UnixSocket {
    fn kind(&self) -> u32 {
        self.kind
    }

    fn bind(&self, cx: &mut Cx<'_>, address: &[u8]) -> Result<(), Errno> {
        self.bind_to(cx, Address::parse(address)?)
    }

    fn connect(&self, cx: &mut Cx<'_>, address: &[u8], blocking: Blocking) -> Result<(), Errno> {
        if self.kind == SOCK_DGRAM {
            return self.connect_datagrams(cx, address);
        }
        let address = Address::parse(address)?;
        self.connect_stream(cx, &address, blocking)
    }

    fn listen(&self, _: &mut Cx<'_>, backlog: usize) -> Result<(), Errno> {
        let Some(kind) = connection_kind(self.kind) else {
            return Err(Errno::EOPNOTSUPP);
        };
        let address = self.address();
        let mut role = self.role.lock();
        match &*role {
            Role::Fresh if address == Address::Unnamed => Err(Errno::EINVAL),
            Role::Fresh => {
                let who = running();
                *role = Role::Listening(Listener::new(kind, address, &self.queue, who, backlog));
                Ok(())
            }
            Role::Listening(listener) => {
                listener.set_limit(backlog);
                Ok(())
            }
            Role::Connected(_) | Role::Datagram { .. } => Err(Errno::EINVAL),
        }
    }

    fn accept(&self) -> Result<Accepted, Errno> {
        let listener = match &*self.role.lock() {
            Role::Listening(listener) => Arc::clone(listener),
            Role::Datagram { .. } => return Err(Errno::EOPNOTSUPP),
            Role::Fresh | Role::Connected(_) => return Err(Errno::EINVAL),
        };
        let end = listener.accept()?;
        let peer = end.peer_name().to_bytes();
        let queue = end.own_queue();
        let name = Some(Name::inherited(listener.name().clone()));
        let socket = Self::with_role(self.kind, Role::Connected(end), queue, name);
        socket.pass_credentials(self.passes_credentials());
        let name = format!("socket:[{}]", socket.inode);
        Ok(Accepted {
            file: socket,
            name,
            peer,
        })
    }

    fn local_address(&self) -> Result<Vec<u8>, Errno> {
        Ok(self.address().to_bytes())
    }

    fn peer_address(&self) -> Result<Vec<u8>, Errno> {
        match &*self.role.lock() {
            Role::Connected(end) => Ok(end.peer_name().to_bytes()),
            Role::Datagram {
                peer: Some(peer), ..
            } => Ok(peer.name().to_bytes()),
            _ => Err(Errno::ENOTCONN),
        }
    }

    fn send(
        &self,
        cx: &Cx<'_>,
        src: &mut dyn Source,
        message: &mut Outgoing,
    ) -> Result<usize, Errno> {
        if message.flags.contains(MsgFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        self.name_if_asked(cx)?;
        let mut rights = InFlight::launch(cx, &message.rights)?;
        let who = message.credentials.unwrap_or_else(running);
        let to = Some((cx, message.address.as_deref()));
        let sent = self.send_message(src, &mut rights, who, to);
        rights::bury(rights);
        if sent.is_ok() {
            // They went with the first bytes.
            rights::bury_open(core::mem::take(&mut message.rights));
        }
        sent
    }

    fn receive(&self, dst: &mut dyn Sink, flags: MsgFlags) -> Result<Incoming, Errno> {
        if flags.contains(MsgFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        let take = if flags.contains(MsgFlags::PEEK) {
            Take::Peek
        } else {
            Take::Remove
        };
        let (end, inbox) = match &*self.role.lock() {
            Role::Connected(end) => (Some(end.clone()), None),
            Role::Datagram {
                inbox, shutdown, ..
            } => (None, Some((Arc::clone(inbox), *shutdown))),
            Role::Fresh | Role::Listening(_) if self.kind == SOCK_STREAM => {
                return Err(Errno::EINVAL);
            }
            Role::Fresh | Role::Listening(_) => return Err(Errno::ENOTCONN),
        };
        let (received, address) = match (end, inbox) {
            (Some(end), _) => (end.receive(dst, take, self.passes_credentials())?, None),
            (None, Some((inbox, shutdown))) => match inbox.receive(dst, take) {
                // As on Linux, which learns that there is nothing before it asks whether there will be.
                Err(Errno::EAGAIN)
                    if shutdown.contains(Shutdown::RECEIVE)
                        && !flags.contains(MsgFlags::DONTWAIT) =>
                {
                    return Ok(Incoming::default());
                }
                result => {
                    let datagram = result?;
                    let sender = match datagram.sender {
                        Address::Unnamed => None,
                        sender => Some(sender.to_bytes()),
                    };
                    (datagram.received, sender)
                }
            },
            (None, None) => return Err(Errno::ENOTCONN),
        };
        let mut result = MsgFlags::empty();
        let is_record = self.kind != SOCK_STREAM;
        result.set(
            MsgFlags::TRUNC,
            is_record && received.full_length > received.count,
        );
        let wants_length = is_record && flags.contains(MsgFlags::TRUNC);
        let count = if wants_length {
            received.full_length
        } else {
            received.count
        };
        let rights = InFlight::land(received.rights);
        Ok(Incoming {
            count,
            address,
            rights,
            control: self.control(received.writer),
            flags: result,
        })
    }

    fn shutdown(&self, how: i32) -> Result<(), Errno> {
        let how = match how {
            SHUT_RD => Shutdown::RECEIVE,
            SHUT_WR => Shutdown::SEND,
            _ => Shutdown::all(),
        };
        let listener = match &mut *self.role.lock() {
            Role::Fresh => None,
            Role::Listening(listener) => Some(Arc::clone(listener)),
            Role::Connected(end) => {
                end.shutdown(how);
                None
            }
            Role::Datagram {
                inbox, shutdown, ..
            } => {
                *shutdown |= how;
                if how.contains(Shutdown::RECEIVE) {
                    inbox.shut();
                }
                None
            }
        };
        if let Some(listener) = listener {
            listener.shut(how);
        }
        self.queue.notify(Events::all());
        Ok(())
    }

    fn get_option(
        &self,
        _: &Cx<'_>,
        (level, name): (i32, i32),
        _: UserVa,
        _: usize,
    ) -> Result<Value, Errno> {
        if level != SOL_SOCKET {
            return Err(Errno::EOPNOTSUPP);
        }
        let number = |value: u32| Ok(Value::int(value));
        match name {
            so::TYPE => number(self.kind),
            so::DOMAIN => number(u32::from(AF_UNIX)),
            so::PROTOCOL => number(0),
            so::ERROR => number(self.take_error().map_or(0, |e| u32::from(e.number()))),
            so::ACCEPTCONN => number(u32::from(matches!(&*self.role.lock(), Role::Listening(_)))),
            so::PASSCRED => number(self.passes_credentials().into()),
            so::PEERCRED => {
                let peer = match &*self.role.lock() {
                    Role::Connected(end) => end.peer_credentials(),
                    Role::Listening(listener) => listener.credentials(),
                    Role::Fresh | Role::Datagram { .. } => Credentials::NONE,
                };
                Ok(peer.to_bytes().into())
            }
            name => self.options.get(name).ok_or(Errno::ENOPROTOOPT),
        }
    }

    fn set_option(&self, _: &Cx<'_>, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        if level != SOL_SOCKET {
            return Err(Errno::EOPNOTSUPP);
        }
        if name == so::PASSCRED {
            self.pass_credentials(int(value)? != 0);
            return Ok(());
        }
        self.options
            .set(name, value)
            .unwrap_or(Err(Errno::ENOPROTOOPT))?;
        if name == so::SNDBUF
            && let Some(end) = self.link()
        {
            end.set_send_limit(self.options.send_buffer());
        }
        Ok(())
    }

    fn timeout(&self, direction: Direction) -> Option<Nanos> {
        self.options.timeout(direction)
    }
}
