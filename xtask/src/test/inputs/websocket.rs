//! `examples/cowboy`: a systools release with cowboy of Debian, spoken to by a WebSocket client of another make.

use std::net::{Ipv4Addr, TcpStream};

use anyhow::{Context, Result, ensure};
use tungstenite::{Message, WebSocket};

use super::{Bench, LIMIT};
use crate::example;
use crate::sysroot;

type Socket = WebSocket<TcpStream>;

/// Two in the chat room.
pub(super) fn chat(bench: &Bench) -> Result<()> {
    let sid = sysroot::ensure_kind(sysroot::SID)?;
    let release = example::ensure_cowboy(&sid)?;
    let dir = sid.dir().display().to_string();
    let (image, said) = bench.build("cowboy", &release, &["--sysroot", &dir])?;
    ensure!(said.contains("chat 1.0.0, ERTS 17"), "{said}");
    let guest = bench.serve(&image)?;
    let body = &guest.answer.body;
    ensure!(body.contains("A chat room in Erlang/OTP 29"), "{body}");
    let port = *guest.ports.first().context("a port")?;
    let mut anna = enter(port, "Anna")?;
    hears(&mut anna, "Anna is here")?;
    let mut bert = enter(port, "Bert")?;
    hears(&mut bert, "Bert is here")?;
    hears(&mut anna, "Bert is here")?;
    bert.send(Message::text("Grüezi"))?;
    for socket in [&mut anna, &mut bert] {
        hears(socket, "Bert: Grüezi")?;
    }
    ensure!(guest.get("/")?.body.contains("Present: 2"), "two are here");
    comes_back(&mut anna)?;
    anna.close(None)?;
    let end = loop {
        match anna.read() {
            Ok(_) => {}
            Err(end) => break end,
        }
    };
    ensure!(
        matches!(end, tungstenite::Error::ConnectionClosed),
        "the end is {end}"
    );
    guest.shut_down()
}

fn enter(port: u16, name: &str) -> Result<Socket> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    let (socket, _) = tungstenite::client(format!("ws://127.0.0.1:{port}/chat/{name}"), stream)?;
    Ok(socket)
}

fn hears(socket: &mut Socket, want: &str) -> Result<()> {
    let heard = socket.read()?;
    ensure!(heard == Message::text(want), "heard {heard}, not {want}");
    Ok(())
}

/// Sends messages of many lengths, a ping among them, and expects the same back in order.
fn comes_back(socket: &mut Socket) -> Result<()> {
    let lengths = [0, 1, 125, 126, 65_535, 65_536, 900_000];
    let message = |length: usize| -> Vec<u8> {
        let bytes = (0..length).map(|at| u8::try_from(at % 251).unwrap_or_default());
        bytes.collect()
    };
    for length in lengths {
        socket.send(Message::binary(message(length)))?;
        let back = socket.read()?;
        ensure!(
            back == Message::binary(message(length)),
            "{} bytes came back of {length}",
            back.len()
        );
    }
    socket.send(Message::Ping(b"are you there"[..].into()))?;
    let pong = socket.read()?;
    ensure!(
        pong == Message::Pong(b"are you there"[..].into()),
        "the answer to a ping is {pong}"
    );
    Ok(())
}
