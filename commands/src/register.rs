//! The way in for what is asked about keys: read the stream `keys`, decide, append what was decided.
//!
//! As at the desk (`desk`): a no is only said from a state that nobody has left behind, and an append
//! that has begun is carried to its end, also when nobody waits for it any more.

use std::panic;
use std::sync::Arc;

use domain::decider::Decider;
use domain::event::Event;
use domain::keys::Keys;
use domain::keys::command::{KeyCommand, KeyRefusal};
use domain::keys::event::KeyEvent;
use domain::keys::key::TokenId;
use eventlog::entry::{Actor, Draft, Entry, Offset, Version};
use eventlog::log::{Appended, EventLog, LogError};
use eventlog::stream::Stream;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use uuid::Uuid;

use crate::clock::Clock;
use crate::desk::DECISIONS_MAX;
use crate::desk::appending::{self, Attempt};
use crate::desk::reach;
use crate::desk::seats::{ORDERS_WAITING_MAX, TURN_PATIENCE};
use crate::register::folded::Folded;

mod folded;

pub mod trail;

/// Append ids are made in these namespaces, of an administrator's key and of a token that is
/// revoked; command ids in the last.
const APPENDS: Uuid = Uuid::from_u128(0x4b1c_8e02_6d5f_5a3b_9e71_c80d_42fa_1763);
const REVOCATIONS: Uuid = Uuid::from_u128(0xa907_3cd5_18e4_5b62_8f2d_6b90_c7e1_04af);
const COMMANDS: Uuid = Uuid::from_u128(0x71d8_f4a6_0b3e_5c97_a25c_e9f0_3d64_8b1a);

/// Who asks what about keys, and under which name.
#[derive(Debug, Clone)]
pub struct KeyOrder {
    /// Makes it happen once: see [`append_id`].
    pub append_id: Uuid,
    /// What was asked in its canonical form, a JSON text, without what the house drew for it: no
    /// id, no secret, no hash, no time.
    pub asked: String,
    pub command: KeyCommand,
    pub actor: Actor,
    pub correlation_id: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone)]
pub struct Registered {
    /// What it has put into the stream; `None` when it was so already.
    pub entry: Option<Arc<Entry>>,
    /// The ledger up to here shows it.
    pub at: Offset,
    /// It was done before, under the same id: this is its first result again, with what was drawn
    /// then. A secret that was drawn now belongs to nothing.
    pub replayed: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    #[error("{0}")]
    Refused(KeyRefusal),
    /// Its id was used for another command.
    #[error("this id was used for another command")]
    KeyReused,
    /// Too many orders wait, or other writers were always first.
    #[error("too many changes of keys at once")]
    Busy,
    #[error(transparent)]
    Log(LogError),
}

impl From<LogError> for RegisterError {
    fn from(error: LogError) -> Self {
        match error {
            // The log remembers more ids than the register.
            LogError::KeyReused => Self::KeyReused,
            error => Self::Log(error),
        }
    }
}

/// Returns the id under which what an administrator asks with this key is appended.
pub fn append_id(administrator: &str, key: &str) -> Uuid {
    let name = format!("{}/{administrator}/{key}", administrator.len());
    Uuid::new_v5(&APPENDS, name.as_bytes())
}

/// Returns the id under which a token's end is appended: it has one, whoever asks for it.
pub fn revocation_id(token: &TokenId) -> Uuid {
    Uuid::new_v5(&REVOCATIONS, token.as_str().as_bytes())
}

/// Carries out what is asked about keys, one after the other.
pub struct Register {
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    /// Orders this node's writers: one at a time reads, decides and appends, and holds this while it
    /// waits for the log. It is not for readers of views, nor for other nodes.
    folded: Arc<Mutex<Folded>>,
    /// One for each order that has or waits for its turn. When there is none, an order is turned
    /// away as busy.
    places: Arc<Semaphore>,
}

/// The right to read and write the stream. While it lives, no other order of this node does.
struct Turn {
    folded: OwnedMutexGuard<Folded>,
    /// What was decided in this turn and appended with an unknown outcome: it may be in.
    unknown: Option<Vec<Event>>,
    _place: OwnedSemaphorePermit,
}

/// What came of an append.
enum Put {
    Written(Arc<Entry>),
    /// It was in before.
    Repeated(Version),
    /// Another entry took the place.
    Moved,
}

impl Register {
    pub fn new(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>) -> Self {
        let places = Arc::new(Semaphore::new(ORDERS_WAITING_MAX));
        Self { log, clock, folded: Arc::default(), places }
    }

    /// Carries out an order, once, and returns when it is durable. Whoever drops this half way finds
    /// out what came of it by submitting the same order again.
    pub async fn submit(&self, order: KeyOrder) -> Result<Registered, RegisterError> {
        let mut turn = self.turn().await.ok_or(RegisterError::Busy)?;
        if turn.folded.reach.version == Version(0) {
            turn.folded.catch_up(&*self.log).await?;
        }
        for _ in 0..DECISIONS_MAX {
            if let Some(version) = turn.folded.reach.find(order.append_id) {
                return self.first_result(turn, &order, version).await;
            }
            let ruling = turn.folded.keys.decide(order.command.clone());
            let events = match ruling {
                Ok(events) if !events.is_empty() => events,
                nothing => {
                    if turn.folded.catch_up(&*self.log).await? {
                        continue;
                    }
                    return say_no(&turn, &order, nothing);
                }
            };
            let (back, put) = self.put(turn, self.draft(&order, events)).await?;
            turn = back;
            match put {
                Put::Written(entry) => {
                    let at = entry.offset;
                    return Ok(Registered { entry: Some(entry), at, replayed: false });
                }
                Put::Repeated(version) => return self.first_result(turn, &order, version).await,
                Put::Moved => {
                    turn.folded.catch_up(&*self.log).await?;
                }
            }
        }
        Err(RegisterError::Busy)
    }

    /// Returns the keys as they stand in the log now.
    pub async fn keys(&self) -> Result<Keys, LogError> {
        let busy = || LogError::Unavailable("too many changes of keys at once".to_owned());
        let mut turn = self.turn().await.ok_or_else(busy)?;
        turn.folded.catch_up(&*self.log).await?;
        Ok(turn.folded.keys.clone())
    }

    /// Waits for a turn; `None` when too many do, or it takes too long.
    async fn turn(&self) -> Option<Turn> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let folded = Arc::clone(&self.folded).lock_owned();
        let folded = timeout(TURN_PATIENCE, folded).await.ok()?;
        Some(Turn { folded, unknown: None, _place: place })
    }

    fn draft(&self, order: &KeyOrder, events: Vec<KeyEvent>) -> Draft {
        Draft {
            stream: Stream::Keys,
            append_id: order.append_id,
            command_id: order.command_id(),
            recorded_at: self.clock.now(),
            actor: order.actor.clone(),
            correlation_id: order.correlation_id.clone(),
            causation: None,
            events: events.into_iter().map(Event::Key).collect(),
        }
    }

    /// Appends what was decided in this turn, and takes it in.
    async fn put(&self, mut turn: Turn, draft: Draft) -> Result<(Turn, Put), LogError> {
        let log = Arc::clone(&self.log);
        // In a task of its own, which has the turn: when the client hangs up and its future is
        // dropped, nobody else decides before it is known what came of this.
        let put = tokio::spawn(async move {
            let expected = appending::after(turn.folded.reach.version);
            let Attempt { outcome, is_unknown } = appending::append(&*log, &draft, expected).await;
            if is_unknown {
                turn.unknown = Some(draft.events.clone());
            }
            let put = match outcome {
                Ok(Appended { version, repeated: true, .. }) => Put::Repeated(version),
                Ok(appended) => Put::Written(Arc::new(turn.folded.take_own(draft, appended)?)),
                Err(LogError::Conflict { .. }) => Put::Moved,
                Err(error) => {
                    if error == LogError::OutcomeUnknown {
                        let reach = &mut turn.folded.reach;
                        reach.unsettled = Some((draft.append_id, reach.version));
                    }
                    return Err(error);
                }
            };
            Ok((turn, put))
        });
        put.await.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            // The runtime ends.
            Err(_) => Err(LogError::OutcomeUnknown),
        })
    }

    /// Answers an order that was done before.
    async fn first_result(
        &self,
        turn: Turn,
        order: &KeyOrder,
        version: Version,
    ) -> Result<Registered, RegisterError> {
        let Turn { folded, unknown, _place } = turn;
        // What is in stays as it is: others need not wait for this.
        drop(folded);
        let entry = reach::first(&*self.log, &Stream::Keys, version, order.append_id).await?;
        if entry.command_id != order.command_id() {
            return Err(RegisterError::KeyReused);
        }
        // What is found after an attempt of unknown outcome is that attempt only if it says the same:
        // one that was given up before may have come in instead, with the secret that was drawn then.
        let replayed = unknown.as_ref() != Some(&entry.events);
        Ok(Registered { at: entry.offset, entry: Some(Arc::new(entry)), replayed })
    }
}

/// Answers an order on which nothing happens, from a state that is not stale.
fn say_no(
    turn: &Turn,
    order: &KeyOrder,
    nothing: Result<Vec<KeyEvent>, KeyRefusal>,
) -> Result<Registered, RegisterError> {
    let reach = &turn.folded.reach;
    if reach.awaits(order.append_id) {
        return Err(RegisterError::Log(LogError::OutcomeUnknown));
    }
    match nothing {
        Ok(_) => Ok(Registered { entry: None, at: reach.offset, replayed: false }),
        Err(refusal) => Err(RegisterError::Refused(refusal)),
    }
}

impl KeyOrder {
    fn command_id(&self) -> Uuid {
        Uuid::new_v5(&COMMANDS, self.asked.as_bytes())
    }
}

#[cfg(test)]
mod tests;
