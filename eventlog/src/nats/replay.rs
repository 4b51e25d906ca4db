//! A log at full speed for one reader who goes on reading: a consumer of its own, which runs ahead of it
//! up to the end of the log.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time;

use crate::nats::broker::{ANSWER_WAIT, BATCH_MESSAGES_MAX, Broker};
use crate::nats::message::Raw;

/// Messages that wait for the reader. When so many do, the consumer waits, and then the server.
pub(super) const WAITING_MAX: usize = 512;
/// How long the consumer waits for its reader. Past it the reader begins anew when it comes.
const READER_WAIT: Duration = Duration::from_secs(10);

/// Messages whose sequences rise by one, as they come.
pub(super) struct Replay(mpsc::Receiver<Raw>);

impl Replay {
    /// Begins at a sequence.
    pub(super) fn begin(broker: &Arc<Broker>, from: u64) -> Self {
        let (sender, messages) = mpsc::channel(WAITING_MAX);
        tokio::spawn(run(Arc::clone(broker), from, sender));
        Self(messages)
    }

    /// Returns the next messages; none when it has come to the end, or stalls: then the broker must be
    /// asked in another way.
    pub(super) async fn take(&mut self, limit: usize) -> Vec<Raw> {
        let limit = limit.min(BATCH_MESSAGES_MAX);
        let mut raws = Vec::with_capacity(limit);
        let some = time::timeout(ANSWER_WAIT, self.0.recv_many(&mut raws, limit)).await;
        if some.is_ok() { raws } else { Vec::new() }
    }
}

/// Ends at the end of the log, at anything odd, and when nobody reads any more.
async fn run(broker: Arc<Broker>, from: u64, sender: mpsc::Sender<Raw>) {
    let Ok(mut consumer) = broker.consumer(from).await else { return };
    let mut expected = from;
    while let Ok(delivered) = consumer.next().await {
        if delivered.raw.sequence != expected {
            return;
        }
        expected += 1;
        if sender.send_timeout(delivered.raw, READER_WAIT).await.is_err() || delivered.pending == 0
        {
            return;
        }
    }
}
