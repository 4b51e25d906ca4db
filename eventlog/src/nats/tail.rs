//! The one task that follows a log, for all that follow it here: by a consumer, and whenever anything
//! is odd about that, by another one from the entry after the last.

use std::sync::Arc;
use std::time::Duration;

use tokio::time;

use crate::entry::Offset;
use crate::nats::Shared;
use crate::nats::broker::Fault;
use crate::nats::message::Raw;

/// Waits before a consumer is made anew; each is twice as long as the one before.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

pub(super) struct Tail {
    pub(super) shared: Arc<Shared>,
    /// The sequence of the last entry that was handed on.
    pub(super) last: u64,
    /// A sequence behind which a consumer has once begun with a hole: only the second time it is the
    /// log's, not the consumer's.
    pub(super) doubted: Option<u64>,
}

impl Tail {
    /// Follows for ever.
    pub(super) async fn run(mut self) {
        let mut wait = RETRY_MIN;
        loop {
            let before = self.last;
            match self.follow().await {
                Ok(why) => tracing::debug!(log = %self.shared.log(), why, "follows anew"),
                Err(fault) => tracing::debug!(log = %self.shared.log(), ?fault, "cannot follow"),
            }
            wait = if self.last > before { RETRY_MIN } else { (wait * 2).min(RETRY_MAX) };
            time::sleep(wait).await;
        }
    }

    /// Follows with one consumer, until there is something odd about it; says what.
    async fn follow(&mut self) -> Result<&'static str, Fault> {
        let shared = Arc::clone(&self.shared);
        let mut consumer = shared.broker.consumer(self.last + 1).await?;
        loop {
            let next = tokio::select! {
                next = consumer.next() => next,
                // It may live, and say so, on a replica that stores no more: the next one may be
                // on another.
                () = shared.stalled.notified() => return Ok("the leader has more"),
            };
            match next {
                Err(odd) => return Ok(odd),
                Ok(delivered) => {
                    if let Some(odd) = self.take(&delivered.raw) {
                        return Ok(odd);
                    }
                }
            }
        }
    }

    /// Takes a message; says what is odd about it.
    fn take(&mut self, raw: &Raw) -> Option<&'static str> {
        if raw.sequence <= self.last {
            return Some("a message came again");
        }
        if raw.sequence > self.last + 1 && self.doubted != Some(self.last) {
            self.doubted = Some(self.last);
            return Some("a hole");
        }
        self.last = raw.sequence;
        match raw.entry(self.shared.names()) {
            Ok(entry) => {
                self.shared.learn_tip(&entry.stream, raw);
                let before = Offset(raw.sequence - 1);
                self.shared.ring.push(before, entry, raw.payload.len());
            }
            // Whoever reads up to here asks the broker, and is told.
            Err(_) => self.shared.ring.pass(Offset(raw.sequence)),
        }
        None
    }
}
