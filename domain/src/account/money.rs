//! The money of an account, and how each thing that happens moves it.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::account::event::Exited;
use crate::amount::Amount;
use crate::exact;

/// What an account holds beside its positions, and what went in and out over its life.
///
/// Exact at any time: deposits − withdrawals + realized − fees + funding + shortfall = free + margin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// What can be withdrawn or put into positions.
    pub free: Decimal,
    /// What stands for open positions.
    pub margin: Decimal,
    pub deposits: Decimal,
    pub withdrawals: Decimal,
    /// Gross, of all positions, open and closed.
    pub realized: Decimal,
    pub fees: Decimal,
    /// Received; negative when more was paid.
    pub funding: Decimal,
    /// What the house has lost to it.
    pub shortfall: Decimal,
}

/// Each returns the money after it, and `None` where a figure could not be held exactly.
impl Money {
    pub(super) fn deposited(self, amount: Amount) -> Option<Self> {
        let free = exact::add(self.free, amount.value())?;
        Some(Self { free, deposits: exact::add(self.deposits, amount.value())?, ..self })
    }

    pub(super) fn withdrawn(self, amount: Amount) -> Option<Self> {
        let free = exact::sub(self.free, amount.value())?;
        Some(Self { free, withdrawals: exact::add(self.withdrawals, amount.value())?, ..self })
    }

    /// Margin went into a position, and the fee went away.
    pub(super) fn entered(self, margin: Decimal, fee: Decimal) -> Option<Self> {
        Some(Self {
            free: exact::sub(exact::sub(self.free, margin)?, fee)?,
            margin: exact::add(self.margin, margin)?,
            fees: exact::add(self.fees, fee)?,
            ..self
        })
    }

    pub(super) fn exited(self, exited: &Exited) -> Option<Self> {
        Some(Self {
            free: exact::add(self.free, exited.credited)?,
            margin: exact::sub(self.margin, exited.margin_released)?,
            realized: exact::add(self.realized, exited.realized)?,
            fees: exact::add(self.fees, exited.fee.amount)?,
            shortfall: exact::add(self.shortfall, exited.shortfall)?,
            ..self
        })
    }

    pub(super) fn funded(self, received: Decimal) -> Option<Self> {
        let margin = exact::add(self.margin, received)?;
        Some(Self { margin, funding: exact::add(self.funding, received)?, ..self })
    }
}
