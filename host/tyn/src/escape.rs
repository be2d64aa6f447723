//! The escape key of an interactive console: everything that is typed goes to the guest, but what follows Ctrl-].

/// Ctrl-].
const ESCAPE: u8 = 0x1d;

/// What the tool is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// Stop the guest.
    Stop,
    /// Leave the guest running.
    Detach,
    /// Say what there is.
    Help,
}

/// Tells the guest's bytes from ours.
#[derive(Debug, Default)]
pub(crate) struct Escape {
    /// The escape key was the last one.
    is_escaped: bool,
}

impl Escape {
    /// Takes typed bytes; appends the guest's to `guest` and returns what is asked of us, in order.
    pub(crate) fn feed(&mut self, typed: &[u8], guest: &mut Vec<u8>) -> Vec<Request> {
        let mut requests = Vec::new();
        for &byte in typed {
            let was_escaped = std::mem::replace(&mut self.is_escaped, false);
            match (was_escaped, byte) {
                (false, ESCAPE) => self.is_escaped = true,
                (false, byte) => guest.push(byte),
                (true, b'x' | b'X') => requests.push(Request::Stop),
                (true, b'd' | b'D') => requests.push(Request::Detach),
                (true, b'?' | b'h') => requests.push(Request::Help),
                (true, ESCAPE) => guest.push(ESCAPE),
                // Not ours: as it was typed.
                (true, byte) => guest.extend([ESCAPE, byte]),
            }
        }
        requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_follows_the_escape_key_is_ours() {
        let mut escape = Escape::default();
        let mut guest = Vec::new();
        assert_eq!(escape.feed(b"a\x03\x01x", &mut guest), []);
        assert_eq!(guest, b"a\x03\x01x");
        guest.clear();
        assert_eq!(escape.feed(b"b\x1d", &mut guest), []);
        assert_eq!(escape.feed(b"xc", &mut guest), [Request::Stop]);
        assert_eq!(guest, b"bc");
        guest.clear();
        let requests = escape.feed(b"\x1d\x1dx\x1dq\x1d?\x1dd", &mut guest);
        assert_eq!(requests, [Request::Help, Request::Detach]);
        assert_eq!(guest, b"\x1dx\x1dq");
    }
}
