//! What is attached to a position while it is open: stops, and funding.

use rust_decimal::Decimal;

use crate::account::command::{Refusal, Terms};
use crate::account::event::{AccountEvent, Funded, Trigger};
use crate::account::position::PositionId;
use crate::account::{Account, Ruling};
use crate::amount::Price;
use crate::exact::{self, DIGITS, Rounding};
use crate::fill::MarketEntry;

impl Account {
    pub(super) fn set_stops(
        &self,
        id: &PositionId,
        stop_loss: Option<Price>,
        take_profit: Option<Price>,
        mark: Price,
        market: MarketEntry,
    ) -> Ruling {
        let position = self.open(id)?;
        if (position.stops.stop_loss, position.stops.take_profit) == (stop_loss, take_profit) {
            return Ok(Vec::new());
        }
        for (trigger, name, price) in [
            (Trigger::StopLoss, "stop_loss", stop_loss),
            (Trigger::TakeProfit, "take_profit", take_profit),
        ] {
            let Some(price) = price else { continue };
            if trigger.is_met(position.side, price.value(), mark.value()) {
                return Err(Refusal::StopWouldFire { trigger: name, price, mark });
            }
        }
        let position_id = position.id;
        Ok(vec![AccountEvent::StopsSet { position_id, stop_loss, take_profit, market }])
    }

    pub(super) fn apply_funding(
        &self,
        id: &PositionId,
        rate: Decimal,
        mark: Price,
        market: MarketEntry,
        terms: &Terms,
    ) -> Ruling {
        let position = self.open(id)?;
        if rate.is_zero() {
            return Ok(Vec::new());
        }
        let funded = || {
            let paid = exact::quotient(
                [mark.value(), position.quantity.value(), rate],
                [position.side.sign()],
                DIGITS,
                Rounding::HalfEven,
            )?;
            let received = exact::sub(Decimal::ZERO, paid)?;
            let margin = exact::add(position.margin, received)?;
            let maintenance = terms.tiers.liquidation(
                position.side,
                position.quantity.value(),
                position.cost,
                margin,
            )?;
            let position_id = position.id;
            let funded = Funded { position_id, rate, mark, received, market, maintenance };
            position.funded(&funded)?;
            self.money.funded(received)?;
            Some(Box::new(funded))
        };
        Ok(vec![AccountEvent::FundingApplied(funded().ok_or(Refusal::Inexact)?)])
    }
}
