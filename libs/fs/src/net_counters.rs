//! Texts of counters: `snmp`, `netstat` and `snmp6` of `/proc/PID/net` (`proc_pid_net(5)`).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A counter: its name and value.
pub type Counter<'a> = (&'a str, i64);

/// The two lines of a protocol in `snmp` and `netstat`.
#[must_use]
pub fn protocol(name: &str, counters: &[Counter<'_>]) -> String {
    let names: Vec<&str> = counters.iter().map(|c| c.0).collect();
    let values: Vec<String> = counters.iter().map(|c| c.1.to_string()).collect();
    format!(
        "{name}: {}\n{name}: {}\n",
        names.join(" "),
        values.join(" ")
    )
}

/// The lines of `snmp6` whose names begin with `protocol`.
#[must_use]
pub fn protocol6(protocol: &str, counters: &[Counter<'_>]) -> String {
    let line = |&(name, value): &Counter<'_>| {
        let name = format!("{protocol}{name}");
        format!("{name:<32}\t{value}\n")
    };
    counters.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_linux() {
        assert_eq!(
            protocol("Tcp", &[("RtoAlgorithm", 1), ("MaxConn", -1)]),
            "Tcp: RtoAlgorithm MaxConn\nTcp: 1 -1\n"
        );
        assert_eq!(
            protocol6("Ip6", &[("InReceives", 31133)]),
            "Ip6InReceives                   \t31133\n"
        );
    }
}
