//! A log that is read beside the server that writes it.

use std::sync::atomic::{AtomicBool, Ordering};

use super::damage::{groups_of, sample};
use super::*;
use crate::embedded::read_only::ReadOnly;

const ALL: Retention =
    Retention { recorded_before: Timestamp::MAX, bytes_max: u64::MAX, up_to: Offset(u64::MAX) };

#[tokio::test]
async fn reading_takes_no_lock_and_changes_nothing() {
    let (bytes, _) = sample();
    let ram = Ram::of(&bytes);
    let entries = read_all(&open(Ram::of(&bytes)).unwrap().0).await;

    let log = ReadOnly::open(ram.clone(), Log::Market).unwrap();
    let _beside = ReadOnly::open(ram.clone(), Log::Market).unwrap();
    assert_eq!(read_all_of(&log).await, entries);
    for place in 0..4 {
        let own: Vec<_> =
            entries.iter().filter(|entry| entry.stream == stream(place)).cloned().collect();
        let read = log.read_stream(&stream(place), Version(0), usize::MAX).await;
        assert_eq!(log.last(&stream(place)).await.unwrap().as_ref(), own.last());
        assert_eq!(read, Ok(own));
    }
    log.refresh().unwrap();
    assert_eq!(ram.bytes(), bytes);
    assert!(ram.lock("lock").is_ok());
}

#[tokio::test]
async fn an_unfinished_end_is_simply_the_end() {
    let (bytes, pieces) = sample();
    let last = pieces.last().unwrap();
    let group = pieces.iter().find(|piece| piece.group == last.group).unwrap();
    let before = group.offset.0 - 1;
    for end in (group.start..last.end).step_by(11) {
        let mut torn = bytes.clone();
        torn.get_mut(&group.segment).unwrap()[end..].fill(0);
        let ram = Ram::of(&torn);
        let log = ReadOnly::open(ram.clone(), Log::Market).unwrap();
        log.refresh().unwrap();

        assert_eq!(log.head().await, Ok(Offset(before)), "byte {end}");
        assert_eq!(read_all_of(&log).await.len() as u64, before);
        assert_eq!(ram.bytes(), torn);
    }
}

#[tokio::test]
async fn what_comes_is_taken_in_across_segments_and_floors() {
    let ram = Ram::of(&Bytes::new());
    let log = ReadOnly::open(ram.clone(), Log::Market).unwrap();
    assert_eq!(log.head().await, Ok(Offset(0)));
    let mut led = Led::open(&ram, small()).unwrap();
    let (mut entries, mut floor) = (0, Offset(0));
    for (place, group) in groups_of(90).iter().enumerate() {
        assert!(led.write(group));
        entries += group.len() as u64;
        if place % 3 == 0 {
            led.worker.work_off().unwrap();
        }
        if place % 40 == 39 {
            floor = led.shared.trim(ALL).unwrap().floor;
        }
        log.refresh().unwrap();
        assert_eq!(log.head().await, Ok(Offset(entries)));
        assert_eq!(log.floor().await, Ok(floor));
        let newest = log.read(Offset(entries - 1), 9).await.unwrap();
        assert_eq!(newest.len(), 1, "after group {place}");
        let tip = group.last().unwrap();
        assert_eq!(newest[0].append_id, tip.append_id);
        assert_eq!(log.last(&tip.stream).await.unwrap(), newest.first().cloned());
    }
    assert!(floor > Offset(100));
    let read = read_all_of(&log).await;
    assert_eq!(read, read_all_of(&ReadOnly::open(ram, Log::Market).unwrap()).await);
    assert_eq!(read.len() as u64, entries - floor.0);
}

#[tokio::test]
async fn what_is_not_durable_is_not_shown() {
    let ram = Ram::of(&Bytes::new());
    let mut led = Led::open(&ram, small()).unwrap();
    assert!(led.write(&[draft(&stream(0), 1, ticks(1, 1))]));
    let log = ReadOnly::open(ram.clone(), Log::Market).unwrap();
    // The server has written, and its sync does not come to an end.
    ram.fail(Some(Which::Sync), io::ErrorKind::Other);
    assert!(!led.write(&[draft(&stream(0), 2, ticks(1, 1))]));

    assert!(matches!(log.refresh(), Err(LogError::Unavailable(_))));
    assert_eq!(log.head().await, Ok(Offset(1)));
    let opened = ReadOnly::open(ram.clone(), Log::Market);
    assert!(matches!(opened.err(), Some(LogError::Unavailable(_))));

    ram.fail(None, io::ErrorKind::Other);
    log.refresh().unwrap();
    assert_eq!(log.head().await, Ok(Offset(2)));
    let survived = ReadOnly::open(Ram::of(&ram.synced()), Log::Market).unwrap();
    assert_eq!(survived.head().await, Ok(Offset(2)), "what was shown is durable");
}

#[tokio::test]
async fn what_was_dropped_before_it_could_be_read_is_a_known_gap() {
    let ram = Ram::of(&Bytes::new());
    write_tidily(&ram, small(), &groups_of(80));
    let reads = async |log: &ReadOnly| log.read(Offset(0), 1).await.unwrap()[0].offset.0;
    let stream_reads = async |log: &ReadOnly| {
        log.read_stream(&stream(0), Version(0), 1).await.unwrap()[0].offset.0
    };
    let logs = [0; 2].map(|_| ReadOnly::open(ram.clone(), Log::Market).unwrap());

    let led = Led::open(&ram, small()).unwrap();
    let floor = led.shared.trim(ALL).unwrap().floor;

    assert_eq!(reads(&logs[0]).await, floor.0 + 1);
    assert!(stream_reads(&logs[1]).await > floor.0);
}

#[test]
fn a_folder_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("market");

    assert_eq!(Disk::existing(&place).err().unwrap().kind(), io::ErrorKind::NotFound);
    assert!(!place.exists());

    drop(open(Arc::new(Disk::open(&place).unwrap())).unwrap());
    let files = Disk::existing(&place).unwrap();
    let refused = [
        files.create("x").err(),
        files.remove("lock").err(),
        files.rename("lock", "x").err(),
        files.lock("lock").err(),
    ];
    for error in refused {
        assert_eq!(error.unwrap().kind(), io::ErrorKind::PermissionDenied);
    }
}

/// Follows a log while it is written and trimmed as fast as it goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_sees_every_entry_that_was_not_dropped_before_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(open(Arc::new(Disk::open(folder.path()).unwrap())).unwrap().0);
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (log, is_over) = (log.clone(), is_over.clone());
        async move {
            for id in 0..1_500 {
                next(&log, id).await.unwrap();
                if id % 200 == 199 {
                    let up_to = Offset(u64::try_from(id).unwrap() - 150);
                    log.trim(Retention { up_to, ..ALL }).await.unwrap();
                }
            }
            is_over.store(true, Ordering::Release);
        }
    });
    let files = Arc::new(Disk::existing(folder.path()).unwrap());
    let follower = ReadOnly::open(files, Log::Market).unwrap();
    let (mut after, mut seen) = (Offset(0), 0);
    loop {
        let over = is_over.load(Ordering::Acquire);
        follower.refresh().unwrap();
        let read = follower.read(after, 50).await.unwrap();
        let floor = follower.floor().await.unwrap();
        for (place, entry) in read.iter().enumerate() {
            let follows = entry.offset.0 == after.0 + 1
                || (place == 0 && entry.offset <= Offset(floor.0 + 1));
            assert!(follows, "{} after {after}, floor {floor}", entry.offset);
            assert_eq!(entry.append_id.as_u128() + 1, u128::from(entry.offset.0));
            (after, seen) = (entry.offset, seen + 1);
        }
        if over && read.is_empty() {
            break;
        }
    }
    writer.await.unwrap();
    assert_eq!(after, Offset(1_500));
    assert!(seen > 200, "{seen}");
    follower.wait_after(Offset(1_499)).await.unwrap();
    let waiting = follower.clone();
    let waiting = tokio::spawn(async move { waiting.wait_after(Offset(1_500)).await });
    next(&log, 1_500).await.unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(follower.head().await, Ok(Offset(1_501)));
}
