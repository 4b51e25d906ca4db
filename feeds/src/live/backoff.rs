//! Waits between attempts: longer each time, and never two feeds in step.

use std::time::Duration;

use crate::chance::Chance;
use crate::live::tempo::Tempo;

/// Full jitter: each wait is drawn evenly from zero to a ceiling that doubles up to a cap.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    chance: Chance,
    drawn: u64,
    attempts: u32,
    min: Duration,
    max: Duration,
}

impl Backoff {
    /// `branch` keeps the draws of one purpose apart from those of another.
    pub(super) fn new(seed: u64, branch: u64, tempo: &Tempo) -> Self {
        let chance = Chance::of_seed(seed).at(branch);
        let (min, max) = (tempo.backoff_min, tempo.backoff_max);
        Self { chance, drawn: 0, attempts: 0, min, max }
    }

    /// Returns the next wait.
    pub(super) fn next(&mut self) -> Duration {
        let ceiling = self.min.saturating_mul(2_u32.saturating_pow(self.attempts)).min(self.max);
        self.attempts = self.attempts.saturating_add(1);
        self.drawn += 1;
        ceiling.mul_f64(self.chance.at(self.drawn).unit())
    }

    pub(super) const fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_drawn_below_a_ceiling_that_doubles_up_to_thirty_seconds() {
        let mut backoff = Backoff::new(7, 1, &Tempo::default());
        let waits: Vec<Duration> = (0..1_000).map(|_| backoff.next()).collect();

        for (attempt, wait) in (0_u32..).zip(&waits) {
            let ceiling = 250 * 2_u64.pow(attempt.min(20));
            assert!(*wait <= Duration::from_millis(ceiling.min(30_000)), "{attempt}: {wait:?}");
        }
        let late: Duration = waits[10..].iter().sum();
        assert!((13..17).contains(&(late / 990).as_secs()), "half the cap on average");
    }

    #[test]
    fn a_reset_begins_anew_and_seeds_wait_differently() {
        let tempo = Tempo::default();
        let (mut one, mut other) = (Backoff::new(1, 1, &tempo), Backoff::new(2, 1, &tempo));
        for _ in 0..20 {
            assert_ne!(one.next(), other.next());
        }
        one.reset();

        assert!(one.next() <= Duration::from_millis(250));
    }
}
