//! Entries drawn as little tables, for the tests of the views.

use domain::event::Event;
use domain::market::event::{GapReason, MarketEvent};
use domain::tick::Tick;
use domain::time::{SECOND, Timestamp};
use eventlog::entry::{Actor, Entry, Hash, Offset, Version};
use eventlog::stream::{Log, Stream};
use uuid::Uuid;

/// Returns the instant `time`, such as `09:30` or `09:30:01.5`, of a certain day.
pub(crate) fn at(time: &str) -> Timestamp {
    let seconds = if time.len() == 5 { ":00" } else { "" };
    format!("2024-03-21T{time}{seconds}Z").parse().unwrap()
}

/// Reads one entry a line: `STREAM: EVENT; EVENT…` where an event is one of
/// `ID TIME PRICE QUANTITY buy|sell` (received a second before its time, as a slow clock would),
/// `gap FIRST-LAST AFTER BEFORE`, `filled FIRST-LAST`, `unfillable FIRST-LAST`, `pulse TIME`.
pub(crate) fn entries(table: &str) -> Vec<Entry> {
    let lines = table.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.zip(1..).map(|(line, offset)| entry(line, offset)).collect()
}

fn entry(line: &str, offset: u64) -> Entry {
    let (stream, events) = line.split_once(": ").unwrap();
    let stream: Stream = match stream {
        "pulse" => "pulse-binance".parse().unwrap(),
        instrument if instrument.contains('.') => format!("market-{instrument}").parse().unwrap(),
        instrument => format!("market-binance.{instrument}").parse().unwrap(),
    };
    Entry {
        log: Log::Market,
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
        events: events.split("; ").map(|event| Event::Market(market_event(event))).collect(),
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
