//! What was measured of Tyn and of Linux guests, as a table: medians, and ratios such that more than 1 means that Tyn is
//! better.

use std::fs;

use anyhow::{Context, Result};

use super::guests::Guest;
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

/// All values of one row.
struct Measured {
    row: Row,
    /// Of each guest.
    values: Vec<Vec<f64>>,
}

/// All rows, in the order in which they came.
struct Table {
    /// Names of the guests; the first is Tyn.
    guests: Vec<&'static str>,
    rows: Vec<Measured>,
}

impl Table {
    /// Adds a number of one of the guests.
    fn add(&mut self, guest: usize, row: Row) {
        let value = row.value;
        let at = self.rows.iter().position(|m| m.row.name == row.name);
        let at = at.unwrap_or_else(|| {
            self.rows.push(Measured {
                row,
                values: vec![Vec::new(); self.guests.len()],
            });
            self.rows.len() - 1
        });
        self.rows[at].values[guest].push(value);
    }

    /// Prints it as Markdown.
    fn print(&self) {
        print!("| row | unit ");
        for (i, guest) in self.guests.iter().enumerate() {
            print!("| {guest} {}", if i == 0 { "" } else { "| ratio " });
        }
        println!("|\n|{}", "---|".repeat(1 + 2 * self.guests.len()));
        for row in &self.rows {
            println!("{}", row.line());
        }
    }
}

impl Measured {
    /// Returns its line of the table: each guest's median, and behind a Linux guest's how Tyn compares.
    fn line(&self) -> String {
        let mut line = format!("| {} | {} ", self.row.name, self.row.unit);
        let mut tyn = None;
        for values in &self.values {
            let value = median(values);
            line += &format!("| {value:.2} ");
            match tyn {
                None => tyn = Some(value),
                Some(tyn) => line += &format!("| {:.2} ", ratio(self.row.better, tyn, value)),
            }
        }
        line + "|"
    }
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

/// Measures the guests in turn so many times, and prints the table of medians. The first is Tyn.
///
/// # Errors
/// That of `measure`, with the guest's name.
pub(super) fn compare(
    guests: &[Guest],
    runs: usize,
    measure: impl Fn(&Guest) -> Result<Vec<Row>>,
) -> Result<()> {
    let mut table = Table {
        guests: guests.iter().map(|g| g.name).collect(),
        rows: Vec::new(),
    };
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

    #[test]
    fn each_linux_is_followed_by_its_ratio() {
        let mut table = Table {
            guests: vec!["tyn", "one", "other"],
            rows: Vec::new(),
        };
        for (guest, value) in [(0, 2.0), (1, 3.0), (2, 1.0), (0, 4.0)] {
            let row = Row {
                name: "latency".into(),
                unit: "ms",
                better: Better::Less,
                value,
            };
            table.add(guest, row);
        }
        let line = "| latency | ms | 3.00 | 3.00 | 1.00 | 1.00 | 0.33 |";
        assert_eq!(table.rows[0].line(), line);
    }
}
