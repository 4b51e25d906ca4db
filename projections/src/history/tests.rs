//! Ranges of candles, drawn one a line: time, open, high, low, close, trades, marks.

use std::fmt::Write;

use domain::candle::Source;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::candles::Candles;
use crate::sample::{at, entries};
use crate::view::View;

/// Trades in 09:30, 09:31, 09:34 and 09:40; nothing is known between trades 3 and 9.
const DAY: &str = "BTC-USDT: 1 09:30:10 10 1 buy; 2 09:31:20 12 1 sell; 3 09:34:05 11 2 buy
                   BTC-USDT: 9 09:40:30 20 1 buy; 10 09:40:40 19 1 buy
                   BTC-USDT: gap 4-8 09:34:05 09:40:30";

fn folded(table: &str) -> Candles {
    let mut candles = Candles::default();
    for entry in entries(table) {
        candles.fold(&entry);
    }
    candles
}

fn answer(table: &str, query: Query) -> Page {
    let candles = folded(table);
    query.answer(candles.get(&"binance".parse().unwrap(), &"BTC-USDT".parse().unwrap()).unwrap())
}

fn draw(page: &Page) -> String {
    let mut drawn = String::new();
    for Shown { candle, closed } in &page.candles {
        let time = &candle.opened_at.to_shortest()[11..16];
        let fill = match candle.source {
            Source::Native => " native",
            Source::Built => "",
            Source::Filled => " filled",
        };
        let open = if *closed { "" } else { " open" };
        let Candle { open: first, high, low, close, trades, .. } = candle;
        writeln!(drawn, "{time} {first} {high} {low} {close} {trades}{fill}{open}").unwrap();
    }
    for gap in &page.gaps {
        writeln!(drawn, "gap {}-{}", gap.first_id, gap.last_id).unwrap();
    }
    if let Some(next) = page.next {
        let (Cursor::From(bucket) | Cursor::UpTo(bucket)) = next;
        let kind = if matches!(next, Cursor::From(_)) { "from" } else { "up to" };
        writeln!(drawn, "next {kind} {}", &bucket.to_shortest()[11..16]).unwrap();
    }
    drawn
}

fn minutes(start: Option<&str>, end: Option<&str>, limit: usize) -> Query {
    Query { interval: Interval::Minute, start: start.map(at), end: end.map(at), limit, fill: true }
}

fn check(query: Query, expected: &Expect) {
    expected.assert_eq(&draw(&answer(DAY, query)));
}

#[test]
fn empty_minutes_are_flat_but_never_across_a_gap() {
    check(
        minutes(None, None, 500),
        &expect![[r#"
            09:30 10 10 10 10 1
            09:31 12 12 12 12 1
            09:32 12 12 12 12 0 filled
            09:33 12 12 12 12 0 filled
            09:34 11 11 11 11 1
            09:40 20 20 19 19 2 open
            gap 4-8
        "#]],
    );
}

#[test]
fn without_fill_only_what_was_traded_stands() {
    check(
        Query { fill: false, ..minutes(None, Some("09:34"), 500) },
        &expect![[r#"
            09:30 10 10 10 10 1
            09:31 12 12 12 12 1
            09:34 11 11 11 11 1
            gap 4-8
        "#]],
    );
}

#[test]
fn both_ends_are_inclusive_and_a_start_within_a_bucket_means_the_next() {
    check(
        minutes(Some("09:31"), Some("09:33"), 500),
        &expect![[r#"
            09:31 12 12 12 12 1
            09:32 12 12 12 12 0 filled
            09:33 12 12 12 12 0 filled
        "#]],
    );
    check(
        minutes(Some("09:30:01"), Some("09:31:59"), 500),
        &expect![[r#"
            09:31 12 12 12 12 1
        "#]],
    );
}

#[test]
fn a_start_gives_the_oldest_and_pages_on() {
    check(
        minutes(Some("09:00"), None, 2),
        &expect![[r#"
            09:30 10 10 10 10 1
            09:31 12 12 12 12 1
            next from 09:32
        "#]],
    );
}

#[test]
fn an_end_alone_gives_the_newest_and_pages_back() {
    check(
        minutes(None, Some("09:33"), 2),
        &expect![[r#"
            09:32 12 12 12 12 0 filled
            09:33 12 12 12 12 0 filled
            next up to 09:31
        "#]],
    );
}

#[test]
fn a_coarser_interval_is_answered_by_the_same_rules() {
    check(
        Query { interval: Interval::FiveMinutes, ..minutes(None, None, 500) },
        &expect![[r#"
            09:30 10 12 10 11 3
            09:40 20 20 19 19 2 open
            gap 4-8
        "#]],
    );
}

#[test]
fn a_range_outside_of_what_is_known_is_empty() {
    check(minutes(Some("10:00"), None, 500), &expect![[""]]);
    check(minutes(None, Some("09:00"), 500), &expect![[""]]);
}

#[test]
fn a_long_gap_is_leapt_over_in_both_directions_and_trades_within_it_are_not() {
    // A minute's trades every four hours of a day in which nothing else is known.
    let lines = [
        "1 00:00:10 10 1 buy; 100 04:00:10 11 1 buy; 200 08:00:10 12 1 buy",
        "gap 2-99 00:00:10 04:00:10; gap 101-199 04:00:10 08:00:10; gap 110-120 05:00 06:00",
    ];
    let table = format!("BTC-USDT: {}\nBTC-USDT: {}", lines[0], lines[1]);
    let times = |page: &Page| -> Vec<String> {
        page.candles
            .iter()
            .map(|shown| shown.candle.opened_at.to_shortest()[11..16].into())
            .collect()
    };

    let newest = answer(&table, minutes(None, None, 500));
    assert_eq!(times(&newest), ["00:00", "04:00", "08:00"]);
    assert_eq!(newest.gaps.len(), 3);
    let oldest = answer(&table, minutes(Some("00:01"), None, 1));
    assert_eq!(times(&oldest), ["04:00"]);
    assert_eq!(oldest.next, Some(Cursor::From(at("08:00"))));
    let hours = Query { interval: Interval::Hour, ..minutes(None, None, 2) };
    assert_eq!(times(&answer(&table, hours)), ["04:00", "08:00"]);
}

#[test]
fn the_venues_own_bar_stands_where_a_gap_runs_and_the_rest_of_the_gap_stays_unknown() {
    let bars = "ledger: native 1m 09:34 11 14 11 13 5; native 1m 09:36 13 13 13 13 0
                ledger: native 1m 09:31 1 1 1 1 1";
    expect![[r#"
        09:30 10 10 10 10 1
        09:31 12 12 12 12 1
        09:32 12 12 12 12 0 filled
        09:33 12 12 12 12 0 filled
        09:34 11 14 11 13 5 native
        09:36 13 13 13 13 0 native
        09:40 20 20 19 19 2 open
        gap 4-8
    "#]]
    .assert_eq(&draw(&answer(&format!("{DAY}\n{bars}"), minutes(None, None, 500))));
}

#[test]
fn minutes_of_which_only_a_coarser_bar_is_known_are_not_filled() {
    let table = "ledger: native 1h 08:00 10 19 9 12 77; native 1h 07:00 10 10 10 10 0
                 ledger: native 1m 06:58 10 10 10 10 4; native 1m 09:01 12 13 12 13 2
                 BTC-USDT: 1 09:03:30 14 1 buy";
    let oldest = Query { start: Some(at("06:57")), ..minutes(None, None, 5) };
    let newest = minutes(None, None, 6);
    expect![[r#"
        06:58 10 10 10 10 4 native
        06:59 10 10 10 10 0 filled
        07:00 10 10 10 10 0 filled
        07:01 10 10 10 10 0 filled
        07:02 10 10 10 10 0 filled
        next from 07:03
    "#]]
    .assert_eq(&draw(&answer(table, oldest)));
    // Nothing was traded from seven to eight, and nobody knows when it was from eight to nine.
    expect![[r#"
        07:58 10 10 10 10 0 filled
        07:59 10 10 10 10 0 filled
        09:00 12 12 12 12 0 filled
        09:01 12 13 12 13 2 native
        09:02 13 13 13 13 0 filled
        09:03 14 14 14 14 1 open
        next up to 07:57
    "#]]
    .assert_eq(&draw(&answer(table, newest)));
    assert_eq!(
        answer(table, Query { start: Some(at("07:58")), ..newest }).candles,
        answer(table, newest).candles
    );
    let hours = Query { interval: Interval::Hour, ..newest };
    expect![[r#"
        06:00 10 10 10 10 4 native
        07:00 10 10 10 10 0 native
        08:00 10 19 9 12 77 native
        09:00 12 14 12 14 3 native open
    "#]]
    .assert_eq(&draw(&answer(table, hours)));
}

#[test]
fn silence_after_the_last_trade_is_filled_up_to_the_venues_clock() {
    let quiet = "BTC-USDT: 1 09:30:10 10 1 buy\npulse: pulse 09:32:03";

    expect![[r#"
        09:30 10 10 10 10 1
        09:31 10 10 10 10 0 filled
        09:32 10 10 10 10 0 filled open
    "#]]
    .assert_eq(&draw(&answer(quiet, minutes(None, None, 500))));
}

#[test]
fn a_cursor_is_its_text() {
    for cursor in [Cursor::From(at("09:30")), Cursor::UpTo(Timestamp::from_micros(-5))] {
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
    for text in ["", "f", "x5", "f5x", "é5"] {
        assert_eq!(text.parse::<Cursor>(), Err(NotACursor), "{text}");
    }
}

proptest! {
    /// Page by page, forwards and backwards, the same candles come, each once: also where gaps and
    /// bars of the venue's own stand among them.
    #[test]
    fn pages_cover_the_range_once(
        limit in 1usize..6,
        fill in any::<bool>(),
        minute in prop::sample::select(vec![Interval::Minute, Interval::FiveMinutes]),
        bars in prop::sample::select(vec![
            "", "\nledger: native 1h 05:00 9 9 9 9 9; native 1m 04:55 8 8 8 8 1",
            "\nledger: native 1m 09:35 9 9 9 9 9; native 5m 09:25 9 9 9 9 9; native 1m 09:21 1 1 1 1 1",
        ]),
    ) {
        let table = format!("{DAY}{bars}");
        let query = Query { interval: minute, start: None, end: None, limit: PAGE_MAX, fill };
        let whole = answer(&table, query).candles;

        let forwards = Query { start: Some(at("04:00")), limit, ..query };
        let mut pages = Vec::new();
        let mut next = Some(forwards);
        while let Some(query) = next {
            let page = answer(&table, query);
            next = page.next.map(|cursor| forwards.at(cursor));
            pages.extend(page.candles);
        }
        prop_assert_eq!(&pages, &whole);

        let backwards = Query { limit, ..query };
        let (mut pages, mut next) = (Vec::new(), Some(backwards));
        while let Some(query) = next {
            let page = answer(&table, query);
            next = page.next.map(|cursor| backwards.at(cursor));
            pages.splice(0..0, page.candles);
        }
        prop_assert_eq!(&pages, &whole);
    }
}
