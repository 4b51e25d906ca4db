//! The candles of one interval in order of time.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::candle::Candle;
use crate::time::Timestamp;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Series(VecDeque<Held>);

/// The candle that stands in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) candle: Candle,
    pub(super) origin: Origin,
}

/// Where the candle that stands comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Origin {
    /// From trades, or rolled up from finer candles. Its revision counts its corrections.
    Built,
    /// From trades, and the ledger holds the very same.
    Closed,
    /// From the ledger; nothing else is known of it.
    Recorded,
    /// The venue's own bar; nothing else is known of it.
    Native,
    /// More is known of it than this candle.
    Mixed,
}

impl Series {
    pub(super) fn first(&self) -> Option<&Candle> {
        self.0.front().map(|held| &held.candle)
    }

    pub(super) fn last(&self) -> Option<&Candle> {
        self.0.back().map(|held| &held.candle)
    }

    pub(super) fn get(&self, opened_at: Timestamp) -> Option<&Held> {
        self.0.get(self.place(opened_at).ok()?)
    }

    pub(super) fn find_mut(&mut self, opened_at: Timestamp) -> Result<&mut Held, usize> {
        let place = self.place(opened_at)?;
        self.0.get_mut(place).ok_or(place)
    }

    /// Inserts a candle at the place that [`Series::find_mut`] named.
    pub(super) fn insert(&mut self, place: usize, held: Held) {
        self.0.insert(place, held);
    }

    /// Puts a candle into its bucket, in place of the one that stood there.
    pub(super) fn put(&mut self, held: Held) {
        match self.find_mut(held.candle.opened_at) {
            Ok(old) => *old = held,
            Err(place) => self.0.insert(place, held),
        }
    }

    pub(super) fn remove(&mut self, opened_at: Timestamp) {
        if let Ok(place) = self.place(opened_at) {
            self.0.remove(place);
        }
    }

    pub(super) fn range(
        &self,
        from: Timestamp,
        until: Timestamp,
    ) -> impl DoubleEndedIterator<Item = &Held> {
        let (Ok(start) | Err(start)) = self.place(from);
        let (Ok(end) | Err(end)) = self.place(until);
        self.0.range(start..end.max(start))
    }

    pub(super) fn candles(
        &self,
        from: Timestamp,
        until: Timestamp,
    ) -> impl DoubleEndedIterator<Item = &Candle> {
        self.range(from, until).map(|held| &held.candle)
    }

    /// The place of a bucket, or the place where it would stand. Most trades belong to the last.
    fn place(&self, opened_at: Timestamp) -> Result<usize, usize> {
        match self.0.back() {
            Some(last) if last.candle.opened_at == opened_at => Ok(self.0.len() - 1),
            Some(last) if last.candle.opened_at > opened_at => {
                self.0.binary_search_by_key(&opened_at, |held| held.candle.opened_at)
            }
            _ => Err(self.0.len()),
        }
    }
}
