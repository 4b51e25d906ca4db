//! How a node is doing, as everything in it is told.

use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// Ends its calls as if they were complete, and takes no others.
    Stopping,
    /// Its connections are cut.
    Killed,
    /// It neither reads nor writes a byte.
    Frozen,
}

/// Returns when the node does not run any more.
pub(crate) async fn ended(life: &mut watch::Receiver<Life>) {
    let over = |life: &Life| matches!(life, Life::Stopping | Life::Killed);
    // Without a sender the node is gone, too.
    life.wait_for(over).await.ok();
}
