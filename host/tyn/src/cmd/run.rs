//! `tyn run`: boots an image.
//!
//! The guest's console is our standard output. What the kernel reports goes to standard error: errors and panics always
//! (a backtrace with names), events and log lines when asked to. The first Ctrl-C or SIGTERM presses the guest's power
//! button, the second kills it; with `-i` Ctrl-C is the guest's ([`crate::interactive`]).

use anyhow::{Result, anyhow};
use tyn_vm_host::{Console, ExitCode, Outcome};

use crate::interactive::{Session, Started, Window};
use crate::launch::Launch;
use crate::settings::{Flags, Settings};
use crate::stopper::{Before, Stopper};
use crate::{background, env, output, parent, project, terminal};

/// Arguments of `tyn run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: Flags,
    /// Start the guest in the background and print its name; see `tyn ps`, `logs`, `stop`
    #[arg(short, long)]
    detach: bool,
    /// Name of a guest in the background [default: made of the image's]
    #[arg(long, requires = "detach")]
    name: Option<String>,
    /// For tools that start this one: stop with the process that did, and read Ctrl-C from the terminal, which may be another
    /// session's
    #[arg(long, conflicts_with = "detach")]
    with_parent: bool,
}

/// Boots the image and returns the exit code.
///
/// # Errors
/// Why it can't be booted, and what mends that.
pub(crate) fn run(args: &Args) -> Result<u8> {
    let stopper = Stopper::default();
    if !args.detach {
        stopper.install(Before::End)?;
    }
    if args.with_parent {
        parent::follow()?;
    }
    let project = project::read(args.flags.config.as_deref())?;
    let settings = Settings::new(&args.flags, project, &env::own)?;
    let launch = Launch::new(&settings)?;
    if args.detach {
        // It holds no files, so a signal simply ends us; see there for what becomes of the guest.
        return background::start(launch, args.name.as_deref()).map(|()| 0);
    }
    let (started, when_started) = Started::new();
    let mut vm = launch.boot(Console::Pipe, &stopper, move |line| started.see(line))?;
    stopper.start(vm.control());
    let keys = match args.with_parent && !settings.interactive {
        true => Some(parent::take_keys(&stopper)?),
        false => None,
    };
    let window = match args.with_parent {
        true => Window::IsElsewhere,
        false => Window::Signals,
    };
    let session = match settings.interactive {
        true => Some(Session::start(&mut vm, &stopper, when_started, window)?),
        false => None,
    };
    let output = vm.take_console().map(|pipe| {
        let stopper = stopper.clone();
        std::thread::spawn(move || output::copy(pipe.output, || stopper.output_closed()))
    });
    let outcome = vm.wait()?;
    if let Some(session) = session {
        session.finish();
    }
    // A panic there has ended the tool already.
    let _ = output.map(std::thread::JoinHandle::join);
    drop(keys);
    if stopper.has_no_reader() {
        return Ok(ExitCode::Unheard as u8);
    }
    if stopper.has_killed() {
        return Ok(ExitCode::Killed as u8);
    }
    match &outcome {
        // Its lines have been printed as they came.
        Outcome::Exited(_) | Outcome::Panicked(_) => {}
        Outcome::Refused(why) => return Err(anyhow!("{why}")),
        Outcome::Vanished(how) => terminal::say(&format!(
            "tyn: the machine stopped and the kernel did not say why: {how}; \
             please report it with the output of --trace=calls"
        )),
    }
    Ok(outcome.exit_code())
}
