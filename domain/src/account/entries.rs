//! Getting into positions: orders in both modes, what they are limited by, and what they cost.

use rust_decimal::Decimal;

use crate::account::command::{OpenPosition, OrderCost, Refusal};
use crate::account::event::{AccountEvent, Cause, Fee, Increased, Maintenance, Opened};
use crate::account::exits::exited;
use crate::account::exposure::Exposure;
use crate::account::money::Money;
use crate::account::position::{Leverage, Mode, Position, PositionSide};
use crate::account::{Account, Ruling, Standing};
use crate::exact::{self, DIGITS, Rounding};
use crate::fill::Fill;
use crate::margin::Tier;

impl Account {
    pub(super) fn open_position(&self, standing: &Standing, order: OpenPosition) -> Ruling {
        if self.positions.contains_key(&order.position_id) || self.is_closed(&order.position_id) {
            return Ok(Vec::new());
        }
        if order.instrument.quote() != standing.currency.as_str() {
            let currency = standing.currency.clone();
            return Err(Refusal::OtherCurrency { instrument: order.instrument, currency });
        }
        match standing.mode {
            Mode::Hedging if order.reduce_only => Err(Refusal::NotNetting),
            Mode::Hedging => self.as_it_stands(standing).open(order),
            Mode::Netting => self.net(standing, order),
        }
    }

    fn net(&self, standing: &Standing, order: OpenPosition) -> Ruling {
        let held = self.positions.values().find(|held| held.instrument == order.instrument);
        if order.reduce_only && held.is_none_or(|held| held.side == order.side) {
            return Err(Refusal::NothingToReduce);
        }
        let Some(held) = held else {
            return self.as_it_stands(standing).open(order);
        };
        if held.side == order.side {
            return self.as_it_stands(standing).increase(held, order);
        }
        if order.fill.quantity <= held.quantity {
            return self.exit(held, order.fill, Cause::Netted, &order.terms);
        }
        if order.reduce_only {
            let (quantity, open) = (order.fill.quantity, held.quantity);
            return Err(Refusal::MoreThanOpen { quantity, open });
        }
        self.flip(standing, held, order)
    }

    /// Closes what is held, and opens the rest on the other side, or does neither.
    fn flip(&self, standing: &Standing, held: &Position, order: OpenPosition) -> Ruling {
        let fee = fee(&order.fill, order.terms.fee_rate).ok_or(Refusal::Inexact)?;
        let whole = order.fill.quantity;
        let (closing, opening) = order.fill.split(held.quantity).ok_or(Refusal::Inexact)?;
        let (closing_fee, opening_fee) =
            fee.split(held.quantity.value(), whole.value()).ok_or(Refusal::Inexact)?;
        let closed = exited(held, closing, closing_fee, Cause::Netted, &order.terms.tiers)
            .ok_or(Refusal::Inexact)?;
        let after = Before {
            standing,
            money: self.money.exited(&closed).ok_or(Refusal::Inexact)?,
            account: self,
            closing: Some(held),
        };
        let order = OpenPosition { fill: opening, ..order };
        let opened = after.opened(order, opening_fee)?;
        Ok(vec![
            AccountEvent::PositionClosed(closed.into()),
            AccountEvent::PositionOpened(opened.into()),
        ])
    }

    fn as_it_stands<'a>(&'a self, standing: &'a Standing) -> Before<'a> {
        Before { standing, money: self.money, account: self, closing: None }
    }
}

/// The account as an order finds it that takes more: after what the same order has closed.
struct Before<'a> {
    standing: &'a Standing,
    money: Money,
    account: &'a Account,
    /// What the order closes: it counts no more.
    closing: Option<&'a Position>,
}

/// What getting in takes.
struct Entering {
    margin: Decimal,
    fee: Fee,
    maintenance: Maintenance,
}

impl Before<'_> {
    fn open(&self, order: OpenPosition) -> Ruling {
        let fee = fee(&order.fill, order.terms.fee_rate).ok_or(Refusal::Inexact)?;
        Ok(vec![AccountEvent::PositionOpened(self.opened(order, fee)?.into())])
    }

    fn opened(&self, order: OpenPosition, fee: Fee) -> Result<Opened, Refusal> {
        let standing = self.standing;
        let open = self.account.positions.len() - usize::from(self.closing.is_some());
        let count = u32::try_from(open).unwrap_or(u32::MAX).saturating_add(1);
        if count > standing.limits.positions_max {
            let positions_max = standing.limits.positions_max;
            return Err(Refusal::TooManyPositions { positions: count, positions_max });
        }
        let entering = self.enter(None, &order, order.leverage, fee)?;
        Ok(Opened {
            position_id: order.position_id,
            instrument: order.instrument,
            side: order.side,
            leverage: order.leverage,
            fill: order.fill,
            margin: entering.margin,
            fee: entering.fee,
            maintenance: entering.maintenance,
        })
    }

    /// What is held keeps its leverage, whatever the order says.
    fn increase(&self, held: &Position, order: OpenPosition) -> Ruling {
        let fee = fee(&order.fill, order.terms.fee_rate).ok_or(Refusal::Inexact)?;
        let entering = self.enter(Some(held), &order, held.leverage, fee)?;
        let increased = Increased {
            position_id: held.id,
            fill: order.fill,
            margin: entering.margin,
            fee: entering.fee,
            maintenance: entering.maintenance,
        };
        held.increased(&increased).ok_or(Refusal::Inexact)?;
        Ok(vec![AccountEvent::PositionIncreased(increased.into())])
    }

    fn enter(
        &self,
        held: Option<&Position>,
        order: &OpenPosition,
        leverage: Leverage,
        fee: Fee,
    ) -> Result<Entering, Refusal> {
        if order.fill.is_too_fine() {
            return Err(Refusal::Inexact);
        }
        self.check_limits(order)?;
        let tier = self.check_leverage(order, leverage)?;
        let (margin, maintenance) = position_after(held, order, leverage)?;
        let open_loss = open_loss(order.side, &order.fill).ok_or(Refusal::Inexact)?;
        let cost =
            exact::sum([margin, open_loss, fee.amount].into_iter()).ok_or(Refusal::Inexact)?;
        if cost > self.money.free {
            let mut order_cost = OrderCost {
                cost,
                free: self.money.free,
                margin,
                open_loss,
                fee: fee.amount,
                tier: tier.number,
                quantity_affordable: Decimal::ZERO,
                liquidation_price: maintenance.liquidation_price,
            };
            let affordable = affordable(&order.fill, leverage, fee.rate, &order_cost);
            let affordable =
                affordable.and_then(|quantity| exact::add(quantity, self.closed().quantity));
            order_cost.quantity_affordable = affordable.ok_or(Refusal::Inexact)?;
            return Err(Refusal::InsufficientBalance(Box::new(order_cost)));
        }
        self.money.entered(margin, fee.amount).ok_or(Refusal::Inexact)?;
        Ok(Entering { margin, fee, maintenance })
    }

    /// Returns what the order closes.
    fn closed(&self) -> Exposure {
        self.closing.map(Exposure::of_position).unwrap_or_default()
    }

    fn check_limits(&self, order: &OpenPosition) -> Result<(), Refusal> {
        let limits = &self.standing.limits;
        let (held, closed) = (&self.account.exposures, self.closed());
        let notional = exact::sum([held.cost, -closed.cost, order.fill.cost].into_iter());
        let notional = notional.ok_or(Refusal::Inexact)?;
        if notional > limits.notional_max.value() {
            let notional_max = limits.notional_max.value();
            return Err(Refusal::NotionalLimit { notional, notional_max });
        }
        let [long, short] = [PositionSide::Long, PositionSide::Short]
            .map(|side| held.of(&order.instrument, side).quantity);
        let ordered = order.fill.quantity.value();
        let quantity = exact::sum([long, short, -closed.quantity, ordered].into_iter());
        let quantity = quantity.ok_or(Refusal::Inexact)?;
        let Some(quantity_max) = limits.quantity_max.get(&order.instrument) else { return Ok(()) };
        if quantity > quantity_max.value() {
            let (instrument, quantity_max) = (order.instrument.clone(), quantity_max.value());
            return Err(Refusal::QuantityLimit { instrument, quantity, quantity_max });
        }
        Ok(())
    }

    /// The tier is that of all that the account holds of this side: else many small positions would
    /// get the leverage that one large one does not.
    fn check_leverage(&self, order: &OpenPosition, leverage: Leverage) -> Result<Tier, Refusal> {
        let held = self.account.exposures.of(&order.instrument, order.side);
        let notional = exact::add(held.cost, order.fill.cost).ok_or(Refusal::Inexact)?;
        let tier = *order.terms.tiers.at(notional);
        if leverage.value() > tier.leverage_max {
            let (leverage_max, tier) = (tier.leverage_max, tier.number);
            return Err(Refusal::LeverageLimit { leverage, leverage_max, tier, notional });
        }
        Ok(tier)
    }
}

/// Returns what more is put into the position, and where it is liquidated then.
fn position_after(
    held: Option<&Position>,
    order: &OpenPosition,
    leverage: Leverage,
) -> Result<(Decimal, Maintenance), Refusal> {
    let after = || {
        let margin = initial_margin(order.fill.cost, leverage)?;
        let (quantity, cost, wallet) = held
            .map_or((Decimal::ZERO, Decimal::ZERO, Decimal::ZERO), |held| {
                (held.quantity.value(), held.cost, held.margin)
            });
        let maintenance = order.terms.tiers.liquidation(
            order.side,
            exact::add(quantity, order.fill.quantity.value())?,
            exact::add(cost, order.fill.cost)?,
            exact::add(wallet, margin)?,
        )?;
        Some((margin, maintenance))
    };
    after().ok_or(Refusal::Inexact)
}

/// Returns the margin that a cost takes at a leverage: rounded up, so that it is never too little.
fn initial_margin(cost: Decimal, leverage: Leverage) -> Option<Decimal> {
    exact::quotient([cost], [leverage.value()], DIGITS, Rounding::Up)
}

/// Returns the fee of a fill.
pub(super) fn fee(fill: &Fill, rate: Decimal) -> Option<Fee> {
    let amount = exact::quotient([fill.cost, rate], [Decimal::ONE], DIGITS, Rounding::HalfEven)?;
    Some(Fee { rate, amount })
}

impl Fee {
    /// Returns the fees of a part and of the rest, which together are the whole one.
    fn split(self, part: Decimal, whole: Decimal) -> Option<(Self, Self)> {
        let amount = exact::quotient([self.amount, part], [whole], DIGITS, Rounding::HalfEven)?;
        let rest = exact::sub(self.amount, amount)?;
        Some((Self { amount, ..self }, Self { amount: rest, ..self }))
    }
}

/// Returns what the fill is worse than the mark: zero when it is better.
fn open_loss(side: PositionSide, fill: &Fill) -> Option<Decimal> {
    let worth = exact::mul(fill.quantity.value(), fill.mark.value())?;
    let loss = exact::mul(side.sign(), exact::sub(fill.cost, worth)?)?;
    Some(loss.max(Decimal::ZERO))
}

/// Returns the largest quantity that could be paid, at the fill's average price.
fn affordable(
    fill: &Fill,
    leverage: Leverage,
    rate: Decimal,
    order: &OrderCost,
) -> Option<Decimal> {
    let quantity = fill.quantity.value();
    let digits = quantity.scale();
    let near = exact::quotient([order.free, quantity], [order.cost], digits, Rounding::HalfEven)?;
    let costs = exact::sum(
        [
            exact::quotient([fill.cost, near], [quantity, leverage.value()], DIGITS, Rounding::Up)?,
            exact::quotient([order.open_loss, near], [quantity], DIGITS, Rounding::Up)?,
            exact::quotient([fill.cost, near, rate], [quantity], DIGITS, Rounding::HalfEven)?,
        ]
        .into_iter(),
    )?;
    // What is rounded up may cost one step.
    let step = Decimal::new(1, digits);
    if costs > order.free { exact::sub(near, step) } else { Some(near) }
}
