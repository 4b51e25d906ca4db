//! What several views say together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::sample::entries;

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
