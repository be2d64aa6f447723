//! Great transfers over a path that loses, delays and reorders: every byte must be right. How fast they are beside a Linux
//! guest is measured by `cargo xtask bench path`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bulk::{self, BLOCK, PORT};
use super::line::Impairment;
use super::path::check;
use super::tap::Tap;
use super::{Guest, Options, Wiring};
use crate::lab::Lab;

/// The suite's path: a round trip of 50 ms, and each way one frame of a hundred is lost and another overtakes.
pub(super) const ORDINARY: Impairment = Impairment {
    loss: 1.0,
    delay: 25,
    reorder: 1.0,
    rate: 0,
    limit: 1000,
    seed: 1,
};
/// This machine's congestion control in the direction to the guest, whatever its default.
const CONGESTION: &str = "cubic";

/// Transfers blocks each way.
///
/// # Errors
/// When one byte is wrong, or nothing was lost or overtook.
pub(super) fn transfer(lab: &Lab, options: &Options) -> Result<()> {
    let (count, how) = (options.impaired, options.path);
    let image = bulk::image(&lab.image)?;
    let mut guest = Guest::boot_as(lab, options, Wiring::Path(how), |config| {
        config.initrd = image;
    })?;
    let address = Tap::guest(PORT);
    let from = guest.explain(bulk::from_guest(address, count))?;
    let to = guest.explain(bulk::to_guest_by(address, count, Some(CONGESTION)))?;
    let path = guest.path.take().context("the guest has a path")?;
    guest.shut_down()?;
    let counts = path.finish()?;
    check(&counts)?;
    let rate = |took: Duration| (count * BLOCK) as f64 / took.as_secs_f64() / 1e3;
    eprintln!(
        "          {count} blocks over a bad path at {:.0} KB/s from the guest, {:.0} to it",
        rate(from),
        rate(to)
    );
    for (way, counts) in ["to", "from"].iter().zip(counts) {
        eprintln!("          frames {way} the guest: {counts:?}");
        let is_bad =
            (counts.lost > 0 || how.loss == 0.0) && (counts.early > 0 || how.reorder == 0.0);
        ensure!(
            is_bad,
            "nothing happened to frames {way} the guest: {counts:?}"
        );
    }
    Ok(())
}
