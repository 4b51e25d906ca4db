//! How both logs fare, asked in a time that nobody minds.

use std::sync::Arc;
use std::time::Duration;

use eventlog::entry::Offset;
use eventlog::log::{Durability, LogError, ReadLog, Standing};
use tokio::time::timeout;

use crate::prompt::Prompt;

/// How long a log is asked for its head before the one that was last known is told.
const HEAD_PATIENCE: Duration = Duration::from_millis(300);

/// Both logs, each with the head that was last known of it.
pub struct Logs {
    ledger: Arc<Prompt>,
    market: Arc<Prompt>,
}

/// How a log fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fare {
    /// Worse than the log itself says where its head cannot be had.
    pub standing: Standing,
    pub durability: Durability,
    /// As last known; zero before it ever was.
    pub head: Offset,
}

impl Logs {
    pub fn new(ledger: Arc<dyn ReadLog>, market: Arc<dyn ReadLog>) -> Self {
        Self { ledger: Arc::new(Prompt::new(ledger)), market: Arc::new(Prompt::new(market)) }
    }

    /// Returns readers that do not let anybody wait.
    pub fn readers(&self) -> (Arc<dyn ReadLog>, Arc<dyn ReadLog>) {
        (Arc::clone(&self.ledger) as Arc<dyn ReadLog>, Arc::clone(&self.market) as Arc<dyn ReadLog>)
    }

    /// Returns how the ledger and the market log fare. Never fails, and never takes long.
    pub async fn fares(&self) -> [Fare; 2] {
        let (ledger, market) = tokio::join!(fare(&self.ledger), fare(&self.market));
        [ledger, market]
    }
}

async fn fare(log: &Prompt) -> Fare {
    let asked = timeout(HEAD_PATIENCE, log.head()).await;
    let late = || LogError::Unavailable("it does not answer".to_owned());
    let answer = asked.unwrap_or_else(|_| Err(late()));
    // Only now: what the log has learned by being asked, it says.
    let standing = match (log.standing(), answer) {
        (Standing::Good | Standing::Degraded { .. }, Err(error)) => {
            Standing::Down { reason: error.to_string(), advice: None }
        }
        (standing, _) => standing,
    };
    Fare { standing, durability: log.durability(), head: log.known_head() }
}
