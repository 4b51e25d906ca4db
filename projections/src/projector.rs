//! One projector per log: reads entries in offset order and folds them into every view.

use std::sync::Arc;

use eventlog::entry::Offset;
use eventlog::log::{LogError, ReadLog};
use eventlog::stream::Log;

use crate::views::Views;

/// Entries that are folded under one lock: a reader waits a few milliseconds at the most.
const BATCH_ENTRIES_MAX: usize = 64;

/// Folds everything that the log holds now; returns the offset of the last entry.
pub async fn catch_up(log: Log, from: &dyn ReadLog, views: &Views) -> Result<Offset, LogError> {
    let head = from.head().await?;
    while views.applied(log) < head {
        step(log, from, views).await?;
    }
    Ok(views.applied(log))
}

/// Folds entries as they come, for as long as the log can be read.
pub async fn follow(log: Log, from: Arc<dyn ReadLog>, views: Arc<Views>) -> LogError {
    loop {
        let stepped = match from.wait_after(views.applied(log)).await {
            Ok(()) => step(log, from.as_ref(), &views).await,
            Err(error) => Err(error),
        };
        if let Err(error) = stepped {
            return error;
        }
    }
}

async fn step(log: Log, from: &dyn ReadLog, views: &Views) -> Result<(), LogError> {
    let entries = from.read(views.applied(log), BATCH_ENTRIES_MAX).await?;
    views.fold(log, &entries);
    Ok(())
}
