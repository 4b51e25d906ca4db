//! The double as the real client finds it. Each file holds what one part of the server is asked.

use std::time::Duration;

use eventstore::{
    AppendToStreamOptions, Client, ClientSettings, EventData, ReadAllOptions, ReadStreamOptions,
    ResolvedEvent, StreamPosition, StreamState, WriteResult,
};
use uuid::Uuid;

use crate::kurrent::double::Double;

mod kurrent_double_appends;

mod kurrent_double_reads;

mod kurrent_double_hides;

mod kurrent_double_faults;

mod kurrent_double_nodes;

mod kurrent_double_access;

/// How long a call may take that is answered. Past it a test fails instead of waiting for ever.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// Returns a client of all nodes that connects without much waiting.
fn client(double: &Double) -> Client {
    client_at(&format!("{}&discoveryInterval=1", double.url()))
}

fn client_at(url: &str) -> Client {
    let settings: ClientSettings = url.parse().expect("an address");
    Client::new(settings).expect("a client")
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn event(number: u128) -> EventData {
    EventData::binary("happened", format!("body {number}").into_bytes().into()).id(id(number))
}

async fn append(
    client: &Client,
    stream: &str,
    expected: StreamState,
    event: EventData,
) -> eventstore::Result<WriteResult> {
    let options = AppendToStreamOptions::default().stream_state(expected);
    let call = client.append_to_stream(stream, &options, event);
    tokio::time::timeout(ANSWER_WAIT, call).await.expect("an answer in time")
}

/// Puts in events with the ids from 1 on. Returns their positions.
async fn append_all(client: &Client, stream: &str, count: u128) -> Vec<u64> {
    let mut positions = Vec::new();
    for number in 1..=count {
        let stored = append(client, stream, StreamState::Any, event(number)).await;
        positions.push(stored.expect("stored").position.commit);
    }
    positions
}

async fn read_stream(
    client: &Client,
    stream: &str,
    options: ReadStreamOptions,
) -> eventstore::Result<Vec<ResolvedEvent>> {
    let mut read = client.read_stream(stream, &options).await?;
    let mut events = Vec::new();
    while let Some(event) = read.next().await? {
        events.push(event);
    }
    Ok(events)
}

async fn read_all(
    client: &Client,
    options: ReadAllOptions,
) -> eventstore::Result<Vec<ResolvedEvent>> {
    let mut read = client.read_all(&options).await?;
    let mut events = Vec::new();
    while let Some(event) = read.next().await? {
        events.push(event);
    }
    Ok(events)
}

fn position(commit: u64) -> StreamPosition<eventstore::Position> {
    StreamPosition::Position(eventstore::Position { commit, prepare: commit })
}

fn positions(events: &[ResolvedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.get_original_event().position.commit).collect()
}

fn revisions(events: &[ResolvedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.get_original_event().revision).collect()
}
