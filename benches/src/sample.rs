//! What is measured with: drafts, ticks and folders.

use std::path::{Path, PathBuf};

use domain::amount::{Price, Quantity};
use domain::event::Event;
use domain::market::event::MarketEvent;
use domain::tick::{Side, Tick};
use domain::time::Timestamp;
use eventlog::entry::{Actor, Draft};
use eventlog::stream::Stream;
use uuid::Uuid;

pub fn small_recording() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../feeds/samples/simulated_btcusdt.rec")
}

/// A folder for one round, on the disk that the project stands on: a memory disk has no fsync.
pub fn folder() -> std::io::Result<tempfile::TempDir> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    std::fs::create_dir_all(&target)?;
    tempfile::tempdir_in(target)
}

pub fn stream(number: usize) -> Stream {
    format!("market-bench.B{number}-USDT").parse().expect("a stream's name")
}

/// A draft whose body has about 400 bytes.
pub fn small_draft(stream: &Stream, id: u128) -> Draft {
    draft(stream, id, vec![Event::Market(MarketEvent::FeedGapFilled { first_id: 1, last_id: 2 })])
}

/// A draft of 256 ticks, the next ones after `first_id`.
pub fn batch(stream: &Stream, first_id: u64) -> Draft {
    let ticks = (first_id..first_id + 256).map(tick).map(MarketEvent::TickObserved);
    draft(stream, u128::from(first_id), ticks.map(Event::Market).collect())
}

/// Some ten trades a second that wander about.
pub fn tick(id: u64) -> Tick {
    let at = 1_711_013_400_000_000 + i64::try_from(id).expect("a small id") * 97_000;
    let wander = i64::try_from(id * 7_919 % 4_001).expect("a small number") - 2_000;
    Tick {
        trade_id: id,
        price: Price::of_units(6_500_000 + wander, 2).expect("a price"),
        quantity: Quantity::of_units(1 + wander.abs() * 37, 5).expect("a quantity"),
        taker: if wander % 2 == 0 { Side::Buy } else { Side::Sell },
        traded_at: Timestamp::from_micros(at),
        received_at: Timestamp::from_micros(at + 40_000),
    }
}

fn draft(stream: &Stream, id: u128, events: Vec<Event>) -> Draft {
    Draft {
        stream: stream.clone(),
        append_id: Uuid::from_u128(id + 1),
        command_id: Uuid::from_u128(id + 1),
        recorded_at: Timestamp::from_micros(1_711_013_400_000_000),
        actor: Actor { principal: "bench".into(), role: "feed".into(), via: "bench".into() },
        correlation_id: None,
        causation: None,
        events,
    }
}
