//! Copies of logs in memory and on files: what they hold, and what they refuse.

use domain::time::Timestamp;
use eventlog::embedded::read_only::ReadOnly;
use eventlog::embedded::{Embedded, Options};
use eventlog::entry::{Actor, Draft};
use eventlog::files::Disk;
use eventlog::log::{EventLog, Expected, ReadLog, Retention, Trim};
use eventlog::memory::Memory;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

mod broker;
mod kurrent_double;

fn draft(stream: &str, id: u64) -> Draft {
    let gap = domain::market::event::MarketEvent::FeedGapFilled { first_id: id, last_id: id };
    Draft {
        stream: stream.parse().unwrap(),
        append_id: Uuid::from_u128(u128::from(id)),
        command_id: Uuid::from_u128(u128::from(id)),
        recorded_at: Timestamp::from_micros(1_711_013_400_000_000),
        actor: Actor { principal: "a".into(), role: "feed".into(), via: "intake".into() },
        correlation_id: None,
        causation: None,
        events: vec![gap.into()],
    }
}

fn stream(place: u64) -> String {
    format!("market-binance.X{}-USDT", ["A", "B", "C"][usize::try_from(place).unwrap() % 3])
}

/// Appends so many entries to three streams, in turns that differ.
async fn fill(log: &dyn EventLog, ids: std::ops::Range<u64>) {
    for id in ids {
        log.append(draft(&stream(id * id), id + 1), Expected::Any).await.unwrap();
    }
}

async fn filled(entries: u64) -> Arc<Memory> {
    let log = Arc::new(Memory::new(Log::Market));
    fill(&*log, 0..entries).await;
    log
}

fn embedded(folder: &TempDir) -> Arc<Embedded> {
    let disk = Disk::open(folder.path()).unwrap();
    let options = Options { segment_bytes: 8 << 10, ..Options::default() };
    Arc::new(Embedded::open(Arc::new(disk), Log::Market, options).unwrap().0)
}

async fn copied(original: Arc<dyn ReadStored>, copy: Arc<dyn Transfer>) -> Result<Copied> {
    copy_log(Log::Market, original, copy).await
}

async fn why_not(original: Arc<dyn ReadStored>, copy: Arc<dyn Transfer>) -> String {
    format!("{:#}", copied(original, copy).await.unwrap_err())
}

#[tokio::test]
async fn a_log_comes_back_from_files_as_it_was() {
    let (original, folder) = (filled(3_000).await, tempfile::tempdir().unwrap());
    let there = copied(original.clone(), embedded(&folder)).await.unwrap();
    assert_eq!((there.entries, there.streams, there.put_in, there.besides), (3_000, 2, 3_000, 0));

    let disk = Arc::new(Disk::existing(folder.path()).unwrap());
    let on_files = Arc::new(ReadOnly::open(disk, Log::Market).unwrap());
    let back = Arc::new(Memory::new(Log::Market));
    let back_again = copied(on_files, back.clone()).await.unwrap();

    assert_eq!(back_again, there);
    let all = |log: Arc<Memory>| async move { log.stored(Offset(0), usize::MAX).await.unwrap() };
    assert_eq!(all(back).await, all(original).await);
}

#[tokio::test]
async fn a_copy_goes_on_where_it_was_interrupted_and_where_the_original_went_on() {
    let (original, folder) = (filled(2_500).await, tempfile::tempdir().unwrap());
    let copy = embedded(&folder);
    let begun = original.stored(Offset(0), 1_100).await.unwrap();
    copy.take_over(&begun).await.unwrap();

    let first = copied(original.clone(), copy.clone()).await.unwrap();
    assert_eq!((first.entries, first.put_in, first.head), (2_500, 1_400, Offset(2_500)));
    fill(&*original, 2_500..2_600).await;
    let second = copied(original.clone(), copy.clone()).await.unwrap();
    assert_eq!((second.entries, second.put_in), (2_600, 100));
    let third = copied(original, copy).await.unwrap();

    assert_eq!((third.put_in, third.hash), (0, second.hash));
    assert_ne!(second.hash, first.hash);
}

#[tokio::test]
async fn a_trimmed_log_is_copied_from_its_floor_on_and_into_a_copy_that_holds_more() {
    let original = filled(90).await;
    let copy = Arc::new(Memory::new(Log::Market));
    copied(original.clone(), copy.clone()).await.unwrap();
    let recorded_before = Timestamp::from_micros(i64::MAX);
    let retention = Retention { recorded_before, bytes_max: u64::MAX, up_to: Offset(40) };
    original.trim(retention).await.unwrap();

    let fresh = Arc::new(Memory::new(Log::Market));
    let whole = copied(original.clone(), fresh.clone()).await.unwrap();
    assert_eq!((whole.entries, whole.put_in, whole.besides), (50, 50, 0));
    assert_eq!(fresh.last(&stream(1).parse().unwrap()).await.unwrap().unwrap().offset, Offset(50));

    fill(&*original, 90..95).await;
    let again = copied(original, copy).await.unwrap();
    assert_eq!((again.entries, again.put_in, again.besides), (55, 5, 40));
}

#[tokio::test]
async fn what_retention_has_dropped_in_between_is_named() {
    let original = filled(30).await;
    let copy = Arc::new(Memory::new(Log::Market));
    copied(original.clone(), copy.clone()).await.unwrap();
    fill(&*original, 30..60).await;
    let recorded_before = Timestamp::from_micros(i64::MAX);
    let retention = Retention { recorded_before, bytes_max: u64::MAX, up_to: Offset(45) };
    original.trim(retention).await.unwrap();

    let said = why_not(original, copy).await;
    assert!(said.contains("copy into an empty log"), "{said}");
}

#[tokio::test]
async fn a_target_of_another_origin_is_refused_and_stays_as_it_was() {
    for (others, word) in [(1..3, "made from another log"), (1..60, "has the hash")] {
        let original = filled(50).await;
        let other = Arc::new(Memory::new(Log::Market));
        for id in others {
            other.append(draft(&stream(id * id), 1_000 + id), Expected::Any).await.unwrap();
        }
        let before = other.stored(Offset(0), usize::MAX).await.unwrap();

        let said = why_not(original, other.clone()).await;

        assert!(said.contains(word), "{said}");
        let kept = other.stored(Offset(0), before.len()).await.unwrap();
        assert_eq!(kept, before);
    }
}

#[tokio::test]
async fn entries_in_another_order_are_no_copy() {
    let (original, copy) = (filled(0).await, Arc::new(Memory::new(Log::Market)));
    for (id, place) in [(1, 0), (2, 1)] {
        original.append(draft(&stream(place), id), Expected::Any).await.unwrap();
    }
    let all = original.stored(Offset(0), 2).await.unwrap();
    copy.take_over(&[all[1].clone(), all[0].clone()]).await.unwrap();

    let said = why_not(original, copy).await;
    assert!(said.contains("in another order"), "{said}");
}

#[tokio::test]
async fn a_target_that_somebody_writes_to_is_told_from_a_copy() {
    let (original, copy) = (filled(20).await, Arc::new(Memory::new(Log::Market)));
    copied(original.clone(), copy.clone()).await.unwrap();
    copy.append(draft(&stream(0), 500), Expected::Any).await.unwrap();

    // What was written behind the original's newest is besides it…
    assert_eq!(copied(original.clone(), copy.clone()).await.unwrap().besides, 1);
    // … until the original goes on there.
    original.append(draft(&stream(0), 501), Expected::Any).await.unwrap();
    let said = why_not(original, copy).await;
    assert!(said.contains("made from another log"), "{said}");
}

#[test]
fn what_is_no_log_is_not_repeated() {
    let said = format!("{:#}", url("--from", "nats:/user:canary@host").unwrap_err());
    assert!(said.starts_with("--from is no log") && !said.contains("canary"), "{said}");
}
