//! How long a writer bears with the log while a client waits for the answer.

use std::time::Duration;

use eventlog::entry::{Draft, Version};
use eventlog::log::{Appended, EventLog, Expected, LogError};
use tokio::time::Instant;

/// How long an append of unknown outcome is asked for again. Then the client is told so, and asks
/// again under the same key. A log behind a network takes most of a second for one try, and a client
/// is to know within about that time.
pub const UNKNOWN_PATIENCE: Duration = Duration::from_millis(300);

/// Waits between two attempts.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);

/// What came of an append.
pub(crate) struct Attempt {
    pub(crate) outcome: Result<Appended, LogError>,
    /// Whether the outcome was unknown in between: what is found then may be this very append.
    pub(crate) is_unknown: bool,
}

/// Appends, and asks again as long as nobody knows whether it is in.
pub(crate) async fn append(ledger: &dyn EventLog, draft: &Draft, expected: Expected) -> Attempt {
    let until = Instant::now() + UNKNOWN_PATIENCE;
    let (mut wait, mut is_unknown) = (RETRY_MIN, false);
    loop {
        let outcome = ledger.append(draft.clone(), expected).await;
        // An attempt before may be in, whatever keeps this one from asking.
        let is_open = match outcome {
            Err(LogError::OutcomeUnknown) => true,
            Err(LogError::Unavailable(_) | LogError::Full) => is_unknown,
            // Nothing was expected, so there is nothing to decide anew.
            Err(LogError::Conflict { .. }) if expected == Expected::Any => true,
            Ok(_) | Err(_) => return Attempt { outcome, is_unknown },
        };
        if !is_open {
            return Attempt { outcome, is_unknown };
        }
        is_unknown |= outcome == Err(LogError::OutcomeUnknown);
        if Instant::now() + wait > until {
            let outcome = if is_unknown { Err(LogError::OutcomeUnknown) } else { outcome };
            return Attempt { outcome, is_unknown };
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

/// Returns what the log is to expect after a version.
pub(crate) const fn after(version: Version) -> Expected {
    match version {
        Version(0) => Expected::Empty,
        version => Expected::At(version),
    }
}
