//! What metadata hides, what is deleted, and what a scavenge leaves.

use std::time::Duration;

use eventstore::{
    DeleteStreamOptions, Error, EventData, ReadAllOptions, ReadStreamOptions, StreamState,
    SubscriptionFilter, TombstoneStreamOptions,
};

use crate::kurrent::double::Double;
use crate::kurrent::double::tests::{
    append, append_all, client, event, id, positions, read_all, read_stream, revisions,
};

const STREAM: &str = "market-binance.BTC-USDT";

async fn state(client: &eventstore::Client, metadata: &str) {
    let event = EventData::binary("$metadata", metadata.as_bytes().to_vec().into()).id(id(900));
    let stream = format!("$${STREAM}");
    append(client, &stream, StreamState::Any, event).await.unwrap();
}

async fn shown(client: &eventstore::Client) -> Vec<u64> {
    revisions(&read_stream(client, STREAM, ReadStreamOptions::default()).await.unwrap())
}

async fn shown_among_all(client: &eventstore::Client) -> Vec<u64> {
    let filter = SubscriptionFilter::on_stream_name().add_prefix(STREAM);
    revisions(&read_all(client, ReadAllOptions::default().filter(filter)).await.unwrap())
}

#[tokio::test]
async fn events_that_are_too_old_are_hidden_from_the_stream_and_shown_among_all() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 2).await;
    state(&client, r#"{"$maxAge": 60}"#).await;
    double.advance(Duration::from_mins(1));
    append(&client, STREAM, StreamState::Any, event(3)).await.unwrap();

    assert_eq!(shown(&client).await, [0, 1, 2]);
    double.advance(Duration::from_secs(1));
    assert_eq!(shown(&client).await, [2]);
    double.advance(Duration::from_mins(2));
    assert_eq!(shown(&client).await, [0; 0]);
    assert_eq!(shown_among_all(&client).await, [0, 1, 2]);
}

#[tokio::test]
async fn revisions_go_on_behind_what_is_hidden() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 2).await;
    state(&client, r#"{"$maxAge": 1}"#).await;
    double.advance(Duration::from_mins(1));

    let conflict = append(&client, STREAM, StreamState::NoStream, event(3)).await;
    let stored = append(&client, STREAM, StreamState::StreamRevision(1), event(3)).await.unwrap();

    assert!(matches!(conflict, Err(Error::WrongExpectedVersion { .. })), "{conflict:?}");
    assert_eq!(stored.next_expected_version, 2);
}

#[tokio::test]
async fn only_so_many_events_or_those_from_a_revision_on_are_shown() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 5).await;

    state(&client, r#"{"$maxCount": 2}"#).await;
    let newest = shown(&client).await;
    let event = EventData::binary("$metadata", br#"{"$tb": 1}"#.to_vec().into()).id(id(901));
    append(&client, &format!("$${STREAM}"), StreamState::Any, event).await.unwrap();

    assert_eq!(newest, [3, 4]);
    assert_eq!(shown(&client).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_scavenge_removes_what_is_hidden_but_never_the_last_event() {
    let double = Double::start().unwrap();
    let client = client(&double);
    let places = append_all(&client, STREAM, 4).await;
    state(&client, r#"{"$maxAge": 1}"#).await;
    double.advance(Duration::from_mins(1));

    double.scavenge();

    assert_eq!(shown_among_all(&client).await, [3]);
    // A reader that stood at what is gone goes on from there.
    let filter = SubscriptionFilter::on_stream_name().add_prefix(STREAM);
    let from = ReadAllOptions::default().filter(filter).position(super::position(places[1]));
    assert_eq!(positions(&read_all(&client, from).await.unwrap()), [places[3]]);
}

#[tokio::test]
async fn a_deleted_stream_is_not_found_and_begins_again_behind_what_it_was() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 2).await;

    client.delete_stream(STREAM, &DeleteStreamOptions::default()).await.unwrap();
    let missing = read_stream(&client, STREAM, ReadStreamOptions::default()).await;
    let again = append(&client, STREAM, StreamState::NoStream, event(3)).await.unwrap();

    assert!(matches!(missing, Err(Error::ResourceNotFound)), "{missing:?}");
    assert_eq!(again.next_expected_version, 2);
    assert_eq!(shown(&client).await, [2]);
}

#[tokio::test]
async fn a_stream_that_was_deleted_for_good_takes_nothing_and_shows_nothing() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 2).await;

    client.tombstone_stream(STREAM, &TombstoneStreamOptions::default()).await.unwrap();
    let read = read_stream(&client, STREAM, ReadStreamOptions::default()).await;
    let stored = append(&client, STREAM, StreamState::Any, event(3)).await;

    assert!(matches!(read, Err(Error::ResourceDeleted)), "{read:?}");
    assert!(matches!(stored, Err(Error::ResourceDeleted)), "{stored:?}");
}
