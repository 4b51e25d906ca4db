//! What positions and accounts are worth at the last prices.
//!
//! The formulas are those of isolated margin, linear and settled in quote: unrealized =
//! side · (quantity · mark − cost), equity = free + Σ margin + Σ unrealized, margin ratio =
//! maintenance ÷ (margin + unrealized).

use domain::account::Account;
use domain::account::position::{Position, PositionSide};
use domain::amount::Price;
use domain::exact::{self, Rounding};
use domain::instrument::Instrument;
use domain::margin::Tiers;
use rust_decimal::Decimal;

/// Digits after the point of a margin ratio.
const RATIO_DIGITS: u32 = 6;

/// The greatest margin ratio that is told. One past it is told as this one, and so is that of a
/// margin of which nothing is left.
pub const MARGIN_RATIO_MAX: Decimal = Decimal::ONE_THOUSAND;

/// A position at a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worth {
    pub mark: Price,
    /// quantity · mark.
    pub notional: Decimal,
    pub unrealized: Decimal,
    pub maintenance_margin: Decimal,
    /// 1 or more when it is to be liquidated; half to even at 6 digits, at most
    /// [`MARGIN_RATIO_MAX`].
    pub margin_ratio: Decimal,
}

/// An account at the marks of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountWorth {
    /// Σ margin of the open positions.
    pub margin: Decimal,
    pub unrealized: Decimal,
    pub maintenance_margin: Decimal,
    /// free + margin.
    pub balance: Decimal,
    /// balance + unrealized.
    pub equity: Decimal,
    /// Of all positions together; zero when none needs any maintenance margin.
    pub margin_ratio: Decimal,
    pub notional: Decimal,
}

/// Returns what a position is worth at a mark; `None` where a figure cannot be held exactly.
pub fn of_position(position: &Position, mark: Price, tiers: &Tiers) -> Option<Worth> {
    let notional = exact::mul(position.quantity.value(), mark.value())?;
    let unrealized = match position.side {
        PositionSide::Long => exact::sub(notional, position.cost)?,
        PositionSide::Short => exact::sub(position.cost, notional)?,
    };
    let maintenance_margin = tiers.maintenance_margin(notional)?;
    let margin_ratio = ratio(maintenance_margin, exact::add(position.margin, unrealized)?);
    Some(Worth { mark, notional, unrealized, maintenance_margin, margin_ratio })
}

/// Returns what an account is worth; `None` where a mark is missing or a figure cannot be held
/// exactly.
pub fn of_account<'a>(
    account: &Account,
    mark: impl Fn(&Instrument) -> Option<Price>,
    tiers: impl Fn(&Instrument) -> &'a Tiers,
) -> Option<AccountWorth> {
    let [mut margin, mut unrealized, mut maintenance_margin, mut notional] = [Decimal::ZERO; 4];
    for position in account.positions().values() {
        let mark = mark(&position.instrument)?;
        let worth = of_position(position, mark, tiers(&position.instrument))?;
        margin = exact::add(margin, position.margin)?;
        unrealized = exact::add(unrealized, worth.unrealized)?;
        maintenance_margin = exact::add(maintenance_margin, worth.maintenance_margin)?;
        notional = exact::add(notional, worth.notional)?;
    }
    let balance = exact::add(account.free(), margin)?;
    Some(AccountWorth {
        margin,
        unrealized,
        maintenance_margin,
        balance,
        equity: exact::add(balance, unrealized)?,
        margin_ratio: ratio(maintenance_margin, exact::add(margin, unrealized)?),
        notional,
    })
}

/// Returns how much of what is left is needed.
fn ratio(needed: Decimal, left: Decimal) -> Decimal {
    if needed.is_zero() && !left.is_sign_negative() {
        return Decimal::ZERO;
    }
    if left <= Decimal::ZERO {
        return MARGIN_RATIO_MAX;
    }
    exact::quotient([needed], [left], RATIO_DIGITS, Rounding::HalfEven)
        .map_or(MARGIN_RATIO_MAX, |ratio| ratio.min(MARGIN_RATIO_MAX))
}

#[cfg(test)]
mod tests;
