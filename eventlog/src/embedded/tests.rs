//! The promises of the port on files, what a failing disk does to them, and what a start says.

use std::path::Path;

use super::*;
use domain::time::Timestamp;

use crate::contract;
use crate::contract::{draft, stream, ticks};
use crate::files::Disk;
use crate::log::{Retention, Trim};
use led::{Led, segments, write, write_tidily};
use ram::{Bytes, Ram, Which};

mod led;
mod ram;

mod crashed;
mod damage;
mod golden;
mod sealed_segments;
mod tidied;
mod trimmed;

mod followed;
mod taken_over;

mod copied;
mod verified;

fn small() -> Options {
    Options { segment_bytes: 4 << 10, prepare_bytes: 1 << 10, append_ids_max: 1 << 10 }
}

fn open(files: Arc<dyn Files>) -> Result<(Embedded, Opened), LogError> {
    Embedded::open(files, Log::Market, small())
}

async fn read_all(log: &Embedded) -> Vec<Entry> {
    read_all_of(log).await
}

async fn read_all_of(log: &dyn ReadLog) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map_or(Offset(0), |entry| entry.offset);
        let read = log.read(after, usize::MAX).await.unwrap();
        if read.is_empty() {
            return entries;
        }
        entries.extend(read);
    }
}

fn next(log: &Embedded, id: u128) -> impl Future<Output = Result<Appended, LogError>> {
    log.append(draft(&stream(id % 3), id, ticks(id, 1 + id % 9)), Expected::Any)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_on_files_keeps_the_promises_of_the_port() {
    let folder = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    let fresh = async |log| {
        number.set(number.get() + 1);
        let disk = Disk::open(folder.path().join(number.get().to_string())).unwrap();
        Embedded::open(Arc::new(disk), log, small()).unwrap().0
    };
    contract::check(&fresh).await;
    contract::check_trimmed(&fresh).await;
    contract::transfer::check(&fresh).await;

    let (reopened, trimmed) = (folder.path().join("reopened"), folder.path().join("trimmed"));
    let copied = folder.path().join("taken over");
    let open = |folder: &Path| open(Arc::new(Disk::open(folder).unwrap())).unwrap().0;
    contract::check_reopened(async || open(&reopened)).await;
    contract::check_trimmed_reopened(async || open(&trimmed)).await;
    contract::transfer::check_reopened(async || open(&copied)).await;
}

#[test]
fn a_log_is_open_once_and_the_other_log_of_the_folder_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let open = |log: Log| {
        let disk = Disk::open(folder.path().join(log.as_str())).unwrap();
        Embedded::open(Arc::new(disk), log, small()).map(|(log, _)| log)
    };
    let ledger = open(Log::Ledger).unwrap();
    let _market = open(Log::Market).unwrap();

    let busy = LogError::Unavailable("another process has the ledger log open".to_owned());
    assert_eq!(open(Log::Ledger).err(), Some(busy));
    drop(ledger);
    open(Log::Ledger).unwrap();
}

#[tokio::test]
async fn a_log_does_not_open_as_the_other() {
    let ram = Ram::of(&Bytes::new());
    drop(open(ram.clone()).unwrap());

    let opened = Embedded::open(ram, Log::Ledger, small());

    assert!(matches!(opened.err(), Some(LogError::Damaged { offset: Offset(1), .. })));
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_acknowledged_or_shown() {
    for which in [Which::Sync, Which::Write] {
        let ram = Ram::of(&Bytes::new());
        let (log, _) = open(ram.clone()).unwrap();
        next(&log, 1).await.unwrap();

        ram.fail(Some(which), io::ErrorKind::Other);
        let (second, third, waited) =
            tokio::join!(next(&log, 2), next(&log, 3), log.wait_after(Offset(1)));
        assert!(matches!(waited, Err(LogError::Unavailable(_))), "who waits is told: {waited:?}");
        // The writer may have stopped before the other came.
        assert_eq!(second, Err(LogError::OutcomeUnknown));
        assert!(matches!(third, Err(LogError::OutcomeUnknown | LogError::Unavailable(_))));
        ram.fail(None, io::ErrorKind::Other);
        let late = next(&log, 4).await;
        let said = |reason: &str| reason.starts_with("the market log has stopped: ");
        assert!(matches!(&late, Err(LogError::Unavailable(reason)) if said(reason)), "{late:?}");

        assert_eq!(log.head().await, Ok(Offset(1)));
        assert_eq!(read_all(&log).await.len(), 1);
        assert!(next(&log, 1).await.unwrap().repeated, "what was durable is still known");

        drop(log);
        let (log, _) = open(ram).unwrap();
        for id in 1..=4 {
            next(&log, id).await.unwrap();
        }
        assert_eq!(read_all(&log).await.len(), 4);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_appends_until_there_is_space() {
    let ram = Ram::of(&Bytes::new());
    let (log, _) = open(ram.clone()).unwrap();
    let (mut refused, mut acknowledged) = (0, 0);
    for id in 0..200 {
        // The large one needs more than is prepared; a small one may still find room.
        ram.fail(Some(Which::Growth).filter(|_| id % 7 == 0), io::ErrorKind::StorageFull);
        let large = draft(&stream(9), 1_000 + id, ticks(1, 256));
        if id % 7 == 0 {
            assert_eq!(log.append(large, Expected::Any).await, Err(LogError::Full));
        }
        match next(&log, id).await {
            Ok(_) => acknowledged += 1,
            Err(error) => {
                assert_eq!(error, LogError::Full);
                refused += 1;
            }
        }
        assert_eq!(open(Ram::of(&ram.bytes())).unwrap().1.entries, acknowledged);
    }
    assert!(refused > 5 && acknowledged > 100, "{refused} and {acknowledged}");
    assert_eq!(read_all(&log).await.len() as u64, acknowledged);
    drop(log);
    assert_eq!(open(ram).unwrap().1, Opened { entries: acknowledged, cut: None });
}

#[tokio::test]
async fn whichever_call_is_the_last_what_was_answered_is_kept() {
    for first in 0.. {
        let ram = Ram::of(&Bytes::new());
        ram.fail(Some(Which::From(first)), io::ErrorKind::Other);
        let mut answered = Vec::new();
        if let Ok((log, _)) = open(ram.clone()) {
            for id in 0..40 {
                answered.extend(next(&log, id).await);
            }
        }
        for survived in [ram.bytes(), ram.synced(), ram.named()] {
            let (log, report) = open(Ram::of(&survived)).unwrap();
            let entries = read_all(&log).await;
            assert!(entries.len() >= answered.len() && entries.len() <= answered.len() + 1);
            assert_eq!(entries.len() as u64, report.entries);
            for id in 0..40 {
                let appended = next(&log, id).await.unwrap();
                assert_eq!(appended.repeated, (id as usize) < entries.len(), "after call {first}");
            }
            assert_eq!(read_all(&log).await[..entries.len()], entries);
        }
        if answered.len() == 40 {
            assert!(ram.calls() > 40 && ram.bytes().len() > 2);
            return;
        }
    }
}

#[tokio::test]
async fn an_id_that_is_no_longer_remembered_is_found_after_the_expected_version() {
    let options = Options { append_ids_max: 2, ..small() };
    let ram = Ram::of(&Bytes::new());
    let (log, _) = Embedded::open(ram, Log::Market, options).unwrap();
    let one = |id| draft(&stream(1), id, ticks(1, 1));
    for id in 1..=300 {
        log.append(one(id.into()), Expected::At(Version(id - 1))).await.unwrap();
    }

    for id in [1, 2, 150, 299, 300] {
        let (version, id) = (Version(id), u128::from(id));
        let first = Appended { offset: Offset(version.0), version, repeated: true };
        for expected in [Expected::Empty, Expected::At(Version(version.0 - 1))] {
            assert_eq!(log.append(one(id), expected).await, Ok(first));
        }
        let other = Draft { command_id: uuid::Uuid::nil(), ..one(id) };
        assert_eq!(log.append(other, Expected::Empty).await, Err(LogError::KeyReused));
    }
    let conflict = Err(LogError::Conflict { actual: Some(Version(300)) });
    assert_eq!(log.append(one(5), Expected::At(Version(5))).await, conflict);
    assert_eq!(log.append(one(301), Expected::Empty).await, conflict);
}

#[tokio::test]
async fn a_large_read_is_the_same_as_many_small_ones() {
    let ram = Ram::of(&Bytes::new());
    let (log, _) = open(ram).unwrap();
    for id in 0..300 {
        log.append(draft(&stream(id % 2), id, ticks(id, 256)), Expected::Any).await.unwrap();
    }
    let all = read_all(&log).await;
    let mut single = Vec::new();
    for offset in 0..300 {
        single.extend(log.read(Offset(offset), 1).await.unwrap());
    }

    assert_eq!(all, single);
    assert_eq!(all.len(), 300);
}
