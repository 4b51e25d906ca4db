//! What a guardian keeps for the next run: how far it has read both logs, and what it knew there.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::time::{MINUTE, Timestamp};
use eventlog::entry::{Entry, Hash, Offset, Version};
use eventlog::keep::{Keep, KeepError, Kept};
use eventlog::log::{LogError, ReadLog};
use eventlog::stream::{Log, Stream};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::guardian::conditions::{Conditions, Guarded};
use crate::guardian::seen::Seen;
use crate::guardian::watched::Watched;
use crate::pen::Patience;

/// Under which name it is kept. One for all nodes: what one has fired, none need look at again.
pub(super) const NAME: &str = "guardian";

/// Raised when the shape or the meaning of what is kept changes.
const REVISION: u32 = 1;

/// Entries of both logs after which it is kept again.
pub(super) const KEEP_ENTRIES: u64 = 16_384;

/// Time after which it is kept again when anything came.
pub(super) const KEEP_EVERY: i64 = 5 * MINUTE;

/// A place in a log, and the hash of the entry that stands there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    pub(super) offset: Offset,
    hash: Hash,
}

impl Place {
    pub(super) const fn of(entry: &Entry) -> Self {
        Self { offset: entry.offset, hash: entry.hash }
    }
}

/// What is known at a pair of places.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) ledger: Place,
    pub(super) market: Place,
    pub(super) conditions: Conditions,
    pub(super) markets: BTreeMap<Stream, Watched>,
}

/// The same, as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    ledger: Place,
    market: Place,
    positions: Vec<Guarded>,
    markets: BTreeMap<Stream, Past>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Past {
    seen: Seen,
    copies: Vec<Seen>,
}

impl From<State> for Known {
    fn from(State { ledger, market, positions, markets }: State) -> Self {
        let watched = |Past { seen, copies }| Watched::of(seen, copies);
        let mut markets: BTreeMap<_, _> =
            markets.into_iter().map(|(stream, past)| (stream, watched(past))).collect();
        let conditions: Conditions = positions.into_iter().collect();
        for (name, condition) in conditions.iter() {
            let Watched { seen, armed, .. } = markets.entry(condition.stream()).or_default();
            armed.add(name, condition, seen.version);
        }
        Self { ledger, market, conditions, markets }
    }
}

impl Known {
    fn written(&self) -> Result<Vec<u8>, serde_json::Error> {
        let past = |watched: &Watched| Past {
            seen: watched.seen.clone(),
            copies: watched.copies().to_vec(),
        };
        serde_json::to_vec(&State {
            ledger: self.ledger,
            market: self.market,
            positions: self.conditions.positions().cloned().collect(),
            markets: self
                .markets
                .iter()
                .map(|(stream, held)| (stream.clone(), past(held)))
                .collect(),
        })
    }
}

/// Returns how far in the market log the newest that was kept goes.
pub(super) async fn passed(keep: &dyn Keep) -> Result<Option<Offset>, KeepError> {
    let kept = keep.load(NAME).await?.filter(|kept| kept.revision == REVISION);
    // It stands in the place of the version: a guardian has no stream.
    Ok(kept.map(|kept| Offset(kept.version.0)))
}

/// Returns what was kept, if these are the logs of which it was. It is a cache: whatever is wrong
/// with it, both logs are read from their beginning instead.
pub(super) async fn load(
    keep: &dyn Keep,
    ledger: &dyn ReadLog,
    market: &dyn ReadLog,
) -> Result<Option<Known>, LogError> {
    let kept = match keep.load(NAME).await {
        Ok(kept) => kept.filter(|kept| kept.revision == REVISION),
        Err(error) => {
            tracing::warn!(%error, "what the guardian kept cannot be loaded");
            None
        }
    };
    let Some(Kept { state, .. }) = kept else { return Ok(None) };
    let state: State = match serde_json::from_slice(&state) {
        Ok(state) => state,
        Err(error) => {
            tracing::warn!(%error, "what the guardian kept does not read");
            return Ok(None);
        }
    };
    for (log, from, place) in
        [(Log::Ledger, ledger, state.ledger), (Log::Market, market, state.market)]
    {
        if !belongs(log, from, place).await? {
            tracing::warn!(%log, offset = %place.offset, "what the guardian kept is of another log");
            return Ok(None);
        }
    }
    Ok(Some(state.into()))
}

/// Whether the log has, or may have had, the entry at this place.
async fn belongs(log: Log, from: &dyn ReadLog, place: Place) -> Result<bool, LogError> {
    let Some(before) = place.offset.0.checked_sub(1) else { return Ok(true) };
    let mut patience = Patience::default();
    loop {
        let asked = async {
            if from.head().await? < place.offset {
                // The log has lost its end, or is another one.
                return Ok(false);
            }
            let entry = from.read(Offset(before), 1).await?.into_iter().next();
            Ok(match entry.filter(|entry| entry.offset == place.offset) {
                Some(entry) => entry.hash == place.hash,
                // What could tell was dropped, or there is none.
                None => from.floor().await? >= place.offset,
            })
        };
        match asked.await {
            Ok(belongs) => return Ok(belongs),
            Err(error) => patience.wait_out(&log, error).await?,
        }
    }
}

/// Keeps what is known from time to time, beside the path of trades.
pub(super) struct Keeper {
    keep: Arc<dyn Keep>,
    /// At most one: a slow place is not asked faster than it answers.
    save: JoinSet<Result<(), String>>,
    /// Entries that were read since the last attempt, and when that was.
    entries: u64,
    tried_at: Option<Timestamp>,
    /// Whether the last attempt failed: it is said once.
    failing: bool,
}

impl Keeper {
    pub(super) fn new(keep: Arc<dyn Keep>) -> Self {
        Self { keep, save: JoinSet::new(), entries: 0, tried_at: None, failing: false }
    }

    pub(super) const fn count(&mut self, entries: u64) {
        self.entries += entries;
    }

    /// Keeps what is known when that is due, and waits for nothing.
    pub(super) fn look(&mut self, known: &Known, now: Timestamp) {
        if let Some(saved) = self.save.try_join_next() {
            self.note(saved.unwrap_or_else(|error| Err(error.to_string())));
        }
        let tried_at = *self.tried_at.get_or_insert(now);
        let is_due = self.entries >= KEEP_ENTRIES || now.since(tried_at) >= KEEP_EVERY;
        if self.entries > 0 && is_due && self.save.is_empty() {
            self.start(known, now);
        }
    }

    /// Keeps what is known at the end.
    pub(super) async fn finish(&mut self, known: &Known, now: Timestamp) {
        self.settle().await;
        if self.entries > 0 {
            self.start(known, now);
            self.settle().await;
        }
    }

    fn start(&mut self, known: &Known, now: Timestamp) {
        (self.entries, self.tried_at) = (0, Some(now));
        let version = Version(known.market.offset.0);
        let (keep, written) = (self.keep.clone(), known.written());
        self.save.spawn(async move {
            let state = written.map_err(|error| error.to_string())?;
            let kept = Kept { revision: REVISION, version, state };
            keep.save(NAME, kept).await.map_err(|error| error.to_string())
        });
    }

    async fn settle(&mut self) {
        while let Some(saved) = self.save.join_next().await {
            self.note(saved.unwrap_or_else(|error| Err(error.to_string())));
        }
    }

    fn note(&mut self, saved: Result<(), String>) {
        let failed_before = std::mem::replace(&mut self.failing, saved.is_err());
        if let (Err(error), false) = (saved, failed_before) {
            tracing::warn!(
                error,
                "what the guardian knows cannot be kept; it is tried again later"
            );
        }
    }
}
