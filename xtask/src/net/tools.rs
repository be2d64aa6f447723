//! Tools that people load servers with, from Debian: what they ask of the guest is answered, and they say so.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::tap::Tap;
use super::{Guest, Options, Wiring};
use crate::command::output;
use crate::debian;
use crate::lab::{GUEST_PORT, Lab};

/// Requests of one run, and connections at a time.
const REQUESTS: usize = 500;
const AT_ONCE: usize = 50;

/// Asks the example by `wrk`, `ab` (a connection for each request: the example does not tell clients of HTTP/1.0 that it keeps
/// one, so `-k` would wait for its end) and `curl --parallel`.
///
/// # Errors
/// When one of them misses an answer.
pub(super) fn served(lab: &Lab, options: &Options) -> Result<()> {
    debian::ensure_program("wrk", "wrk")?;
    debian::ensure_program("ab", "apache2-utils")?;
    debian::ensure_program("curl", "curl")?;
    let guest = Guest::boot(lab, options, Wiring::Tap)?;
    guest.explain(by_wrk())?;
    guest.explain(by_ab())?;
    guest.explain(by_curl())?;
    guest.shut_down()
}

fn url() -> String {
    format!("http://{}/", Tap::guest(GUEST_PORT))
}

fn by_wrk() -> Result<()> {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-d2s", "--timeout", "30s"]);
    wrk.arg(format!("-c{AT_ONCE}")).arg(url());
    let said = output(&mut wrk)?;
    ensure!(
        is_wrk_content(&said),
        "wrk misses an answer, or has none: {said}"
    );
    Ok(())
}

fn is_wrk_content(said: &str) -> bool {
    let requests = said.lines().find(|l| l.contains(" requests in "));
    let requests = requests.and_then(|l| l.split_whitespace().next());
    let has_some = requests.is_some_and(|n| n.parse::<u64>().is_ok_and(|n| n > 0));
    has_some && !said.contains("Socket errors") && !said.contains("Non-2xx")
}

fn by_ab() -> Result<()> {
    let mut ab = Command::new("ab");
    ab.args([
        "-q",
        "-n",
        &REQUESTS.to_string(),
        "-c",
        &AT_ONCE.to_string(),
    ]);
    ab.arg(url());
    let said = output(&mut ab)?;
    ensure!(is_ab_content(&said), "ab misses an answer: {said}");
    Ok(())
}

fn is_ab_content(said: &str) -> bool {
    let number = |name: &str| {
        let line = said.lines().find_map(|l| l.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    number("Complete requests:") == Some(REQUESTS)
        && number("Failed requests:") == Some(0)
        && !said.contains("Non-2xx")
}

fn by_curl() -> Result<()> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--parallel"]);
    curl.args(["--parallel-max", &AT_ONCE.to_string()]);
    curl.args(["--max-time", "60", "--output", "/dev/null"]);
    curl.args(["--write-out", "%{http_code}\n"]);
    // Only curl sees the part behind `#`.
    curl.arg(format!("{}#[1-{REQUESTS}]", url()));
    let said = output(&mut curl).context("curl misses an answer")?;
    let count = said.lines().filter(|code| *code == "200").count();
    ensure!(count == REQUESTS, "curl has {count} answers: {said}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_say_of_missing_answers_is_understood() {
        let wrk = "  1234 requests in 2.00s, 180.05KB read\nRequests/sec:    612.00\n";
        assert!(is_wrk_content(wrk));
        assert!(!is_wrk_content("  0 requests in 2.00s, 0.00B read\n"));
        assert!(!is_wrk_content(&format!(
            "{wrk}  Socket errors: connect 0, read 1, write 0, timeout 0\n"
        )));
        let ab = |failed| {
            format!("Complete requests:      {REQUESTS}\nFailed requests:        {failed}\n")
        };
        assert!(is_ab_content(&ab(0)) && !is_ab_content(&ab(1)));
        assert!(!is_ab_content(
            "Complete requests:      3\nFailed requests:        0\n"
        ));
    }
}
