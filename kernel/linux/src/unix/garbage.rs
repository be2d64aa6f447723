//! Freeing local sockets that are only in messages which wait at such sockets, so that nobody can receive them any more.
//!
//! Like Linux (`net/unix/garbage.c`), it looks when a local socket is closed while others are in messages.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use tyn_io::unix::{Suspect, unreceivable};

use super::UnixSocket;
use super::rights::{self, FLIGHTS, InFlight};
use crate::file::OpenFile;

/// Frees the sockets that nobody can receive, with what is in their messages. The caller holds no lock.
///
/// While it looks, no local socket gets into a message and none that was taken out of one reaches a descriptor table, as both
/// need [`FLIGHTS`]. So each message that a suspect was in when it was counted is found where it is, or is on its way to
/// somebody, and then the suspect counts as received.
pub(super) fn collect() {
    let flights = FLIGHTS.lock();
    if flights.is_empty() {
        return;
    }
    // Who has one open, or works with it, holds a reference that is in no message.
    let suspects: Vec<(usize, Arc<OpenFile>, usize)> = flights
        .iter()
        .filter(|(_, flight)| Weak::strong_count(&flight.open) == flight.messages)
        .filter_map(|(&key, flight)| Some((key, flight.open.upgrade()?, flight.messages)))
        .collect();
    let keys = suspects.iter().map(|(key, ..)| *key);
    let indices: BTreeMap<usize, usize> = keys.zip(0..).collect();
    let graph: Vec<Suspect> = suspects
        .iter()
        .map(|(_, open, messages)| {
            let mut holds = Vec::new();
            if let Some(socket) = open.downcast::<UnixSocket>() {
                socket.visit_rights(&mut |right| holds.extend(indices.get(&right.key())));
            }
            Suspect {
                messages: *messages,
                holds,
            }
        })
        .collect();
    let mut doomed: Vec<InFlight> = Vec::new();
    for index in unreceivable(&graph) {
        let socket = suspects.get(index);
        if let Some(socket) = socket.and_then(|(_, open, _)| open.downcast::<UnixSocket>()) {
            doomed.extend(socket.take_rights());
        }
    }
    drop(flights);
    rights::bury(doomed);
    rights::bury_open(suspects.into_iter().map(|(_, open, _)| open).collect());
}
