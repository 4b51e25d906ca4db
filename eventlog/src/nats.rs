//! The log on NATS JetStream: one JetStream stream for a log, one subject for each stream of ours, one
//! message for each entry. An offset is the sequence of a message.
//!
//! `names` and `message` say how an entry is spelled there, `settings` how the JetStream stream must be
//! set up, `durability` what an acknowledged entry survives. `broker` is all that is ever asked,
//! with the times that answers may take. `append` puts entries in, resting on `tips`, and `taking_over`
//! those of another log through a `pipe`. `consumer` is the way to get messages in order: the `tail`
//! follows by one, into a `ring` for all who follow here, and a `replay` is one for a reader far
//! behind. `reading` gets everything that the ring has not, with what came `ahead` and `places` to go
//! on from. `monitor` watches how the log fares. `server` starts real servers for tests.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

use crate::entry::{Draft, Entry, Offset, Version};
use crate::keep::Keep;
use crate::log::{Appended, Durability, EventLog, Expected, LogError, ReadLog, Standing, Tip};
use crate::nats::ahead::Ahead;
use crate::nats::broker::{Broker, Fault, Info, codes};
use crate::nats::message::Raw;
use crate::nats::monitor::{Faring, Monitor};
use crate::nats::names::Names;
use crate::nats::places::Places;
use crate::nats::tail::Tail;
use crate::nats::taking_over::Copying;
use crate::remote::append::{Turns, put_in};
use crate::remote::outgoing::OfDraft;
use crate::remote::ring::Ring;
use crate::remote::tips::Tips;
use crate::stream::{Log, Stream};
use crate::transfer::{ReadStored, Stored, Transfer};

mod names;

mod message;

mod settings;

mod durability;

mod broker;

mod append;
mod pipe;
mod taking_over;

mod consumer;
mod tail;

mod ahead;
mod places;
mod reading;
mod replay;

mod monitor;

#[cfg(feature = "nats-server")]
pub mod server;

/// The oldest server that has all the settings and checks that we rest on.
const SERVER_MIN: (i64, i64, i64) = (2, 12, 0);

/// How long a start waits for a cluster that is choosing its leaders.
const OPEN_WAIT: Duration = Duration::from_secs(10);
const OPEN_RETRY: Duration = Duration::from_millis(200);

/// How often a follower asks the leader itself whether there is more: the tail should have said so.
const DOUBT_EVERY: Duration = Duration::from_secs(5);

/// How a log is kept in JetStream.
#[derive(Clone)]
pub struct Options {
    /// What the names of our streams and subjects begin with: several houses may share a cluster.
    pub prefix: String,
    pub replicas: usize,
    /// Of the market log: how long and how many bytes are kept; zero is without a limit. The ledger
    /// is kept for ever.
    pub market_age: Duration,
    pub market_bytes: u64,
    /// Whether a start makes what is not there.
    pub create: bool,
    /// Whether every server has `sync_interval: always`: a user cannot see it.
    pub sync_always: bool,
    /// The monitoring ports of the servers, `http://HOST:PORT`: there it can be seen.
    pub monitors: Vec<String>,
    /// How long one append may take in all.
    pub patience: Duration,
    /// Where the tips of streams are kept that may age out whole: the broker has none of them then.
    pub keep: Option<Arc<dyn Keep>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: "entasis".to_owned(),
            replicas: 1,
            market_age: Duration::ZERO,
            market_bytes: 0,
            create: true,
            sync_always: false,
            monitors: Vec::new(),
            patience: Duration::from_millis(700),
            keep: None,
        }
    }
}

/// A log in JetStream.
pub struct Nats {
    shared: Arc<Shared>,
    /// The tail and the monitor; they end with the log.
    _tasks: JoinSet<()>,
}

/// What callers, the tail and the monitor have in common.
struct Shared {
    options: Options,
    broker: Arc<Broker>,
    durability: Durability,
    /// Up to where retention has dropped the market log, as the leader has last told.
    floor: watch::Sender<Offset>,
    ring: Ring,
    /// Told when the tail hears nothing of what the leader has.
    stalled: Notify,
    ahead: Ahead,
    places: Places,
    tips: Tips,
    turns: Turns,
    /// What is known of a copy while entries of another log are taken over.
    copying: Mutex<Copying>,
    faring: Faring,
}

impl Nats {
    /// Makes the JetStream stream of a log, with the configuration that keeps our promises. One that
    /// is there already is held against it.
    pub async fn create(
        client: &async_nats::Client,
        log: Log,
        options: &Options,
    ) -> Result<(), LogError> {
        let broker = Broker::new(client.clone(), Names::new(&options.prefix, log)?).await?;
        check_server(client)?;
        make(&broker, options).await.map(drop)
    }

    /// Opens a log; makes it where it is not there and we may. Refuses one that is configured
    /// otherwise than our promises need.
    pub async fn open(
        client: async_nats::Client,
        log: Log,
        options: Options,
    ) -> Result<Self, LogError> {
        check_server(&client)?;
        let broker = Broker::new(client, Names::new(&options.prefix, log)?).await?;
        let info = found_or_made(&broker, &options).await?;
        check_settings(&broker.names, &options, &info)?;
        Self::over(broker, &info, options).await
    }

    /// Opens a log whose JetStream stream is as this says.
    async fn over(broker: Broker, info: &Info, options: Options) -> Result<Self, LogError> {
        let log = broker.names.log;
        if log == Log::Ledger && info.state.first_seq > 1 {
            let reason = format!("the broker has nothing before {}", info.state.first_seq);
            return Err(LogError::Damaged { offset: Offset(1), reason });
        }
        let durability::Found { durability, warning } = durability::find(&options).await;
        if let Some(warning) = warning {
            tracing::warn!(%log, ?durability, "{warning}");
        }
        let newest = Offset(info.state.last_seq);
        let shared = Arc::new(Shared {
            broker: Arc::new(broker),
            durability,
            floor: watch::Sender::new(Offset(0)),
            ring: Ring::new(newest),
            stalled: Notify::new(),
            ahead: Ahead::default(),
            places: Places::default(),
            tips: Tips::new(log, options.keep.clone()),
            turns: Turns::new(),
            copying: Mutex::default(),
            faring: Faring::new(),
            options,
        });
        shared.note(info);
        let mut tasks = JoinSet::new();
        let tail = Tail { shared: Arc::clone(&shared), last: newest.0, doubted: None };
        tasks.spawn(tail.run());
        tasks.spawn(Monitor::new(Arc::clone(&shared)).run());
        Ok(Self { shared, _tasks: tasks })
    }
}

fn check_server(client: &async_nats::Client) -> Result<(), LogError> {
    let (major, minor, patch) = SERVER_MIN;
    if client.is_server_compatible(major, minor, patch) {
        return Ok(());
    }
    let found = client.try_server_info().map(|info| info.version);
    Err(LogError::Unavailable(match found {
        None => "there is no connection to NATS".to_owned(),
        Some(found) => format!("nats-server is {found} and must be {major}.{minor} or newer"),
    }))
}

/// Returns what the leader says of the JetStream stream, once it has been made where it is missing.
async fn found_or_made(broker: &Broker, options: &Options) -> Result<Info, LogError> {
    let stream = &broker.names.stream;
    let deadline = Instant::now() + OPEN_WAIT;
    loop {
        match broker.info().await {
            Ok(info) => return Ok(info),
            Err(Fault::No { code: codes::STREAM_NOT_FOUND, .. }) if options.create => {
                return make(broker, options).await;
            }
            Err(Fault::No { code: codes::STREAM_NOT_FOUND, .. }) => {
                return Err(LogError::Unavailable(format!(
                    "NATS has no stream {stream}: make it with `entasis log create`"
                )));
            }
            Err(fault) if Instant::now() >= deadline => return Err(fault.unavailable()),
            Err(_) => time::sleep(OPEN_RETRY).await,
        }
    }
}

/// Makes the JetStream stream, or finds it as it must be.
async fn make(broker: &Broker, options: &Options) -> Result<Info, LogError> {
    let Names { stream, .. } = &broker.names;
    let deadline = Instant::now() + OPEN_WAIT;
    loop {
        match broker.create(&settings::needed(&broker.names, options)).await {
            Ok(()) | Err(Fault::No { code: codes::STREAM_EXISTS, .. }) => break,
            // A cluster that is still choosing its leaders says so, or nothing.
            Err(
                Fault::Unsent(_)
                | Fault::Silence(_)
                | Fault::No { code: codes::NO_PEERS | codes::NOT_AVAILABLE, .. },
            ) if Instant::now() < deadline => time::sleep(OPEN_RETRY).await,
            Err(Fault::No { code, text }) => {
                let text = format!("NATS does not make the stream {stream}: {text} ({code})");
                return Err(LogError::Unavailable(text));
            }
            Err(Fault::Unsent(_) | Fault::Silence(_)) => {
                return Err(LogError::Unavailable(format!(
                    "NATS does not answer the wish to make the stream {stream}, as it does when a \
                     user may not: make it with `entasis log create`, as one who may"
                )));
            }
        }
    }
    let deadline = Instant::now() + OPEN_WAIT;
    loop {
        match broker.info().await {
            Ok(info) => {
                check_settings(&broker.names, options, &info)?;
                return Ok(info);
            }
            Err(fault) if Instant::now() >= deadline => return Err(fault.unavailable()),
            Err(_) => time::sleep(OPEN_RETRY).await,
        }
    }
}

fn check_settings(names: &Names, options: &Options, info: &Info) -> Result<(), LogError> {
    let drift = settings::drift(&settings::needed(names, options), &info.config);
    if drift.is_empty() {
        return Ok(());
    }
    let text = format!(
        "the NATS stream {} would not keep our promises: {}",
        names.stream,
        drift.join("; ")
    );
    Err(LogError::Unavailable(text))
}

impl Shared {
    fn names(&self) -> &Names {
        &self.broker.names
    }

    fn log(&self) -> Log {
        self.names().log
    }

    /// Learns the tip of each market stream that the broker still has one of, so that it is kept
    /// before it ages out, whoever has appended it.
    async fn learn_tips(&self) -> Result<(), LogError> {
        if self.log() == Log::Ledger || self.options.keep.is_none() {
            return Ok(());
        }
        for subject in self.leader(self.broker.subjects()).await?.keys() {
            let Some(stream) = self.names().stream_of(subject) else { continue };
            if let Some(newest) = self.leader(self.broker.last(subject)).await? {
                self.tips.note(&stream, newest.place()?);
            }
        }
        Ok(())
    }

    /// Learns from a message what the tip of its market stream is: whoever has appended it may end
    /// before it is kept.
    fn learn_tip(&self, stream: &Stream, raw: &Raw) {
        if self.log() == Log::Market
            && self.options.keep.is_some()
            && let Ok(place) = raw.place()
        {
            self.tips.note(stream, place);
        }
    }

    /// Reads entries of messages, up to the first that cannot be read; that one is an error of its
    /// own when its turn comes.
    fn entries(&self, raws: &[Raw]) -> Result<Vec<Entry>, LogError> {
        let mut entries = Vec::with_capacity(raws.len());
        for raw in raws {
            match raw.entry(self.names()) {
                Ok(entry) => entries.push(entry),
                Err(error) if entries.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(entries)
    }
}

#[async_trait]
impl ReadLog for Nats {
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
        match self.shared.ring.after(after, limit) {
            Some(entries) => Ok(entries),
            None => self.shared.entries(&self.shared.raws(after, limit).await?),
        }
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let entries = self.shared.entries(&self.shared.raws_of(stream, after, limit).await?)?;
        let broken = entries.windows(2).find_map(|pair| match pair {
            [one, next] if next.prev_hash != one.hash => Some(next.offset),
            _ => None,
        });
        match broken {
            None => Ok(entries),
            Some(offset) => {
                let reason = format!("{stream} has another entry before it than it was sealed on");
                Err(LogError::Damaged { offset, reason })
            }
        }
    }

    async fn last(&self, stream: &Stream) -> Result<Option<Entry>, LogError> {
        if stream.log() != self.shared.log() {
            return Ok(None);
        }
        let subject = self.shared.names().subject(stream);
        let newest = self.shared.leader(self.shared.broker.last(&subject)).await?;
        newest.map(|newest| newest.entry(self.shared.names())).transpose()
    }

    async fn tip(&self, stream: &Stream) -> Result<Option<Tip>, LogError> {
        if stream.log() != self.shared.log() {
            return Ok(None);
        }
        let subject = self.shared.names().subject(stream);
        match self.shared.leader(self.shared.broker.last(&subject)).await? {
            Some(newest) => Ok(Some(newest.place()?.tip())),
            None => self.shared.tips.aged_out(stream).await,
        }
    }

    async fn floor(&self) -> Result<Offset, LogError> {
        Ok(*self.shared.floor.borrow())
    }

    async fn head(&self) -> Result<Offset, LogError> {
        self.shared.head_of_leader().await
    }

    async fn wait_after(&self, after: Offset) -> Result<(), LogError> {
        let mut newest = self.shared.ring.newest();
        loop {
            let before = *newest.borrow();
            let comes = time::timeout(DOUBT_EVERY, newest.wait_for(|newest| *newest > after));
            // What is seen is not held on to: it would keep the tail from going on.
            match comes.await.map(|seen| seen.map(drop)) {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(_)) => return Err(LogError::Unavailable("the log is closed".to_owned())),
                // As long as the broker is away there is nothing to come.
                Err(_) if self.shared.head_of_leader().await.is_ok_and(|head| head > after) => {
                    if *newest.borrow() == before {
                        self.shared.stalled.notify_one();
                    }
                    return Ok(());
                }
                Err(_) => {}
            }
        }
    }

    fn durability(&self) -> Durability {
        self.shared.durability
    }

    fn standing(&self) -> Standing {
        self.shared.standing()
    }
}

#[async_trait]
impl EventLog for Nats {
    async fn append(&self, draft: Draft, expected: Expected) -> Result<Appended, LogError> {
        put_in(&*self.shared, &OfDraft { draft: &draft, expected }).await
    }
}

#[async_trait]
impl ReadStored for Nats {
    async fn stored(&self, after: Offset, limit: usize) -> Result<Vec<Stored>, LogError> {
        self.shared.raws(after, limit).await?.iter().map(Raw::stored).collect()
    }
}

#[async_trait]
impl Transfer for Nats {
    async fn take_over(&self, batch: &[Stored]) -> Result<Vec<Appended>, LogError> {
        self.shared.take_over(batch).await
    }
}

#[cfg(feature = "nats-server")]
#[cfg(test)]
mod tests;
