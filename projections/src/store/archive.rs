//! The archive: what the ledger tells of each hour, found by market and time, and of each account:
//! the positions that it closed, and what it was worth day by day.

use std::ops::Range;
use std::time::Duration;

use domain::account::event::DayClosed;
use domain::account::position::PositionId;
use domain::instrument::{Instrument, Venue};
use domain::name::AccountId;
use domain::time::Timestamp;
use eventlog::entry::{Offset, Version};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::database::Transaction;
use super::database::accounts::AccountRow;
use super::rows::{AccountKind, ArchivedHour, ArchivedPosition};
use super::{Store, StoreError};

/// Hours that one query gives at the most, about 15 KB each. Whoever asks for more gets as many, and
/// asks again from there.
pub const HOURS_MAX: u32 = 2_000;

/// Closed positions, or days, that one query gives at the most. Whoever asks for more gets as many,
/// and asks again from there.
pub const ACCOUNT_ROWS_MAX: u32 = 1_000;

/// Time that a query waits for the archivist, who goes through the archive once after a start.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is filed by itself, with a checkpoint of its own: one section is not built anew because of the
/// other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Hours,
    Accounts,
}

impl Section {
    pub(super) const ALL: [Self; 2] = [Self::Hours, Self::Accounts];
}

/// How far the archivist has come with each section.
#[derive(Default)]
pub(super) struct Sections {
    hours: watch::Sender<Progress>,
    accounts: watch::Sender<Progress>,
}

impl Sections {
    pub(super) const fn of(&self, section: Section) -> &watch::Sender<Progress> {
        match section {
            Section::Hours => &self.hours,
            Section::Accounts => &self.accounts,
        }
    }
}

/// Which hours or days of a range come when there are more than asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The oldest.
    Forward,
    /// The newest.
    Backward,
}

/// How far the archivist has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The ledger's entries up to here are in.
    pub(super) applied: Offset,
    /// Whether every row was held against its checksum since the start.
    pub(super) checked: bool,
    /// Whether the ledger's end was reached since then.
    pub(super) whole: bool,
    /// Where the ledger ended when a node that follows looked first. It goes on growing, and is never
    /// caught while it does.
    pub(super) end: Option<Offset>,
}

/// Reads the archive.
#[derive(Clone)]
pub struct Archive {
    pub(super) store: Store,
}

impl Archive {
    /// Returns what the ledger told of up to `hours_max` hours that begin in `range`, in order of
    /// hour and version.
    ///
    /// Nothing is answered before the archivist has gone through the archive and reached the
    /// ledger's end once: an hour that is not there yet must not seem empty.
    pub async fn hours(
        &self,
        venue: &Venue,
        instrument: &Instrument,
        range: Range<Timestamp>,
        direction: Direction,
        hours_max: u32,
    ) -> Result<Vec<ArchivedHour>, StoreError> {
        self.wait_applied(Offset(0)).await?;
        let database = self.store.database().await?;
        let mut read = database.read().await?;
        self.hold_whole(Section::Hours, &mut read).await?;
        let (market, ends) = ((venue, instrument), (range.start, range.end));
        let rows = read.hours(market, ends, direction, hours_max.min(HOURS_MAX)).await;
        let rows = self.told(Section::Hours, rows)?;
        read.roll_back().await?;
        let rows = rows.ok_or_else(|| self.suspect(Section::Hours))?;
        Ok(rows.into_iter().map(|(hour, _)| hour).collect())
    }

    /// Returns up to `positions_max` positions that an account closed before another, newest first.
    ///
    /// Nothing is answered before the archivist has reached the ledger's end once; what was closed
    /// since may be missing for a moment: see [`Archive::wait_accounts_applied`].
    pub async fn closed(
        &self,
        account: &AccountId,
        before: Option<(Version, PositionId)>,
        positions_max: u32,
    ) -> Result<Vec<ArchivedPosition>, StoreError> {
        let (until, name) = match before {
            None => (i64::MAX, String::new()),
            Some((version, id)) => (version.0.cast_signed(), id.to_string()),
        };
        let ends = (i64::MIN, (until, name.as_str()));
        let of = (account, AccountKind::Closed);
        let rows = self.account_rows(of, ends, Direction::Backward, positions_max).await?;
        rows.iter().map(|row| self.closed_in(row)).collect()
    }

    /// Returns a position that an account closed; `None` when it has closed none of this name.
    pub async fn closed_position(
        &self,
        account: &AccountId,
        id: PositionId,
    ) -> Result<Option<ArchivedPosition>, StoreError> {
        self.wait_accounts_applied(Offset(0)).await?;
        let database = self.store.database().await?;
        let mut read = database.read().await?;
        self.hold_whole(Section::Accounts, &mut read).await?;
        let row = self.told(Section::Accounts, read.closed_position(account, id).await)?;
        read.roll_back().await?;
        match row {
            None => Ok(None),
            Some(None) => Err(self.suspect(Section::Accounts)),
            Some(Some(row)) => self.closed_in(&row).map(Some),
        }
    }

    /// Returns what an account was worth at the end of up to `days_max` days that begin in `range`,
    /// in order of the days. Waits as [`Archive::closed`] does.
    pub async fn equity(
        &self,
        account: &AccountId,
        range: Range<Timestamp>,
        direction: Direction,
        days_max: u32,
    ) -> Result<Vec<DayClosed>, StoreError> {
        let ends = (range.start.micros(), (range.end.micros(), ""));
        let mut rows =
            self.account_rows((account, AccountKind::Day), ends, direction, days_max).await?;
        if direction == Direction::Backward {
            rows.reverse();
        }
        rows.iter().map(|row| self.body_of(row)).collect()
    }

    async fn account_rows(
        &self,
        of: (&AccountId, AccountKind),
        ends: (i64, (i64, &str)),
        direction: Direction,
        rows_max: u32,
    ) -> Result<Vec<AccountRow>, StoreError> {
        self.wait_accounts_applied(Offset(0)).await?;
        let database = self.store.database().await?;
        let mut read = database.read().await?;
        self.hold_whole(Section::Accounts, &mut read).await?;
        let rows = read.account_rows(of, ends, direction, rows_max.min(ACCOUNT_ROWS_MAX)).await;
        let rows = self.told(Section::Accounts, rows)?;
        read.roll_back().await?;
        rows.ok_or_else(|| self.suspect(Section::Accounts))
    }

    /// Makes sure that what is read now holds as much as was waited for: where nodes share a store,
    /// another may have found it damaged, and have begun it anew.
    async fn hold_whole(
        &self,
        section: Section,
        read: &mut Transaction<'_>,
    ) -> Result<(), StoreError> {
        if !self.store.is_shared() {
            return Ok(());
        }
        let applied = self.store.progress(section).borrow().applied;
        let stands = self.told(section, read.checkpoint(section.reader()).await)?.flatten();
        if stands.unwrap_or_default().ledger.offset >= applied {
            return Ok(());
        }
        Err(being_built())
    }

    fn closed_in(&self, row: &AccountRow) -> Result<ArchivedPosition, StoreError> {
        let version = Version(row.place.cast_unsigned());
        Ok(ArchivedPosition { version, closed: self.body_of(row)? })
    }

    fn body_of<T: DeserializeOwned>(&self, row: &AccountRow) -> Result<T, StoreError> {
        serde_json::from_str(&row.body).map_err(|_| self.suspect(Section::Accounts))
    }

    /// Passes an answer on; what says that the file is damaged has the archivist look.
    fn told<T>(&self, section: Section, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Damaged(_)) = answer {
            self.store.suspect_archive(section);
        }
        answer
    }

    fn suspect(&self, section: Section) -> StoreError {
        self.store.suspect_archive(section);
        StoreError::Damaged("a row of the archive is not sound".to_owned())
    }

    /// Returns the offset up to which the hours that the ledger tells of are in.
    pub fn applied(&self) -> Offset {
        self.store.progress(Section::Hours).borrow().applied
    }

    /// Waits until hours are answered from the archive and it holds the ledger's entries up to
    /// `offset`, for as long as a query may.
    pub async fn wait_applied(&self, offset: Offset) -> Result<(), StoreError> {
        self.wait(Section::Hours, offset).await
    }

    /// Waits in the same way for what the archive holds of accounts.
    pub async fn wait_accounts_applied(&self, offset: Offset) -> Result<(), StoreError> {
        self.wait(Section::Accounts, offset).await
    }

    async fn wait(&self, section: Section, offset: Offset) -> Result<(), StoreError> {
        let mut progress = self.store.progress(section).subscribe();
        let there = progress.wait_for(|progress| progress.whole && progress.applied >= offset);
        match tokio::time::timeout(PATIENCE, there).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(being_built()),
        }
    }
}

fn being_built() -> StoreError {
    StoreError::Unreachable("the archive is being built from the ledger: ask again".to_owned())
}
