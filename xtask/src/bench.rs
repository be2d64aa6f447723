//! `cargo xtask bench`: Tyn beside Linux guests with the same image, the same QEMU flags, in turn; medians and ratios.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tyn_release::cpio::Writer;
use tyn_vm_host::{Config, Console, Forward, Machine, MemorySize, Ram, Vm};

use crate::{command, example, kernel, paths, sysroot};

/// How long a guest may take to its first answer.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a guest that serves is left alone before its memory is looked at.
const SETTLE: Duration = Duration::from_millis(700);
/// The port on which the example listens.
const GUEST_PORT: u16 = 8080;

/// One system to be compared.
struct Guest {
    name: &'static str,
    machine: Machine,
    kernel: PathBuf,
    initrd: PathBuf,
    append: &'static str,
}

/// What one boot showed.
#[derive(Clone, Copy, Debug)]
struct Boot {
    answer_s: f64,
    ram_mib: f64,
    rss_mib: f64,
    /// PVH entry to the first user instruction, where the kernel tells.
    kernel_ms: Option<f64>,
}

/// Options of the comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Boots of each guest.
    pub(crate) runs: usize,
    /// Virtual CPUs.
    pub(crate) cpus: u32,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// Whether to look for the least memory that each guest serves with.
    pub(crate) least_memory: bool,
}

/// Compares boot to the first HTTP answer and memory of Tyn, Debian's cloud kernel and a trimmed Linux.
///
/// # Errors
/// When a guest can't be built or does not serve.
pub(crate) fn boot(options: Options) -> Result<()> {
    let guests = guests()?;
    println!(
        "boot to first HTTP answer; {} runs of each guest in turn, {} CPUs, {} MiB, medians (min-max)",
        options.runs, options.cpus, options.memory_mib
    );
    let mut boots: Vec<Vec<Boot>> = vec![Vec::new(); guests.len()];
    for run in 0..options.runs {
        for (guest, results) in guests.iter().zip(&mut boots) {
            let (name, machine) = (guest.name, guest.machine);
            match measure(guest, options.cpus, options.memory_mib) {
                Ok(result) => results.push(result),
                Err(error) => println!("{name} on {machine:?} failed in run {run}: {error:#}"),
            }
        }
    }
    for (guest, results) in guests.iter().zip(&boots) {
        let (name, machine) = (guest.name, guest.machine);
        ensure!(!results.is_empty(), "{name} on {machine:?} never served");
    }
    println!(
        "| guest | machine | boot to HTTP s | guest RAM touched MiB | QEMU RSS MiB | entry to user ms |"
    );
    println!("|---|---|---|---|---|---|");
    for (guest, results) in guests.iter().zip(&boots) {
        let column = |f: fn(&Boot) -> f64| summary(&results.iter().map(f).collect::<Vec<_>>());
        let kernel: Vec<f64> = results.iter().filter_map(|b| b.kernel_ms).collect();
        let kernel = if kernel.is_empty() {
            "-".into()
        } else {
            summary(&kernel)
        };
        let (answer, ram, rss) = (
            column(|b| b.answer_s),
            column(|b| b.ram_mib),
            column(|b| b.rss_mib),
        );
        println!(
            "| {} | {:?} | {answer} | {ram} | {rss} | {kernel} |",
            guest.name, guest.machine
        );
    }
    print_ratios(&guests, &boots);
    if options.least_memory {
        least_memory(&guests, options.cpus)?;
    }
    Ok(())
}

fn print_ratios(guests: &[Guest], boots: &[Vec<Boot>]) {
    let median_of =
        |i: usize, f: fn(&Boot) -> f64| median(&boots[i].iter().map(f).collect::<Vec<_>>());
    for (t, tyn) in guests.iter().enumerate().filter(|(_, g)| g.name == "tyn") {
        for (l, linux) in guests
            .iter()
            .enumerate()
            .filter(|(_, g)| g.name != "tyn" && g.machine == tyn.machine)
        {
            let ratio = |f: fn(&Boot) -> f64| median_of(t, f) / median_of(l, f);
            println!(
                "ratio tyn / {} on {:?}: boot to HTTP {:.2}, guest RAM touched {:.2}",
                linux.name,
                tyn.machine,
                ratio(|b| b.answer_s),
                ratio(|b| b.ram_mib)
            );
        }
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

fn summary(values: &[f64]) -> String {
    let fold = |f: fn(f64, f64) -> f64| values.iter().copied().reduce(f).unwrap_or(f64::NAN);
    format!(
        "{:.2} ({:.2}-{:.2})",
        median(values),
        fold(f64::min),
        fold(f64::max)
    )
}

/// Builds what is compared: the example's image, Tyn's kernel, and the Linux guests around the very same image.
fn guests() -> Result<Vec<Guest>> {
    let linux = paths::target().join("bench").join("linux");
    command::run(Command::new(paths::root().join("bench/linux-guest.sh")).arg(&linux))?;
    let sysroot = sysroot::ensure()?;
    let release = example::ensure(&sysroot)?;
    let image = paths::target().join("bench").join("example.img");
    let request = tyn_release::Request {
        release: &release,
        sysroot: sysroot.dir(),
        includes: &[],
        out: &image,
        mtime: 0,
    };
    tyn_release::build(&request, &mut |_| {})?;
    let tiny_initrd = with_linux_init(&image, &linux, &[])?;
    let cloud_initrd =
        with_linux_init(&image, &linux, &["failover", "net_failover", "virtio_net"])?;
    let tyn = kernel::build()?;
    let append = "console=ttyS0 quiet loglevel=3 mitigations=off random.trust_cpu=on tsc=reliable nokaslr reboot=t";
    let mut guests = Vec::new();
    for machine in [Machine::Q35, Machine::Microvm] {
        let guest = |name, kernel: &Path, initrd: &Path, append| Guest {
            name,
            machine,
            kernel: kernel.to_path_buf(),
            initrd: initrd.to_path_buf(),
            append,
        };
        guests.push(guest("tyn", &tyn, &image, ""));
        guests.push(guest(
            "linux-tiny",
            &linux.join("vmlinux-tiny"),
            &tiny_initrd,
            append,
        ));
        if machine == Machine::Q35 {
            guests.push(guest(
                "linux-cloud-pvh",
                &linux.join("vmlinux-cloud"),
                &cloud_initrd,
                append,
            ));
        }
    }
    Ok(guests)
}

/// Appends an archive with Linux's init, and the modules that its kernel lacks, to the image.
fn with_linux_init(image: &Path, linux: &Path, modules: &[&str]) -> Result<PathBuf> {
    let mut bytes = fs::read(image)?;
    let mut writer = Writer::new(Vec::new(), 0);
    let init = fs::read(linux.join("init"))?;
    writer.file(
        Path::new("/init"),
        0o755,
        init.len() as u64,
        &mut init.as_slice(),
    )?;
    writer.dir(Path::new("/modules"), 0o755)?;
    let mut order = String::new();
    for module in modules {
        let name = format!("{module}.ko");
        let module = fs::read(linux.join("modules").join(&name))?;
        let path = Path::new("/modules").join(&name);
        writer.file(&path, 0o644, module.len() as u64, &mut module.as_slice())?;
        order += &format!("{name}\n");
    }
    writer.file(
        Path::new("/modules/order"),
        0o644,
        order.len() as u64,
        &mut order.as_bytes(),
    )?;
    bytes.extend(writer.finish()?.0);
    let path = linux.join(format!("initrd-{}.cpio", modules.len()));
    fs::write(&path, bytes)?;
    Ok(path)
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Boots a guest, waits for its answer, looks at its memory.
fn measure(guest: &Guest, cpus: u32, memory_mib: u64) -> Result<Boot> {
    let port = free_port()?;
    let mut config = Config::new(&guest.kernel, &guest.initrd);
    config.machine = guest.machine;
    config.cpus = cpus;
    config.memory = MemorySize(memory_mib << 20);
    config.ram = Ram::Memfd;
    config.append = guest.append.into();
    config.forwards.push(Forward {
        host: port,
        guest: GUEST_PORT,
    });
    let vm = Vm::start(&config, Console::Keep, Box::new(|_| {}))?;
    let response = vm
        .wait_http(port, "/", LIMIT)
        .with_context(|| format!("console: {}", vm.console()))?;
    let answer_s = vm.age().as_secs_f64();
    ensure!(response.status == 200, "it answered {}", response.status);
    std::thread::sleep(SETTLE);
    let mib = |bytes: Option<u64>| bytes.map_or(f64::NAN, |b| b as f64 / f64::from(1 << 20));
    let kernel_ms = vm
        .report()
        .metrics
        .get("boot_to_user_ns")
        .map(|&ns| ns as f64 / 1e6);
    Ok(Boot {
        answer_s,
        ram_mib: mib(vm.guest_ram_touched()),
        rss_mib: mib(vm.host_rss()),
        kernel_ms,
    })
}

/// Prints the least memory, in steps of 4 MiB, with which each guest answers three times in three boots.
fn least_memory(guests: &[Guest], cpus: u32) -> Result<()> {
    const STEP: u64 = 4;
    for guest in guests {
        let serves = |mib: u64| (0..3).all(|_| measure(guest, cpus, mib).is_ok());
        let (mut low, mut high) = (40 / STEP, 256 / STEP);
        ensure!(
            serves(high * STEP),
            "{} does not even serve with {} MiB",
            guest.name,
            high * STEP
        );
        while low < high {
            let middle = low.midpoint(high);
            if serves(middle * STEP) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        println!(
            "least memory of {} on {:?}: {} MiB",
            guest.name,
            guest.machine,
            high * STEP
        );
    }
    Ok(())
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
