//! The times of which it is not known what was traded in each bucket of an interval.

use domain::amount::Price;
use domain::candle::Interval;
use domain::time::Timestamp;

use super::sight::Sight;

pub(super) struct Unknown<'a> {
    sight: Sight<'a>,
    interval: Interval,
    /// Gaps, joined where they overlap, in order.
    gaps: Vec<(Timestamp, Timestamp)>,
}

impl<'a> Unknown<'a> {
    /// Takes the gaps that touch `from..until`.
    pub(super) fn of(
        sight: Sight<'a>,
        interval: Interval,
        from: Timestamp,
        until: Timestamp,
    ) -> Self {
        let gaps = sight.held.gaps(from, until);
        let mut gaps: Vec<_> = gaps.map(|gap| (gap.after, gap.before)).collect();
        gaps.sort_unstable();
        let mut spans: Vec<(Timestamp, Timestamp)> = Vec::new();
        for (after, before) in gaps {
            match spans.last_mut() {
                Some(last) if after <= last.1 => last.1 = last.1.max(before),
                _ => spans.push((after, before)),
            }
        }
        Self { sight, interval, gaps: spans }
    }

    /// Returns the span that touches a bucket without a candle; of gaps the last, when there are
    /// several.
    pub(super) fn touching(&self, bucket: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let place = self.gaps.partition_point(|(after, _)| *after < self.interval.end(bucket));
        let gap = place.checked_sub(1).and_then(|place| self.gaps.get(place)).copied();
        gap.filter(|(_, before)| *before > bucket).or_else(|| self.coarse(bucket))
    }

    /// Returns the last price before a bucket: of its own interval, or of a later bar of a coarser
    /// one.
    pub(super) fn close_before(&self, bucket: Timestamp) -> Option<Price> {
        let mut last = self.sight.before(self.interval, bucket);
        for coarser in Interval::ALL.into_iter().filter(|coarser| *coarser > self.interval) {
            let bar = self.sight.before(coarser, coarser.bucket(bucket));
            if bar.map(|bar| bar.opened_at) > last.map(|last| last.opened_at) {
                last = bar;
            }
        }
        last.map(|last| last.close)
    }

    /// Returns the coarser bucket around this one of which only the venue's bar is known: something
    /// was traded in it, but not when.
    fn coarse(&self, bucket: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let steps = Interval::ALL.into_iter().zip(Interval::ALL.into_iter().skip(1));
        steps.filter(|(finer, _)| *finer >= self.interval).find_map(|(finer, coarser)| {
            let span = (coarser.bucket(bucket), coarser.end(coarser.bucket(bucket)));
            let bar = self.sight.range(coarser, span.0, span.1).next()?;
            let unknown =
                bar.trades > 0 && self.sight.range(finer, span.0, span.1).next().is_none();
            unknown.then_some(span)
        })
    }
}
