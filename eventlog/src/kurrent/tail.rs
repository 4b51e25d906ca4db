//! The one task that follows a log, for all that follow it here: it asks what the newest event of the
//! database is, and walks to it when that is another than before.
//!
//! It asks at once when this node has put something in, often while something comes, and seldom while
//! nothing does.

use std::sync::Arc;
use std::time::Duration;

use tokio::time;

use crate::entry::Offset;
use crate::kurrent::Shared;
use crate::kurrent::ahead::Follow;
use crate::kurrent::reading::READ_ENTRIES_MAX;
use crate::log::LogError;

/// Waits between two questions; each is longer than the one before, while nothing comes.
const POLL_MIN: Duration = Duration::from_millis(10);
const POLL_MAX: Duration = Duration::from_millis(160);
/// The same after a question that was not answered.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

pub(super) struct Tail {
    pub(super) shared: Arc<Shared>,
    /// The last entry that was handed on.
    pub(super) last: Offset,
    pub(super) follow: Follow,
}

impl Tail {
    /// Follows for ever.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let (mut wait, mut woken) = (POLL_MIN, false);
        loop {
            match self.look().await {
                Ok(came) => {
                    shared.faring.heard();
                    wait = if came || woken { POLL_MIN } else { (wait * 2).min(POLL_MAX) };
                    woken = tokio::select! {
                        () = shared.wake.notified() => true,
                        () = time::sleep(wait) => false,
                    };
                }
                Err(error) => {
                    shared.faring.heard_nothing(&error);
                    wait = (wait * 2).clamp(RETRY_MIN, RETRY_MAX);
                    // Whoever appends now would only wake what cannot answer.
                    time::sleep(wait).await;
                }
            }
        }
    }

    /// Takes what is new; says whether anything was.
    async fn look(&mut self) -> Result<bool, LogError> {
        let Some(witness) = self.shared.end().await? else { return Ok(false) };
        let mut came = false;
        loop {
            let seen_to = self.shared.seen_to();
            if seen_to.0 >= witness.position {
                return Ok(came);
            }
            let by = self.shared.soon();
            let found = self.shared.walk(seen_to, READ_ENTRIES_MAX, Some(&witness), by).await?;
            for raw in &found.raws {
                came = true;
                let followed = self.follow.take(raw);
                let dropped = if followed.is_err() && self.follow.jumps(raw) {
                    let dropped = self.shared.is_dropped_before(raw).await;
                    // What was handed on is not walked through again.
                    dropped.inspect_err(|_| self.shared.saw(self.last, self.last))?
                } else {
                    false
                };
                let before = std::mem::replace(&mut self.last, raw.offset);
                if let Err(error) = followed {
                    self.follow.go_on(raw);
                    if !dropped {
                        self.shared.ahead.note_damage(raw.offset, error);
                        self.shared.ring.pass(raw.offset);
                        continue;
                    }
                    self.shared.ids.begin_anew(&raw.stream);
                }
                match raw.entry() {
                    Ok(entry) => {
                        if let Ok(place) = raw.place() {
                            self.shared.note(&raw.stream, place);
                        }
                        self.shared.ring.push(before, entry, raw.bytes());
                    }
                    // Whoever reads up to here asks the server, and is told.
                    Err(_) => self.shared.ring.pass(raw.offset),
                }
            }
            if let Some(seen_to) = found.seen_to {
                self.shared.saw(Offset(seen_to), self.last);
            }
        }
    }
}
