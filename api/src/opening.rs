//! Whether the house has caught up with its logs, so that it may be asked.

use std::sync::Arc;

use tokio::sync::watch;

/// What the door waits for. It listens from the first moment, so that the house can say that it
/// lives and how far it has come; everything else would be answered with the past, and has to wait.
#[derive(Debug, Clone)]
pub struct Opening(Arc<watch::Sender<State>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    CatchingUp,
    Open,
    /// It has caught up, and answers no clients: other nodes do.
    ToItself,
}

impl Opening {
    /// Returns a house that is still shut.
    pub fn shut() -> Self {
        Self(Arc::new(watch::Sender::new(State::CatchingUp)))
    }

    /// Opens the house, for good: the views show all that was in the logs when it started.
    pub fn open(&self) {
        self.0.send_replace(State::Open);
    }

    /// Notes that the views have caught up, in a house that nobody is to ask but for how it fares.
    pub fn keep_to_itself(&self) {
        self.0.send_replace(State::ToItself);
    }

    pub fn is_open(&self) -> bool {
        *self.0.borrow() == State::Open
    }

    /// Whether the views show all that was in the logs when it started.
    pub fn has_caught_up(&self) -> bool {
        *self.0.borrow() != State::CatchingUp
    }

    /// Returns when the house is open.
    pub async fn opened(&self) {
        let opened = self.0.subscribe().wait_for(|state| *state == State::Open).await.map(drop);
        opened.expect("the sender is ours, and lives as long as we do");
    }
}
