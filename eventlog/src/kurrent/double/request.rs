//! What clients ask for, read from the protocol's messages and checked.

use tonic::{Status, Streaming};
use uuid::Uuid;

use crate::kurrent::double::answer;
use crate::kurrent::double::appending::Expected;
use crate::kurrent::double::cluster::APPEND_BYTES_MAX;
use crate::kurrent::double::faults::Reads;
use crate::kurrent::double::protocol::streams::append_req::options::ExpectedStreamRevision;
use crate::kurrent::double::protocol::streams::append_req::{self, ProposedMessage};
use crate::kurrent::double::protocol::streams::read_req::options::all_options::AllOption;
use crate::kurrent::double::protocol::streams::read_req::options::filter_options::{
    Expression, Filter as WireFilter, Window,
};
use crate::kurrent::double::protocol::streams::read_req::options::stream_options::RevisionOption;
use crate::kurrent::double::protocol::streams::read_req::options::{
    AllOptions, CountOption, FilterOption, FilterOptions, ReadDirection, StreamOption,
    StreamOptions, uuid_option,
};
use crate::kurrent::double::protocol::streams::{
    AppendReq, DeleteReq, ReadReq, TombstoneReq, delete_req, tombstone_req,
};
use crate::kurrent::double::protocol::uuid::Value;
use crate::kurrent::double::protocol::{StreamIdentifier, Uuid as WireUuid};
use crate::kurrent::double::reading::{Begin, Direction, Filter};
use crate::kurrent::double::store::Event;

/// Events that a server considers between two checkpoints, unless told otherwise.
const WINDOW: u32 = 32;
/// The expression by which clients leave out what is the server's own.
const NOT_OWN: &str = r"^[^\$].*";

/// Which events are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// From a revision on. `None` is the end.
    Stream {
        name: String,
        from: Option<u64>,
    },
    All {
        begin: Begin,
        filter: Filter,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadRequest {
    pub(crate) source: Source,
    pub(crate) direction: Direction,
    /// `None` follows what comes.
    pub(crate) count_max: Option<usize>,
    pub(crate) structured_ids: bool,
    /// Whether the client understands where the stream begins and ends.
    pub(crate) tells_ends: bool,
    /// Events that are considered between two checkpoints.
    pub(crate) checkpoint_every: usize,
}

impl ReadRequest {
    pub(crate) fn of(message: ReadReq) -> Result<Self, Status> {
        let options = message.options.ok_or_else(|| missing("options"))?;
        let direction = match options.read_direction() {
            ReadDirection::Forwards => Direction::Forward,
            ReadDirection::Backwards => Direction::Backward,
        };
        let count_max = match options.count_option.ok_or_else(|| missing("count"))? {
            CountOption::Count(count) => Some(usize::try_from(count).unwrap_or(usize::MAX)),
            CountOption::Subscription(_) if direction == Direction::Forward => None,
            CountOption::Subscription(_) => return Err(invalid("subscriptions read forward")),
        };
        let ids = options.uuid_option.ok_or_else(|| missing("uuid_option"))?;
        let filter = match options.filter_option.ok_or_else(|| missing("filter"))? {
            FilterOption::NoFilter(()) => None,
            FilterOption::Filter(filter) => Some(filter),
        };
        let multiplier = filter.as_ref().map_or(1, |filter| filter.checkpoint_interval_multiplier);
        let window = match filter.as_ref().and_then(|filter| filter.window) {
            Some(Window::Max(max)) => max,
            Some(Window::Count(())) | None => WINDOW,
        };
        let source = match options.stream_option.ok_or_else(|| missing("stream_option"))? {
            StreamOption::Stream(_) if filter.is_some() => {
                return Err(invalid("a stream is not filtered"));
            }
            StreamOption::Stream(stream) => source_of_stream(stream, count_max.is_none())?,
            StreamOption::All(all) => Source::All { begin: begin(all)?, filter: wanted(filter)? },
        };
        Ok(Self {
            source,
            direction,
            count_max,
            structured_ids: !matches!(ids.content, Some(uuid_option::Content::String(()))),
            tells_ends: options.control_option.is_some_and(|control| control.compatibility >= 1),
            checkpoint_every: usize::try_from(window.saturating_mul(multiplier).max(1))
                .unwrap_or(usize::MAX),
        })
    }

    pub(crate) fn is_of_all(&self) -> bool {
        matches!(self.source, Source::All { .. })
    }

    pub(crate) fn kind(&self) -> Reads {
        if self.is_of_all() { Reads::OfAll } else { Reads::OfStreams }
    }
}

fn source_of_stream(options: StreamOptions, follows: bool) -> Result<Source, Status> {
    let name = name(options.stream_identifier)?;
    let from = match options.revision_option.ok_or_else(|| missing("revision"))? {
        // Who follows has seen the event that it names.
        RevisionOption::Revision(revision) if follows => Some(revision.saturating_add(1)),
        RevisionOption::Revision(revision) => Some(revision),
        RevisionOption::Start(()) => Some(0),
        RevisionOption::End(()) => None,
    };
    Ok(Source::Stream { name, from })
}

fn begin(options: AllOptions) -> Result<Begin, Status> {
    match options.all_option.ok_or_else(|| missing("position"))? {
        // Of what is written without transactions, both are the same.
        AllOption::Position(position) if position.commit_position != position.prepare_position => {
            Err(invalid_position())
        }
        AllOption::Position(position) => Ok(Begin::Position(position.commit_position)),
        AllOption::Start(()) => Ok(Begin::First),
        AllOption::End(()) => Ok(Begin::End),
    }
}

fn wanted(options: Option<FilterOptions>) -> Result<Filter, Status> {
    let Some(options) = options else { return Ok(Filter::None) };
    let filter = options.filter.ok_or_else(|| missing("filter"))?;
    let (of_streams, Expression { regex, prefix }) = match filter {
        WireFilter::StreamIdentifier(expression) => (true, expression),
        WireFilter::EventType(expression) => (false, expression),
    };
    match (of_streams, regex.as_str()) {
        (true, "") => Ok(Filter::Streams(prefix)),
        (false, "") => Ok(Filter::Kinds(prefix)),
        (true, NOT_OWN) => Ok(Filter::NotOwnStreams),
        (false, NOT_OWN) => Ok(Filter::NotOwnKinds),
        (_, _) => Err(invalid("this server knows one regular expression only")),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppendRequest {
    pub(crate) stream: String,
    pub(crate) expected: Expected,
    pub(crate) events: Vec<Event>,
}

impl AppendRequest {
    pub(crate) async fn of(mut messages: Streaming<AppendReq>) -> Result<Self, Status> {
        let first = messages.message().await?.and_then(|message| message.content);
        let Some(append_req::Content::Options(options)) = first else {
            return Err(missing("options"));
        };
        let stream = name(options.stream_identifier)?;
        let expected = match options.expected_stream_revision {
            Some(ExpectedStreamRevision::Revision(revision)) => Expected::Revision(revision),
            Some(ExpectedStreamRevision::NoStream(())) => Expected::NoStream,
            Some(ExpectedStreamRevision::Any(())) => Expected::Any,
            Some(ExpectedStreamRevision::StreamExists(())) => Expected::StreamExists,
            None => return Err(missing("expected_stream_revision")),
        };
        let mut events = Vec::new();
        let mut bytes = 0;
        while let Some(message) = messages.message().await? {
            let Some(append_req::Content::ProposedMessage(proposed)) = message.content else {
                return Err(missing("proposed_message"));
            };
            let event = event(proposed)?;
            bytes += event.kind.len() + event.data.len() + event.metadata.len();
            if bytes > APPEND_BYTES_MAX {
                return Err(answer::append_too_large());
            }
            events.push(event);
        }
        Ok(Self { stream, expected, events })
    }
}

fn event(mut proposed: ProposedMessage) -> Result<Event, Status> {
    let mut required =
        |name: &'static str| proposed.metadata.remove(name).ok_or_else(|| missing(name));
    let kind = required("type")?;
    let content_type = required("content-type")?;
    Ok(Event {
        id: id(proposed.id)?,
        kind,
        content_type,
        data: proposed.data,
        metadata: proposed.custom_metadata,
    })
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeleteRequest {
    pub(crate) stream: String,
    pub(crate) expected: Expected,
}

impl DeleteRequest {
    pub(crate) fn of(message: DeleteReq) -> Result<Self, Status> {
        use delete_req::options::ExpectedStreamRevision as Stated;
        let options = message.options.ok_or_else(|| missing("options"))?;
        let expected = match options.expected_stream_revision {
            Some(Stated::Revision(revision)) => Expected::Revision(revision),
            Some(Stated::NoStream(())) => Expected::NoStream,
            Some(Stated::Any(())) => Expected::Any,
            Some(Stated::StreamExists(())) => Expected::StreamExists,
            None => return Err(missing("expected_stream_revision")),
        };
        Ok(Self { stream: name(options.stream_identifier)?, expected })
    }

    pub(crate) fn of_tombstone(message: TombstoneReq) -> Result<Self, Status> {
        use tombstone_req::options::ExpectedStreamRevision as Stated;
        let options = message.options.ok_or_else(|| missing("options"))?;
        let expected = match options.expected_stream_revision {
            Some(Stated::Revision(revision)) => Expected::Revision(revision),
            Some(Stated::NoStream(())) => Expected::NoStream,
            Some(Stated::Any(())) => Expected::Any,
            Some(Stated::StreamExists(())) => Expected::StreamExists,
            None => return Err(missing("expected_stream_revision")),
        };
        Ok(Self { stream: name(options.stream_identifier)?, expected })
    }
}

fn name(identifier: Option<StreamIdentifier>) -> Result<String, Status> {
    let bytes = identifier.ok_or_else(|| missing("stream_identifier"))?.stream_name;
    let name = String::from_utf8(bytes.into()).map_err(|_| invalid("a name is UTF-8"))?;
    if name.is_empty() { Err(invalid("a stream has a name")) } else { Ok(name) }
}

fn id(id: Option<WireUuid>) -> Result<Uuid, Status> {
    match id.and_then(|id| id.value).ok_or_else(|| missing("id"))? {
        Value::String(text) => Uuid::parse_str(&text).map_err(|_| invalid("an id is a UUID")),
        Value::Structured(halves) => Ok(Uuid::from_u64_pair(
            halves.most_significant_bits.cast_unsigned(),
            halves.least_significant_bits.cast_unsigned(),
        )),
    }
}

/// What a server says that reads bytes at a place where no record begins.
pub(crate) fn invalid_position() -> Status {
    Status::unknown("Unexpected FilteredReadAllResult: Error")
}

fn missing(what: &str) -> Status {
    Status::invalid_argument(format!("'{what}' is missing"))
}

fn invalid(why: &str) -> Status {
    Status::invalid_argument(why)
}
