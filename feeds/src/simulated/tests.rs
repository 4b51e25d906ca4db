//! The simulated market keeps its promises: one market, whole ids, a true book, a fair price.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use domain::amount::Price;
use domain::book::Level;
use domain::observation::Heard;
use domain::tick::Side;
use expect_test::expect_file;
use rust_decimal::Decimal;
use tokio::sync::mpsc;

use super::*;
use crate::samples::{show, write_line};

/// 2024-03-21T09:30:00Z.
const MORNING: Timestamp = Timestamp::from_micros(1_711_013_400 * SECOND);

#[derive(Default, Debug, PartialEq, Eq)]
struct Sides {
    bids: BTreeMap<Price, Decimal>,
    asks: BTreeMap<Price, Decimal>,
}

fn apply(side: &mut BTreeMap<Price, Decimal>, levels: &[Level]) {
    for level in levels {
        if level.quantity.is_zero() {
            assert!(side.remove(&level.price).is_some(), "a level is removed that was not there");
        } else {
            side.insert(level.price, level.quantity);
        }
    }
}

fn books(exchange: &Exchange, slot: u64) -> BTreeMap<Instrument, Sides> {
    let mut books: BTreeMap<Instrument, Sides> = BTreeMap::new();
    for observation in exchange.snapshots(slot) {
        let Heard::Snapshot(instrument, snapshot) = observation.heard else { panic!() };
        assert_eq!((snapshot.update_id, snapshot.bids.len(), snapshot.asks.len()), (slot, 60, 60));
        let sides = books.entry(instrument).or_default();
        apply(&mut sides.bids, &snapshot.bids);
        apply(&mut sides.asks, &snapshot.asks);
    }
    books
}

#[test]
fn diffs_lead_from_each_book_to_the_next_and_no_book_is_crossed() {
    let exchange = Exchange::new(7);
    let first = slot_at(MORNING);
    let mut kept = books(&exchange, first - 1);
    for slot in first..first + 400 {
        for observation in exchange.slot(slot) {
            if let Heard::Diff(instrument, diff) = observation.heard {
                assert_eq!(
                    (diff.previous_id, diff.first_id, diff.last_id),
                    (Some(slot - 1), slot, slot)
                );
                let sides = kept.get_mut(&instrument).unwrap();
                apply(&mut sides.bids, &diff.bids);
                apply(&mut sides.asks, &diff.asks);
                assert!(sides.bids.last_key_value() < sides.asks.first_key_value());
            } else if let Heard::Top(instrument, top) = observation.heard {
                let sides = &kept[&instrument];
                assert_eq!(sides.bids.last_key_value(), Some((&top.bid.price, &top.bid.quantity)));
                assert_eq!(sides.asks.first_key_value(), Some((&top.ask.price, &top.ask.quantity)));
                assert!(top.bid.price < top.ask.price);
            }
        }
        assert_eq!(kept, books(&exchange, slot));
    }
}

#[test]
fn trade_ids_have_no_holes_and_trades_lie_in_their_slot_at_the_best_price() {
    let exchange = Exchange::new(7);
    let first = slot_at(MORNING);
    let mut last: BTreeMap<Instrument, u64> = BTreeMap::new();
    let mut previous: BTreeMap<Instrument, Timestamp> = BTreeMap::new();
    for slot in first..first + 4_000 {
        let heard = exchange.slot(slot);
        for observation in &heard {
            assert_eq!(observation.received_at, start_of(slot + 1));
            let Heard::Tick(instrument, tick) = &observation.heard else { continue };
            let best = heard.iter().find_map(|other| match &other.heard {
                Heard::Top(of, top) if of == instrument => Some(match tick.taker {
                    Side::Buy => top.ask,
                    Side::Sell => top.bid,
                }),
                _ => None,
            });
            let best = best.unwrap();
            assert!(tick.is_exact());
            assert!(tick.price == best.price && tick.quantity.value() <= best.quantity);
            assert!((start_of(slot)..start_of(slot + 1)).contains(&tick.traded_at));
            let before = previous.insert(instrument.clone(), tick.traded_at);
            assert!(before.is_none_or(|before| before <= tick.traded_at));
            let before = last.insert(instrument.clone(), tick.trade_id);
            assert!(before.is_none_or(|before| before + 1 == tick.trade_id));
        }
    }
    assert_eq!(last.len(), 3);
}

/// Runs the feed over a clock that jumps to each slot's end, and returns `count` observations.
async fn run_from(seed: u64, start: Timestamp, count: usize) -> Vec<Observation> {
    let micros = AtomicI64::new(start.micros());
    let now = move || Timestamp::from_micros(micros.fetch_add(SLOT, Ordering::Relaxed));
    let (out, mut queue) = mpsc::channel(8);
    let counts = Arc::new(Counts::default());
    let hearing = async move {
        let mut heard = Vec::new();
        while heard.len() < count {
            heard.push(queue.recv().await.unwrap());
        }
        heard
    };
    let (heard, ()) = tokio::join!(hearing, run(seed, &now, out, counts));
    heard
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_with_the_same_market() {
    let without_snapshots = |heard: Vec<Observation>| -> Vec<_> {
        let later = heard.into_iter().filter(|told| !matches!(told.heard, Heard::Snapshot(..)));
        later.collect()
    };
    let early = without_snapshots(run_from(7, MORNING, 4_000).await);
    let late = without_snapshots(run_from(7, MORNING.plus(20 * SECOND + 100_000), 1_000).await);
    let start = early.iter().position(|told| *told == late[0]).unwrap();

    assert!(start > 500);
    assert_eq!(early[start..start + late.len()], late[..]);
    assert_eq!(run_from(7, MORNING, 500).await, run_from(7, MORNING, 500).await);
    assert_ne!(run_from(7, MORNING, 500).await, run_from(8, MORNING, 500).await);
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_told_when_it_has_passed() {
    let began = tokio::time::Instant::now();
    let now = move || MORNING.plus(100_000 + i64::try_from(began.elapsed().as_micros()).unwrap());
    let (out, mut queue) = mpsc::channel(1_000);
    let feed = run(7, &now, out, Arc::default());
    let hearing = async {
        for _ in 0..3 {
            assert!(matches!(queue.recv().await.unwrap().heard, Heard::Snapshot(..)));
        }
        assert_eq!(began.elapsed().as_millis(), 0);
        queue.recv().await.unwrap();
        assert!((150..=152).contains(&began.elapsed().as_millis()));
    };
    tokio::select! {
        () = feed => panic!("the feed ended"),
        () = hearing => {}
    }
}

#[test]
fn a_day_moves_as_much_as_its_volatility_says() {
    for seed in 1..=5 {
        for market in &Exchange::new(seed).markets {
            let first = slot_at(MORNING);
            let minutes: Vec<f64> =
                (0..=1_440).map(|minute| market.path.price(first + minute * 240).ln()).collect();
            let squares: f64 = minutes.windows(2).map(|pair| (pair[1] - pair[0]).powi(2)).sum();
            let year = (squares / 1_440.0 * 365.0 * 1_440.0).sqrt();
            let ratio = year / market.listing.volatility;
            assert!((1.0 / 1.5..1.5).contains(&ratio), "seed {seed}: {ratio}");
        }
    }
}

#[test]
fn prices_stay_around_home_for_decades() {
    for market in &Exchange::new(3).markets {
        let home = market.path.price(0);
        for day in 0..365 * 50 {
            let price = market.path.price(day * 345_600);
            assert!((home / 8.0..home * 8.0).contains(&price), "day {day}: {price}");
        }
    }
}

#[test]
fn instants_before_the_epoch_see_the_first_slot() {
    assert_eq!(slot_at(Timestamp::MIN), 1);
    assert_eq!(start_of(slot_at(MORNING)), MORNING);
    assert_eq!(slot_at(MORNING.plus(-1)) + 1, slot_at(MORNING));
}

/// An hour, to be timed: `cargo test -p feeds --release an_hour -- --nocapture`.
#[test]
fn an_hour_has_four_trades_a_second_of_each_instrument() {
    let exchange = Exchange::new(1);
    let first = slot_at(MORNING);
    let hour = (first..first + 4 * 3_600).flat_map(|slot| exchange.slot(slot));

    let ticks = hour.filter(|told| matches!(told.heard, Heard::Tick(..))).count();

    assert_eq!(ticks, 3 * 4 * 3_600);
}

#[test]
fn the_sample_recording_is_this_market_in_the_words_of_binance() {
    let exchange = Exchange::new(1);
    let btc: Instrument = "BTC-USDT".parse().unwrap();
    let of_btc = |told: &Observation| show(told).contains(btc.as_str());
    let first = slot_at(MORNING);
    let mut text = String::new();
    for slot in first..first + 100 {
        for observation in exchange.slot(slot).into_iter().filter(of_btc) {
            write_line(&observation, &mut text);
        }
        if slot == first + 2 {
            // Of the slot before: the answer was on its way while a diff came in.
            for mut snapshot in exchange.snapshots(slot - 1).into_iter().filter(of_btc) {
                snapshot.received_at = start_of(slot + 1);
                write_line(&snapshot, &mut text);
            }
        }
    }
    expect_file!["../../samples/simulated_btcusdt.rec"].assert_eq(&text);
}
