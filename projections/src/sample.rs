//! Entries drawn as little tables, for the tests of the views.

pub(crate) mod accounts;
pub(crate) mod keys;

use domain::book::{BookDiff, BookSnapshot, Level, LostReason, Session};
use domain::candle::event::CandleEvent;
use domain::candle::{Candle, Interval, Source};
use domain::event::Event;
use domain::market::event::{GapReason, MarketEvent, Told};
use domain::tick::Tick;
use domain::time::{SECOND, Timestamp};
use eventlog::entry::{Actor, Entry, Hash, Offset, Version};
use eventlog::stream::Stream;
use uuid::Uuid;

use crate::view::View;

/// Returns a view that has taken back all parts of this one, the last first.
pub(crate) fn copy_of<V: View>(view: &V) -> V {
    let mut copy = V::default();
    for name in view.parts().iter().rev() {
        copy.restore(name, &view.part(name).unwrap()).unwrap();
    }
    copy.take_changed();
    copy
}

/// Returns the instant `time`, such as `09:30` or `09:30:01.5`, of a certain day.
pub(crate) fn at(time: &str) -> Timestamp {
    let seconds = if time.len() == 5 { ":00" } else { "" };
    format!("2024-03-21T{time}{seconds}Z").parse().unwrap()
}

/// Reads one entry a line: `STREAM: EVENT; EVENT…` where an event is one of
/// `ID TIME PRICE QUANTITY buy|sell` (received a second before its time, as a slow clock would),
/// `gap FIRST-LAST AFTER BEFORE`, `filled FIRST-LAST`, `unfillable FIRST-LAST`, `pulse TIME`,
/// `book ID TIME BIDS ASKS` (levels such as `100x1,99x2`, or `-`), `diff FIRST-LAST TIME BIDS ASKS`
/// and `lost TIME`, all three received a second before their time. In the stream `ledger`:
/// `closed TIME OPEN HIGH LOW CLOSE TRADES` and `native INTERVAL TIME OPEN HIGH LOW CLOSE TRADES`;
/// in the stream `copy`, the ledger's gaps, events as in a market.
pub(crate) fn entries(table: &str) -> Vec<Entry> {
    let lines = table.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.zip(1..).map(|(line, offset)| entry(line, offset)).collect()
}

fn entry(line: &str, offset: u64) -> Entry {
    let (stream, events) = line.split_once(": ").unwrap();
    let stream: Stream = match stream {
        "pulse" => "pulse-binance".parse().unwrap(),
        "ledger" => "candles-binance.BTC-USDT".parse().unwrap(),
        "copy" => "gaps-binance.BTC-USDT".parse().unwrap(),
        instrument if instrument.contains('.') => format!("market-{instrument}").parse().unwrap(),
        instrument => format!("market-binance.{instrument}").parse().unwrap(),
    };
    let event = |drawn: &str| match stream {
        Stream::Candles { .. } => Event::Candle(candle_event(drawn)),
        _ => Event::Market(market_event(drawn)),
    };
    entry_of(stream.clone(), offset, events.split("; ").map(event).collect())
}

/// Returns the entry at `offset` that holds these events.
pub(crate) fn entry_of(stream: Stream, offset: u64, events: Vec<Event>) -> Entry {
    Entry {
        log: stream.log(),
        offset: Offset(offset),
        stream,
        version: Version(offset),
        append_id: Uuid::from_u128(u128::from(offset)),
        command_id: Uuid::nil(),
        recorded_at: at("23:59"),
        actor: Actor { principal: "binance".into(), role: "feed".into(), via: "intake".into() },
        correlation_id: None,
        causation: None,
        prev_hash: Hash::default(),
        hash: Hash::default(),
        events,
    }
}

fn candle_event(event: &str) -> CandleEvent {
    let words: Vec<&str> = event.split_whitespace().collect();
    let candle = |time: &str, prices: &[&str], source| {
        let price = |place: usize| prices[place].parse().unwrap();
        Candle {
            high: price(1),
            low: price(2),
            close: price(3),
            trades: prices[4].parse().unwrap(),
            source,
            ..Candle::filled(at(time), price(0))
        }
    };
    match words.as_slice() {
        ["closed", time, prices @ ..] => CandleEvent::CandleClosed {
            interval: Interval::Minute,
            candle: candle(time, prices, Source::Built),
        },
        ["native", interval, time, prices @ ..] => CandleEvent::CandleImported {
            interval: interval.parse().unwrap(),
            candle: candle(time, prices, Source::Native),
        },
        _ => panic!("no event reads like {event:?}"),
    }
}

fn market_event(event: &str) -> MarketEvent {
    let words: Vec<&str> = event.split_whitespace().collect();
    let ids = |range: &str| {
        let (first, last) = range.split_once('-').unwrap();
        (first.parse::<u64>().unwrap(), last.parse::<u64>().unwrap())
    };
    match words.as_slice() {
        ["gap", range, after, before] => {
            let (first_id, last_id) = ids(range);
            MarketEvent::FeedGapOpened { first_id, last_id, after: at(after), before: at(before) }
        }
        ["filled", range] => {
            let (first_id, last_id) = ids(range);
            MarketEvent::FeedGapFilled { first_id, last_id }
        }
        ["unfillable", range] => {
            let (first_id, last_id) = ids(range);
            let reason = GapReason::TooManyGaps;
            MarketEvent::FeedGapUnfillable { first_id, last_id, reason }
        }
        ["pulse", time] => {
            MarketEvent::PulseObserved { venue_time: at(time), received_at: at(time) }
        }
        ["book", id, time, bids, asks] => MarketEvent::BookSnapshotObserved {
            told: told(time),
            snapshot: BookSnapshot {
                update_id: id.parse().unwrap(),
                bids: levels(bids),
                asks: levels(asks),
            },
        },
        ["diff", range, time, bids, asks] => {
            let (first_id, last_id) = ids(range);
            let (bids, asks) = (levels(bids), levels(asks));
            let diff = BookDiff { first_id, last_id, previous_id: None, bids, asks };
            MarketEvent::BookDiffObserved { told: told(time), diff }
        }
        ["lost", time] => {
            MarketEvent::BookLost { told: told(time), reason: LostReason::Disconnected }
        }
        [id, time, price, quantity, taker] => MarketEvent::TickObserved(Tick {
            trade_id: id.parse().unwrap(),
            price: price.parse().unwrap(),
            quantity: quantity.parse().unwrap(),
            taker: serde_json::from_str(&format!("\"{taker}\"")).unwrap(),
            traded_at: at(time),
            received_at: at(time).plus(-SECOND),
        }),
        _ => panic!("no event reads like {event:?}"),
    }
}

fn told(time: &str) -> Told {
    let venue_time = at(time);
    Told { session: Session(1), venue_time, received_at: venue_time.plus(-SECOND) }
}

fn levels(drawn: &str) -> Vec<Level> {
    let level = |level: &str| {
        let (price, quantity) = level.split_once('x').unwrap();
        Level { price: price.parse().unwrap(), quantity: quantity.parse().unwrap() }
    };
    if drawn == "-" { Vec::new() } else { drawn.split(',').map(level).collect() }
}
