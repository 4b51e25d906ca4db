//! Reads: in both directions, from given places, filtered, and without an end.

use std::time::Duration;

use eventstore::{
    Error, ReadAllOptions, ReadEvent, ReadStreamOptions, StreamPosition, StreamState,
    SubscribeToAllOptions, SubscribeToStreamOptions, SubscriptionEvent, SubscriptionFilter,
};

use crate::kurrent::double::Double;
use crate::kurrent::double::tests::{
    ANSWER_WAIT, append, append_all, client, event, id, position, positions, read_all, read_stream,
    revisions,
};

const STREAM: &str = "account-alice";

fn accounts() -> SubscriptionFilter {
    SubscriptionFilter::on_stream_name().add_prefix("account-")
}

#[tokio::test]
async fn a_stream_is_read_forward_and_backward_from_its_ends_and_from_a_revision() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 5).await;

    let forward = read_stream(&client, STREAM, ReadStreamOptions::default()).await.unwrap();
    let from = ReadStreamOptions::default().position(StreamPosition::Position(3));
    let rest = read_stream(&client, STREAM, from).await.unwrap();
    let last = ReadStreamOptions::default().position(StreamPosition::End).max_count(1);
    let last = read_stream(&client, STREAM, last).await.unwrap();
    let back = ReadStreamOptions::default().backwards().position(StreamPosition::Position(2));
    let back = read_stream(&client, STREAM, back).await.unwrap();

    assert_eq!(revisions(&forward), [0, 1, 2, 3, 4]);
    assert_eq!(revisions(&rest), [3, 4]);
    assert_eq!(revisions(&last), [4]);
    assert_eq!(revisions(&back), [2, 1, 0]);
}

#[tokio::test]
async fn an_event_is_read_as_it_was_written_and_says_where_it_stands() {
    let double = Double::start().unwrap();
    let client = client(&double);
    let stored = append(&client, STREAM, StreamState::NoStream, event(7)).await.unwrap();

    let events = read_stream(&client, STREAM, ReadStreamOptions::default()).await.unwrap();

    let read = events[0].get_original_event();
    assert_eq!(read.id, id(7));
    assert_eq!(read.event_type, "happened");
    assert_eq!(&read.data[..], b"body 7");
    assert_eq!(read.position, stored.position);
    assert_eq!(events[0].commit_position, Some(stored.position.commit));
    assert_eq!(read.created.timestamp(), 1_767_225_600);
    // In ticks of 100 ns.
    assert_eq!(read.metadata["created"], "17672256000000000");
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_not_found_and_one_with_no_more_tells_its_end() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 2).await;

    let missing = read_stream(&client, "account-bob", ReadStreamOptions::default()).await;
    let beyond = ReadStreamOptions::default().position(StreamPosition::Position(9));
    let mut beyond = client.read_stream(STREAM, &beyond).await.unwrap();
    let mut told = Vec::new();
    while let Some(next) = beyond.next_read_event().await.unwrap() {
        match next {
            ReadEvent::LastStreamPosition(revision) => told.push(revision),
            ReadEvent::FirstStreamPosition(_) => {}
            ReadEvent::Event(_) | ReadEvent::LastAllStreamPosition(_) => panic!("nothing is there"),
        }
    }

    assert!(matches!(missing, Err(Error::ResourceNotFound)), "{missing:?}");
    assert_eq!(told, [1]);
}

#[tokio::test]
async fn everything_is_read_in_the_order_of_positions_with_the_servers_own() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 6).await;

    let all = read_all(&client, ReadAllOptions::default()).await.unwrap();
    let back = ReadAllOptions::default().position(StreamPosition::End).backwards();
    let mut back = read_all(&client, back).await.unwrap();

    assert!(positions(&all).is_sorted());
    assert!(all.len() > 6);
    back.reverse();
    assert_eq!(positions(&back), positions(&all));
}

#[tokio::test]
async fn from_a_position_forward_means_with_it_and_backward_before_it() {
    let double = Double::start().unwrap();
    let client = client(&double);
    let places = append_all(&client, STREAM, 4).await;

    let forward = ReadAllOptions::default().filter(accounts()).position(position(places[1]));
    let forward = read_all(&client, forward.max_count(2)).await.unwrap();
    let back = ReadAllOptions::default().filter(accounts()).backwards();
    let back = read_all(&client, back.position(position(places[2]))).await.unwrap();

    assert_eq!(positions(&forward), places[1..3]);
    assert_eq!(positions(&back), [places[1], places[0]]);
}

#[tokio::test]
async fn a_position_inside_a_record_is_an_error_and_one_beyond_the_end_is_the_end() {
    let double = Double::start().unwrap();
    let client = client(&double);
    let places = append_all(&client, STREAM, 2).await;

    let inside = ReadAllOptions::default().filter(accounts()).position(position(places[0] + 1));
    let inside = read_all(&client, inside).await;
    let beyond =
        ReadAllOptions::default().filter(accounts()).position(position(double.end() + 900));
    let beyond = read_all(&client, beyond).await.unwrap();

    assert!(matches!(inside, Err(Error::ServerError(_))), "{inside:?}");
    assert_eq!(beyond.len(), 0);
}

#[tokio::test]
async fn filters_pass_names_and_types_by_how_they_begin() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 3).await;
    append_all(&client, "market-binance.BTC-USDT", 3).await;

    let names = read_all(&client, ReadAllOptions::default().filter(accounts())).await.unwrap();
    let kinds = SubscriptionFilter::on_event_type().add_prefix("happ");
    let kinds = read_all(&client, ReadAllOptions::default().filter(kinds)).await.unwrap();
    let own = SubscriptionFilter::on_stream_name().exclude_system_events();
    let not_own = read_all(&client, ReadAllOptions::default().filter(own)).await.unwrap();
    let other = SubscriptionFilter::on_stream_name().regex("^a|b$");
    let other = read_all(&client, ReadAllOptions::default().filter(other)).await;

    assert!(names.iter().all(|event| event.get_original_stream_id() == STREAM));
    assert_eq!((names.len(), kinds.len(), not_own.len()), (3, 6, 6));
    assert!(matches!(other, Err(Error::Grpc { .. })), "{other:?}");
}

#[tokio::test]
async fn a_read_of_many_events_stops_at_the_count_that_was_asked_for() {
    let double = Double::start().unwrap();
    let client = client(&double);
    let places = append_all(&client, STREAM, 200).await;

    let some = ReadAllOptions::default().filter(accounts()).max_count(150);
    let some = read_all(&client, some).await.unwrap();
    let stream = read_stream(&client, STREAM, ReadStreamOptions::default()).await.unwrap();

    assert_eq!(positions(&some), places[..150]);
    assert_eq!(positions(&stream), places);
}

#[tokio::test]
async fn who_follows_a_stream_gets_what_was_there_and_what_comes() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 2).await;
    let options = SubscribeToStreamOptions::default().start_from(StreamPosition::Start);
    let mut followed = client.subscribe_to_stream(STREAM, &options).await;

    let mut seen = Vec::new();
    for number in 1..=5 {
        // The first two were there; each of the others comes when the one before it was seen.
        if number > 2 {
            append(&client, STREAM, StreamState::Any, event(number)).await.unwrap();
        }
        let next = tokio::time::timeout(ANSWER_WAIT, followed.next()).await.expect("in time");
        seen.push(next.unwrap().get_original_event().id.as_u128());
    }

    assert_eq!(seen, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn who_follows_everything_begins_behind_a_position_and_hears_checkpoints() {
    let double = Double::start().unwrap();
    let client = client(&double);
    let places = append_all(&client, STREAM, 40).await;
    append_all(&client, "market-binance.BTC-USDT", 40).await;
    let options =
        SubscribeToAllOptions::default().filter(accounts().max(10)).position(position(places[37]));
    let mut followed = client.subscribe_to_all(&options).await;

    let mut seen = Vec::new();
    let mut checkpoints = Vec::new();
    loop {
        let next = tokio::time::timeout(ANSWER_WAIT, followed.next_subscription_event());
        match next.await.expect("in time").unwrap() {
            SubscriptionEvent::EventAppeared(event) => {
                seen.push(event.get_original_event().position.commit);
            }
            SubscriptionEvent::Checkpoint(position) => checkpoints.push(position.commit),
            SubscriptionEvent::CaughtUp(_) => break,
            _ => {}
        }
    }

    assert_eq!(seen, places[38..]);
    assert!(checkpoints.len() >= 4, "{checkpoints:?}");
    assert!(checkpoints.is_sorted());
}

#[tokio::test]
async fn a_reader_that_takes_its_time_gets_everything() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 100).await;
    double.slow_reads(Duration::from_millis(1));

    let events = read_stream(&client, STREAM, ReadStreamOptions::default()).await.unwrap();

    assert_eq!(events.len(), 100);
}
