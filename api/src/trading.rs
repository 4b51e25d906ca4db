//! Getting into positions and out of them.
#![expect(clippy::disallowed_types, reason = "what the macro of poem-openapi writes is not ours")]

use std::sync::Arc;

use commands::desk::{self, DeskError, Order};
use domain::account::Account;
use domain::account::command::{AccountCommand, OpenPosition, Refusal};
use domain::account::event::{AccountEvent, Exited, Fee, Maintenance};
use domain::account::position::{Leverage, Position, PositionId, PositionSide};
use domain::amount::{Quantity, scale_that_counts};
use domain::book::Level;
use domain::exact;
use domain::fill::{Basis, Fill};
use domain::instrument::Instrument;
use domain::time::Timestamp;
use poem::Result;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use rust_decimal::Decimal;
use serde_json::json;

use crate::app::App;
use crate::body::{Body, Empty, Fields, Strict};
use crate::consistency::Token;
use crate::idempotency::Named;
use crate::market::{EntryBody, Tag};
use crate::orders::{self, Carried, Settled, Unmade, canonical, market_body, open_position, order};
use crate::positions::{SideBody, average, position_id_of, price_scale};
use crate::principal::PortfolioWriter;
use crate::problem::{Code, Problem};
use crate::scalar::{Dec, Symbol, Ts};

/// What the specification calls it when a command was carried out.
pub const SUCCESS: &str = "success";

pub struct TradingApi(pub Arc<App>);

#[OpenApi(tag = "Tag::Portfolio")]
impl TradingApi {
    /// Close a position
    ///
    /// All that is left of it. To close one that is closed is no error: it is so already.
    #[oai(
        path = "/portfolio/positions/:position_id/close",
        method = "post",
        operation_id = "close_position"
    )]
    async fn close(
        &self,
        writer: PortfolioWriter,
        named: Named,
        /// The name of the position.
        position_id: Path<String>,
        _body: Empty,
    ) -> Result<Settled<ExitedBody>> {
        let id = position_id_of(&position_id.0)?;
        let append_id = desk::append_id(writer.account(), &named.key);
        let text = json!({"command": "close_position", "position_id": id});
        let order = order(writer.account(), append_id, &text, writer.actor(), named);
        let command = |account: &Account| {
            let position = open_position(account, &id)?;
            let fill = self.0.exit_fill(position, position.quantity)?;
            let terms = self.0.terms.of(&position.instrument);
            Ok(AccountCommand::ClosePosition { position_id: id, fill, terms })
        };
        let carried = self.0.carry_out_unless_closed(order, command).await?;
        Ok(carried.settled(ExitedBody::of(id, &carried, self.0.clock.now())))
    }

    /// Reduce a position
    ///
    /// Closes a part of it, never more than is open.
    #[oai(
        path = "/portfolio/positions/:position_id/reduce",
        method = "post",
        operation_id = "reduce_position"
    )]
    async fn reduce(
        &self,
        writer: PortfolioWriter,
        named: Named,
        /// The name of the position.
        position_id: Path<String>,
        body: Strict<ReducePositionBody>,
    ) -> Result<Settled<ExitedBody>> {
        let (id, Strict(quantity)) = (position_id_of(&position_id.0)?, body);
        let append_id = desk::append_id(writer.account(), &named.key);
        let size = canonical(quantity.value());
        let text = json!({"command": "reduce_position", "position_id": id, "size": size});
        let order = order(writer.account(), append_id, &text, writer.actor(), named);
        let command = |account: &Account| {
            let position = open_position(account, &id)?;
            self.0.check_listed(&position.instrument, quantity)?;
            let fill = self.0.exit_fill(position, quantity)?;
            let terms = self.0.terms.of(&position.instrument);
            Ok(AccountCommand::ReducePosition { position_id: id, fill, terms })
        };
        let carried = self.0.carry_out(order, command).await?;
        Ok(carried.settled(ExitedBody::of(id, &carried, self.0.clock.now())))
    }
}

impl App {
    /// Opens what is asked for, or only weighs it.
    pub async fn open(
        &self,
        writer: &PortfolioWriter,
        named: Named,
        is_dry_run: bool,
        asked: &Asked,
    ) -> Result<OpenAnswer, Problem> {
        let append_id = desk::append_id(writer.account(), &named.key);
        let position_id = desk::position_id(append_id);
        let command = |_: &Account| self.opening(asked, position_id);
        if is_dry_run {
            let weighed = self.weigh(writer.account(), command).await?;
            let body = WeighedBody::of(asked, &weighed.events, weighed.account.free())?;
            return Ok(OpenAnswer::Weighed(Json(body)));
        }
        let text = json!({
            "command": "open_position",
            "symbol": asked.instrument,
            "size": canonical(asked.quantity.value()),
            "type": asked.side,
            "leverage": canonical(asked.leverage.value()),
            "reduce_only": asked.reduce_only,
        });
        let order = order(writer.account(), append_id, &text, writer.actor(), named);
        let carried = self.carry_out(order, command).await?;
        let body = OpenedBody::of(asked, &carried, self.clock.now())?;
        Ok(OpenAnswer::Opened(Json(body), carried.token.text(), carried.told_replayed()))
    }

    fn opening(&self, asked: &Asked, position_id: PositionId) -> Result<AccountCommand, Unmade> {
        // Not before: what was done already is answered as it was, whatever a venue lists by now.
        self.check_listed(&asked.instrument, asked.quantity)?;
        let fill = self.fill(&asked.instrument, asked.side.entry(), asked.quantity)?;
        Ok(AccountCommand::OpenPosition(OpenPosition {
            position_id,
            instrument: asked.instrument.clone(),
            side: asked.side,
            leverage: asked.leverage,
            reduce_only: asked.reduce_only,
            fill,
            terms: self.terms.of(&asked.instrument),
        }))
    }

    /// Returns what getting out of a position would get.
    fn exit_fill(&self, position: &Position, quantity: Quantity) -> Result<Fill, Problem> {
        self.fill(&position.instrument, position.side.exit(), quantity)
    }

    /// Carries out what is so already when the position is closed.
    async fn carry_out_unless_closed(
        &self,
        order: Order,
        command: impl Fn(&Account) -> Result<AccountCommand, Unmade> + Send + Sync,
    ) -> Result<Carried, Problem> {
        match self.desk.submit(order.clone(), command).await {
            Err(DeskError::Unquoted(Unmade::Refused(Refusal::PositionClosed))) => {
                let head = self.ledger.head().await.map_err(|error| orders::of_log(&error))?;
                Ok(Carried { entry: None, token: Token(head), replayed: false })
            }
            outcome => self.told(&order, outcome).await,
        }
    }

    /// Refuses a size that is finer than the venue trades.
    fn check_listed(&self, instrument: &Instrument, quantity: Quantity) -> Result<(), Problem> {
        let venue = self.known(instrument)?;
        let scale = self.listing(&venue, instrument).map(|listing| listing.quantity_scale);
        match scale.filter(|scale| is_finer(quantity, *scale)) {
            Some(scale) => {
                let reason = format!("more than the {scale} digits after the point of {venue}");
                Err(Problem::field("size", reason))
            }
            None => Ok(()),
        }
    }
}

/// A position that is asked for.
#[derive(Debug)]
pub struct Asked {
    instrument: Instrument,
    quantity: Quantity,
    side: PositionSide,
    leverage: Leverage,
    reduce_only: bool,
}

/// What is to be opened.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub struct OpenPositionBody {
    symbol: Symbol,
    /// A string, or a number of at most 15 digits.
    size: Dec,
    #[oai(rename = "type")]
    side: SideBody,
    /// How many times its margin the position costs, with at most two digits after the point.
    #[oai(default = "one")]
    leverage: Dec,
    /// In netting mode: reduces or closes what is held on the other side, and opens nothing.
    #[oai(default)]
    reduce_only: bool,
}

fn one() -> Dec {
    Dec(Decimal::ONE)
}

#[derive(Object)]
#[oai(deny_unknown_fields)]
struct ReducePositionBody {
    /// How much of the position is closed: a string, or a number of at most 15 digits.
    size: Dec,
}

impl Body for OpenPositionBody {
    type Read = Asked;

    fn read(fields: &mut Fields) -> Option<Asked> {
        let instrument = fields.text("symbol");
        let instrument = fields.required("symbol", instrument);
        let quantity = fields.amount("size", quantity);
        let quantity = fields.required("size", quantity);
        let side = fields.value("type", "long or short");
        let side = fields.required("type", side);
        let leverage = fields.amount("leverage", leverage).unwrap_or(Leverage::ONE);
        let reduce_only = fields.value("reduce_only", "true or false").unwrap_or(false);
        let side = match side? {
            SideBody::Long => PositionSide::Long,
            SideBody::Short => PositionSide::Short,
        };
        Some(Asked { instrument: instrument?, quantity: quantity?, side, leverage, reduce_only })
    }
}

impl Body for ReducePositionBody {
    type Read = Quantity;

    fn read(fields: &mut Fields) -> Option<Quantity> {
        let quantity = fields.amount("size", quantity);
        fields.required("size", quantity)
    }
}

/// Whether a size has more digits that count than are traded.
fn is_finer(quantity: Quantity, scale: u32) -> bool {
    scale_that_counts(quantity.value()) > scale
}

fn quantity(value: Decimal) -> Result<Quantity, String> {
    Quantity::new(value).map_err(|error| error.to_string())
}

fn leverage(value: Decimal) -> Result<Leverage, String> {
    Leverage::new(value).map_err(|error| error.to_string())
}

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
struct ExitedBody {
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
    fn of(asked: &Asked, carried: &Carried, now: Timestamp) -> Result<Self, Problem> {
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
    fn of(asked: &Asked, events: &[AccountEvent], free: Decimal) -> Result<Self, Problem> {
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
    fn of(id: PositionId, carried: &Carried, now: Timestamp) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_make_a_size_no_finer() {
        for (size, finer) in [("1.500", false), ("1.55", true), ("10", false), ("0.05", true)] {
            assert_eq!(is_finer(size.parse().unwrap(), 1), finer, "{size}");
        }
    }
}
