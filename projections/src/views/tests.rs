//! What several views say together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::sample::keys::{AskedOfKeys, Giving};
use crate::sample::{at, entries, entry_of};

#[test]
fn what_is_read_at_rest_belongs_together() {
    let line = |id: u64| match id {
        1 => "BTC-USDT: 1 09:30 65000.00 0.5 buy; book 1 09:30 100x1 101x1\n".to_owned(),
        _ => format!("BTC-USDT: {id} 09:30 65000.00 0.5 buy; diff {id}-{id} 09:30 100x1 -\n"),
    };
    let entries = entries(&(1..=2_000).map(line).collect::<String>());
    let (views, done) = (Views::new(Vec::new()), AtomicBool::new(false));
    let (btc, binance) = ("BTC-USDT".parse().unwrap(), "binance".parse().unwrap());

    thread::scope(|scope| {
        scope.spawn(|| {
            for entry in entries.chunks(3) {
                views.fold(Log::Market, entry);
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            views.at_rest(|offset| {
                let last = views.quote(&btc).map_or(0, |quote| quote.tick.trade_id);
                let book =
                    views.books().get(&binance, &btc).map_or(0, |book| book.levels.last_id());
                assert_eq!([offset.0; 2], [last, book]);
            });
        }
    });
    assert_eq!(views.at_rest(|offset| offset), Offset(2_000));
}

/// Entries of both logs, in the order of their offsets in each.
fn both() -> (Vec<Entry>, Vec<Entry>) {
    let line = |id: u64| match id % 4 {
        1 => format!("BTC-USDT: book {id} 09:30 100x1 101x1\n"),
        2 => format!("BTC-USDT: {id} 09:{:02} 6500{}.00 0.5 buy\n", id / 4, id % 10),
        3 => format!("BTC-USDT: gap {id}-{id} 09:{:02} 09:{:02}\n", id / 4, id / 4 + 1),
        _ => format!("ETH-USDT: {id} 08:{:02} 3500.5 2 sell\n", id / 4),
    };
    let market = entries(&(1..=120).map(line).collect::<String>());
    let mut ledger = entries(
        "ledger: closed 07:30 10 10 10 10 2; closed 07:31 10 12 10 10 1
         ledger: native 1m 09:30 10 10 10 10 5; native 1h 05:00 9 9 9 9 4
         copy: gap 3-3 09:00 09:01; unfillable 3-3",
    );
    let (stream, events) = Giving::new(at("00:00")).ask(&AskedOfKeys::Create).unwrap();
    ledger.push(entry_of(stream, 4, events));
    (market, ledger)
}

/// Returns what a snapshot holds of each view once `changed` was taken in.
fn taken(views: &Views) -> BTreeMap<&'static str, (Cut, BTreeMap<String, Vec<u8>>)> {
    let present = |parts: BTreeMap<String, Option<Vec<u8>>>| {
        parts.into_iter().filter_map(|(name, part)| part.map(|part| (name, part))).collect()
    };
    let changed = views.take_changed().into_iter();
    changed.map(|changed| (changed.view, (changed.cut, present(changed.parts)))).collect()
}

fn folded(market: &[Entry], ledger: &[Entry]) -> Views {
    let views = Views::new(Vec::new());
    views.fold(Log::Market, market);
    views.fold(Log::Ledger, ledger);
    views
}

#[test]
fn views_that_come_from_different_cuts_fold_only_what_is_new_to_each() {
    let (market, ledger) = both();
    let whole = folded(&market, &ledger);
    let (early, late) = (folded(&market[..40], &ledger[..1]), folded(&market[..90], &ledger));
    let (early, late) = (taken(&early), taken(&late));

    let views = Views::new(Vec::new());
    for (view, (cut, parts)) in [("prices", &late["prices"]), ("candles", &early["candles"])] {
        views.restore(view, *cut, parts).unwrap();
        assert_eq!(cut.market.hash, market[usize::try_from(cut.market.offset.0).unwrap() - 1].hash);
    }
    // One view has nothing yet, and what all show is what it shows.
    assert_eq!((views.applied(Log::Market), views.applied(Log::Ledger)), (Offset(0), Offset(0)));
    for view in ["books", "holdings", "access"] {
        let (cut, parts) = &early[view];
        views.restore(view, *cut, parts).unwrap();
    }
    assert_eq!((views.applied(Log::Market), views.applied(Log::Ledger)), (Offset(40), Offset(1)));

    // They are read from where the last of them is, in steps that lie across the cuts.
    for entries in market[40..].chunks(7) {
        views.fold(Log::Market, entries);
        let last = entries.last().unwrap().offset;
        assert_eq!(views.applied(Log::Market), last);
        let prices = views.prices().get(&"binance".parse().unwrap(), &"ETH-USDT".parse().unwrap());
        assert!(prices.unwrap().tick.trade_id >= 88);
    }
    views.fold(Log::Ledger, &ledger[1..]);

    assert_eq!(views.state_hashes(), whole.state_hashes());
    assert_eq!(
        taken(&views).into_keys().collect::<Vec<_>>(),
        ["access", "books", "candles", "holdings", "prices"]
    );
}

#[test]
fn what_was_folded_twice_is_folded_once() {
    let (market, ledger) = both();
    let views = folded(&market, &ledger);
    let hashes = views.state_hashes();
    taken(&views);

    views.fold(Log::Market, &market[30..]);
    views.fold(Log::Ledger, &ledger[..2]);

    assert_eq!(views.state_hashes(), hashes);
    assert_eq!((views.applied(Log::Market), views.applied(Log::Ledger)), (Offset(120), Offset(4)));
    let changed = views.take_changed();
    assert!(changed.iter().all(|changed| changed.parts.is_empty()), "{changed:?}");
}

#[test]
fn what_was_restored_has_not_changed() {
    let (market, ledger) = both();
    let (views, copy) = (folded(&market, &ledger), Views::new(Vec::new()));
    for (view, (cut, parts)) in &taken(&views) {
        copy.restore(view, *cut, parts).unwrap();
    }

    assert_eq!(copy.state_hashes(), views.state_hashes());
    for changed in copy.take_changed() {
        assert_eq!((changed.parts.len(), changed.cut.market.offset), (0, Offset(120)));
    }
    copy.fold(Log::Market, &entries_after(120, "ETH-USDT: 999 09:59 3500 1 buy"));
    let names: Vec<Vec<String>> = copy
        .take_changed()
        .into_iter()
        .map(|changed| changed.parts.into_keys().collect())
        .collect();
    assert_eq!(
        names,
        [
            vec!["binance".to_owned(), "binance/ETH-USDT".to_owned()],
            vec!["binance".to_owned(), "binance/ETH-USDT/2024-03-21".to_owned()],
            vec![],
            vec![],
            vec![],
        ]
    );
}

#[test]
fn a_part_that_does_not_read_leaves_the_view_as_it_was() {
    let (market, ledger) = both();
    let views = folded(&market, &ledger);
    let hashes = views.state_hashes();
    let (cut, mut parts) = taken(&folded(&market[..40], &ledger)).remove("candles").unwrap();
    parts.insert("binance/BTC-USDT".to_owned(), b"{".to_vec());

    let error = views.restore("candles", cut, &parts).unwrap_err();

    assert_eq!(error.name, "binance/BTC-USDT");
    assert_eq!(views.state_hashes(), hashes);
    assert_eq!(views.applied(Log::Market), Offset(120));
    assert_eq!(
        views
            .candles()
            .get(&"binance".parse().unwrap(), &"BTC-USDT".parse().unwrap())
            .unwrap()
            .clock,
        at("09:30")
    );
}

/// Returns entries that come after so many others.
fn entries_after(offset: u64, table: &str) -> Vec<Entry> {
    let mut entries = entries(table);
    for entry in &mut entries {
        entry.offset = Offset(offset + entry.offset.0);
    }
    entries
}

/// What is seen of BTC-USDT: the best bid and the last price, where they can be relied on, and the
/// version of the entry that either is of.
fn seen(table: &str, now: &str) -> Option<String> {
    let views = Views::new(Vec::new());
    views.fold(Log::Market, &entries(table));
    views.sight(&"BTC-USDT".parse().unwrap(), at(now), |sight| {
        let bid = sight.book.and_then(|book| book.bids().next()).map(|level| level.price);
        let told = |price: Option<domain::amount::Price>| {
            price.map_or("none".to_owned(), |price| price.to_string())
        };
        format!("{} {} v{}", told(bid), told(sight.last), sight.market.version)
    })
}

#[test]
fn what_is_seen_of_a_market_can_be_relied_on() {
    let told = "BTC-USDT: 1 09:30 100.5 1 buy
        BTC-USDT: book 1 09:30 100x1 101x1
        ETH-USDT: 7 09:30 3500 1 buy";
    let lost = format!("{told}\nBTC-USDT: lost 09:30:00.5");
    for (table, now, expected) in [
        // Our clock is a second behind the venue's.
        (told, "09:29:59", Some("100 100.50 v2")),
        (told, "09:30:04", Some("100 100.50 v2")),
        // Too old a book; the trade is fresh for a minute.
        (told, "09:30:05", Some("none 100.50 v2")),
        (told, "09:31:00", Some("none none v2")),
        (&lost, "09:30:00", Some("none 100.50 v4")),
        ("BTC-USDT: book 1 09:30 100x1 101x1", "09:30", None),
        ("ETH-USDT: 7 09:30 3500 1 buy", "09:30", None),
    ] {
        assert_eq!(seen(table, now).as_deref(), expected, "{table} at {now}");
    }
}

#[test]
fn a_day_is_marked_at_its_last_price() {
    let views = Views::new(Vec::new());
    views.fold(Log::Market, &entries("BTC-USDT: 1 09:30 100.5 1 buy; 2 23:59:59.9 101 1 buy"));
    let (binance, btc) = ("binance".parse().unwrap(), "BTC-USDT".parse().unwrap());
    let mark = |days: i64| {
        let mark = views.mark_of_day(&binance, &btc, at("00:00").plus(days * domain::time::DAY));
        mark.map(|mark| (mark.price.to_string(), mark.market.version))
    };
    assert_eq!([mark(-1), mark(0)], [None, Some(("101.00".to_owned(), 1))]);
    assert_eq!(mark(3), mark(0));
}

#[test]
fn whoever_waits_for_a_change_of_keys_sees_it() {
    let (_, ledger) = both();
    let views = Views::new(Vec::new());
    let changes = views.access_changes();

    views.fold(Log::Ledger, &ledger[..3]);
    assert!(!changes.has_changed().unwrap());

    // Woken while it is folded, and it is there already.
    thread::scope(|scope| {
        let mut changes = changes.clone();
        let views = &views;
        let woken = scope.spawn(move || {
            while !changes.has_changed().unwrap() {
                thread::yield_now();
            }
            changes.mark_unchanged();
            views.access().keys().count()
        });
        views.fold(Log::Ledger, &ledger[3..]);
        assert_eq!(woken.join().unwrap(), 1);
    });

    let (cut, parts) = &taken(&views)["access"];
    let other = Views::new(Vec::new());
    let changes = other.access_changes();
    other.restore("prices", Cut::default(), &BTreeMap::new()).unwrap();
    assert!(!changes.has_changed().unwrap());
    other.restore("access", *cut, parts).unwrap();
    assert!(changes.has_changed().unwrap());
    assert_eq!(other.access().keys().count(), 1);
}
