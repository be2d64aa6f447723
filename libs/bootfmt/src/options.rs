//! The kernel's command line.
//!
//! Options are separated by blanks:
//! - `trace`: events (refused calls, processes' ends) go to the report channel as they happen; `trace=calls`: each system
//!   call, too.
//! - `ip=dhcp` (the default), `ip=off`, or `ip=ADDRESS/PREFIX[,GATEWAY[,DNS]]`: the IPv4 address of the network device.
//! - `virtio_mmio.device=SIZE@BASE:IRQ`: a device; machine monitors add these.

use core::fmt;

/// How the network device gets its IPv4 address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ip {
    /// By DHCP.
    #[default]
    Dhcp,
    /// It is not used.
    Off,
    /// As given.
    Static {
        /// Address.
        address: [u8; 4],
        /// Prefix length, 0 to 32.
        prefix: u8,
        /// Default gateway.
        gateway: Option<[u8; 4]>,
        /// Name server.
        dns: Option<[u8; 4]>,
    },
}

/// What is traced to the report channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Trace {
    /// Nothing.
    #[default]
    Off,
    /// Refused calls, faults, processes' ends.
    Events,
    /// Each system call, too.
    Calls,
}

/// The options of one boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// `trace`
    pub trace: Trace,
    /// `ip`
    pub ip: Ip,
}

/// An option that cannot be followed. Its text says which, and what would be right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadOption<'a> {
    option: &'a str,
    remedy: &'static str,
}

impl fmt::Display for BadOption<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel option '{}' {}", self.option, self.remedy)
    }
}

impl Options {
    /// Parses a command line.
    ///
    /// # Errors
    /// [`BadOption`], the first that is unknown or malformed.
    pub fn parse(cmdline: &str) -> Result<Self, BadOption<'_>> {
        let mut options = Self::default();
        for option in cmdline.split_ascii_whitespace() {
            let bad = |remedy| BadOption { option, remedy };
            let (name, value) = option
                .split_once('=')
                .map_or((option, None), |(n, v)| (n, Some(v)));
            match (name, value) {
                ("trace", None) => options.trace = Trace::Events,
                ("trace", Some("calls")) => options.trace = Trace::Calls,
                ("trace", Some(_)) => {
                    return Err(bad("has an unknown value: use 'trace' or 'trace=calls'"));
                }
                ("ip", Some("dhcp")) => options.ip = Ip::Dhcp,
                ("ip", Some("off")) => options.ip = Ip::Off,
                ("ip", Some(v)) => {
                    options.ip = parse_static(v).ok_or(bad(
                        "is not an address: use 'ip=dhcp', 'ip=off' or 'ip=ADDRESS/PREFIX[,GATEWAY[,DNS]]'",
                    ))?;
                }
                ("virtio_mmio.device", Some(_)) => {}
                _ => {
                    return Err(bad(
                        "is unknown: known are trace, trace=calls, ip=, virtio_mmio.device=",
                    ));
                }
            }
        }
        Ok(options)
    }
}

fn parse_address(text: &str) -> Option<[u8; 4]> {
    text.parse::<core::net::Ipv4Addr>().ok().map(|a| a.octets())
}

fn parse_static(text: &str) -> Option<Ip> {
    let mut parts = text.split(',');
    let (address, prefix) = parts.next()?.split_once('/')?;
    let gateway = parts
        .next()
        .map(|g| parse_address(g).ok_or(()))
        .transpose()
        .ok()?;
    let dns = parts
        .next()
        .map(|d| parse_address(d).ok_or(()))
        .transpose()
        .ok()?;
    let prefix = prefix.parse().ok().filter(|&p| p <= 32)?;
    parts.next().is_none().then_some(Ip::Static {
        address: parse_address(address)?,
        prefix,
        gateway,
        dns,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_line_gives_the_defaults() {
        assert_eq!(
            Options::parse("  ").unwrap(),
            Options {
                trace: Trace::Off,
                ip: Ip::Dhcp
            }
        );
    }

    #[test]
    fn all_known_options_are_accepted() {
        let o = Options::parse(
            "trace=calls ip=10.0.2.15/24,10.0.2.2 virtio_mmio.device=512@0xfeb00e00:12",
        )
        .unwrap();
        assert_eq!(o.trace, Trace::Calls);
        let gateway = Some([10, 0, 2, 2]);
        assert_eq!(
            o.ip,
            Ip::Static {
                address: [10, 0, 2, 15],
                prefix: 24,
                gateway,
                dns: None
            }
        );
    }

    #[test]
    fn unknown_or_malformed_options_are_named() {
        for line in [
            "quiet",
            "trace=x",
            "ip=10.0.2.15",
            "ip=10.0.2.15/33",
            "ip=1.2.3.4/8,x",
            "ip",
            "ip=1.2.3.4/8,,,",
        ] {
            let text = std::format!("{}", Options::parse(line).unwrap_err());
            assert!(text.contains(line), "{text}");
        }
    }
}
