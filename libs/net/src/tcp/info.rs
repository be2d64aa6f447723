//! What a TCP socket tells of itself (`tcp(7)`, `TCP_INFO`).

use tyn_abi::{Errno, Nanos};
use tyn_tcp::Info;

use crate::stack::Stack;
use crate::tcp::{TcpState, TcpStatus};
use crate::types::SocketId;

/// What a TCP socket tells of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpInfo {
    /// Its state.
    pub status: TcpStatus,
    /// What there is to tell in this state.
    pub life: TcpLife,
}

/// What there is to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpLife {
    /// There was no connection yet.
    None,
    /// It listens.
    Listening {
        /// Connections that can be accepted.
        queued: usize,
        /// How many of them may wait.
        backlog: usize,
    },
    /// It has a connection, or had one.
    Connection {
        /// What the connection tells.
        info: Info,
        /// The MTU of its path, as far as that is known; 0 when it is over.
        mtu: usize,
    },
}

impl Stack {
    /// Returns when a connection got data last; `None` once it is over.
    pub fn tcp_data_received_at(&mut self, id: SocketId) -> Option<Nanos> {
        match &self.tcp(id).ok()?.state {
            TcpState::Open(connection) => Some(connection.tcp.data_received_at()),
            _ => None,
        }
    }

    /// Returns what a socket tells of itself.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn tcp_info(&mut self, id: SocketId) -> Result<TcpInfo, Errno> {
        let status = self.tcp_status(id)?;
        let now = self.out.now;
        let life = match &self.tcp(id)?.state {
            TcpState::Idle => TcpLife::None,
            TcpState::Listening(listener) => TcpLife::Listening {
                queued: listener.queue.len(),
                backlog: listener.backlog,
            },
            TcpState::Open(connection) => {
                let (info, path) = (connection.tcp.info(now), connection.path);
                let host = connection.tuple.remote.ip();
                let mtu = self.path_mtu(host, path);
                TcpLife::Connection { info, mtu }
            }
            TcpState::Ended { info, .. } => TcpLife::Connection {
                info: **info,
                mtu: 0,
            },
        };
        Ok(TcpInfo { status, life })
    }
}
