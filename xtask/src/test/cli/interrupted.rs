//! Builds that are interrupted or killed while they write the image.

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{Bench, REFUSAL_LIMIT, text};
use crate::lab::ANSWER_LIMIT;

/// A file that no machine compresses before the signal comes: the end of the build is never waited for.
const ENDLESS: u64 = 1 << 40;

/// An interrupted build leaves no file, a killed one a file that the next build removes.
pub(super) fn while_it_writes(bench: &Bench<'_>) -> Result<()> {
    let out = bench.file("interrupted");
    fs::create_dir(&out)?;
    let big = bench.file("big");
    File::create(&big)?.set_len(ENDLESS)?;
    let names = || -> Result<Vec<_>> {
        let names = fs::read_dir(&out)?.flatten();
        Ok(names.map(|entry| entry.file_name()).collect())
    };
    let start = || -> Result<Child> {
        let mut build = bench.lab.tyn();
        build.arg("build").arg(&bench.lab.release);
        build.arg("--sysroot").arg(bench.lab.sysroot.dir());
        build.arg(format!("--include={}=/big", text(&big)));
        build.args(["--compress", "-o"]).arg(out.join("app.img"));
        let tool = build.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let start = Instant::now();
        while names()?.is_empty() && start.elapsed() < ANSWER_LIMIT {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(tool)
    };
    let end = |mut tool: Child, signal| -> Result<_> {
        ensure!(names()?.len() == 1, "nothing is being written");
        kill_process(Pid::from_child(&tool), signal)?;
        let start = Instant::now();
        while tool.try_wait()?.is_none() && start.elapsed() < REFUSAL_LIMIT {
            std::thread::sleep(Duration::from_millis(5));
        }
        tool.kill()?;
        Ok(tool.wait()?)
    };
    let status = end(start()?, Signal::TERM)?;
    ensure!(
        status.code() == Some(143) && names()?.is_empty(),
        "{status} after SIGTERM, left: {:?}",
        names()?
    );
    end(start()?, Signal::KILL)?;
    ensure!(names()?.len() == 1, "what a killed build left is gone");
    let whole = text(&out.join("app.img"));
    let sysroot = text(bench.lab.sysroot.dir());
    let release = text(&bench.lab.release);
    let built = bench.tyn(&["build", &release, "--sysroot", &sysroot, "-o", &whole])?;
    ensure!(
        built.status.success() && names()? == ["app.img"],
        "the next build left {:?}",
        names()?
    );
    Ok(())
}
