//! Which UDP sockets a datagram is for.

use crate::stack::{Socket, Stack};
use crate::tcp::share_of;
use crate::types::{Path, SocketId, Tuple};

impl Stack {
    /// Lists the sockets that take a datagram of `remote` to `local` that came by `path`, and how well each fits.
    pub(super) fn udp_takers(
        &self,
        path: Path,
        tuple: &Tuple,
    ) -> impl Iterator<Item = (u8, SocketId)> {
        let Tuple { local, remote } = *tuple;
        let device = self.out.routes.device_of(path, local.ip());
        let here = self.udp.by_port.get(&local.port()).into_iter().flatten();
        here.filter_map(move |&id| match self.sockets.get(id) {
            Some(Socket::Udp(socket)) => {
                let score = socket.accepts((path, device), local.ip(), remote)?;
                Some((score, id))
            }
            _ => None,
        })
    }

    /// Returns the socket that fits best, the latest of several. Of a group that fits equally well the peer's address
    /// decides (`SO_REUSEPORT`; `udp4_lib_lookup2` of Linux), unless the group is of connected ones.
    pub(crate) fn udp_best(&self, path: Path, tuple: &Tuple) -> Option<SocketId> {
        let (best, latest) = self
            .udp_takers(path, tuple)
            .max_by_key(|&(score, _)| score)?;
        let is_in_group = |id: SocketId| match self.sockets.get(id) {
            Some(Socket::Udp(s)) => s.options.reuses_port && s.remote.is_none(),
            _ => false,
        };
        if !is_in_group(latest) {
            return Some(latest);
        }
        let group = || {
            let takers = self.udp_takers(path, tuple);
            takers.filter(|&(score, id)| score == best && is_in_group(id))
        };
        let count = group().count();
        let chosen = group().nth(share_of(self.secret.share(tuple), count));
        chosen.map(|(_, id)| id)
    }
}
