//! The sessions that listen to accounts of their own, and what wakes them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventlog::entry::Offset;
use eventlog::stream::Log;
use tokio::sync::Notify;

use crate::app::App;
use crate::ws::bell::Listener;

/// A mark that has grown old moves nothing that would wake a session, so all are woken so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Between two rounds there is at least this: prices move faster than anybody reads.
const ROUND_EVERY: Duration = Duration::from_millis(20);

/// All sessions that listen to an account.
#[derive(Debug, Default)]
pub struct Owners {
    listeners: Mutex<Listeners>,
    /// Somebody has come where nobody was.
    came: Notify,
}

#[derive(Debug, Default)]
struct Listeners {
    by_number: BTreeMap<u64, Arc<Listener>>,
    last_number: u64,
}

impl Owners {
    /// Lets somebody listen; returns the number with which to leave.
    pub fn join(&self, listener: Arc<Listener>) -> u64 {
        let mut listeners = self.listeners();
        listeners.last_number += 1;
        let number = listeners.last_number;
        listeners.by_number.insert(number, listener);
        drop(listeners);
        self.came.notify_one();
        number
    }

    pub fn leave(&self, number: u64) {
        self.listeners().by_number.remove(&number);
    }

    /// Wakes all of them; each looks for itself whether anything concerns it. Returns whether there
    /// is anybody.
    fn ring(&self) -> bool {
        let listeners = self.listeners();
        for listener in listeners.by_number.values() {
            listener.ring();
        }
        !listeners.by_number.is_empty()
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        // A map is whole after every step.
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes those who listen whenever the views have moved, for ever. Costs nothing while nobody does.
pub async fn run(app: Arc<App>, owners: Arc<Owners>) {
    app.opening.opened().await;
    loop {
        // Noted first: what moves while they are woken wakes them again.
        let next = |log| Offset(app.views.applied(log).0 + 1);
        let (ledger, market) = (next(Log::Ledger), next(Log::Market));
        if !owners.ring() {
            owners.came.notified().await;
            continue;
        }
        tokio::time::sleep(ROUND_EVERY).await;
        tokio::select! {
            _ = app.views.wait_applied(Log::Ledger, ledger, LOOK_EVERY) => {}
            _ = app.views.wait_applied(Log::Market, market, LOOK_EVERY) => {}
        }
    }
}
