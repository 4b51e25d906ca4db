//! What is asked of KurrentDB, each call with a time of its own, so many at once, and all of the leader.
//!
//! The client finds its way to another leader only when it is told of one. Where a call fails that the
//! server has not answered, the next one is made by a new client, which asks all nodes again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventstore::operations::{self, VNodeState};
use eventstore::{
    AppendToStreamOptions, Client, ClientSettings, Credentials, Error, EventData, Position,
    ReadAllOptions, ReadEvent, ReadStream, ReadStreamOptions, RecordedEvent, StreamPosition,
    StreamState, SubscriptionFilter,
};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{self, Instant};

use crate::kurrent::address::{Address, Login};
use crate::log::LogError;

/// Calls of one log that wait for their answers, of readers and of writers each. When so many do,
/// others wait for their turn.
const CALLS_MAX: usize = 256;

/// How long an answer may take, and each next event of one. A leader that is well needs a hundredth
/// of it.
pub(super) const ANSWER_WAIT: Duration = Duration::from_millis(700);
/// The same for the word that an entry is stored: there must be time to look for it then.
const STORED_WAIT: Duration = Duration::from_millis(400);
/// The same for a first connection, which asks one node after the other.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// How long a client is kept at least: one that fails longer each time, as long as none has an answer.
/// To make one is work, and nodes that are away are not asked more often.
const CLIENT_MIN: Duration = Duration::from_millis(100);
const CLIENT_MAX: Duration = Duration::from_secs(16);
/// The most for one that has ended: it answers nothing any more.
const CLIENT_ENDED_MAX: Duration = Duration::from_secs(2);

/// Why a call has brought nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing has left.
    Unsent(String),
    /// No answer came, or none that says what has become of it.
    Silence(String),
    /// The stream's newest revision is another one.
    Wrong,
    /// The stream has never been.
    NoStream,
    /// The stream was deleted.
    Deleted,
    /// It is asked of a node that does not lead; the client knows by now which does.
    NotLeader,
    /// The server will not do it.
    No(String),
}

impl Fault {
    /// Returns what it is for a reader.
    pub(super) fn unavailable(self) -> LogError {
        LogError::Unavailable(match self {
            Self::Unsent(text) | Self::Silence(text) | Self::No(text) => text,
            Self::Wrong => "KurrentDB has another revision".to_owned(),
            Self::NoStream => "KurrentDB has no such stream".to_owned(),
            Self::Deleted => "a stream of the log was deleted in KurrentDB".to_owned(),
            Self::NotLeader => "KurrentDB is choosing its leader".to_owned(),
        })
    }
}

/// The way to the server.
pub(super) struct Server {
    address: Address,
    settings: ClientSettings,
    login: Option<Credentials>,
    current: Mutex<Option<Current>>,
    reads: Semaphore,
    writes: Semaphore,
}

#[derive(Clone)]
struct Current {
    client: Client,
    number: u64,
    made_at: Instant,
    /// How long it is used although it is broken.
    kept: Duration,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Used,
    /// It has failed. It may come back by itself.
    Failed,
    /// It will not.
    Ended,
}

/// What a stream's end shows.
pub(super) enum Newest {
    Event(Box<RecordedEvent>),
    /// The stream is there, and none of its events is shown any more; its newest revision.
    Hidden(u64),
    /// There has never been one.
    Never,
}

impl Server {
    pub(super) fn new(address: Address, login: Option<&Login>) -> Result<Self, LogError> {
        let settings = address.told().parse().map_err(|_| {
            LogError::Unavailable(format!("{address}: the client does not understand its settings"))
        })?;
        let login = address.login().or(login);
        let login = login.map(|login| Credentials::new(login.user.clone(), login.password.clone()));
        let (reads, writes) = (Semaphore::new(CALLS_MAX), Semaphore::new(CALLS_MAX));
        Ok(Self { address, settings, login, current: Mutex::default(), reads, writes })
    }

    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        // A client is put in whole.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the client that is in use, or a new one where that has failed.
    fn client(&self) -> Result<Current, Fault> {
        let mut current = self.current();
        let is_usable = |current: &&Current| {
            let kept = match current.state {
                State::Used => Duration::MAX,
                State::Failed => current.kept,
                State::Ended => current.kept.min(CLIENT_ENDED_MAX),
            };
            current.made_at.elapsed() < kept
        };
        if let Some(current) = current.as_ref().filter(is_usable) {
            return Ok(current.clone());
        }
        let (number, kept) = match &*current {
            None => (1, CLIENT_MIN),
            Some(before) => (before.number + 1, (before.kept * 2).min(CLIENT_MAX)),
        };
        let client = Client::new(self.settings.clone())
            .map_err(|error| Fault::Unsent(format!("no client for {}: {error}", self.address)))?;
        let made = Current { client, number, made_at: Instant::now(), kept, state: State::Used };
        *current = Some(made.clone());
        Ok(made)
    }

    /// Waits for a turn, and then for an answer.
    async fn call<T, F: Future<Output = eventstore::Result<T>>>(
        &self,
        among: &Semaphore,
        wait: Duration,
        ask: impl FnOnce(Client) -> F,
    ) -> Result<T, Fault> {
        let _turn = turn(among).await?;
        let used = self.client()?;
        let answer = time::timeout(wait, ask(used.client.clone())).await;
        match answer {
            Ok(Ok(answer)) => {
                self.answered(&used);
                Ok(answer)
            }
            Ok(Err(error)) => Err(self.judge(error, &used)),
            Err(_) => {
                self.broken(&used, State::Failed);
                Err(Fault::Silence(format!("KurrentDB does not answer within {wait:?}")))
            }
        }
    }

    /// Has the next client that fails replaced at once.
    fn answered(&self, used: &Current) {
        if let Some(current) = self.current().as_mut().filter(|it| it.number == used.number) {
            (current.kept, current.state) = (CLIENT_MIN, State::Used);
        }
    }

    /// Has the next call made by a new client.
    fn broken(&self, used: &Current, state: State) {
        if let Some(current) = self.current().as_mut().filter(|it| it.number == used.number) {
            current.state = current.state.max(state);
        }
    }

    fn judge(&self, error: Error, used: &Current) -> Fault {
        match error {
            Error::WrongExpectedVersion { .. } => Fault::Wrong,
            Error::ResourceNotFound => Fault::NoStream,
            Error::ResourceDeleted => Fault::Deleted,
            Error::NotLeaderException(_) => Fault::NotLeader,
            Error::AccessDenied => Fault::No(
                "KurrentDB denies access: see kurrent.user and kurrent.password; the user must be \
                 allowed to read $all"
                    .to_owned(),
            ),
            Error::ConnectionClosed | Error::GrpcConnectionError(_) => {
                self.broken(used, State::Ended);
                Fault::Unsent(format!("there is no connection to {}", self.address))
            }
            // It has read what begins at no record.
            Error::ServerError(text) if text.contains("ReadAllResult") => {
                Fault::No(format!("KurrentDB says: {}", message(&text)))
            }
            Error::ServerError(text) => {
                self.broken(used, State::Failed);
                Fault::Silence(format!("KurrentDB does not answer: {}", message(&text)))
            }
            Error::Grpc { code, message } if format!("{code:?}") == "InvalidArgument" => {
                Fault::No(format!("KurrentDB says: {message}"))
            }
            error => Fault::Silence(format!("KurrentDB gives no answer: {error}")),
        }
    }

    /// Sends events that belong right behind a revision; returns the revision of the last.
    pub(super) async fn append(
        &self,
        name: &str,
        after: Option<u64>,
        events: Vec<EventData>,
    ) -> Result<u64, Fault> {
        let state = after.map_or(StreamState::NoStream, StreamState::StreamRevision);
        let options = AppendToStreamOptions::default().stream_state(state);
        let options = options.requires_leader(true).deadline(STORED_WAIT);
        let options = match &self.login {
            Some(login) => options.authenticated(login.clone()),
            None => options,
        };
        let name = name.to_owned();
        let ask = async move |client: Client| client.append_to_stream(name, &options, events).await;
        // The last revision, in spite of its name.
        Ok(self.call(&self.writes, STORED_WAIT, ask).await?.next_expected_version)
    }

    /// Returns the newest event of a stream.
    pub(super) async fn newest(&self, name: &str) -> Result<Newest, Fault> {
        let options = ReadStreamOptions::default().position(StreamPosition::End).max_count(1);
        match self.stream_read(name, options).await?.event().await {
            Ok(Next::Event(event)) => Ok(Newest::Event(event)),
            Ok(Next::End { newest: Some(revision) }) => Ok(Newest::Hidden(revision)),
            Ok(Next::End { newest: None }) => {
                Err(Fault::Silence("KurrentDB has ended a read before its end".to_owned()))
            }
            Err(Fault::NoStream) => Ok(Newest::Never),
            Err(fault) => Err(fault),
        }
    }

    /// Reads a stream from a revision on.
    pub(super) async fn stream_from(
        &self,
        name: &str,
        revision: u64,
        count: usize,
    ) -> Result<Reading<'_>, Fault> {
        let position = StreamPosition::Position(revision);
        let options = ReadStreamOptions::default().position(position).max_count(count);
        self.stream_read(name, options).await
    }

    async fn stream_read(
        &self,
        name: &str,
        options: ReadStreamOptions,
    ) -> Result<Reading<'_>, Fault> {
        let options = options.requires_leader(true);
        let options = match &self.login {
            Some(login) => options.authenticated(login.clone()),
            None => options,
        };
        let name = name.to_owned();
        let ask = async move |client: Client| {
            let read = client.read_stream(name, &options).await;
            read.map(|read| (client, read))
        };
        self.reading(ask, ANSWER_WAIT).await
    }

    /// Reads the whole database forward, from a place on, that one included. The first that passes may
    /// take some time to find.
    pub(super) async fn all_from(
        &self,
        place: StreamPosition<Position>,
        filter: SubscriptionFilter,
        count: usize,
        wait: Duration,
    ) -> Result<Reading<'_>, Fault> {
        let options = ReadAllOptions::default().position(place).filter(filter).max_count(count);
        self.all_read(options, wait).await
    }

    /// Reads the whole database backward from its end.
    pub(super) async fn all_backward(
        &self,
        filter: Option<SubscriptionFilter>,
        count: usize,
        wait: Duration,
    ) -> Result<Reading<'_>, Fault> {
        let options = ReadAllOptions::default().position(StreamPosition::End).max_count(count);
        let options = match filter {
            Some(filter) => options.filter(filter),
            None => options,
        };
        self.all_read(options, wait).await
    }

    async fn all_read(
        &self,
        options: ReadAllOptions,
        wait: Duration,
    ) -> Result<Reading<'_>, Fault> {
        let options = options.requires_leader(true);
        let options = match &self.login {
            Some(login) => options.authenticated(login.clone()),
            None => options,
        };
        let ask = async move |client: Client| {
            let read = client.read_all(&options).await;
            read.map(|read| (client, read))
        };
        self.reading(ask, wait).await
    }

    async fn reading<F: Future<Output = eventstore::Result<(Client, ReadStream)>>>(
        &self,
        ask: impl FnOnce(Client) -> F,
        wait: Duration,
    ) -> Result<Reading<'_>, Fault> {
        let turn = turn(&self.reads).await?;
        let used = self.client()?;
        // A server may say nothing at all before it has found the first event.
        let first_by = Instant::now() + wait;
        match time::timeout_at(first_by, ask(used.client.clone())).await {
            Ok(Ok((_, read))) => {
                Ok(Reading { server: self, used, read, first_by: Some(first_by), _turn: turn })
            }
            Ok(Err(error)) => Err(self.judge(error, &used)),
            Err(_) => {
                self.broken(&used, State::Failed);
                Err(Fault::Silence(format!("KurrentDB does not answer within {wait:?}")))
            }
        }
    }

    /// Returns the server's version: major, minor.
    pub(super) async fn version(&self) -> Result<(usize, usize), Fault> {
        let ask = async |client: Client| client.server_info().await;
        let version = self.call(&self.reads, CONNECT_WAIT, ask).await?.version();
        Ok((version.major(), version.minor()))
    }

    /// Returns how many nodes the cluster has that vote, as one of them tells.
    pub(super) async fn members(&self) -> Result<usize, Fault> {
        let ask = async |client: Client| operations::Client::from(client).read_gossip().await;
        let members = self.call(&self.reads, ANSWER_WAIT, ask).await?;
        // Those that are away for a moment count: a majority of all must have a write.
        Ok(members.iter().filter(|member| !has_no_vote(member.state)).count())
    }
}

/// Whether what a node has does not count when a write is acknowledged.
fn has_no_vote(state: VNodeState) -> bool {
    matches!(
        state,
        VNodeState::Manager
            | VNodeState::ReadOnlyLeaderLess
            | VNodeState::PreReadOnlyReplica
            | VNodeState::ReadOnlyReplica
    )
}

/// Returns what a status says for people, out of all that the client tells of it.
fn message(status: &str) -> &str {
    let message = status.split_once("message: \"").and_then(|(_, rest)| rest.split_once('"'));
    message.map_or(status, |(message, _)| message)
}

async fn turn(among: &Semaphore) -> Result<SemaphorePermit<'_>, Fault> {
    match time::timeout(ANSWER_WAIT, among.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        _ => Err(Fault::Unsent(format!("{CALLS_MAX} calls wait for KurrentDB already"))),
    }
}

/// Events on their way. The server waits when nobody takes them.
pub(super) struct Reading<'a> {
    server: &'a Server,
    used: Current,
    read: ReadStream,
    /// Until when the first event is waited for, where none has come yet.
    first_by: Option<Instant>,
    _turn: SemaphorePermit<'a>,
}

/// What comes next.
pub(super) enum Next {
    Event(Box<RecordedEvent>),
    /// There is no more; the stream's newest revision, where the server tells it.
    End {
        newest: Option<u64>,
    },
}

impl Reading<'_> {
    pub(super) async fn event(&mut self) -> Result<Next, Fault> {
        let by = self.first_by.unwrap_or_else(|| Instant::now() + ANSWER_WAIT);
        self.event_by(by).await
    }

    /// Waits longer for one that the server must look for.
    pub(super) async fn event_within(&mut self, wait: Duration) -> Result<Next, Fault> {
        self.event_by(Instant::now() + wait).await
    }

    pub(super) async fn event_by(&mut self, by: Instant) -> Result<Next, Fault> {
        let mut newest = None;
        loop {
            let next = time::timeout_at(by, self.read.next_read_event()).await;
            match next {
                Ok(Ok(Some(ReadEvent::Event(resolved)))) => {
                    if self.first_by.take().is_some() {
                        self.server.answered(&self.used);
                    }
                    // A link that leads nowhere has no event; we write none.
                    if let Some(event) = resolved.event {
                        return Ok(Next::Event(Box::new(event)));
                    }
                }
                Ok(Ok(Some(ReadEvent::LastStreamPosition(revision)))) => newest = Some(revision),
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None)) => return Ok(Next::End { newest }),
                Ok(Err(error)) => return Err(self.server.judge(error, &self.used)),
                Err(_) => {
                    self.server.broken(&self.used, State::Failed);
                    return Err(Fault::Silence("KurrentDB has stopped answering".to_owned()));
                }
            }
        }
    }
}
