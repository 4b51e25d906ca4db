//! Which cuts stay as time goes by: the newest, one an hour for two days, one a day after that.

use std::collections::{BTreeMap, BTreeSet};

use domain::candle::Interval;
use domain::time::{DAY, Timestamp};

/// Time during which one cut an hour is kept.
const HOURLY: i64 = 2 * DAY;

/// Hours of which a cut is kept. Past it the oldest goes: so it is when the clock was set back.
const CUTS_HOURLY_MAX: usize = 49;

/// Days of which a cut is kept beyond those. Past it the oldest goes.
const CUTS_DAILY_MAX: usize = 400;

/// Returns the numbers of the cuts that stay, of cuts in order of their numbers, each with the time
/// at which it was taken.
///
/// Of an hour and of a day the first cut stays, so that what stays of a day stood for its hour too.
pub(super) fn staying(cuts: &[(u64, Timestamp)]) -> BTreeSet<u64> {
    let Some((newest, now)) = cuts.last().copied() else { return BTreeSet::new() };
    let since = Interval::Hour.bucket(now.plus(-HOURLY));
    let (mut hours, mut days) = (BTreeMap::new(), BTreeMap::new());
    for (number, taken_at) in cuts.iter().copied() {
        if taken_at < since {
            days.entry(Interval::Day.bucket(taken_at)).or_insert(number);
        } else {
            hours.entry(Interval::Hour.bucket(taken_at)).or_insert(number);
        }
    }
    let hourly = hours.into_values().rev().take(CUTS_HOURLY_MAX);
    let daily = days.into_values().rev().take(CUTS_DAILY_MAX);
    hourly.chain(daily).chain([newest]).collect()
}

/// Returns the numbers around each run of cuts that do not stay: of the cut before it, zero when
/// there is none, and of the cut after it.
pub(super) fn runs_between(cuts: &[(u64, Timestamp)], stay: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut runs = Vec::new();
    let (mut before, mut passed) = (0, false);
    for (number, _) in cuts {
        if stay.contains(number) {
            if passed {
                runs.push((before, *number));
            }
            (before, passed) = (*number, false);
        } else {
            passed = true;
        }
    }
    runs
}

#[cfg(test)]
mod tests;
