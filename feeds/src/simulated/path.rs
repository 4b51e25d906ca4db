//! The middle price over time: a random walk that can be asked at any slot.

use std::f64::consts::FRAC_1_SQRT_2;

use domain::time::DAY;

use crate::chance::Chance;
use crate::simulated::SLOT;

/// Slots between two knots, as a power of two: 48 days. The knots lie near the home price, so that
/// no walk, however long, leaves it for good.
const KNOT_LEVELS: u32 = 24;

/// How far a knot's price lies from home, as a logarithm: up to a third above or a quarter below.
const KNOT_REACH: f64 = 0.3;

/// A Brownian path of the logarithm of the price, by midpoint displacement: from knot to knot,
/// each middle is drawn between its two ends, halving down to one slot. Asking costs 24 draws.
#[derive(Debug, Clone)]
pub(super) struct Path {
    chance: Chance,
    /// The logarithm of the price around which it all happens.
    home: f64,
    /// The deviation of the middle between two knots.
    spread: f64,
}

impl Path {
    /// `volatility` is the deviation of the logarithm over a year of 365 days.
    pub(super) fn new(chance: Chance, home: f64, volatility: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "both lengths are far below 2^52")]
        let knot_years = ((1_i64 << KNOT_LEVELS) * SLOT) as f64 / (365 * DAY) as f64;
        Self { chance, home: home.ln(), spread: volatility * knot_years.sqrt() / 2.0 }
    }

    /// Returns the price at the start of a slot.
    pub(super) fn price(&self, slot: u64) -> f64 {
        let knot = slot >> KNOT_LEVELS;
        let (mut from, mut to) = (self.knot(knot), self.knot(knot + 1));
        let mut spread = self.spread;
        for level in (0..KNOT_LEVELS).rev() {
            let draw = self.chance.at(u64::from(level)).at(slot >> (level + 1));
            let middle = f64::midpoint(from, to) + spread * draw.normal();
            if (slot >> level) & 1 == 0 {
                to = middle;
            } else {
                from = middle;
            }
            spread *= FRAC_1_SQRT_2;
        }
        from.exp()
    }

    fn knot(&self, knot: u64) -> f64 {
        let draw = self.chance.at(u64::from(KNOT_LEVELS)).at(knot);
        self.home + KNOT_REACH * (2.0 * draw.unit() - 1.0)
    }
}
