//! Which of OTP's test suites are run, and with what.

use anyhow::{Result, ensure};

/// Suites of one part of OTP.
#[derive(Debug)]
pub(crate) struct Area {
    /// What the part is called on the command line.
    pub(crate) name: &'static str,
    /// Folder of its tests in OTP's source.
    pub(crate) source: &'static str,
    /// Its suites, without `_SUITE`.
    pub(crate) suites: &'static [&'static str],
}

/// All that can be run.
pub(crate) const AREAS: &[Area] = &[
    Area {
        name: "emulator",
        source: "erts/emulator/test",
        suites: &[
            "smoke_test",
            "process",
            "port",
            "port_bif",
            "time",
            "timer_bif",
            "signal",
            "os_signal",
            "efile",
            "nif",
            "driver",
            "erl_drv_thread",
            "scheduler",
            "statistics",
            "system_info",
            "monitor",
            "trace",
        ],
    },
    Area {
        name: "kernel",
        source: "lib/kernel/test",
        suites: &[
            "file",
            "prim_file",
            "os",
            "init",
            "code",
            "erl_prim_loader",
            "logger",
            "logger_disk_log_h",
            "logger_std_h",
            "application",
            "erpc",
            "pg",
            "disk_log",
            "heart",
            "gen_tcp_api",
            "gen_tcp_echo",
            "gen_tcp_misc",
            "gen_udp",
            "inet",
            "inet_res",
            "sendfile",
            "socket",
            "socket_api",
            "socket_traffic",
        ],
    },
    Area {
        name: "stdlib",
        source: "lib/stdlib/test",
        suites: &[
            "dets",
            "ets",
            "timer",
            "io",
            "filelib",
            "zip",
            "gen_server",
            "supervisor",
            "rand",
            "unicode",
        ],
    },
    Area {
        name: "crypto",
        source: "lib/crypto/test",
        suites: &["crypto"],
    },
];

impl Area {
    /// Returns the folder of its tests in the guest.
    pub(crate) fn folder(&self) -> String {
        format!("/otp/{}_test", self.name)
    }
}

/// What is asked for: a suite, and which of its cases (none: all).
#[derive(Clone, Debug)]
pub(crate) struct Selected {
    /// The suite's part of OTP.
    pub(crate) area: &'static Area,
    /// The suite.
    pub(crate) suite: &'static str,
    /// Cases, and groups as `@GROUP`; with a group, Common Test looks for the cases inside of it.
    pub(crate) cases: Vec<String>,
}

impl Selected {
    /// Returns `AREA/SUITE`.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.area.name, self.suite)
    }
}

/// Finds what words like `kernel`, `kernel/file` and `kernel/file:read,write,@GROUP` name.
///
/// # Errors
/// When there is no such suite.
pub(crate) fn select(words: &[String]) -> Result<Vec<Selected>> {
    let mut selected = Vec::new();
    for word in words {
        let (name, cases) = word.split_once(':').unwrap_or((word, ""));
        let before = selected.len();
        for area in AREAS {
            for suite in area.suites {
                if name == area.name || name == format!("{}/{suite}", area.name) {
                    let cases = cases.split(',').filter(|c| !c.is_empty());
                    selected.push(Selected {
                        area,
                        suite,
                        cases: cases.map(str::to_owned).collect(),
                    });
                }
            }
        }
        ensure!(
            selected.len() > before,
            "no suite is called '{name}': there are {}",
            names().join(", ")
        );
    }
    Ok(selected)
}

/// Returns the names of all suites.
pub(crate) fn names() -> Vec<String> {
    AREAS
        .iter()
        .flat_map(|a| a.suites.iter().map(|s| format!("{}/{s}", a.name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_areas_suites_and_cases() {
        let pick = |word: &str| select(&[word.to_owned()]);
        assert_eq!(pick("crypto").unwrap()[0].name(), "crypto/crypto");
        assert!(pick("stdlib").unwrap().len() > 5);
        let one = pick("kernel/file:read,@group").unwrap();
        assert_eq!(one.len(), 1);
        assert_eq!(one[0].cases, ["read", "@group"]);
        assert!(pick("kernel/none").is_err());
    }
}
