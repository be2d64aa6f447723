//! The list of TCP's sockets, piece by piece.

use super::*;
use crate::census::{Place, Row};
use crate::tcp::TcpStatus;

fn list(stack: &mut Stack, at_a_time: usize) -> Vec<Row> {
    let (mut all, mut place) = (Vec::new(), Place::default());
    loop {
        let rows = stack.tcp_rows(&mut place, at_a_time).unwrap();
        if rows.is_empty() {
            assert_eq!(place, Place::End);
            return all;
        }
        all.extend(rows);
    }
}

fn count(rows: &[Row], status: TcpStatus) -> usize {
    rows.iter().filter(|row| row.status == status).count()
}

#[test]
fn pieces_make_the_whole() {
    let mut w = World::new();
    let listener = w.listen(80, 64);
    let clients: Vec<_> = (0..20).map(|_| w.dial(80)).collect();
    w.settle();
    let mut servers = Vec::new();
    while let Ok((id, _)) = w.b.tcp_accept(listener) {
        servers.push(id);
    }
    assert_eq!(servers.len(), 20);
    // Three are over on A's side, and two never come to an end of their handshake.
    for (&server, &client) in servers.iter().zip(&clients).take(3) {
        w.a.close(client);
        w.settle();
        w.b.close(server);
        w.settle();
    }
    w.filter = Box::new(|side, _| match side {
        Side::A => Fault::Deliver,
        Side::B => Fault::Lose,
    });
    w.dial(80);
    w.dial(80);
    w.settle();
    let whole = list(&mut w.b, 1000);
    assert_eq!(count(&whole, TcpStatus::Listen), 1);
    assert_eq!(count(&whole, TcpStatus::Established), 17);
    assert_eq!(count(&whole, TcpStatus::SynReceived), 2);
    let other = list(&mut w.a, 1000);
    assert_eq!(count(&other, TcpStatus::TimeWait), 3);
    assert_eq!(count(&other, TcpStatus::SynSent), 2);
    for at_a_time in [1, 2, 3, 17, 20] {
        assert_eq!(list(&mut w.b, at_a_time), whole, "{at_a_time} at a time");
        assert_eq!(list(&mut w.a, at_a_time), other, "{at_a_time} at a time");
    }
}
