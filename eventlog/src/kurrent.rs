//! The log on KurrentDB, and on EventStoreDB, which is its older name: a stream of ours is a stream
//! there, an entry one event, and a log all the streams whose names begin as its streams do.
//!
//! Our offset is the event's position in the whole database, so offsets have gaps; the guard of an append
//! is the revision of the stream's newest event. `address` is what a URL says, `names` and `event` are
//! how our streams and entries look there, `server` is every call with a time of its own. `append` puts
//! entries in as `remote` tells it to, `ids` knows those that were put in before, `taking_over` puts
//! in those of another log. `reading` walks through the database, `places` says from where one may,
//! `ahead` keeps what was read for who reads on, and `tail` follows. `retention` is what KurrentDB may
//! drop, `faring` how the log fares, `durability` what an entry survives. `double` is a server for tests.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

use crate::entry::{Draft, Entry, Offset, Version};
use crate::keep::Keep;
use crate::kurrent::address::{Address, Login};
use crate::kurrent::ahead::{Ahead, Follow};
use crate::kurrent::event::Raw;
use crate::kurrent::faring::Faring;
use crate::kurrent::ids::Ids;
use crate::kurrent::names::Names;
use crate::kurrent::places::Places;
use crate::kurrent::reading::{NewestOf, WalkWait, Witness};
use crate::kurrent::retention::Aged;
use crate::kurrent::server::{Fault, Server};
use crate::kurrent::tail::Tail;
use crate::log::{Appended, Durability, EventLog, Expected, LogError, ReadLog, Standing, Tip};
use crate::remote::append::{Turns, put_in};
use crate::remote::outgoing::OfDraft;
use crate::remote::place::Place;
use crate::remote::ring::Ring;
use crate::remote::tips::Tips;
use crate::stream::{Log, Stream};
use crate::transfer::{ReadStored, Stored, Transfer};

pub mod address;

mod names;

mod event;

mod server;

mod append;
mod ids;
mod taking_over;

mod ahead;
mod places;
mod reading;

mod tail;

mod durability;
mod faring;
mod retention;

#[cfg(feature = "kurrent-double")]
#[expect(clippy::result_large_err, reason = "what a call answers instead is tonic's `Status`")]
pub mod double;

/// How this adapter was tried out: told to whoever looks at a log that stands on it.
pub const TESTED: &str = "protocol-tested, not run against a server";

/// The oldest server that tells with each event of a stream where it stands among all. Of one that does
/// not tell its own version nothing is known.
const SERVER_MIN: (usize, usize) = (22, 6);

/// Waits between two attempts of a start.
const OPEN_RETRY: Duration = Duration::from_millis(200);
/// How often tips are kept that are not kept yet.
const KEEP_EVERY: Duration = Duration::from_secs(10);
/// How long the place where a log begins is believed.
const FLOOR_EVERY: Duration = Duration::from_mins(1);

/// How a log is kept in KurrentDB.
#[derive(Clone)]
pub struct Options {
    /// Before the names of our streams: several houses may share a server. Usually nothing.
    pub prefix: String,
    /// Who we are, where the address does not say it.
    pub login: Option<Login>,
    /// How long entries of the market log are kept; zero is without a limit. The ledger is kept for
    /// ever.
    pub market_age: Duration,
    /// How many nodes the cluster has, where none of them tells.
    pub nodes: Option<usize>,
    /// How long a start waits for a cluster that is choosing its leader.
    pub opening: Duration,
    /// How long one append may take in all.
    pub patience: Duration,
    /// Where the tips of streams are kept that may age out whole: KurrentDB shows none of them then.
    pub keep: Option<Arc<dyn Keep>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            login: None,
            market_age: Duration::ZERO,
            nodes: None,
            opening: Duration::from_secs(10),
            patience: Duration::from_millis(700),
            keep: None,
        }
    }
}

/// A log in KurrentDB.
pub struct Kurrent {
    shared: Arc<Shared>,
    durability: Durability,
    /// The tail and the keeper of tips; they end with the log.
    _tasks: JoinSet<()>,
}

/// What callers and the tail have in common.
struct Shared {
    options: Options,
    names: Names,
    server: Server,
    seen: Mutex<Seen>,
    ring: Ring,
    /// Told when this node has put something in.
    wake: Notify,
    ahead: Ahead,
    places: Places,
    walk_wait: WalkWait,
    tips: Tips,
    ids: Ids,
    turns: Turns,
    aged: Aged,
    /// Held by who takes over entries of another log.
    copying: tokio::sync::Mutex<()>,
    faring: Faring,
}

/// What was seen of the log, and of where it begins.
#[derive(Default)]
struct Seen {
    /// A place in the database up to which all that is ours was seen.
    to: Offset,
    /// The newest entry up to there.
    newest: Offset,
    floor: Option<(Offset, Instant)>,
    /// Nothing is held at or before it.
    front: Offset,
}

impl Kurrent {
    /// Opens a log. There is nothing to be made for it: a stream begins with its first event.
    pub async fn open(address: Address, log: Log, options: Options) -> Result<Self, LogError> {
        let prefix = address.prefix().unwrap_or(&options.prefix);
        let shared = Arc::new(Shared {
            names: Names::new(prefix, log)?,
            server: Server::new(address, options.login.as_ref())?,
            seen: Mutex::default(),
            ring: Ring::new(Offset(0)),
            wake: Notify::new(),
            ahead: Ahead::default(),
            places: Places::default(),
            walk_wait: WalkWait::default(),
            tips: Tips::new(log, options.keep.clone()),
            ids: Ids::default(),
            turns: Turns::new(),
            aged: Aged::default(),
            copying: tokio::sync::Mutex::default(),
            faring: Faring::default(),
            options,
        });
        let mut follow = Follow::default();
        let end = shared.first_end().await?;
        shared.check_server().await?;
        if let Some(witness) = end {
            shared.check_settings(&witness).await?;
            let raws = shared.look_back(&witness).await?;
            for raw in &raws {
                // What is damaged keeps nobody from the rest: who reads there is told.
                match follow.take(raw).and_then(|()| raw.place()) {
                    Ok(place) => shared.note(&raw.stream, place),
                    Err(error) => {
                        let dropped = follow.jumps(raw) && shared.is_dropped_before(raw).await?;
                        follow.go_on(raw);
                        match raw.place() {
                            Ok(place) if dropped => {
                                shared.ids.begin_anew(&raw.stream);
                                shared.note(&raw.stream, place);
                            }
                            _ => shared.ahead.note_damage(raw.offset, error),
                        }
                    }
                }
            }
            let newest = raws.last().map_or(Offset(0), |newest| newest.offset);
            shared.saw(newest.max(Offset(witness.position)), newest);
            shared.ring.pass(newest);
        }
        let durability = shared.find_durability().await;
        let mut tasks = JoinSet::new();
        let last = shared.seen().newest;
        tasks.spawn(Tail { shared: Arc::clone(&shared), last, follow }.run());
        tasks.spawn(Arc::clone(&shared).keep_tips());
        Ok(Self { shared, durability, _tasks: tasks })
    }
}

impl Shared {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        // Both places are put in together.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen_to(&self) -> Offset {
        self.seen().to
    }

    fn seen_to_and_newest(&self) -> (Offset, Offset) {
        let seen = self.seen();
        (seen.to, seen.newest)
    }

    fn saw(&self, to: Offset, newest: Offset) {
        let mut seen = self.seen();
        (seen.to, seen.newest) = (seen.to.max(to), seen.newest.max(newest));
    }

    fn has_seen_any(&self) -> bool {
        self.seen_to() > Offset(0)
    }

    /// Returns the end of the database, as soon as somebody tells it.
    async fn first_end(&self) -> Result<Option<Witness>, LogError> {
        let deadline = Instant::now() + self.options.opening;
        loop {
            match self.ask_for_end().await {
                // What is denied now is denied later.
                Err(fault) if !matches!(fault, Fault::No(_)) && Instant::now() < deadline => {
                    time::sleep(OPEN_RETRY).await;
                }
                answer => return answer.map_err(Fault::unavailable),
            }
        }
    }

    async fn check_server(&self) -> Result<(), LogError> {
        let found = self.server.version().await.map_err(Fault::unavailable)?;
        if found >= SERVER_MIN {
            return Ok(());
        }
        let ((major, minor), (least, least_minor)) = (found, SERVER_MIN);
        Err(LogError::Unavailable(format!(
            "KurrentDB is {major}.{minor} and must be {least}.{least_minor} or newer"
        )))
    }

    /// Learns where an entry stands.
    fn note(&self, stream: &Stream, place: Place) {
        self.tips.note(stream, place);
        self.ids.note(stream, place);
    }

    /// Keeps tips for ever.
    async fn keep_tips(self: Arc<Self>) {
        let mut ticks = time::interval(KEEP_EVERY);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.tips.keep_all().await {
                tracing::debug!(%error, "tips are kept later");
            }
        }
    }

    /// Returns the newest entry, from the leader.
    async fn head(&self) -> Result<Offset, LogError> {
        let (mut to, mut newest) = self.seen_to_and_newest();
        let Some(witness) = self.end().await? else { return Ok(newest) };
        while to.0 < witness.position {
            let found = self.walk(to, usize::MAX, Some(&witness), self.soon()).await?;
            newest = found.raws.last().map_or(newest, |raw| raw.offset);
            let Some(seen_to) = found.seen_to else { break };
            to = Offset(seen_to);
        }
        Ok(newest)
    }

    /// Returns the offset up to which entries were dropped.
    async fn floor(&self) -> Result<Offset, LogError> {
        if self.names.log == Log::Ledger {
            return Ok(Offset(0));
        }
        let known = self.seen().floor;
        if let Some((floor, _)) = known.filter(|(_, at)| at.elapsed() < FLOOR_EVERY) {
            return Ok(floor);
        }
        if self.seen().newest == Offset(0) {
            return Ok(Offset(0));
        }
        let floor = self.find_floor().await?.max(known.map_or(Offset(0), |(floor, _)| floor));
        self.seen().floor = Some((floor, Instant::now()));
        Ok(floor)
    }
}

/// Reads entries of events, up to the first that cannot be read; that one is an error of its own when
/// its turn comes.
fn entries(raws: &[Raw]) -> Result<Vec<Entry>, LogError> {
    let mut entries = Vec::with_capacity(raws.len());
    for raw in raws {
        match raw.entry() {
            Ok(entry) => entries.push(entry),
            Err(error) if entries.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(entries)
}

#[async_trait]
impl ReadLog for Kurrent {
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
        match self.shared.ring.after(after, limit) {
            Some(entries) => Ok(entries),
            None => entries(&self.shared.raws(after, limit).await?),
        }
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let mut all: Vec<Entry> = Vec::new();
        while all.len() < limit {
            let after = all.last().map_or(after, |last| last.version);
            let raws = match self.shared.raws_of(stream, after, limit - all.len()).await {
                // An error of its own when its turn comes.
                Err(LogError::Damaged { .. }) if !all.is_empty() => break,
                raws => raws?,
            };
            let read = entries(&raws)?;
            let is_all = read.is_empty() || read.len() < raws.len();
            all.extend(read);
            if is_all {
                break;
            }
        }
        let broken = all.windows(2).find_map(|pair| match pair {
            [one, next] if next.prev_hash != one.hash => Some(next.offset),
            _ => None,
        });
        match broken {
            None => Ok(all),
            Some(offset) => {
                let reason = format!("{stream} has another entry before it than it was sealed on");
                Err(LogError::Damaged { offset, reason })
            }
        }
    }

    async fn last(&self, stream: &Stream) -> Result<Option<Entry>, LogError> {
        if stream.log() != self.shared.names.log {
            return Ok(None);
        }
        match self.shared.newest_of(stream).await? {
            NewestOf::Raw(newest) => newest.entry().map(Some),
            NewestOf::Hidden(_) | NewestOf::Never => Ok(None),
        }
    }

    async fn tip(&self, stream: &Stream) -> Result<Option<Tip>, LogError> {
        if stream.log() != self.shared.names.log {
            return Ok(None);
        }
        Ok(match self.shared.newest_of(stream).await? {
            NewestOf::Raw(newest) => Some(newest.place()?.tip()),
            NewestOf::Hidden(revision) => Some(self.shared.aged_out(stream, revision).await?),
            NewestOf::Never => None,
        })
    }

    async fn floor(&self) -> Result<Offset, LogError> {
        self.shared.floor().await
    }

    async fn head(&self) -> Result<Offset, LogError> {
        self.shared.head().await
    }

    async fn wait_after(&self, after: Offset) -> Result<(), LogError> {
        let mut newest = self.shared.ring.newest();
        // What is seen is not held on to: it would keep the tail from going on.
        let comes = newest.wait_for(|newest| *newest > after).await.map(drop);
        comes.map_err(|_| LogError::Unavailable("the log is closed".to_owned()))
    }

    fn durability(&self) -> Durability {
        self.durability
    }

    fn standing(&self) -> Standing {
        self.shared.faring.standing()
    }
}

#[async_trait]
impl EventLog for Kurrent {
    async fn append(&self, draft: Draft, expected: Expected) -> Result<Appended, LogError> {
        put_in(&*self.shared, &OfDraft { draft: &draft, expected }).await
    }
}

#[async_trait]
impl ReadStored for Kurrent {
    async fn stored(&self, after: Offset, limit: usize) -> Result<Vec<Stored>, LogError> {
        self.shared.raws(after, limit).await?.iter().map(Raw::stored).collect()
    }
}

#[async_trait]
impl Transfer for Kurrent {
    async fn take_over(&self, batch: &[Stored]) -> Result<Vec<Appended>, LogError> {
        self.shared.take_over(batch).await
    }
}

#[cfg(feature = "kurrent-double")]
#[cfg(test)]
mod tests;
