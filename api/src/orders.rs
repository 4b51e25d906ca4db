//! How a request becomes an order at the desk, and what became of it an answer.

use std::sync::Arc;

use commands::desk::{DeskError, Done, Order, Weighed};
use domain::account::Account;
use domain::account::command::{AccountCommand, Refusal};
use domain::account::event::AccountEvent;
use domain::account::position::{Position, PositionId};
use domain::amount::Quantity;
use domain::event::Event;
use domain::fill::{Fill, MarketEntry, NoFill};
use domain::instrument::Instrument;
use domain::name::AccountId;
use domain::tick::Side;
use domain::time::Timestamp;
use eventlog::entry::{Actor, Entry, Version};
use eventlog::log::LogError;
use eventlog::stream::Stream;
use poem_openapi::ApiResponse;
use poem_openapi::payload::Json;
use poem_openapi::types::ToJSON;
use rust_decimal::Decimal;
use serde_json::Value;
use uuid::Uuid;

use crate::app::App;
use crate::consistency::Token;
use crate::idempotency::Named;
use crate::market::EntryBody;
use crate::metrics::Outcome;
use crate::problem::{Code, Problem};

/// What is said of a command of which nobody knows whether it is in.
pub const UNKNOWN: &str = "the outcome is unknown: repeat with the same Idempotency-Key";

/// What is said when the log took nothing of this request; an earlier one of the same key may be in.
/// Why that is, an operator is told by `/readyz`.
pub const UNREACHABLE: &str = "the log cannot be reached: this request changed nothing; repeat it, \
     a command with the same Idempotency-Key";

/// Why a command cannot be made of what is asked and the account as it stands.
#[derive(Debug)]
pub enum Unmade {
    /// There is no price, or none that its figures can be held at.
    Unpriced(Problem),
    /// There is nothing to price: the position is not open.
    Refused(Refusal),
}

impl From<Problem> for Unmade {
    fn from(problem: Problem) -> Self {
        Self::Unpriced(problem)
    }
}

/// What was carried out, or was so already.
#[derive(Debug)]
pub struct Carried {
    /// `None` when it was so already.
    pub entry: Option<Arc<Entry>>,
    pub token: Token,
    pub replayed: bool,
}

/// It happened and is durable, or it was so already.
#[derive(ApiResponse)]
pub enum Created<T: ToJSON> {
    /// It has happened, and is durable.
    #[oai(status = 201)]
    Created(
        Json<T>,
        #[oai(header = "X-Consistency-Token")] String,
        #[oai(header = "Idempotency-Replayed")] Option<bool>,
    ),
    /// It was so already: nothing has happened.
    #[oai(status = 200)]
    AlreadySo(Json<T>, #[oai(header = "X-Consistency-Token")] String),
}

/// It is so, by this command or before it.
#[derive(ApiResponse)]
pub enum Settled<T: ToJSON> {
    /// It is so, and durable.
    #[oai(status = 200)]
    Settled(
        Json<T>,
        #[oai(header = "X-Consistency-Token")] String,
        #[oai(header = "Idempotency-Replayed")] Option<bool>,
    ),
}

/// Returns the order that is asked for. `command` is what is asked, as values in one order and one
/// spelling, so that the same command is the same text however it was written.
pub fn order(
    account: &AccountId,
    append_id: Uuid,
    command: &Value,
    actor: Actor,
    named: Named,
) -> Order {
    Order {
        account: account.clone(),
        append_id,
        command: command.to_string(),
        actor,
        correlation_id: Some(named.request_id),
        causation: None,
    }
}

/// Returns the text of a decimal that is the same however it was written: `1.5` and `1.50` are one.
pub fn canonical(value: Decimal) -> String {
    value.normalize().to_string()
}

impl Carried {
    /// Returns where it stands; `None` when it was so already.
    pub fn entry_body(&self) -> Option<EntryBody> {
        self.entry.as_ref().map(|entry| EntryBody::of(&entry.stream, entry.version))
    }

    /// Returns what has happened to the account.
    pub fn events(&self) -> impl Iterator<Item = &AccountEvent> {
        let events = self.entry.iter().flat_map(|entry| &entry.events);
        events.filter_map(|event| match event {
            Event::Account(event) => Some(event),
            Event::Market(_)
            | Event::Candle(_)
            | Event::Refusal(_)
            | Event::Key(_)
            | Event::Access(_) => None,
        })
    }

    /// Returns when it happened; `now` when it was so already.
    pub fn happened_at(&self, now: Timestamp) -> Timestamp {
        self.entry.as_ref().map_or(now, |entry| entry.recorded_at)
    }

    pub fn created<T: ToJSON>(&self, body: T) -> Created<T> {
        let (body, token) = (Json(body), self.token.text());
        match self.entry {
            Some(_) => Created::Created(body, token, self.told_replayed()),
            None => Created::AlreadySo(body, token),
        }
    }

    pub fn settled<T: ToJSON>(&self, body: T) -> Settled<T> {
        Settled::Settled(Json(body), self.token.text(), self.told_replayed())
    }

    /// Returns what `Idempotency-Replayed` says; a first answer does not have it.
    pub fn told_replayed(&self) -> Option<bool> {
        self.replayed.then_some(true)
    }
}

impl From<Done> for Carried {
    fn from(done: Done) -> Self {
        // Of an entry, so that the answer is the same however often it is given.
        let at = done.entry.as_ref().map_or(done.at, |entry| entry.offset);
        Self { entry: done.entry, token: Token(at), replayed: done.replayed }
    }
}

impl App {
    /// Carries out what is asked. What is refused because its position is not open is recorded as
    /// any other refusal is.
    pub async fn carry_out(
        &self,
        order: Order,
        command: impl Fn(&Account) -> Result<AccountCommand, Unmade> + Send + Sync,
    ) -> Result<Carried, Problem> {
        let outcome = self.desk.submit(order.clone(), command).await;
        self.told(&order, outcome).await
    }

    /// Returns what to tell of an outcome.
    pub async fn told(
        &self,
        order: &Order,
        outcome: Result<Done, DeskError<Unmade>>,
    ) -> Result<Carried, Problem> {
        self.gate.counts.commanded(counted(&outcome));
        match outcome {
            Ok(done) => Ok(done.into()),
            Err(DeskError::Unquoted(Unmade::Refused(refusal))) => {
                let recorded = self.desk.refuse(order, &refusal).await;
                recorded.map_err(|error| of_log(&error))?;
                Err(Problem::refused(&refusal))
            }
            Err(error) => Err(problem(error)),
        }
    }

    /// Returns what a command would do; nothing happens, and a refusal is not recorded.
    pub async fn weigh(
        &self,
        account: &AccountId,
        command: impl Fn(&Account) -> Result<AccountCommand, Unmade> + Send + Sync,
    ) -> Result<Weighed, Problem> {
        self.desk.weigh(account, command).await.map_err(problem)
    }

    /// Returns what a market order would get now.
    pub fn fill(
        &self,
        instrument: &Instrument,
        side: Side,
        quantity: Quantity,
    ) -> Result<Fill, Problem> {
        let venue = self.known(instrument)?;
        let now = self.feeds.now(&venue, self.clock.as_ref());
        let fill = self.views.sight(instrument, now, |sight| sight.fill(side, quantity));
        let reason = match fill.unwrap_or(Err(NoFill::NoPrice)) {
            Ok(fill) => return Ok(fill),
            Err(NoFill::Inexact) => {
                return Err(Problem::new(Code::PositionLimit, NoFill::Inexact.to_string()));
            }
            Err(reason @ (NoFill::NoPrice | NoFill::Suspect { .. })) => reason,
        };
        let detail = self.with_reason(&venue, format!("{instrument} at {venue}: {reason}"));
        Err(Problem::new(Code::VenueUnreachable, detail))
    }
}

/// Returns an open position of an account.
pub fn open_position<'a>(account: &'a Account, id: &PositionId) -> Result<&'a Position, Unmade> {
    account.positions().get(id).ok_or_else(|| {
        Unmade::Refused(if account.is_closed(id) {
            Refusal::PositionClosed
        } else {
            Refusal::PositionUnknown
        })
    })
}

/// Returns where a market entry stands.
pub fn market_body(market: &MarketEntry) -> EntryBody {
    let MarketEntry { venue, instrument, version } = market.clone();
    EntryBody::of(&Stream::Market { venue, instrument }, Version(version))
}

/// Returns as what an outcome is counted.
const fn counted(outcome: &Result<Done, DeskError<Unmade>>) -> Outcome {
    match outcome {
        Ok(Done { replayed: false, .. }) => Outcome::Done,
        Ok(Done { replayed: true, .. }) => Outcome::Repeated,
        Err(
            DeskError::Refused(_) | DeskError::Unquoted(Unmade::Refused(_)) | DeskError::KeyReused,
        ) => Outcome::Refused,
        Err(DeskError::Unquoted(Unmade::Unpriced(_)) | DeskError::InProgress | DeskError::Busy) => {
            Outcome::Undecided
        }
        Err(DeskError::Log(LogError::OutcomeUnknown)) => Outcome::Unknown,
        Err(DeskError::Log(_)) => Outcome::Unavailable,
    }
}

fn problem(error: DeskError<Unmade>) -> Problem {
    match error {
        DeskError::Refused(refusal) | DeskError::Unquoted(Unmade::Refused(refusal)) => {
            Problem::refused(&refusal)
        }
        DeskError::Unquoted(Unmade::Unpriced(problem)) => problem,
        DeskError::KeyReused => {
            Problem::new(Code::KeyReused, "this Idempotency-Key was used for another command")
        }
        DeskError::InProgress => {
            let detail =
                "the same command is being carried out: repeat with the same Idempotency-Key";
            Problem::new(Code::KeyInProgress, detail)
        }
        DeskError::Busy => Problem::new(Code::Overloaded, "too many commands for this account"),
        DeskError::Log(error) => of_log(&error),
    }
}

pub fn of_log(error: &LogError) -> Problem {
    match error {
        LogError::OutcomeUnknown => Problem::new(Code::LogUnreachable, UNKNOWN),
        LogError::Unavailable(_) => Problem::new(Code::LogUnreachable, UNREACHABLE),
        LogError::KeyReused => problem(DeskError::KeyReused),
        LogError::TooLarge => Problem::new(Code::TooLarge, error.to_string()),
        LogError::Conflict { .. } | LogError::Damaged { .. } | LogError::Full => {
            Problem::new(Code::LogUnreachable, error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_happened_is_to_be_asked_with_the_same_key() {
        for (error, status, code) in [
            (DeskError::Log(LogError::OutcomeUnknown), 503, "SYS_001"),
            (DeskError::InProgress, 409, "IDEM_002"),
        ] {
            let problem = problem(error);
            assert_eq!((problem.status.as_u16(), problem.code.words().code), (status, code));
            assert!(problem.detail.ends_with("repeat with the same Idempotency-Key"));
        }
    }

    #[test]
    fn what_did_not_happen_is_told_by_its_cause() {
        for (error, status, code) in [
            (DeskError::KeyReused, 422, "IDEM_001"),
            (DeskError::Busy, 503, "SYS_003"),
            (DeskError::Log(LogError::Full), 503, "SYS_001"),
            (DeskError::Log(LogError::Unavailable("at 10.0.0.1".into())), 503, "SYS_001"),
            (DeskError::Refused(Refusal::NothingToReduce), 400, "PORT_003"),
            (DeskError::Refused(Refusal::AccountNotOpen), 404, "404"),
        ] {
            let problem = problem(error);
            assert_eq!((problem.status.as_u16(), problem.code.words().code), (status, code));
            assert!(!problem.detail.contains("10.0.0.1"), "{}", problem.detail);
        }
    }
}
