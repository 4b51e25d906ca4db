//! What the turns of all jobs have in common.

use std::time::Duration;

use eventlog::log::{LogError, ReadLog};
use eventlog::stream::Log;
use projections::views::Views;

/// Time that a turn waits for the views to show what the ledger holds.
const VIEWS_PATIENCE: Duration = Duration::from_secs(2);

/// What is left to do after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Nothing,
    /// More is due than one turn records.
    More,
    /// The ledger cannot be reached, or the views are behind it: another time.
    All,
}

/// Whether the views show all that the ledger holds: what was recorded a moment ago, here or by
/// another node, must not seem due again.
pub(crate) async fn shows_ledger(views: &Views, ledger: &dyn ReadLog) -> Result<bool, LogError> {
    match ledger.head().await {
        Ok(head) => Ok(views.wait_applied(Log::Ledger, head, VIEWS_PATIENCE).await),
        Err(error @ LogError::Unavailable(_)) => {
            tracing::warn!(%error, "the jobs wait for the ledger");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
