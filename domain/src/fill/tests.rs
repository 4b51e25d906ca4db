//! What a market order gets of a book, or of the last price.

use super::*;
use crate::book::BookSnapshot;

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

/// Levels as `64000.00×1.5`, best first.
fn levels(text: &str) -> Vec<Level> {
    let level = |text: &str| {
        let (at, resting) = text.split_once('×').unwrap();
        Level { price: price(at), quantity: quantity(resting).value() }
    };
    text.split_whitespace().map(level).collect()
}

fn book(bids: &str, asks: &str) -> OrderBook {
    let (bids, asks) = (levels(bids), levels(asks));
    OrderBook::of(&BookSnapshot { update_id: 1, bids, asks }).unwrap()
}

fn market() -> MarketEntry {
    let (venue, instrument) = ("binance".parse().unwrap(), "BTC-USDT".parse().unwrap());
    MarketEntry { venue, instrument, version: 7 }
}

/// Says what an order gets: its cost, its average, what it was taken from, and the mark.
fn filled(book: Option<&OrderBook>, last: Option<&str>, side: Side, of: &str) -> String {
    let (last, market) = (last.map(price), market());
    let sight = Sight { book, last, market: &market };
    match sight.fill(side, quantity(of)) {
        Err(error) => format!("{error:?}"),
        Ok(fill) => {
            assert_eq!((fill.quantity, &fill.market), (quantity(of), &market));
            let level = |level: &Level| format!(" {}×{}", level.price, level.quantity);
            let taken: String = fill.levels.iter().map(level).collect();
            format!("{} at {}, {:?}{taken}, mark {}", fill.cost, fill.price, fill.basis, fill.mark)
        }
    }
}

#[test]
fn an_order_takes_the_other_side_of_the_book_best_first() {
    let book = book("63999.00×1.0 63998.00×2.0", "64001.00×1.0 64002.00×0.5 64010.00×9");
    let last = Some("64000.00");
    for (side, size, expected) in [
        (Side::Buy, "0.4", "25600.400 at 64001.00, BookVwap 64001.00×0.4, mark 64000.00"),
        (Side::Buy, "1", "64001.000 at 64001.00, BookVwap 64001.00×1.0, mark 64000.00"),
        (
            Side::Buy,
            "1.5",
            "96002.000 at 64001.333333333333333333, BookVwap 64001.00×1.0 64002.00×0.5, mark 64000.00",
        ),
        (
            Side::Sell,
            "3",
            "191995.000 at 63998.333333333333333333, BookVwap 63999.00×1.0 63998.00×2.0, mark 64000.00",
        ),
    ] {
        assert_eq!(filled(Some(&book), last, side, size), expected, "{size}");
    }
    // Without a last price the best of the side that is taken stands in.
    assert_eq!(
        filled(Some(&book), None, Side::Sell, "1"),
        "63999.000 at 63999.00, BookVwap 63999.00×1.0, mark 63999.00"
    );
}

#[test]
fn a_book_that_does_not_cover_the_order_leaves_it_to_the_last_price() {
    let last = Some("100.00");
    let thin = book("99×1", "101×1");
    assert_eq!(
        filled(Some(&thin), last, Side::Buy, "1.001"),
        "100.10000 at 100.00, LastPrice, mark 100.00"
    );
    assert_eq!(filled(Some(&thin), None, Side::Buy, "1.001"), "NoPrice");
    assert_eq!(filled(None, None, Side::Buy, "1"), "NoPrice");

    // Two percent from the best is near, and what lies beyond is not.
    let deep = book("100×1 98×1 97.99×9", "101×1 103.02×1 103.03×9");
    assert!(filled(Some(&deep), last, Side::Buy, "2").contains("BookVwap 101×1 103.02×1,"));
    assert!(filled(Some(&deep), last, Side::Buy, "2.1").contains("LastPrice"));
    assert!(filled(Some(&deep), last, Side::Sell, "2").contains("BookVwap 100×1 98×1,"));
    assert!(filled(Some(&deep), last, Side::Sell, "2.1").contains("LastPrice"));
}

#[test]
fn an_order_takes_no_more_levels_than_an_event_can_name() {
    let count = i64::try_from(LEVELS_TAKEN_MAX).unwrap();
    let ask = |step| Level {
        price: Price::of_units(6_400_000 + step, 2).unwrap(),
        quantity: Decimal::ONE,
    };
    let asks = (0..=count).map(ask).collect();
    let book =
        OrderBook::of(&BookSnapshot { update_id: 1, bids: levels("63999×1"), asks }).unwrap();

    assert!(filled(Some(&book), Some("64000"), Side::Buy, "1000").contains("BookVwap"));
    assert!(filled(Some(&book), Some("64000"), Side::Buy, "1001").contains("LastPrice"));
}

#[test]
fn a_last_price_far_outside_of_the_book_is_not_acted_on_alone() {
    let book = book("1000×1", "1010×1");
    let market = market();
    for (last, is_suspect) in
        [("994.99", true), ("995", false), ("1005", false), ("1015.05", false), ("1015.06", true)]
    {
        let sight = Sight { book: Some(&book), last: Some(price(last)), market: &market };
        assert_eq!(sight.is_suspect(), is_suspect, "{last}");
        let too_large = filled(Some(&book), Some(last), Side::Buy, "5");
        assert_eq!(too_large.starts_with("Suspect"), is_suspect, "{too_large}");
        assert!(filled(Some(&book), Some(last), Side::Buy, "1").contains("BookVwap"));
    }
    let blind = Sight { book: None, last: Some(price("1")), market: &market };
    assert!(!blind.is_suspect());
}

#[test]
fn what_cannot_be_held_exactly_is_not_filled() {
    for (at, size) in [
        ("10000000000", "1.1"),
        ("0.000000000000001", "0.00000000000001"),
        ("12345678901.23", "0.123456789012345678"),
    ] {
        assert_eq!(filled(None, Some(at), Side::Buy, size), "Inexact", "{at}");
    }
    let book = book("1×1", "10000000000×9");
    assert_eq!(filled(Some(&book), None, Side::Buy, "2"), "Inexact");
    assert!(filled(None, Some("10000000000"), Side::Buy, "1").starts_with("10000000000 at"));
}

#[test]
fn the_parts_of_a_fill_cost_what_the_whole_does() {
    let book = book("1×1", "100.00×1 101.01×2");
    let market = market();
    let sight = Sight { book: Some(&book), last: None, market: &market };
    let whole = sight.fill(Side::Buy, quantity("3")).unwrap();
    let (first, rest) = whole.clone().split(quantity("1.1")).unwrap();

    assert_eq!(first.cost.to_string(), "110.740666666666666667");
    assert_eq!(first.cost + rest.cost, whole.cost);
    assert_eq!((first.quantity, rest.quantity), (quantity("1.1"), quantity("1.9")));
    assert_eq!((&first.levels, &rest.levels), (&whole.levels, &whole.levels));
    let all = Some(Whole { quantity: whole.quantity, cost: whole.cost });
    assert_eq!((first.part_of, rest.part_of), (all, all));
    assert_eq!(rest.price.round_dp(6).to_string(), "100.673333");
    // Nothing is left of it, or less.
    assert_eq!(whole.clone().split(quantity("3")), None);
    assert_eq!(whole.split(quantity("4")), None);
}
