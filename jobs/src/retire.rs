//! Retention: drops the oldest of the market log, once all that is made of it is kept elsewhere.
//!
//! What may go is in a snapshot of all views, its closed hours and its gaps stand in the ledger, the
//! guardian has looked at it, and no hour that is still open reaches back to it. So views that are folded anew, from the ledger and
//! from what is left, hold the same candles and the same gaps, also without any snapshot.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use commands::clock::Clock;
use commands::guardian;
use domain::time::{DAY, SECOND, Timestamp};
use eventlog::entry::Offset;
use eventlog::log::{EventLog, LogError, ReadLog, Retention, Trim, Trimmed};
use eventlog::stream::Stream;
use projections::candles::Unrecorded;
use projections::store::Store;
use projections::views::{Cut, Views};

use crate::close_candles;

/// How far a venue's clock may be ahead of ours: entries that we recorded longer than this before an
/// hour hold none of its trades. A venue that is further ahead has open hours that a snapshot alone
/// still knows in full.
const AHEAD_MAX: i64 = 60 * 60 * SECOND;

/// Time in which nothing came of a market, after which its last hour is recorded as it is. Its venue
/// may never be heard again, and nothing else would close that hour.
const STALLED_AFTER: i64 = DAY;

/// What is kept of the market log, whichever is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// What was recorded longer ago than this goes.
    pub market_age: Duration,
    /// The oldest goes while more than this is held.
    pub market_bytes: u64,
    /// Time from the end of one turn to the next.
    pub rest: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            market_age: Duration::from_hours(7 * 24),
            market_bytes: 20_000_000_000,
            rest: Duration::from_mins(10),
        }
    }
}

/// The place from which the views can be had without the log.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// Returns the newest cut that all views can be restored from or after, and that no crash takes
    /// back; `None` while there is none.
    async fn newest_cut(&self) -> Option<Cut>;
}

#[async_trait]
impl Snapshots for Store {
    async fn newest_cut(&self) -> Option<Cut> {
        Self::newest_cut(self).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the newest snapshot is not known");
            None
        })
    }
}

/// The place up to which the guardian has looked at every trade.
#[async_trait]
pub trait Guarded: Send + Sync {
    /// Returns the market log's entry up to which a guardian has come and need not come again, also
    /// after a crash; `None` while it has come nowhere.
    async fn guarded(&self) -> Option<Offset>;
}

#[async_trait]
impl Guarded for Store {
    async fn guarded(&self) -> Option<Offset> {
        guardian::passed(self).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "how far the guardian has come is not known");
            None
        })
    }
}

/// What the retention of a market log needs.
#[derive(Clone)]
pub struct Retirement {
    pub market: Arc<dyn ReadLog>,
    /// The same log.
    pub trim: Arc<dyn Trim>,
    pub snapshots: Arc<dyn Snapshots>,
    pub guarded: Arc<dyn Guarded>,
    pub settings: Settings,
}

/// What keeps old entries from going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    NoSnapshot,
    Snapshot,
    UnrecordedHours,
    UnrecordedGaps,
    OpenHour,
    Guardian,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSnapshot => "there is no snapshot of the views",
            Self::Snapshot => "the newest snapshot of the views does not reach further",
            Self::UnrecordedHours => "closed hours are not in the ledger yet",
            Self::UnrecordedGaps => "gaps are not in the ledger yet",
            Self::OpenHour => "an hour that has not closed reaches back to them",
            Self::Guardian => "the guardian has not looked at them",
        })
    }
}

/// The job, and what it said last.
pub struct Retiring {
    retirement: Retirement,
    /// What holds entries back that should have gone: said once, until it changes.
    held: Option<Hold>,
}

impl Retiring {
    pub const fn new(retirement: Retirement) -> Self {
        Self { retirement, held: None }
    }

    pub const fn rest(&self) -> Duration {
        self.retirement.settings.rest
    }

    /// Drops what may go; `None` when a log cannot be reached now.
    pub async fn turn(
        &mut self,
        views: &Views,
        ledger: &dyn EventLog,
        clock: &dyn Clock,
    ) -> Result<Option<Trimmed>, LogError> {
        match self.trim(views, ledger, clock).await {
            Ok((trimmed, hold)) => {
                self.tell(trimmed, hold);
                Ok(Some(trimmed))
            }
            Err(error @ (LogError::Unavailable(_) | LogError::Full | LogError::OutcomeUnknown)) => {
                tracing::warn!(%error, "retention waits for the log");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn trim(
        &self,
        views: &Views,
        ledger: &dyn EventLog,
        clock: &dyn Clock,
    ) -> Result<(Trimmed, Hold), LogError> {
        let guarded = self.retirement.guarded.guarded().await.unwrap_or_default();
        let (up_to, hold) = match self.up_to(views, ledger, clock).await? {
            (up_to, _) if guarded < up_to => (guarded, Hold::Guardian),
            up_to => up_to,
        };
        let Settings { market_age, market_bytes, .. } = self.retirement.settings;
        let age = i64::try_from(market_age.as_micros()).unwrap_or(i64::MAX);
        let recorded_before = clock.now().plus(age.saturating_neg());
        let retention = Retention { recorded_before, bytes_max: market_bytes, up_to };
        Ok((self.retirement.trim.trim(retention).await?, hold))
    }

    /// Returns the last entry that may go, and what holds those after it.
    async fn up_to(
        &self,
        views: &Views,
        ledger: &dyn EventLog,
        clock: &dyn Clock,
    ) -> Result<(Offset, Hold), LogError> {
        // Asked first: the views have folded all that is in it, so they say what of it is due.
        let Some(cut) = self.retirement.snapshots.newest_cut().await else {
            return Ok((Offset(0), Hold::NoSnapshot));
        };
        if !views.candles().unrecorded(1).is_empty() {
            return Ok((Offset(0), Hold::UnrecordedHours));
        }
        if !views.candles().unrecorded_gaps(1).is_empty() {
            return Ok((Offset(0), Hold::UnrecordedGaps));
        }
        let (mut oldest, mut stalled) = (None, false);
        for hour in open_hours(views) {
            if self.is_stalled(&hour, clock).await? {
                close_candles::record(hour, ledger, clock).await?;
                stalled = true;
            } else {
                oldest = Some(oldest.map_or(hour.hour, |oldest: Timestamp| oldest.min(hour.hour)));
            }
        }
        if stalled {
            return Ok((Offset(0), Hold::UnrecordedHours));
        }
        let Some(hour) = oldest else { return Ok((cut.market.offset, Hold::Snapshot)) };
        let before = self.last_before(hour.plus(-AHEAD_MAX), cut.market.offset).await?;
        let hold = if before < cut.market.offset { Hold::OpenHour } else { Hold::Snapshot };
        Ok((before, hold))
    }

    async fn is_stalled(&self, hour: &Unrecorded, clock: &dyn Clock) -> Result<bool, LogError> {
        let Unrecorded { venue, instrument, .. } = hour;
        let stream = Stream::Market { venue: venue.clone(), instrument: instrument.clone() };
        let last = self.retirement.market.last(&stream).await?;
        Ok(last.is_none_or(|last| clock.now().since(last.recorded_at) >= STALLED_AFTER))
    }

    /// Returns the last entry up to `until` of those that were recorded before an instant.
    async fn last_before(&self, instant: Timestamp, until: Offset) -> Result<Offset, LogError> {
        let market = self.retirement.market.as_ref();
        let (mut low, mut high) = (market.floor().await?, until);
        while low < high {
            let middle = Offset(low.0 + (high.0 - low.0) / 2);
            let next = market.read(middle, 1).await?.into_iter().next();
            match next.filter(|entry| entry.offset <= high) {
                Some(entry) if entry.recorded_at < instant => low = entry.offset,
                Some(_) | None => high = middle,
            }
        }
        Ok(low.min(until))
    }

    fn tell(&mut self, trimmed: Trimmed, hold: Hold) {
        let Trimmed { floor, entries, bytes, held_back } = trimmed;
        if entries > 0 {
            tracing::info!(entries, bytes, %floor, "old entries of the market log are dropped");
        }
        let why = held_back.then_some(hold);
        if let Some(why) = why.filter(|_| why != self.held) {
            tracing::warn!(%why, "the market log holds more than it should");
        }
        self.held = why;
    }
}

/// Returns each market's oldest hour that holds more than the ledger does, closed or not.
fn open_hours(views: &Views) -> Vec<Unrecorded> {
    let markets: Vec<_> =
        views.prices().iter().map(|quote| (quote.venue, quote.instrument)).collect();
    let candles = views.candles();
    let hours = markets.into_iter().filter_map(|(venue, instrument)| {
        let held = candles.get(&venue, &instrument)?;
        let (hour, candles) = held.ladder.unrecorded(Timestamp::MAX, 1).pop()?;
        Some(Unrecorded { venue, instrument, hour, candles })
    });
    hours.collect()
}

#[cfg(test)]
mod tests;
