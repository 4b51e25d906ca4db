//! Trades that nobody waits for any more, and that are news all the same when they come.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::market::GAPS_MAX;

/// Ranges of ids, first to last, that never overlap: at most [`GAPS_MAX`]. Beyond it the two oldest
/// become one that covers both and what lies between them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GivenUp(BTreeMap<u64, u64>);

impl GivenUp {
    pub(super) fn holds(&self, id: u64) -> bool {
        self.0.range(..=id).next_back().is_some_and(|(_, last)| id <= *last)
    }

    pub(super) fn add(&mut self, first: u64, last: u64) {
        self.cover(first, last);
        self.bound();
    }

    pub(super) fn remove(&mut self, first: u64, last: u64) {
        while let Some((start, end)) = self.last_touching(first, last) {
            self.0.remove(&start);
            if last < end {
                self.0.insert(last + 1, end);
            }
            if start < first {
                self.0.insert(start, first - 1);
            }
        }
        self.bound();
    }

    /// Adds a range, and makes one of all that it overlaps: ranges that stood within each other would
    /// hide what the outer one covers.
    fn cover(&mut self, mut first: u64, mut last: u64) {
        while let Some((start, end)) = self.last_touching(first, last) {
            self.0.remove(&start);
            (first, last) = (first.min(start), last.max(end));
        }
        self.0.insert(first, last);
    }

    fn bound(&mut self) {
        while self.0.len() > GAPS_MAX {
            let Some((first, _)) = self.0.pop_first() else { return };
            if let Some((_, last)) = self.0.pop_first() {
                self.cover(first, last);
            }
        }
    }

    /// Returns the last of the ranges that overlap `first..=last`.
    fn last_touching(&self, first: u64, last: u64) -> Option<(u64, u64)> {
        let (&start, &end) = self.0.range(..=last).next_back()?;
        (end >= first).then_some((start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ranges: &[(u64, u64)]) -> GivenUp {
        let mut given_up = GivenUp::default();
        for (first, last) in ranges {
            given_up.add(*first, *last);
        }
        given_up
    }

    #[test]
    fn ranges_that_were_given_up_never_stand_within_each_other() {
        let mut given_up = of(&[(8_001, 9_999), (20_000, 20_005), (7_000, 12_000), (9_000, 9_100)]);

        assert_eq!(given_up.0, BTreeMap::from([(7_000, 12_000), (20_000, 20_005)]));
        given_up.add(11_000, 20_001);
        assert_eq!(given_up.0, BTreeMap::from([(7_000, 20_005)]));
    }

    #[test]
    fn what_is_taken_out_may_run_over_several_ranges() {
        let mut given_up = of(&[(1, 9), (20, 29), (40, 49)]);

        given_up.remove(5, 44);
        assert_eq!(given_up.0, BTreeMap::from([(1, 4), (45, 49)]));
        given_up.remove(2, 2);
        given_up.remove(47, 99);
        given_up.remove(10, 40);
        assert_eq!(given_up.0, BTreeMap::from([(1, 1), (3, 4), (45, 46)]));
        assert!(given_up.holds(3) && !given_up.holds(2) && !given_up.holds(47));
    }
}
