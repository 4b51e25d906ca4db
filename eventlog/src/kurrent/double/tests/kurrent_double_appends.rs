//! Appends: what is written, what was there already, and what is a conflict.

use eventstore::{CurrentRevision, Error, StreamState};

use crate::kurrent::double::Double;
use crate::kurrent::double::tests::{append, append_all, client, event, id};

const STREAM: &str = "account-alice";

fn current(answer: eventstore::Result<eventstore::WriteResult>) -> CurrentRevision {
    match answer {
        Err(Error::WrongExpectedVersion { current, .. }) => current,
        other => panic!("a conflict was expected: {other:?}"),
    }
}

#[tokio::test]
async fn an_append_to_a_new_stream_is_revision_zero_at_its_own_position() {
    let double = Double::start().unwrap();
    let client = client(&double);

    let stored = append(&client, STREAM, StreamState::NoStream, event(1)).await.unwrap();

    assert_eq!(stored.next_expected_version, 0);
    let record = &double.stored(STREAM)[0];
    assert_eq!(stored.position.commit, record.position);
    assert_eq!(stored.position.prepare, record.position);
    assert_eq!(record.event.id, id(1));
    assert_eq!(double.appends_stored(), 1);
}

#[tokio::test]
async fn positions_go_up_by_more_than_one_and_hold_records_of_the_server() {
    let double = Double::start().unwrap();
    let client = client(&double);

    let positions = append_all(&client, STREAM, 12).await;

    let gaps: Vec<_> = positions.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let smallest = *gaps.iter().min().unwrap();
    assert!(smallest > 50, "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap > smallest + 50), "{gaps:?}");
    assert!(positions[0] > 0);
}

#[tokio::test]
async fn an_expectation_that_does_not_hold_is_answered_with_the_revision() {
    let double = Double::start().unwrap();
    let client = client(&double);

    let ahead = append(&client, STREAM, StreamState::StreamRevision(4), event(1)).await;
    assert_eq!(current(ahead), CurrentRevision::NoStream);
    let absent = append(&client, STREAM, StreamState::StreamExists, event(1)).await;
    assert_eq!(current(absent), CurrentRevision::NoStream);
    append_all(&client, STREAM, 3).await;
    let behind = append(&client, STREAM, StreamState::StreamRevision(0), event(9)).await;
    assert_eq!(current(behind), CurrentRevision::Current(2));
    let begun = append(&client, STREAM, StreamState::NoStream, event(9)).await;
    assert_eq!(current(begun), CurrentRevision::Current(2));
    assert_eq!(double.appends_stored(), 3);
}

#[tokio::test]
async fn an_id_behind_the_expected_revision_is_answered_with_what_it_was() {
    let double = Double::start().unwrap();
    let client = client(&double);
    let positions = append_all(&client, STREAM, 3).await;

    let first = append(&client, STREAM, StreamState::NoStream, event(1)).await.unwrap();
    let second = append(&client, STREAM, StreamState::StreamRevision(0), event(2)).await.unwrap();

    assert_eq!((first.next_expected_version, first.position.commit), (0, positions[0]));
    assert_eq!((second.next_expected_version, second.position.commit), (1, positions[1]));
    assert_eq!(double.appends_stored(), 3);
}

#[tokio::test]
async fn an_id_elsewhere_than_behind_the_expected_revision_is_a_conflict() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 3).await;

    let third = append(&client, STREAM, StreamState::StreamRevision(0), event(3)).await;

    assert_eq!(current(third), CurrentRevision::Current(2));
}

#[tokio::test]
async fn an_id_that_is_there_is_written_again_where_the_expectation_holds() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 1).await;

    let again = append(&client, STREAM, StreamState::StreamRevision(0), event(1)).await.unwrap();

    assert_eq!(again.next_expected_version, 1);
    assert_eq!(double.appends_stored(), 2);
}

#[tokio::test]
async fn without_an_expectation_a_known_id_is_written_once_in_each_stream() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 2).await;

    let again = append(&client, STREAM, StreamState::Any, event(1)).await.unwrap();
    let elsewhere = append(&client, "account-bob", StreamState::Any, event(1)).await.unwrap();

    assert_eq!(again.next_expected_version, 0);
    assert_eq!(elsewhere.next_expected_version, 0);
    assert_eq!(double.appends_stored(), 3);
}

#[tokio::test]
async fn an_id_that_the_server_forgot_is_written_again_without_an_expectation() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 300).await;

    let again = append(&client, STREAM, StreamState::Any, event(1)).await.unwrap();

    assert_eq!(again.next_expected_version, 300);
}

#[tokio::test]
async fn an_append_that_is_too_large_is_refused_and_not_stored() {
    let double = Double::start().unwrap();
    let client = client(&double);
    let large = eventstore::EventData::binary("happened", vec![0; 1_048_577].into()).id(id(1));

    let refused = append(&client, STREAM, StreamState::Any, large).await;

    let Err(Error::Grpc { message, .. }) = &refused else { panic!("{refused:?}") };
    assert!(message.contains("Maximum Append Size"), "{message}");
    assert_eq!(double.appends_stored(), 0);
}
