//! How a condition that is met closes its position: through the desk, under a name that every
//! guardian gives it alike.

use domain::account::Account;
use domain::account::command::AccountCommand;
use domain::account::event::{Firing, Trigger};
use domain::account::position::{Position, PositionId};
use domain::fill::{MarketEntry, NoFill, Sight};
use domain::name::AccountId;
use domain::tick::Tick;
use eventlog::entry::{Actor, Causation, Version};
use eventlog::log::LogError;
use eventlog::stream::Stream;
use serde::Serialize;
use uuid::Uuid;

use crate::desk::{Desk, DeskError, Order};
use crate::guardian::conditions::{Conditions, Name};
use crate::pen::{Patience, name};
use crate::terms::TradingTerms;

/// Firings are named in a namespace of their own: no client can take their names.
const FIRINGS: Uuid = Uuid::from_u128(0x8d27_4c1b_60f3_5b52_9a0e_51c6_e7d8_3b94);

/// What a firing takes.
#[derive(Clone, Copy)]
pub(super) struct Met<'a> {
    pub(super) tick: &'a Tick,
    /// The market at that trade.
    pub(super) sight: Sight<'a>,
}

/// What became of a firing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fired {
    /// The position is closed, by this firing or by another.
    Closed,
    /// The account will not have it, and is not asked again.
    Refused,
    /// It cannot be filled at this trade, for this reason.
    NotFilled(String),
    /// The position has changed since the ledger was read, or is closed. What changed is to be looked
    /// at first: it may have been met by an earlier trade.
    Behind,
}

/// Why a command could not be made.
#[derive(Debug)]
enum NotMade {
    Behind,
    NoFill(NoFill),
}

/// The command in its canonical form. Guardians that saw the same write the same.
#[derive(Serialize)]
struct Command<'a> {
    #[serde(rename = "command")]
    kind: &'static str,
    account: &'a AccountId,
    position_id: PositionId,
    trigger: Trigger,
    set_by: u64,
    market: Stream,
    version: u64,
    trade_id: u64,
}

/// Fires a condition at a trade that meets it, and waits for as long as the desk cannot take it: a
/// firing is never skipped.
pub(super) async fn fire(
    desk: &Desk,
    terms: &TradingTerms,
    conditions: &Conditions,
    condition: &Name,
    Met { tick, sight }: Met<'_>,
) -> Result<Fired, LogError> {
    let Name { account, position_id, .. } = condition;
    let order = order(condition, tick, sight.market);
    let known = conditions.changes(account, *position_id);
    let command = |account: &Account| make(account, condition, known, terms, tick, sight);
    let mut patience = Patience::default();
    loop {
        let error = match desk.submit(order.clone(), command).await {
            Ok(done) if done.entry.is_some() => return Ok(Fired::Closed),
            // The account holds the condition, and does not think that it is met: it never will.
            Ok(_) => {
                tracing::error!(?condition, trade_id = tick.trade_id, "the account fires nothing");
                return Ok(Fired::Refused);
            }
            Err(DeskError::Unquoted(NotMade::Behind)) => return Ok(Fired::Behind),
            Err(DeskError::Unquoted(NotMade::NoFill(error))) => {
                return Ok(Fired::NotFilled(error.to_string()));
            }
            Err(DeskError::Log(error @ LogError::TooLarge)) => {
                return Ok(Fired::NotFilled(error.to_string()));
            }
            Err(DeskError::KeyReused | DeskError::Log(LogError::KeyReused)) => {
                tracing::error!(?condition, trade_id = tick.trade_id, "another trade fired it");
                return Ok(Fired::Closed);
            }
            Err(DeskError::Refused(error)) => {
                tracing::error!(?condition, trade_id = tick.trade_id, %error, "it is refused");
                return Ok(Fired::Refused);
            }
            Err(DeskError::InProgress | DeskError::Busy) => {
                LogError::Unavailable("the desk is busy".to_owned())
            }
            Err(DeskError::Log(error)) => error,
        };
        patience.wait_out(&Stream::Account(account.clone()), error).await?;
    }
}

/// Returns what closes the position, whole, as it stands in the account.
fn make(
    account: &Account,
    condition: &Name,
    known: Option<u64>,
    terms: &TradingTerms,
    tick: &Tick,
    sight: Sight<'_>,
) -> Result<AccountCommand, NotMade> {
    let firing = Firing {
        trigger: condition.trigger,
        set_by: condition.set_by,
        trade_id: tick.trade_id,
        price: tick.price,
    };
    let position = account.positions().get(&condition.position_id).ok_or(NotMade::Behind)?;
    if Some(position.changes) != known
        && !(position.is_met_by(&firing) && is_first(position, known, sight.market))
    {
        return Err(NotMade::Behind);
    }
    Ok(AccountCommand::Fire {
        position_id: condition.position_id,
        firing,
        fill: sight.fill(position.side.exit(), position.quantity).map_err(NotMade::NoFill)?,
        terms: terms.of(&position.instrument),
    })
}

/// Whether what has changed since looks only at what comes after this entry, so that no earlier trade
/// can have met it. Else a position that is changed without end would never be closed, and all others
/// would wait behind it.
fn is_first(position: &Position, known: Option<u64>, market: &MarketEntry) -> bool {
    let Some(known) = known else { return false };
    let is_later = |set_by: u64, after: &MarketEntry| {
        let is_same = (&after.venue, &after.instrument) == (&market.venue, &market.instrument);
        set_by <= known || (is_same && after.version >= market.version)
    };
    let Position { stops, margin_set_by, .. } = position;
    position.changes > known
        && is_later(*margin_set_by, &position.market)
        && stops.market.as_ref().is_none_or(|after| is_later(stops.set_by, after))
}

fn order(condition: &Name, tick: &Tick, market: &MarketEntry) -> Order {
    let Name { trigger, account, position_id, set_by } = condition;
    let MarketEntry { venue, instrument, version } = market.clone();
    let stream = Stream::Market { venue, instrument };
    let command = Command {
        kind: "fire",
        account,
        position_id: *position_id,
        trigger: *trigger,
        set_by: *set_by,
        market: stream.clone(),
        version,
        trade_id: tick.trade_id,
    };
    Order {
        account: account.clone(),
        append_id: append_id(condition),
        command: serde_json::to_string(&command).expect("names and numbers can be written"),
        actor: Actor {
            principal: "guardian".to_owned(),
            role: "guardian".to_owned(),
            via: "guardian".to_owned(),
        },
        correlation_id: None,
        causation: Some(Causation { stream, version: Version(version) }),
    }
}

/// Returns the id under which a condition fires, whichever trade meets it.
pub(super) fn append_id(condition: &Name) -> Uuid {
    let Name { trigger, account, position_id, set_by } = condition;
    let condition = serde_json::to_vec(&(position_id, trigger, set_by));
    let condition = condition.expect("names and numbers can be written");
    Uuid::new_v5(&FIRINGS, &name(&Stream::Account(account.clone()), "fire", &condition))
}
