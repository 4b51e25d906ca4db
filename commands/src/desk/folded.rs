//! An account as the entries of its stream have made it, up to one of them.

use domain::account::Account;
use domain::decider::Decider;
use domain::event::Event;
use eventlog::entry::{Draft, Entry, Version};
use eventlog::log::{Appended, LogError, ReadLog};
use eventlog::stream::Stream;

use crate::desk::kept::Keeper;
use crate::desk::reach::Reach;

/// An account and its place in the stream. Before the first entry it is the account that is not
/// there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Folded {
    pub(super) account: Account,
    pub(super) reach: Reach,
    /// The version that was kept last, or was to be.
    pub(super) kept: Version,
}

impl Folded {
    /// Takes in the next entry.
    pub(super) fn take(&mut self, entry: &Entry) -> Result<(), LogError> {
        self.reach.take(entry)?;
        for event in &entry.events {
            let Event::Account(event) = event else { continue };
            self.account.evolve(event);
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
    /// has an account that stands at some entry, as before.
    pub(super) async fn catch_up(
        &mut self,
        ledger: &dyn ReadLog,
        keeper: &Keeper,
        stream: &Stream,
    ) -> Result<bool, LogError> {
        let end = self.reach.end(ledger, stream).await?;
        let before = self.reach.version;
        if before == Version(0)
            && end > before
            && let Some(kept) = keeper.load(ledger, stream).await?
        {
            *self = kept;
        }
        while self.reach.version < end {
            for entry in self.reach.next(ledger, stream).await? {
                self.take(&entry)?;
            }
        }
        Ok(self.reach.version > before)
    }
}
