//! How many digits ticks leave with, where no listing says it.

use std::collections::BTreeMap;

use domain::amount::{PRICE_SCALE_MIN, scale_that_counts};
use domain::instrument::Instrument;
use domain::observation::{Heard, Observation};
use domain::tick::Tick;

/// Per instrument, the most digits that count seen so far. They only grow.
#[derive(Debug, Default)]
pub struct Scales(BTreeMap<Instrument, Scale>);

#[derive(Debug, Clone, Copy)]
struct Scale {
    price: u32,
    quantity: u32,
}

impl Scales {
    /// Brings a tick to its instrument's scales, which it may raise first: zeros are added or
    /// cut, never a digit that counts. Other observations stay as they came.
    pub fn apply(&mut self, observation: &mut Observation) {
        if let Heard::Tick(instrument, tick) = &mut observation.heard {
            *tick = self.raised_by(instrument, tick).bring(*tick);
        }
    }

    fn raised_by(&mut self, instrument: &Instrument, tick: &Tick) -> Scale {
        let first = Scale { price: PRICE_SCALE_MIN, quantity: 0 };
        let scale = self.0.entry(instrument.clone()).or_insert(first);
        scale.price = scale.price.max(scale_that_counts(tick.price.value()));
        scale.quantity = scale.quantity.max(scale_that_counts(tick.quantity.value()));
        *scale
    }
}

impl Scale {
    fn bring(self, tick: Tick) -> Tick {
        let brought = Tick {
            price: tick.price.at_scale(self.price),
            quantity: tick.quantity.at_scale(self.quantity),
            ..tick
        };
        // Zeros are for the eye. Where they would cost exactness, the tick stays as it came.
        if brought.is_exact() { brought } else { tick }
    }
}

#[cfg(test)]
mod tests {
    use domain::tick::Side;
    use domain::time::Timestamp;
    use expect_test::{Expect, expect};

    use super::*;

    /// One tick a line: instrument, price, quantity.
    #[expect(clippy::needless_pass_by_value, reason = "expect![[…]] is written in the call")]
    fn check(ticks: &str, expected: Expect) {
        let mut scales = Scales::default();
        let show = |line: &str| {
            let mut observation = tick(line);
            scales.apply(&mut observation);
            match observation.heard {
                Heard::Tick(of, tick) => format!("{of} {} {}\n", tick.price, tick.quantity),
                other => format!("{other:?}\n"),
            }
        };
        expected.assert_eq(&ticks.lines().map(show).collect::<String>());
    }

    fn tick(line: &str) -> Observation {
        let words: Vec<_> = line.split_whitespace().collect();
        let tick = Tick {
            trade_id: 1,
            price: words[1].parse().unwrap(),
            quantity: words[2].parse().unwrap(),
            taker: Side::Buy,
            traded_at: Timestamp::default(),
            received_at: Timestamp::default(),
        };
        Observation {
            received_at: tick.received_at,
            venue_time: None,
            heard: Heard::Tick(words[0].parse().unwrap(), tick),
        }
    }

    #[test]
    fn ticks_leave_with_the_most_digits_seen_so_far() {
        check(
            "BTC-USDT 61837.63000000 0.02000000\n\
             BTC-USDT 61837.00000000 1.00000000\n\
             BTC-USDT 61837.6 0.00105\n\
             BTC-USDT 61837.605 2\n\
             BTC-USDT 61837.63000000 3.10000000\n\
             SHIB-USDT 0.00001234 1000000\n\
             SHIB-USDT 0.00001300 20.00",
            expect![[r"
                BTC-USDT 61837.63 0.02
                BTC-USDT 61837.00 1.00
                BTC-USDT 61837.60 0.00105
                BTC-USDT 61837.605 2.00000
                BTC-USDT 61837.630 3.10000
                SHIB-USDT 0.00001234 1000000
                SHIB-USDT 0.00001300 20
            "]],
        );
    }

    #[test]
    fn zeros_never_cost_a_tick_its_exactness() {
        check(
            "A-B 0.0000000001 5\n\
             A-B 5.1 0.0000000001",
            expect![[r"
                A-B 0.0000000001 5
                A-B 5.1 0.0000000001
            "]],
        );
    }
}
