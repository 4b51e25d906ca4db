//! The way in for what is asked of accounts: read the account, decide, append what was decided.
//!
//! ```text
//! order ─ turn ─ done before? ─ command ─ decide ─┬ events ── append ─┬ in ─────── done
//!           ↑                                     │                   └ conflict ─┐
//!           │                                     └ none, refused ─ stale? ─ no ── answer
//!           └──────────────── read on, and again ─────────────────────┴ yes ──────┘
//! ```
//!
//! A no is only said from a state that nobody has left behind; a yes needs no such look, since the
//! log itself refuses what was decided on an older one. Once an append has begun it is carried to
//! its end, also when nobody waits for it any more: until then the account's turn is not over, so
//! no later order is decided while an earlier one may still come in.

use std::panic;
use std::sync::Arc;

use domain::account::Account;
use domain::account::command::{AccountCommand, Refusal};
use domain::account::event::AccountEvent;
use domain::account::position::PositionId;
use domain::decider::Decider;
use domain::event::Event;
use domain::name::AccountId;
use domain::refusal::RefusalEvent;
use eventlog::entry::{Actor, Causation, Draft, Entry, Offset, Version};
use eventlog::keep::Keep;
use eventlog::log::{Appended, EventLog, Expected, LogError};
use eventlog::stream::Stream;
use uuid::Uuid;

use crate::clock::Clock;
use crate::desk::appending::Attempt;
use crate::desk::kept::Keeper;
use crate::desk::seats::{ACCOUNTS_HELD_MAX, NoTurn, Seats, Turn};

pub mod seats;

mod folded;

pub(crate) mod reach;

pub mod keys;

pub mod kept;

pub mod appending;

/// How often an order is decided anew because other nodes' writers were first. Then it is turned
/// away as busy.
pub const DECISIONS_MAX: usize = 16;

/// Append ids are made in these namespaces, of a client's key and of an operator's, and of an
/// attempt that was refused; command ids in the last.
const KEYS: Uuid = Uuid::from_u128(0x8d5a_47c2_01be_5f6a_9b0c_34d1_e7f2_6a91);
const OPERATOR_KEYS: Uuid = Uuid::from_u128(0x1f92_b6d3_7a48_5c0e_8e65_90ab_2cd4_f713);
const REFUSALS: Uuid = Uuid::from_u128(0xc3e1_05f8_92d7_5b34_a1f0_6e48_7b2d_d95c);
const COMMANDS: Uuid = Uuid::from_u128(0x5ab7_e940_6c13_5d82_b7d9_0f3c_81a6_e42e);

/// Who asks what of which account, and under which name.
#[derive(Debug, Clone)]
pub struct Order {
    pub account: AccountId,
    /// Makes it happen once: see [`append_id`].
    pub append_id: Uuid,
    /// The command in its canonical form, a JSON text. What was asked, without what the house adds:
    /// a quote is no part of it.
    pub command: String,
    pub actor: Actor,
    pub correlation_id: Option<String>,
    pub causation: Option<Causation>,
}

/// What became of an order.
#[derive(Debug, Clone)]
pub struct Done {
    /// What it has put into the account's stream; `None` when it was so already.
    pub entry: Option<Arc<Entry>>,
    /// The ledger up to here shows it.
    pub at: Offset,
    /// It was done before, under the same id: this is its first result again.
    pub replayed: bool,
}

/// What an order would do.
#[derive(Debug, Clone)]
pub struct Weighed {
    pub account: Account,
    pub events: Vec<AccountEvent>,
}

/// Why an order was not carried out. `E` is why its command could not be made: there is no price.
#[derive(Debug, thiserror::Error)]
pub enum DeskError<E> {
    #[error("{0}")]
    Refused(Refusal),
    #[error("it cannot be decided now")]
    Unquoted(E),
    /// Its id was used for another command.
    #[error("this id was used for another command")]
    KeyReused,
    /// The same order is being carried out, and that takes long.
    #[error("the same order is being carried out")]
    InProgress,
    /// Too many orders for this account wait, or other writers were always first.
    #[error("too many orders at once")]
    Busy,
    #[error(transparent)]
    Log(LogError),
}

impl<E> From<LogError> for DeskError<E> {
    fn from(error: LogError) -> Self {
        match error {
            // The log remembers more ids than the desk.
            LogError::KeyReused => Self::KeyReused,
            error => Self::Log(error),
        }
    }
}

/// Returns the id under which an account's command of this key is appended.
pub fn append_id(account: &AccountId, key: &str) -> Uuid {
    // No account's name has a slash.
    Uuid::new_v5(&KEYS, format!("{account}/{key}").as_bytes())
}

/// Returns the id under which an operator's command of this key is appended: two operators may use
/// the same key, and so may the account itself.
pub fn operator_append_id(operator: &str, account: &AccountId, key: &str) -> Uuid {
    let name = format!("{account}/{}/{operator}/{key}", operator.len());
    Uuid::new_v5(&OPERATOR_KEYS, name.as_bytes())
}

/// Returns the name of the position that an append opens, should it open one.
pub const fn position_id(append_id: Uuid) -> PositionId {
    PositionId::new(append_id.as_u128())
}

/// Carries out what is asked of accounts.
pub struct Desk {
    ledger: Arc<dyn EventLog>,
    keeper: Keeper,
    clock: Arc<dyn Clock>,
    seats: Seats,
}

/// What was decided on an account as it stood.
enum Ruling<E> {
    Events(Vec<AccountEvent>),
    Nothing(Nothing<E>),
}

/// Why nothing happens.
enum Nothing<E> {
    /// It is so already.
    Already,
    Refused(Refusal),
    Unquoted(E),
}

/// What came of an append.
enum Put {
    Written(Arc<Entry>),
    /// It was in before.
    Repeated(Appended),
    /// Another entry took the place.
    Moved,
}

impl Desk {
    pub fn new(ledger: Arc<dyn EventLog>, keep: Arc<dyn Keep>, clock: Arc<dyn Clock>) -> Self {
        Self::holding(ACCOUNTS_HELD_MAX, ledger, keep, clock)
    }

    fn holding(
        accounts_max: usize,
        ledger: Arc<dyn EventLog>,
        keep: Arc<dyn Keep>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { ledger, keeper: Keeper::new(keep), clock, seats: Seats::new(accounts_max) }
    }

    /// Carries out an order, once. `command` is asked with the account as it stands, each time that
    /// it is decided anew: the quote belongs to the moment.
    ///
    /// A refusal is recorded before it is answered. Whoever drops this half way finds out what came
    /// of it by submitting the same order again.
    pub async fn submit<E: Send>(
        &self,
        order: Order,
        command: impl Fn(&Account) -> Result<AccountCommand, E> + Send + Sync,
    ) -> Result<Done, DeskError<E>> {
        let mut turn = self.turn(&order.account, Some(order.append_id)).await?;
        for _ in 0..DECISIONS_MAX {
            if let Some(version) = turn.folded.reach.find(order.append_id) {
                return self.first_result(turn, &order, version).await;
            }
            match rule(&turn.folded.account, &command) {
                Ruling::Events(events) => {
                    let (back, put) = self.put(turn, self.draft(&order, events)).await?;
                    turn = back;
                    match put {
                        Put::Written(entry) => {
                            let at = entry.offset;
                            return Ok(Done { entry: Some(entry), at, replayed: false });
                        }
                        Put::Repeated(Appended { version, .. }) => {
                            return self.first_result(turn, &order, version).await;
                        }
                        Put::Moved => drop(self.read_on(&mut turn).await?),
                    }
                }
                Ruling::Nothing(nothing) => {
                    if !self.read_on(&mut turn).await? {
                        return self.say_no(turn, &order, nothing).await;
                    }
                }
            }
        }
        Err(DeskError::Busy)
    }

    /// Returns what a command would do now, and does nothing.
    pub async fn weigh<E: Send>(
        &self,
        account: &AccountId,
        command: impl Fn(&Account) -> Result<AccountCommand, E> + Send + Sync,
    ) -> Result<Weighed, DeskError<E>> {
        let mut turn = self.turn(account, None).await?;
        self.read_on(&mut turn).await?;
        let account = &turn.folded.account;
        let events = match rule(account, &command) {
            Ruling::Events(events) => events,
            Ruling::Nothing(Nothing::Already) => Vec::new(),
            Ruling::Nothing(Nothing::Refused(refusal)) => return Err(DeskError::Refused(refusal)),
            Ruling::Nothing(Nothing::Unquoted(reason)) => return Err(DeskError::Unquoted(reason)),
        };
        Ok(Weighed { account: account.clone(), events })
    }

    /// Records that an order was refused; answers when that is durable. Each attempt stands for
    /// itself: a refused order may be sent again, and be refused again.
    pub async fn refuse(&self, order: &Order, refusal: &Refusal) -> Result<(), LogError> {
        let recorded_at = self.clock.now();
        let mut attempt = order.append_id.as_bytes().to_vec();
        attempt.extend(recorded_at.micros().to_be_bytes());
        let refused = RefusalEvent::CommandRefused {
            command: order.command.clone(),
            code: refusal.code().to_owned(),
            reason: refusal.to_string(),
            arithmetic: refusal.arithmetic(),
        };
        let draft = Draft {
            stream: Stream::Refusals(order.account.clone()),
            append_id: Uuid::new_v5(&REFUSALS, &attempt),
            recorded_at,
            ..self.draft(order, vec![refused])
        };
        let Attempt { outcome, .. } = appending::append(&*self.ledger, &draft, Expected::Any).await;
        outcome.map(drop)
    }

    /// Returns the ledger's offset of what this node has last put into an account's stream; `None`
    /// when it has put nothing. Of an account that is not held any more it may be a later offset.
    pub fn last_written(&self, account: &AccountId) -> Option<Offset> {
        Some(self.seats.last_written(account)).filter(|offset| *offset > Offset(0))
    }

    /// Waits for a turn at an account, which has then been read at least once.
    async fn turn<E>(
        &self,
        account: &AccountId,
        append_id: Option<Uuid>,
    ) -> Result<Turn, DeskError<E>> {
        let mut turn =
            self.seats.turn(account, append_id).await.map_err(|reason| match reason {
                NoTurn::InProgress => DeskError::InProgress,
                NoTurn::Busy => DeskError::Busy,
            })?;
        if turn.folded.reach.version == Version(0) {
            self.read_on(&mut turn).await?;
        }
        Ok(turn)
    }

    /// Reads on in an account's stream; returns whether anything was new.
    async fn read_on(&self, turn: &mut Turn) -> Result<bool, LogError> {
        let stream = &turn.place.seat.stream;
        let moved = turn.folded.catch_up(&*self.ledger, &self.keeper, stream).await?;
        self.keeper.look(stream, &mut turn.folded);
        Ok(moved)
    }

    fn draft<T: Into<Event>>(&self, order: &Order, events: Vec<T>) -> Draft {
        Draft {
            stream: Stream::Account(order.account.clone()),
            append_id: order.append_id,
            command_id: order.command_id(),
            recorded_at: self.clock.now(),
            actor: order.actor.clone(),
            correlation_id: order.correlation_id.clone(),
            causation: order.causation.clone(),
            events: events.into_iter().map(Into::into).collect(),
        }
    }

    /// Appends what was decided on the account of this turn, and takes it in.
    async fn put(&self, mut turn: Turn, draft: Draft) -> Result<(Turn, Put), LogError> {
        let (ledger, keeper) = (Arc::clone(&self.ledger), self.keeper.clone());
        // In a task of its own, which has the turn: when the client hangs up and its future is
        // dropped, nobody else decides before it is known what came of this.
        let put = tokio::spawn(async move {
            let expected = appending::after(turn.folded.reach.version);
            let Attempt { outcome, is_unknown } =
                appending::append(&*ledger, &draft, expected).await;
            turn.is_unknown |= is_unknown;
            let put = match outcome {
                Ok(appended) => {
                    turn.place.seat.written(appended.offset);
                    if appended.repeated {
                        Put::Repeated(appended)
                    } else {
                        Put::Written(Arc::new(turn.folded.take_own(draft, appended)?))
                    }
                }
                Err(LogError::Conflict { .. }) => Put::Moved,
                Err(error) => {
                    if error == LogError::OutcomeUnknown {
                        let reach = &mut turn.folded.reach;
                        reach.unsettled = Some((draft.append_id, reach.version));
                    }
                    return Err(error);
                }
            };
            keeper.look(&turn.place.seat.stream, &mut turn.folded);
            Ok((turn, put))
        });
        put.await.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            // The runtime ends.
            Err(_) => Err(LogError::OutcomeUnknown),
        })
    }

    /// Answers an order that was done before.
    async fn first_result<E>(
        &self,
        turn: Turn,
        order: &Order,
        version: Version,
    ) -> Result<Done, DeskError<E>> {
        let Turn { folded, is_unknown, place } = turn;
        // What is in stays as it is: others need not wait for this.
        drop(folded);
        let stream = &place.seat.stream;
        let entry = reach::first(&*self.ledger, stream, version, order.append_id).await?;
        if entry.command_id != order.command_id() {
            return Err(DeskError::KeyReused);
        }
        // Another node may have written it: whoever asks here is to see it here.
        place.seat.written(entry.offset);
        Ok(Done { at: entry.offset, entry: Some(Arc::new(entry)), replayed: !is_unknown })
    }

    /// Answers an order on which nothing happens, from a state that is not stale.
    async fn say_no<E>(
        &self,
        turn: Turn,
        order: &Order,
        nothing: Nothing<E>,
    ) -> Result<Done, DeskError<E>> {
        let (at, is_awaited) =
            (turn.folded.reach.offset, turn.folded.reach.awaits(order.append_id));
        // Nothing of the account is needed any more.
        drop(turn);
        if is_awaited {
            return Err(DeskError::Log(LogError::OutcomeUnknown));
        }
        match nothing {
            Nothing::Already => Ok(Done { entry: None, at, replayed: false }),
            Nothing::Refused(refusal) => {
                self.refuse(order, &refusal).await?;
                Err(DeskError::Refused(refusal))
            }
            Nothing::Unquoted(reason) => Err(DeskError::Unquoted(reason)),
        }
    }
}

impl Order {
    fn command_id(&self) -> Uuid {
        Uuid::new_v5(&COMMANDS, self.command.as_bytes())
    }
}

fn rule<E>(
    account: &Account,
    command: impl Fn(&Account) -> Result<AccountCommand, E>,
) -> Ruling<E> {
    let command = match command(account) {
        Ok(command) => command,
        Err(reason) => return Ruling::Nothing(Nothing::Unquoted(reason)),
    };
    match account.decide(command) {
        Ok(events) if events.is_empty() => Ruling::Nothing(Nothing::Already),
        Ok(events) => Ruling::Events(events),
        Err(refusal) => Ruling::Nothing(Nothing::Refused(refusal)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
