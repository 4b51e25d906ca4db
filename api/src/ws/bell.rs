//! How a session learns what there is to fetch: topics ring, and it is woken once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A subscription's number in its session; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub u64);

/// What wakes a session.
#[derive(Debug, Default)]
pub struct Bell {
    /// Each once, so it is never longer than the session has subscriptions.
    rung: Mutex<Vec<Slot>>,
    notify: Notify,
}

/// One subscription, as its topic knows it.
#[derive(Debug)]
pub struct Listener {
    slot: Slot,
    bell: Arc<Bell>,
    /// Has rung, and the session has not looked since.
    rung: AtomicBool,
}

impl Bell {
    /// Returns when somebody rang since the last time.
    pub async fn rings(&self) {
        self.notify.notified().await;
    }

    /// Moves who rang into an empty list. The two lists change places, so nothing is allocated.
    pub fn take(&self, into: &mut Vec<Slot>) {
        std::mem::swap(&mut *self.rung(), into);
    }

    fn rung(&self) -> MutexGuard<'_, Vec<Slot>> {
        // A list of numbers is whole after every step.
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    pub fn new(slot: Slot, bell: Arc<Bell>) -> Self {
        Self { slot, bell, rung: AtomicBool::new(false) }
    }

    /// Tells the session that there is something. Who has rung and was not heard yet need not again:
    /// a session that lags costs the broadcaster nothing.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.bell.rung().push(self.slot);
            self.bell.notify.notify_one();
        }
    }

    /// Called before the session looks: whatever comes from now on rings again.
    pub fn heard(&self) {
        self.rung.store(false, Ordering::Release);
    }

    /// The session looks again by itself: nobody needs to ring until then.
    pub fn mute(&self) {
        self.rung.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_is_told_once_until_it_looks() {
        let bell = Arc::new(Bell::default());
        let listener = Listener::new(Slot(7), Arc::clone(&bell));
        listener.ring();
        listener.ring();
        bell.rings().await;
        let take = || {
            let mut rung = Vec::new();
            bell.take(&mut rung);
            rung
        };
        assert_eq!(take(), [Slot(7)]);

        listener.ring();
        assert_eq!(take(), []);
        listener.heard();
        listener.ring();
        assert_eq!(take(), [Slot(7)]);
    }
}
