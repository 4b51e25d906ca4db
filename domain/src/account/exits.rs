//! Getting out of positions: on request, and when a trade meets a condition.

use rust_decimal::Decimal;

use crate::account::command::{Refusal, Terms};
use crate::account::entries::fee;
use crate::account::event::{AccountEvent, Cause, Exited, Fee, Firing, Trigger};
use crate::account::exposure::Exposure;
use crate::account::position::{Position, PositionId};
use crate::account::{Account, Ruling};
use crate::amount::Quantity;
use crate::exact::{self, DIGITS, Rounding};
use crate::fill::Fill;
use crate::margin::Tiers;

impl Account {
    pub(super) fn reduce_position(&self, id: &PositionId, fill: Fill, terms: &Terms) -> Ruling {
        let position = self.open(id)?;
        self.exit(position, fill, Cause::Requested, terms)
    }

    pub(super) fn close_position(&self, id: &PositionId, fill: Fill, terms: &Terms) -> Ruling {
        match self.open(id) {
            Err(Refusal::PositionClosed) => Ok(Vec::new()),
            Err(refusal) => Err(refusal),
            Ok(position) => self.exit_whole(position, fill, Cause::Requested, terms),
        }
    }

    /// A condition that is gone by now fires nothing: whoever saw the trade saw an older position.
    pub(super) fn fire(
        &self,
        id: &PositionId,
        firing: Firing,
        fill: Fill,
        terms: &Terms,
    ) -> Ruling {
        match self.positions.get(id) {
            Some(position) if position.is_met_by(&firing) => {
                self.exit_whole(position, fill, Cause::Fired(firing), terms)
            }
            _ => Ok(Vec::new()),
        }
    }

    fn exit_whole(&self, position: &Position, fill: Fill, cause: Cause, terms: &Terms) -> Ruling {
        if fill.quantity < position.quantity {
            let (quantity, open) = (fill.quantity, position.quantity);
            return Err(Refusal::LessThanOpen { quantity, open });
        }
        self.exit(position, fill, cause, terms)
    }

    /// Closes what the fill says.
    pub(super) fn exit(
        &self,
        position: &Position,
        fill: Fill,
        cause: Cause,
        terms: &Terms,
    ) -> Ruling {
        if fill.quantity > position.quantity {
            let (quantity, open) = (fill.quantity, position.quantity);
            return Err(Refusal::MoreThanOpen { quantity, open });
        }
        if fill.quantity < position.quantity && fill.is_too_fine() {
            return Err(Refusal::Inexact);
        }
        let exited = fee(&fill, terms.fee_rate)
            .and_then(|fee| exited(position, fill, fee, cause, &terms.tiers))
            .ok_or(Refusal::Inexact)?;
        self.money.exited(&exited).ok_or(Refusal::Inexact)?;
        let market = (&position.instrument, position.side);
        let (quantity, cost) = (exited.fill.quantity.value(), exited.cost_released);
        let left = self.exposures.after(market, -Exposure { quantity, cost });
        left.ok_or(Refusal::Inexact)?;
        let is_liquidation =
            matches!(exited.cause, Cause::Fired(Firing { trigger: Trigger::Liquidation, .. }));
        let event = match exited.maintenance {
            Some(_) => AccountEvent::PositionReduced,
            None if is_liquidation => AccountEvent::PositionLiquidated,
            None => AccountEvent::PositionClosed,
        };
        Ok(vec![event(Box::new(exited))])
    }
}

/// Returns what getting out comes to; `None` where a figure could not be held exactly.
pub(super) fn exited(
    position: &Position,
    fill: Fill,
    fee: Fee,
    cause: Cause,
    tiers: &Tiers,
) -> Option<Exited> {
    let rest = exact::sub(position.quantity.value(), fill.quantity.value())?;
    // All that is left goes with the last part, so that no rounding stays behind.
    let share = |of: Decimal| {
        if rest.is_zero() { Some(of) } else { share(of, fill.quantity, position.quantity) }
    };
    let (cost_released, margin_released) = (share(position.cost)?, share(position.margin)?);
    let realized = exact::mul(position.side.sign(), exact::sub(fill.cost, cost_released)?)?;
    let net = exact::sub(exact::add(margin_released, realized)?, fee.amount)?;
    let credited = net.max(Decimal::ZERO);
    let shortfall = exact::sub(credited, net)?;
    let mut exited = Exited {
        position_id: position.id,
        cause,
        fill,
        cost_released,
        realized,
        margin_released,
        fee,
        credited,
        shortfall,
        maintenance: None,
    };
    if !rest.is_zero() {
        let cost = exact::sub(position.cost, cost_released)?;
        let margin = exact::sub(position.margin, margin_released)?;
        exited.maintenance = Some(tiers.liquidation(position.side, rest, cost, margin)?);
        position.reduced(&exited)?;
    }
    Some(exited)
}

fn share(of: Decimal, part: Quantity, whole: Quantity) -> Option<Decimal> {
    exact::quotient([of, part.value()], [whole.value()], DIGITS, Rounding::HalfEven)
}
