//! Which of the venue's own one-minute bars are still wanted, and in which pieces.
//!
//! Wanted is what was not heard whole: from the last bar known, or from the minute in which the
//! line broke, up to the minute of the connect, which is wanted too as soon as it has closed.

use std::time::Duration;

use domain::candle::{Candle, Interval};
use domain::time::{MINUTE, Timestamp};

/// Minutes that are fetched where nothing is known.
pub(super) const MINUTES_FIRST: i64 = 1_000;

/// Minutes that are fetched after a long absence: a month. What is older has to be imported.
pub(super) const MINUTES_MAX: i64 = 31 * 24 * 60;

/// Minutes of an hour. A message holds minutes of one hour only, so that two feeds name the same
/// message alike.
const HOUR: i64 = 60 * MINUTE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Minutes {
    wanted: Wanted,
    /// The start of the last minute that is wanted.
    until: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Nothing is known: as many as the first time takes.
    Beginning,
    From(Timestamp),
    Nothing,
}

impl Minutes {
    /// `known` is the start of the last minute whose bar is known.
    pub(super) fn after(known: Option<Timestamp>) -> Self {
        let wanted = known.map_or(Wanted::Beginning, |minute| Wanted::From(minute.plus(MINUTE)));
        Self { wanted, until: Timestamp::MIN }
    }

    /// Data flows again, at this time of the venue.
    pub(super) fn connected(&mut self, venue_time: Timestamp) {
        let minute = venue_time.floor(MINUTE);
        self.until = self.until.max(minute);
        self.wanted = match self.wanted {
            Wanted::Beginning => Wanted::From(minute.plus(-MINUTES_FIRST * MINUTE)),
            Wanted::From(first) => Wanted::From(first.max(minute.plus(-MINUTES_MAX * MINUTE))),
            Wanted::Nothing => Wanted::Nothing,
        };
    }

    /// The line broke: what comes from here on is not heard.
    pub(super) fn broken(&mut self, venue_time: Timestamp) {
        let minute = venue_time.floor(MINUTE);
        self.wanted = match self.wanted {
            Wanted::Beginning => Wanted::Beginning,
            Wanted::From(first) => Wanted::From(first.min(minute)),
            Wanted::Nothing => Wanted::From(minute),
        };
    }

    /// Wants the bars of minutes whose trades cannot be had.
    pub(super) fn want(&mut self, from: Timestamp, to: Timestamp) {
        let (first, last) = (from.floor(MINUTE), to.floor(MINUTE));
        self.until = self.until.max(last);
        self.wanted = match self.wanted {
            Wanted::Beginning => Wanted::Beginning,
            Wanted::From(wanted) => Wanted::From(wanted.min(first)),
            Wanted::Nothing => Wanted::From(first),
        };
    }

    /// Returns the next page to ask for, by its first and its last minute, all of them closed for
    /// at least `patience`.
    pub(super) fn due(
        &self,
        venue_time: Timestamp,
        patience: Duration,
        page_max: u16,
    ) -> Option<(Timestamp, Timestamp)> {
        let Wanted::From(first) = self.wanted else { return None };
        let patience = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX);
        let closed = venue_time.plus(-patience).floor(MINUTE).plus(-MINUTE);
        let hours = (i64::from(page_max) / 60).max(1);
        let page_end = first.floor(HOUR).plus(hours * HOUR - MINUTE);
        let last = closed.min(self.until).min(page_end);
        (first <= last).then_some((first, last))
    }

    /// The page from `first` to `last` is in.
    pub(super) fn reached(&mut self, first: Timestamp, last: Timestamp) {
        // Something earlier may be wanted by now: then this page comes once more.
        if self.wanted == Wanted::From(first) {
            let next = last.plus(MINUTE);
            self.wanted = if next > self.until { Wanted::Nothing } else { Wanted::From(next) };
        }
    }
}

/// Cuts the bars of a page into messages of one hour each. Bars outside of the page are left out:
/// they may still be forming.
pub(super) fn hours(bars: Vec<Candle>, first: Timestamp, last: Timestamp) -> Vec<Vec<Candle>> {
    let mut hours: Vec<Vec<Candle>> = Vec::new();
    for bar in bars.into_iter().filter(|bar| (first..=last).contains(&bar.opened_at)) {
        let hour = Interval::Hour.bucket(bar.opened_at);
        match hours.last_mut() {
            Some(bars)
                if bars.first().is_some_and(|b| Interval::Hour.bucket(b.opened_at) == hour) =>
            {
                bars.push(bar);
            }
            _ => hours.push(vec![bar]),
        }
    }
    hours
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(3);

    fn at(text: &str) -> Timestamp {
        format!("2024-03-{text}Z").parse().unwrap()
    }

    /// Asks for all that is due at this time, page by page.
    fn pages(minutes: &mut Minutes, now: &str) -> Vec<String> {
        std::iter::from_fn(|| {
            let (first, last) = minutes.due(at(now), PATIENCE, 1_000)?;
            minutes.reached(first, last);
            Some(format!("{}..{}", &first.to_shortest()[8..16], &last.to_shortest()[8..16]))
        })
        .collect()
    }

    #[test]
    fn the_first_time_brings_a_thousand_minutes_and_then_that_of_the_connect() {
        let mut minutes = Minutes::after(None);
        assert_eq!(pages(&mut minutes, "21T09:30:20"), [""; 0]);
        minutes.connected(at("21T09:30:20"));

        assert_eq!(
            pages(&mut minutes, "21T09:30:20"),
            ["20T16:50..21T07:59", "21T08:00..21T09:29"]
        );
        assert_eq!(pages(&mut minutes, "21T09:31:02"), [""; 0]);
        assert_eq!(pages(&mut minutes, "21T09:31:03"), ["21T09:30..21T09:30"]);
        assert_eq!(pages(&mut minutes, "21T10:31:03"), [""; 0], "from here on it is heard");
    }

    #[test]
    fn after_a_break_the_bars_from_the_broken_minute_to_that_of_the_connect_are_wanted() {
        let mut minutes = Minutes::after(Some(at("21T09:27:00")));
        minutes.connected(at("21T09:30:01"));
        assert_eq!(pages(&mut minutes, "21T09:30:01"), ["21T09:28..21T09:28"]);
        assert_eq!(pages(&mut minutes, "21T09:31:03"), ["21T09:29..21T09:30"]);
        minutes.broken(at("21T12:07:59"));
        minutes.connected(at("21T12:09:30"));

        assert_eq!(pages(&mut minutes, "21T12:09:30"), ["21T12:07..21T12:08"]);
        assert_eq!(pages(&mut minutes, "21T12:10:30"), ["21T12:09..21T12:09"]);
    }

    #[test]
    fn a_break_before_all_was_fetched_forgets_nothing() {
        let mut minutes = Minutes::after(Some(at("21T09:00:00")));
        minutes.connected(at("21T09:30:30"));
        let (first, last) = minutes.due(at("21T09:30:30"), PATIENCE, 1_000).unwrap();
        minutes.broken(at("21T09:30:40"));
        minutes.connected(at("21T09:40:00"));
        minutes.reached(first, last);

        assert_eq!(pages(&mut minutes, "21T09:50:00"), ["21T09:30..21T09:40"]);
    }

    #[test]
    fn a_long_absence_is_fetched_back_to_a_month() {
        let mut minutes = Minutes::after(Some("2023-03-21T09:00:00Z".parse().unwrap()));
        minutes.connected("2024-03-21T09:00:00Z".parse().unwrap());

        let (first, _) = minutes.due(at("21T09:00:00"), PATIENCE, 1_000).unwrap();
        assert_eq!(first.to_shortest(), "2024-02-19T09:00:00Z");
    }

    #[test]
    fn trades_that_are_gone_want_their_minutes() {
        let mut minutes = Minutes::after(Some(at("21T09:27:00")));
        minutes.connected(at("21T09:28:00"));
        assert_eq!(pages(&mut minutes, "21T09:30:00"), ["21T09:28..21T09:28"]);
        minutes.want(at("21T10:01:30"), at("21T10:03:10"));

        assert_eq!(pages(&mut minutes, "21T10:03:20"), ["21T10:01..21T10:02"]);
        assert_eq!(pages(&mut minutes, "21T10:04:10"), ["21T10:03..21T10:03"]);
    }

    #[test]
    fn messages_hold_minutes_of_one_hour_and_nothing_outside_of_the_page() {
        let bar = |text: &str| Candle::filled(at(text), "1".parse().unwrap());
        let bars = ["21T08:58:00", "21T08:59:00", "21T09:00:00", "21T09:02:00", "21T09:03:00"];

        let hours = hours(bars.map(bar).to_vec(), at("21T08:59:00"), at("21T09:02:00"));

        let lengths: Vec<usize> = hours.iter().map(Vec::len).collect();
        assert_eq!(lengths, [1, 2]);
    }
}
