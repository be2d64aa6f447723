//! Which sets watch an open file description.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_hal::sync::SpinLock;

use super::Watch;

/// The watches of one open file description.
pub struct Watchers(SpinLock<WatchList>);

struct WatchList {
    /// By address.
    watches: BTreeMap<usize, Arc<Watch>>,
    /// How many there may be before those of closed sets are looked for.
    sweep_above: usize,
}

/// Fewer watches than this are not worth looking through.
const SWEEP_ABOVE: usize = 8;

fn address(watch: &Arc<Watch>) -> usize {
    Arc::as_ptr(watch).addr()
}

impl core::fmt::Debug for Watchers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Watchers")
    }
}

impl Default for Watchers {
    fn default() -> Self {
        Self::new()
    }
}

impl Watchers {
    /// Makes an empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self(SpinLock::new(WatchList {
            watches: BTreeMap::new(),
            sweep_above: SWEEP_ABOVE,
        }))
    }

    pub(super) fn add(&self, watch: Arc<Watch>) {
        let mut list = self.0.lock();
        let mut dead = Vec::new();
        if list.watches.len() >= list.sweep_above {
            // Watches of sets that were closed: nobody else holds them.
            list.watches.retain(|_, watch| {
                let is_alive = Arc::strong_count(watch) > 1;
                if !is_alive {
                    dead.push(Arc::clone(watch));
                }
                is_alive
            });
            // As many as are kept are added before the next time: the cost of one is constant on average.
            list.sweep_above = (2 * list.watches.len()).max(SWEEP_ABOVE);
        }
        list.watches.insert(address(&watch), watch);
        drop(list);
        drop(dead);
    }

    pub(super) fn remove(&self, watch: &Arc<Watch>) {
        let mut list = self.0.lock();
        let removed = list.watches.remove(&address(watch));
        drop(list);
        drop(removed);
    }

    /// Ends all watches: the description is closed. The caller holds no lock.
    pub fn forget(&self) {
        let watches = {
            let mut list = self.0.lock();
            if list.watches.is_empty() {
                return;
            }
            core::mem::take(&mut list.watches)
        };
        for watch in watches.into_values() {
            let serial = watch.core.serial.lock();
            let item = watch.core.set.lock().remove_item(watch.id);
            watch.end();
            drop(serial);
            drop(item);
        }
    }
}
