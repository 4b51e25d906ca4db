//! The gaps that run through the minutes: trades between two instants that did not come.
//!
//! The market log tells of them first; the ledger holds a copy that outlives it. Both tales are kept
//! apart, and of each gap the further one counts: so it does not matter which log is read first, or
//! which of them has lost its beginning.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::candle::Interval;
use crate::market::GAPS_MAX;
use crate::market::event::{GapReason, MarketEvent};
use crate::time::Timestamp;

/// Trades that did not come: they happened between two instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    pub first_id: u64,
    pub last_id: u64,
    pub after: Timestamp,
    pub before: Timestamp,
    /// Nobody waits for these trades any more.
    pub unfillable: bool,
}

/// Who tells of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Teller {
    Market,
    Ledger,
}

/// What both logs tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gaps {
    market: Tale,
    ledger: Tale,
    /// The further of both, without what was filled.
    shown: BTreeMap<u64, Gap>,
    /// Those of which the market log tells more than the ledger. Kept up to date, so that asking
    /// costs nothing.
    due: BTreeSet<u64>,
}

/// What one log tells, by first id: at most [`GAPS_MAX`] gaps. Beyond it the oldest that was filled
/// is forgotten, else the oldest; where no log knows of a gap any more, its minutes count as whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tale(BTreeMap<u64, Told>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    last_id: u64,
    /// The times of the nearest trades on either side; `None` when the log told only of its end.
    span: Option<Span>,
    stage: Stage,
}

type Span = (Timestamp, Timestamp);

/// How far a gap has come, from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    Open,
    Unfillable(GapReason),
    /// Remembered, because the other log may still call it open.
    Filled,
}

impl Gaps {
    /// Takes in what a log tells of gaps; returns the spans of which something else is now known.
    pub(super) fn take(&mut self, teller: Teller, event: &MarketEvent) -> Vec<Span> {
        let tale = match teller {
            Teller::Market => &mut self.market,
            Teller::Ledger => &mut self.ledger,
        };
        let changed = tale.take(event);
        changed.into_iter().flatten().flat_map(|first_id| self.weigh(first_id)).collect()
    }

    /// Returns the gaps that were not filled, by their first ids.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Gap> + Clone {
        self.shown.values()
    }

    /// Whether trades of this minute may be missing.
    pub(super) fn touch(&self, bucket: Timestamp) -> bool {
        self.shown.values().any(|gap| is_torn(bucket, (gap.after, gap.before)))
    }

    /// The same, as far as the ledger knows.
    pub(super) fn touch_in_ledger(&self, bucket: Timestamp) -> bool {
        let open = self.ledger.0.values().filter(|told| told.stage != Stage::Filled);
        open.filter_map(|told| told.span).any(|span| is_torn(bucket, span))
    }

    /// Returns what the ledger is still to be told, at most `limit` events, oldest ids first.
    pub(super) fn unrecorded(&self, limit: usize) -> Vec<MarketEvent> {
        let news = |first_id: &u64| {
            let told = self.market.0.get(first_id);
            told.map_or_else(Vec::new, |told| told.news(*first_id, self.ledger.0.get(first_id)))
        };
        self.due.iter().flat_map(news).take(limit).collect()
    }

    pub(super) const fn tales(&self) -> (&Tale, &Tale) {
        (&self.market, &self.ledger)
    }

    /// Returns what two tales make.
    pub(super) fn of(market: Tale, ledger: Tale) -> Self {
        let ids: BTreeSet<u64> = market.0.keys().chain(ledger.0.keys()).copied().collect();
        let mut gaps = Self { market, ledger, ..Self::default() };
        for first_id in ids {
            gaps.weigh(first_id);
        }
        gaps
    }

    /// Returns the same gaps for looking alone: nothing more can be told of them.
    pub(super) fn to_look_at(&self) -> Self {
        Self { shown: self.shown.clone(), ..Self::default() }
    }

    /// Sees which tale of a gap is the further; returns the spans of which something else is known.
    fn weigh(&mut self, first_id: u64) -> Vec<Span> {
        let (market, ledger) = (self.market.0.get(&first_id), self.ledger.0.get(&first_id));
        let shown = further(market, ledger).and_then(|told| told.gap(first_id));
        if market.is_some_and(|told| !told.news(first_id, ledger).is_empty()) {
            self.due.insert(first_id);
        } else {
            self.due.remove(&first_id);
        }
        let before = match shown {
            Some(gap) => self.shown.insert(first_id, gap),
            None => self.shown.remove(&first_id),
        };
        let span = |gap: Gap| (gap.after, gap.before);
        before.map(span).into_iter().chain(shown.map(span)).collect()
    }
}

/// Returns the further of two tales of one gap; when both are as far, the market log's. Where it
/// does not know when, the other may.
fn further(market: Option<&Told>, ledger: Option<&Told>) -> Option<Told> {
    let (Some(market), Some(ledger)) = (market, ledger) else {
        return market.or(ledger).copied();
    };
    let is_market = market.stage.rank() >= ledger.stage.rank();
    let (told, other) = if is_market { (market, ledger) } else { (ledger, market) };
    Some(Told { span: told.span.or(other.span), ..*told })
}

fn is_torn(bucket: Timestamp, (after, before): Span) -> bool {
    after < Interval::Minute.end(bucket) && before > bucket
}

impl Tale {
    /// Takes in an event; returns the first ids of the gaps of which something else is now told: of
    /// the event's own, and of one that was forgotten.
    fn take(&mut self, event: &MarketEvent) -> [Option<u64>; 2] {
        let first_id = match *event {
            MarketEvent::FeedGapOpened { first_id, last_id, after, before } => {
                let told = Told { last_id, span: Some((after, before)), stage: Stage::Open };
                self.0.insert(first_id, told);
                first_id
            }
            MarketEvent::FeedGapFilled { first_id, last_id } => {
                self.end(first_id, last_id, Stage::Filled);
                first_id
            }
            MarketEvent::FeedGapUnfillable { first_id, last_id, reason } => {
                self.end(first_id, last_id, Stage::Unfillable(reason));
                first_id
            }
            MarketEvent::TickObserved(_)
            | MarketEvent::PulseObserved { .. }
            | MarketEvent::BookSnapshotObserved { .. }
            | MarketEvent::BookDiffObserved { .. }
            | MarketEvent::BookLost { .. } => return [None, None],
        };
        [Some(first_id), self.forget()]
    }

    fn end(&mut self, first_id: u64, last_id: u64, stage: Stage) {
        let told = self.0.entry(first_id).or_insert(Told { last_id, span: None, stage });
        told.stage = stage;
    }

    fn forget(&mut self) -> Option<u64> {
        if self.0.len() <= GAPS_MAX {
            return None;
        }
        let filled = self.0.iter().find(|(_, told)| told.stage == Stage::Filled);
        let first_id =
            filled.or_else(|| self.0.first_key_value()).map(|(first_id, _)| *first_id)?;
        self.0.remove(&first_id);
        Some(first_id)
    }
}

impl Told {
    /// Returns the gap, where there is still one and it is known when.
    fn gap(self, first_id: u64) -> Option<Gap> {
        let unfillable = match self.stage {
            Stage::Open => false,
            Stage::Unfillable(_) => true,
            Stage::Filled => return None,
        };
        let (after, before) = self.span?;
        Some(Gap { first_id, last_id: self.last_id, after, before, unfillable })
    }

    /// Returns the events that bring the ledger's tale of a gap to where this one is.
    fn news(&self, first_id: u64, ledger: Option<&Self>) -> Vec<MarketEvent> {
        let last_id = self.last_id;
        let opened = self.span.map(|(after, before)| MarketEvent::FeedGapOpened {
            first_id,
            last_id,
            after,
            before,
        });
        let end = match self.stage {
            Stage::Open => None,
            Stage::Unfillable(reason) => {
                Some(MarketEvent::FeedGapUnfillable { first_id, last_id, reason })
            }
            Stage::Filled => Some(MarketEvent::FeedGapFilled { first_id, last_id }),
        };
        let Some(ledger) = ledger else {
            // A gap that has come and gone, or of which only the end is known, need not be told of.
            let is_worth_it = self.stage != Stage::Filled && opened.is_some();
            return opened.into_iter().chain(end).filter(|_| is_worth_it).collect();
        };
        match (self.stage.rank(), ledger.stage.rank()) {
            (mine, its) if mine > its => end.into_iter().collect(),
            // It was opened anew, under the same first id.
            (0, 0) if self != ledger => opened.into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

impl Stage {
    const fn rank(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Unfillable(_) => 1,
            Self::Filled => 2,
        }
    }
}
