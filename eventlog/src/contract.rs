//! The promises of the port, as tests that every adapter runs. A promise that does not hold panics
//! and says which.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::event::Event;
use domain::market::event::MarketEvent;
use domain::tick::{Side, Tick};
use domain::time::Timestamp;
use tokio::task::JoinSet;
use tokio::time;
use uuid::Uuid;

use crate::entry::{Actor, Causation, Draft, ENTRY_EVENTS_MAX, Entry, Hash, Offset, Version};
use crate::log::{Appended, EventLog, Expected, LogError, ReadLog, Retention, Tip, Trim, Trimmed};
use crate::stream::{Log, Stream};

pub mod transfer;

const WRITERS: u8 = 16;
const ROUNDS: u64 = 20;

/// Holds an adapter to all promises; `fresh` makes an empty log.
pub async fn check<L: EventLog + 'static>(fresh: impl AsyncFn(Log) -> L) {
    let fresh = async |log| {
        let log: Arc<dyn EventLog> = Arc::new(fresh(log).await);
        log
    };
    an_empty_log_holds_nothing(fresh(Log::Market).await).await;
    versions_rise_by_one_and_offsets_rise(fresh(Log::Market).await).await;
    an_append_that_expects_something_else_is_told_the_newest_version(fresh(Log::Market).await)
        .await;
    an_append_sent_again_gets_its_first_result(fresh(Log::Market).await).await;
    an_append_sent_many_times_at_once_is_in_once(fresh(Log::Market).await).await;
    one_of_many_writers_wins_each_version(fresh(Log::Market).await).await;
    writers_that_expect_nothing_all_get_a_place(fresh(Log::Market).await).await;
    streams_do_not_disturb_each_other(fresh(Log::Market).await).await;
    reading_begins_after_and_ends_at_the_limit(fresh(Log::Market).await).await;
    a_reader_that_follows_misses_nothing(fresh(Log::Market).await).await;
    what_was_answered_is_there_and_what_was_refused_is_not(fresh(Log::Market).await).await;
    an_entry_too_large_is_refused(fresh(Log::Market).await).await;
    an_entry_reads_as_it_was_written(fresh(Log::Market).await).await;
    each_entry_holds_the_hash_of_the_one_before(fresh(Log::Market).await).await;
    a_stream_of_the_other_log_is_refused(
        fresh(Log::Ledger).await,
        draft(&stream(1), 1, ticks(1, 1)),
    )
    .await;
    a_stream_of_the_other_log_is_refused(
        fresh(Log::Market).await,
        draft(&Stream::System, 1, ticks(1, 1)),
    )
    .await;
}

/// Holds a durable adapter to what must survive; `open` opens one market log, empty at first, again
/// and again. The one opened before is dropped by then.
pub async fn check_reopened<L: EventLog>(open: impl AsyncFn() -> L) {
    let log = open().await;
    for id in 1..=60 {
        append(&log, draft(&stream(id % 7), id, ticks(id, 1 + id % 3)), Expected::Any).await;
    }
    let before = read_all(&log).await;
    drop(log);

    drop(open().await);
    let log = open().await;
    assert_eq!(read_all(&log).await, before, "entries survive");
    assert_eq!(log.head().await, Ok(before.last().expect("60 entries").offset));
    for entry in &before {
        let again = draft(&entry.stream, entry.append_id.as_u128(), entry.events.clone());
        let appended = append(&log, again, Expected::Any).await;
        assert_eq!(
            (appended.offset, appended.version, appended.repeated),
            (entry.offset, entry.version, true),
            "a repeated append gets its first result after a restart"
        );
    }
    let tip = log.last(&stream(1)).await.expect("a log that reads").expect("a stream with entries");
    let late = log.append(draft(&stream(1), 900, ticks(1, 1)), Expected::Empty).await;
    assert_eq!(late, Err(LogError::Conflict { actual: Some(tip.version) }));
    let next = append(&log, draft(&stream(1), 901, ticks(1, 1)), Expected::At(tip.version)).await;
    assert!(next.version == tip.version.next() && next.offset > tip.offset);

    drop(log);

    let log = open().await;
    let next = log.last(&stream(1)).await.expect("a log that reads").expect("the new tip");
    assert_eq!((next.append_id.as_u128(), next.prev_hash), (901, tip.hash));
    let tip = Tip { version: next.version, hash: next.hash };
    assert_eq!(log.tip(&stream(1)).await, Ok(Some(tip)));
}

/// Holds an adapter to what retention may do and what it must leave; `fresh` makes an empty log.
pub async fn check_trimmed<L: EventLog + Trim + 'static>(fresh: impl AsyncFn(Log) -> L) {
    what_is_needed_or_young_is_not_dropped(fresh(Log::Market).await).await;
    the_oldest_are_dropped_while_there_are_too_many_bytes(fresh(Log::Market).await).await;

    let log = fresh(Log::Market).await;
    let all = append_by_the_second(&log).await;
    let trimmed = trim(&log, until(200)).await;
    assert!(trimmed.floor > Offset(0) && trimmed.entries > 0 && trimmed.bytes > 0, "{trimmed:?}");
    assert!(!trimmed.held_back, "{trimmed:?}");
    let dropped: Vec<_> = all.iter().filter(|entry| entry.offset <= trimmed.floor).collect();
    assert_eq!(trimmed.entries, dropped.len() as u64);
    assert!(dropped.iter().all(|entry| entry.recorded_at < second(200)), "only what is old goes");
    for entry in &dropped {
        assert_repeated(&log, entry).await;
    }
    assert_trimmed(log, &all, trimmed.floor).await;

    let log = fresh(Log::Ledger).await;
    let refused = log.trim(until(200)).await;
    assert!(matches!(refused, Err(LogError::Unavailable(_))), "the ledger is never cut");
}

/// Holds a durable adapter to what must survive of a log that was trimmed; `open` as in
/// [`check_reopened`].
pub async fn check_trimmed_reopened<L: EventLog + Trim>(open: impl AsyncFn() -> L) {
    let log = open().await;
    let all = append_by_the_second(&log).await;
    let early = trim(&log, until(100)).await;
    drop(log);

    let log = open().await;
    assert_eq!(log.floor().await, Ok(early.floor));
    let trimmed = trim(&log, until(200)).await;
    assert!(trimmed.floor > early.floor, "{early:?}, {trimmed:?}");
    drop(log);

    drop(open().await);
    assert_trimmed(open().await, &all, trimmed.floor).await;
}

async fn what_is_needed_or_young_is_not_dropped(log: impl EventLog + Trim) {
    let all = append_by_the_second(&log).await;
    let nothing = Trimmed { floor: Offset(0), entries: 0, bytes: 0, held_back: false };

    assert_eq!(trim(&log, until(0)).await, nothing);
    let needed = Retention { up_to: Offset(0), ..until(250) };
    assert_eq!(trim(&log, needed).await, Trimmed { held_back: true, ..nothing });
    assert_eq!(read_all(&log).await, all);

    let middle = all.get(all.len() / 2).expect("an entry").offset;
    let trimmed = trim(&log, Retention { up_to: middle, ..until(250) }).await;
    assert!(trimmed.floor <= middle && trimmed.held_back, "{trimmed:?}");
}

async fn the_oldest_are_dropped_while_there_are_too_many_bytes(log: impl EventLog + Trim) {
    let all = append_by_the_second(&log).await;
    let by_bytes = |bytes_max| Retention { bytes_max, ..until(0) };
    let nothing = trim(&log, by_bytes(u64::MAX)).await;
    assert_eq!(nothing.entries, 0);

    let needed = Retention { up_to: Offset(0), ..by_bytes(0) };
    assert!(trim(&log, needed).await.held_back);
    let mut bytes_max = 1 << 20;
    let mut floor = Offset(0);
    while bytes_max > 0 {
        bytes_max /= 2;
        let trimmed = trim(&log, by_bytes(bytes_max)).await;
        assert!(trimmed.floor >= floor && !trimmed.held_back, "{trimmed:?}");
        assert_eq!(trimmed.entries == 0, trimmed.bytes == 0);
        floor = trimmed.floor;
        let held: Vec<_> = all.iter().filter(|entry| entry.offset > floor).cloned().collect();
        assert_eq!(read_all(&log).await, held);
    }
    assert!(floor > Offset(0));
}

/// Holds a log to what must be true of it behind a floor.
async fn assert_trimmed(log: impl EventLog, all: &[Entry], floor: Offset) {
    assert_eq!(log.floor().await, Ok(floor));
    let held: Vec<_> = all.iter().filter(|entry| entry.offset > floor).cloned().collect();
    assert_eq!(read_all(&log).await, held);
    assert_eq!(log.head().await, Ok(all.last().expect("an entry").offset));
    for after in (0..floor.0).step_by(7).map(Offset) {
        let first = read_some(&log, after, 3).await;
        assert_eq!(first, held.iter().take(3).cloned().collect::<Vec<_>>(), "it goes on behind");
    }
    for place in [0, 1, 2, QUIET] {
        let of_stream = |entry: &&Entry| entry.stream == stream(place);
        let newest = all.iter().rfind(of_stream).expect("a stream with entries");
        let own: Vec<_> = held.iter().filter(of_stream).cloned().collect();
        let read = log.read_stream(&stream(place), Version(0), usize::MAX).await;
        assert_eq!(read, Ok(own.clone()), "a stream goes on behind the floor");
        assert_eq!(log.last(&stream(place)).await, Ok(own.last().cloned()));
        let tip = Tip { version: newest.version, hash: newest.hash };
        assert_eq!(log.tip(&stream(place)).await, Ok(Some(tip)), "a tip stays known");
        assert_repeated(&log, newest).await;

        let fresh = || draft(&stream(place), fresh_id(), ticks(1, 1));
        let conflict = Err(LogError::Conflict { actual: Some(newest.version) });
        assert_eq!(log.append(fresh(), Expected::Empty).await, conflict);
        assert_eq!(log.append(fresh(), Expected::At(Version(1))).await, conflict);
        let next = append(&log, fresh(), Expected::At(newest.version)).await;
        assert_eq!((next.version, next.repeated), (newest.version.next(), false));
        let entry = log.last(&stream(place)).await.expect("a log that reads").expect("a tip");
        assert_eq!((entry.version, entry.prev_hash), (next.version, newest.hash));
    }
    let quiet = log.read_stream(&stream(QUIET), Version(0), 10).await;
    assert_eq!(quiet.map(|entries| entries.len()), Ok(1), "its old entries are gone");
}

/// A repeated append gets its first result, and its id serves no other command.
async fn assert_repeated(log: &impl EventLog, entry: &Entry) {
    let Entry { offset, version, .. } = *entry;
    for expected in [Expected::Any, Expected::Empty, Expected::At(entry.version)] {
        let again = draft(&entry.stream, entry.append_id.as_u128(), entry.events.clone());
        let appended = log.append(again.clone(), expected).await;
        assert_eq!(appended, Ok(Appended { offset, version, repeated: true }));
        let other = Draft { command_id: Uuid::from_u128(99), ..again };
        assert_eq!(log.append(other, expected).await, Err(LogError::KeyReused));
    }
}

/// A stream that falls silent early.
const QUIET: u128 = 9;

/// Appends an entry a second to three streams, and at first to a fourth; returns all.
async fn append_by_the_second(log: &impl EventLog) -> Vec<Entry> {
    for id in 0..300 {
        let place = if id < 20 && id % 4 == 0 { QUIET } else { u128::from(id) % 3 };
        let recorded_at = second(id);
        let events = ticks(u128::from(id), 1 + u128::from(id) % 5);
        let draft = Draft { recorded_at, ..draft(&stream(place), u128::from(id), events) };
        append(log, draft, Expected::Any).await;
    }
    read_all(log).await
}

fn second(number: u32) -> Timestamp {
    Timestamp::from_micros(1_711_013_400_000_000).plus(i64::from(number) * 1_000_000)
}

/// Keeps what was recorded from this second on.
fn until(number: u32) -> Retention {
    Retention { recorded_before: second(number), bytes_max: u64::MAX, up_to: Offset(u64::MAX) }
}

async fn trim(log: &impl Trim, retention: Retention) -> Trimmed {
    log.trim(retention).await.expect("a log that can be trimmed")
}

async fn an_empty_log_holds_nothing(log: Arc<dyn EventLog>) {
    assert_eq!(log.head().await, Ok(Offset(0)));
    assert_eq!(log.read(Offset(0), 10).await, Ok(vec![]));
    assert_eq!(log.read(Offset(5), 10).await, Ok(vec![]));
    assert_eq!(log.read_stream(&stream(1), Version(0), 10).await, Ok(vec![]));
    assert_eq!(log.last(&stream(1)).await, Ok(None));
    assert_eq!(log.tip(&stream(1)).await, Ok(None));
    assert_eq!(log.floor().await, Ok(Offset(0)));
}

async fn versions_rise_by_one_and_offsets_rise(log: Arc<dyn EventLog>) {
    let mut offset = Offset(0);
    for version in 1..=ROUNDS {
        for place in 1..=3 {
            let id = u128::from(version) * 10 + place;
            let appended =
                append(&*log, draft(&stream(place), id, ticks(1, 1)), Expected::Any).await;

            assert_eq!((appended.version, appended.repeated), (Version(version), false));
            assert!(appended.offset > offset, "{offset} is followed by {}", appended.offset);
            offset = appended.offset;
        }
    }
}

async fn an_append_that_expects_something_else_is_told_the_newest_version(log: Arc<dyn EventLog>) {
    use Expected::{Any, At, Empty};
    let one = Ok(Version(1));
    for (place, expected, outcome) in [
        (1, At(Version(3)), Err(LogError::Conflict { actual: None })),
        (1, Empty, one.clone()),
        (1, Empty, Err(LogError::Conflict { actual: Some(Version(1)) })),
        (1, At(Version(0)), Err(LogError::Conflict { actual: Some(Version(1)) })),
        (1, At(Version(1)), Ok(Version(2))),
        (1, At(Version(1)), Err(LogError::Conflict { actual: Some(Version(2)) })),
        (1, At(Version(9)), Err(LogError::Conflict { actual: Some(Version(2)) })),
        (1, Any, Ok(Version(3))),
        (1, At(Version(3)), Ok(Version(4))),
        (2, At(Version(0)), one.clone()),
        (3, Any, one),
    ] {
        let answer = log.append(draft(&stream(place), fresh_id(), ticks(1, 1)), expected).await;

        assert_eq!(answer.map(|appended| appended.version), outcome, "{place} {expected:?}");
    }
}

async fn an_append_sent_again_gets_its_first_result(log: Arc<dyn EventLog>) {
    let first = draft(&stream(1), 1, ticks(1, 2));
    let appended = append(&*log, first.clone(), Expected::Empty).await;
    let again = Appended { repeated: true, ..appended };
    for later in 0..30 {
        for expected in [Expected::Empty, Expected::Any, Expected::At(Version(later + 1))] {
            // The retry may have decided otherwise, on newer state: it is the same command.
            let retry = Draft { events: ticks(7, 1), ..first.clone() };
            assert_eq!(log.append(retry, expected).await, Ok(again), "{expected:?} after {later}");

            let other = Draft { command_id: Uuid::from_u128(99), ..first.clone() };
            assert_eq!(log.append(other, expected).await, Err(LogError::KeyReused), "{expected:?}");
        }
        let next = draft(&stream(1), 100 + u128::from(later), ticks(1, 1));
        append(&*log, next, Expected::At(Version(later + 1))).await;
    }
    assert_eq!(read_all(&*log).await.len(), 31);
}

async fn an_append_sent_many_times_at_once_is_in_once(log: Arc<dyn EventLog>) {
    for round in 1..=u128::from(ROUNDS) {
        let expected = if round % 2 == 0 { Expected::Any } else { Expected::Empty };
        let same = |_| (draft(&stream(round), round, ticks(1, 1)), expected);
        let answers = at_once(&log, (0..WRITERS).map(same)).await;

        let first = answers.iter().flatten().find(|answer| !answer.repeated).copied();
        let first = first.expect("one of them was the first");
        let again = Appended { repeated: true, ..first };
        assert_eq!(answers.iter().filter(|answer| **answer == Ok(first)).count(), 1);
        assert!(answers.iter().flatten().all(|answer| *answer == first || *answer == again));
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");

        let stands = log.read_stream(&stream(round), Version(0), 10).await;
        assert_eq!(stands.map(|entries| entries.len()), Ok(1));
    }
}

async fn one_of_many_writers_wins_each_version(log: Arc<dyn EventLog>) {
    for round in 0..ROUNDS {
        let rival = |_| (draft(&stream(1), fresh_id(), ticks(1, 1)), Expected::At(Version(round)));
        let answers = at_once(&log, (0..WRITERS).map(rival)).await;

        let lost = Err(LogError::Conflict { actual: Some(Version(round + 1)) });
        let won = answers.iter().filter(|answer| answer.is_ok()).count();
        let conflicts = answers.iter().filter(|answer| **answer == lost).count();
        assert_eq!((won, conflicts), (1, answers.len() - 1), "{answers:?}");
    }
    assert_eq!(read_all(&*log).await.len() as u64, ROUNDS);
}

async fn writers_that_expect_nothing_all_get_a_place(log: Arc<dyn EventLog>) {
    let drafts =
        (0..4 * u128::from(WRITERS)).map(|id| (draft(&stream(1), id, ticks(id, 1)), Expected::Any));
    let answers = at_once(&log, drafts).await;

    let mut versions: Vec<_> = answers.iter().flatten().map(|answer| answer.version.0).collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=4 * u64::from(WRITERS)).collect::<Vec<_>>(), "{answers:?}");
    assert_chained(&read_all(&*log).await);
}

async fn streams_do_not_disturb_each_other(log: Arc<dyn EventLog>) {
    let streams = 2 * u128::from(WRITERS);
    for version in 0..ROUNDS {
        let expected = Expected::At(Version(version));
        let one_each = |place| (draft(&stream(place), fresh_id(), ticks(place, 1)), expected);
        let answers = at_once(&log, (0..streams).map(one_each)).await;

        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    let entries = read_all(&*log).await;
    assert_eq!(entries.len() as u128, streams * u128::from(ROUNDS));
    assert_chained(&entries);
    for place in 0..streams {
        let own: Vec<_> =
            entries.iter().filter(|entry| entry.stream == stream(place)).cloned().collect();
        let read = log.read_stream(&stream(place), Version(0), usize::MAX).await;
        assert_eq!(read, Ok(own));
    }
}

async fn reading_begins_after_and_ends_at_the_limit(log: Arc<dyn EventLog>) {
    for id in 1..=30 {
        append(&*log, draft(&stream(id % 2), id, ticks(id, 1)), Expected::Any).await;
    }
    let all = read_all(&*log).await;
    let own: Vec<_> = all.iter().filter(|entry| entry.stream == stream(1)).cloned().collect();

    for (place, entry) in all.iter().enumerate() {
        let rest: Vec<_> = all.iter().skip(place + 1).take(4).cloned().collect();
        assert_eq!(read_some(&*log, entry.offset, 4).await, rest);
    }
    for (place, entry) in own.iter().enumerate() {
        let rest: Vec<_> = own.iter().skip(place + 1).take(4).cloned().collect();
        assert_eq!(log.read_stream(&stream(1), entry.version, 4).await, Ok(rest));
    }
    let newest = all.last().expect("30 entries").offset;
    assert_eq!(log.head().await, Ok(newest));
    assert_eq!(log.last(&stream(1)).await, Ok(own.last().cloned()));
    assert_eq!(log.read(Offset(0), 0).await, Ok(vec![]));
    assert_eq!(log.read(newest, 9).await, Ok(vec![]));
    assert_eq!(log.read(Offset(u64::MAX), 9).await, Ok(vec![]));
    assert_eq!(log.read_stream(&stream(1), Version(u64::MAX), 9).await, Ok(vec![]));
    assert_eq!(log.read_stream(&stream(5), Version(0), 9).await, Ok(vec![]));
}

async fn a_reader_that_follows_misses_nothing(log: Arc<dyn EventLog>) {
    let entries = usize::from(WRITERS) * 20;
    let reader = {
        let log = Arc::clone(&log);
        async move {
            let (mut seen, mut after) = (Vec::new(), Offset(0));
            while seen.len() < entries {
                log.wait_after(after).await.expect("a log that is open");
                let read = log.read(after, 7).await.expect("a log that reads");
                assert!(!read.is_empty(), "a reader wakes when there is more");
                after = read.last().map_or(after, |entry| entry.offset);
                assert!(log.head().await.expect("a log that reads") >= after);
                seen.extend(read);
            }
            seen
        }
    };
    let reader = tokio::spawn(time::timeout(Duration::from_mins(1), reader));
    let mut writers = JoinSet::new();
    for place in 0..u128::from(WRITERS) {
        let log = Arc::clone(&log);
        writers.spawn(async move {
            for _ in 0..20 {
                append(&*log, draft(&stream(place), fresh_id(), ticks(1, 1)), Expected::Any).await;
            }
        });
    }
    writers.join_all().await;

    let seen = reader.await.expect("a reader that ends").expect("a reader that is woken");
    assert_eq!(seen, read_all(&*log).await, "nothing comes to stand in front of what was read");
}

async fn what_was_answered_is_there_and_what_was_refused_is_not(log: Arc<dyn EventLog>) {
    for id in 1..=u128::from(ROUNDS) {
        let appended = append(&*log, draft(&stream(1), id, ticks(id, 1)), Expected::Any).await;

        let last = log.last(&stream(1)).await.expect("a log that reads").expect("a tip");
        assert_eq!((last.append_id.as_u128(), last.offset), (id, appended.offset));
        assert_eq!(log.head().await, Ok(appended.offset));
        let tip = Tip { version: last.version, hash: last.hash };
        assert_eq!(log.tip(&stream(1)).await, Ok(Some(tip)));

        let refused = log.append(draft(&stream(1), 100 + id, ticks(1, 1)), Expected::Empty).await;
        assert!(refused.is_err());
        assert_eq!(log.head().await, Ok(appended.offset), "a refused append leaves nothing");
    }
}

async fn an_entry_too_large_is_refused(log: Arc<dyn EventLog>) {
    append(&*log, draft(&stream(1), 1, ticks(1, ENTRY_EVENTS_MAX as u128)), Expected::Empty).await;
    let wordy = Draft {
        correlation_id: Some("x".repeat(crate::entry::ENTRY_BYTES_MAX)),
        ..draft(&stream(1), 2, ticks(1, 1))
    };
    for draft in [
        draft(&stream(1), 3, vec![]),
        draft(&stream(1), 4, ticks(1, ENTRY_EVENTS_MAX as u128 + 1)),
        wordy,
    ] {
        assert_eq!(log.append(draft, Expected::Any).await, Err(LogError::TooLarge));
    }
    assert_eq!(read_all(&*log).await.len(), 1);
}

async fn an_entry_reads_as_it_was_written(log: Arc<dyn EventLog>) {
    let gap = || Event::Market(MarketEvent::FeedGapFilled { first_id: 5, last_id: 9 });
    for (id, events) in [
        (1, ticks(1, 40)),
        (2, vec![gap()]),
        (3, [ticks(9, 3), vec![gap()]].concat()),
        (4, ticks(20, ENTRY_EVENTS_MAX as u128)),
    ] {
        let bare = draft(&stream(1), id, events);
        let full = Draft {
            append_id: Uuid::from_u128(id + 10),
            correlation_id: Some("request \"7\"".to_owned()),
            causation: Some(Causation { stream: Stream::System, version: Version(3) }),
            ..bare.clone()
        };
        for draft in [bare, full] {
            let appended = append(&*log, draft.clone(), Expected::Any).await;
            let entry = log.last(&draft.stream).await.expect("a log that reads").expect("a tip");

            let expected = Entry {
                log: Log::Market,
                offset: appended.offset,
                stream: draft.stream,
                version: appended.version,
                append_id: draft.append_id,
                command_id: draft.command_id,
                recorded_at: draft.recorded_at,
                actor: draft.actor,
                correlation_id: draft.correlation_id,
                causation: draft.causation,
                prev_hash: entry.prev_hash,
                hash: entry.hash,
                events: draft.events,
            };
            assert_eq!(entry, expected);
        }
    }
    let all = read_all(&*log).await;
    assert_eq!(log.read_stream(&stream(1), Version(0), usize::MAX).await, Ok(all));
}

async fn each_entry_holds_the_hash_of_the_one_before(log: Arc<dyn EventLog>) {
    for id in 1..=40 {
        append(&*log, draft(&stream(id % 3), id, ticks(id, 1)), Expected::Any).await;
    }
    let entries = read_all(&*log).await;
    assert_eq!(entries.len(), 40);
    assert_chained(&entries);
}

async fn a_stream_of_the_other_log_is_refused(log: Arc<dyn EventLog>, draft: Draft) {
    let stream = draft.stream.clone();
    let answer = log.append(draft, Expected::Any).await;

    assert!(matches!(answer, Err(LogError::Unavailable(_))), "{answer:?}");
    assert_eq!(log.head().await, Ok(Offset(0)));
    assert_eq!(log.last(&stream).await, Ok(None));
}

/// Versions without gaps, each entry with the hash of the one before, no hash twice.
fn assert_chained(entries: &[Entry]) {
    let mut tips: BTreeMap<&Stream, (Version, Hash)> = BTreeMap::new();
    let mut offset = Offset(0);
    for entry in entries {
        let tip = tips.entry(&entry.stream).or_default();
        assert_eq!((entry.version, entry.prev_hash), (tip.0.next(), tip.1));
        assert!(entry.offset > offset && entry.hash != entry.prev_hash);
        (*tip, offset) = ((entry.version, entry.hash), entry.offset);
    }
}

async fn append(log: &dyn EventLog, draft: Draft, expected: Expected) -> Appended {
    log.append(draft, expected).await.expect("an append that nothing stands against")
}

async fn at_once(
    log: &Arc<dyn EventLog>,
    drafts: impl Iterator<Item = (Draft, Expected)>,
) -> Vec<Result<Appended, LogError>> {
    let mut appends = JoinSet::new();
    for (draft, expected) in drafts {
        let log = Arc::clone(log);
        appends.spawn(async move { log.append(draft, expected).await });
    }
    appends.join_all().await
}

async fn read_all(log: &dyn ReadLog) -> Vec<Entry> {
    read_some(log, Offset(0), usize::MAX).await
}

/// Reads on until the limit or the end, since a read may return fewer than there are.
async fn read_some(log: &dyn ReadLog, mut after: Offset, limit: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    while entries.len() < limit {
        let read = log.read(after, limit - entries.len()).await.expect("a log that reads");
        let Some(newest) = read.last() else { break };
        after = newest.offset;
        entries.extend(read);
    }
    entries
}

pub(crate) fn stream(place: u128) -> Stream {
    let letter = |place: u128| char::from(b'A' + u8::try_from(place % 26).unwrap_or_default());
    format!("market-binance.X{}{}-USDT", letter(place / 26), letter(place))
        .parse()
        .expect("the name of a market stream")
}

pub(crate) fn draft(stream: &Stream, id: u128, events: Vec<Event>) -> Draft {
    Draft {
        stream: stream.clone(),
        append_id: Uuid::from_u128(id),
        command_id: Uuid::from_u128(id + 1_000_000),
        recorded_at: Timestamp::from_micros(1_711_013_400_123_456),
        actor: Actor { principal: "binance".into(), role: "feed".into(), via: "intake".into() },
        correlation_id: None,
        causation: None,
        events,
    }
}

/// Returns an append id that no other draft has.
fn fresh_id() -> u128 {
    static NEXT: AtomicU64 = AtomicU64::new(1 << 40);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn ticks(first_id: u128, ticks: u128) -> Vec<Event> {
    let tick = |id: u128| Tick {
        trade_id: u64::try_from(id).unwrap_or_default(),
        price: "65432.10".parse().expect("a price"),
        quantity: "0.02".parse().expect("a quantity"),
        taker: if id.is_multiple_of(2) { Side::Sell } else { Side::Buy },
        traded_at: Timestamp::from_micros(1_711_013_400_000_000),
        received_at: Timestamp::from_micros(1_711_013_400_100_000),
    };
    (first_id..first_id + ticks).map(|id| MarketEvent::TickObserved(tick(id)).into()).collect()
}
