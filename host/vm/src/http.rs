//! Just enough HTTP to tell whether a guest serves: a GET on a fresh connection.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Between two connection attempts while a guest boots.
const ATTEMPT_EVERY: Duration = Duration::from_millis(25);
/// How long an attempt may go without an answer before it is given up: the user network retries a lost SYN late.
const ATTEMPT_AGE: Duration = Duration::from_secs(1);
/// Pause between looks at open attempts.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: String,
}

fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

/// Asks 127.0.0.1:`port` for `path` on a connection of its own.
///
/// # Errors
/// When there is no answer within `limit`, or it is not HTTP.
pub fn get(port: u16, path: &str, limit: Duration) -> io::Result<Response> {
    ask(
        TcpStream::connect_timeout(&address(port), limit)?,
        path,
        limit,
    )
}

/// Asks for `path` on a connection that was made for it.
///
/// # Errors
/// As [`get`].
pub fn ask(mut stream: TcpStream, path: &str, limit: Duration) -> io::Result<Response> {
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(request(path).as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&bytes)
}

/// Splits an answer that ends with its connection.
fn parse(bytes: &[u8]) -> io::Result<Response> {
    let text = String::from_utf8_lossy(bytes);
    let not_http = || io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(not_http)?;
    let mut words = head.split(' ');
    let version = words.next().unwrap_or_default();
    let status = words.next().and_then(|w| w.parse().ok());
    match status {
        Some(status) if version.starts_with("HTTP/1.") => Ok(Response {
            status,
            body: body.to_owned(),
        }),
        _ => Err(not_http()),
    }
}

/// An attempt that is under way.
struct Attempt {
    stream: TcpStream,
    since: Instant,
    bytes: Vec<u8>,
}

impl Attempt {
    fn start(port: u16, path: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&address(port), ATTEMPT_AGE)?;
        stream.write_all(request(path).as_bytes())?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            since: Instant::now(),
            bytes: Vec::new(),
        })
    }

    /// Looks for the answer: `Ok(None)` while it is not complete, an error when it will never be.
    fn look(&mut self) -> io::Result<Option<Response>> {
        match self.stream.read_to_end(&mut self.bytes) {
            Ok(_) => parse(&self.bytes).map(Some),
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock
                    && self.since.elapsed() < ATTEMPT_AGE =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Asks for `path` until 127.0.0.1:`port` answers, by a fresh connection every 25 ms so that a packet lost while the guest
/// boots costs nothing. Gives up when `limit` is over or `is_over` says that nobody will answer any more.
#[must_use]
pub fn wait(
    port: u16,
    path: &str,
    limit: Duration,
    mut is_over: impl FnMut() -> bool,
) -> Option<Response> {
    let start = Instant::now();
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut next = start;
    while start.elapsed() < limit && !is_over() {
        let now = Instant::now();
        if now >= next {
            attempts.extend(Attempt::start(port, path).ok());
            next = now + ATTEMPT_EVERY;
        }
        let mut answer = None;
        attempts.retain_mut(|attempt| match attempt.look() {
            Ok(None) => true,
            Ok(Some(response)) => {
                answer.get_or_insert(response);
                false
            }
            Err(_) => false,
        });
        if answer.is_some() {
            return answer;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// A server that closes its first `deaf` connections and answers the others.
    fn server(deaf: usize) -> u16 {
        let listener = TcpListener::bind(address(0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for (n, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                if n < deaf {
                    continue;
                }
                let mut request = [0; 512];
                let length = stream.read(&mut request).unwrap();
                assert!(request[..length].starts_with(b"GET /x HTTP/1.1\r\n"));
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
            }
        });
        port
    }

    #[test]
    fn answer_is_read_to_its_end() {
        let response = get(server(0), "/x", Duration::from_secs(5)).unwrap();
        assert_eq!((response.status, response.body.as_str()), (200, "hi"));
    }

    #[test]
    fn waiting_survives_connections_without_an_answer() {
        let response = wait(server(3), "/x", Duration::from_secs(20), || false);
        assert_eq!(response.unwrap().status, 200);
    }

    #[test]
    fn waiting_ends_when_nobody_will_answer() {
        let port = server(usize::MAX);
        assert_eq!(wait(port, "/x", Duration::from_millis(60), || false), None);
        let mut looks = 0;
        let over = || {
            looks += 1;
            looks > 3
        };
        assert_eq!(wait(port, "/x", Duration::from_secs(600), over), None);
    }

    #[test]
    fn other_protocols_are_refused() {
        for text in [
            "",
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
            "HTTP/1.1 ok OK\r\n\r\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
