//! A server in a process of its own, pinned to one core: what it is told, and what it takes.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, anyhow};

use super::message;
use super::nats;

/// The core of the server, where processes can be pinned.
const CORE: &str = "0";

/// Clock ticks a second in `/proc/PID/stat`, on every Linux that we know.
const TICKS_PER_SECOND: f64 = 100.0;

/// Who serves.
#[derive(Clone, Copy)]
pub enum Kind {
    Ours,
    /// Ours, whose sockets hold little.
    OursSmall,
    Poem,
    Bare,
    Nats,
}

/// A running server. It ends when it is dropped.
pub struct Server {
    child: Child,
    publisher: Publisher,
    pub address: SocketAddr,
    pub greeting: Greeting,
}

/// How a client subscribes.
pub struct Greeting {
    pub path: &'static str,
    pub hello: Vec<u8>,
    pub welcome: &'static str,
}

enum Publisher {
    Orders(ChildStdin),
    Nats(TcpStream),
}

impl Server {
    pub fn start(kind: Kind) -> Result<Self> {
        let name = match kind {
            Kind::Ours => "serve-ours",
            Kind::OursSmall => "serve-ours-small",
            Kind::Poem => "serve-poem",
            Kind::Bare => "serve-bare",
            Kind::Nats => return Self::start_nats(),
        };
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(name);
        let mut child = pinned(command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take().expect("a pipe was asked for");
        let mut address = String::new();
        BufReader::new(child.stdout.take().expect("a pipe was asked for"))
            .read_line(&mut address)?;
        let address = address.trim().parse().with_context(|| format!("{name} did not start"))?;
        const TEXT: u8 = 1;
        let hello = message::masked(TEXT, message::SUBSCRIBE.as_bytes());
        let greeting = Greeting { path: "/ws/market", hello, welcome: message::ACK_END };
        Ok(Self { child, publisher: Publisher::Orders(orders), address, greeting })
    }

    fn start_nats() -> Result<Self> {
        let (command, _settings) = nats::command(&nats::binary().context("no nats-server")?)?;
        let mut child = pinned(command).stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let (address, plain) = nats::addresses(child.stderr.take().expect("a pipe was asked for"))?;
        let mut stream = TcpStream::connect(plain)?;
        stream.set_nodelay(true)?;
        stream.write_all(b"CONNECT {\"verbose\":false}\r\n")?;
        const BINARY: u8 = 2;
        let hello = message::masked(BINARY, nats::HELLO.as_bytes());
        let greeting = Greeting { path: "/", hello, welcome: nats::WELCOME };
        Ok(Self { child, publisher: Publisher::Nats(stream), address, greeting })
    }

    /// Has messages published, as one entry where there are entries.
    pub fn publish(&mut self, ids: Range<u64>) -> Result<()> {
        match &mut self.publisher {
            Publisher::Nats(stream) => nats::publish(stream, ids)?,
            Publisher::Orders(orders) => {
                let mut order = [0; 16];
                order[..8].copy_from_slice(&ids.start.to_le_bytes());
                order[8..].copy_from_slice(&ids.end.to_le_bytes());
                orders.write_all(&order)?;
            }
        }
        Ok(())
    }

    /// Returns the seconds of a core that it has used, in user and in kernel mode.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name before it may hold anything. User and kernel time are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').context("no stat")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |at: usize| -> Result<f64> { Ok(fields.get(at).context("no stat")?.parse()?) };
        Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
    }

    /// Returns the bytes of memory that it holds.
    pub fn resident_bytes(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 =
            line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?.parse()?;
        Ok(kib * 1024.0)
    }

    /// Returns the bytes that the kernel holds for a client and that the client has no room for.
    pub fn bytes_stuck(&self, client: SocketAddr) -> Result<u64> {
        // Of each connection: number, our address, theirs, state, and what waits for them.
        let ends_with = |word: &str, port: u16| word.ends_with(&format!(":{port:04X}"));
        let connections = std::fs::read_to_string("/proc/net/tcp")?;
        let waits = connections.lines().find_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let ours = words.next().is_some_and(|word| ends_with(word, self.address.port()));
            let theirs = words.next().is_some_and(|word| ends_with(word, client.port()));
            words.nth(1)?.split(':').next().filter(|_| ours && theirs)
        });
        Ok(u64::from_str_radix(waits.context("no such connection")?, 16)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It would end with its orders too, but not before its sessions said goodbye.
        let ended = self.child.kill().and_then(|()| self.child.wait());
        ended.expect("a child of ours can be ended");
    }
}

/// Returns the command, pinned to one core if that is possible here.
fn pinned(command: Command) -> Command {
    if !can_pin() {
        return command;
    }
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", CORE]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        pinned.env(name, value.unwrap_or_default());
    }
    pinned
}

pub fn can_pin() -> bool {
    let tried = Command::new("taskset").args(["-c", CORE, "true"]).output();
    tried.is_ok_and(|output| output.status.success())
}

/// Returns how many files a process may have open.
pub fn files_max() -> Result<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    let soft = soft.ok_or_else(|| anyhow!("no limit of open files"))?;
    Ok(soft.parse().unwrap_or(usize::MAX))
}
