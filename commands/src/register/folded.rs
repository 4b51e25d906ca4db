//! All keys as the entries of their stream have made them, up to one of them.

use domain::decider::Decider;
use domain::event::Event;
use domain::keys::Keys;
use eventlog::entry::{Draft, Entry};
use eventlog::log::{Appended, LogError, ReadLog};
use eventlog::stream::Stream;

use crate::desk::reach::Reach;

/// The keys and their place in the stream. Before the first entry there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Folded {
    pub(super) keys: Keys,
    pub(super) reach: Reach,
}

impl Folded {
    fn take(&mut self, entry: &Entry) -> Result<(), LogError> {
        self.reach.take(entry)?;
        for event in &entry.events {
            let Event::Key(event) = event else { continue };
            self.keys.evolve(event);
        }
        Ok(())
    }

    /// Takes in what was appended after it, and returns the entry as it is read from the log.
    pub(super) fn take_own(&mut self, draft: Draft, place: Appended) -> Result<Entry, LogError> {
        let entry = self.reach.own(draft, place)?;
        self.take(&entry)?;
        Ok(entry)
    }

    /// Reads on to the stream's end; returns whether anything was new. Whoever drops this half way
    /// has the keys as they stand at some entry.
    pub(super) async fn catch_up(&mut self, ledger: &dyn ReadLog) -> Result<bool, LogError> {
        let end = self.reach.end(ledger, &Stream::Keys).await?;
        let before = self.reach.version;
        while self.reach.version < end {
            for entry in self.reach.next(ledger, &Stream::Keys).await? {
                self.take(&entry)?;
            }
        }
        Ok(self.reach.version > before)
    }
}
