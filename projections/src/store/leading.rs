//! A work that one node does at a time among all that share a store.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::Store;
use super::lease::shared::SharedLease;

/// Seconds after its last sign that a node keeps a work. When it falls silent, another does that work
/// from then on.
const LEAD_SECONDS: i64 = 8;

/// Time after the last sign that was answered until which a node takes itself for the one. It is
/// shorter by what a clock of whole seconds leaves out and two clocks differ by in that time.
const TRUST: Duration = Duration::from_secs(6);

/// Time from one sign to the next, and from one try to take a work over to the next.
const SIGN: Duration = Duration::from_secs(2);
const TRY: Duration = Duration::from_secs(1);

/// Time after which a sign that failed is tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// That this node does a work. Dropped, it lets another do it, at once where the store can be reached.
pub struct Leading {
    lost: watch::Receiver<bool>,
    /// Its end is what the task hears of. Where nobody shares the store there is none.
    _until: Option<oneshot::Sender<()>>,
    /// Where nobody shares the store, what keeps `lost` from ever coming.
    _alone: Option<watch::Sender<bool>>,
}

impl Leading {
    /// Resolves when another node may be doing this work from now on: whoever leads must stop.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        // A task that is gone gives no more signs.
        drop(lost.wait_for(|lost| *lost).await);
    }

    pub fn is_lost(&self) -> bool {
        *self.lost.borrow() || self.lost.has_changed().is_err()
    }
}

impl Store {
    /// Waits until this node does `work`, among all that share this store.
    ///
    /// No two lead at once as long as their clocks run alike. What is done under it must bear that a
    /// second one begins while the first, which stood still, has not heard of its end.
    pub async fn lead(&self, work: &'static str) -> Leading {
        if !self.is_shared() {
            let (alone, lost) = watch::channel(false);
            return Leading { lost, _until: None, _alone: Some(alone) };
        }
        loop {
            // An owner of its own each time: who left off is not taken for who begins.
            let lease = SharedLease::new(format!("lead {work}"), self.node(), LEAD_SECONDS);
            let deadline = Instant::now() + TRUST;
            let taken = async { lease.take(&*self.database().await?).await };
            match timeout_at(deadline, taken).await {
                Ok(Ok(true)) => {
                    let (told, lost) = watch::channel(false);
                    let (until, ended) = oneshot::channel();
                    self.leads().insert(work);
                    let store = self.clone();
                    tokio::spawn(async move {
                        give_signs(&store, lease, deadline, told, ended).await;
                        store.leads().remove(work);
                    });
                    return Leading { lost, _until: Some(until), _alone: None };
                }
                Ok(Ok(false)) | Err(_) => {}
                Ok(Err(error)) => tracing::debug!(work, %error, "who leads is not known"),
            }
            sleep(TRY).await;
        }
    }
}

/// Keeps a lease until it is given up, or lost.
async fn give_signs(
    store: &Store,
    lease: SharedLease,
    mut deadline: Instant,
    lost: watch::Sender<bool>,
    mut ended: oneshot::Receiver<()>,
) {
    let mut next = Instant::now() + SIGN;
    loop {
        tokio::select! {
            _ = &mut ended => {
                if let Ok(database) = store.database().await {
                    // Else its time ends by itself.
                    drop(lease.release(&database).await);
                }
                return;
            }
            () = sleep_until(next.min(deadline)) => {}
        }
        let sent = Instant::now();
        let kept = async { lease.keep(&*store.database().await?).await };
        match timeout_at(deadline, kept).await {
            Ok(Ok(true)) => (deadline, next) = (sent + TRUST, sent + SIGN),
            Ok(Err(_)) if Instant::now() < deadline => next = Instant::now() + AGAIN,
            Ok(Ok(false) | Err(_)) | Err(_) => break,
        }
    }
    lost.send_replace(true);
}

#[cfg(test)]
mod tests;
