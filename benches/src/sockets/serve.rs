//! The child's side: this program as one of the servers, in a process with one worker thread.
//!
//! It prints its address, publishes what is ordered through standard input, and ends with it.

use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsFd;

use anyhow::{Result, bail};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::{bare, ours, poem};

/// The messages that are to be published next, by their numbers.
pub struct Orders(pipe::Receiver);

/// Serves as `ours`, `ours-small` (whose sockets hold little), `poem` or `bare`.
pub fn run(kind: &str) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let kind = kind.to_owned();
    // As a task, so that the one worker does all of the work.
    let serving = runtime.spawn(async move {
        let orders = Orders::open()?;
        match kind.as_str() {
            "ours" => ours::serve(orders, None).await,
            "ours-small" => ours::serve(orders, Some(ours::SMALL_BYTES)).await,
            "poem" => poem::serve(orders).await,
            "bare" => bare::serve(orders).await,
            other => bail!("nobody serves as {other}"),
        }
    });
    runtime.block_on(serving)?
}

/// Tells the parent where we listen.
pub fn announce(address: SocketAddr) {
    println!("{address}");
}

impl Orders {
    fn open() -> Result<Self> {
        let input = std::io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self(pipe::Receiver::from_owned_fd(input)?))
    }

    /// Returns the next order; `None` when the parent wants no more of us.
    pub async fn next(&mut self) -> Option<Range<u64>> {
        let first = self.0.read_u64_le().await.ok()?;
        let end = self.0.read_u64_le().await.ok()?;
        Some(first..end)
    }
}
