//! The rule of an account: its money, its positions, and what may be done with them.

pub mod limits;

pub mod position;

pub mod event;

pub mod command;

pub mod money;

mod exposure;

mod funds;

mod entries;

mod exits;

mod conditions;

mod answer;

use std::collections::{BTreeMap, VecDeque};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::account::command::{AccountCommand, Refusal};
use crate::account::event::AccountEvent;
use crate::account::exposure::{Exposure, Exposures};
use crate::account::limits::Limits;
use crate::account::money::Money;
use crate::account::position::{Mode, Position, PositionId};
use crate::decider::Decider;
use crate::instrument::Currency;
use crate::time::Timestamp;

/// Positions that were closed last and are still known by name: to close one again is no error. A
/// name before them is unknown here; the archive knows it.
pub const CLOSED_KNOWN_MAX: usize = 10_000;

/// What may lie in one account, free and as margin. A deposit beyond is refused: up to several times
/// this much, figures with 18 digits after the point are exact.
pub const BALANCE_MAX: i64 = 10_000_000_000;

/// What a command leads to.
type Ruling = Result<Vec<AccountEvent>, Refusal>;

/// One account. Before `AccountOpened` it is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    terms: Option<Standing>,
    money: Money,
    positions: BTreeMap<PositionId, Position>,
    exposures: Exposures,
    /// The names of closed positions, oldest first.
    closed: VecDeque<PositionId>,
    /// The last day that was closed.
    day: Option<Timestamp>,
}

/// What was agreed when the account was opened, and changed since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    pub currency: Currency,
    pub mode: Mode,
    pub limits: Limits,
}

impl Account {
    /// Raised when the shape or the meaning of what is serialised changes.
    pub const REVISION: u32 = 1;

    /// Returns what was agreed; `None` when the account is not open.
    pub const fn standing(&self) -> Option<&Standing> {
        self.terms.as_ref()
    }

    pub const fn money(&self) -> &Money {
        &self.money
    }

    pub const fn free(&self) -> Decimal {
        self.money.free
    }

    /// Returns the margin of all open positions.
    pub const fn margin(&self) -> Decimal {
        self.money.margin
    }

    /// Returns the open positions, in order of their names.
    pub const fn positions(&self) -> &BTreeMap<PositionId, Position> {
        &self.positions
    }

    /// Whether a position of this name was closed, as far back as that is known.
    pub fn is_closed(&self, id: &PositionId) -> bool {
        self.closed.contains(id)
    }

    /// Returns the last day that was closed.
    pub const fn day(&self) -> Option<Timestamp> {
        self.day
    }

    fn open(&self, id: &PositionId) -> Result<&Position, Refusal> {
        match self.positions.get(id) {
            Some(position) => Ok(position),
            None if self.is_closed(id) => Err(Refusal::PositionClosed),
            None => Err(Refusal::PositionUnknown),
        }
    }
}

impl Decider for Account {
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Refusal = Refusal;

    fn decide(&self, command: AccountCommand) -> Ruling {
        use AccountCommand as Command;
        let standing = self.terms.as_ref().ok_or(Refusal::AccountNotOpen);
        match command {
            Command::OpenAccount { currency, mode, limits } => {
                self.open_account(currency, mode, limits)
            }
            Command::Deposit { amount } => standing.and_then(|_| self.deposit(amount)),
            Command::Withdraw { amount } => standing.and_then(|_| self.withdraw(amount)),
            Command::SetLimits { limits } => {
                standing.and_then(|standing| funds::set_limits(standing, limits))
            }
            Command::SetMode { mode } => {
                standing.and_then(|standing| self.set_mode(standing, mode))
            }
            Command::OpenPosition(order) => {
                standing.and_then(|standing| self.open_position(standing, order))
            }
            Command::ReducePosition { position_id, fill, terms } => {
                standing.and_then(|_| self.reduce_position(&position_id, fill, &terms))
            }
            Command::ClosePosition { position_id, fill, terms } => {
                standing.and_then(|_| self.close_position(&position_id, fill, &terms))
            }
            Command::SetStops { position_id, stop_loss, take_profit, mark, market } => standing
                .and_then(|_| self.set_stops(&position_id, stop_loss, take_profit, mark, market)),
            Command::ApplyFunding { position_id, rate, mark, market, terms } => {
                standing.and_then(|_| self.apply_funding(&position_id, rate, mark, market, &terms))
            }
            Command::Fire { position_id, firing, fill, terms } => {
                standing.and_then(|_| self.fire(&position_id, firing, fill, &terms))
            }
            Command::CloseDay { day, marks } => standing.and_then(|_| self.close_day(day, marks)),
        }
    }

    fn evolve(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::AccountOpened { currency, mode, limits } => {
                let (currency, limits) = (currency.clone(), limits.clone());
                self.terms = Some(Standing { currency, mode: *mode, limits });
            }
            AccountEvent::LimitsSet { limits } => self.agreed().limits = limits.clone(),
            AccountEvent::ModeSet { mode } => self.agreed().mode = *mode,
            AccountEvent::Deposited { amount } => self.money = ruled(self.money.deposited(*amount)),
            AccountEvent::Withdrawn { amount } => self.money = ruled(self.money.withdrawn(*amount)),
            AccountEvent::PositionOpened(opened) => {
                self.money = ruled(self.money.entered(opened.margin, opened.fee.amount));
                let market = (&opened.instrument, opened.side);
                let more = Exposure::of_fill(&opened.fill);
                ruled(self.exposures.add(market, more));
                self.positions.insert(opened.position_id, Position::opened(opened));
            }
            AccountEvent::PositionIncreased(increased) => {
                self.money = ruled(self.money.entered(increased.margin, increased.fee.amount));
                let position = self.held(&increased.position_id);
                *position = ruled(position.increased(increased));
                let market = (&position.instrument.clone(), position.side);
                ruled(self.exposures.add(market, Exposure::of_fill(&increased.fill)));
            }
            AccountEvent::PositionReduced(exited) => {
                self.money = ruled(self.money.exited(exited));
                let position = self.held(&exited.position_id);
                *position = ruled(position.reduced(exited));
                let market = (&position.instrument.clone(), position.side);
                let (quantity, cost) = (exited.fill.quantity.value(), exited.cost_released);
                ruled(self.exposures.remove(market, Exposure { quantity, cost }));
            }
            AccountEvent::PositionClosed(exited) | AccountEvent::PositionLiquidated(exited) => {
                self.money = ruled(self.money.exited(exited));
                let position = self.positions.remove(&exited.position_id);
                let position = position.expect("only a position that is open is ruled on");
                let market = (&position.instrument, position.side);
                ruled(self.exposures.remove(market, Exposure::of_position(&position)));
                self.closed.push_back(exited.position_id);
                if self.closed.len() > CLOSED_KNOWN_MAX {
                    self.closed.pop_front();
                }
            }
            AccountEvent::StopsSet { position_id, stop_loss, take_profit, market } => {
                self.held(position_id).stop_at(*stop_loss, *take_profit, market);
            }
            AccountEvent::FundingApplied(funded) => {
                self.money = ruled(self.money.funded(funded.received));
                let position = self.held(&funded.position_id);
                *position = ruled(position.funded(funded));
            }
            AccountEvent::DayClosed(closed) => self.day = Some(closed.day),
        }
    }
}

impl Account {
    fn agreed(&mut self) -> &mut Standing {
        self.terms.as_mut().expect("only an account that is open is ruled on")
    }

    fn held(&mut self, id: &PositionId) -> &mut Position {
        self.positions.get_mut(id).expect("only a position that is open is ruled on")
    }
}

/// A ruling has looked at each figure before it was recorded.
fn ruled<T>(after: Option<T>) -> T {
    after.expect("nothing is recorded that takes a figure past what is held exactly")
}

#[cfg(test)]
mod tests;
