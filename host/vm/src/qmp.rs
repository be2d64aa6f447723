//! A client of QEMU's machine protocol (docs/interop/qmp-spec in QEMU's sources): one command at a time, events skipped.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

/// A connection to one QEMU, ready for commands.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
}

impl Qmp {
    /// Takes over a fresh connection: reads the greeting and leaves negotiation.
    ///
    /// # Errors
    /// When the other side does not speak the protocol or goes away.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        let mut qmp = Self {
            reader: BufReader::new(stream),
        };
        let greeting = qmp.receive()?;
        if greeting.get("QMP").is_none() {
            return Err(io::Error::other(format!("no QMP greeting but {greeting}")));
        }
        qmp.execute("qmp_capabilities")?;
        Ok(qmp)
    }

    /// Executes a command without arguments and returns its result.
    ///
    /// # Errors
    /// When QEMU refuses the command or goes away.
    pub fn execute(&mut self, command: &str) -> io::Result<Value> {
        self.send(command, &json!({ "execute": command }))
    }

    /// Executes a command of the human monitor, for what has no other, and returns what it says.
    ///
    /// # Errors
    /// When QEMU refuses the command or goes away.
    pub fn monitor(&mut self, line: &str) -> io::Result<String> {
        let command = "human-monitor-command";
        let arguments = json!({ "command-line": line });
        let request = json!({ "execute": command, "arguments": arguments });
        let said = self.send(command, &request)?;
        Ok(said.as_str().unwrap_or_default().to_owned())
    }

    fn send(&mut self, command: &str, request: &Value) -> io::Result<Value> {
        let mut line = request.to_string();
        line.push('\n');
        self.reader.get_mut().write_all(line.as_bytes())?;
        loop {
            let mut answer = self.receive()?;
            if let Some(result) = answer.get_mut("return") {
                return Ok(result.take());
            }
            if let Some(error) = answer.get("error") {
                let text = error.get("desc").and_then(Value::as_str).unwrap_or("?");
                return Err(io::Error::other(format!("QEMU refused {command}: {text}")));
            }
        }
    }

    fn receive(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_str(&line).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// Plays QEMU: greets, then answers each command with the next lines.
    fn with_server(answers: &'static [&'static str]) -> io::Result<Qmp> {
        let (ours, theirs) = UnixStream::pair()?;
        thread::spawn(move || {
            let mut writer = theirs.try_clone().unwrap();
            writeln!(
                writer,
                r#"{{"QMP": {{"version": {{}}, "capabilities": []}}}}"#
            )
            .unwrap();
            let mut commands = BufReader::new(theirs).lines();
            for answer in answers {
                commands.next();
                writeln!(writer, "{answer}").unwrap();
            }
        });
        Qmp::new(ours)
    }

    #[test]
    fn commands_get_their_results_past_events() {
        let answers = &[
            r#"{"return": {}}"#,
            "{\"event\": \"POWERDOWN\"}\n{\"return\": {\"status\": \"running\"}}",
        ];
        let mut qmp = with_server(answers).unwrap();
        assert_eq!(qmp.execute("query-status").unwrap()["status"], "running");
    }

    #[test]
    fn refusals_and_silence_are_errors() {
        let answers = &[
            r#"{"return": {}}"#,
            r#"{"error": {"class": "x", "desc": "no such"}}"#,
        ];
        let mut qmp = with_server(answers).unwrap();
        let error = qmp.execute("jump").unwrap_err().to_string();
        assert_eq!(error, "QEMU refused jump: no such");
        assert!(qmp.execute("gone").is_err());
        assert!(with_server(&[]).is_err());
    }
}
