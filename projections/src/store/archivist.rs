//! The archivist: a reader of the ledger with a checkpoint of its own, who files what is told of
//! each hour and of each account. Rows are added and never changed.

use std::collections::BTreeMap;

use domain::candle::event::CandleEvent;
use domain::candle::{Candle, Interval};
use domain::event::Event;
use domain::instrument::{Instrument, Venue};
use domain::time::Timestamp;
use eventlog::entry::{Entry, Offset, Version};
use eventlog::log::{LogError, ReadLog};
use eventlog::stream::{Log, Stream};

use super::archive::{Direction, Progress, Section};
use super::rows::{Checkpoint, Kind};
use super::sqlite::{Outlives, Transaction};
use super::{Store, StoreError};
use super::{accounts, belonging};
use crate::views::Place;

/// Entries that are filed in one transaction.
const BATCH_ENTRIES_MAX: usize = 64;

/// Hours that are held against their checksums at once.
const CHECK_HOURS: u32 = 256;

impl Section {
    /// Returns the name of its checkpoint, and the revision of the meaning of its rows: when that
    /// rises, the section is emptied and folded anew.
    const fn reader(self) -> (&'static str, u32) {
        match self {
            Self::Hours => ("archive", 1),
            Self::Accounts => ("accounts", 1),
        }
    }
}

/// Why the archivist did not reach the ledger's end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchivistError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the ledger: {0}")]
    Ledger(#[from] LogError),
}

/// Files everything that the ledger holds now; before that, once after a start, holds what is filed
/// against its checksums. Returns the offset of the last entry.
pub(super) async fn catch_up(
    store: &Store,
    ledger: &dyn ReadLog,
) -> Result<Offset, ArchivistError> {
    for section in Section::ALL {
        if !store.progress(section).borrow().checked {
            check(store, section).await?;
        }
    }
    // By turns: a section that is built anew does not hold up the other.
    loop {
        let mut ends = [None; Section::ALL.len()];
        for (end, section) in ends.iter_mut().zip(Section::ALL) {
            *end = step(store, section, ledger).await?;
        }
        if let [Some(hours), Some(accounts)] = ends {
            return Ok(hours.min(accounts));
        }
    }
}

/// Files what comes next; returns the offset of the ledger's end when there is no more.
async fn step(
    store: &Store,
    section: Section,
    ledger: &dyn ReadLog,
) -> Result<Option<Offset>, ArchivistError> {
    let checkpoint = match checkpoint(store, section).await? {
        None => None,
        Some(Some(checkpoint)) => Some(checkpoint),
        Some(None) => {
            store.suspect_archive(section);
            let reason = "the archive's checkpoint is not sound".to_owned();
            return Err(StoreError::Unreachable(reason).into());
        }
    };
    let from = checkpoint.unwrap_or_default();
    let entries = ledger.read(from.ledger.offset, BATCH_ENTRIES_MAX).await?;
    let Some(last) = entries.last() else {
        let applied = from.ledger.offset;
        // Unless what was filed has become suspect meanwhile.
        store.progress(section).send_modify(|progress| {
            (progress.applied, progress.whole) = (applied, progress.checked);
        });
        return Ok(Some(applied));
    };
    let to = Place { offset: last.offset, hash: last.hash };
    file(store, section, checkpoint, &entries, to).await?;
    store.progress(section).send_modify(|progress| progress.applied = to.offset);
    Ok(None)
}

/// Holds the places that the archive has come to against the ledger.
pub(super) async fn hold(store: &Store, ledger: &dyn ReadLog) -> Result<(), StoreError> {
    for section in Section::ALL {
        let Some(Some(checkpoint)) = checkpoint(store, section).await? else { continue };
        let sqlite = store.sqlite().await?;
        let (reader, _) = section.reader();
        belonging::hold(sqlite.path(), reader, Log::Ledger, checkpoint.ledger, ledger).await?;
    }
    Ok(())
}

/// Returns how far a section has come: `None` when it never began, `Some(None)` when that is not
/// sound or of another revision.
async fn checkpoint(
    store: &Store,
    section: Section,
) -> Result<Option<Option<Checkpoint>>, StoreError> {
    let sqlite = store.sqlite().await?;
    let mut read = sqlite.read().await?;
    let (reader, revision) = section.reader();
    let checkpoint = read.checkpoint(reader, revision).await?;
    read.roll_back().await?;
    Ok(checkpoint)
}

/// Files entries and moves the checkpoint on, both or neither.
async fn file(
    store: &Store,
    section: Section,
    from: Option<Checkpoint>,
    entries: &[Entry],
    to: Place,
) -> Result<(), StoreError> {
    let sqlite = store.sqlite().await?;
    // The ledger is never cut: what a loss of power takes back is filed again.
    let mut write = sqlite.write(Outlives::Crash).await?;
    let held = store.lease().hold(&mut write).await?;
    let mut checkpoint = Checkpoint { ledger: to, ..from.unwrap_or_default() };
    for entry in entries {
        match (section, &entry.stream) {
            (Section::Hours, Stream::Candles { venue, instrument }) => {
                for checksum in file_hours((venue, instrument), entry, &mut write).await? {
                    checkpoint.add(checksum);
                }
            }
            (Section::Accounts, Stream::Account(account)) => {
                accounts::file(store, account, entry, &mut write, &mut checkpoint).await?;
            }
            _ => {}
        }
    }
    if !write.move_checkpoint(section.reader(), from, checkpoint).await? {
        let reason = "another process has filed the same entries".to_owned();
        return Err(StoreError::Unreachable(reason));
    }
    write.commit().await?;
    store.lease().committed(held);
    Ok(())
}

/// Files what an entry tells of hours; returns the checksums of the rows that were not there yet.
async fn file_hours(
    market: (&Venue, &Instrument),
    entry: &Entry,
    write: &mut Transaction<'_>,
) -> Result<Vec<u64>, StoreError> {
    let mut filed = Vec::new();
    for ((hour, kind), candles) in hours(&entry.events) {
        let candles = serde_json::to_string(&candles)
            .map_err(|error| StoreError::Unreachable(error.to_string()))?;
        filed.extend(write.insert_hour(market, (hour, entry.version, kind), &candles).await?);
    }
    Ok(filed)
}

/// Returns the minutes that these events tell, by hour.
fn hours(events: &[Event]) -> BTreeMap<(Timestamp, Kind), Vec<&Candle>> {
    let mut hours: BTreeMap<_, Vec<&Candle>> = BTreeMap::new();
    for event in events {
        let (kind, candle) = match event {
            Event::Candle(CandleEvent::CandleClosed { interval: Interval::Minute, candle }) => {
                (Kind::Closed, candle)
            }
            Event::Candle(CandleEvent::CandleImported { interval: Interval::Minute, candle }) => {
                (Kind::Imported, candle)
            }
            // Coarser candles are few, and stay in memory.
            Event::Candle(
                CandleEvent::CandleClosed { .. } | CandleEvent::CandleImported { .. },
            )
            | Event::Market(_)
            | Event::Account(_)
            | Event::Refusal(_)
            | Event::Key(_)
            | Event::Access(_) => continue,
        };
        let hour = Interval::Hour.bucket(candle.opened_at);
        hours.entry((hour, kind)).or_default().push(candle);
    }
    hours
}

/// Reads all of a section as queries do. Where a row is missing, altered or too many, it is emptied, to
/// be folded anew.
async fn check(store: &Store, section: Section) -> Result<(), StoreError> {
    let stands = match checkpoint(store, section).await? {
        None => Some(Checkpoint::default()),
        Some(stands) => stands,
    };
    hold_indexes(store, section).await?;
    let found = match section {
        Section::Hours => total(store).await?,
        Section::Accounts => accounts::total(store).await?,
    };
    let sound = stands.filter(|stands| Some((stands.rows, stands.sum)) == found);
    if sound.is_none() {
        let (reader, _) = section.reader();
        tracing::warn!(reader, "the archive is not sound: it is built anew from the ledger");
        let sqlite = store.sqlite().await?;
        let mut write = sqlite.write(Outlives::Crash).await?;
        let held = store.lease().hold(&mut write).await?;
        match section {
            Section::Hours => write.empty_hours(reader).await?,
            Section::Accounts => write.empty_accounts(reader).await?,
        }
        write.commit().await?;
        store.lease().committed(held);
    }
    let applied = sound.unwrap_or_default().ledger.offset;
    store.progress(section).send_replace(Progress { applied, checked: true, whole: false });
    Ok(())
}

/// Holds a section's tables against their indexes, by which some queries find a row and others do
/// not. Where they disagree the file itself is damaged: pages of one table may be another's too, so
/// emptying one could harm the other.
async fn hold_indexes(store: &Store, section: Section) -> Result<(), StoreError> {
    let sqlite = store.sqlite().await?;
    let mut read = sqlite.read().await?;
    let agree = match section {
        Section::Hours => read.hours_agree().await?,
        Section::Accounts => read.accounts_agree().await?,
    };
    read.roll_back().await?;
    if agree {
        return Ok(());
    }
    Err(StoreError::Damaged("a table of the archive disagrees with its index".to_owned()))
}

/// Returns how many hours the archive holds and the sum of their checksums; `None` when one is not
/// sound or stands where it should not.
async fn total(store: &Store) -> Result<Option<(u64, u64)>, StoreError> {
    let sqlite = store.sqlite().await?;
    let (mut rows, mut sum) = (0, 0_u64);
    let mut market = (String::new(), String::new());
    loop {
        // One transaction a page, so that the write-ahead file does not grow meanwhile.
        let mut read = sqlite.read().await?;
        let next = read.market_after((&market.0, &market.1)).await?;
        read.roll_back().await?;
        let (venue, instrument) = match next {
            None => return Ok(Some((rows, sum))),
            Some(None) => return Ok(None),
            Some(Some(next)) => next,
        };
        let next = (venue.to_string(), instrument.to_string());
        if next <= market {
            return Ok(None);
        }
        market = next;
        let Some((found, added)) = total_of(store, (&venue, &instrument)).await? else {
            return Ok(None);
        };
        rows += found;
        sum = sum.wrapping_add(added);
    }
}

async fn total_of(
    store: &Store,
    market: (&Venue, &Instrument),
) -> Result<Option<(u64, u64)>, StoreError> {
    let sqlite = store.sqlite().await?;
    let (mut rows, mut sum) = (0, 0_u64);
    let mut last = None;
    let mut from = Timestamp::MIN;
    loop {
        let mut read = sqlite.read().await?;
        let ends = (from, Timestamp::MAX);
        let page = read.hours(market, ends, Direction::Forward, CHECK_HOURS).await?;
        read.roll_back().await?;
        let Some(page) = page else { return Ok(None) };
        if page.is_empty() {
            return Ok(Some((rows, sum)));
        }
        for (hour, checksum) in page {
            if hour.hour < from || last.is_some_and(|last| hour.key() <= last) {
                return Ok(None);
            }
            last = Some(hour.key());
            rows += 1;
            sum = sum.wrapping_add(checksum);
        }
        from = last.map_or(from, |(hour, _, _): (Timestamp, Version, Kind)| hour.plus(1));
    }
}
