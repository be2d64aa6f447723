//! Sockets that are only in messages that nobody can receive any more.

use alloc::vec;
use alloc::vec::Vec;

/// A socket that may be garbage: nobody has it open.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// How many messages, anywhere, it is in.
    pub messages: usize,
    /// The suspects in the messages that wait at it, by their index; one for each message.
    pub holds: Vec<usize>,
}

/// Returns the indices of the suspects that cannot be received: those that are neither in a message that waits at a socket
/// which is no suspect, nor in one at a suspect that can be received itself.
#[must_use]
pub fn unreceivable(suspects: &[Suspect]) -> Vec<usize> {
    let mut outside: Vec<usize> = suspects.iter().map(|s| s.messages).collect();
    for &held in suspects.iter().flat_map(|s| &s.holds) {
        if let Some(messages) = outside.get_mut(held) {
            *messages = messages.saturating_sub(1);
        }
    }
    let mut is_reached = vec![false; suspects.len()];
    let mut next: Vec<usize> = (0..suspects.len())
        .filter(|&i| outside.get(i).is_some_and(|&n| n > 0))
        .collect();
    while let Some(index) = next.pop() {
        let Some(is_reached) = is_reached.get_mut(index).filter(|r| !**r) else {
            continue;
        };
        *is_reached = true;
        next.extend(suspects.get(index).into_iter().flat_map(|s| &s.holds));
    }
    (0..suspects.len())
        .filter(|&i| is_reached.get(i) == Some(&false))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspects(all: &[(usize, &[usize])]) -> Vec<Suspect> {
        let suspect = |&(messages, holds): &(usize, &[usize])| Suspect {
            messages,
            holds: holds.to_vec(),
        };
        all.iter().map(suspect).collect()
    }

    #[test]
    fn a_socket_in_its_own_message_is_garbage() {
        assert_eq!(unreceivable(&suspects(&[(1, &[0])])), [0]);
        assert_eq!(unreceivable(&suspects(&[(2, &[0, 0])])), [0]);
    }

    #[test]
    fn a_message_elsewhere_keeps_a_socket_and_what_it_holds() {
        assert_eq!(unreceivable(&suspects(&[(2, &[0])])), []);
        assert_eq!(
            unreceivable(&suspects(&[(1, &[1]), (1, &[2]), (1, &[])])),
            []
        );
    }

    #[test]
    fn a_loop_is_garbage_and_what_hangs_on_it() {
        // 0 and 1 hold each other, 1 also holds 2; 3 can be received and holds 4.
        let all = suspects(&[(1, &[1]), (1, &[0, 2]), (1, &[]), (1, &[4]), (1, &[])]);
        assert_eq!(unreceivable(&all), [0, 1, 2]);
    }

    #[test]
    fn what_only_leads_into_a_loop_is_no_garbage_nor_is_the_loop() {
        // 0 can be received and holds 1, which 2 holds, too, and which holds 2.
        let all = suspects(&[(1, &[1]), (2, &[2]), (1, &[1])]);
        assert_eq!(unreceivable(&all), []);
    }

    const SOCKETS: usize = 3;

    fn set(bits: u32) -> Vec<usize> {
        (0..SOCKETS).filter(|i| bits >> i & 1 == 1).collect()
    }

    /// Checks a graph in which `edges` has a bit for what each socket holds, and `outside` for what is in a message elsewhere.
    fn check_graph(edges: u32, outside: u32) {
        let holds: Vec<Vec<usize>> = (0..SOCKETS).map(|i| set(edges >> (i * SOCKETS))).collect();
        let messages = |i: usize| {
            let inside = holds.iter().filter(|h| h.contains(&i)).count();
            inside + (outside >> i & 1) as usize
        };
        let all: Vec<Suspect> = (0..SOCKETS)
            .map(|i| Suspect {
                messages: messages(i),
                holds: holds[i].clone(),
            })
            .collect();
        let mut reached = outside;
        for _ in 0..SOCKETS {
            let next: Vec<usize> = set(reached)
                .into_iter()
                .flat_map(|i| holds[i].clone())
                .collect();
            reached = next.iter().fold(reached, |reached, j| reached | 1 << j);
        }
        assert_eq!(unreceivable(&all), set(!reached), "{edges:b} {outside:b}");
    }

    /// What can be received is what a search from the messages outside finds, whatever the graph.
    #[test]
    fn small_graphs_agree_with_a_search_from_outside() {
        for edges in 0u32..1 << (SOCKETS * SOCKETS) {
            (0u32..1 << SOCKETS).for_each(|outside| check_graph(edges, outside));
        }
    }
}
