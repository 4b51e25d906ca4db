//! Calls that go wrong when a test says so, and data that changes behind everybody's back.

use std::time::Duration;

use eventstore::{EventData, ReadAllOptions, ReadStreamOptions, StreamState, SubscriptionFilter};

use crate::kurrent::double::Double;
use crate::kurrent::double::faults::Reads;
use crate::kurrent::double::harm::UNTIL_HEALED;
use crate::kurrent::double::store::Event;
use crate::kurrent::double::tests::{
    append, append_all, client, event, id, read_all, read_stream, revisions,
};

const STREAM: &str = "account-alice";

#[tokio::test]
async fn a_lost_answer_leaves_the_event_and_a_refused_one_does_not() {
    let double = Double::start().unwrap();
    let client = client(&double);

    double.lose_answers(1);
    append(&client, STREAM, StreamState::NoStream, event(1)).await.unwrap_err();
    double.refuse_appends(1);
    append(&client, STREAM, StreamState::StreamRevision(0), event(2)).await.unwrap_err();
    double.time_out_answers(1);
    append(&client, STREAM, StreamState::StreamRevision(0), event(3)).await.unwrap_err();

    let ids: Vec<_> = double.stored(STREAM).iter().map(|record| record.event.id).collect();
    assert_eq!(ids, [id(1), id(3)]);
    append(&client, STREAM, StreamState::StreamRevision(1), event(4)).await.unwrap();
}

#[tokio::test]
async fn a_late_write_comes_when_it_is_let_and_fails_if_somebody_was_quicker() {
    let double = Double::start().unwrap();
    let client = client(&double);

    double.hold_appends(2);
    append(&client, STREAM, StreamState::NoStream, event(1)).await.unwrap_err();
    append(&client, STREAM, StreamState::NoStream, event(2)).await.unwrap_err();
    assert_eq!(double.appends_stored(), 0);

    assert_eq!(double.store_held(), 2);
    let ids: Vec<_> = double.stored(STREAM).iter().map(|record| record.event.id).collect();
    assert_eq!(ids, [id(1)]);
}

#[tokio::test]
async fn a_delayed_write_is_stored_by_itself() {
    let double = Double::start().unwrap();
    let client = client(&double);

    double.delay_appends(1, Duration::from_millis(20));
    append(&client, STREAM, StreamState::NoStream, event(1)).await.unwrap_err();

    let options = eventstore::SubscribeToStreamOptions::default()
        .start_from(eventstore::StreamPosition::Start);
    let mut followed = client.subscribe_to_stream(STREAM, &options).await;
    let event = tokio::time::timeout(super::ANSWER_WAIT, followed.next()).await.unwrap().unwrap();
    assert_eq!(event.get_original_event().id, id(1));
}

#[tokio::test]
async fn an_answer_without_a_position_is_given_when_asked_for() {
    let double = Double::start().unwrap();
    let client = client(&double);

    double.withhold_positions(1);
    let stored = append(&client, STREAM, StreamState::NoStream, event(1)).await.unwrap();

    assert_eq!(stored.position, eventstore::Position::start());
    assert_eq!(double.appends_stored(), 1);
}

#[tokio::test]
async fn reads_are_cut_as_if_that_were_all_or_broken() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 5).await;
    let read = async || read_stream(&client, STREAM, ReadStreamOptions::default()).await;

    double.cut_reads(Reads::OfStreams, 2, 1);
    assert_eq!(revisions(&read().await.unwrap()), [0, 1]);
    double.end_reads(Reads::Every, 1);
    assert_eq!(revisions(&read().await.unwrap()), [0; 0]);
    double.break_reads(Reads::OfStreams, 3, 1);
    read().await.unwrap_err();
    assert_eq!(revisions(&read().await.unwrap()), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_fault_of_reads_of_everything_spares_streams_and_lasts_until_healed() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 2).await;
    let filter = SubscriptionFilter::on_stream_name().add_prefix("account-");
    let options = ReadAllOptions::default().filter(filter);

    double.end_reads(Reads::OfAll, UNTIL_HEALED);
    for _ in 0..3 {
        assert_eq!(read_all(&client, options.clone()).await.unwrap().len(), 0);
    }
    let stream = read_stream(&client, STREAM, ReadStreamOptions::default()).await.unwrap();
    assert_eq!(stream.len(), 2);
    double.heal();
    assert_eq!(read_all(&client, options).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_hole_an_altered_body_and_a_foreign_event_are_shown_without_a_word() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 4).await;

    assert!(double.hide(STREAM, 1));
    assert!(double.alter(STREAM, 2, "other"));
    assert!(!double.hide(STREAM, 9));
    double.put(
        STREAM,
        Event {
            id: id(77),
            kind: "foreign".to_owned(),
            content_type: "application/json".to_owned(),
            data: "{}".into(),
            metadata: "".into(),
        },
    );

    let events = read_stream(&client, STREAM, ReadStreamOptions::default()).await.unwrap();
    assert_eq!(revisions(&events), [0, 2, 3, 4]);
    assert_eq!(&events[1].get_original_event().data[..], b"other");
    assert_eq!(events[3].get_original_event().event_type, "foreign");
    assert!(events[3].get_original_event().is_json);
    // Foreign events are none that clients put in.
    assert_eq!(double.appends_stored(), 4);
}

#[tokio::test]
async fn what_a_lost_leader_had_alone_is_forgotten() {
    let double = Double::start().unwrap();
    let client = client(&double);
    let places = append_all(&client, STREAM, 4).await;

    double.truncate(places[2]);
    let stored = append(&client, STREAM, StreamState::StreamRevision(1), event(9)).await.unwrap();

    assert_eq!(stored.next_expected_version, 2);
    assert_eq!(stored.position.commit, places[2]);
    let ids: Vec<_> = double.stored(STREAM).iter().map(|record| record.event.id).collect();
    assert_eq!(ids, [id(1), id(2), id(9)]);
}

#[tokio::test]
async fn an_answer_may_come_late_and_the_event_is_there_before_it() {
    let double = Double::start().unwrap();
    let client = client(&double);
    let late = EventData::binary("happened", "late".into()).id(id(5));
    // The connection stands already: what is waited for is the answer.
    append(&client, STREAM, StreamState::NoStream, event(1)).await.unwrap();

    double.answer_late(1, super::ANSWER_WAIT);
    let options = eventstore::AppendToStreamOptions::default()
        .stream_state(StreamState::StreamRevision(0))
        .deadline(Duration::from_millis(300));
    let answer = client.append_to_stream(STREAM, &options, late).await;

    assert!(matches!(answer, Err(eventstore::Error::DeadlineExceeded)), "{answer:?}");
    assert_eq!(double.stored(STREAM)[1].event.id, id(5));
}
