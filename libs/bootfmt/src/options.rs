//! The kernel's command line.
//!
//! Options are separated by blanks:
//! - `trace`: events (refused calls, processes' ends) go to the report channel as they happen; `trace=calls`: each system
//!   call, too.
//! - `ip=dhcp` (the default), `ip=off`, or `ip=ADDRESS/PREFIX[,GATEWAY[,DNS]]`: the IPv4 address of the network device.
//! - `ip6=auto` (the default: from itself and from routers), `ip6=off`, or `ip6=ADDRESS/PREFIX[,GATEWAY[,DNS]]`: the IPv6
//!   address of the network device. `ip=off` alone means both.
//! - `tty.size=ROWSxCOLUMNS`: the size of the console's terminal; changes of it come over the second serial port (COM2), each
//!   as a line of text, `size ROWS COLUMNS`.
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

/// How the network device gets its IPv6 address, beside the link-local one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ip6 {
    /// As routers tell.
    #[default]
    Auto,
    /// It has none.
    Off,
    /// As given.
    Static {
        /// Address.
        address: [u8; 16],
        /// Prefix length, 0 to 128.
        prefix: u8,
        /// Default gateway.
        gateway: Option<[u8; 16]>,
        /// Name server.
        dns: Option<[u8; 16]>,
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

/// The size of a terminal in characters, neither of them 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TtySize {
    /// Height.
    pub rows: u16,
    /// Width.
    pub columns: u16,
}

impl TtySize {
    /// Parses the text `ROWSxCOLUMNS`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.split_once('x').and_then(|(r, c)| Self::new(r, c))
    }

    /// Parses a line of COM2 without its newline.
    #[must_use]
    pub fn parse_line(line: &[u8]) -> Option<Self> {
        let line = core::str::from_utf8(line).ok()?;
        let (rows, columns) = line.strip_prefix("size ")?.split_once(' ')?;
        Self::new(rows, columns)
    }

    fn new(rows: &str, columns: &str) -> Option<Self> {
        let number = |text: &str| text.parse().ok().filter(|&n| n != 0);
        Some(Self {
            rows: number(rows)?,
            columns: number(columns)?,
        })
    }
}

/// The options of one boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// `trace`
    pub trace: Trace,
    /// `ip`
    pub ip: Ip,
    /// `ip6`
    pub ip6: Ip6,
    /// `tty.size`
    pub tty_size: Option<TtySize>,
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
                ("ip6", Some("auto")) => options.ip6 = Ip6::Auto,
                ("ip6", Some("off")) => options.ip6 = Ip6::Off,
                ("ip6", Some(v)) => {
                    options.ip6 = parse_static6(v).ok_or(bad(
                        "is not an address: use 'ip6=auto', 'ip6=off' or 'ip6=ADDRESS/PREFIX[,GATEWAY[,DNS]]'",
                    ))?;
                }
                ("tty.size", Some(v)) => {
                    let size = TtySize::parse(v);
                    options.tty_size =
                        Some(size.ok_or(bad("is no size: use 'tty.size=ROWSxCOLUMNS'"))?);
                }
                ("virtio_mmio.device", Some(_)) => {}
                _ => {
                    return Err(bad(
                        "is unknown: known are trace, trace=calls, ip=, ip6=, tty.size=, virtio_mmio.device=",
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

fn parse_address6(text: &str) -> Option<[u8; 16]> {
    text.parse::<core::net::Ipv6Addr>().ok().map(|a| a.octets())
}

/// An address, the length of its prefix, a gateway, a name server.
type Parts<A> = (A, u8, Option<A>, Option<A>);

/// Parses `ADDRESS/PREFIX[,GATEWAY[,DNS]]`.
fn parse_parts<A>(text: &str, longest: u8, address: fn(&str) -> Option<A>) -> Option<Parts<A>> {
    let mut parts = text.split(',');
    let (own, prefix) = parts.next()?.split_once('/')?;
    let mut further = || {
        let part = parts.next().map(|text| address(text).ok_or(()));
        part.transpose().ok()
    };
    let (gateway, dns) = (further()?, further()?);
    let prefix = prefix.parse().ok().filter(|&p| p <= longest)?;
    let is_all = parts.next().is_none();
    is_all.then_some((address(own)?, prefix, gateway, dns))
}

fn parse_static(text: &str) -> Option<Ip> {
    let (address, prefix, gateway, dns) = parse_parts(text, 32, parse_address)?;
    Some(Ip::Static {
        address,
        prefix,
        gateway,
        dns,
    })
}

fn parse_static6(text: &str) -> Option<Ip6> {
    let (address, prefix, gateway, dns) = parse_parts(text, 128, parse_address6)?;
    Some(Ip6::Static {
        address,
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
                ip: Ip::Dhcp,
                ip6: Ip6::Auto,
                tty_size: None
            }
        );
    }

    #[test]
    fn all_known_options_are_accepted() {
        let o = Options::parse(
            "trace=calls tty.size=50x132 ip=10.0.2.15/24,10.0.2.2 ip6=fd00::2/64,fd00::1,fd00::3 virtio_mmio.device=512@0xfeb00e00:12",
        )
        .unwrap();
        assert_eq!(o.trace, Trace::Calls);
        let size = TtySize {
            rows: 50,
            columns: 132,
        };
        assert_eq!(o.tty_size, Some(size));
        assert_eq!(TtySize::parse_line(b"size 50 132"), Some(size));
        for line in [&b"size 50x132"[..], b"size 0 1", b"size 1 65536", b"\xff"] {
            assert_eq!(TtySize::parse_line(line), None);
        }
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
        let address = |last| {
            let mut address = [0; 16];
            (address[0], address[15]) = (0xfd, last);
            address
        };
        assert_eq!(
            o.ip6,
            Ip6::Static {
                address: address(2),
                prefix: 64,
                gateway: Some(address(1)),
                dns: Some(address(3)),
            }
        );
        assert_eq!(Options::parse("ip6=off").unwrap().ip6, Ip6::Off);
    }

    #[test]
    fn unknown_or_malformed_options_are_named() {
        for line in [
            "quiet",
            "trace=x",
            "ip=10.0.2.15",
            "ip6=fe80::1",
            "ip6=fd00::1/129",
            "ip6=10.0.2.15/24",
            "ip6=fd00::1/64,fd00::2,fd00::3,",
            "ip=10.0.2.15/33",
            "ip=1.2.3.4/8,x",
            "ip",
            "ip=1.2.3.4/8,,,",
            "tty.size=80",
            "tty.size=0x80",
        ] {
            let text = std::format!("{}", Options::parse(line).unwrap_err());
            assert!(text.contains(line), "{text}");
        }
    }
}
