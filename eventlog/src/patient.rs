//! A reader for those who work in the background: it waits until the log can be read again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::entry::{Entry, Offset, Version};
use crate::log::{Durability, LogError, ReadLog, Standing, Tip};
use crate::stream::Stream;

/// Waits between attempts; each is twice as long as the one before.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Reads a log that stands behind a network. What passes by itself is waited for; what does not, such
/// as damage, is an error as ever.
pub struct Patient {
    log: Arc<dyn ReadLog>,
}

impl Patient {
    pub fn new(log: Arc<dyn ReadLog>) -> Self {
        Self { log }
    }

    async fn asked<T, F: Future<Output = Result<T, LogError>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<T, LogError> {
        let mut wait = RETRY_MIN;
        loop {
            match ask().await {
                Err(LogError::Unavailable(_) | LogError::OutcomeUnknown) => {
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY_MAX);
                }
                answer => return answer,
            }
        }
    }
}

#[async_trait]
impl ReadLog for Patient {
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
        self.asked(|| self.log.read(after, limit)).await
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        self.asked(|| self.log.read_stream(stream, after, limit)).await
    }

    async fn last(&self, stream: &Stream) -> Result<Option<Entry>, LogError> {
        self.asked(|| self.log.last(stream)).await
    }

    async fn tip(&self, stream: &Stream) -> Result<Option<Tip>, LogError> {
        self.asked(|| self.log.tip(stream)).await
    }

    async fn floor(&self) -> Result<Offset, LogError> {
        self.asked(|| self.log.floor()).await
    }

    async fn head(&self) -> Result<Offset, LogError> {
        self.asked(|| self.log.head()).await
    }

    async fn wait_after(&self, after: Offset) -> Result<(), LogError> {
        self.asked(|| self.log.wait_after(after)).await
    }

    fn durability(&self) -> Durability {
        self.log.durability()
    }

    fn standing(&self) -> Standing {
        self.log.standing()
    }
}
