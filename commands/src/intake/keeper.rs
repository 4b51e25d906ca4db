//! Keeps what is known of each market for the next run, beside the path of ticks.
//!
//! A start then reads only what came after, also where retention has dropped what came before.

use std::collections::BTreeMap;
use std::panic;
use std::sync::Arc;
use std::time::Duration;

use domain::market::Market;
use domain::time::{MINUTE, Timestamp};
use eventlog::entry::Version;
use eventlog::keep::Keep;
use eventlog::log::ReadLog;
use eventlog::stream::Stream;
use tokio::task::{JoinError, JoinSet};

use crate::intake::kept;

/// Entries of a market after which it is kept again.
pub(super) const KEEP_ENTRIES: u64 = 4_096;

/// Time after which it is kept again when anything came.
pub(super) const KEEP_EVERY: i64 = 5 * MINUTE;

/// Time that the last states have when an intake ends. Past it the next run reads a little more.
pub(super) const KEEP_END_PATIENCE: Duration = Duration::from_secs(2);

/// Keeps the markets of one intake. What it starts ends with it.
pub(super) struct Keeper {
    keep: Arc<dyn Keep>,
    log: Arc<dyn ReadLog>,
    /// How far each market was kept.
    markets: BTreeMap<Stream, Progress>,
    /// At most one of each market: a slow place is not asked faster than it answers.
    saves: JoinSet<Saved>,
}

/// What came of a save.
type Saved = (Stream, Version, Result<(), String>);

struct Progress {
    kept: Version,
    /// The last attempt, whatever came of it.
    tried: Version,
    tried_at: Timestamp,
    saving: bool,
    /// Whether the last attempt failed: it is said once.
    failing: bool,
}

impl Progress {
    fn is_due(&self, version: Version, now: Timestamp) -> bool {
        let is_long_ago = now.since(self.tried_at) >= KEEP_EVERY;
        self.is_behind(version) && (version.0 - self.tried.0 >= KEEP_ENTRIES || is_long_ago)
    }

    fn is_behind(&self, version: Version) -> bool {
        !self.saving && version > self.kept
    }
}

impl Keeper {
    pub(super) fn new(keep: Arc<dyn Keep>, log: Arc<dyn ReadLog>) -> Self {
        Self { keep, log, markets: BTreeMap::new(), saves: JoinSet::new() }
    }

    /// Looks at a market between two rounds: keeps it when that is due, and waits for nothing.
    pub(super) fn look(
        &mut self,
        stream: &Stream,
        (market, version): (&Market, Version),
        now: Timestamp,
    ) {
        while let Some(saved) = self.saves.try_join_next() {
            self.note(saved);
        }
        if self.progress(stream, now).is_due(version, now) {
            self.save(stream, market, version, now);
        }
    }

    /// Keeps all markets as they stand at the end, as far as there is time.
    pub(super) async fn finish<'a>(
        mut self,
        markets: impl Iterator<Item = (&'a Stream, (&'a Market, Version))>,
        now: Timestamp,
    ) {
        let keep_all = async {
            self.settle().await;
            for (stream, (market, version)) in markets {
                if self.progress(stream, now).is_behind(version) {
                    self.save(stream, market, version, now);
                }
            }
            self.settle().await;
        };
        if tokio::time::timeout(KEEP_END_PATIENCE, keep_all).await.is_err() {
            tracing::warn!(
                "no time to keep what is known of the markets: the next start reads more"
            );
        }
    }

    fn progress(&mut self, stream: &Stream, now: Timestamp) -> &mut Progress {
        self.markets.entry(stream.clone()).or_insert(Progress {
            kept: Version(0),
            tried: Version(0),
            tried_at: now,
            saving: false,
            failing: false,
        })
    }

    fn save(&mut self, stream: &Stream, market: &Market, version: Version, now: Timestamp) {
        let progress = self.progress(stream, now);
        (progress.tried, progress.tried_at, progress.saving) = (version, now, true);
        let (keep, log) = (self.keep.clone(), self.log.clone());
        let (stream, market) = (stream.clone(), market.clone());
        // In a task of its own: ticks wait neither for the words of it nor for the disk.
        self.saves.spawn(async move {
            let saved = kept::save(keep.as_ref(), log.as_ref(), &stream, market, version).await;
            (stream, version, saved)
        });
    }

    async fn settle(&mut self) {
        while let Some(saved) = self.saves.join_next().await {
            self.note(saved);
        }
    }

    fn note(&mut self, saved: Result<Saved, JoinError>) {
        let (stream, version, saved) = match saved {
            Ok(saved) => saved,
            // Nobody cancels a save but who drops the keeper.
            Err(error) => panic::resume_unwind(error.into_panic()),
        };
        let Some(progress) = self.markets.get_mut(&stream) else { return };
        progress.saving = false;
        let failed_before = std::mem::replace(&mut progress.failing, saved.is_err());
        match saved {
            Ok(()) => progress.kept = version,
            Err(error) if !failed_before => {
                tracing::warn!(%stream, error, "a market cannot be kept; it is tried again later");
            }
            Err(_) => {}
        }
    }
}
