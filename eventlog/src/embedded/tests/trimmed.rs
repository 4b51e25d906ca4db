//! A log that was cut at its beginning: what it takes from the disk, and what it can never lose.

use super::damage::groups_of;
use super::*;
use crate::embedded::{floor, sealed};

const ALL: Retention =
    Retention { recorded_before: Timestamp::MAX, bytes_max: u64::MAX, up_to: Offset(u64::MAX) };

fn full() -> (Arc<Ram>, Led) {
    let ram = Ram::of(&Bytes::new());
    write_tidily(&ram, small(), &groups_of(80));
    let log = Led::open(&ram, small()).unwrap();
    (ram, log)
}

/// Bytes of segments and indexes.
fn bytes_of(ram: &Ram) -> u64 {
    let is_its = |name: &str| segment::first_of(name).or_else(|| sealed::first_of(name)).is_some();
    let bytes = ram.bytes();
    bytes.iter().filter(|(name, _)| is_its(name)).map(|(_, bytes)| bytes.len() as u64).sum()
}

#[test]
fn the_bytes_of_a_log_are_those_of_its_segments_and_their_indexes() {
    let (ram, log) = full();
    let mut before = bytes_of(&ram);
    let kept = Retention { recorded_before: Timestamp::MIN, bytes_max: before, ..ALL };
    assert_eq!(log.shared.trim(kept).unwrap().entries, 0);
    while log.shared.reader.index().sealed().count() > 0 {
        let trimmed = log.shared.trim(Retention { bytes_max: before - 1, ..kept }).unwrap();

        let after = bytes_of(&ram);
        assert!(trimmed.entries > 0 && !trimmed.held_back, "{trimmed:?}");
        assert_eq!(trimmed.bytes, before - after, "one segment goes");
        before = after;
    }
    let open = log.shared.trim(Retention { bytes_max: 0, ..kept }).unwrap();
    assert_eq!((open.entries, open.held_back), (0, false), "the open segment stays");
}

#[test]
fn a_crash_while_segments_are_deleted_leaves_what_the_next_start_removes() {
    let (ram, log) = full();
    let before = ram.bytes();
    log.shared.trim(ALL).unwrap();
    let after = ram.bytes();
    drop(log);
    let dropped: Vec<&String> = before.keys().filter(|name| !after.contains_key(*name)).collect();
    assert!(dropped.len() > 8);
    for left in 0..=dropped.len() {
        let mut bytes = after.clone();
        for name in &dropped[..left] {
            bytes.insert((*name).clone(), before[*name].clone());
        }
        let ram = Ram::of(&bytes);
        let (log, report) = open(ram.clone()).unwrap();
        assert_eq!(report.cut, None);
        assert_eq!(segments(&ram.bytes()).len(), segments(&after).len(), "{left} left");
        let floor = floor::read(&*ram, Log::Market).unwrap();
        assert_eq!(log.entries(), 200 - floor.offset().0);
    }
}

#[test]
fn without_its_floor_or_what_stands_on_it_a_log_is_damaged() {
    let (ram, log) = full();
    let third = log.shared.reader.index().sealed().nth(3).unwrap().first;
    log.shared.trim(Retention { up_to: Offset(third.0 - 1), ..ALL }).unwrap();
    drop(log);
    let bytes = ram.bytes();
    let damaged = |bytes: &Bytes| match open(Ram::of(bytes)) {
        Err(LogError::Damaged { offset, .. }) => offset,
        other => panic!("{:?}", other.map(|(_, report)| report)),
    };

    let mut missing = bytes.clone();
    missing.remove(floor::NAME);
    assert_eq!(damaged(&missing), Offset(1));
    for byte in 0..bytes[floor::NAME].len() {
        let mut changed = bytes.clone();
        changed.get_mut(floor::NAME).unwrap()[byte] ^= 1;
        assert_eq!(damaged(&changed), third, "byte {byte}");
    }
    let mut without_first = bytes.clone();
    without_first.remove(&segment::name(third));
    assert_eq!(damaged(&without_first), third);
    let mut alone = bytes.clone();
    alone.retain(|name, _| name == floor::NAME);
    assert_eq!(damaged(&alone), third);
}

#[tokio::test]
async fn a_full_disk_can_be_trimmed_also_when_no_index_was_written() {
    let ram = Ram::of(&Bytes::new());
    ram.fail(Some(Which::Of(".idx")), io::ErrorKind::StorageFull);
    write(&ram, small(), &groups_of(160));
    let mut log = Led::open(&ram, small()).unwrap();
    let [filed, held, forgotten] = log.shared.reader.index().forms();
    assert!(filed == 0 && held > 2 && forgotten > 2);
    let tips: Vec<_> = (0..4).map(|place| log.shared.reader.tip(&stream(place))).collect();

    let trimmed = log.shared.trim(ALL).unwrap();

    let newest = log.shared.reader.index().open_first().unwrap();
    assert_eq!(trimmed.floor.0 + 1, newest.0);
    ram.fail(None, io::ErrorKind::Other);
    assert!(log.write(&[draft(&stream(20), 7_000, ticks(1, 1))]));
    drop(log);
    let (log, _) = open(ram).unwrap();
    for (place, tip) in (0..4).zip(tips) {
        assert_eq!(log.tip(&stream(place)).await.unwrap(), tip);
    }
}

#[test]
fn what_must_be_dropped_but_cannot_be_read_stays_and_is_told() {
    let (ram, log) = full();
    let (first, second) = {
        let index = log.shared.reader.index();
        let mut sealed = index.sealed();
        (sealed.next().unwrap().first, sealed.next().unwrap().first)
    };
    ram.flip(&sealed::name(first), 100);
    let trimmed = log.shared.trim(Retention { up_to: Offset(second.0 - 1), ..ALL }).unwrap();
    assert_eq!(trimmed.floor.0 + 1, second.0, "the segment itself knows");

    ram.flip(&sealed::name(second), 100);
    ram.flip(&segment::name(second), 100);
    match log.shared.trim(ALL) {
        Err(LogError::Damaged { offset, .. }) => assert_eq!(offset, second),
        other => panic!("{other:?}"),
    }
    assert!(ram.bytes().contains_key(&segment::name(second)));
}
