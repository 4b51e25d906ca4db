//! The course of a position from its opening to its end, told by its events alone.
//!
//! The archivist follows it without the account around it; what it files when the position ends is
//! what the view holds of it.

use domain::account::event::{AccountEvent, Exited, Opened};
use domain::account::position::{Leverage, PositionId, PositionSide};
use domain::exact;
use domain::fill::Fill;
use domain::instrument::Instrument;
use eventlog::entry::{Entry, Version};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Closed, ENTRIES_NAMED_MAX, Life};

/// A position that is open still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Course {
    pub(crate) instrument: Instrument,
    pub(crate) side: PositionSide,
    pub(crate) leverage: Leverage,
    pub(crate) life: Life,
    pub(crate) realized: Decimal,
    pub(crate) fees: Decimal,
    pub(crate) funding: Decimal,
}

/// What an event says of a position.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Turn<'a> {
    Begins(&'a Opened),
    GoesOn,
    Ends(&'a Exited, End),
}

/// How a position ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Liquidated,
}

impl<'a> Turn<'a> {
    /// Returns which position an event is of, and what it says of it; `None` when it is of none.
    pub(crate) fn of(event: &'a AccountEvent) -> Option<(PositionId, Self)> {
        match event {
            AccountEvent::PositionOpened(opened) => {
                Some((opened.position_id, Self::Begins(opened)))
            }
            AccountEvent::PositionIncreased(increased) => {
                Some((increased.position_id, Self::GoesOn))
            }
            AccountEvent::PositionReduced(exited) => Some((exited.position_id, Self::GoesOn)),
            AccountEvent::StopsSet { position_id, .. } => Some((*position_id, Self::GoesOn)),
            AccountEvent::FundingApplied(funded) => Some((funded.position_id, Self::GoesOn)),
            AccountEvent::PositionClosed(exited) => {
                Some((exited.position_id, Self::Ends(exited, End::Closed)))
            }
            AccountEvent::PositionLiquidated(exited) => {
                Some((exited.position_id, Self::Ends(exited, End::Liquidated)))
            }
            AccountEvent::AccountOpened { .. }
            | AccountEvent::Deposited { .. }
            | AccountEvent::Withdrawn { .. }
            | AccountEvent::LimitsSet { .. }
            | AccountEvent::ModeSet { .. }
            | AccountEvent::DayClosed(_) => None,
        }
    }
}

impl Course {
    pub(crate) fn begin(opened: &Opened, entry: &Entry) -> Self {
        Self {
            instrument: opened.instrument.clone(),
            side: opened.side,
            leverage: opened.leverage,
            life: Life::begin(&opened.fill, entry),
            realized: Decimal::ZERO,
            fees: opened.fee.amount,
            funding: Decimal::ZERO,
        }
    }

    /// Takes in an event with which the position goes on.
    pub(crate) fn take(&mut self, event: &AccountEvent, entry: &Entry) {
        self.life.take(event, entry);
        match event {
            AccountEvent::PositionIncreased(increased) => {
                self.fees = sum(self.fees, increased.fee.amount);
            }
            AccountEvent::PositionReduced(exited) => {
                self.realized = sum(self.realized, exited.realized);
                self.fees = sum(self.fees, exited.fee.amount);
            }
            AccountEvent::FundingApplied(funded) => {
                self.funding = sum(self.funding, funded.received);
            }
            _ => {}
        }
    }

    /// Returns what is told of the position once it has ended.
    pub(crate) fn end(mut self, exited: &Exited, end: End, entry: &Entry) -> Closed {
        self.life.name(entry);
        self.life.exit(exited);
        Closed {
            id: exited.position_id,
            instrument: self.instrument,
            side: self.side,
            leverage: self.leverage,
            life: self.life,
            closed_at: entry.recorded_at,
            liquidated: end == End::Liquidated,
            cause: exited.cause.clone(),
            realized: sum(self.realized, exited.realized),
            fees: sum(self.fees, exited.fee.amount),
            funding: self.funding,
        }
    }
}

impl Life {
    pub(super) fn begin(fill: &Fill, entry: &Entry) -> Self {
        Self {
            opened_at: entry.recorded_at,
            entries: vec![entry.version],
            entered_quantity: fill.quantity.value(),
            entered_cost: fill.cost,
            exited_quantity: Decimal::ZERO,
            exited_cost: Decimal::ZERO,
            shortfall: Decimal::ZERO,
        }
    }

    /// Takes in an event with which the position goes on.
    pub(super) fn take(&mut self, event: &AccountEvent, entry: &Entry) {
        self.name(entry);
        match event {
            AccountEvent::PositionIncreased(increased) => {
                let Fill { quantity, cost, .. } = &increased.fill;
                self.entered_quantity = sum(self.entered_quantity, quantity.value());
                self.entered_cost = sum(self.entered_cost, *cost);
            }
            AccountEvent::PositionReduced(exited) => self.exit(exited),
            _ => {}
        }
    }

    fn exit(&mut self, exited: &Exited) {
        let Fill { quantity, cost, .. } = &exited.fill;
        self.exited_quantity = sum(self.exited_quantity, quantity.value());
        self.exited_cost = sum(self.exited_cost, *cost);
        self.shortfall = sum(self.shortfall, exited.shortfall);
    }

    fn name(&mut self, entry: &Entry) {
        let named: Option<&Version> = self.entries.last();
        if named == Some(&entry.version) {
            return;
        }
        if self.entries.len() == ENTRIES_NAMED_MAX {
            self.entries.remove(0);
        }
        self.entries.push(entry.version);
    }
}

/// A sum of more digits than are held exactly stays at the greatest value: a fold cannot fail, and
/// it rounds nothing.
fn sum(left: Decimal, right: Decimal) -> Decimal {
    exact::add(left, right).unwrap_or(Decimal::MAX)
}
