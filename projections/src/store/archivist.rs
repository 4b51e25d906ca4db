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
use super::database::{Outlives, Transaction};
use super::lease::Work;
use super::paging::Paging;
use super::rows::{Checkpoint, Kind};
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
    pub(super) const fn reader(self) -> (&'static str, u32) {
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

/// How far the archive is after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) applied: Offset,
    /// Another node files it, as far as that.
    pub(super) follows: bool,
}

/// What one step came to.
enum Step {
    Filed,
    /// The ledger has no more.
    End(Offset),
    /// Another node has taken over.
    Follow,
}

/// Files everything that the ledger holds now; before that, once after a start, holds what is filed
/// against its checksums. Where another node files, looks how far that one has come.
pub(super) async fn catch_up(store: &Store, ledger: &dyn ReadLog) -> Result<Turn, ArchivistError> {
    for section in Section::ALL {
        if !store.progress(section).borrow().checked {
            check(store, section).await?;
        }
    }
    if store.is_shared() && !sign(store).await? {
        return follow(store, ledger).await;
    }
    // By turns: a section that is built anew does not hold up the other.
    loop {
        let mut ends = [None; Section::ALL.len()];
        for (end, section) in ends.iter_mut().zip(Section::ALL) {
            *end = match step(store, section, ledger).await? {
                Step::Filed => None,
                Step::End(applied) => Some(applied),
                Step::Follow => return follow(store, ledger).await,
            };
        }
        if let [Some(hours), Some(accounts)] = ends {
            return Ok(Turn { applied: hours.min(accounts), follows: false });
        }
    }
}

/// Says that this node files the archive, and takes that over when nobody does; false when another
/// node does.
async fn sign(store: &Store) -> Result<bool, StoreError> {
    let database = store.database().await?;
    // Quickly: after a crash of the server an older fence stands, and an owner nobody has taken for us.
    let mut write = database.write(Outlives::Crash).await?;
    let Some(held) = store.lease().hold(Work::Archive, &mut write).await? else {
        write.roll_back().await?;
        return Ok(false);
    };
    write.commit().await?;
    store.lease().committed(held);
    Ok(true)
}

/// Looks how far another node has filed.
async fn follow(store: &Store, ledger: &dyn ReadLog) -> Result<Turn, ArchivistError> {
    let mut least = None::<Offset>;
    for section in Section::ALL {
        let Some(checkpoint) = standing(store, section).await? else { return Err(unsound()) };
        let applied = checkpoint.unwrap_or_default().ledger.offset;
        let known = *store.progress(section).borrow();
        let end = match known.end {
            Some(end) => end,
            None if known.whole => Offset(0),
            None => ledger.head().await?,
        };
        store.progress(section).send_modify(|progress| progress.end = Some(end));
        show(store, section, applied, known.whole || applied >= end);
        least = Some(least.map_or(applied, |least| least.min(applied)));
    }
    Ok(Turn { applied: least.unwrap_or_default(), follows: true })
}

/// Shows how far a section has come. When that is less than before, somebody builds it anew, and it is
/// not whole until then.
fn show(store: &Store, section: Section, applied: Offset, whole: bool) {
    store.progress(section).send_if_modified(|progress| {
        let before = *progress;
        let back = applied < progress.applied;
        // Unless what was filed has become suspect meanwhile.
        let whole = whole && !back && progress.checked;
        (progress.applied, progress.whole) = (applied, whole);
        progress.end = progress.end.filter(|_| !back);
        *progress != before
    });
}

/// Files what comes next.
async fn step(
    store: &Store,
    section: Section,
    ledger: &dyn ReadLog,
) -> Result<Step, ArchivistError> {
    let Some(checkpoint) = standing(store, section).await? else { return Err(unsound()) };
    let from = checkpoint.unwrap_or_default();
    let entries = ledger.read(from.ledger.offset, BATCH_ENTRIES_MAX).await?;
    let Some(last) = entries.last() else {
        let applied = from.ledger.offset;
        store.progress(section).send_modify(|progress| {
            (progress.applied, progress.whole) = (applied, progress.checked);
        });
        return Ok(Step::End(applied));
    };
    let whole = store.progress(section).borrow().whole;
    show(store, section, from.ledger.offset, whole);
    let to = Place { offset: last.offset, hash: last.hash };
    if !file(store, section, checkpoint, &entries, to).await? {
        return Ok(Step::Follow);
    }
    store.progress(section).send_modify(|progress| progress.applied = to.offset);
    Ok(Step::Filed)
}

/// Returns how far a section has come; `None` when that is not sound, and will be looked at.
async fn standing(
    store: &Store,
    section: Section,
) -> Result<Option<Option<Checkpoint>>, StoreError> {
    match checkpoint(store, section).await? {
        None => Ok(Some(None)),
        Some(Some(checkpoint)) => Ok(Some(Some(checkpoint))),
        Some(None) => {
            store.suspect_archive(section);
            Ok(None)
        }
    }
}

fn unsound() -> ArchivistError {
    StoreError::Unreachable("the archive's checkpoint is not sound".to_owned()).into()
}

/// Holds the places that the archive has come to against the ledger.
pub(super) async fn hold(store: &Store, ledger: &dyn ReadLog) -> Result<(), StoreError> {
    for section in Section::ALL {
        let Some(Some(checkpoint)) = checkpoint(store, section).await? else { continue };
        let database = store.database().await?;
        let (reader, _) = section.reader();
        belonging::hold(database.name(), reader, Log::Ledger, checkpoint.ledger, ledger).await?;
    }
    Ok(())
}

/// Returns how far a section has come: `None` when it never began, `Some(None)` when that is not
/// sound or of another revision.
async fn checkpoint(
    store: &Store,
    section: Section,
) -> Result<Option<Option<Checkpoint>>, StoreError> {
    let database = store.database().await?;
    let mut read = database.read().await?;
    let checkpoint = read.checkpoint(section.reader()).await?;
    read.roll_back().await?;
    Ok(checkpoint)
}

/// Files entries and moves the checkpoint on, both or neither; false when another node files.
async fn file(
    store: &Store,
    section: Section,
    from: Option<Checkpoint>,
    entries: &[Entry],
    to: Place,
) -> Result<bool, StoreError> {
    let database = store.database().await?;
    // The ledger is never cut: what a loss of power takes back is filed again.
    let mut write = database.write(Outlives::Crash).await?;
    let Some(held) = store.lease().hold(Work::Archive, &mut write).await? else {
        write.roll_back().await?;
        return Ok(false);
    };
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
    Ok(true)
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
    hold_indexes(store, section).await?;
    let database = store.database().await?;
    let mut paging = Paging::of(&database);
    // Where another node may be filing, all of it is read as it is at one moment.
    let stands = match paging.page().await?.checkpoint(section.reader()).await? {
        None => Some(Checkpoint::default()),
        Some(stands) => stands,
    };
    let found = match section {
        Section::Hours => total(&mut paging).await?,
        Section::Accounts => accounts::total(&mut paging).await?,
    };
    paging.end().await?;
    let sound = stands.filter(|stands| Some((stands.rows, stands.sum)) == found);
    if sound.is_none() {
        empty(store, section).await?;
    }
    let applied = sound.unwrap_or_default().ledger.offset;
    store.progress(section).send_replace(Progress {
        applied,
        checked: true,
        ..Progress::default()
    });
    Ok(())
}

/// Empties a section. Of nodes that share a store any may: what is damaged for one is so for all, and
/// whoever files it finds that it has to begin again.
async fn empty(store: &Store, section: Section) -> Result<(), StoreError> {
    let (reader, revision) = section.reader();
    let database = store.database().await?;
    let mut write = database.write(Outlives::Crash).await?;
    let held = if store.is_shared() {
        write.lock_lease("archive").await?;
        // Nodes of two versions may share a store for a while.
        if write.filed_revision(reader).await?.is_some_and(|filed| filed > revision) {
            let reason = "the archive is filed by a later version of this program".to_owned();
            return Err(StoreError::Unreachable(reason));
        }
        None
    } else {
        store.lease().hold(Work::Archive, &mut write).await?
    };
    tracing::warn!(reader, "the archive is not sound: it is built anew from the ledger");
    match section {
        Section::Hours => write.empty_hours(reader).await?,
        Section::Accounts => write.empty_accounts(reader).await?,
    }
    write.commit().await?;
    store.lease().committed(held);
    Ok(())
}

/// Holds a section's tables against their indexes, by which some queries find a row and others do
/// not. Where they disagree the file itself is damaged: pages of one table may be another's too, so
/// emptying one could harm the other.
async fn hold_indexes(store: &Store, section: Section) -> Result<(), StoreError> {
    let database = store.database().await?;
    let mut read = database.read_long().await?;
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
async fn total(paging: &mut Paging<'_>) -> Result<Option<(u64, u64)>, StoreError> {
    let (mut rows, mut sum) = (0, 0_u64);
    let mut market = (String::new(), String::new());
    loop {
        let next = paging.page().await?.market_after((&market.0, &market.1)).await?;
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
        let Some((found, added)) = total_of(paging, (&venue, &instrument)).await? else {
            return Ok(None);
        };
        rows += found;
        sum = sum.wrapping_add(added);
    }
}

async fn total_of(
    paging: &mut Paging<'_>,
    market: (&Venue, &Instrument),
) -> Result<Option<(u64, u64)>, StoreError> {
    let (mut rows, mut sum) = (0, 0_u64);
    let mut last = None;
    let mut from = Timestamp::MIN;
    loop {
        let (read, ends) = (paging.page().await?, (from, Timestamp::MAX));
        let page = read.hours(market, ends, Direction::Forward, CHECK_HOURS).await?;
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
