//! A log into which entries of another are put, whose first ones retention has dropped there: what a
//! crash leaves of that, and how it is read, checked, copied and trimmed.

use super::*;
use crate::embedded::read_only::ReadOnly;
use crate::embedded::{copy, verify};
use crate::memory::Memory;
use crate::transfer::{ReadStored, Stored, Transfer};

const BATCH: usize = 9;

/// Returns a log of which the first entries of each stream are gone, as they are stored.
async fn trimmed() -> Vec<Stored> {
    let log = Memory::new(Log::Market);
    for id in 0..60 {
        // A stream after the other begins, so that a copy has to begin them one after the other.
        let place = id % (2 + id / 10);
        log.append(draft(&stream(place), id + 1, ticks(id, 1 + id % 9)), Expected::Any)
            .await
            .unwrap();
    }
    let recorded_before = Timestamp::MAX;
    let old = Retention { recorded_before, bytes_max: u64::MAX, up_to: Offset(17) };
    log.trim(old).await.unwrap();
    log.stored(Offset(0), usize::MAX).await.unwrap()
}

fn bodies(all: &[Stored]) -> Vec<&[u8]> {
    all.iter().map(|stored| stored.body.as_slice()).collect()
}

async fn held(log: &impl ReadStored) -> Vec<Stored> {
    let mut all: Vec<Stored> = Vec::new();
    loop {
        let after = all.last().map_or(Offset(0), |stored| stored.offset);
        let read = log.stored(after, usize::MAX).await.unwrap();
        if read.is_empty() {
            return all;
        }
        all.extend(read);
    }
}

/// Returns a log on files that has taken all over.
async fn taken_over(all: &[Stored]) -> (Arc<Ram>, Embedded) {
    let ram = Ram::of(&Bytes::new());
    let (log, _) = open(ram.clone()).unwrap();
    for batch in all.chunks(BATCH) {
        log.take_over(batch).await.unwrap();
    }
    (ram, log)
}

/// Puts in what goes in before the disk fails; returns how much was acknowledged.
async fn put_in(ram: &Arc<Ram>, all: &[Stored]) -> usize {
    let Ok((log, _)) = open(ram.clone()) else { return 0 };
    let mut acknowledged = 0;
    for batch in all.chunks(BATCH) {
        match log.take_over(batch).await {
            Ok(appended) => acknowledged += appended.len(),
            Err(_) => break,
        }
    }
    acknowledged
}

#[tokio::test]
async fn whichever_call_is_the_last_a_copy_goes_on_from_there() {
    let all = trimmed().await;
    for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
        for first in 0.. {
            let ram = Ram::of(&Bytes::new());
            ram.fail(Some(Which::From(first)), kind);
            let acknowledged = put_in(&ram, &all).await;
            let survived = [ram.bytes(), ram.synced(), ram.named()];
            for (bytes, how) in survived.iter().zip(["killed", "power cut", "names kept"]) {
                let context = format!("{kind}, call {first}, {how}");
                let ram = Ram::of(bytes);
                let opened = open(ram.clone());
                let (log, _) = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
                let kept = held(&log).await;
                assert!(kept.len() >= acknowledged, "{context}");
                assert_eq!(bodies(&kept), bodies(&all[..kept.len()]), "{context}: the order");

                log.take_over(&all).await.unwrap_or_else(|error| panic!("{context}: {error}"));
                assert_eq!(bodies(&held(&log).await), bodies(&all), "{context}");
                verify::verify(&*ram, Log::Market).unwrap();
            }
            if ram.calls() <= first {
                assert_eq!(acknowledged, all.len());
                assert!(first > 20, "{first}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_full_disk_takes_nothing_of_a_group_until_there_is_space() {
    let all = trimmed().await;
    let ram = Ram::of(&Bytes::new());
    let (log, _) = open(ram.clone()).unwrap();

    for which in [Which::Of("floor"), Which::Growth] {
        ram.fail(Some(which), io::ErrorKind::StorageFull);
        assert_eq!(log.take_over(&all).await, Err(LogError::Full));
        assert_eq!(log.head().await, Ok(Offset(0)));
    }
    ram.fail(None, io::ErrorKind::Other);
    log.take_over(&all).await.unwrap();
    assert_eq!(bodies(&held(&log).await), bodies(&all));
}

#[tokio::test]
async fn whoever_reads_beside_it_sees_each_stream_begin() {
    let all = trimmed().await;
    let ram = Ram::of(&Bytes::new());
    let (log, _) = open(ram.clone()).unwrap();
    let beside = ReadOnly::open(ram.clone(), Log::Market).unwrap();

    for (place, batch) in all.chunks(BATCH).enumerate() {
        log.take_over(batch).await.unwrap();
        if place % 2 == 0 {
            beside.refresh().unwrap();
            assert_eq!(held(&beside).await, held(&log).await);
        }
    }
    beside.refresh().unwrap();
    assert_eq!(bodies(&held(&beside).await), bodies(&all));
    assert_eq!(held(&ReadOnly::open(ram, Log::Market).unwrap()).await, held(&log).await);
}

#[tokio::test]
async fn a_copy_of_its_files_holds_and_is_the_same() {
    let all = trimmed().await;
    let (ram, log) = taken_over(&all).await;
    let of_files = Ram::of(&Bytes::new());

    let copied = copy::copy(&*ram, &*of_files, Log::Market).unwrap();

    assert_eq!((copied.first, copied.head), (Offset(1), log.head().await.unwrap()));
    let (opened, _) = open(of_files.clone()).unwrap();
    assert_eq!(bodies(&held(&opened).await), bodies(&all));
    verify::verify(&*of_files, Log::Market).unwrap();
}

#[tokio::test]
async fn what_is_said_of_its_beginning_stays_when_retention_goes_on() {
    let all = trimmed().await;
    let (ram, log) = taken_over(&all).await;
    let mut tips = Vec::new();
    for place in 0..8 {
        tips.push(log.tip(&stream(place)).await.unwrap());
    }
    let recorded_before = Timestamp::MAX;
    let old = Retention { recorded_before, bytes_max: u64::MAX, up_to: Offset(u64::MAX) };
    let trimmed = log.trim(old).await.unwrap();
    assert!(trimmed.entries > 0, "{trimmed:?}");
    drop(log);

    let (log, _) = open(ram).unwrap();
    for (place, tip) in (0..).zip(tips) {
        assert_eq!(log.tip(&stream(place)).await, Ok(tip));
    }
    let kept = usize::try_from(trimmed.entries).unwrap();
    assert_eq!(bodies(&held(&log).await), bodies(&all[kept..]));
}

#[tokio::test]
async fn appends_and_a_copy_that_race_for_a_stream_never_both_begin_it() {
    let all = trimmed().await;
    for _ in 0..20 {
        let ram = Ram::of(&Bytes::new());
        let (log, _) = open(ram.clone()).unwrap();
        let fresh = draft(&stream(0), 900, ticks(1, 1));

        let (appended, taken) =
            tokio::join!(log.append(fresh, Expected::Empty), log.take_over(&all));

        assert_ne!(appended.is_ok(), taken.is_ok(), "{appended:?}, {taken:?}");
        drop(log);
        open(ram).unwrap();
    }
}
