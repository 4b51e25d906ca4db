//! What a server has lost or altered, or others have put in between, is told by the first who reads it.

use bytes::Bytes;

use super::*;
use crate::kurrent::double::faults::Reads;
use crate::kurrent::double::harm::UNTIL_HEALED;
use crate::kurrent::double::store::Event;

/// An event that somebody else puts in.
pub(super) fn foreign() -> Event {
    Event {
        id: uuid::Uuid::from_u128(77),
        kind: "order.placed".to_owned(),
        content_type: "application/json".to_owned(),
        data: Bytes::from_static(b"{}"),
        metadata: Bytes::new(),
    }
}

/// Returns a log with 30 entries of one stream, and those.
async fn with_entries(double: &Double, log: Log, place: &Stream) -> (Options, Vec<Entry>) {
    let options = fresh();
    let writer = open(double, log, &options).await;
    for id in 0..30 {
        append(&writer, place, id).await;
    }
    let all = read_all(&writer).await;
    assert_eq!(all.len(), 30);
    (options, all)
}

/// Returns where damage is told.
fn place_of<T: std::fmt::Debug>(answer: Result<T, LogError>) -> Offset {
    match answer {
        Err(LogError::Damaged { offset, .. }) => offset,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_a_kurrent_double_has_lost_is_damage_at_its_place() {
    let double = Double::start().unwrap();
    for (log, place) in [(Log::Ledger, Stream::System), (Log::Market, stream(1))] {
        let (options, all) = with_entries(&double, log, &place).await;
        let follower = open(&double, log, &options).await;
        let name = follower.shared.names.of(&place);
        assert!(double.hide(&name, 11));

        let reader = open(&double, log, &options).await;
        assert_eq!(reader.shared.raws(Offset(0), 99).await.unwrap().len(), 11);
        for limit in [1, 99, 2] {
            let damage = reader.shared.raws(all[10].offset, limit).await.map(drop);
            assert_eq!(place_of(damage), all[12].offset);
        }
        let before = reader.read_stream(&place, Version(0), 99).await;
        assert_eq!(before.unwrap().len(), 11);
        for limit in [1, 99] {
            let damage = reader.read_stream(&place, Version(11), limit).await;
            assert_eq!(place_of(damage), all[12].offset, "{log} {limit}");
        }
        assert_eq!(reader.shared.raws(all[12].offset, 99).await.unwrap().len(), 17);
        assert_eq!(reader.last(&place).await.unwrap().unwrap(), all[29]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_that_comes_while_a_kurrent_double_is_followed_is_damage_behind_it() {
    let double = Double::start().unwrap();
    let (options, all) = with_entries(&double, Log::Market, &stream(1)).await;
    let follower = open(&double, Log::Market, &options).await;
    let writer = open(&double, Log::Market, &options).await;
    let name = writer.shared.names.of(&stream(1));
    // As if the follower had not come to it before it was gone.
    double.end_reads(Reads::OfAll, UNTIL_HEALED);
    append(&writer, &stream(1), 100).await;
    let next = append(&writer, &stream(1), 101).await;
    assert!(double.hide(&name, 30));
    double.heal();

    follower.wait_after(all[29].offset).await.unwrap();
    let damage = until(async || match follower.read(all[29].offset, 9).await {
        Err(LogError::Unavailable(_)) => None,
        answer => Some(answer),
    });
    assert_eq!(place_of(damage.await), next.offset);
    assert_eq!(place_of(follower.read(all[29].offset, 1).await), next.offset);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_altered_body_in_a_kurrent_double_is_damage_at_its_place() {
    let double = Double::start().unwrap();
    for (log, place) in [(Log::Ledger, Stream::System), (Log::Market, stream(1))] {
        let (options, all) = with_entries(&double, log, &place).await;
        let names = Names::new(&options.prefix, log).unwrap();
        let name = names.of(&place);
        for revision in [4, 29] {
            let mut body = double.stored(&name)[revision].event.data.to_vec();
            let middle = body.len() / 2;
            body[middle] ^= 1;
            assert!(double.alter(&name, revision as u64, body));
        }

        let reader = open(&double, log, &options).await;
        assert_eq!(reader.read(Offset(0), 99).await.unwrap(), all[..4]);
        assert_eq!(place_of(reader.read(all[3].offset, 99).await), all[4].offset);
        assert_eq!(place_of(reader.stored(all[3].offset, 99).await), all[4].offset);
        assert_eq!(reader.read(all[4].offset, 99).await.unwrap(), all[5..29]);
        assert_eq!(place_of(reader.read(all[28].offset, 99).await), all[29].offset);
        assert_eq!(reader.read_stream(&place, Version(0), 99).await.unwrap(), all[..4]);
        assert_eq!(place_of(reader.read_stream(&place, Version(4), 99).await), all[4].offset);
        assert_eq!(place_of(reader.last(&place).await), all[29].offset);
        assert_eq!(reader.head().await, Ok(all[29].offset));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_others_in_a_stream_of_ours_in_a_kurrent_double_is_damage_at_its_place() {
    let double = Double::start().unwrap();
    let (options, all) = with_entries(&double, Log::Market, &stream(1)).await;
    let follower = open(&double, Log::Market, &options).await;
    let name = follower.shared.names.of(&stream(1));
    let position = double.end();
    double.put(&name, foreign());

    follower.wait_after(all[29].offset).await.unwrap();
    for log in [&follower, &open(&double, Log::Market, &options).await] {
        let damage = log.read(all[29].offset, 9).await;
        assert_eq!(place_of(damage), Offset(position));
        assert_eq!(place_of(log.last(&stream(1)).await), Offset(position));
        assert_eq!(place_of(log.tip(&stream(1)).await), Offset(position));
        assert_eq!(log.read(Offset(0), 99).await.unwrap(), all);
        let answer = log.append(draft(&stream(1), 500, ticks(1, 1)), Expected::Any).await;
        assert_eq!(place_of(answer), Offset(position));
    }
}
