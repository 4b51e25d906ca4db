//! What is read of a segment that no longer grows is right or is not served, and costs memory
//! nothing for each entry.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::damage::{groups_of, pieces};
use super::*;
use crate::embedded::handles::FILES_OPEN_MAX;
use crate::embedded::index::UNFILED_MAX;
use crate::embedded::sealed;

const SEEDS: u64 = 1_000;

/// A log of ten segments, all but the newest filed, of which the first three were dropped.
fn sample() -> Bytes {
    let ram = Ram::of(&Bytes::new());
    write_tidily(&ram, small(), &groups_of(100));
    let (log, _) = open(ram.clone()).unwrap();
    let third = log.shared.reader.index().sealed().nth(3).unwrap().first;
    let up_to = Offset(third.0 - 1);
    let all = Retention { recorded_before: Timestamp::MAX, bytes_max: u64::MAX, up_to };
    assert_eq!(log.shared.trim(all).unwrap().floor, up_to);
    drop(log);
    let bytes = ram.bytes();
    assert!(segments(&bytes).len() >= 8, "{:?}", bytes.keys());
    bytes
}

fn indexes(bytes: &Bytes) -> Bytes {
    let is_index = |name: &String| sealed::first_of(name).is_some();
    bytes.iter().filter(|(name, _)| is_index(name)).map(|(n, b)| (n.clone(), b.clone())).collect()
}

fn without_indexes(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.clone();
    bytes.retain(|name, _| sealed::first_of(name).is_none());
    bytes
}

/// Every read gives what the log held, or says that it is damaged; returns how many said so.
async fn assert_right_or_damaged(log: &Embedded, all: &[Entry], context: &str) -> usize {
    let mut damaged = 0;
    let mut check = |read: Result<Vec<Entry>, LogError>, right: Vec<Entry>| match read {
        Ok(entries) => {
            let right = &right[..entries.len().min(right.len())];
            assert_eq!(entries, right, "{context}");
            assert!(!entries.is_empty() || right.is_empty(), "{context}");
        }
        Err(LogError::Damaged { .. }) => damaged += 1,
        Err(error) => panic!("{context}: {error}"),
    };
    let mut streams: BTreeMap<&Stream, Vec<Entry>> = BTreeMap::new();
    for (place, entry) in all.iter().enumerate() {
        let before = Offset(entry.offset.0 - 1);
        let more = Some(5).filter(|_| place % 4 == 0);
        for limit in [1].into_iter().chain(more) {
            let right = all[place..].iter().take(limit).cloned().collect();
            check(log.read(before, limit).await, right);
        }
        streams.entry(&entry.stream).or_default().push(entry.clone());
    }
    for (stream, own) in streams {
        for (place, entry) in own.iter().enumerate().step_by(3) {
            let before = Version(entry.version.0 - 1);
            let right = own[place..].iter().take(4).cloned().collect();
            check(log.read_stream(stream, before, 4).await, right);
        }
        let last = log.last(stream).await.map(|last| last.into_iter().collect());
        check(last, own.last().cloned().into_iter().collect());
    }
    damaged
}

/// What is done to a file, or between it and another of its kind; the name says it.
fn damage(random: &mut ChaCha8Rng, bytes: &mut Bytes, name: &str, other: &str) -> &'static str {
    let file = bytes.get_mut(name).unwrap();
    let at = random.random_range(0..file.len());
    let length = random.random_range(1..=file.len() - at);
    match random.random_range(0..9) {
        0 => {
            bytes.remove(name);
            "deleted"
        }
        1 => {
            file.truncate(at);
            "cut"
        }
        2 => {
            let copy = file[at..at + length].to_vec();
            file.splice(at..at, copy);
            "doubled"
        }
        3 => {
            file.drain(at..at + length);
            "taken out"
        }
        4 => {
            let middle = at + length / 2;
            file[at..at + length].rotate_left(middle - at);
            "swapped"
        }
        5 => {
            file[at..at + length].fill(0);
            "zeroed"
        }
        6 => {
            let (one, two) = (bytes[name].clone(), bytes[other].clone());
            bytes.insert(name.to_owned(), two);
            bytes.insert(other.to_owned(), one);
            "exchanged"
        }
        _ => {
            file[at] ^= 1 << random.random_range(0..8);
            "flipped"
        }
    }
}

#[tokio::test]
async fn damage_at_a_thousand_places_is_found_or_healed_and_never_served() {
    let whole = sample();
    let sound = open(Ram::of(&whole)).unwrap().0;
    let all = read_all(&sound).await;
    let pieces = pieces(&segments(&whole));
    let logs: Vec<String> = segments(&whole).into_keys().rev().skip(1).collect();
    let (indexes_before, mut found, mut healed) = (indexes(&whole), 0, 0);
    for seed in 0..SEEDS {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let one_of = |random: &mut ChaCha8Rng, names: &[String]| {
            names[random.random_range(0..names.len())].clone()
        };
        let (mut bytes, mut name, mut other, mut done) =
            (whole.clone(), String::new(), String::new(), "");
        // Zeros for zeros, or a file for itself, is no damage.
        while bytes == whole {
            let names: Vec<String> = match random.random_range(0..5) {
                0 | 1 => logs.clone(),
                2 | 3 => indexes_before.keys().cloned().collect(),
                _ => vec!["floor".to_owned()],
            };
            (name, other) = (one_of(&mut random, &names), one_of(&mut random, &names));
            done = damage(&mut random, &mut bytes, &name, &other);
        }
        let context = format!("seed {seed}: {name} {done} ({other})");
        let ram = Ram::of(&bytes);
        let opened = open(ram.clone());
        if sealed::first_of(&name).is_some() {
            let (log, _) = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(assert_right_or_damaged(&log, &all, &context).await, 0, "{context}");
            // Written anew at the end at the latest.
            drop(log);
            assert_eq!(indexes(&ram.bytes()), indexes_before, "{context}");
            healed += 1;
            continue;
        }
        let served = match opened {
            Ok((log, _)) if name != "floor" => {
                assert_right_or_damaged(&log, &all, &context).await;
                true
            }
            Ok(_) => panic!("{context}: it opened"),
            Err(LogError::Damaged { .. }) => false,
            Err(error) => panic!("{context}: {error}"),
        };
        found += 1;
        if name != "floor" {
            // Whoever reads everything names the first entry that does not hold.
            let changed = |name: &String| bytes.get(name) != whole.get(name);
            let first = logs.iter().rev().find(|name| changed(name)).unwrap();
            let (was, is) = (&whole[first], bytes.get(first).map_or(&[][..], |is| is));
            let same = was.iter().zip(is).take_while(|(was, is)| was == is).count();
            let of_file = |piece: &&super::damage::Piece| piece.segment == *first;
            let piece = pieces.iter().filter(of_file).find(|piece| piece.end > same);
            let behind = || pieces.iter().rfind(|piece| of_file(piece)).unwrap().offset.0 + 1;
            let offset = piece.map_or_else(behind, |piece| piece.offset.0);
            match open(Ram::of(&without_indexes(&bytes))) {
                Err(LogError::Damaged { offset: named, reason }) => {
                    assert_eq!(named.0, offset, "{context}, served {served}: {reason}");
                }
                other => panic!("{context}: {:?}", other.map(|(_, report)| report)),
            }
        }
    }
    assert!(found > 500 && healed > 300, "{found} found and {healed} healed");
    assert_eq!(found + healed, SEEDS);
}

#[tokio::test]
async fn an_index_is_a_function_of_its_segment() {
    let bytes = sample();
    let ram = Ram::of(&without_indexes(&bytes));

    let (log, _) = open(ram.clone()).unwrap();

    assert_eq!(indexes(&ram.bytes()), indexes(&bytes));
    let sealed = segments(&bytes).len() - 1;
    assert_eq!(log.shared.reader.index().forms(), [sealed, 0, 0]);
}

#[tokio::test]
async fn a_start_does_not_read_what_is_sealed() {
    let mut bytes = sample();
    let pieces = pieces(&segments(&bytes));
    let piece = pieces.iter().find(|piece| piece.is_entry).unwrap();
    bytes.get_mut(&piece.segment).unwrap()[piece.end - 1] ^= 1;

    let (log, _) = open(Ram::of(&bytes)).unwrap();

    let before = Offset(piece.offset.0 - 1);
    for _ in 0..2 {
        match log.read(before, 1).await {
            Err(LogError::Damaged { offset, .. }) => assert_eq!(offset, piece.offset),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(log.read(piece.offset, 1).await.unwrap()[0].offset.0, piece.offset.0 + 1);
}

/// A log whose sealed segments have many points each, and its entries.
async fn large() -> (Arc<Ram>, Vec<Entry>) {
    let options = Options { segment_bytes: 256 << 10, prepare_bytes: 64 << 10, append_ids_max: 9 };
    let ram = Ram::of(&Bytes::new());
    let drafts = (0..1_200).map(|id| {
        // Some lengths: a few ticks, many, and texts far past what stands between two points.
        let words = "x".repeat(if id % 97 == 0 { 70_000 } else { 0 });
        let correlation_id = Some(words).filter(|words| !words.is_empty());
        let draft = draft(&stream(id % 7 % 4), id, ticks(id, 1 + id * id % 90));
        vec![Draft { correlation_id, ..draft }]
    });
    write_tidily(&ram, options, &drafts.collect::<Vec<_>>());
    let (log, _) = Embedded::open(ram.clone(), Log::Market, options).unwrap();
    let all = read_all(&log).await;
    assert_eq!(all.len(), 1_200);
    (ram, all)
}

async fn assert_reads_as(log: &Embedded, all: &[Entry], seeds: u64) {
    for seed in 0..seeds {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let limit = [1, 2, 30, usize::MAX][random.random_range(0..4)];
        let after = random.random_range(0..all.len());
        let read = log.read(Offset(after as u64), limit).await.unwrap();
        assert!(!read.is_empty() && read.len() <= limit, "seed {seed}");
        assert_eq!(read, all[after..after + read.len()], "seed {seed}");

        let entry = &all[random.random_range(0..all.len())];
        let of_stream = all.iter().filter(|other| other.stream == entry.stream);
        let own: Vec<_> = of_stream.filter(|other| other.version > entry.version).collect();
        let read = log.read_stream(&entry.stream, entry.version, limit).await.unwrap();
        assert!(!read.is_empty() || own.is_empty(), "seed {seed}");
        assert_eq!(read.iter().collect::<Vec<_>>(), own[..read.len()], "seed {seed}");
    }
}

#[tokio::test]
async fn wherever_a_read_begins_and_ends_it_gives_the_same_entries() {
    let (ram, all) = large().await;
    let (log, _) = open(ram.clone()).unwrap();
    let [filed, ..] = log.shared.reader.index().forms();
    assert!(filed >= 4, "{filed}");
    assert_reads_as(&log, &all, 300).await;
    drop(log);

    // The same with the places in memory, and with none.
    let unfiled = Ram::of(&without_indexes(&ram.bytes()));
    unfiled.fail(Some(Which::Of(".idx")), io::ErrorKind::StorageFull);
    let led = Led::open(&unfiled, small()).unwrap();
    let [none, held, forgotten] = led.shared.reader.index().forms();
    assert_eq!((none, held + forgotten), (0, filed));
    assert!(forgotten > 0);
    drop(led);
    let (log, _) = open(unfiled).unwrap();
    assert_reads_as(&log, &all, 300).await;
}

#[tokio::test]
async fn what_cannot_be_filed_is_held_up_to_a_limit_read_all_the_same_and_filed_in_the_end() {
    let ram = Ram::of(&Bytes::new());
    ram.fail(Some(Which::Of(".idx")), io::ErrorKind::StorageFull);
    let mut log = Led::open(&ram, small()).unwrap();
    let (mut groups, mut sealed) = (0, 0);
    for group in groups_of(160) {
        assert!(log.write(&group), "an entry needs no index");
        groups += 1;
        let rolled = log.shared.reader.index().sealed().count() > sealed;
        assert_eq!(log.worker.work_off().is_err(), rolled, "it is tried after each segment");
        sealed += usize::from(rolled);
    }
    let forgotten = sealed - UNFILED_MAX;
    assert!(groups == 160 && forgotten > 2, "{sealed}");
    assert_eq!(log.shared.reader.index().forms(), [0, UNFILED_MAX, forgotten]);
    assert!(!ram.bytes().keys().any(|name| name.contains(".idx")), "what was begun is gone");
    drop(log);

    let (log, _) = open(ram.clone()).unwrap();
    assert_eq!(log.shared.reader.index().forms(), [0, UNFILED_MAX, forgotten]);
    let all = read_all(&log).await;
    assert_eq!(assert_right_or_damaged(&log, &all, "forgotten").await, 0);
    let [filed, held, _] = log.shared.reader.index().forms();
    assert!(filed == 0 && held <= UNFILED_MAX);
    drop(log);

    ram.fail(None, io::ErrorKind::Other);
    let log = Led::open(&ram, small()).unwrap();
    log.worker.work_off().unwrap();
    assert_eq!(log.shared.reader.index().forms(), [sealed, 0, 0]);
}

#[tokio::test]
async fn few_files_are_open_however_many_segments_there_are() {
    let options = Options { segment_bytes: 700, prepare_bytes: 64, append_ids_max: 9 };
    let ram = Ram::of(&Bytes::new());
    write_tidily(&ram, options, &groups_of(150));
    let (log, _) = Embedded::open(ram.clone(), Log::Market, options).unwrap();
    assert!(segments(&ram.bytes()).len() > 2 * FILES_OPEN_MAX);

    let all = read_all(&log).await;

    assert_eq!(log.shared.reader.files_open(), FILES_OPEN_MAX);
    assert_eq!(read_all(&log).await, all);
}

#[tokio::test]
async fn memory_holds_nothing_for_an_entry_that_is_sealed() {
    let options = Options { segment_bytes: 128 << 10, prepare_bytes: 128 << 10, append_ids_max: 9 };
    let ram = Ram::of(&Bytes::new());
    let mut log = Led::open(&ram, options).unwrap();
    let mut held = Vec::new();
    for round in 0..4 {
        for id in round * 2_000..(round + 1) * 2_000 {
            assert!(log.write(&[draft(&stream(id % 5), id, ticks(id, 1))]));
            log.worker.work_off().unwrap();
        }
        // Right behind a roll, so that the open segment is left out.
        let index = log.shared.reader.index();
        let open = index.open_memory_bytes();
        held.push(index.memory_bytes() - open);
        assert!(index.sealed().count() > 2 * (round as usize + 1));
    }

    let each = (held[3] - held[0]) / 6_000;

    assert!(each <= 2, "{each} bytes for each sealed entry: {held:?}");
}
