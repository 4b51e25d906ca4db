//! Which silence means what.
//!
//! | silent | for | then |
//! |---|---|---|
//! | the diffs of a book | 5 s | the book is lost as `silent`; the next diff brings it back, whole when nothing was missed, else by a snapshot |
//! | a whole socket, pings left aside | 10 × its median pause, 10 s to 60 s | it is given up and another is opened |
//! | all of one instrument while others are told | 10 × its median pause, 60 s or more | a successor socket is opened beside the old one: a stream may have been forgotten, and nothing is lost if it was not |
//! | trades alone | any time | nothing: a market may rest, and the age of its price is shown at the door |
//!
//! Until eight pauses are known the longest threshold holds, so that a quiet market is not called
//! a broken one.

use std::time::Duration;

use domain::median::Median;
use tokio::time::Instant;

const PAUSES: usize = 101;
const PAUSES_MIN: usize = 8;

/// When something was last heard, and how long it usually rests.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    last: Option<Instant>,
    pauses: Median<PAUSES>,
}

impl Quiet {
    pub(super) fn hear(&mut self, at: Instant) {
        if let Some(last) = self.last {
            let micros = at.saturating_duration_since(last).as_micros();
            self.pauses.push(i64::try_from(micros).unwrap_or(i64::MAX));
        }
        self.last = Some(at);
    }

    /// Starts the wait anew, without a pause having ended.
    pub(super) fn rest(&mut self, at: Instant) {
        self.last = Some(at);
    }

    /// Returns how long nothing was heard.
    pub(super) fn since(&self, at: Instant) -> Duration {
        self.last.map_or(Duration::ZERO, |last| at.saturating_duration_since(last))
    }

    /// Whether the silence is longer than ten usual pauses, held between `min` and `max`.
    pub(super) fn is_past(&self, at: Instant, min: Duration, max: Duration) -> bool {
        let threshold = match self.pauses.get() {
            Some(pause) if self.pauses.samples() >= PAUSES_MIN => {
                let usual = Duration::from_micros(pause.unsigned_abs());
                usual.saturating_mul(10).clamp(min, max)
            }
            _ => max,
        };
        self.since(at) >= threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_secs(10);
    const MAX: Duration = Duration::from_mins(1);

    fn heard(pauses_ms: &[u64]) -> (Quiet, Instant) {
        let mut at = Instant::now();
        let mut quiet = Quiet::default();
        quiet.hear(at);
        for pause in pauses_ms {
            at += Duration::from_millis(*pause);
            quiet.hear(at);
        }
        (quiet, at)
    }

    #[test]
    fn a_lively_stream_is_missed_soon_and_a_quiet_one_late() {
        for (pause_ms, seconds) in [(100, 10), (2_000, 20), (10_000, 60)] {
            let (quiet, at) = heard(&[pause_ms; 20]);
            let past = |seconds| quiet.is_past(at + Duration::from_secs(seconds), MIN, MAX);

            assert!(!past(seconds - 1) && past(seconds), "{pause_ms}");
        }
    }

    #[test]
    fn before_its_pauses_are_known_nothing_is_called_silent_early() {
        let (quiet, at) = heard(&[100; 3]);

        assert!(!quiet.is_past(at + Duration::from_secs(59), MIN, MAX));
        assert!(quiet.is_past(at + MAX, MIN, MAX));
        assert!(!Quiet::default().is_past(at, MIN, MAX));
    }
}
