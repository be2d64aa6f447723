//! What an interface takes in of a group for all sockets together (RFC 3376 §3.2, RFC 3810 §4.2).

use alloc::collections::BTreeMap;
use core::net::IpAddr;

use super::filter::{FilterMode, SourceFilter};

/// How many filters name a source.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Named {
    including: u32,
    excluding: u32,
}

/// The filters of a group's members together.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Merged {
    /// Filters with [`FilterMode::Exclude`].
    excluding: u32,
    sources: BTreeMap<IpAddr, Named>,
}

impl Merged {
    /// Adds a socket's filter.
    pub(crate) fn add(&mut self, filter: &SourceFilter) {
        match filter.mode {
            FilterMode::Exclude => self.excluding += 1,
            FilterMode::Include => {}
        }
        for &source in &filter.sources {
            *self.counter(source, filter.mode) += 1;
        }
    }

    /// Takes away a filter that was added.
    pub(crate) fn remove(&mut self, filter: &SourceFilter) {
        match filter.mode {
            FilterMode::Exclude => self.excluding -= 1,
            FilterMode::Include => {}
        }
        for &source in &filter.sources {
            *self.counter(source, filter.mode) -= 1;
            if self.sources.get(&source) == Some(&Named::default()) {
                self.sources.remove(&source);
            }
        }
    }

    fn counter(&mut self, source: IpAddr, mode: FilterMode) -> &mut u32 {
        let named = self.sources.entry(source).or_default();
        match mode {
            FilterMode::Exclude => &mut named.excluding,
            FilterMode::Include => &mut named.including,
        }
    }

    /// Returns whether anybody wants to hear a source.
    pub(crate) fn allows(&self, source: IpAddr) -> bool {
        match self.sources.get(&source) {
            Some(named) => named.including > 0 || named.excluding != self.excluding,
            None => self.excluding > 0,
        }
    }

    /// Returns the filter that lets through the same, with its sources in order.
    pub(crate) fn filter(&self) -> SourceFilter {
        let mode = match self.excluding {
            0 => FilterMode::Include,
            _ => FilterMode::Exclude,
        };
        let is_listed = |source: &IpAddr| self.allows(*source) == (mode == FilterMode::Include);
        SourceFilter {
            mode,
            sources: self.sources.keys().copied().filter(is_listed).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::net::Ipv4Addr;
    use proptest::prelude::*;

    fn host(number: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, number).into()
    }

    fn filters() -> impl Strategy<Value = Vec<SourceFilter>> {
        let mode = prop_oneof![Just(FilterMode::Exclude), Just(FilterMode::Include)];
        let sources = proptest::collection::btree_set(0u8..6, 0..5);
        let filter = (mode, sources).prop_map(|(mode, sources)| SourceFilter {
            mode,
            sources: sources.into_iter().map(host).collect(),
        });
        proptest::collection::vec(filter, 0..6)
    }

    proptest! {
        /// The interface takes in what one of the sockets wants, no more; and says so in one filter.
        #[test]
        fn what_somebody_wants_is_let_through(filters in filters(), leavers in 0usize..6) {
            let mut merged = Merged::default();
            filters.iter().for_each(|f| merged.add(f));
            let (gone, here) = filters.split_at(leavers.min(filters.len()));
            gone.iter().for_each(|f| merged.remove(f));
            let filter = merged.filter();
            for source in (0..7).map(host) {
                let is_wanted = here.iter().any(|f| f.allows(source));
                prop_assert_eq!(merged.allows(source), is_wanted);
                prop_assert_eq!(filter.allows(source), is_wanted);
            }
            here.iter().for_each(|f| merged.remove(f));
            prop_assert_eq!(merged, Merged::default());
        }
    }
}
