//! Start-up: from the hardware's facts to the first process.
//!
//! Order: options, trace, kernel state, scheduler, archive; the clock, whose calibration went on until then; vDSO, file system,
//! console, first process. Then the other CPUs are released:
//! while the first process starts on the boot CPU, the first of them finds the devices and starts the network ([`DEVICES`]). The
//! first call that needs the network waits for that, or does it, should no other CPU have arrived.
//! What cannot be started ends in [`tyn_hal::boot::refuse`] with one sentence that says why and what to do.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::{Errno, Tid};
use tyn_bootfmt::options::{Options, Trace};
use tyn_bootfmt::{INIT_PATH, Init, RUN_PATH, Run};
use tyn_fs::load::LoadError;
use tyn_fs::walk::{self, Last};
use tyn_hal::boot::{self, BootInfo, refuse};
use tyn_hal::{power, time};
use tyn_io::ConsoleDevice;
use tyn_net::device::NetDevice;
use tyn_trace::Event;

mod job;

use job::Job;

use crate::exec;
use crate::file::{At, flags};
use crate::fs::{self, AllFiles, FsContext, How};
use crate::kernel::{self, kernel};
use crate::{clock, load, mm, net, sched, stop, trace, tty, vdso};

/// How the devices are found.
#[derive(Clone, Copy, Debug)]
pub struct Probes {
    /// Finds the console.
    pub console: fn() -> Option<Arc<dyn ConsoleDevice>>,
    /// Finds the line over which the console's size is told; asked only when there is such (`tty.size`).
    pub control: fn() -> Option<Arc<dyn ConsoleDevice>>,
    /// Finds the network card.
    pub network: fn(&BootInfo) -> Option<Box<dyn NetDevice>>,
}

/// Starting what works by interrupts beside the first process: network and power button.
static DEVICES: Job = Job::new();

/// Starts the personality on the boot CPU; `probes` find the devices, after the kernel's state and scheduler exist (interrupts
/// may come from then on). Ends in the scheduler.
pub fn start(boot: &'static BootInfo, probes: Probes) -> ! {
    let options = match Options::parse(&boot.cmdline) {
        Ok(options) => options,
        Err(e) => refuse(format_args!("{e}")),
    };
    trace::init(match options.trace {
        Trace::Off => trace::Verbosity::Quiet,
        Trace::Events => trace::Verbosity::Events,
        Trace::Calls => trace::Verbosity::Calls,
    });
    if boot.archive.is_none() {
        refuse(format_args!(
            "the machine has no root archive: start it with 'tyn run IMAGE' (QEMU: -initrd IMAGE)"
        ));
    }
    kernel::init(boot);
    if let Err(e) = mm::init() {
        refuse(format_args!(
            "too little memory for the kernel's own state ({e}): give the machine more (--memory)"
        ));
    }
    sched::init();
    let loaded = match fs::load(boot) {
        Ok(loaded) => loaded,
        Err(e) => refuse_archive(&e),
    };
    boot.calibration.finish();
    milestone("root archive is indexed");
    if let Err(e) = vdso::init() {
        refuse(format_args!("the vDSO cannot be made: {e}"));
    }
    clock::init();
    load::init();
    if let Err(e) = fs::init(boot, loaded) {
        refuse_archive(&e);
    }
    milestone("root file system is ready");
    let control = options.tty_size.and_then(|_| (probes.control)());
    tty::init((probes.console)(), options.tty_size, control);
    start_first_process();
    milestone("first process is loaded");
    DEVICES.offer(move || {
        net::init(
            (probes.network)(boot),
            options.ip,
            options.ip6,
            boot.ram_bytes,
        );
        stop::follow_button();
        milestone("devices are ready");
    });
    boot::release_aps();
    if boot.cpus == 1 {
        DEVICES.finish();
    }
    sched::run_cpu()
}

fn refuse_archive(error: &LoadError) -> ! {
    refuse(format_args!(
        "the root archive cannot be read: {error:?}: build the image again with 'tyn build'"
    ))
}

/// What each further CPU does when it has arrived: helps with the start, then runs threads.
pub fn start_further_cpu() -> ! {
    DEVICES.do_if_free();
    sched::run_cpu()
}

/// Returns when the devices are started.
pub(crate) fn finish_devices() {
    DEVICES.finish();
}

/// Reports how long the start took; the first process is about to enter ring 3.
pub(crate) fn report_first_entry() {
    power::report(format_args!("metric boot_to_user_ns {}", time::now().0));
}

fn milestone(name: &'static str) {
    trace::event(Tid(0), Event::Milestone { name });
}

/// Reads a file of the root file system as a whole; `None` when it cannot be read or has more than a megabyte.
fn read_file(context: &FsContext, path: &str) -> Option<Vec<u8>> {
    const LARGEST: u64 = 1 << 20;
    let open = fs::open(
        &context.start(),
        path.as_bytes(),
        How::existing(flags::O_RDONLY),
    )
    .ok()?;
    let size = open.file.size();
    let mut bytes = alloc::vec![0; usize::try_from(size).ok().filter(|_| size <= LARGEST)?];
    let mut rest: &mut [u8] = &mut bytes;
    let count = open.file.read(At::Offset(0), &mut rest).ok()?;
    bytes.truncate(count);
    Some(bytes)
}

/// Makes the directory at `path` the working directory.
fn change_directory(context: &FsContext, path: &[u8]) -> Result<(), Errno> {
    let node = walk::resolve(&AllFiles, &context.start(), path, Last::Follow)?.existing()?;
    if !node.is_directory()? {
        return Err(Errno::ENOTDIR);
    }
    context.set_cwd(node)
}

fn start_first_process() {
    let context = match FsContext::new() {
        Ok(context) => context,
        Err(e) => refuse(format_args!("the root directory cannot be opened: {e}")),
    };
    let Some(description) = read_file(&context, INIT_PATH) else {
        refuse(format_args!(
            "the image has no init program ({INIT_PATH} is missing): build it with 'tyn build RELEASE'"
        ));
    };
    let run = read_file(&context, RUN_PATH);
    let mut init = match Init::parse(&description) {
        Ok(init) => init,
        Err(e) => refuse(format_args!(
            "{INIT_PATH} in the image is damaged: {e}: build the image again"
        )),
    };
    if let Some(run) = &run {
        match Run::parse(run) {
            Ok(run) => init.apply(&run),
            Err(e) => refuse(format_args!("the run-time configuration is damaged: {e}")),
        }
    }
    if !init.hostname.is_empty() {
        *kernel().hostname.lock() = String::from_utf8_lossy(init.hostname).into_owned();
    }
    if !init.cwd.is_empty()
        && let Err(e) = change_directory(&context, init.cwd)
    {
        refuse(format_args!(
            "the working directory {} of the image cannot be entered: {e}",
            String::from_utf8_lossy(init.cwd)
        ));
    }
    // Without a console the first process starts with no open descriptors.
    let console = tty::open_console().ok();
    let loaded = exec::load_init(&init.args, &init.env, context, console);
    let thread = match loaded {
        Ok(thread) => thread,
        Err(e) => refuse_program("init program", &init.args, e),
    };
    // They wait for nobody, so that what they serve is there when the first process asks for it.
    for daemon in &init.daemons {
        if let Err(e) = start_daemon(daemon, &init.env) {
            refuse_program("program", daemon, e);
        }
    }
    sched::start(thread);
}

/// Starts a program beside the first process: in the root directory, without a terminal.
fn start_daemon(args: &[&[u8]], env: &[&[u8]]) -> Result<(), Errno> {
    let context = FsContext::new()?;
    let how = How::existing(flags::O_RDWR);
    let null = fs::open(&context.start(), b"/dev/null", how)?;
    exec::start_daemon(args, env, context, null)
}

fn refuse_program(what: &str, args: &[&[u8]], error: Errno) -> ! {
    refuse(format_args!(
        "the {what} {} cannot be started: {error}: is it, with its interpreter, in the image?",
        String::from_utf8_lossy(args.first().copied().unwrap_or_default())
    ))
}
