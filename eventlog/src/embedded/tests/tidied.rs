//! What is done beside the appends speeds them up or heals by itself, and harms nothing.

use super::damage::groups_of;
use super::*;
use crate::embedded::next;

fn one(id: u128) -> Vec<Draft> {
    vec![draft(&stream(id % 3), id, ticks(id, 1 + id % 9))]
}

#[test]
fn the_next_segment_is_prepared_when_the_open_one_is_half_full_and_not_before() {
    let ram = Ram::of(&Bytes::new());
    let mut log = Led::open(&ram, small()).unwrap();
    let mut rolls = 0;
    for id in 0..60 {
        let before = log.writer.tail.end;
        assert!(log.write(&one(id)));
        log.worker.work_off().unwrap();
        let rolled = log.writer.tail.end < before;
        rolls += usize::from(rolled);
        let half = small().segment_bytes / 2;
        let prepared = ram.bytes().get(next::NAME).map(Vec::len);
        if log.writer.tail.end > half {
            assert_eq!(prepared, Some(4 << 10), "at byte {}", log.writer.tail.end);
        } else {
            assert_eq!(prepared, None, "at byte {}", log.writer.tail.end);
        }
        if rolled {
            assert_eq!(log.writer.tail.prepared, 4 << 10, "it was there");
        }
    }
    assert!(rolls > 3);
}

#[tokio::test]
async fn without_a_next_segment_one_is_made_and_a_stray_one_is_removed_at_a_start() {
    let ram = Ram::of(&Bytes::new());
    ram.fail(Some(Which::Of(next::NAME)), io::ErrorKind::StorageFull);
    let mut log = Led::open(&ram, small()).unwrap();
    for id in 0..60 {
        assert!(log.write(&one(id)), "an entry needs no next segment");
        let (Ok(()) | Err(_)) = log.worker.work_off();
        assert!(!ram.bytes().contains_key(next::NAME), "what was begun is gone");
    }
    ram.fail(None, io::ErrorKind::Other);
    drop(log);

    let mut bytes = ram.bytes();
    bytes.insert(next::NAME.to_owned(), vec![7; 100]);
    bytes.insert("00000000000000000001.idx.new".to_owned(), vec![7; 100]);
    let ram = Ram::of(&bytes);
    let (log, report) = open(ram.clone()).unwrap();
    assert_eq!(report, Opened { entries: 60, cut: None });
    assert!(!ram.bytes().keys().any(|name| name == next::NAME || name.contains(".new")));
    assert_eq!(read_all(&log).await.len(), 60);
}

#[test]
fn a_full_disk_gives_the_zeros_of_the_next_segment_to_entries() {
    let ram = Ram::of(&Bytes::new());
    // Small steps, so that nearly each group asks for more.
    let options = Options { prepare_bytes: 128, ..small() };
    let mut log = Led::open(&ram, options).unwrap();
    let mut id = 0;
    while !ram.bytes().contains_key(next::NAME) {
        assert!(log.write(&one(id)));
        log.worker.work_off().unwrap();
        id += 1;
    }
    ram.fail(Some(Which::Growth), io::ErrorKind::StorageFull);
    let (first, mut written) = (id, 0);
    while log.write(&one(id)) {
        (id, written) = (id + 1, written + 1);
        let (Ok(()) | Err(_)) = log.worker.work_off();
    }

    assert!(written > 6, "{written} entries found room");
    assert!(!ram.bytes().contains_key(next::NAME));
    ram.fail(None, io::ErrorKind::Other);
    assert!(log.write(&one(id)), "and it heals");
    drop(log);
    let report = open(Ram::of(&ram.synced())).unwrap().1;
    assert_eq!(u128::from(report.entries), first + written + 1);
}

#[tokio::test]
async fn a_sync_that_fails_beside_the_appends_acknowledges_nothing_wrong() {
    for part in [next::NAME, ".idx", "floor"] {
        let ram = Ram::of(&Bytes::new());
        let mut log = Led::open(&ram, small()).unwrap();
        ram.fail(Some(Which::SyncOf(part)), io::ErrorKind::Other);
        for id in 0..60 {
            assert!(log.write(&one(id)), "{part}");
            let (Ok(()) | Err(_)) = log.worker.work_off();
            let held = ram.bytes();
            assert!(!held.keys().any(|name| name.contains(part)), "{part} is not trusted");
        }
        let up_to = Offset(40);
        let all = Retention { recorded_before: Timestamp::MAX, bytes_max: 0, up_to };
        assert_eq!(log.shared.trim(all).is_err(), part == "floor");
        drop(log);

        let report = open(Ram::of(&ram.synced())).unwrap().1;
        assert_eq!(report.entries + log_floor(&ram).0, 60, "{part}");
    }
}

fn log_floor(ram: &Ram) -> Offset {
    crate::embedded::floor::read(ram, Log::Market).unwrap().offset()
}

#[test]
fn when_nobody_knows_which_names_are_there_the_log_stops() {
    let ram = Ram::of(&Bytes::new());
    let mut log = Led::open(&ram, small()).unwrap();
    for group in groups_of(12) {
        assert!(log.write(&group));
    }
    assert!(log.shared.reader.index().sealed().count() > 0);
    ram.fail(Some(Which::Folder), io::ErrorKind::Other);
    let (Ok(()) | Err(_)) = log.worker.work_off();
    assert!(log.shared.is_stopped());
    ram.fail(None, io::ErrorKind::Other);

    let nothing = Retention { recorded_before: Timestamp::MAX, bytes_max: 0, up_to: Offset(9) };
    assert_eq!(log.shared.trim(nothing), Err(log.shared.unavailable()));
    let calls = ram.calls();
    log.shared.chores.want_filing();
    log.worker.work_off().unwrap();
    assert_eq!(ram.calls(), calls, "nothing is touched any more");
}
