//! The rule on trades: which are news, and which are missing.
//!
//! Trade ids are consecutive per instrument, so what lies between the lowest and the highest id
//! was either seen or is missing. Missing ids are kept as ranges, and a trade is news when it lies
//! outside what was seen or inside a missing range. Memory is bounded by [`GAPS_MAX`]; what
//! overflow costs is written there.
//!
//! When entries of the past are gone, so is part of the ground to stand on. Then nothing is called
//! missing that they may hold, and only the log's own word opens a gap in what they reached to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::market::event::{GapReason, MarketEvent};
use crate::market::{DECISION_EVENTS_MAX, GAP_PATIENCE, GAPS_MAX};
use crate::tick::Tick;
use crate::time::Timestamp;

use self::given_up::GivenUp;

mod given_up;

/// What is known of the trades of one instrument.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trades {
    seen: Option<Seen>,
    /// Missing ids by the first of each range. Ranges never overlap; they touch only where a gap
    /// was cut out of a range.
    missing: BTreeMap<u64, Missing>,
    /// Gaps that were opened, by their first id, with how many of their ids are still missing.
    open: BTreeMap<u64, Open>,
    given_up: GivenUp,
    /// Entries that were passed over, until they can be in no hole any more.
    passed: Option<Passed>,
}

/// How far entries may reach that were passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Passed {
    /// To just below the next trade that is higher than all that are known.
    ToTheNext,
    /// To this time of the venue, and its holes: such trades may have come before that next one,
    /// which was late itself.
    Until(Timestamp),
}

/// The lowest and the highest id recorded so far, with the times of those trades.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    low: u64,
    low_at: Timestamp,
    high: u64,
    high_at: Timestamp,
    /// The latest trade time of all.
    clock: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Missing {
    last: u64,
    /// Times of the trades on either side.
    after: Timestamp,
    before: Timestamp,
    /// The latest trade time when the hole was noticed.
    noticed: Timestamp,
    /// The first id of the gap that this range belongs to, once it was opened.
    gap: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    last: u64,
    missing: u64,
}

impl Trades {
    /// Returns the latest trade time, once there was a trade.
    pub(super) fn clock(&self) -> Option<Timestamp> {
        self.seen.map(|seen| seen.clock)
    }

    /// Whether this trade was not recorded yet.
    pub(super) fn is_news(&self, trade_id: u64) -> bool {
        let Some(seen) = self.seen else { return true };
        trade_id < seen.low
            || trade_id > seen.high
            || self.missing_range(trade_id).is_some()
            || self.given_up.holds(trade_id)
    }

    /// Whether there may be something to notice about gaps.
    pub(super) fn has_gaps(&self) -> bool {
        !self.missing.is_empty() || !self.open.is_empty()
    }

    pub(super) fn evolve(&mut self, event: &MarketEvent) {
        match event {
            MarketEvent::TickObserved(tick) => self.saw(tick),
            MarketEvent::FeedGapOpened { first_id, last_id, after, before } => {
                self.mark(*first_id, *last_id, *after, *before);
            }
            MarketEvent::FeedGapFilled { first_id, last_id } => {
                // What of it still seems to be missing stands in entries that were passed over.
                self.take_gap(*first_id, *last_id);
            }
            MarketEvent::FeedGapUnfillable { first_id, last_id, .. } => {
                self.give_up(*first_id, *last_id);
            }
            MarketEvent::PulseObserved { .. }
            | MarketEvent::BookSnapshotObserved { .. }
            | MarketEvent::BookDiffObserved { .. }
            | MarketEvent::BookLost { .. } => {}
        }
    }

    /// Takes in that entries came here of which nothing is known any more.
    ///
    /// What lies between the highest trade and the next higher one counts as seen, and so does all
    /// below the lowest. What was missing may have come meanwhile: where it had been called a gap,
    /// it is waited for as before; where not, it stays news, but no gap is made of it any more.
    pub(super) fn pass_over(&mut self) {
        self.passed = Some(Passed::ToTheNext);
        if let Some(seen) = &mut self.seen {
            seen.low = 0;
        }
        let (gaps, holes) =
            std::mem::take(&mut self.missing).into_iter().partition(|(_, it)| it.gap.is_some());
        self.missing = gaps;
        let holes: BTreeMap<u64, Missing> = holes;
        for (first, hole) in holes {
            self.given_up.add(first, hole.last);
        }
    }

    /// Decides which of these trades are news.
    pub(super) fn record(&self, ticks: Vec<Tick>) -> Vec<MarketEvent> {
        let mut next = self.clone();
        let mut events = Vec::with_capacity(ticks.len().min(DECISION_EVENTS_MAX));
        for tick in ticks {
            if events.len() < DECISION_EVENTS_MAX && next.is_news(tick.trade_id) {
                next.saw(&tick);
                events.push(MarketEvent::TickObserved(tick));
            }
        }
        events
    }

    /// Decides which gaps have opened, filled or must be given up, at this time of the venue.
    pub(super) fn notice(&self, venue_time: Timestamp) -> Vec<MarketEvent> {
        let Some(seen) = self.seen else { return Vec::new() };
        let clock = seen.clock.max(venue_time);
        let mut events = Vec::new();
        for (&first_id, gap) in self.open.iter().filter(|(_, gap)| gap.missing == 0) {
            events.push(MarketEvent::FeedGapFilled { first_id, last_id: gap.last });
        }
        // What is over the limit is given up from the oldest on; a gap is opened before it ends.
        let mut too_many = self.missing.len().saturating_sub(GAPS_MAX);
        let mut given_up = None;
        for (&first, range) in &self.missing {
            let gap = range.gap.unwrap_or(first);
            if range.gap.is_none() && (too_many > 0 || clock.since(range.noticed) >= GAP_PATIENCE) {
                events.push(range.opened(first));
            }
            if too_many > 0 {
                too_many -= 1;
                if given_up != Some(gap) {
                    given_up = Some(gap);
                    let last_id = self.open.get(&gap).map_or(range.last, |gap| gap.last);
                    let reason = GapReason::TooManyGaps;
                    events.push(MarketEvent::FeedGapUnfillable { first_id: gap, last_id, reason });
                }
            }
        }
        events.truncate(DECISION_EVENTS_MAX);
        events
    }

    /// Decides what to say of trades that are not to be had.
    ///
    /// A gap ends as a whole, but of a gap that was opened only some trades may be given up. Then it
    /// is cut, so that each trade stays in a gap that says what is true of it: a gap that opens
    /// within an open one takes its trades out of it, and the outer one keeps the rest. Gaps go by
    /// their first id, so no two may share it: when the outer gap's first id is given up, the outer
    /// gap is, and what may still come is taken out of it first; otherwise what is given up is.
    pub(super) fn give_up_trades(&self, first_id: u64, last_id: u64) -> Vec<MarketEvent> {
        let mut next = self.clone();
        let mut events = Vec::new();
        // Each step follows from where the one before led, so a full decision is continued by the
        // next one like any other.
        while events.len() < DECISION_EVENTS_MAX
            && let Some(event) = next.step_of_giving_up(first_id, last_id)
        {
            next.evolve(&event);
            events.push(event);
        }
        events
    }

    fn step_of_giving_up(&self, first_id: u64, last_id: u64) -> Option<MarketEvent> {
        let (first, range) = self.first_missing(first_id, last_id, |_| true)?;
        let Some(gap) = range.gap else { return Some(range.opened(first)) };
        let end = self.open.get(&gap).map_or(range.last, |gap| gap.last);
        let of_gap = |range: &Missing| range.gap == Some(gap);
        let below = self.first_missing(gap, first_id.saturating_sub(1), of_gap);
        let above = self.first_missing(last_id.saturating_add(1), end, of_gap);
        Some(match (below, above) {
            (None, Some((first, rest))) if first_id <= gap => rest.opened(first),
            (None, None) => MarketEvent::FeedGapUnfillable {
                first_id: gap,
                last_id: end,
                reason: GapReason::NotToBeHad,
            },
            _ => range.opened(first),
        })
    }

    fn saw(&mut self, tick: &Tick) {
        let (id, at) = (tick.trade_id, tick.traded_at);
        let Some(seen) = &mut self.seen else {
            let low = if self.passed.is_some() { 0 } else { id };
            self.seen = Some(Seen { low, low_at: at, high: id, high_at: at, clock: at });
            self.passed = self.passed.map(|_| Passed::until(tick));
            return;
        };
        seen.clock = seen.clock.max(at);
        let noticed = seen.clock;
        let hole = |last, after, before| Missing { last, after, before, noticed, gap: None };
        if id > seen.high {
            let (first, after) = (seen.high + 1, seen.high_at);
            (seen.high, seen.high_at) = (id, at);
            match self.passed {
                Some(Passed::ToTheNext) => self.passed = Some(Passed::until(tick)),
                Some(Passed::Until(until)) if after <= until => self.doubt(first, id - 1),
                Some(Passed::Until(_)) | None => {
                    self.passed = None;
                    if first < id {
                        self.missing.insert(first, hole(id - 1, after, at));
                    }
                }
            }
        } else if id < seen.low {
            if seen.low - id > 1 {
                self.missing.insert(id + 1, hole(seen.low - 1, at, seen.low_at));
            }
            (seen.low, seen.low_at) = (id, at);
        } else {
            self.fill(id, at);
        }
    }

    /// Takes a hole for one that may be in what was passed over: its trades are news, in case they
    /// are not, but it is no gap unless the log says so.
    fn doubt(&mut self, first: u64, last: u64) {
        if first <= last {
            self.given_up.add(first, last);
        }
    }

    /// Takes one id out of the range that misses it; a range may fall in two.
    fn fill(&mut self, id: u64, at: Timestamp) {
        if let Some((first, range)) = self.missing_range(id) {
            self.missing.remove(&first);
            if first < id {
                self.missing.insert(first, Missing { last: id - 1, before: at, ..range });
            }
            if id < range.last {
                self.missing.insert(id + 1, Missing { after: at, ..range });
            }
            if let Some(gap) = range.gap.and_then(|gap| self.open.get_mut(&gap)) {
                gap.missing -= 1;
            }
        } else {
            self.given_up.remove(id, id);
        }
    }

    /// Takes in that a gap was opened: all of it is missing, and it is a gap of its own.
    fn mark(&mut self, gap: u64, last: u64, after: Timestamp, before: Timestamp) {
        self.cut(gap);
        self.cut(last.saturating_add(1));
        let firsts: Vec<u64> = self.missing.range(gap..=last).map(|(first, _)| *first).collect();
        for first in firsts {
            let Some(range) = self.missing.remove(&first) else { continue };
            if let Some(outer) = range.gap.and_then(|outer| self.open.get_mut(&outer)) {
                outer.missing -= range.last - first + 1;
            }
        }
        // The hole itself may have shown in entries that were passed over.
        self.given_up.remove(gap, last);
        let seen = self.seen.get_or_insert(Seen {
            low: 0,
            low_at: after,
            high: last,
            high_at: before,
            clock: before,
        });
        if last > seen.high {
            (seen.high, seen.high_at) = (last, before);
            seen.clock = seen.clock.max(before);
        }
        let noticed = seen.clock;
        self.missing.insert(gap, Missing { last, after, before, noticed, gap: Some(gap) });
        self.open.insert(gap, Open { last, missing: last - gap + 1 });
    }

    /// Makes two of a missing range, so that one begins with `id`.
    fn cut(&mut self, id: u64) {
        let Some((first, range)) = self.missing_range(id).filter(|(first, _)| *first < id) else {
            return;
        };
        self.missing.insert(first, Missing { last: id - 1, ..range });
        self.missing.insert(id, range);
    }

    fn give_up(&mut self, gap: u64, last_id: u64) {
        for (first, last) in self.take_gap(gap, last_id) {
            self.given_up.add(first, last);
        }
    }

    /// Closes a gap; returns the ranges of it that are missing. A gap that was opened within it goes
    /// its own way.
    fn take_gap(&mut self, gap: u64, last_id: u64) -> Vec<(u64, u64)> {
        self.open.remove(&gap);
        let own = |(first, range): (&u64, &Missing)| {
            (range.gap == Some(gap)).then_some((*first, range.last))
        };
        let ranges: Vec<_> = self.missing.range(gap..=last_id).filter_map(own).collect();
        for (first, _) in &ranges {
            self.missing.remove(first);
        }
        ranges
    }

    /// Returns the first of these missing ranges within `from..=until`, cut to it.
    fn first_missing(
        &self,
        from: u64,
        until: u64,
        which: impl Fn(&Missing) -> bool,
    ) -> Option<(u64, Missing)> {
        if from > until {
            return None;
        }
        let straddling = self.missing_range(from).filter(|(first, _)| *first < from);
        let within = self.missing.range(from..=until).map(|(first, range)| (*first, *range));
        let (first, range) = straddling.into_iter().chain(within).find(|(_, it)| which(it))?;
        Some((first.max(from), Missing { last: range.last.min(until), ..range }))
    }

    fn missing_range(&self, id: u64) -> Option<(u64, Missing)> {
        let (&first, &range) = self.missing.range(..=id).next_back()?;
        (id <= range.last).then_some((first, range))
    }
}

impl Passed {
    /// Returns how far entries reach before the entry that holds this trade. It may be late, but
    /// nothing was recorded before it that came after it.
    fn until(tick: &Tick) -> Self {
        Self::Until(tick.traded_at.max(tick.received_at).plus(GAP_PATIENCE))
    }
}

impl Missing {
    fn opened(&self, first_id: u64) -> MarketEvent {
        MarketEvent::FeedGapOpened {
            first_id,
            last_id: self.last,
            after: self.after,
            before: self.before,
        }
    }
}

#[cfg(test)]
mod tests;
