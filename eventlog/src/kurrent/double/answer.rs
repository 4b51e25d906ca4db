//! What the server has to say, in the protocol's messages.

use std::collections::BTreeMap;

use tonic::Status;
use uuid::Uuid;

use crate::kurrent::double::appending::{Appended, Expected};
use crate::kurrent::double::cluster::APPEND_BYTES_MAX;
use crate::kurrent::double::protocol::streams::append_resp::success::{
    CurrentRevisionOption as Current, PositionOption,
};
use crate::kurrent::double::protocol::streams::append_resp::wrong_expected_version::{
    CurrentRevisionOption, CurrentRevisionOption2060, ExpectedRevisionOption,
    ExpectedRevisionOption2060,
};
use crate::kurrent::double::protocol::streams::append_resp::{
    self, Position, Success, WrongExpectedVersion,
};
use crate::kurrent::double::protocol::streams::read_resp::read_event::{
    Position as EventPosition, RecordedEvent,
};
use crate::kurrent::double::protocol::streams::read_resp::{
    self, Checkpoint, Content, ReadEvent, StreamNotFound, SubscriptionConfirmation,
};
use crate::kurrent::double::protocol::streams::{AppendResp, ReadResp};
use crate::kurrent::double::protocol::uuid::{Structured, Value};
use crate::kurrent::double::protocol::{StreamIdentifier, Uuid as WireUuid};
use crate::kurrent::double::store::Record;

/// Ticks of the server's clock in a second.
const TICKS_PER_SECOND: u64 = 10_000_000;
const TICK_NANOS: u32 = 100;

/// Returns the answer to an append, or the error that it is.
pub(crate) fn append(
    stream: &str,
    expected: Expected,
    appended: &Appended,
    current: Option<u64>,
) -> Result<AppendResp, Status> {
    let result = match appended {
        Appended::There { records, .. } => {
            let revision = records.last().map(|record| record.revision).or(current);
            append_resp::Result::Success(Success {
                current_revision_option: Some(
                    revision.map_or(Current::NoStream(()), Current::CurrentRevision),
                ),
                position_option: Some(records.last().map_or(
                    PositionOption::NoPosition(()),
                    |record| {
                        PositionOption::Position(Position {
                            commit_position: record.position,
                            prepare_position: record.position,
                        })
                    },
                )),
            })
        }
        Appended::Conflict { current } => {
            append_resp::Result::WrongExpectedVersion(wrong_expected_version(expected, *current))
        }
        Appended::Deleted => return Err(stream_deleted(stream)),
    };
    Ok(AppendResp { result: Some(result) })
}

/// Returns the answer that names no position, as the server gives it for what it cannot read back yet.
pub(crate) fn without_position(mut answer: AppendResp) -> AppendResp {
    if let Some(append_resp::Result::Success(success)) = &mut answer.result {
        success.position_option = Some(PositionOption::NoPosition(()));
    }
    answer
}

fn wrong_expected_version(expected: Expected, current: Option<u64>) -> WrongExpectedVersion {
    WrongExpectedVersion {
        current_revision_option_20_6_0: Some(current.map_or(
            CurrentRevisionOption2060::NoStream2060(()),
            CurrentRevisionOption2060::CurrentRevision2060,
        )),
        expected_revision_option_20_6_0: Some(match expected {
            Expected::Any => ExpectedRevisionOption2060::Any2060(()),
            Expected::NoStream => ExpectedRevisionOption2060::ExpectedRevision2060(u64::MAX),
            Expected::StreamExists => ExpectedRevisionOption2060::StreamExists2060(()),
            Expected::Revision(revision) => {
                ExpectedRevisionOption2060::ExpectedRevision2060(revision)
            }
        }),
        current_revision_option: Some(current.map_or(
            CurrentRevisionOption::CurrentNoStream(()),
            CurrentRevisionOption::CurrentRevision,
        )),
        expected_revision_option: Some(match expected {
            Expected::Any => ExpectedRevisionOption::ExpectedAny(()),
            Expected::NoStream => ExpectedRevisionOption::ExpectedNoStream(()),
            Expected::StreamExists => ExpectedRevisionOption::ExpectedStreamExists(()),
            Expected::Revision(revision) => ExpectedRevisionOption::ExpectedRevision(revision),
        }),
    }
}

/// Returns an event as a reader gets it. Its position is told in reads of a stream too, as servers do
/// since 22.6.
pub(crate) fn event(record: &Record, structured_ids: bool) -> ReadResp {
    let event = &record.event;
    let created = record.created.as_secs() * TICKS_PER_SECOND
        + u64::from(record.created.subsec_nanos() / TICK_NANOS);
    let metadata = BTreeMap::from([
        ("type".to_owned(), event.kind.clone()),
        ("content-type".to_owned(), event.content_type.clone()),
        ("created".to_owned(), created.to_string()),
    ]);
    let recorded = RecordedEvent {
        id: Some(id(event.id, structured_ids)),
        stream_identifier: Some(stream(&record.stream)),
        stream_revision: record.revision,
        prepare_position: record.position,
        commit_position: record.position,
        metadata,
        custom_metadata: event.metadata.clone(),
        data: event.data.clone(),
    };
    content(Content::Event(ReadEvent {
        event: Some(recorded),
        link: None,
        position: Some(EventPosition::CommitPosition(record.position)),
    }))
}

pub(crate) fn content(content: Content) -> ReadResp {
    ReadResp { content: Some(content) }
}

pub(crate) fn stream_not_found(name: &str) -> ReadResp {
    let stream_identifier = Some(stream(name));
    content(Content::StreamNotFound(StreamNotFound { stream_identifier }))
}

pub(crate) fn confirmation(number: u64) -> ReadResp {
    let subscription_id = Uuid::from_u128(u128::from(number)).to_string();
    content(Content::Confirmation(SubscriptionConfirmation { subscription_id }))
}

pub(crate) fn checkpoint(position: u64) -> ReadResp {
    content(Content::Checkpoint(Checkpoint {
        commit_position: position,
        prepare_position: position,
    }))
}

pub(crate) fn caught_up(revision: Option<u64>, position: Option<u64>) -> ReadResp {
    content(Content::CaughtUp(read_resp::CaughtUp {
        stream_revision: revision.and_then(|revision| i64::try_from(revision).ok()),
        position: position.map(|position| read_resp::Position {
            commit_position: position,
            prepare_position: position,
        }),
    }))
}

pub(crate) fn stream_deleted(name: &str) -> Status {
    let text = format!("Event stream '{name}' is deleted.");
    let mut status = Status::failed_precondition(text);
    let metadata = status.metadata_mut();
    metadata.insert("exception", "stream-deleted".parse().expect("plain text"));
    if let Ok(name) = name.parse() {
        metadata.insert("stream-name", name);
    }
    status
}

pub(crate) fn append_too_large() -> Status {
    let text = format!("Maximum Append Size of {APPEND_BYTES_MAX} Exceeded.");
    let mut status = Status::invalid_argument(text);
    let metadata = status.metadata_mut();
    let exception = "maximum-append-size-exceeded".parse().expect("plain text");
    metadata.insert("exception", exception);
    status
}

/// What a server answers that gave up waiting for itself, so that nobody knows what became of it.
pub(crate) fn timed_out() -> Status {
    Status::aborted("Operation timed out: Prepare timeout")
}

fn stream(name: &str) -> StreamIdentifier {
    StreamIdentifier { stream_name: name.to_owned().into() }
}

fn id(id: Uuid, structured: bool) -> WireUuid {
    let value = if structured {
        let (high, low) = id.as_u64_pair();
        Value::Structured(Structured {
            most_significant_bits: high.cast_signed(),
            least_significant_bits: low.cast_signed(),
        })
    } else {
        Value::String(id.to_string())
    };
    WireUuid { value: Some(value) }
}
