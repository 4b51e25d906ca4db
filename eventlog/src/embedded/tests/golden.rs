//! Logs that were written once and must open for ever, one of them cut at its beginning. Their files
//! are never edited again: what this version writes is held against them byte for byte.

use std::fs;
use std::path::Path;

use domain::market::event::MarketEvent;
use domain::tick::{Side, Tick};
use domain::time::Timestamp;
use uuid::Uuid;

use super::*;
use crate::entry::{Actor, Causation};

const OPTIONS: Options = Options { segment_bytes: 900, prepare_bytes: 64, append_ids_max: 8 };

fn draft(id: u128, stream: &str, events: Vec<MarketEvent>) -> Draft {
    Draft {
        stream: stream.parse().unwrap(),
        append_id: Uuid::from_u128(id),
        command_id: Uuid::from_u128(id + 100),
        recorded_at: Timestamp::from_micros(1_711_013_400_123_456),
        actor: Actor { principal: "binance".into(), role: "feed".into(), via: "intake".into() },
        correlation_id: Some("golden".to_owned()).filter(|_| id == 2),
        causation: Some(Causation { stream: Stream::System, version: Version(3) })
            .filter(|_| id == 2),
        events: events.into_iter().map(Into::into).collect(),
    }
}

fn tick(id: u64, price: &str, quantity: &str) -> MarketEvent {
    MarketEvent::TickObserved(Tick {
        trade_id: id,
        price: price.parse().unwrap(),
        quantity: quantity.parse().unwrap(),
        taker: if id.is_multiple_of(2) { Side::Sell } else { Side::Buy },
        traded_at: "2024-03-21T09:30:00Z".parse().unwrap(),
        received_at: "2024-03-21T09:30:00.1Z".parse().unwrap(),
    })
}

fn groups() -> Vec<Vec<Draft>> {
    let gap = MarketEvent::FeedGapFilled { first_id: 3, last_id: 4 };
    let (btc, eth) = ("market-binance.BTC-USDT", "market-binance.ETH-USDT");
    vec![
        vec![draft(1, btc, vec![tick(1, "65432.10", "0.020"), tick(2, "65432.00", "1.500")])],
        vec![draft(2, btc, vec![gap.clone()]), draft(3, eth, vec![tick(9, "3500.5", "2")])],
        vec![draft(4, eth, vec![tick(10, "3500.5", "2"), gap])],
        vec![draft(5, btc, vec![tick(5, "65000.00", "0.001")])],
    ]
}

fn golden(name: &str) -> Bytes {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    let mut bytes = Bytes::new();
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        bytes.insert(file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap());
    }
    bytes
}

/// Drops the first segment, whose one entry is the first of its stream.
fn trim(log: &Embedded) {
    let up_to = Offset(1);
    let all = Retention { recorded_before: Timestamp::MAX, bytes_max: u64::MAX, up_to };
    assert_eq!(log.shared.trim(all).unwrap().floor, up_to);
}

#[test]
fn this_version_writes_the_golden_log() {
    let ram = Ram::of(&Bytes::new());
    write(&ram, OPTIONS, &groups());
    assert!(ram.bytes() == segments(&golden("market")));

    let (log, _) = Embedded::open(ram.clone(), Log::Market, OPTIONS).unwrap();
    assert!(ram.bytes() == golden("market"), "with the index of each sealed segment");

    trim(&log);
    assert!(ram.bytes() == golden("trimmed"));
}

#[tokio::test]
async fn the_golden_log_opens() {
    // The indexes came later: a log without them opens all the same.
    for bytes in [golden("market"), segments(&golden("market"))] {
        let (log, report) = Embedded::open(Ram::of(&bytes), Log::Market, OPTIONS).unwrap();
        assert_eq!(report, Opened { entries: 5, cut: None });
        assert_holds(&log, Offset(0)).await;
    }
}

#[tokio::test]
async fn the_golden_log_that_was_trimmed_opens() {
    let ram = Ram::of(&golden("trimmed"));
    let (log, report) = Embedded::open(ram.clone(), Log::Market, OPTIONS).unwrap();
    assert_eq!(report, Opened { entries: 4, cut: None });
    assert_eq!(log.floor().await, Ok(Offset(1)));
    assert_holds(&log, Offset(1)).await;
    assert_eq!(log.shared.reader.index().forms(), [1, 0, 0], "its index reads");

    let again = groups()[0][0].clone();
    let appended = log.append(Draft { events: again.events.clone(), ..again }, Expected::Empty);
    let conflict = LogError::Conflict { actual: Some(Version(3)) };
    assert_eq!(appended.await, Err(conflict), "the floor remembers a stream's newest id alone");
}

/// Reads the entries after a floor, by the log and by their streams.
async fn assert_holds(log: &Embedded, floor: Offset) {
    let entries = read_all(log).await;
    let passed = usize::try_from(floor.0).unwrap();
    let drafts: Vec<Draft> = groups().into_iter().flatten().skip(passed).collect();
    assert_eq!(entries.len(), drafts.len());
    for (entry, draft) in entries.iter().zip(&drafts) {
        assert_eq!((&entry.stream, &entry.events), (&draft.stream, &draft.events));
        assert_eq!(entry.append_id, draft.append_id);
        let before = Version(entry.version.0 - 1);
        let read = log.read_stream(&entry.stream, before, 1).await;
        assert_eq!(read, Ok(vec![entry.clone()]));
    }
    let hashes: Vec<_> = entries.iter().map(|entry| entry.hash.to_string()).collect();
    let golden = [
        "8f5804375a68da6c6b6466dde80afb4eb31cd9f70d236f0a698d190df2e06f79",
        "376529437ed044009b2c49b2de9437bfe68bc35496c4aadfd392456ebb5dda85",
        "cf2cae303a7f1b05bdcab28ce8a1e21923d8f2b67b2691d83c98e827b3641251",
        "e482992f60095f0e6dc7f6bef48004a10501451773379912de998034b4c709f0",
        "d5e62bc4fbfc281751c84f7df49e8e6aba91708b89923ae34bcbc61c1e5ef2f5",
    ];
    assert_eq!(hashes, golden[passed..]);
}
