//! The fold of candles from both logs. The arithmetic is tested in `domain`.

use eventlog::stream::Log;
use proptest::prelude::*;

use super::*;
use crate::history::{Page, Query};
use crate::sample::{at, copy_of, entries, entry_of};

fn fold(table: &str) -> Candles {
    let mut candles = Candles::default();
    for entry in entries(table) {
        candles.fold(&entry);
    }
    candles
}

fn btc(candles: &Candles) -> InstrumentCandles<'_> {
    candles.get(&"binance".parse().unwrap(), &"BTC-USDT".parse().unwrap()).unwrap()
}

fn gaps(table: &str) -> Vec<(u64, u64, bool)> {
    btc(&fold(table))
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
fn a_gap_that_the_ledger_knows_outlives_the_market_log() {
    let copied = "copy: gap 2-4 09:30 09:31\nBTC-USDT: 9 09:40 65000.00 1 buy";

    assert_eq!(gaps(copied), [(2, 4, false)]);
    assert_eq!(gaps(&format!("{copied}\ncopy: unfillable 2-4")), [(2, 4, true)]);
    assert_eq!(gaps(&format!("{copied}\nBTC-USDT: filled 2-4")), []);
    assert_eq!(gaps(&format!("BTC-USDT: filled 2-4\n{copied}")), []);
}

#[test]
fn the_ledger_is_told_of_gaps_once() {
    let table = "BTC-USDT: 1 09:30 65000.00 0.5 buy; gap 2-4 09:30 09:31; gap 6-7 09:30 09:32
                 BTC-USDT: unfillable 6-7; gap 9-9 09:32 09:33; filled 9-9
                 ETH-USDT: gap 3-3 09:30 09:31";
    let mut candles = fold(table);
    let due = candles.unrecorded_gaps(9);
    let told: Vec<_> =
        due.iter().map(|due| (due.instrument.to_string(), due.events.len())).collect();
    assert_eq!(told, [("BTC-USDT".to_owned(), 3), ("ETH-USDT".to_owned(), 1)]);
    assert_eq!(candles.unrecorded_gaps(1), due[..1]);

    for UnrecordedGaps { venue, instrument, events } in due {
        let events = events.into_iter().map(Event::Market).collect();
        candles.fold(&entry_of(Stream::Gaps { venue, instrument }, 1, events));
    }
    assert_eq!(candles.unrecorded_gaps(9), []);
}

#[test]
fn what_is_whole_ends_before_the_first_minute_that_lacks_the_venues_bar() {
    let until = |table: &str| btc(&fold(table)).whole_until().unwrap();
    let bar = |time: &str| format!("ledger: native 1m {time} 10 10 10 10 5\n");
    let came = format!(
        "{}{}BTC-USDT: 1 09:30:20 10.00 1 buy; 2 09:31:10 10.00 1 buy; 3 09:40:10 10.00 1 buy\n",
        bar("08:58"),
        bar("08:59")
    );

    // The bars up to the first minute came in part only.
    assert_eq!(until(&came), at("08:59"));
    assert_eq!(
        until("BTC-USDT: 1 09:30:20 10.00 1 buy\npulse: pulse 09:40"),
        at("09:30").plus(-DAY)
    );
    let whole = format!("{came}{}", bar("09:30"));
    assert_eq!(until(&whole), at("09:31"));

    let later = format!("{whole}BTC-USDT: 9 09:42:10 10.00 1 buy; 10 09:50 10.00 1 buy\n");
    assert_eq!(until(&later), at("09:42"));
    let torn = format!("{later}BTC-USDT: gap 4-8 09:40:10 09:42:10\n");
    assert_eq!(until(&torn), at("09:39"));
    assert_eq!(until(&format!("{torn}BTC-USDT: unfillable 4-8\n{}", bar("09:41"))), at("09:39"));
    let bars = format!("{}{}{}", bar("09:40"), bar("09:41"), bar("09:42"));
    assert_eq!(until(&format!("{torn}{bars}")), at("09:42"));
    assert_eq!(until(&format!("{torn}BTC-USDT: filled 4-8")), at("09:42"));
}

#[test]
fn a_venues_clock_is_moved_by_its_trades_and_pulses_and_never_back() {
    let clock = |table: &str| btc(&fold(table)).clock;
    let trade = "BTC-USDT: 1 09:30 65000.00 0.5 buy";

    assert_eq!(clock(trade), at("09:30"));
    assert_eq!(clock(&format!("{trade}\nETH-USDT: 1 09:31 3500 1 buy")), at("09:31"));
    assert_eq!(clock(&format!("{trade}\npulse: pulse 09:40")), at("09:40"));
    assert_eq!(clock(&format!("{trade}; book 1 09:40 1x1 2x1")), at("09:40"));
    assert_eq!(clock(&format!("{trade}; diff 2-2 09:40 1x1 2x1")), at("09:40"));
    assert_eq!(clock(&format!("{trade}; lost 09:40")), at("09:30"));
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
    let mut half = copy_of(&half);
    half.fold(&entries[1]);
    half.fold(&entries[2]);

    assert_eq!(half.state_hash(), whole.state_hash());
    assert_ne!(Candles::default().state_hash(), whole.state_hash());
}

#[test]
fn the_ledger_tells_the_time_that_its_hours_took_to_close() {
    let clock = |table: &str| btc(&fold(table)).clock;
    let trade = "BTC-USDT: 1 09:30 65000.00 0.5 buy";
    let closed = "ledger: closed 09:12 10 12 9 11 3";

    assert_eq!(clock(closed), at("10:00:02"));
    assert_eq!(clock(&format!("{closed}\n{trade}")), at("10:00:02"));
    assert_eq!(clock(&format!("{trade}\n{closed}\npulse: pulse 10:01")), at("10:01"));
    // A bar tells it only where nothing else does.
    let bar = "ledger: native 1h 11:00 10 12 9 11 3";
    assert_eq!(clock(bar), at("12:00:02"));
    assert_eq!(clock(&format!("{bar}\n{trade}")), at("09:30"));
}

/// The times of what is due, each with its trades.
fn due(candles: &Candles, limit: usize) -> Vec<(String, Vec<(String, u64)>)> {
    let time = |instant: Timestamp| instant.to_shortest()[11..16].to_owned();
    let minute = |candle: &Candle| (time(candle.opened_at), candle.trades);
    let unrecorded = candles.unrecorded(limit).into_iter();
    unrecorded
        .map(|due| {
            (
                format!("{} {}", due.instrument, time(due.hour)),
                due.candles.iter().map(minute).collect(),
            )
        })
        .collect()
}

#[test]
fn an_hour_is_due_once_it_has_closed_and_until_it_is_recorded_as_it_is() {
    let trades = "BTC-USDT: 1 09:30 10 1 buy; 2 09:30:05 10 1 buy; 3 09:59:59 10 1 buy
                  ETH-USDT: 1 09:10 10 1 buy; 2 08:20 10 1 buy";
    let minutes = |minutes: &[(&str, u64)]| {
        minutes.iter().map(|(time, trades)| ((*time).to_owned(), *trades)).collect::<Vec<_>>()
    };
    let eight = ("ETH-USDT 08:00".to_owned(), minutes(&[("08:20", 1)]));
    let nine = ("BTC-USDT 09:00".to_owned(), minutes(&[("09:30", 2), ("09:59", 1)]));
    let other = ("ETH-USDT 09:00".to_owned(), minutes(&[("09:10", 1)]));

    assert_eq!(due(&fold(trades), 9), std::slice::from_ref(&eight));
    let closed = format!("{trades}\nBTC-USDT: 4 10:00:02 10 1 buy");
    assert_eq!(due(&fold(&closed), 9), [nine.clone(), eight.clone(), other.clone()]);
    assert_eq!(due(&fold(&closed), 1), [nine]);

    let recorded =
        format!("{closed}\nledger: closed 09:30 10 10 10 10 2; closed 09:59 10 10 10 10 1");
    assert_eq!(due(&fold(&recorded), 9), [eight.clone(), other.clone()]);
    let late = format!("{recorded}\nBTC-USDT: 0 09:30:01 9 1 buy");
    let nine = ("BTC-USDT 09:00".to_owned(), minutes(&[("09:30", 3), ("09:59", 1)]));
    assert_eq!(due(&fold(&late), 9), [nine, eight, other]);
}

#[test]
fn what_the_ledger_holds_stands_where_the_trades_are_gone() {
    let candles = fold(
        "ledger: closed 09:12 10 12 9 11 3; closed 09:14 11 11 11 11 1
         BTC-USDT: 7 10:30 20 1 buy",
    );
    let whole = btc(&candles).ladder.range(Interval::Hour, at("09:00"), at("10:00")).next();
    let whole = whole.unwrap();

    assert_eq!((whole.trades, whole.high.to_string()), (4, "12".to_owned()));
    assert_eq!(due(&candles, 9), []);
}

/// Something that is told of one instrument, a few seconds after what was told before.
#[derive(Debug, Clone)]
enum Told {
    /// A trade, so many seconds late.
    Trade {
        pause: i64,
        late: i64,
        price: u8,
    },
    /// Trades do not come for so long; then they may.
    Gap {
        pause: i64,
        ends: Option<bool>,
    },
    /// The oldest gap ends after all.
    LateEnd {
        filled: bool,
    },
    Pulse {
        pause: i64,
    },
    /// The job has its turn.
    Turn,
    /// The feed asks the venue for bars of the last minutes.
    Bars {
        interval: Interval,
        count: i64,
        price: u8,
    },
}

fn told() -> impl Strategy<Value = Told> {
    let late = prop_oneof![6 => Just(0), 1 => 1i64..200, 1 => 1_000i64..9_000];
    prop_oneof![
        9 => (1i64..900, late, 1u8..99).prop_map(|(pause, late, price)| Told::Trade { pause, late, price }),
        2 => (1i64..600, any::<Option<bool>>()).prop_map(|(pause, ends)| Told::Gap { pause, ends }),
        1 => any::<bool>().prop_map(|filled| Told::LateEnd { filled }),
        1 => (1i64..900).prop_map(|pause| Told::Pulse { pause }),
        3 => Just(Told::Turn),
        2 => (prop::sample::select(Interval::ALL.to_vec()), 1i64..40, 1u8..99)
            .prop_map(|(interval, count, price)| Told::Bars { interval, count, price }),
    ]
}

/// Returns the entries of both logs in the order in which they came to be.
fn told_entries(all: &[Told]) -> Vec<Entry> {
    let (mut candles, mut entries) = (Candles::default(), Vec::new());
    let (mut now, mut id) = (at("05:00"), 100);
    let time = |instant: Timestamp| instant.to_shortest()[11..19].to_owned();
    for told in all {
        let stream: Stream = "candles-binance.BTC-USDT".parse().unwrap();
        let lines = match told {
            Told::Trade { pause, late, price } => {
                now = now.plus(pause * 1_000_000);
                id += 1;
                let traded_at = time(now.plus(-late * 1_000_000));
                vec![format!(
                    "BTC-USDT: {id} {traded_at} {price} 1 buy; {} {traded_at} 5 2 sell",
                    id + 1_000
                )]
            }
            Told::Gap { pause, ends } => {
                let after = time(now);
                now = now.plus(pause * 1_000_000);
                id += 9;
                let mut lines = vec![format!("BTC-USDT: gap {id}-{id} {after} {}", time(now))];
                lines.extend(ends.map(|filled| {
                    let end = if filled { "filled" } else { "unfillable" };
                    format!("BTC-USDT: {} {after} 7 1 buy; {end} {id}-{id}", id + 5_000)
                }));
                lines
            }
            Told::LateEnd { filled } => {
                let btc = candles.get(&"binance".parse().unwrap(), &"BTC-USDT".parse().unwrap());
                let gap = btc.and_then(|btc| btc.open_gaps().next());
                let end = if *filled { "filled" } else { "unfillable" };
                let line = |gap: &Gap| format!("BTC-USDT: {end} {}-{}", gap.first_id, gap.last_id);
                gap.map(line).into_iter().collect()
            }
            Told::Pulse { pause } => {
                now = now.plus(pause * 1_000_000);
                vec![format!("pulse: pulse {}", time(now))]
            }
            Told::Turn => {
                for due in candles.unrecorded(2) {
                    let closed =
                        |candle| CandleEvent::CandleClosed { interval: Interval::Minute, candle };
                    let events = due.candles.into_iter().map(closed).map(Event::Candle).collect();
                    let entry = entry_of(stream.clone(), 1, events);
                    candles.fold(&entry);
                    entries.push(entry);
                }
                for due in candles.unrecorded_gaps(2) {
                    let stream: Stream = "gaps-binance.BTC-USDT".parse().unwrap();
                    let events = due.events.into_iter().map(Event::Market).collect();
                    let entry = entry_of(stream, 1, events);
                    candles.fold(&entry);
                    entries.push(entry);
                }
                vec![]
            }
            Told::Bars { interval, count, price } => {
                let first = interval.bucket(now).plus(-count * interval.length());
                let bar = |place: i64| {
                    let bar = Candle {
                        trades: u64::from(*price) % 7,
                        source: domain::candle::Source::Native,
                        ..Candle::filled(
                            first.plus(place * interval.length()),
                            price.to_string().parse().unwrap(),
                        )
                    };
                    Event::Candle(CandleEvent::CandleImported { interval: *interval, candle: bar })
                };
                let entry = entry_of(stream, 1, (0..*count).map(bar).collect());
                candles.fold(&entry);
                entries.push(entry);
                vec![]
            }
        };
        for entry in crate::sample::entries(&lines.join("\n")) {
            candles.fold(&entry);
            entries.push(entry);
        }
    }
    entries
}

fn answers(candles: &Candles) -> Vec<Page> {
    let btc = candles.get(&"binance".parse().unwrap(), &"BTC-USDT".parse().unwrap());
    let all = |interval| Query { interval, start: None, end: None, limit: 1_000, fill: true };
    let answers = |btc| Interval::ALL.map(|interval| all(interval).answer(btc)).to_vec();
    btc.map(answers).unwrap_or_default()
}

proptest! {
    /// Each log in its order, and both mixed in any way: the same state, and the same answers. So
    /// a restart, which reads one log after the other, shows what was shown before.
    #[test]
    fn the_two_logs_give_the_same_however_they_are_interleaved(
        all in prop::collection::vec(told(), 1..60),
        ledger_first in prop::collection::vec(any::<bool>(), 120),
    ) {
        let entries = told_entries(&all);
        let fold = |entries: Vec<&Entry>| {
            let mut candles = Candles::default();
            for entry in entries {
                candles.fold(entry);
            }
            candles
        };
        let of = |log| entries.iter().filter(move |entry| entry.log == log);
        let as_they_came = fold(entries.iter().collect());
        let one_by_one = fold(of(Log::Ledger).chain(of(Log::Market)).collect());
        let mixed = {
            let (mut ledger, mut market) = (of(Log::Ledger).peekable(), of(Log::Market).peekable());
            let mut choices = ledger_first.iter().cycle();
            let mut entries = Vec::new();
            while ledger.peek().is_some() || market.peek().is_some() {
                entries.extend(match choices.next() {
                    Some(true) => ledger.next().or_else(|| market.next()),
                    _ => market.next().or_else(|| ledger.next()),
                });
            }
            fold(entries)
        };
        for other in [one_by_one, mixed] {
            prop_assert_eq!(answers(&other), answers(&as_they_came));
            prop_assert_eq!(other.state_hash(), as_they_came.state_hash());
            prop_assert_eq!(other.unrecorded(99), as_they_came.unrecorded(99));
            prop_assert_eq!(other.unrecorded_gaps(99), as_they_came.unrecorded_gaps(99));
            prop_assert_eq!(&other, &as_they_came);
        }
    }
}
