//! Prices from little tables of ticks.

use std::fmt::Write;

use expect_test::{Expect, expect};

use eventlog::stream::Log;

use super::*;
use crate::sample::{at, entries};
use crate::views::Views;

fn fold(table: &str) -> Prices {
    let mut prices = Prices::default();
    for entry in entries(table) {
        prices.fold(&entry);
    }
    prices
}

fn check(table: &str, expected: &Expect) {
    let mut drawn = String::new();
    for quote in fold(table).iter() {
        let Quote { venue, instrument, tick, version, volume, quote_volume, day_open, .. } = quote;
        writeln!(
            drawn,
            "{venue} {instrument} #{} {} from version {version}; day {volume} = {quote_volume}, open {day_open}",
            tick.trade_id, tick.price
        )
        .unwrap();
    }
    expected.assert_eq(&drawn);
}

fn btc() -> (Venue, Instrument) {
    ("binance".parse().unwrap(), "BTC-USDT".parse().unwrap())
}

#[test]
fn the_last_price_is_the_last_in_the_venues_order() {
    check(
        "BTC-USDT: 1 09:30 65000.00 0.5 buy; 3 09:30:02 65002.00 1 sell
         BTC-USDT: 2 09:30:01 65001.00 2 buy
         ETH-USDT: 9 09:30:03 3500.5 1 buy
         coinbase.BTC-USDT: 7 09:30 64999 1 buy",
        &expect![[r#"
            binance BTC-USDT #3 65002.00 from version 1; day 3.5 = 227504.000, open 65000.00
            binance ETH-USDT #9 3500.50 from version 3; day 1 = 3500.5, open 3500.50
            coinbase BTC-USDT #7 64999.00 from version 4; day 1 = 64999, open 64999.00
        "#]],
    );
}

#[test]
fn the_rolling_day_keeps_1440_minutes_and_the_live_one() {
    let mut prices = fold("BTC-USDT: 1 00:00:30 10.00 1 buy; 2 00:01:30 20.00 2 buy");
    let (venue, instrument) = btc();
    let day = |prices: &Prices| {
        let quote = prices.get(&venue, &instrument).unwrap();
        format!("{} {} {}", quote.volume, quote.quote_volume, quote.day_open)
    };
    assert_eq!(day(&prices), "3 50.00 10.00");

    let mut later = entries("BTC-USDT: 3 00:00:10 30.00 4 sell").remove(0);
    let mut shift = |prices: &mut Prices, id: u64, days: i64, micros: i64| {
        for event in &mut later.events {
            let Event::Market(MarketEvent::TickObserved(tick)) = event else { continue };
            tick.trade_id = id;
            tick.traded_at = at("00:00:10").plus(days * DAY + micros);
        }
        prices.fold(&later);
    };
    // A day later, to the minute, the first minute is still within; a minute later it is not.
    shift(&mut prices, 3, 1, 0);
    assert_eq!(day(&prices), "7 170.00 10.00");
    shift(&mut prices, 4, 1, MINUTE);
    assert_eq!(day(&prices), "10 280.00 20.00");
    // A trade from before the window is history.
    shift(&mut prices, 0, 0, 0);
    assert_eq!(day(&prices), "10 280.00 20.00");
}

#[test]
fn a_quiet_instruments_day_passes_with_its_venues_clock() {
    let mut prices = fold(
        "SOL-USDT: 1 00:00:30 10.00 1 buy
         SOL-USDT: 2 00:05:30 12.00 1 buy",
    );
    let mut entry = entries("pulse: pulse 00:01").remove(0);
    for event in &mut entry.events {
        let Event::Market(MarketEvent::PulseObserved { venue_time, .. }) = event else { continue };
        *venue_time = venue_time.plus(DAY);
    }
    prices.fold(&entry);

    let quote = prices.get(&"binance".parse().unwrap(), &"SOL-USDT".parse().unwrap()).unwrap();
    assert_eq!(
        (quote.volume.to_string(), quote.day_open.to_string()),
        ("1".into(), "12.00".into())
    );
}

#[test]
fn age_is_told_by_our_clock_however_the_venues_is_set() {
    let quote = fold("BTC-USDT: 1 09:30 65000.00 0.5 buy").get(&btc().0, &btc().1).unwrap();

    // The venue's clock is a second ahead of ours, so the trade happened at 09:29:59.
    assert_eq!(quote.age(at("09:29:59")), 0);
    assert_eq!(quote.age(at("09:30:01")), 2 * SECOND);
    assert_eq!(quote.age(at("09:00")), 0);
}

#[test]
fn trades_that_were_fetched_late_do_not_make_a_price_younger() {
    let mut prices = fold("BTC-USDT: 900 09:30 65000.00 0.5 buy");
    for id in 1..900 {
        let mut entry = entries(&format!("BTC-USDT: {id} 07:30 64000.00 0.5 buy")).remove(0);
        for event in &mut entry.events {
            let Event::Market(MarketEvent::TickObserved(tick)) = event else { panic!() };
            tick.received_at = at("09:30:10");
        }
        prices.fold(&entry);
    }

    let quote = prices.get(&btc().0, &btc().1).unwrap();
    assert_eq!(quote.age(at("09:40")), 10 * MINUTE + SECOND);
}

#[test]
fn a_price_is_fresh_then_stale_then_no_answer() {
    let quote = fold("BTC-USDT: 1 09:30 65000.00 0.5 buy").get(&btc().0, &btc().1).unwrap();
    let after = |seconds: i64| quote.freshness(at("09:29:59").plus(seconds * SECOND));

    assert_eq!(
        [60, 61, 600, 601].map(after),
        [Freshness::Fresh, Freshness::Stale, Freshness::Stale, Freshness::Lost]
    );
}

#[test]
fn a_price_stays_fresh_while_its_synced_book_is() {
    let quote = |after: &str| {
        let views = Views::new(Vec::new());
        let table = format!("BTC-USDT: 1 09:30 65000.00 0.5 buy\n{after}");
        views.fold(Log::Market, &entries(&table));
        views.quote(&btc().1).unwrap()
    };
    let told = "BTC-USDT: book 10 09:50 100x1 101x1";
    // All clocks of the venue are a second ahead of ours; the trade is twenty minutes old.
    let fresh = |after: &str, time| quote(after).freshness(at(time));

    assert_eq!(quote(told).book_told_at, Some(at("09:49:59")));
    assert_eq!(quote(told).age(at("09:50")), 20 * MINUTE + SECOND);
    assert_eq!(fresh("", "09:50:04"), Freshness::Lost);
    assert_eq!(fresh(told, "09:50:04"), Freshness::Fresh);
    assert_eq!(fresh(told, "09:50:05"), Freshness::Stale);
    assert_eq!(fresh(told, "09:50:50"), Freshness::Lost);
    assert_eq!(fresh(&format!("{told}; lost 09:50:01"), "09:50:04"), Freshness::Lost);
    assert_eq!(fresh("coinbase.BTC-USDT: book 10 09:50 100x1 101x1", "09:50:04"), Freshness::Lost);
    // A fresh trade is fresh whatever became of the book.
    assert_eq!(fresh(&format!("{told}; lost 09:50:01"), "09:30:59"), Freshness::Fresh);
}

#[test]
fn a_book_that_is_told_lets_the_day_pass() {
    let mut prices = fold("SOL-USDT: 1 00:00:30 10.00 1 buy; 2 00:05:30 12.00 1 buy");
    let mut entry = entries("BTC-USDT: book 10 00:01 100x1 101x1").remove(0);
    for event in &mut entry.events {
        let Event::Market(MarketEvent::BookSnapshotObserved { told, .. }) = event else { panic!() };
        told.venue_time = told.venue_time.plus(DAY);
    }
    prices.fold(&entry);

    let quote = prices.get(&"binance".parse().unwrap(), &"SOL-USDT".parse().unwrap()).unwrap();
    assert_eq!(
        (quote.volume.to_string(), quote.day_open.to_string()),
        ("1".into(), "12.00".into())
    );
}

#[test]
fn an_instrument_that_trades_seldom_stays_fresh_for_ten_of_its_pauses() {
    let trades = |count: i64| {
        let line = |n| format!("BTC-USDT: {n} 09:{:02} 65000.00 0.5 buy\n", 3 * n);
        fold(&(0..count).map(line).collect::<String>()).get(&btc().0, &btc().1).unwrap()
    };

    // Three minutes between trades, the ninth at 09:24; our clock is a second behind.
    assert_eq!(trades(9).freshness(at("09:53:59")), Freshness::Fresh);
    assert_eq!(trades(9).freshness(at("09:54")), Freshness::Stale);
    // Seven pauses are too few to go by.
    assert_eq!(trades(8).freshness(at("09:21:59")), Freshness::Fresh);
    assert_eq!(trades(8).freshness(at("09:22")), Freshness::Stale);
}

#[test]
fn scales_grow_and_prices_are_shown_at_them() {
    check(
        "BTC-USDT: 1 09:30 65000 1 buy; 2 09:31 65000.1250 0.50 buy; 3 09:32 65001 2 buy",
        &expect![[r#"
            binance BTC-USDT #3 65001.000 from version 1; day 3.50 = 227502.062500, open 65000.000
        "#]],
    );
}
