//! A book in small numbers: `100x2` is a quantity of two at a price of one hundred.

use super::*;

fn levels(text: &str) -> Vec<Level> {
    let level = |level: &str| {
        let (price, quantity) = level.split_once('x').unwrap();
        Level { price: price.parse().unwrap(), quantity: quantity.parse().unwrap() }
    };
    text.split_whitespace().map(level).collect()
}

fn snapshot(update_id: u64, bids: &str, asks: &str) -> BookSnapshot {
    BookSnapshot { update_id, bids: levels(bids), asks: levels(asks) }
}

fn book(update_id: u64, bids: &str, asks: &str) -> OrderBook {
    OrderBook::of(&snapshot(update_id, bids, asks)).unwrap()
}

fn spot(first_id: u64, last_id: u64, bids: &str, asks: &str) -> BookDiff {
    BookDiff { first_id, last_id, previous_id: None, bids: levels(bids), asks: levels(asks) }
}

fn futures(previous_id: u64, first_id: u64, last_id: u64) -> BookDiff {
    BookDiff { previous_id: Some(previous_id), ..spot(first_id, last_id, "", "") }
}

#[test]
fn a_snapshot_is_shown_best_first_without_what_does_not_rest() {
    let book = book(7, "98x1 99x2 97x0", "102x1 101x3 100x0");

    assert_eq!(book.snapshot(9), snapshot(7, "99x2 98x1", "101x3 102x1"));
    assert_eq!(book.snapshot(1), snapshot(7, "99x2", "101x3"));
    assert_eq!(book.counts(), (2, 2));
}

#[test]
fn a_snapshot_whose_sides_cross_is_no_book() {
    for (bids, asks) in [("100x1", "100x1"), ("101x1", "100x1"), ("99x1 101x1", "100x1")] {
        assert_eq!(OrderBook::of(&snapshot(7, bids, asks)), Err(LostReason::Crossed));
    }
    assert!(OrderBook::of(&snapshot(7, "100x0 99x1", "100x1")).is_ok());
    assert!(OrderBook::of(&snapshot(7, "", "100x1")).is_ok());
}

#[test]
fn a_diff_sets_and_removes_levels_also_those_that_nobody_knew_of() {
    let mut book = book(7, "99x2 98x1", "101x3");

    let applied = book.apply(&spot(8, 9, "99x5 98x0 90x0", "101.00x0 102x1 150x0"));

    assert_eq!(applied, Ok(Applied::Changed));
    assert_eq!(book.snapshot(9), snapshot(9, "99x5", "102x1"));
}

#[test]
fn sides_may_cross_within_a_diff_but_not_after_it() {
    let mut moved = book(7, "99x2", "101x3");
    assert_eq!(moved.apply(&spot(8, 8, "102x1", "101x0 103x1")), Ok(Applied::Changed));
    assert_eq!(moved.snapshot(9), snapshot(8, "102x1 99x2", "103x1"));

    let mut crossed = book(7, "99x2", "101x3");
    assert_eq!(crossed.apply(&spot(8, 8, "101x1", "")), Err(LostReason::Crossed));
}

#[test]
fn an_old_diff_changes_nothing() {
    let mut book = book(7, "99x2", "101x3");
    let before = book.clone();

    for old in [spot(5, 6, "99x9", ""), spot(5, 7, "99x9", ""), futures(4, 5, 7)] {
        assert_eq!(book.apply(&old), Ok(Applied::Old));
    }
    assert_eq!(book, before);
}

#[test]
fn a_diff_past_a_hole_changes_nothing() {
    let mut book = book(7, "99x2", "101x3");
    let before = book.clone();

    for past in [spot(9, 10, "99x9", ""), futures(8, 8, 10), futures(8, 20, 30)] {
        assert_eq!(book.apply(&past), Err(LostReason::Hole));
    }
    assert_eq!(book, before);
}

#[test]
fn the_first_diff_after_a_snapshot_may_begin_before_it() {
    // Each as Binance sends it: U = L + 1, U <= L < u, and pu < L <= u for futures.
    for first in [spot(8, 9, "99x5", ""), spot(3, 9, "99x5", ""), futures(2, 3, 9)] {
        let mut book = book(7, "99x2", "101x3");
        assert_eq!(book.apply(&first), Ok(Applied::Changed));
        assert_eq!(book.last_id(), 9);
    }
}

#[test]
fn futures_go_by_the_diff_before_whatever_ids_lie_between() {
    let mut book = book(7, "99x2", "101x3");

    assert_eq!(book.apply(&futures(5, 6, 12)), Ok(Applied::Changed));
    assert_eq!(book.apply(&futures(12, 15, 20)), Ok(Applied::Changed));
    assert_eq!(book.apply(&futures(21, 22, 25)), Err(LostReason::Hole));
}

#[test]
fn the_worst_levels_are_forgotten_when_there_are_too_many() {
    let price = |units: usize| Price::of_units(i64::try_from(units).unwrap(), 2).unwrap();
    let side = |from: usize, levels: usize| {
        let level = |units| Level { price: price(units), quantity: Decimal::ONE };
        (from..from + levels).map(level).collect::<Vec<_>>()
    };
    let middle = LEVELS_MAX * 2;
    let whole = BookSnapshot {
        update_id: 7,
        bids: side(middle - LEVELS_MAX - 1, LEVELS_MAX + 1),
        asks: side(middle, LEVELS_MAX + 1),
    };

    let mut book = OrderBook::of(&whole).unwrap();
    assert_eq!(book.counts(), (LEVELS_MAX, LEVELS_MAX));
    assert_eq!(book.bids().last().unwrap().price, price(middle - LEVELS_MAX));
    assert_eq!(book.asks().last().unwrap().price, price(middle + LEVELS_MAX - 1));

    let better = BookDiff { asks: Vec::new(), ..spot(8, 8, "", "") };
    let bids = vec![Level { price: price(middle - 1), quantity: Decimal::TWO }];
    book.apply(&BookDiff { bids, ..better }).unwrap();
    assert_eq!(book.counts(), (LEVELS_MAX, LEVELS_MAX));
    assert_eq!(book.bids().next().unwrap().quantity, Decimal::TWO);
}

#[test]
fn a_book_reads_as_it_was_written() {
    let book = book(7, "99.50x2.00 98x1", "101x3");
    let text = serde_json::to_string(&book).unwrap();

    assert_eq!(serde_json::from_str::<OrderBook>(&text).unwrap(), book);
    assert!(text.contains(r#""99.50":"2.00""#), "{text}");
}
