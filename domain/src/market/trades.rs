//! The rule on trades: which are news, and which are missing.
//!
//! Trade ids are consecutive per instrument, so what lies between the lowest and the highest id
//! was either seen or is missing. Missing ids are kept as ranges, and a trade is news when it lies
//! outside what was seen or inside a missing range. Memory is bounded by [`GAPS_MAX`]; what
//! overflow costs is written there.

use std::collections::BTreeMap;

use crate::market::event::{GapReason, MarketEvent};
use crate::market::{DECISION_EVENTS_MAX, GAP_PATIENCE, GAPS_MAX};
use crate::tick::Tick;
use crate::time::Timestamp;

/// What is known of the trades of one instrument.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Trades {
    seen: Option<Seen>,
    /// Missing ids by the first of each range. Ranges never overlap; they touch only where a gap
    /// was cut out of a range.
    missing: BTreeMap<u64, Missing>,
    /// Gaps that were opened, by their first id, with how many of their ids are still missing.
    open: BTreeMap<u64, Open>,
    /// Ranges that were given up, first to last. A trade in one is still news.
    given_up: BTreeMap<u64, u64>,
}

/// The lowest and the highest id recorded so far, with the times of those trades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    low: u64,
    low_at: Timestamp,
    high: u64,
    high_at: Timestamp,
    /// The latest trade time of all.
    clock: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
            || self.given_up_range(trade_id).is_some()
    }

    /// Whether there may be something to notice about gaps.
    pub(super) fn has_gaps(&self) -> bool {
        !self.missing.is_empty() || !self.open.is_empty()
    }

    pub(super) fn evolve(&mut self, event: &MarketEvent) {
        match event {
            MarketEvent::TickObserved(tick) => self.saw(tick),
            MarketEvent::FeedGapOpened { first_id, last_id, .. } => {
                let missing = self.mark(*first_id, *last_id);
                self.open.insert(*first_id, Open { last: *last_id, missing });
            }
            MarketEvent::FeedGapFilled { first_id, .. } => {
                self.open.remove(first_id);
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
            self.seen = Some(Seen { low: id, low_at: at, high: id, high_at: at, clock: at });
            return;
        };
        seen.clock = seen.clock.max(at);
        let hole =
            |last, after, before| Missing { last, after, before, noticed: seen.clock, gap: None };
        if id > seen.high {
            if id - seen.high > 1 {
                self.missing.insert(seen.high + 1, hole(id - 1, seen.high_at, at));
            }
            (seen.high, seen.high_at) = (id, at);
        } else if id < seen.low {
            if seen.low - id > 1 {
                self.missing.insert(id + 1, hole(seen.low - 1, at, seen.low_at));
            }
            (seen.low, seen.low_at) = (id, at);
        } else {
            self.fill(id, at);
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
        } else if let Some((first, last)) = self.given_up_range(id) {
            self.given_up.remove(&first);
            if first < id {
                self.given_up.insert(first, id - 1);
            }
            if id < last {
                self.given_up.insert(id + 1, last);
            }
            self.bound_given_up();
        }
    }

    /// Makes the missing ids within a gap its own; returns how many they are.
    fn mark(&mut self, gap: u64, last_id: u64) -> u64 {
        self.cut(gap);
        self.cut(last_id.saturating_add(1));
        let mut missing = 0;
        for (first, range) in self.missing.range_mut(gap..=last_id) {
            let ids = range.last - first + 1;
            if let Some(outer) = range.gap.and_then(|outer| self.open.get_mut(&outer)) {
                outer.missing -= ids;
            }
            range.gap = Some(gap);
            missing += ids;
        }
        missing
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
        self.open.remove(&gap);
        // A gap that was opened within this one goes its own way.
        let own = |(first, range): (&u64, &Missing)| (range.gap == Some(gap)).then_some(*first);
        let firsts: Vec<u64> = self.missing.range(gap..=last_id).filter_map(own).collect();
        for first in firsts {
            if let Some(range) = self.missing.remove(&first) {
                self.cover(first, range.last);
            }
        }
        self.bound_given_up();
    }

    fn bound_given_up(&mut self) {
        while self.given_up.len() > GAPS_MAX {
            let Some((first, _)) = self.given_up.pop_first() else { return };
            if let Some((_, last)) = self.given_up.pop_first() {
                self.cover(first, last);
            }
        }
    }

    /// Adds a range to those given up, and makes one of all that it overlaps: ranges that stood
    /// within each other would hide what the outer one covers.
    fn cover(&mut self, mut first: u64, mut last: u64) {
        while let Some((&start, &end)) = self.given_up.range(..=last).next_back()
            && end >= first
        {
            self.given_up.remove(&start);
            (first, last) = (first.min(start), last.max(end));
        }
        self.given_up.insert(first, last);
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

    fn given_up_range(&self, id: u64) -> Option<(u64, u64)> {
        let (&first, &last) = self.given_up.range(..=id).next_back()?;
        (id <= last).then_some((first, last))
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
