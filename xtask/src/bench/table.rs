//! What was measured of Tyn and of Linux, as a table: medians, and ratios such that more than 1 means that Tyn is better.

use std::fs;

use anyhow::{Context, Result};

use super::guests::{self, Guest};
use super::median;

/// Which way a number is better.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Better {
    More,
    Less,
}

/// A number that was measured.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) better: Better,
    pub(super) value: f64,
}

/// All values of one row, of Tyn and of Linux.
struct Measured {
    row: Row,
    values: [Vec<f64>; 2],
}

/// All rows, in the order in which they came.
#[derive(Default)]
struct Table(Vec<Measured>);

impl Table {
    /// Adds a number of Tyn (0) or Linux (1).
    fn add(&mut self, guest: usize, row: Row) {
        let value = row.value;
        let at = self.0.iter().position(|m| m.row.name == row.name);
        let at = at.unwrap_or_else(|| {
            self.0.push(Measured {
                row,
                values: [Vec::new(), Vec::new()],
            });
            self.0.len() - 1
        });
        self.0[at].values[guest].push(value);
    }

    /// Prints it as Markdown.
    fn print(&self) {
        println!("| row | unit | tyn | {} | ratio |", guests::LINUX);
        println!("|---|---|---|---|---|");
        self.0.iter().for_each(print);
    }
}

fn print(measured: &Measured) {
    let [tyn, linux] = [median(&measured.values[0]), median(&measured.values[1])];
    let ratio = ratio(measured.row.better, tyn, linux);
    let (name, unit) = (&measured.row.name, measured.row.unit);
    println!("| {name} | {unit} | {tyn:.2} | {linux:.2} | {ratio:.2} |");
}

fn ratio(better: Better, tyn: f64, linux: f64) -> f64 {
    match better {
        Better::More => tyn / linux,
        Better::Less => linux / tyn,
    }
}

/// Returns how busy this machine is.
///
/// # Errors
/// When it does not say.
pub(super) fn machine_load() -> Result<String> {
    let load = fs::read_to_string("/proc/loadavg")?;
    let words: Vec<_> = load.split(' ').take(3).collect();
    Ok(words.join(" "))
}

/// Measures both guests in turn so many times, and prints the table of medians.
///
/// # Errors
/// That of `measure`, with the guest's name.
pub(super) fn compare(
    guests: &[Guest; 2],
    runs: usize,
    measure: impl Fn(&Guest) -> Result<Vec<Row>>,
) -> Result<()> {
    let mut table = Table::default();
    for _ in 0..runs {
        for (i, guest) in guests.iter().enumerate() {
            let rows = measure(guest).with_context(|| format!("{} failed", guest.name))?;
            for row in rows {
                eprintln!("{}: {} {:.2} {}", guest.name, row.name, row.value, row.unit);
                table.add(i, row);
            }
        }
    }
    table.print();
    println!("load of this machine {}", machine_load()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_above_one_are_better() {
        assert!((ratio(Better::More, 2.0, 1.0) - 2.0).abs() < 1e-9);
        assert!((ratio(Better::Less, 2.0, 1.0) - 0.5).abs() < 1e-9);
    }
}
