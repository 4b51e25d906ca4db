//! How many digits prices and quantities leave with.

use std::collections::BTreeMap;

use domain::amount::{self, PRICE_SCALE_MIN, scale_that_counts};
use domain::book::Level;
use domain::instrument::Instrument;
use domain::observation::{Heard, Listing, Observation};
use domain::tick::Tick;
use rust_decimal::Decimal;

/// Per instrument, the digits of its listing, or the most that count seen so far where there is no
/// listing or it says less. From there they only grow.
#[derive(Debug, Default, Clone)]
pub struct Scales(BTreeMap<Instrument, Scale>);

#[derive(Debug, Clone, Copy)]
struct Scale {
    price: u32,
    quantity: u32,
}

impl Scales {
    /// Takes in how the venue lists an instrument.
    pub fn list(&mut self, instrument: &Instrument, listing: &Listing) {
        let scale = Scale { price: listing.price_scale, quantity: listing.quantity_scale };
        self.0.insert(instrument.clone(), scale);
    }

    /// Brings what is told to its instrument's scales, which it may raise first: zeros are added
    /// or cut, never a digit that counts. A level of zero stays the bare zero that it came as.
    pub fn apply(&mut self, observation: &mut Observation) {
        match &mut observation.heard {
            Heard::Tick(instrument, tick) => {
                let scale = self.of(instrument);
                scale.raise(tick.price.value(), tick.quantity.value());
                *tick = scale.bring(*tick);
            }
            Heard::Top(instrument, top) => {
                let scale = self.of(instrument);
                scale.bring_levels([&mut top.bid, &mut top.ask]);
            }
            Heard::Snapshot(instrument, book) => {
                let scale = self.of(instrument);
                scale.bring_levels(book.bids.iter_mut().chain(&mut book.asks));
            }
            Heard::Diff(instrument, diff) => {
                let scale = self.of(instrument);
                scale.bring_levels(diff.bids.iter_mut().chain(&mut diff.asks));
            }
            Heard::BookLost(..)
            | Heard::Candles(..)
            | Heard::TradesGone(..)
            | Heard::Listed(..)
            | Heard::Link(..)
            | Heard::Beat => {}
        }
    }

    fn of(&mut self, instrument: &Instrument) -> &mut Scale {
        // Looked up first: a key is cloned once an instrument, not once a message.
        if !self.0.contains_key(instrument) {
            self.0.insert(instrument.clone(), Scale { price: PRICE_SCALE_MIN, quantity: 0 });
        }
        self.0.get_mut(instrument).expect("it was put there just now")
    }
}

impl Scale {
    fn raise(&mut self, price: Decimal, quantity: Decimal) {
        self.price = self.price.max(scale_that_counts(price));
        self.quantity = self.quantity.max(scale_that_counts(quantity));
    }

    fn bring_levels<'a>(&mut self, levels: impl IntoIterator<Item = &'a mut Level>) {
        for level in levels {
            self.raise(level.price.value(), level.quantity);
            level.price = level.price.at_scale(self.price);
            if !level.quantity.is_zero() {
                level.quantity = amount::at_scale(level.quantity, self.quantity);
            }
        }
    }

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
    use domain::book::BookDiff;
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
    fn a_listing_says_the_digits_and_none_that_counts_is_lost() {
        let mut scales = Scales::default();
        let of: Instrument = "BTC-USDT".parse().unwrap();
        let listing =
            Listing { price_scale: 1, quantity_scale: 3, quantity_min: None, trading: true };
        scales.list(&of, &listing);
        let level = |price: &str, quantity: &str| Level {
            price: price.parse().unwrap(),
            quantity: quantity.parse().unwrap(),
        };
        let mut show = |bids: Vec<Level>| {
            let diff = BookDiff { first_id: 1, last_id: 1, previous_id: None, bids, asks: vec![] };
            let heard = Heard::Diff(of.clone(), diff);
            let (received_at, venue_time) = (Timestamp::default(), None);
            let mut told = Observation { received_at, venue_time, heard };
            scales.apply(&mut told);
            let Heard::Diff(_, diff) = told.heard else { panic!() };
            let level = |level: &Level| format!("{}×{}", level.price, level.quantity);
            diff.bids.iter().map(level).collect::<Vec<_>>().join(" ")
        };

        assert_eq!(show(vec![level("9.00000", "1.50000"), level("8", "0")]), "9.0×1.500 8.0×0");
        assert_eq!(show(vec![level("9.25", "1")]), "9.25×1.000");
        assert_eq!(show(vec![level("9.5", "1.0001")]), "9.50×1.0001");
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
