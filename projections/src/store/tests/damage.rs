//! A file that was harmed in a thousand places: what is loaded is true, or nothing.

use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use eventlog::stream::Log;

use super::super::archive::Direction;
use super::super::rows::ArchivedHour;
use super::super::*;
use super::house::{House, Step, busy};
use crate::sample::at;

const SEED: u64 = 20_240_321;

/// Places of a page that SQLite reads as one.
const PAGE: usize = 4_096;

/// A closed file, and the same with what came last still in its write-ahead file.
struct Files {
    closed: Vec<u8>,
    open: Vec<u8>,
    wal: Vec<u8>,
}

impl Files {
    async fn of(house: &House) -> Self {
        let (store, views, _) = house.start().await;
        for minutes in 0..6 {
            let (ledger, market) = (house.ledger.clone(), house.market.clone());
            let part = |head: Offset| usize::try_from(head.0 / 7).unwrap();
            for (log, head) in [
                (Log::Ledger, ledger.head().await.unwrap()),
                (Log::Market, market.head().await.unwrap()),
            ] {
                house.step(&Step::Fold { log, entries: part(head) }, &views).await;
            }
            store.snapshot(&views, at("09:00").plus(minutes * 61 * 60_000_000)).await.unwrap();
            if minutes == 3 {
                store.close().await;
                return Self::with_wal(house).await;
            }
        }
        unreachable!("it is closed before the end")
    }

    async fn with_wal(house: &House) -> Self {
        let (store, views, _) = house.start().await;
        house.step(&Step::Fold { log: Log::Market, entries: 4 }, &views).await;
        store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
        store.snapshot(&views, at("14:00")).await.unwrap();
        let (open, wal) = (read(&house.path()), read(&sqlite::beside(&house.path(), "-wal")));
        store.close().await;
        Self { closed: read(&house.path()), open, wal }
    }
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// Harms one of the files; returns what was done.
fn harm(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>) -> String {
    let place = random.random_range(0..bytes.len());
    match random.random_range(0..10) {
        0..6 => {
            let bit = random.random_range(0..8);
            bytes[place] ^= 1 << bit;
            format!("bit {bit} of byte {place} flipped")
        }
        6..8 => {
            let page = place / PAGE * PAGE;
            let end = (page + PAGE).min(bytes.len());
            bytes[page..end].fill(0);
            format!("page at {page} zeroed")
        }
        8 => {
            let other = random.random_range(0..bytes.len()) / PAGE * PAGE;
            let page = place / PAGE * PAGE;
            let copied = bytes[other..(other + PAGE).min(bytes.len())].to_vec();
            let end = (page + copied.len()).min(bytes.len());
            bytes[page..end].copy_from_slice(&copied[..end - page]);
            format!("page at {page} overwritten by that at {other}")
        }
        _ => {
            bytes.truncate(place);
            format!("cut at {place}")
        }
    }
}

async fn hours(store: &Store) -> Vec<ArchivedHour> {
    let mut hours = Vec::new();
    for instrument in ["BTC-USDT", "ETH-USDT"] {
        for direction in [Direction::Forward, Direction::Backward] {
            let (venue, instrument) = ("binance".parse().unwrap(), instrument.parse().unwrap());
            let range = at("10:00")..Timestamp::MAX;
            let archive = store.archive();
            hours.extend(archive.hours(&venue, &instrument, range, direction, 3).await.unwrap());
        }
    }
    hours
}

/// Harms the file `rounds` times, each time anew, and starts from it.
async fn check(rounds: u64, part: u64) {
    let house = busy(48).await;
    let files = Files::of(&house).await;
    let truth = house.truth().await;
    let archived = {
        let other = house.again();
        let store = other.open().await;
        store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
        hours(&store).await
    };
    let (mut whole, mut discarded, mut set_aside) = (0, 0, 0);
    for round in 0..rounds {
        let seed = SEED + part * rounds + round;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let other = house.again();
        let (mut file, mut wal) = match random.random_range(0..4) {
            0 => (files.open.clone(), files.wal.clone()),
            _ => (files.closed.clone(), Vec::new()),
        };
        let done = match random.random_range(0..5) {
            0 if !wal.is_empty() => {
                wal.clear();
                "write-ahead file removed".to_owned()
            }
            1..3 if !wal.is_empty() => format!("wal: {}", harm(&mut random, &mut wal)),
            _ => harm(&mut random, &mut file),
        };
        std::fs::write(other.path(), &file).unwrap();
        if !wal.is_empty() {
            std::fs::write(sqlite::beside(&other.path(), "-wal"), &wal).unwrap();
        }
        let told = format!("seed {seed}: {done}");

        let (store, opened) = Store::open(&other.path()).await.expect(&told);
        let views = Views::new(Vec::new());
        let loaded = other.load(&store, &views).await.expect(&told);
        let all_loaded = loaded.views.values().all(|view| view.kept.is_some());
        match opened {
            Opened::SetAside { .. } => set_aside += 1,
            _ if loaded.set_aside.is_some() => set_aside += 1,
            _ if all_loaded && loaded.views.values().all(|view| view.discarded == 0) => whole += 1,
            _ => discarded += 1,
        }
        other.show(&views).await;
        assert_eq!(views.state_hashes(), truth, "{told}");
        archive_is_right(&store, &other, &archived, &told).await;

        // What is written on top of the harm is true as well, or the file is begun anew by then.
        let mut written = store.snapshot(&views, at("15:00")).await;
        if matches!(written, Err(StoreError::Damaged(_))) {
            written = store.snapshot(&views, at("15:01")).await;
        }
        if let Err(error) = written {
            assert!(matches!(error, StoreError::Damaged(_)), "{told}: {error}");
        }
        drop(store);
        let (store, views, _) = other.start().await;
        other.show(&views).await;
        assert_eq!(views.state_hashes(), truth, "{told}, after a snapshot");
        archive_is_right(&store, &other, &archived, &told).await;
    }
    eprintln!(
        "{rounds} rounds from seed {}: {whole} whole, {discarded} with a cut discarded, \
         {set_aside} set aside",
        SEED + part * rounds
    );
    assert!(whole > 0 && discarded > 0 && set_aside > 0);
}

async fn archive_is_right(store: &Store, house: &House, filed: &[ArchivedHour], told: &str) {
    // A file that is found damaged is begun anew, and what was filed is filed again.
    for _ in 0..2 {
        if store.catch_up_archive(house.ledger.as_ref()).await.is_ok() {
            break;
        }
    }
    store.catch_up_archive(house.ledger.as_ref()).await.expect(told);
    assert_eq!(hours(store).await, filed, "{told}");
}

// Four times 250, so that they run beside each other.

#[tokio::test]
async fn a_harmed_file_never_gives_a_wrong_state_1() {
    check(250, 0).await;
}

#[tokio::test]
async fn a_harmed_file_never_gives_a_wrong_state_2() {
    check(250, 1).await;
}

#[tokio::test]
async fn a_harmed_file_never_gives_a_wrong_state_3() {
    check(250, 2).await;
}

#[tokio::test]
async fn a_harmed_file_never_gives_a_wrong_state_4() {
    check(250, 3).await;
}
