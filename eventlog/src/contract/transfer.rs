//! What a log promises that gives and takes entries as they are stored: a copy holds the same bytes in
//! the same order, however often it is interrupted, and goes on where the original does.

use crate::contract::{
    append, append_by_the_second, draft, fresh_id, read_all, stream, ticks, trim, until,
};
use crate::entry::{Draft, Entry, Offset, Version};
use crate::log::{EventLog, Expected, LogError, ReadLog, Tip};
use crate::memory::Memory;
use crate::stream::{Log, Stream};
use crate::transfer::{ReadStored, Stored, Transfer};

/// Holds an adapter to all promises; `fresh` makes an empty log.
pub async fn check<L: EventLog + Transfer>(fresh: impl AsyncFn(Log) -> L) {
    a_copy_of_a_copy_is_the_original(fresh(Log::Market).await).await;
    what_is_in_already_is_not_put_in_again(fresh(Log::Market).await).await;
    what_does_not_continue_its_stream_is_refused(fresh(Log::Market).await).await;
    a_stream_begins_where_retention_has_left_it(fresh(Log::Market).await).await;
    a_ledger_begins_at_the_beginning(fresh(Log::Ledger).await).await;
    what_belongs_into_the_other_log_is_refused(fresh(Log::Ledger).await).await;
}

/// Holds a durable adapter to what must survive of a copy; `open` opens one market log, empty at
/// first, again and again. The one opened before is dropped by then.
pub async fn check_reopened<L: EventLog + Transfer>(open: impl AsyncFn() -> L) {
    let original = trimmed().await;
    let all = all_stored(&original).await;
    let (first, second) = all.split_at(all.len() / 2);

    put_in(&open().await, first).await;
    let copy = open().await;
    assert_eq!(bodies(&copy).await, bodies_of(first));
    put_in(&copy, second).await;
    drop(copy);

    drop(open().await);
    let copy = open().await;
    assert_is_copy(&copy, &original).await;
    assert_goes_on(&copy, &original).await;
}

async fn a_copy_of_a_copy_is_the_original(copy: impl EventLog + Transfer) {
    let original = original().await;
    let all = all_stored(&original).await;
    assert_eq!(copy.take_over(&[]).await, Ok(vec![]));
    // In batches of growing size: most hold several entries of one stream.
    let (mut rest, mut size) = (all.as_slice(), 1);
    while !rest.is_empty() {
        let (batch, behind) = rest.split_at(size.min(rest.len()));
        let appended = copy.take_over(batch).await.expect("entries that continue their streams");
        for (stored, appended) in batch.iter().zip(&appended) {
            let header = stored.header(Log::Market).expect("a body that reads");
            assert_eq!((appended.version, appended.repeated), (header.version, false));
        }
        assert!(appended.is_sorted_by_key(|appended| appended.offset));
        assert_eq!(appended.last().map(|newest| newest.offset), copy.head().await.ok());
        (rest, size) = (behind, size + 3);
    }
    assert_is_copy(&copy, &original).await;

    let again = Memory::new(Log::Market);
    put_in(&again, &all_stored(&copy).await).await;
    assert_is_copy(&again, &original).await;
    assert_goes_on(&copy, &original).await;
}

async fn what_is_in_already_is_not_put_in_again(copy: impl EventLog + Transfer) {
    let original = original().await;
    let all = all_stored(&original).await;
    let (first, _) = all.split_at(all.len() / 2);
    let begun = copy.take_over(first).await.expect("entries that continue their streams");

    let whole = copy.take_over(&all).await.expect("entries that continue their streams");

    for (place, appended) in whole.iter().enumerate() {
        let before = begun.get(place).map(|before| (before.offset, before.version));
        assert_eq!(appended.repeated, before.is_some());
        if appended.repeated {
            assert_eq!(Some((appended.offset, appended.version)), before);
        }
    }
    assert_is_copy(&copy, &original).await;
}

async fn what_does_not_continue_its_stream_is_refused(copy: impl EventLog + Transfer) {
    let original = original().await;
    let all = all_stored(&original).await;
    let place = |place: u128, version: u64| {
        let is_it = |stored: &&Stored| {
            let header = stored.header(Log::Market).expect("a body that reads");
            (header.stream, header.version) == (stream(place), Version(version))
        };
        all.iter().find(is_it).expect("an entry of each version").clone()
    };
    put_in(&copy, &[place(1, 1), place(2, 1)]).await;
    let held = bodies(&copy).await;

    let conflict = LogError::Conflict { actual: Some(Version(1)) };
    for stranger in [place(1, 3), other(&copy, 1).await] {
        let batch = [place(2, 2), stranger, place(2, 3)];
        assert_eq!(copy.take_over(&batch).await, Err(conflict.clone()));
        let now = bodies(&copy).await;
        assert!(now.len() <= held.len() + 1, "nothing behind what was refused is put in");
        assert_eq!(now.get(..held.len()), Some(held.as_slice()));
    }
    let after = copy.take_over(&[place(2, 2), place(1, 2)]).await;
    assert!(after.is_ok(), "what is refused leaves nothing that stands in the way: {after:?}");
}

/// Returns an entry as another log would hold it as version 1 of a stream that has one.
async fn other(copy: &impl ReadLog, place: u128) -> Stored {
    assert!(copy.last(&stream(place)).await.is_ok_and(|last| last.is_some()));
    let other = Memory::new(Log::Market);
    append(&other, draft(&stream(place), fresh_id(), ticks(7, 2)), Expected::Empty).await;
    all_stored(&other).await.remove(0)
}

async fn a_stream_begins_where_retention_has_left_it(copy: impl EventLog + Transfer) {
    let original = trimmed().await;
    put_in(&copy, &all_stored(&original).await).await;

    assert_is_copy(&copy, &original).await;
    assert_goes_on(&copy, &original).await;
}

async fn a_ledger_begins_at_the_beginning(copy: impl EventLog + Transfer) {
    let original = Memory::new(Log::Ledger);
    for id in 1..=3 {
        append(&original, draft(&Stream::System, id, ticks(id, 1)), Expected::Any).await;
    }
    let all = all_stored(&original).await;

    let late = copy.take_over(all.get(1..).unwrap_or_default()).await;
    assert_eq!(
        late,
        Err(LogError::Conflict { actual: None }),
        "of a ledger nothing may be missing"
    );
    assert_eq!(copy.head().await, Ok(Offset(0)));
    put_in(&copy, &all).await;
    assert_eq!(bodies(&copy).await, bodies_of(&all));
}

async fn what_belongs_into_the_other_log_is_refused(copy: impl EventLog + Transfer) {
    let all = all_stored(&original().await).await;

    assert!(copy.take_over(all.get(..1).unwrap_or_default()).await.is_err());
    assert_eq!(copy.head().await, Ok(Offset(0)));
}

/// Returns a log of many streams, whose entries have all forms.
async fn original() -> Memory {
    let log = Memory::new(Log::Market);
    for id in 0..150 {
        let draft = draft(&stream(id * id % 7), id + 1, ticks(id, 1 + id % 40));
        let draft = Draft { correlation_id: (id % 5 == 0).then(|| format!("r-{id}")), ..draft };
        append(&log, draft, Expected::Any).await;
    }
    log
}

/// Returns a log of which retention has dropped the first entries of each stream, and all of one.
async fn trimmed() -> Memory {
    let log = Memory::new(Log::Market);
    append_by_the_second(&log).await;
    assert!(trim(&log, until(150)).await.entries > 0);
    log
}

async fn put_in(log: &impl Transfer, all: &[Stored]) {
    let appended = log.take_over(all).await.expect("entries that continue their streams");
    assert_eq!(appended.len(), all.len());
}

async fn all_stored(log: &impl ReadStored) -> Vec<Stored> {
    let mut all: Vec<Stored> = Vec::new();
    loop {
        let after = all.last().map_or(Offset(0), |stored| stored.offset);
        let read = log.stored(after, usize::MAX).await.expect("a log that reads");
        if read.is_empty() {
            return all;
        }
        all.extend(read);
    }
}

type Bodies = Vec<(crate::body::Content, Vec<u8>)>;

async fn bodies(log: &impl ReadStored) -> Bodies {
    bodies_of(&all_stored(log).await)
}

fn bodies_of(all: &[Stored]) -> Bodies {
    all.iter().map(|stored| (stored.content, stored.body.clone())).collect()
}

/// The same bytes in the same order, and so the same entries but for their offsets.
async fn assert_is_copy(copy: &impl ReadStored, original: &impl ReadStored) {
    assert_eq!(bodies(copy).await, bodies(original).await);
    let (entries, originals) = (read_all(copy).await, read_all(original).await);
    let elsewhere = |entry: &Entry| Entry { offset: Offset(0), ..entry.clone() };
    let same = |(one, other): (&Entry, &Entry)| elsewhere(one) == elsewhere(other);
    assert_eq!(entries.len(), originals.len());
    assert!(entries.iter().zip(&originals).all(same));
    assert!(entries.is_sorted_by_key(|entry| entry.offset));
    for entry in &originals {
        let stream = &entry.stream;
        let own = |entries: &[Entry]| -> Vec<Entry> {
            entries.iter().filter(|entry| entry.stream == *stream).cloned().collect()
        };
        let read = copy.read_stream(stream, Version(0), usize::MAX).await;
        assert_eq!(read, Ok(own(&entries)));
        assert_eq!(copy.tip(stream).await, original.tip(stream).await);
    }
}

/// What is appended to a copy stands where it would stand in the original.
async fn assert_goes_on(copy: &(impl EventLog + Transfer), original: &Memory) {
    let known = read_all(copy).await;
    for entry in &known {
        let again = draft(&entry.stream, entry.append_id.as_u128(), entry.events.clone());
        let appended = append(copy, again, Expected::At(Version(entry.version.0 - 1))).await;
        assert_eq!((appended.offset, appended.repeated), (entry.offset, true));
    }
    for place in [1, 2] {
        let tip = original.tip(&stream(place)).await.expect("a log that reads").expect("a tip");
        let fresh = || draft(&stream(place), fresh_id(), ticks(1, 1));
        let conflict = Err(LogError::Conflict { actual: Some(tip.version) });
        assert_eq!(copy.append(fresh(), Expected::Empty).await, conflict);

        let next = append(copy, fresh(), Expected::At(tip.version)).await;
        let entry = copy.last(&stream(place)).await.expect("a log that reads").expect("a tip");
        assert_eq!((entry.version, entry.prev_hash), (next.version, tip.hash));
        assert_eq!(next.version, tip.version.next());
        let now = Tip { version: entry.version, hash: entry.hash };
        assert_eq!(copy.tip(&stream(place)).await, Ok(Some(now)));
    }
}
