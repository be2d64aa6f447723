//! How the Erlang node of a guest can be reached, as far as the arguments of its start tell: for `tyn shell`.

use std::path::Path;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tyn_release::GuestFile;

/// Where a node looks for its cookie that gets none by its arguments (`auth` in kernel's reference manual).
const COOKIE_FILE: &str = "/root/.erlang.cookie";
/// Where epmd listens.
pub(crate) const EPMD_PORT: u16 = 4369;

/// What is known of a node. It has a cookie in it: nobody else is to read it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Node {
    /// `NAME` or `NAME@HOST`; none of a node that has no name, which nobody can connect to.
    pub(crate) name: Option<String>,
    pub(crate) cookie: Option<String>,
    /// Where it listens; without, epmd knows.
    pub(crate) port: Option<u16>,
    /// The way it talks with others, when it isn't TCP.
    pub(crate) protocol: Option<String>,
}

impl Node {
    /// Reads the arguments of a virtual machine, and the files that come with a start.
    pub(crate) fn of(args: &[Vec<u8>], files: &[GuestFile]) -> Self {
        let args = args.iter().map(|arg| String::from_utf8_lossy(arg));
        let args: Vec<_> = args.take_while(|arg| arg != "-extra").collect();
        let value = |flag: &str| {
            let at = args.iter().rposition(|arg| arg == flag)?;
            Some(args.get(at + 1)?.clone().into_owned())
        };
        let file = files.iter().find(|f| f.path == Path::new(COOKIE_FILE));
        let in_file = file.map(|file| String::from_utf8_lossy(&file.data).trim().to_owned());
        Self {
            name: value("-name").or_else(|| value("-sname")),
            cookie: value("-setcookie").or(in_file),
            port: value("-erl_epmd_port").and_then(|port| port.parse().ok()),
            protocol: value("-proto_dist").filter(|name| name != "inet_tcp"),
        }
    }

    /// Returns its name and cookie, if it can be reached at all.
    ///
    /// # Errors
    /// Why it can't, and the remedy.
    pub(crate) fn expect_reachable(&self, guest: &str, image: &Path) -> Result<(&str, &str)> {
        let image = image.display();
        let Some(name) = &self.name else {
            bail!(
                "the node in {guest} has no name, so there is no way to it; start it with one: \
                 `tyn run -d {image} -- -sname NAME -setcookie COOKIE` (or with a shell on its console: `tyn run -d -i {image}`)"
            );
        };
        if let Some(protocol) = &self.protocol {
            bail!(
                "the node in {guest} talks with others by {protocol}; a shell takes the default, inet_tcp"
            );
        }
        let Some(cookie) = &self.cookie else {
            bail!(
                "the cookie of the node in {guest} is not known: nothing set it, so it made one; start it with \
                 `tyn run -d {image} -- -setcookie COOKIE`"
            );
        };
        let name = name.split('@').next().unwrap_or(name);
        Ok((name, cookie))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Node {
        let args: Vec<_> = line.split(' ').map(|arg| arg.as_bytes().to_vec()).collect();
        Node::of(&args, &[])
    }

    #[test]
    fn arguments_tell_how_a_node_is_reached() {
        let node = of("beam.smp -- -root / -- -sname app@host -setcookie c -extra -name x");
        let image = Path::new("x.img");
        assert_eq!(node.expect_reachable("g", image).unwrap(), ("app", "c"));
        assert_eq!(node.port, None);
        let node = of("beam.smp -- -name a@1.2.3.4 -setcookie c -erl_epmd_port 4370");
        assert_eq!(
            (node.port, node.name.as_deref()),
            (Some(4370), Some("a@1.2.3.4"))
        );
    }

    #[test]
    fn a_cookie_may_come_in_a_file() {
        let file = GuestFile {
            path: COOKIE_FILE.into(),
            mode: 0o400,
            data: b"secret\n".to_vec(),
        };
        let args = ["-sname", "a"].map(|arg| arg.as_bytes().to_vec());
        assert_eq!(Node::of(&args, &[file]).cookie.as_deref(), Some("secret"));
    }

    #[test]
    fn what_keeps_us_out_is_said_with_the_remedy() {
        let error = |line: &str| {
            let node = of(line);
            let error = node.expect_reachable("g", Path::new("x.img")).unwrap_err();
            error.to_string()
        };
        assert!(error("beam.smp").starts_with("the node in g has no name"));
        assert!(error("beam.smp").contains("`tyn run -d x.img -- -sname NAME"));
        assert!(error("-sname a").contains("-- -setcookie COOKIE`"));
        assert!(error("-sname a -proto_dist inet_tls").contains("by inet_tls"));
    }
}
