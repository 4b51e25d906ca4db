//! States what each account is worth when a UTC day is over.
//!
//! What is due, the view of holdings says. Each day of an account is named by the two, so any number
//! of nodes close it once, and a node that was down closes the days that it missed, in order.

use std::collections::BTreeMap;

use commands::clock::Clock;
use commands::desk::{Desk, DeskError, Order, operator_append_id};
use domain::account::Account;
use domain::account::command::{AccountCommand, Refusal};
use domain::candle::CLOSE_PATIENCE;
use domain::decider::Decider;
use domain::instrument::Instrument;
use domain::name::AccountId;
use domain::time::{DAY, Timestamp};
use eventlog::entry::Actor;
use eventlog::log::{LogError, ReadLog};
use projections::holdings::Held;
use projections::views::Views;

use crate::turn::{Left, shows_ledger};

/// Days that are closed in one turn, of all accounts together. When more are due, the next turn comes
/// at once.
const TURN_DAYS_MAX: usize = 64;

/// Under this name it asks. No principal has a slash in his.
const NAME: &str = "jobs/close_days";

/// Why a day cannot be closed yet.
#[derive(Debug, thiserror::Error)]
enum NotYet {
    #[error("{0} has no price")]
    NoPrice(Instrument),
    /// Asked beforehand, so that a rule that says no to the house is no refusal to an account.
    #[error(transparent)]
    Refused(Refusal),
}

/// Closes the days that are over, of every account that has ever had money. What trades later than a
/// few seconds after the end of its day is too late for it.
pub async fn turn(
    views: &Views,
    ledger: &dyn ReadLog,
    desk: &Desk,
    clock: &dyn Clock,
) -> Result<Left, LogError> {
    if !shows_ledger(views, ledger).await? {
        return Ok(Left::All);
    }
    let today = clock.now().plus(-CLOSE_PATIENCE).floor(DAY);
    let (mut closed, mut left) = (0, Left::Nothing);
    for (account, first) in due(views, today) {
        let days = std::iter::successors(Some(first), |day| Some(day.plus(DAY)));
        for day in days.take_while(|day| *day < today) {
            if closed == TURN_DAYS_MAX {
                return Ok(Left::More);
            }
            match close(&account, day, views, desk).await {
                Ok(()) => closed += 1,
                Err(DeskError::Log(error)) => return wait_for_ledger(error),
                Err(error) => {
                    tracing::warn!(%account, %day, ?error, "the day is not closed yet");
                    left = Left::All;
                    // A later day is not closed before an earlier one. Other accounts go on.
                    break;
                }
            }
        }
    }
    Ok(left)
}

fn wait_for_ledger(error: LogError) -> Result<Left, LogError> {
    match error {
        LogError::Unavailable(_) | LogError::OutcomeUnknown | LogError::Full => {
            tracing::warn!(%error, "the jobs wait for the ledger");
            Ok(Left::All)
        }
        LogError::Conflict { .. }
        | LogError::KeyReused
        | LogError::Damaged { .. }
        | LogError::TooLarge => Err(error),
    }
}

/// Returns each account that has days to close, with the first of them.
fn due(views: &Views, today: Timestamp) -> Vec<(AccountId, Timestamp)> {
    let holdings = views.holdings();
    let accounts = holdings.iter().filter(|(_, held)| !held.account.money().deposits.is_zero());
    let due = accounts.map(|(account, held)| (account.clone(), first_open_day(held)));
    due.filter(|(_, first)| *first < today).collect()
}

fn first_open_day(held: &Held) -> Timestamp {
    held.account.day().map_or_else(|| held.opened_at.floor(DAY), |day| day.plus(DAY))
}

async fn close(
    account: &AccountId,
    day: Timestamp,
    views: &Views,
    desk: &Desk,
) -> Result<(), DeskError<NotYet>> {
    let key = day.to_shortest();
    let order = Order {
        account: account.clone(),
        append_id: operator_append_id(NAME, account, &key),
        command: format!(r#"{{"type":"close_day","day":"{key}"}}"#),
        actor: Actor {
            principal: "days".to_owned(),
            role: "job".to_owned(),
            via: "jobs".to_owned(),
        },
        correlation_id: None,
        causation: None,
    };
    desk.submit(order, |account| command(account, day, views)).await.map(drop)
}

/// Returns what closes the day of an account as it stands.
fn command(account: &Account, day: Timestamp, views: &Views) -> Result<AccountCommand, NotYet> {
    let mut marks = BTreeMap::new();
    for position in account.positions().values() {
        let instrument = &position.instrument;
        let mark = views.mark_of_day(&position.market.venue, instrument, day);
        let mark = mark.ok_or_else(|| NotYet::NoPrice(instrument.clone()))?;
        marks.insert(instrument.clone(), mark);
    }
    let command = AccountCommand::CloseDay { day, marks };
    account.decide(command.clone()).map_err(NotYet::Refused)?;
    Ok(command)
}

#[cfg(test)]
mod tests;
