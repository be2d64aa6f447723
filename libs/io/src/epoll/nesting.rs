//! How deep epoll sets may watch each other.

/// Most sets on a path of sets that watch each other, below the first (`EP_MAX_NESTS` of Linux).
pub const MAX_NESTS: usize = 4;

/// Returns the number of edges on the longest path from `node` along `next`, or `None` when `forbidden` is on a path or
/// one is longer than [`MAX_NESTS`]: adding would make a loop, or too deep a chain.
///
/// Adding set `to` to set `ep` is allowed when `depth_below(to, ep, children) + 1 + depth_below(ep, to, parents)` exists
/// and is at most [`MAX_NESTS`] (`ELOOP` otherwise). Since every chain was checked so, the recursion of polls and
/// notifications through sets is bounded.
pub fn depth_below<N: Clone + PartialEq, I: IntoIterator<Item = N>>(
    node: &N,
    forbidden: &N,
    next: &impl Fn(&N) -> I,
) -> Option<usize> {
    walk(node, forbidden, next, MAX_NESTS)
}

fn walk<N: Clone + PartialEq, I: IntoIterator<Item = N>>(
    node: &N,
    forbidden: &N,
    next: &impl Fn(&N) -> I,
    left: usize,
) -> Option<usize> {
    if node == forbidden {
        return None;
    }
    let mut depth = 0;
    for neighbour in next(node) {
        depth = depth.max(1 + walk(&neighbour, forbidden, next, left.checked_sub(1)?)?);
    }
    Some(depth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn depth(edges: &[(u8, u8)], node: u8, forbidden: u8) -> Option<usize> {
        let next = |n: &u8| {
            edges
                .iter()
                .filter(|e| e.0 == *n)
                .map(|e| e.1)
                .collect::<Vec<u8>>()
        };
        depth_below(&node, &forbidden, &next)
    }

    #[test]
    fn leaf_has_no_depth() {
        assert_eq!(depth(&[], 1, 2), Some(0));
    }

    #[test]
    fn longest_path_counts() {
        assert_eq!(depth(&[(1, 2), (1, 3), (3, 4)], 1, 9), Some(2));
    }

    #[test]
    fn loop_is_found() {
        assert_eq!(depth(&[(1, 2), (2, 3)], 1, 3), None);
        assert_eq!(depth(&[], 3, 3), None);
    }

    #[test]
    fn chain_that_is_too_long_is_refused() {
        let chain: Vec<(u8, u8)> = (0..4).map(|i| (i, i + 1)).collect();
        assert_eq!(depth(&chain, 0, 99), Some(4));
        let chain: Vec<(u8, u8)> = (0..5).map(|i| (i, i + 1)).collect();
        assert_eq!(depth(&chain, 0, 99), None);
    }
}
