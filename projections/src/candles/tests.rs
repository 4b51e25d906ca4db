//! The fold of candles: what gaps and pulses do. The arithmetic is tested in `domain`.

use super::*;
use crate::sample::{at, entries};

fn fold(table: &str) -> Candles {
    let mut candles = Candles::default();
    for entry in entries(table) {
        candles.fold(&entry);
    }
    candles
}

fn gaps(table: &str) -> Vec<(u64, u64, bool)> {
    let candles = fold(table);
    let market = candles.get(&"binance".parse().unwrap(), &"BTC-USDT".parse().unwrap()).unwrap();
    market
        .gaps(at("09:00"), at("10:00"))
        .map(|gap| (gap.first_id, gap.last_id, gap.unfillable))
        .collect()
}

#[test]
fn a_gap_is_remembered_until_it_is_filled() {
    let opened = "BTC-USDT: 1 09:30 65000.00 0.5 buy; 5 09:31 65000.00 1 buy
                  BTC-USDT: gap 2-4 09:30 09:31";

    assert_eq!(gaps(opened), [(2, 4, false)]);
    assert_eq!(gaps(&format!("{opened}\nBTC-USDT: unfillable 2-4")), [(2, 4, true)]);
    assert_eq!(gaps(&format!("{opened}\nBTC-USDT: filled 2-4")), []);
}

#[test]
fn a_venues_clock_is_moved_by_its_trades_and_pulses_and_never_back() {
    let clock = |table: &str| {
        let candles = fold(table);
        candles.get(&"binance".parse().unwrap(), &"BTC-USDT".parse().unwrap()).unwrap().clock
    };
    let trade = "BTC-USDT: 1 09:30 65000.00 0.5 buy";

    assert_eq!(clock(trade), at("09:30"));
    assert_eq!(clock(&format!("{trade}\nETH-USDT: 1 09:31 3500 1 buy")), at("09:31"));
    assert_eq!(clock(&format!("{trade}\npulse: pulse 09:40")), at("09:40"));
    assert_eq!(clock(&format!("pulse: pulse 09:40\n{trade}")), at("09:40"));
    assert_eq!(clock(&format!("{trade}\ncoinbase.ETH-USDT: 1 09:31 3500 1 buy")), at("09:30"));
}

#[test]
fn the_same_entries_give_the_same_state_hash_also_by_way_of_a_snapshot() {
    let table = "BTC-USDT: 1 09:30 65000.00 0.5 buy; 5 09:31 65000.00 1 buy
                 BTC-USDT: gap 2-4 09:30 09:31
                 pulse: pulse 09:40";
    let (whole, mut half) = (fold(table), Candles::default());
    let entries = entries(table);
    half.fold(&entries[0]);
    let mut half: Candles = serde_json::from_str(&serde_json::to_string(&half).unwrap()).unwrap();
    half.fold(&entries[1]);
    half.fold(&entries[2]);

    assert_eq!(half.state_hash(), whole.state_hash());
    assert_ne!(Candles::default().state_hash(), whole.state_hash());
}
