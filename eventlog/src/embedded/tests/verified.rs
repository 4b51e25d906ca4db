//! A check of a folder finds what a start finds, and what a start need not read; it changes nothing.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::damage::{PLACES, any_byte, pieces, proven, sample};
use super::*;
use crate::embedded::verify::{self, Verified};
use crate::log::{Retention, Trim};

fn check(bytes: &Bytes) -> Result<Verified, LogError> {
    let ram = Ram::of(bytes);
    let verified = verify::verify(&*ram, Log::Market);
    assert_eq!((&ram.bytes(), ram.calls()), (bytes, 0), "a check changes nothing");
    verified
}

#[tokio::test]
async fn a_log_that_holds_is_told_in_figures() {
    let (bytes, pieces) = sample();
    let entries = read_all(&open(Ram::of(&bytes)).unwrap().0).await;
    let ends = bytes.keys().map(|name| {
        pieces.iter().rfind(|piece| piece.segment == *name).map_or(0, |piece| piece.end as u64)
    });

    let verified = check(&bytes).unwrap();

    let expected = Verified {
        entries: 150,
        first: Offset(1),
        head: Offset(150),
        head_hash: entries.last().map(|entry| entry.hash),
        segments: bytes.keys().filter(|name| segment::first_of(name).is_some()).count() as u64,
        bytes: ends.sum(),
        cut: None,
        ..verified.clone()
    };
    assert_eq!(verified, expected);
    let nothing = check(&Bytes::new()).unwrap();
    assert_eq!((nothing.entries, nothing.head, nothing.head_hash), (0, Offset(0), None));
}

#[test]
fn a_changed_byte_is_named_by_its_offset() {
    let (bytes, pieces) = sample();
    let proven = proven(&pieces);
    for seed in 0..PLACES {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (piece, byte) = any_byte(&mut random, &proven);
        let mut changed = bytes.clone();
        changed.get_mut(&piece.segment).unwrap()[byte] ^= random.random_range(1..=255u8);
        match check(&changed) {
            Err(LogError::Damaged { offset, reason }) => {
                assert_eq!(offset, piece.offset, "seed {seed}: {reason}");
                assert!(reason.contains(".log, byte "), "seed {seed}: {reason}");
            }
            other => panic!("seed {seed}: {other:?}"),
        }
    }
}

#[test]
fn an_index_that_is_not_its_segments_is_named() {
    let ram = Ram::of(&sample().0);
    // A start writes what is missing.
    drop(open(ram.clone()).unwrap());
    let bytes = ram.bytes();
    let indexes: Vec<&String> =
        bytes.keys().filter(|name| sealed::first_of(name).is_some()).collect();
    assert!(indexes.len() >= 3);
    let verified = check(&bytes).unwrap();
    assert_eq!((verified.indexes, verified.indexes_wrong), (indexes.len() as u64, vec![]));

    for name in indexes {
        for byte in (0..bytes[name].len()).step_by(11) {
            let mut changed = bytes.clone();
            changed.get_mut(name).unwrap()[byte] ^= 1;
            assert_eq!(&check(&changed).unwrap().indexes_wrong[..], [name.as_str()], "byte {byte}");
        }
        let mut missing = bytes.clone();
        missing.remove(name);
        assert!(check(&missing).unwrap().indexes_wrong.is_empty());
    }
}

#[tokio::test]
async fn a_trimmed_log_is_checked_from_its_floor_on() {
    let ram = Ram::of(&sample().0);
    let (log, _) = open(ram.clone()).unwrap();
    let (recorded_before, up_to) = (domain::time::Timestamp::MIN, Offset(100));
    let retention = Retention { recorded_before, bytes_max: 0, up_to };
    let floor = log.trim(retention).await.unwrap().floor;
    drop(log);
    let bytes = ram.bytes();

    let verified = check(&bytes).unwrap();

    assert!(floor > Offset(10), "{floor}");
    let held = (verified.first, verified.head, verified.entries);
    assert_eq!(held, (Offset(floor.0 + 1), Offset(150), 150 - floor.0));
    for byte in 0..bytes["floor"].len() {
        let mut changed = bytes.clone();
        changed.get_mut("floor").unwrap()[byte] ^= 1;
        assert!(matches!(check(&changed), Err(LogError::Damaged { .. })), "byte {byte}");
    }
    let mut missing = bytes.clone();
    missing.remove("floor");
    let damaged = check(&missing);
    assert!(matches!(damaged, Err(LogError::Damaged { offset: Offset(1), .. })), "{damaged:?}");
    let floor_alone = Bytes::from([("floor".to_owned(), bytes["floor"].clone())]);
    assert!(matches!(check(&floor_alone), Err(LogError::Damaged { .. })));
}

#[test]
fn a_segment_that_is_missing_or_strange_is_found() {
    let (bytes, _) = sample();
    let names: Vec<&String> =
        bytes.keys().filter(|name| segment::first_of(name).is_some()).collect();
    for pair in names.windows(2) {
        let first = segment::first_of(pair[0]).unwrap();
        let mut missing = bytes.clone();
        missing.remove(pair[0]);
        // The segment behind it says so.
        assert!(
            matches!(check(&missing), Err(LogError::Damaged { offset, .. }) if offset == first)
        );

        let mut strange = bytes.clone();
        strange.insert(segment::name(Offset(first.0 + 1)), bytes[pair[0]].clone());
        assert!(matches!(check(&strange), Err(LogError::Damaged { .. })));
    }
}

#[test]
fn an_end_that_is_not_whole_is_a_cut_as_for_a_start() {
    let (bytes, all) = sample();
    let newest = all.last().unwrap().segment.clone();
    let own: Vec<_> = all.into_iter().filter(|piece| piece.segment == newest).collect();
    let end = own.last().unwrap().end;
    for length in (0..=end).step_by(5) {
        for zeros in [0, 100] {
            let mut early = bytes.clone();
            let segment = early.get_mut(&newest).unwrap();
            segment.truncate(length);
            segment.resize(length + zeros, 0);

            let found = check(&early);

            let report = open(Ram::of(&early)).unwrap().1;
            let verified = found.unwrap();
            assert_eq!((verified.head.0, verified.cut), (report.entries, report.cut), "{length}");
        }
    }
    assert_eq!(pieces(&bytes).last().unwrap().end, end);
}

#[test]
fn what_stands_before_the_damage_is_shown_and_whoever_has_seen_enough_ends_it() {
    let (mut bytes, pieces) = sample();
    let bad = pieces.iter().find(|piece| piece.is_entry && piece.offset == Offset(70)).unwrap();
    let first = pieces.iter().find(|piece| piece.group == bad.group).unwrap().offset;
    bytes.get_mut(&bad.segment).unwrap()[bad.end - 1] ^= 1;
    let mut seen = Vec::new();
    let shown = verify::visit(&*Ram::of(&bytes), Log::Market, |entry| {
        seen.push(entry.offset.0);
        std::ops::ControlFlow::Continue(())
    });
    assert!(matches!(shown, Err(LogError::Damaged { offset: Offset(70), .. })), "{shown:?}");
    // A group is whole or it is nothing.
    assert_eq!(seen, (1..first.0).collect::<Vec<_>>());

    seen.clear();
    let shown = verify::visit(&*Ram::of(&bytes), Log::Market, |entry| {
        seen.push(entry.offset.0);
        if entry.offset.0 < 10 {
            std::ops::ControlFlow::Continue(())
        } else {
            std::ops::ControlFlow::Break(())
        }
    });
    assert_eq!(shown.map(|shown| shown.indexes_wrong), Ok(vec![]));
    assert_eq!(seen, (1..=10).collect::<Vec<_>>());
}
