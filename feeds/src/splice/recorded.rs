//! The splice on recorded frames, against the reference books.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use domain::book::Level;
use flate2::read::MultiGzDecoder;
use rust_decimal::Decimal;
use serde::Deserialize;

use super::*;
use crate::binance::{Binance, Market};
use crate::recording::lines::Lines;
use crate::samples::shared_data;
use crate::venue::{Decoded, Venue};

const SPOT: &[&str] =
    &["binance_spot_btcusdt_20240808.rec.gz", "binance_spot_btcusdt_20240809.rec.gz"];
const USDM: &[&str] = &["binance_usdm_btcusdt_20240808.rec.gz"];

#[derive(Deserialize)]
struct Checkpoint {
    update_id: u64,
    bids: Vec<(Decimal, Decimal)>,
    asks: Vec<(Decimal, Decimal)>,
    n_bids: usize,
    n_asks: usize,
}

/// What one frame says of the book.
fn decoded(data: &Path, files: &[&str]) -> Vec<Observation> {
    let venue = Binance::new(Market::Spot, &["BTC-USDT".parse().unwrap()]);
    let paths = files.iter().map(|file| data.join("recordings").join(file)).collect();
    let mut lines = Lines::open(paths).unwrap();
    let mut heard = Vec::new();
    while let Some(line) = lines.read().unwrap() {
        let (received_at, frame) = line.parts().unwrap();
        match venue.decode(frame, received_at) {
            Ok(Decoded::One(observation)) => heard.push(observation),
            other => panic!("{other:?}"),
        }
    }
    heard
}

fn levels(wire: &[(Decimal, Decimal)]) -> Vec<Level> {
    let level = |&(price, quantity): &(Decimal, Decimal)| Level {
        price: domain::amount::Price::new(price).unwrap(),
        quantity,
    };
    wire.iter().map(level).collect()
}

/// What became of a recording.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    snapshots: Vec<u64>,
    /// The first diff that was handed on.
    first_kept: Option<(u64, u64)>,
    buffered: usize,
    dropped: usize,
    applied: usize,
    lost: Vec<LostReason>,
    witnessed: u64,
    checkpoints: usize,
}

/// Runs what was heard through the splice, and holds a book made of what was handed on alone
/// against each checkpoint: after the splice, after each 250th diff, and at the end.
fn run(heard: Vec<Observation>, checkpoints: &[Checkpoint]) -> Outcome {
    let btc: Instrument = "BTC-USDT".parse().unwrap();
    let mut splices = Splices::default();
    let (mut outcome, mut out) = (Outcome::default(), Vec::new());
    let mut book: Option<OrderBook> = None;
    let mut expected = checkpoints.iter();
    let mut compare = |book: &OrderBook, outcome: &mut Outcome| {
        let Some(expected) = expected.next() else { return };
        assert_eq!(book.last_id(), expected.update_id);
        assert_eq!(book.bids().take(10).collect::<Vec<_>>(), levels(&expected.bids));
        assert_eq!(book.asks().take(10).collect::<Vec<_>>(), levels(&expected.asks));
        assert_eq!(book.counts(), (expected.n_bids, expected.n_asks));
        outcome.checkpoints += 1;
    };
    for observation in heard {
        let is_diff = matches!(observation.heard, Heard::Diff(..));
        splices.hear(observation, &mut out);
        let kept = out.iter().filter(|told| matches!(told.heard, Heard::Diff(..))).count();
        if is_diff && outcome.snapshots.is_empty() {
            outcome.buffered += 1;
        }
        let whole = matches!(out.first(), Some(told) if matches!(told.heard, Heard::Snapshot(..)));
        for told in out.drain(..) {
            match told.heard {
                Heard::Snapshot(_, snapshot) => {
                    outcome.snapshots.push(snapshot.update_id);
                    book = Some(OrderBook::of(&snapshot).unwrap());
                    outcome.dropped = outcome.buffered - kept;
                }
                Heard::Diff(_, diff) => {
                    let book = book.as_mut().unwrap();
                    assert_eq!(book.apply(&diff), Ok(Applied::Changed));
                    outcome.first_kept.get_or_insert((diff.first_id, diff.last_id));
                    outcome.applied += 1;
                    if outcome.applied % 250 == 0 {
                        compare(book, &mut outcome);
                    }
                }
                Heard::BookLost(_, reason) => outcome.lost.push(reason),
                _ => {}
            }
        }
        if let Some(book) = book.as_ref().filter(|_| whole) {
            compare(book, &mut outcome);
        }
    }
    if let Some(book) = &book {
        compare(book, &mut outcome);
        assert_eq!(splices.of(&btc).book().unwrap(), book);
    }
    outcome.witnessed = splices.of(&btc).witnessed();
    outcome
}

fn checkpoints(data: &Path, name: &str) -> Vec<Checkpoint> {
    let text = fs::read_to_string(data.join("oracles").join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn recorded_books_equal_every_checkpoint_and_every_witness() {
    let Some(data) = shared_data() else { return };
    let spot = checkpoints(&data, "binance_spot_btcusdt_book_checkpoints.jsonl");
    assert_eq!(
        run(decoded(&data, SPOT), &spot),
        Outcome {
            snapshots: vec![50_093_239_218],
            first_kept: Some((50_093_239_208, 50_093_239_224)),
            buffered: 3,
            dropped: 2,
            applied: 6_493,
            lost: Vec::new(),
            witnessed: 1_072,
            checkpoints: spot.len(),
        }
    );
    let usdm = checkpoints(&data, "binance_usdm_btcusdt_book_checkpoints.jsonl");
    assert_eq!(
        run(decoded(&data, USDM), &usdm),
        Outcome {
            snapshots: vec![5_123_107_852_948],
            first_kept: Some((5_123_107_850_310, 5_123_107_853_551)),
            buffered: 6,
            dropped: 4,
            applied: 6_547,
            lost: Vec::new(),
            witnessed: 629,
            checkpoints: usdm.len(),
        }
    );
}

#[test]
fn a_removed_diff_or_a_flipped_digit_is_noticed_and_a_snapshot_heals_it() {
    let Some(data) = shared_data() else { return };
    for (files, reason) in [(SPOT, LostReason::Hole), (USDM, LostReason::Hole)] {
        let whole = decoded(&data, files);
        let diffs: Vec<usize> = whole
            .iter()
            .enumerate()
            .filter(|(_, told)| matches!(told.heard, Heard::Diff(..)))
            .map(|(place, _)| place)
            .collect();

        let mut healed = whole.clone();
        let snapshot = book_at(&whole, diffs[1_010]);
        healed.insert(diffs[1_012], snapshot.clone());
        healed.remove(diffs[1_000]);
        let outcome = run(healed, &[]);

        assert_eq!(outcome.lost, [reason]);
        assert_eq!(outcome.snapshots.len(), 2);
        assert_eq!(
            last_book(&whole),
            last_book_with(&whole, diffs[1_000], &snapshot, diffs[1_012])
        );
    }
    for files in [SPOT, USDM] {
        let mut altered = decoded(&data, files);
        // The best bid of the first witnessed update is another than the venue says.
        let place = altered.iter().position(|told| matches!(told.heard, Heard::Snapshot(..)));
        let tops: BTreeMap<u64, Top> = altered
            .iter()
            .filter_map(|told| match &told.heard {
                Heard::Top(_, top) => Some((top.update_id, *top)),
                _ => None,
            })
            .collect();
        let flipped =
            altered.iter_mut().skip(place.unwrap()).filter_map(|told| match &mut told.heard {
                Heard::Diff(_, diff) => tops.get(&diff.last_id).map(|top| (diff, *top)),
                _ => None,
            });
        let (diff, top) = flipped
            .filter(|(diff, top)| diff.bids.iter().any(|bid| bid.price == top.bid.price))
            .nth(20)
            .unwrap();
        let bid = diff.bids.iter_mut().find(|bid| bid.price == top.bid.price).unwrap();
        bid.quantity += Decimal::ONE;

        assert_eq!(run_to_loss(altered), Some(LostReason::Contradicted));
    }
}

/// Returns the book as it stands after the observation at `place`, as a raw snapshot.
fn book_at(heard: &[Observation], place: usize) -> Observation {
    let mut splices = Splices::default();
    let mut out = Vec::new();
    for observation in &heard[..=place] {
        splices.hear(observation.clone(), &mut out);
    }
    let btc: Instrument = "BTC-USDT".parse().unwrap();
    let snapshot = splices.of(&btc).book().unwrap().snapshot(usize::MAX);
    Observation { heard: Heard::Snapshot(btc, snapshot), ..heard[place].clone() }
}

fn last_book(heard: &[Observation]) -> (Vec<Level>, Vec<Level>) {
    let mut splices = Splices::default();
    let mut out = Vec::new();
    for observation in heard {
        splices.hear(observation.clone(), &mut out);
        out.clear();
    }
    let btc: Instrument = "BTC-USDT".parse().unwrap();
    let book = splices.of(&btc).book().unwrap();
    (book.bids().take(10).collect(), book.asks().take(10).collect())
}

fn last_book_with(
    heard: &[Observation],
    removed: usize,
    snapshot: &Observation,
    at: usize,
) -> (Vec<Level>, Vec<Level>) {
    let mut heard = heard.to_vec();
    heard.insert(at, snapshot.clone());
    heard.remove(removed);
    last_book(&heard)
}

fn run_to_loss(heard: Vec<Observation>) -> Option<LostReason> {
    let mut splices = Splices::default();
    let mut out = Vec::new();
    for observation in heard {
        splices.hear(observation, &mut out);
    }
    out.into_iter().find_map(|told| match told.heard {
        Heard::BookLost(_, reason) => Some(reason),
        _ => None,
    })
}

#[test]
fn the_first_kept_diff_may_begin_right_after_the_snapshot_at_every_recorded_venue() {
    let Some(data) = shared_data() else { return };
    let folder = data.join("frames/live2026");
    let venue = Binance::new(Market::Spot, &["BTC-USDT".parse().unwrap()]);
    let snapshot = fs::read_to_string(folder.join("binance_us_snapshot.json")).unwrap();
    let diffs = fs::read_to_string(folder.join("binance_us_depth.jsonl")).unwrap();
    let heard = diffs.lines().chain([snapshot.trim()]).map(|frame| {
        match venue.decode(frame.as_bytes(), Timestamp::default()) {
            Ok(Decoded::One(observation)) => observation,
            other => panic!("{other:?}"),
        }
    });

    let outcome = run(heard.collect(), &[]);

    assert_eq!(outcome.snapshots, [3_297_892_542]);
    assert_eq!(outcome.first_kept.map(|(first, _)| first), Some(3_297_892_543));
    assert_eq!(outcome.lost, []);
}

#[test]
fn four_books_of_one_connection_are_spliced_without_a_hole() {
    #[derive(Deserialize)]
    struct Answer<'a> {
        url: &'a str,
        received: f64,
        #[serde(borrow)]
        body: &'a serde_json::value::RawValue,
    }
    let Some(data) = shared_data() else { return };
    let unpacked = |name: &str| {
        let mut text = String::new();
        let file = fs::File::open(data.join("frames").join(name)).unwrap();
        MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
        text
    };
    let four = ["NKN-USDT", "BLZ-ETH", "LRC-BTC", "RUNE-EUR"].map(|name| name.parse().unwrap());
    let mut heard: Vec<Observation> = Vec::new();
    let venue = Binance::new(Market::Spot, &four);
    for line in unpacked("binance_spot_combined.ws.gz").lines() {
        let (nanos, frame) = line.split_once(' ').unwrap();
        let at = Timestamp::from_micros(nanos.parse::<i64>().unwrap() / 1_000);
        match venue.decode(frame.as_bytes(), at) {
            Ok(Decoded::One(observation)) => heard.push(observation),
            Ok(Decoded::Ignored) => {}
            other => panic!("{other:?}"),
        }
    }
    for line in unpacked("binance_spot_depth.http.jsonl.gz").lines() {
        let answer: Answer<'_> = serde_json::from_str(line).unwrap();
        #[expect(clippy::cast_possible_truncation, reason = "far below 2^52")]
        let at = Timestamp::from_micros((answer.received * 1e6) as i64);
        let spelled = |one: &&Instrument| {
            answer.url.contains(&format!("symbol={}{}&", one.base(), one.quote()))
        };
        let one = Binance::new(Market::Spot, &[four.iter().find(spelled).unwrap().clone()]);
        match one.decode(answer.body.get().as_bytes(), at) {
            Ok(Decoded::One(observation)) => heard.push(observation),
            other => panic!("{other:?}"),
        }
    }
    heard.sort_by_key(|observation| observation.received_at);

    let mut splices = Splices::default();
    let mut out = Vec::new();
    for observation in heard {
        splices.hear(observation, &mut out);
    }

    for instrument in &four {
        let of = |told: &&Observation| match &told.heard {
            Heard::Snapshot(of, _) | Heard::Diff(of, _) | Heard::BookLost(of, _) => {
                of == instrument
            }
            _ => false,
        };
        let told: Vec<_> = out.iter().filter(of).collect();
        let [Heard::Snapshot(_, book), Heard::Diff(_, first), ..] =
            [&told[0].heard, &told[1].heard]
        else {
            panic!("{instrument}: {:?}", told[0])
        };
        assert_eq!(first.first_id, book.update_id + 1, "{instrument}");
        assert!(!told.iter().any(|told| matches!(told.heard, Heard::BookLost(..))));
        assert!(splices.of(instrument).book().is_some());
    }
}
