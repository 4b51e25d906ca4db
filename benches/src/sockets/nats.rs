//! nats-server, whose WebSocket listener is one of the yardsticks.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use super::message;

const SUBJECT: &str = "bench";

/// The first words of a client, and of its subscription.
pub const HELLO: &str = "CONNECT {\"verbose\":false}\r\nSUB bench 1\r\nPING\r\n";
pub const WELCOME: &str = "PONG\r\n";

/// Returns the binary: that of the environment, else the one that the tests have installed.
pub fn binary() -> Option<PathBuf> {
    let named = std::env::var_os("ENTASIS_NATS_SERVER").map(PathBuf::from);
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin/nats-server");
    named.or(Some(tools)).filter(|binary| binary.is_file())
}

/// Returns how to start it, on ports of its own choice. The file must outlive the start.
pub fn command(binary: &Path) -> Result<(Command, NamedTempFile)> {
    let mut settings = NamedTempFile::new()?;
    settings.write_all(b"host: 127.0.0.1\nport: -1\n")?;
    settings.write_all(b"websocket { host: 127.0.0.1, port: -1, no_tls: true }\n")?;
    let mut command = Command::new(binary);
    // As many threads as our servers have workers.
    command.arg("-c").arg(settings.path()).env("GOMAXPROCS", "1");
    Ok((command, settings))
}

/// Reads where it listens, for WebSockets and for everybody else, and lets it talk on.
pub fn addresses(log: ChildStderr) -> Result<(SocketAddr, SocketAddr)> {
    let mut lines = BufReader::new(log).lines();
    let (mut sockets, mut plain) = (None, None);
    let addresses = loop {
        if let (Some(sockets), Some(plain)) = (sockets, plain) {
            break (sockets, plain);
        }
        let line = lines.next().context("nats-server ended")??;
        let after = |words: &str| line.split_once(words).and_then(|(_, rest)| rest.parse().ok());
        sockets = sockets.or_else(|| after("Listening for websocket clients on ws://"));
        plain = plain.or_else(|| after("Listening for client connections on "));
    };
    // A pipe that nobody reads would stop it.
    std::thread::spawn(move || lines.for_each(drop));
    Ok(addresses)
}

/// Publishes messages over a plain connection, all of them in one write.
pub fn publish(stream: &mut TcpStream, ids: Range<u64>) -> std::io::Result<()> {
    let command = |id| {
        let text = message::text(id);
        format!("PUB {SUBJECT} {}\r\n{text}\r\n", text.len())
    };
    stream.write_all(ids.map(command).collect::<String>().as_bytes())
}
