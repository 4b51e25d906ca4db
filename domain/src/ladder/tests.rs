//! Candles do not depend on the order in which trades come; corrections count.

use proptest::prelude::*;

use super::*;
use crate::candle::Source;
use crate::tick::Side;
use crate::time::SECOND;

mod sources;

mod forgetting;

mod gaps;

mod laws;

fn tick(trade_id: u64, second: i64, price: i64, quantity: i64, taker: Side) -> Tick {
    let at = Timestamp::from_micros(second * SECOND);
    Tick {
        trade_id,
        price: crate::amount::Price::of_units(price, 2).unwrap(),
        quantity: crate::amount::Quantity::of_units(quantity, 3).unwrap(),
        taker,
        traded_at: at,
        received_at: at,
    }
}

fn buy(trade_id: u64, second: i64, price: i64) -> Tick {
    tick(trade_id, second, price, 1_000, Side::Buy)
}

fn fold(ladder: &mut Ladder, clock: i64, ticks: &[Tick]) {
    for tick in ticks {
        ladder.take(tick);
    }
    ladder.roll(Timestamp::from_micros(clock * SECOND));
}

fn revisions(ladder: &Ladder) -> [u32; 5] {
    Interval::ALL.map(|interval| ladder.first(interval).unwrap().revision)
}

#[test]
fn a_late_trade_revises_each_candle_that_had_closed_and_no_other() {
    let mut ladder = Ladder::default();
    fold(&mut ladder, 0, &[buy(1, 10, 100), buy(2, 70, 110)]);
    assert_eq!(revisions(&ladder), [0; 5]);

    // At 01:02 the first minute is closed, at 05:02 the first five.
    fold(&mut ladder, 61, &[buy(3, 20, 120)]);
    assert_eq!(revisions(&ladder), [0; 5]);
    fold(&mut ladder, 62, &[buy(4, 21, 130)]);
    assert_eq!(revisions(&ladder), [1, 0, 0, 0, 0]);
    fold(&mut ladder, 302, &[buy(5, 22, 90), buy(6, 23, 95)]);
    assert_eq!(revisions(&ladder), [2, 1, 0, 0, 0]);

    let day = ladder.first(Interval::Day).unwrap();
    assert_eq!(
        (day.trades, day.high.to_string(), day.low.to_string()),
        (6, "1.30".into(), "0.90".into())
    );
    assert_eq!((day.open.to_string(), day.close.to_string()), ("1.00".into(), "1.10".into()));
}

#[test]
fn a_minute_that_is_held_is_small() {
    // An instrument holds 46,080 of them while all is recorded in time: 9 MB.
    assert_eq!(size_of::<Held>(), 192);
}

#[test]
fn what_changed_is_told_finest_first() {
    let mut ladder = Ladder::default();
    ladder.take(&buy(1, 10, 100));
    ladder.take(&buy(2, 70, 100));

    let changed: Vec<String> = ladder
        .roll(Timestamp::MIN)
        .into_iter()
        .map(|(interval, bucket)| format!("{interval} {}", bucket.micros() / SECOND))
        .collect();

    assert_eq!(changed, ["1m 0", "1m 60", "5m 0", "1h 0", "4h 0", "1d 0"]);
}

#[test]
fn a_filled_candle_leaves_no_mark_on_the_coarser_one() {
    let filled = Candle::filled(Timestamp::from_micros(0), buy(1, 0, 100).price);
    let traded = Candle::of(&buy(1, 70, 120), Interval::Minute);

    let whole = Candle::rollup(Interval::FiveMinutes, [&filled, &traded]).unwrap();

    assert_eq!((whole.trades, whole.source), (1, Source::Built));
    assert_eq!((whole.first, whole.last), (traded.first, traded.last));
    assert_eq!((whole.open, whole.close), (filled.open, traded.close));
}

#[test]
fn a_coarser_candle_knows_its_ends_when_its_ends_are_known() {
    let built = |second| Candle::of(&buy(1, second, 100), Interval::Minute);
    let native = |second| Candle {
        source: Source::Native,
        first: None,
        last: None,
        trades: 5,
        ..built(second)
    };
    let ends = |parts: [&Candle; 2]| {
        let whole = Candle::rollup(Interval::FiveMinutes, parts).unwrap();
        (whole.source, whole.first.is_some(), whole.last.is_some())
    };

    assert_eq!(ends([&native(0), &built(60)]), (Source::Native, false, true));
    assert_eq!(ends([&built(0), &native(60)]), (Source::Native, true, false));
}

#[test]
fn a_bar_that_cannot_be_a_candle_is_not_sound() {
    let candle = Candle::of(&buy(1, 60, 100), Interval::Minute);
    assert!(candle.is_sound(Interval::Minute));

    assert!(!candle.is_sound(Interval::FiveMinutes));
    for unsound in [
        Candle { opened_at: candle.opened_at.plus(1), ..candle.clone() },
        Candle { high: "0.99".parse().unwrap(), ..candle.clone() },
        Candle { close: "1.01".parse().unwrap(), ..candle.clone() },
        Candle { volume: "-1".parse().unwrap(), ..candle.clone() },
        Candle { taker_buy: "1.001".parse().unwrap(), ..candle.clone() },
        Candle { quote_volume: "-1".parse().unwrap(), ..candle.clone() },
    ] {
        assert!(!unsound.is_sound(Interval::Minute), "{unsound:?}");
    }
}

fn ticks() -> impl Strategy<Value = Vec<Tick>> {
    prop::collection::vec((0i64..100_000, 1i64..500, 1i64..9_999, any::<bool>()), 1..60).prop_map(
        |ticks| {
            (1..)
                .zip(ticks)
                .map(|(id, (second, price, quantity, buys))| {
                    tick(id, second, price, quantity, if buys { Side::Buy } else { Side::Sell })
                })
                .collect()
        },
    )
}

proptest! {
    /// Each candle equals the one made straight from its trades in the venue's order.
    #[test]
    fn a_candle_depends_on_its_trades_alone(
        ticks in ticks(),
        order in Just((0..60).collect::<Vec<usize>>()).prop_shuffle(),
        batch in 1usize..10,
    ) {
        let arrivals: Vec<Tick> = order.iter().filter_map(|place| ticks.get(*place)).copied().collect();
        let mut ladder = Ladder::default();
        for batch in arrivals.chunks(batch) {
            fold(&mut ladder, 0, batch);
        }

        let mut sorted = ticks;
        sorted.sort_by_key(|tick| (tick.traded_at, tick.trade_id));
        for interval in Interval::ALL {
            let mut direct: Vec<Candle> = Vec::new();
            for tick in &sorted {
                match direct.last_mut() {
                    Some(last) if last.opened_at == interval.bucket(tick.traded_at) => last.take(tick),
                    _ => direct.push(Candle::of(tick, interval)),
                }
            }
            let held: Vec<Candle> = ladder
                .range(interval, Timestamp::MIN, Timestamp::MAX)
                .map(|candle| Candle { revision: 0, ..candle.clone() })
                .collect();
            prop_assert_eq!(held, direct);
        }
    }
}
