//! `cargo xtask bench`: Tyn beside Linux guests with the same QEMU flags, in turn; medians and ratios. See
//! `bench/README.md`.

mod boot;
mod flood;
pub(crate) mod guests;
mod host;
mod net;
mod path;
mod running;
mod table;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};

/// Options of the comparison.
#[derive(Clone, Debug, Args)]
pub(crate) struct Command {
    /// What to compare (default: boot)
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    options: Options,
    /// Look for the least memory that each guest serves with, too
    #[arg(long)]
    least_memory: bool,
}

/// What every comparison takes.
#[derive(Clone, Copy, Debug, Args)]
struct Options {
    /// Boots of each guest
    #[arg(long, global = true, default_value_t = 5)]
    runs: usize,
    /// Virtual CPUs
    #[arg(long, global = true, default_value_t = 2)]
    cpus: u32,
    /// Memory in MiB
    #[arg(long, global = true, default_value_t = 512)]
    memory: u64,
}

/// A Linux guest (`bench/README.md`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Linux {
    /// Debian's source with what a BEAM guest needs and nothing else
    Tiny,
    /// Debian's kernel for virtual machines
    Cloud,
}

/// The Linux guests of a comparison.
#[derive(Clone, Debug, Args)]
struct Rivals {
    /// Linux guests to compare with
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["tiny", "cloud"])]
    linux: Vec<Linux>,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Boot time and memory
    Boot {
        /// Look for the least memory that each guest serves with, too
        #[arg(long)]
        least_memory: bool,
    },
    /// What system calls, faults, switches and Erlang's own work cost
    Host(host::Rows),
    /// Requests, connections and great transfers through a network card
    Net {
        #[command(flatten)]
        load: net::Load,
        #[command(flatten)]
        rivals: Rivals,
    },
    /// Great transfers over a path that loses, delays and reorders
    Path {
        #[command(flatten)]
        load: path::Load,
        #[command(flatten)]
        rivals: Rivals,
    },
    /// Transfers while connection requests are forged
    Flood {
        #[command(flatten)]
        load: flood::Load,
        #[command(flatten)]
        rivals: Rivals,
    },
}

/// Runs what was asked for.
///
/// # Errors
/// When a guest can't be built or fails.
pub(crate) fn run(command: &Command) -> Result<()> {
    match &command.what {
        None => boot::boot(command.options, command.least_memory),
        Some(What::Boot { least_memory }) => boot::boot(command.options, *least_memory),
        Some(What::Host(rows)) => host::host(command.options, rows),
        Some(What::Net { load, rivals }) => net::net(command.options, rivals, *load),
        Some(What::Path { load, rivals }) => path::path(command.options, rivals, *load),
        Some(What::Flood { load, rivals }) => flood::flood(command.options, rivals, *load),
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_or_the_mean_of_two() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }
}
