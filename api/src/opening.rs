//! Whether the house has caught up with its logs, so that it may be asked.

use std::sync::Arc;

use tokio::sync::watch;

/// What the door waits for. It listens from the first moment, so that the house can say that it
/// lives and how far it has come; everything else would be answered with the past, and has to wait.
#[derive(Debug, Clone)]
pub struct Opening(Arc<watch::Sender<bool>>);

impl Opening {
    /// Returns a house that is still shut.
    pub fn shut() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Opens the house, for good: the views show all that was in the logs when it started.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when the house is open.
    pub async fn opened(&self) {
        let opened = self.0.subscribe().wait_for(|open| *open).await.map(drop);
        opened.expect("the sender is ours, and lives as long as we do");
    }
}
