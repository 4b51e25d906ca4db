//! What became of an order, or would: all of it follows from its events.

use domain::account::event::{AccountEvent, Exited, Fee, Maintenance};
use domain::account::position::{Leverage, PositionId, PositionSide};
use domain::book::Level;
use domain::exact;
use domain::fill::{Basis, Fill};
use domain::time::Timestamp;
use poem::Result;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object};
use rust_decimal::Decimal;

use crate::market::EntryBody;
use crate::orders::{Carried, market_body};
use crate::positions::{SideBody, average, price_scale};
use crate::problem::{Code, Problem};
use crate::scalar::{Dec, Symbol, Ts};
use crate::trading::SUCCESS;
use crate::trading::asked::Asked;

#[derive(ApiResponse)]
pub enum OpenAnswer {
    /// It has happened, and is durable.
    #[oai(status = 201)]
    Opened(
        Json<OpenedBody>,
        #[oai(header = "X-Consistency-Token")] String,
        #[oai(header = "Idempotency-Replayed")] Option<bool>,
    ),
    /// What would happen. Nothing has.
    #[oai(status = 200)]
    Weighed(Json<WeighedBody>),
}

/// A position that was opened or, in netting mode, changed. All of it follows from the entry.
#[derive(Object)]
pub struct OpenedBody {
    /// The position that stands now, or that was closed.
    position_id: String,
    status: String,
    timestamp: Ts,
    symbol: Symbol,
    #[oai(rename = "type")]
    side: SideBody,
    size: Dec,
    /// The average price of the fill, rounded for the eye.
    entry_price: Dec,
    /// What was paid for it (received for it, of a short), exact.
    cost: Dec,
    fee: Dec,
    /// What went from the account's free money into the position.
    margin: Dec,
    liquidation_price: Option<Dec>,
    basis: BasisBody,
    market: EntryBody,
    entry: Option<EntryBody>,
    token: String,
    effect: EffectBody,
    /// Gross, of what an order on the other side has closed.
    realized: Dec,
    /// Of a position that was opened. One that was there keeps its own.
    leverage: Option<Dec>,
}

/// What an order would do.
#[derive(Object)]
pub struct WeighedBody {
    dry_run: bool,
    symbol: Symbol,
    #[oai(rename = "type")]
    side: SideBody,
    size: Dec,
    entry_price: Dec,
    cost: Dec,
    fee: Dec,
    margin: Dec,
    liquidation_price: Option<Dec>,
    basis: BasisBody,
    market: EntryBody,
    effect: EffectBody,
    realized: Dec,
    leverage: Option<Dec>,
    /// What the fill is worse than the last price. The order must be able to bear it.
    open_loss: Dec,
    /// What is free before the order.
    free: Dec,
    /// The levels of the book that it would take, best first: price and size.
    levels: Vec<Vec<Dec>>,
}

/// What was closed of a position. All of it follows from the entry; without one it was so already.
#[derive(Object)]
pub struct ExitedBody {
    position_id: String,
    status: String,
    timestamp: Ts,
    entry: Option<EntryBody>,
    token: String,
    #[oai(flatten)]
    exit: ExitBody,
}

#[derive(Object, Default)]
struct ExitBody {
    symbol: Option<Symbol>,
    /// What was closed.
    size: Option<Dec>,
    /// The average price of the fill, rounded for the eye.
    exit_price: Option<Dec>,
    /// What was received for it (paid for it, of a short), exact.
    cost: Option<Dec>,
    /// Gross.
    realized: Option<Dec>,
    fee: Option<Dec>,
    /// The share of the margin that left with what was closed.
    margin_released: Option<Dec>,
    /// What went to the account's free money.
    credited: Option<Dec>,
    /// What was missing to that: the house's loss.
    shortfall: Option<Dec>,
    /// Of what is left.
    liquidation_price: Option<Dec>,
    basis: Option<BasisBody>,
    market: Option<EntryBody>,
}

#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[oai(rename_all = "snake_case")]
pub enum BasisBody {
    BookVwap,
    LastPrice,
}

/// What an order did: in hedging mode it always opens.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[oai(rename_all = "lowercase")]
pub enum EffectBody {
    Opened,
    Increased,
    Reduced,
    Closed,
    Flipped,
}

/// What the events of one order say together.
#[derive(Clone, Copy)]
struct Effect<'a> {
    kind: EffectBody,
    position_id: PositionId,
    /// The fill of the last event; it tells of the whole where the order did two things.
    fill: &'a Fill,
    fee: Decimal,
    margin: Decimal,
    realized: Decimal,
    liquidation_price: Option<Decimal>,
    leverage: Option<Leverage>,
}

impl<'a> Effect<'a> {
    fn of(events: impl Iterator<Item = &'a AccountEvent>) -> Option<Self> {
        events.fold(None, |before, event| {
            let step = Self::of_event(event);
            match (before, step) {
                (before, None) => before,
                (None, step) => step,
                (Some(before), Some(step)) => Some(before.then(step)),
            }
        })
    }

    fn of_event(event: &'a AccountEvent) -> Option<Self> {
        let entered =
            |kind, id: PositionId, fill, margin, fee: Fee, maintenance: Maintenance| Self {
                kind,
                position_id: id,
                fill,
                fee: fee.amount,
                margin,
                realized: Decimal::ZERO,
                liquidation_price: maintenance.liquidation_price,
                leverage: None,
            };
        let exited = |kind, exited: &'a Exited| Self {
            kind,
            position_id: exited.position_id,
            fill: &exited.fill,
            fee: exited.fee.amount,
            margin: Decimal::ZERO,
            realized: exited.realized,
            liquidation_price: exited.maintenance.and_then(|left| left.liquidation_price),
            leverage: None,
        };
        match event {
            AccountEvent::PositionOpened(opened) => {
                let (id, fill) = (opened.position_id, &opened.fill);
                let (margin, fee) = (opened.margin, opened.fee);
                let effect = entered(EffectBody::Opened, id, fill, margin, fee, opened.maintenance);
                Some(Self { leverage: Some(opened.leverage), ..effect })
            }
            AccountEvent::PositionIncreased(increased) => {
                let (id, fill) = (increased.position_id, &increased.fill);
                let (margin, fee) = (increased.margin, increased.fee);
                Some(entered(EffectBody::Increased, id, fill, margin, fee, increased.maintenance))
            }
            AccountEvent::PositionReduced(event) => Some(exited(EffectBody::Reduced, event)),
            AccountEvent::PositionClosed(event) => Some(exited(EffectBody::Closed, event)),
            AccountEvent::AccountOpened { .. }
            | AccountEvent::Deposited { .. }
            | AccountEvent::Withdrawn { .. }
            | AccountEvent::LimitsSet { .. }
            | AccountEvent::ModeSet { .. }
            | AccountEvent::PositionLiquidated(_)
            | AccountEvent::StopsSet { .. }
            | AccountEvent::FundingApplied(_)
            | AccountEvent::DayClosed(_) => None,
        }
    }

    /// Closing one position and opening the next is one flip.
    fn then(self, next: Self) -> Self {
        Self {
            kind: EffectBody::Flipped,
            fee: exact::add(self.fee, next.fee).expect("the account has added them up"),
            realized: self.realized,
            ..next
        }
    }

    /// Returns what was filled in all, and for how much.
    fn whole(&self) -> (Decimal, Decimal) {
        let part = (self.fill.quantity.value(), self.fill.cost);
        self.fill.part_of.map_or(part, |whole| (whole.quantity.value(), whole.cost))
    }
}

impl OpenedBody {
    pub fn of(asked: &Asked, carried: &Carried, now: Timestamp) -> Result<Self, Problem> {
        let effect = Effect::of(carried.events()).ok_or_else(nothing)?;
        let (quantity, cost) = effect.whole();
        let scale = price_scale(effect.fill.mark);
        let exact = |value| Dec::at(value, scale);
        Ok(Self {
            position_id: effect.position_id.to_string(),
            status: SUCCESS.to_owned(),
            timestamp: Ts(carried.happened_at(now)),
            symbol: Symbol(asked.instrument.clone()),
            side: asked.side.into(),
            size: Dec(quantity),
            entry_price: average(cost, quantity, scale),
            cost: exact(cost),
            fee: exact(effect.fee),
            margin: exact(effect.margin),
            liquidation_price: effect.liquidation_price.map(|price| Dec::shown(price, scale)),
            basis: effect.fill.basis.into(),
            market: market_body(&effect.fill.market),
            entry: carried.entry_body(),
            token: carried.token.text(),
            effect: effect.kind,
            realized: exact(effect.realized),
            leverage: effect.leverage.map(|leverage| Dec(leverage.value())),
        })
    }
}

impl WeighedBody {
    pub fn of(asked: &Asked, events: &[AccountEvent], free: Decimal) -> Result<Self, Problem> {
        let effect = Effect::of(events.iter()).ok_or_else(nothing)?;
        let (quantity, cost) = effect.whole();
        let scale = price_scale(effect.fill.mark);
        let exact = |value| Dec::at(value, scale);
        let at_mark = exact::mul(quantity, effect.fill.mark.value());
        let worse = at_mark.and_then(|at_mark| match asked.side {
            PositionSide::Long => exact::sub(cost, at_mark),
            PositionSide::Short => exact::sub(at_mark, cost),
        });
        let level = |level: &Level| vec![exact(level.price.value()), Dec(level.quantity)];
        Ok(Self {
            dry_run: true,
            symbol: Symbol(asked.instrument.clone()),
            side: asked.side.into(),
            size: Dec(quantity),
            entry_price: average(cost, quantity, scale),
            cost: exact(cost),
            fee: exact(effect.fee),
            margin: exact(effect.margin),
            liquidation_price: effect.liquidation_price.map(|price| Dec::shown(price, scale)),
            basis: effect.fill.basis.into(),
            market: market_body(&effect.fill.market),
            effect: effect.kind,
            realized: exact(effect.realized),
            leverage: effect.leverage.map(|leverage| Dec(leverage.value())),
            open_loss: exact(worse.unwrap_or_default().max(Decimal::ZERO)),
            free: exact(free),
            levels: effect.fill.levels.iter().map(level).collect(),
        })
    }
}

/// An order always does something: an event of its own is our promise.
fn nothing() -> Problem {
    Problem::new(Code::Internal, "the order left no trace in its entry")
}

impl ExitedBody {
    pub fn of(id: PositionId, carried: &Carried, now: Timestamp) -> Self {
        let exit = carried.events().find_map(|event| match event {
            AccountEvent::PositionReduced(exited) | AccountEvent::PositionClosed(exited) => {
                Some(ExitBody::of(exited))
            }
            _ => None,
        });
        Self {
            position_id: id.to_string(),
            status: SUCCESS.to_owned(),
            timestamp: Ts(carried.happened_at(now)),
            entry: carried.entry_body(),
            token: carried.token.text(),
            exit: exit.unwrap_or_default(),
        }
    }
}

impl ExitBody {
    fn of(exited: &Exited) -> Self {
        let (fill, scale) = (&exited.fill, price_scale(exited.fill.mark));
        let exact = |value| Some(Dec::at(value, scale));
        let left = exited.maintenance.and_then(|left| left.liquidation_price);
        Self {
            symbol: Some(Symbol(fill.market.instrument.clone())),
            size: Some(Dec(fill.quantity.value())),
            exit_price: Some(average(fill.cost, fill.quantity.value(), scale)),
            cost: exact(fill.cost),
            realized: exact(exited.realized),
            fee: exact(exited.fee.amount),
            margin_released: exact(exited.margin_released),
            credited: exact(exited.credited),
            shortfall: exact(exited.shortfall),
            liquidation_price: left.map(|price| Dec::shown(price, scale)),
            basis: Some(fill.basis.into()),
            market: Some(market_body(&fill.market)),
        }
    }
}

impl From<Basis> for BasisBody {
    fn from(basis: Basis) -> Self {
        match basis {
            Basis::BookVwap => Self::BookVwap,
            Basis::LastPrice => Self::LastPrice,
        }
    }
}
