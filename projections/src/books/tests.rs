//! Books from little tables of what was told of them.

use std::fmt::Write;

use domain::book::Level;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::sample::{at, copy_of, entries};

fn fold(table: &str) -> Books {
    let mut books = Books::default();
    for entry in entries(table) {
        books.fold(&entry);
    }
    books
}

fn binance() -> Venue {
    "binance".parse().unwrap()
}

fn btc() -> Instrument {
    "BTC-USDT".parse().unwrap()
}

fn check(table: &str, expected: &Expect) {
    let books = fold(table);
    let mut drawn = String::new();
    for (venue, at) in &books.venues {
        for instrument in at.instruments.keys() {
            let book = books.get(venue, instrument).unwrap();
            let side = |levels: Vec<Level>| {
                let level = |level: &Level| format!("{}x{}", level.price, level.quantity);
                levels.iter().map(level).collect::<Vec<_>>().join(" ")
            };
            let (bids, asks) =
                (side(book.levels.bids().collect()), side(book.levels.asks().collect()));
            let state = match (book.synced, book.verified) {
                (true, true) => "synced",
                (false, false) => "lost",
                other => panic!("{other:?}"),
            };
            writeln!(
                drawn,
                "{venue} {instrument} {state} at {}, version {} place {}: {bids} | {asks}",
                book.levels.last_id(),
                book.version,
                book.place,
            )
            .unwrap();
        }
    }
    expected.assert_eq(&drawn);
}

const BOOK: &str = "BTC-USDT: book 10 09:30 100x1,99x2 101x3,102x1";

#[test]
fn a_book_is_its_snapshot_and_what_changed_since() {
    check(
        &format!(
            "{BOOK}
             BTC-USDT: 1 09:30 101 0.5 buy
             BTC-USDT: diff 11-12 09:30:01 100x0,98x5 101x2; diff 13-13 09:30:02 97x0 -
             ETH-USDT: book 7 09:30 10x1 -
             coinbase.BTC-USDT: book 1 09:30 - 99x1"
        ),
        &expect![[r#"
            binance BTC-USDT synced at 13, version 3 place 1: 99x2 98x5 | 101x2 102x1
            binance ETH-USDT synced at 7, version 4 place 0: 10x1 | 
            coinbase BTC-USDT synced at 1, version 5 place 0:  | 99x1
        "#]],
    );
}

#[test]
fn a_hole_or_sides_that_cross_end_a_book_until_the_next_snapshot() {
    let lost = [
        "diff 12-13 09:30:01 99x9 -",
        "diff 11-11 09:30:01 101x1 -",
        "lost 09:30:01",
        "book 11 09:30:01 103x1 102x1",
    ];
    for lost in lost {
        let books = fold(&format!(
            "{BOOK}\nBTC-USDT: {lost}; diff 11-11 09:30:02 99x7 -; diff 12-12 09:30:02 99x8 -"
        ));
        let book = books.get(&binance(), &btc()).unwrap();
        assert!(!book.synced && !book.verified, "{lost}");
        assert_eq!((book.version, book.place), (Version(2), 0), "{lost}");
        assert_eq!(book.freshness(at("09:30")), Freshness::Lost, "{lost}");
    }
    check(
        &format!(
            "{BOOK}
             BTC-USDT: diff 12-13 09:30:01 99x9 -; book 20 09:30:03 90x1 91x1; diff 21-21 09:30:04 - 92x4"
        ),
        &expect![[r#"
            binance BTC-USDT synced at 21, version 2 place 2: 90x1 | 91x1 92x4
        "#]],
    );
}

#[test]
fn what_is_told_of_a_book_that_was_never_told_is_passed_over() {
    check("BTC-USDT: diff 1-2 09:30 99x1 -; lost 09:31", &expect![[""]]);
    assert!(fold("BTC-USDT: diff 1-2 09:30 99x1 -").get(&binance(), &btc()).is_none());
}

#[test]
fn a_diff_that_is_older_than_the_book_changes_nothing() {
    check(
        &format!("{BOOK}\nBTC-USDT: diff 8-10 09:30:01 99x9 -; diff 9-11 09:30:02 99x7 -"),
        &expect![[r#"
            binance BTC-USDT synced at 11, version 2 place 1: 100x1 99x7 | 101x3 102x1
        "#]],
    );
}

#[test]
fn the_age_of_a_book_is_told_by_our_clock() {
    let books = fold(&format!("{BOOK}\nBTC-USDT: diff 11-11 09:30:10 99x9 -"));
    let book = books.get(&binance(), &btc()).unwrap();
    // The venue's clock is a second ahead of ours, so it was told at 09:30:09.
    let after = |seconds: i64| book.freshness(at("09:30:09").plus(seconds * SECOND));

    assert_eq!(book.told_at(), at("09:30:09"));
    assert_eq!((book.age(at("09:30:11")), book.age(at("09:30"))), (2 * SECOND, 0));
    assert_eq!(
        [5, 6, 50, 51].map(after),
        [Freshness::Fresh, Freshness::Stale, Freshness::Stale, Freshness::Lost]
    );
    assert!(book.is_fresh(at("09:30:14")) && !book.is_fresh(at("09:30:15")));
}

#[test]
fn a_loss_does_not_make_a_book_younger() {
    let books = fold(&format!("{BOOK}\nBTC-USDT: lost 09:31; diff 11-11 09:32 99x9 -"));
    assert_eq!(books.get(&binance(), &btc()).unwrap().told.venue_time, at("09:30"));
}

proptest! {
    /// Whatever stands in the log: the fold does not fail, no crossed book is synced, and the state
    /// is the same by way of a snapshot taken anywhere.
    #[test]
    fn any_entries_fold_and_the_state_is_the_same_by_way_of_a_snapshot(
        events in prop::collection::vec(
            (0u8..8, 1u64..30, 1u64..4, 95u64..105, 0u64..3, 95u64..105), 1..40,
        ),
        cut in 0usize..40,
    ) {
        let line = |&(kind, id, ids, bid, quantity, ask): &(u8, u64, u64, u64, u64, u64)| match kind {
            0 => "BTC-USDT: lost 09:30\n".to_owned(),
            1 => format!("BTC-USDT: book {id} 09:30 {bid}x{quantity} {ask}x1\n"),
            _ => format!("BTC-USDT: diff {id}-{} 09:30 {bid}x{quantity} {ask}x1\n", id + ids),
        };
        let entries = entries(&events.iter().map(line).collect::<String>());
        let (mut whole, mut parts) = (Books::default(), Books::default());
        for (place, entry) in entries.iter().enumerate() {
            if place == cut {
                parts = copy_of(&parts);
            }
            whole.fold(entry);
            parts.fold(entry);
            let Some(book) = whole.get(&binance(), &btc()) else { continue };
            let (bid, ask) = (book.levels.bids().next(), book.levels.asks().next());
            if let (true, Some(bid), Some(ask)) = (book.synced, bid, ask) {
                prop_assert!(bid.price < ask.price);
            }
        }
        prop_assert_eq!(parts.state_hash(), whole.state_hash());
    }
}
