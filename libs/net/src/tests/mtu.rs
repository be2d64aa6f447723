//! Links that take less than Ethernet does.

use super::*;

/// Two stacks whose cards say this MTU.
fn narrow(mtu: usize) -> World {
    let w = World::new();
    for card in &w.cards {
        card.with(|c| c.mtu = Some(mtu));
    }
    w
}

#[test]
fn segments_and_datagrams_fit_the_link() {
    for mtu in [1400, 600] {
        let mut w = narrow(mtu);
        let (a, b) = w.pair();
        assert_eq!(w.a.interfaces()[1].mtu as usize, mtu);
        // Headers of IP and TCP, and timestamps.
        assert_eq!(w.a.tcp_segment_size(a), Ok(Some(mtu as u16 - 52)));
        let data = alloc::vec![7; 30_000];
        let mut sent = 0;
        let mut got = 0;
        while got < data.len() {
            sent += send(&mut w.a, a, &data[sent..]).unwrap_or(0);
            w.settle();
            got += receive(&mut w.b, b, 40_000).map_or(0, |bytes| bytes.len());
        }
        assert_eq!(w.cards[0].with(|c| c.longest), mtu + 14);
        let info = w.a.tcp_info(a).unwrap();
        let crate::TcpLife::Connection { info, mtu: path } = info.life else {
            panic!("{info:?}");
        };
        assert_eq!((info.offered as usize, path), (mtu - 40, mtu));
        let id = w.a.udp_socket().unwrap();
        let most = mtu - 28;
        let to = Some(at(B, 9));
        assert_eq!(w.a.udp_send(id, to, &mut &data[..most]), Ok(most));
        let longer = w.a.udp_send(id, to, &mut &data[..=most]);
        assert_eq!(longer, Err(Errno::EMSGSIZE));
    }
}

#[test]
fn link_that_is_too_narrow_carries_no_ipv6() {
    for (mtu, has_v6) in [(1279, false), (1280, true)] {
        let card = Handle::new(1);
        card.with(|c| c.mtu = Some(mtu));
        let mut stack = stack_with(&card, A, Limits::default(), Ip6Config::Auto);
        assert_eq!(!stack.interfaces()[1].addresses6.is_empty(), has_v6);
    }
}
