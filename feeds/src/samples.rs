//! What tests are fed with: our samples, the shared recordings, and observations as text.

use std::fmt::Write;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use domain::book::Level;
use domain::observation::{Heard, Observation};
use domain::tick::Side;
use domain::time::Timestamp;
use rust_decimal::Decimal;

/// Frames written by hand, one a line.
pub(crate) const BINANCE_SPOT: &str = include_str!("../samples/binance_spot.jsonl");
pub(crate) const BINANCE_USDM: &str = include_str!("../samples/binance_usdm.jsonl");

/// Returns the path of a sample.
pub(crate) fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name)
}

/// Returns the folder of the shared recordings, or says that there is none.
pub(crate) fn shared_data() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("ENTASIS_DATA").map_or_else(beside, PathBuf::from);
    if data.join("recordings").is_dir() {
        return Some(data);
    }
    // Not `println!`: what a test that passes prints by that way is hidden.
    writeln!(std::io::stderr(), "skipped: no recordings").expect("stderr is open");
    None
}

/// Returns an observation as one line, to be compared and read.
pub(crate) fn show(observation: &Observation) -> String {
    let told = observation.venue_time.map_or("-".to_owned(), Timestamp::to_millis_text);
    match &observation.heard {
        Heard::Tick(instrument, tick) => format!(
            "tick {instrument} #{} {:?} {} at {}, traded {}, told {told}",
            tick.trade_id,
            tick.taker,
            tick.quantity,
            tick.price,
            tick.traded_at.to_millis_text(),
        ),
        Heard::Top(instrument, top) => {
            let (bid, ask) = (levels(&[top.bid]), levels(&[top.ask]));
            format!("top {instrument} #{} {bid} | {ask}, told {told}", top.update_id)
        }
        Heard::Snapshot(instrument, book) => {
            let (bids, asks) = (levels(&book.bids), levels(&book.asks));
            format!("book {instrument} #{} {bids} | {asks}, told {told}", book.update_id)
        }
        Heard::Diff(instrument, diff) => {
            let (bids, asks) = (levels(&diff.bids), levels(&diff.asks));
            let after = diff.previous_id.map(|id| format!(" after {id}")).unwrap_or_default();
            let ids = format!("#{}..{}{after}", diff.first_id, diff.last_id);
            format!("diff {instrument} {ids} {bids} | {asks}, told {told}")
        }
        Heard::Beat => "beat".to_owned(),
        other => format!("{other:?}"),
    }
}

fn levels(levels: &[Level]) -> String {
    let shown = |level: &Level| format!("{}×{}", level.price, level.quantity);
    levels.iter().map(shown).collect::<Vec<_>>().join(" ")
}

/// Writes an observation as a line of a recording, in the words of Binance spot.
pub(crate) fn write_line(observation: &Observation, out: &mut String) {
    let nanos = observation.received_at.micros() * 1_000;
    let millis = observation.venue_time.map_or(0, |at| at.micros() / 1_000);
    let frame = match &observation.heard {
        Heard::Tick(_, tick) => format!(
            r#"{{"stream":"btcusdt@trade","data":{{"e":"trade","E":{millis},"s":"BTCUSDT","t":{},"p":"{}","q":"{}","T":{millis},"m":{},"M":true}}}}"#,
            tick.trade_id,
            padded(tick.price.value()),
            padded(tick.quantity.value()),
            tick.taker == Side::Sell,
        ),
        Heard::Top(_, top) => format!(
            r#"{{"stream":"btcusdt@bookTicker","data":{{"u":{},"s":"BTCUSDT","b":"{}","B":"{}","a":"{}","A":"{}"}}}}"#,
            top.update_id,
            padded(top.bid.price.value()),
            padded(top.bid.quantity),
            padded(top.ask.price.value()),
            padded(top.ask.quantity),
        ),
        Heard::Diff(_, diff) => format!(
            r#"{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":{millis},"s":"BTCUSDT","U":{},"u":{},"b":{},"a":{}}}}}"#,
            diff.first_id,
            diff.last_id,
            pairs(&diff.bids),
            pairs(&diff.asks),
        ),
        Heard::Snapshot(_, book) => format!(
            r#"{{"lastUpdateId":{},"bids":{},"asks":{}}}"#,
            book.update_id,
            pairs(&book.bids),
            pairs(&book.asks),
        ),
        // No venue says such things in a frame.
        Heard::BookLost(..)
        | Heard::Candles(..)
        | Heard::TradesGone(..)
        | Heard::Listed(..)
        | Heard::Link(..)
        | Heard::Beat => return,
    };
    writeln!(out, "{nanos} {frame}").expect("a String takes what is written");
}

fn pairs(levels: &[Level]) -> String {
    let pair = |level: &Level| {
        format!(r#"["{}","{}"]"#, padded(level.price.value()), padded(level.quantity))
    };
    format!("[{}]", levels.iter().map(pair).collect::<Vec<_>>().join(","))
}

/// Eight digits after the point, as spot sends all its numbers.
fn padded(value: Decimal) -> String {
    format!("{value:.8}")
}
