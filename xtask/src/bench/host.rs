//! `cargo xtask bench host`: what the host interface costs, Tyn beside the trimmed Linux guest.
//!
//! Two images, each booted in turn on both: a static C program as the first process (`bench/host/micro.c`), and the
//! example release with an Erlang module beside it (`bench/host/tyn_bench.erl`). Both measure by the guest's clock and
//! print `row NAME NANOSECONDS UNIT`.

use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tyn_bootfmt::{INIT_PATH, Init};
use tyn_release::tree::{Node, Source, Tree};
use tyn_vm_host::{Config, Console, MemorySize, Vm};

use super::guests::{self, Guest};
use super::{Options, median};
use crate::{beside, command, debian, paths};

/// Most that a guest may take for all rows.
const LIMIT: Duration = Duration::from_secs(240);
/// Path of the microbenchmarks in the guest.
const PROGRAM: &str = "/micro";
/// The row that says that all were printed.
const LAST: &str = "end";

/// Which rows to measure.
#[derive(Clone, Debug, Args)]
pub(super) struct Rows {
    /// Beginnings of the names of microbenchmarks to run, without Erlang's (default: all, and Erlang's)
    rows: Vec<String>,
    /// Run Erlang's rows only
    #[arg(long, conflicts_with = "rows")]
    erlang: bool,
    /// Run a C program that prints rows instead of the microbenchmarks
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rows", "erlang"])]
    program: Option<PathBuf>,
    /// Run Tyn only
    #[arg(long)]
    tyn: bool,
    /// Count instructions instead of nanoseconds, on one CPU: the same whatever else this machine does, so one boot is enough
    #[arg(long, conflicts_with_all = ["cpus", "runs"])]
    instructions: bool,
}

/// One measured row.
#[derive(Clone, PartialEq, Debug)]
struct Row {
    name: String,
    ns: f64,
    unit: String,
}

/// The measurements of one row: of each guest, one a boot.
struct Measured {
    name: String,
    unit: String,
    ns: [Vec<f64>; 2],
}

/// Measures and prints the table.
///
/// # Errors
/// When a guest can't be built or does not get to the end.
pub(super) fn host(mut options: Options, rows: &Rows) -> Result<()> {
    let mut images = Vec::new();
    if !rows.erlang {
        images.push(program_image(rows)?);
    }
    if rows.rows.is_empty() && rows.program.is_none() {
        images.push(erlang_image()?);
    }
    let unit = if rows.instructions {
        (options.runs, options.cpus) = (1, 1);
        "instructions"
    } else {
        "nanoseconds"
    };
    println!(
        "boots of each guest, in turn: {}; CPUs: {}; {} MiB; medians of each boot's fastest batch (across CPUs: median batch), in {unit}",
        options.runs, options.cpus, options.memory
    );
    println!("| row | unit | tyn | {} | tyn / linux |", guests::LINUX);
    println!("|---|---|---|---|---|");
    for image in images {
        let mut guests = vec![guests::tyn(&image)?];
        if !rows.tyn {
            guests.push(guests::trimmed_linux(&image)?);
        }
        let mut table = Vec::new();
        for _ in 0..options.runs {
            for (i, guest) in guests.iter().enumerate() {
                let found = measure(guest, options, rows.instructions)
                    .with_context(|| format!("{} failed", guest.name))?;
                found.into_iter().for_each(|row| add(&mut table, i, row));
            }
        }
        table.iter().for_each(print);
    }
    Ok(())
}

fn add(table: &mut Vec<Measured>, guest: usize, row: Row) {
    let index = table.iter().position(|m| m.name == row.name);
    let index = index.unwrap_or_else(|| {
        table.push(Measured {
            name: row.name,
            unit: row.unit,
            ns: [Vec::new(), Vec::new()],
        });
        table.len() - 1
    });
    table[index].ns[guest].push(row.ns);
}

fn print(row: &Measured) {
    let [tyn, linux] = [median(&row.ns[0]), median(&row.ns[1])];
    println!(
        "| {} | {} | {tyn:.0} | {linux:.0} | {:.2} |",
        row.name,
        row.unit,
        tyn / linux
    );
}

/// Boots a guest and returns the rows that it prints.
fn measure(guest: &Guest, options: Options, counts_instructions: bool) -> Result<Vec<Row>> {
    let mut config = Config::new(&guest.kernel, &guest.initrd);
    config.counts_instructions = counts_instructions;
    config.machine = guest.machine;
    config.cpus = options.cpus;
    config.memory = MemorySize(options.memory << 20);
    config.append = guest.append.into();
    let mut vm = Vm::start(&config, Console::Keep, Box::new(|_| {}))?;
    let outcome = vm.wait_for(LIMIT)?;
    let console = vm.console();
    let rows: Vec<Row> = console.lines().filter_map(parse).collect();
    ensure!(
        rows.last().is_some_and(|row| row.name == LAST),
        "it did not get to the end ({outcome:?}): {}",
        console.trim()
    );
    Ok(rows.into_iter().filter(|row| row.name != LAST).collect())
}

/// Reads a line `row NAME NANOSECONDS UNIT`.
fn parse(line: &str) -> Option<Row> {
    let mut words = line.trim().strip_prefix("row ")?.splitn(3, ' ');
    Some(Row {
        name: words.next()?.to_owned(),
        ns: words.next()?.parse().ok()?,
        unit: words.next()?.to_owned(),
    })
}

/// Compiles the microbenchmarks, or the program in their place, and makes an image that starts them.
fn program_image(rows: &Rows) -> Result<PathBuf> {
    let ours = paths::root().join("bench/host/micro.c");
    let source = rows.program.as_deref().unwrap_or(&ours);
    debian::ensure_program("gcc", "gcc")?;
    let out = paths::target().join("bench");
    fs::create_dir_all(&out)?;
    let program = out.join("micro");
    let mut gcc = Command::new("gcc");
    gcc.args(["-static", "-O2", "-pthread", "-Wall", "-Wextra", "-Werror"])
        .arg("-o")
        .arg(&program)
        .arg(source);
    command::run(&mut gcc).context("benchmarks need a C compiler")?;
    let mut args = vec![PROGRAM.as_bytes()];
    args.extend(rows.rows.iter().map(|row| row.as_bytes()));
    let init = Init {
        args,
        env: Vec::new(),
        cwd: b"/",
        hostname: b"bench",
        ..Init::default()
    };
    let mut tree = Tree::default();
    let size = fs::metadata(&program)?.len();
    tree.insert(
        Path::new(PROGRAM),
        Node::File(0o755, Source::Path(program, size)),
    )?;
    tree.insert(
        Path::new(INIT_PATH),
        Node::File(0o600, Source::Bytes(init.to_bytes()?)),
    )?;
    for (dir, mode) in [("/tmp", 0o1777), ("/proc", 0o555), ("/dev", 0o755)] {
        tree.insert(Path::new(dir), Node::Dir(mode))?;
    }
    let image = out.join("micro.img");
    tree.write(BufWriter::new(fs::File::create(&image)?), Some(0), |_| {})
        .map_err(|(at, error)| anyhow::anyhow!("{}: {error}", at.display()))?;
    Ok(image)
}

/// Makes the example's image start the Erlang rows, too.
fn erlang_image() -> Result<PathBuf> {
    let source = paths::root().join("bench/host/tyn_bench.erl");
    beside::image(&guests::example_image()?, &source, "erlang")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_among_other_lines() {
        let row = parse("row fork-wait 133559.7 per process\r").unwrap();
        assert_eq!(
            (row.name.as_str(), row.unit.as_str()),
            ("fork-wait", "per process")
        );
        assert!((row.ns - 133_559.7).abs() < 1e-6);
        assert_eq!(parse("rows of beans"), None);
        assert_eq!(parse("row half"), None);
    }
}
