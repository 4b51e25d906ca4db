//! A reader for those who have somebody waiting: it gives up soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use eventlog::entry::{Entry, Offset, Version};
use eventlog::log::{Durability, LogError, ReadLog, Standing, Tip};
use eventlog::stream::Stream;
use tokio::time::timeout;

/// How long a log may take for one answer. Then it counts as one that cannot be reached, so that a
/// command is answered within a second.
pub const READ_PATIENCE: Duration = Duration::from_millis(700);

/// Reads a log that may stand behind a network, and knows its head while that is away.
pub struct Prompt {
    log: Arc<dyn ReadLog>,
    /// The highest that was seen.
    head: AtomicU64,
}

impl Prompt {
    pub fn new(log: Arc<dyn ReadLog>) -> Self {
        Self { log, head: AtomicU64::new(0) }
    }

    /// Returns the head that was last known, zero before any was.
    pub fn known_head(&self) -> Offset {
        Offset(self.head.load(Ordering::Relaxed))
    }
}

async fn soon<T>(answer: impl Future<Output = Result<T, LogError>>) -> Result<T, LogError> {
    let late = || LogError::Unavailable("it took too long to answer".to_owned());
    timeout(READ_PATIENCE, answer).await.unwrap_or_else(|_| Err(late()))
}

#[async_trait]
impl ReadLog for Prompt {
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
        soon(self.log.read(after, limit)).await
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        soon(self.log.read_stream(stream, after, limit)).await
    }

    async fn last(&self, stream: &Stream) -> Result<Option<Entry>, LogError> {
        soon(self.log.last(stream)).await
    }

    async fn tip(&self, stream: &Stream) -> Result<Option<Tip>, LogError> {
        soon(self.log.tip(stream)).await
    }

    async fn floor(&self) -> Result<Offset, LogError> {
        soon(self.log.floor()).await
    }

    async fn head(&self) -> Result<Offset, LogError> {
        let head = soon(self.log.head()).await?;
        self.head.fetch_max(head.0, Ordering::Relaxed);
        Ok(head)
    }

    /// Waits for as long as it takes: whoever waits for what may never come has nobody waiting.
    async fn wait_after(&self, after: Offset) -> Result<(), LogError> {
        self.log.wait_after(after).await
    }

    fn durability(&self) -> Durability {
        self.log.durability()
    }

    fn standing(&self) -> Standing {
        self.log.standing()
    }
}
