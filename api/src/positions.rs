//! What an account holds and has held: its positions at the last prices.
#![expect(clippy::disallowed_types, reason = "what the macro of poem-openapi writes is not ours")]

mod page;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::account::event::{Cause, Trigger};
use domain::account::position::{Position, PositionId, PositionSide};
use domain::amount::{PRICE_SCALE_MIN, Price};
use domain::exact::{self, Rounding};
use domain::instrument::Instrument;
use domain::margin::Tier;
use domain::name::AccountId;
use domain::time::Timestamp;
use eventlog::entry::Version;
use eventlog::stream::{Log, Stream};
use poem::{Request, Result};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use projections::holdings::{CLOSED_HELD_MAX, Closed, Held, Life};
use projections::prices::Freshness;
use projections::store::StoreError;
use projections::store::archive::Archive;
use projections::valuation::{self, Worth};
use rust_decimal::Decimal;

use crate::app::App;
use crate::body::Strict;
use crate::idempotency::Named;
use crate::market::{EntryBody, Tag, next_link};
use crate::orders::market_body;
use crate::positions::page::{PagePlace, PositionsPage};
use crate::principal::{PortfolioReader, PortfolioWriter};
use crate::problem::{Code, Problem};
use crate::scalar::{Dec, Symbol, Ts};
use crate::trading::asked::OpenPositionBody;
use crate::trading::told::OpenAnswer;

/// Positions of a page when nobody says how many; at most 1,000.
const PAGE_DEFAULT: usize = 500;

/// How long a query waits for what only the archive knows. After it the answer is `SYS_001`.
pub const ARCHIVE_PATIENCE: Duration = Duration::from_secs(2);

/// What is said then.
pub const ARCHIVE_LATE: &str = "the archive does not answer: ask again";

pub struct PositionsApi(pub Arc<App>);

#[OpenApi(tag = "Tag::Portfolio")]
impl PositionsApi {
    /// Positions
    ///
    /// Open positions, the newest first; with `status=closed` those that are no more, the last
    /// closed first; with `status=all` the open ones and then the others. A price past the freshness
    /// threshold is shown, and said to be `stale`.
    #[oai(path = "/portfolio/positions", method = "get", operation_id = "portfolio_positions")]
    async fn positions(
        &self,
        reader: PortfolioReader,
        request: &Request,
        /// Which positions; open when absent.
        status: Query<Option<StatusFilter>>,
        /// Positions of a page; 500 when absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u32>>,
        /// Where the page starts: `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<PositionsAnswer> {
        let status = status.0.unwrap_or(StatusFilter::Open);
        let limit = limit.0.and_then(|limit| limit.try_into().ok()).unwrap_or(PAGE_DEFAULT);
        let after = match cursor.0 {
            None => None,
            Some(cursor) => {
                Some(cursor.parse().map_err(|reason: &str| Problem::field("cursor", reason))?)
            }
        };
        let page = self.0.positions_page(reader.account(), status, after, limit).await?;
        let next = page.next.map(|place| place.to_string());
        let link = next.as_ref().map(|cursor| next_link(request, cursor));
        let body = PositionsBody { positions: page.positions, next_cursor: next };
        Ok(PositionsAnswer::Positions(Json(body), link))
    }

    /// Open a position
    ///
    /// A market order: it is filled at once from the book, or at the last price, or not at all. In
    /// netting mode it may instead add to the position that is held, reduce it, close it or flip it.
    /// With `dry_run=true` it is only weighed: the answer tells what would happen, and nothing does.
    // It stands here because the document keeps the operations of one path only from one place.
    #[oai(path = "/portfolio/positions", method = "post", operation_id = "open_position")]
    async fn open(
        &self,
        writer: PortfolioWriter,
        named: Named,
        /// Whether the order is only weighed; false when absent.
        dry_run: Query<Option<bool>>,
        body: Strict<OpenPositionBody>,
    ) -> Result<OpenAnswer> {
        let Strict(asked) = body;
        let is_dry_run = dry_run.0.unwrap_or(false);
        self.0.open(&writer, named, is_dry_run, &asked).await.map_err(Into::into)
    }

    /// A position
    ///
    /// With its exact figures and the entries of the account that made it what it is.
    #[oai(
        path = "/portfolio/positions/:position_id",
        method = "get",
        operation_id = "portfolio_position"
    )]
    async fn position(
        &self,
        reader: PortfolioReader,
        /// The name of the position.
        position_id: Path<String>,
    ) -> Result<Json<PositionDetailBody>> {
        let id = position_id_of(&position_id.0)?;
        self.0.position_detail(reader.account(), &id).await.map(Json).map_err(Into::into)
    }
}

/// Reads a position's name. What is no name names nothing.
pub fn position_id_of(text: &str) -> Result<PositionId, Problem> {
    text.parse().map_err(|_| no_such_position())
}

pub fn no_such_position() -> Problem {
    Problem::new(Code::NotFound, "no such position")
}

#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[oai(rename_all = "lowercase")]
enum StatusFilter {
    Open,
    Closed,
    All,
}

#[derive(ApiResponse)]
enum PositionsAnswer {
    /// The positions.
    #[oai(status = 200)]
    Positions(Json<PositionsBody>, #[oai(header = "Link")] Option<String>),
}

#[derive(Object)]
struct PositionsBody {
    positions: Vec<PositionBody>,
    /// Where the next page starts; null on the last one.
    next_cursor: Option<String>,
}

/// A position at the last price; one that is closed, with its results.
#[derive(Object)]
pub struct PositionBody {
    pub symbol: Symbol,
    /// What is open; of a closed one, what was.
    pub size: Dec,
    /// The average price, rounded for the eye.
    pub entry_price: Dec,
    /// The last price; of a closed one, the average price at which it was left.
    pub current_price: Dec,
    /// Gross, of what is open; of a closed one, what was realized.
    pub pnl: Dec,
    /// When the last price was traded, by the venue's clock; of a closed one, when it was closed.
    pub timestamp: Ts,
    pub position_id: String,
    #[oai(rename = "type")]
    pub side: SideBody,
    pub leverage: Dec,
    /// What of the account's money stands for this position alone.
    pub margin: Dec,
    pub liquidation_price: Option<Dec>,
    /// Gross, of what was closed of it.
    pub realized_pnl: Dec,
    pub opened_at: Ts,
    pub fees: Dec,
    /// Received; negative when more was paid.
    pub funding: Dec,
    /// Maintenance margin to margin and pnl; it is liquidated at 1.
    pub margin_ratio: Option<Dec>,
    pub stop_loss: Option<Dec>,
    pub take_profit: Option<Dec>,
    pub status: PositionStatus,
    pub age_ms: u64,
    /// Past the freshness threshold: nothing is filled, opened or liquidated on such a price.
    pub stale: bool,
    #[oai(skip_serializing_if_is_none)]
    pub closed_at: Option<Ts>,
    #[oai(skip_serializing_if_is_none)]
    pub exit_cause: Option<ExitCause>,
}

#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[oai(rename_all = "lowercase")]
pub enum SideBody {
    Long,
    Short,
}

#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[oai(rename_all = "lowercase")]
pub enum PositionStatus {
    Open,
    Closed,
}

/// Why a position was closed: it was asked for by its name, by an order on the other side, or a
/// trade met a condition.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[oai(rename_all = "snake_case")]
pub enum ExitCause {
    Requested,
    Netted,
    Liquidation,
    StopLoss,
    TakeProfit,
}

/// A position, its exact figures, and what they rest on.
#[derive(Object)]
struct PositionDetailBody {
    #[oai(flatten)]
    position: PositionBody,
    /// What was paid for what is open (received for it, of a short), exact.
    cost: Dec,
    /// Gross, of what was closed of it, exact.
    realized: Dec,
    /// What is open at the last price.
    notional: Option<Dec>,
    maintenance_margin: Option<Dec>,
    /// The tier that the liquidation price was found at.
    tier: Option<TierBody>,
    /// What the house lost by it.
    shortfall: Dec,
    /// All that was got into and out of over its life.
    entered_size: Dec,
    entered_cost: Dec,
    exited_size: Dec,
    exited_cost: Dec,
    /// The market as it was when size, cost or margin changed last.
    market: Option<EntryBody>,
    /// The market as it was when the stops were set.
    stops_market: Option<EntryBody>,
    /// The entries of the account that made it what it is, oldest first; of many, the newest.
    entries: Vec<EntryBody>,
}

#[derive(Object)]
struct TierBody {
    number: u32,
    /// The notional from which it holds.
    floor: Dec,
    /// Maintenance margin = notional × rate − deduction.
    rate: Dec,
    deduction: Dec,
    leverage_max: Dec,
}

/// The last prices of what is asked for, each looked up once.
pub struct Marks<'a> {
    app: &'a App,
    seen: BTreeMap<Instrument, Option<Seen>>,
}

/// A last price, and how far it can be trusted.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub price: Price,
    pub traded_at: Timestamp,
    pub age_ms: u64,
    pub stale: bool,
}

impl<'a> Marks<'a> {
    pub const fn of(app: &'a App) -> Self {
        Self { app, seen: BTreeMap::new() }
    }

    /// Returns the last price, however old it is; only what never had one has none.
    pub fn get(&mut self, instrument: &Instrument) -> Option<Seen> {
        if let Some(seen) = self.seen.get(instrument) {
            return *seen;
        }
        let seen = self.app.views.quote(instrument).map(|quote| {
            let now = self.app.feeds.now(&quote.venue, self.app.clock.as_ref());
            Seen {
                price: quote.tick.price,
                traded_at: quote.tick.traded_at,
                age_ms: u64::try_from(quote.age(now) / 1_000).unwrap_or_default(),
                stale: quote.freshness(now) != Freshness::Fresh,
            }
        });
        self.seen.insert(instrument.clone(), seen);
        seen
    }

    /// Returns the last price of what is held.
    pub fn of_held(&mut self, instrument: &Instrument) -> Result<Seen, Problem> {
        self.get(instrument).ok_or_else(|| {
            let detail = format!("there is no price of {instrument} yet");
            Problem::new(Code::VenueUnreachable, detail)
        })
    }
}

impl App {
    async fn positions_page(
        &self,
        account: &AccountId,
        status: StatusFilter,
        after: Option<PagePlace>,
        limit: usize,
    ) -> Result<PositionsPage, Problem> {
        let page = self.views.at_rest(|_| {
            let holdings = self.views.holdings();
            holdings.get(account).map(|held| self.held_page(held, status, after, limit))
        });
        // An account that was never opened holds nothing.
        let Some(page) = page else { return Ok(PositionsPage::default()) };
        let page = page?;
        match &self.store {
            Some(store) if page.goes_on => {
                self.archived_page(&store.archive(), account, page, after, limit).await
            }
            Some(_) | None => Ok(page),
        }
    }

    /// Returns a page of what the views hold.
    fn held_page(
        &self,
        held: &Held,
        status: StatusFilter,
        after: Option<PagePlace>,
        limit: usize,
    ) -> Result<PositionsPage, Problem> {
        let mut page = PositionsPage::default();
        let mut marks = Marks::of(self);
        let is_behind = |place: PagePlace| after.is_none_or(|after| place.comes_after(after));
        if status != StatusFilter::Closed {
            for (position, life) in newest_first(held) {
                let place = PagePlace::Open(life.opened_at, position.id);
                if !is_behind(place) {
                    continue;
                }
                if page.positions.len() == limit {
                    return Ok(page.and_more());
                }
                page.add(place, PositionBody::of_open(&mut marks, position, life)?);
            }
        }
        if status != StatusFilter::Open {
            for closed in held.closed.iter().rev() {
                let place = PagePlace::of_closed(closed);
                if !is_behind(place) {
                    continue;
                }
                if page.positions.len() == limit {
                    return Ok(page.and_more());
                }
                page.add(place, PositionBody::of_closed(self, closed));
            }
            page.goes_on = held.closed.len() == CLOSED_HELD_MAX;
        }
        Ok(page)
    }

    /// Fills a page up with positions that were closed before those that the views hold.
    async fn archived_page(
        &self,
        archive: &Archive,
        account: &AccountId,
        mut page: PositionsPage,
        after: Option<PagePlace>,
        limit: usize,
    ) -> Result<PositionsPage, Problem> {
        let before = match page.last.or(after) {
            Some(PagePlace::Closed(version, id)) => Some((version, id)),
            Some(PagePlace::Open(..)) | None => None,
        };
        // One more than there is room for tells whether there is more.
        let rows_max = u32::try_from(limit - page.positions.len() + 1).unwrap_or(u32::MAX);
        let shown = self.views.applied(Log::Ledger);
        let rows = in_time(async {
            archive.wait_accounts_applied(shown).await?;
            archive.closed(account, before, rows_max).await
        })
        .await?;
        for row in rows {
            if page.positions.len() == limit {
                return Ok(page.and_more());
            }
            let (version, id) = row.key();
            page.add(PagePlace::Closed(version, id), PositionBody::of_closed(self, &row.closed));
        }
        Ok(page)
    }

    async fn position_detail(
        &self,
        account: &AccountId,
        id: &PositionId,
    ) -> Result<PositionDetailBody, Problem> {
        let stream = Stream::Account(account.clone());
        let found = self.views.at_rest(|_| {
            let holdings = self.views.holdings();
            let held = holdings.get(account)?;
            if let Some((position, life)) = held.position(id) {
                return Some(self.open_detail(&stream, position, life));
            }
            let closed = held.closed.iter().find(|closed| closed.id == *id)?;
            Some(Ok(self.closed_detail(&stream, closed)))
        });
        if let Some(found) = found {
            return found;
        }
        let Some(store) = &self.store else { return Err(no_such_position()) };
        let archive = store.archive();
        // What the views have just let go of may be on its way there.
        let shown = self.views.applied(Log::Ledger);
        let archived = in_time(async {
            archive.wait_accounts_applied(shown).await?;
            archive.closed_position(account, *id).await
        })
        .await?;
        archived.map(|row| self.closed_detail(&stream, &row.closed)).ok_or_else(no_such_position)
    }

    fn open_detail(
        &self,
        stream: &Stream,
        position: &Position,
        life: &Life,
    ) -> Result<PositionDetailBody, Problem> {
        let mut marks = Marks::of(self);
        let body = PositionBody::of_open(&mut marks, position, life)?;
        let mark = marks.of_held(&position.instrument)?;
        let worth = worth(self, position, mark.price)?;
        let scale = price_scale(mark.price);
        let exact = |value| Dec::at(value, scale);
        Ok(PositionDetailBody {
            cost: exact(position.cost),
            realized: exact(position.realized),
            notional: Some(exact(worth.notional)),
            maintenance_margin: Some(exact(worth.maintenance_margin)),
            tier: Some(TierBody::of(&position.maintenance.tier)),
            market: Some(market_body(&position.market)),
            stops_market: position.stops.market.as_ref().map(market_body),
            ..PositionDetailBody::of_life(body, stream, life, scale)
        })
    }

    fn closed_detail(&self, stream: &Stream, closed: &Closed) -> PositionDetailBody {
        let scale = self.price_scale(&closed.instrument);
        PositionDetailBody {
            realized: Dec::at(closed.realized, scale),
            ..PositionDetailBody::of_life(
                PositionBody::of_closed(self, closed),
                stream,
                &closed.life,
                scale,
            )
        }
    }

    /// Returns the digits after the point of an instrument's prices.
    pub fn price_scale(&self, instrument: &Instrument) -> u32 {
        self.venue(instrument).map_or(PRICE_SCALE_MIN, |venue| self.scales(&venue, instrument).0)
    }
}

/// Returns what the archive answers, or the problem of one that does not, or not soon.
pub async fn in_time<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, Problem> {
    let problem = |detail| Problem::new(Code::LogUnreachable, detail);
    match tokio::time::timeout(ARCHIVE_PATIENCE, answer).await {
        Ok(answer) => answer.map_err(|error| problem(error.to_string())),
        Err(_) => Err(problem(ARCHIVE_LATE.to_owned())),
    }
}

/// Returns the open positions, the newest first.
pub fn newest_first(held: &Held) -> Vec<(&Position, &Life)> {
    let mut open: Vec<_> =
        held.account.positions().keys().filter_map(|id| held.position(id)).collect();
    open.sort_by_key(|(position, life)| std::cmp::Reverse((life.opened_at, position.id)));
    open
}

/// Returns the digits after the point with which amounts beside a price are shown.
pub fn price_scale(price: Price) -> u32 {
    price.value().scale()
}

/// Returns an average price, rounded once, for the eye; zero of nothing.
pub fn average(cost: Decimal, quantity: Decimal, scale: u32) -> Dec {
    let average = exact::quotient([cost], [quantity], scale, Rounding::HalfEven);
    Dec::at(average.unwrap_or_default(), scale)
}

fn worth(app: &App, position: &Position, mark: Price) -> Result<Worth, Problem> {
    valuation::of_position(position, mark, app.terms.tiers(&position.instrument)).ok_or_else(|| {
        Problem::new(Code::Internal, format!("{} cannot be valued exactly", position.id))
    })
}

impl PositionBody {
    /// Returns an open position at the last price.
    pub fn of_open(
        marks: &mut Marks<'_>,
        position: &Position,
        life: &Life,
    ) -> Result<Self, Problem> {
        let mark = marks.of_held(&position.instrument)?;
        let worth = worth(marks.app, position, mark.price)?;
        let scale = price_scale(mark.price);
        let exact = |value| Dec::at(value, scale);
        Ok(Self {
            symbol: Symbol(position.instrument.clone()),
            size: Dec(position.quantity.value()),
            entry_price: average(position.cost, position.quantity.value(), scale),
            current_price: Dec(mark.price.value()),
            pnl: Dec::shown(worth.unrealized, scale),
            timestamp: Ts(mark.traded_at),
            position_id: position.id.to_string(),
            side: position.side.into(),
            leverage: Dec(position.leverage.value()),
            margin: exact(position.margin),
            liquidation_price: position
                .maintenance
                .liquidation_price
                .map(|price| Dec::shown(price, scale)),
            realized_pnl: Dec::shown(position.realized, scale),
            opened_at: Ts(life.opened_at),
            fees: exact(position.fees),
            funding: exact(position.funding),
            margin_ratio: Some(Dec(worth.margin_ratio)),
            stop_loss: position.stops.stop_loss.map(|price| exact(price.value())),
            take_profit: position.stops.take_profit.map(|price| exact(price.value())),
            status: PositionStatus::Open,
            age_ms: mark.age_ms,
            stale: mark.stale,
            closed_at: None,
            exit_cause: None,
        })
    }

    /// Returns a position that is no more, with its results.
    pub fn of_closed(app: &App, closed: &Closed) -> Self {
        let (life, scale) = (&closed.life, app.price_scale(&closed.instrument));
        let exact = |value| Dec::at(value, scale);
        Self {
            symbol: Symbol(closed.instrument.clone()),
            size: Dec(life.exited_quantity),
            entry_price: average(life.entered_cost, life.entered_quantity, scale),
            current_price: average(life.exited_cost, life.exited_quantity, scale),
            pnl: Dec::shown(closed.realized, scale),
            timestamp: Ts(closed.closed_at),
            position_id: closed.id.to_string(),
            side: closed.side.into(),
            leverage: Dec(closed.leverage.value()),
            margin: exact(Decimal::ZERO),
            liquidation_price: None,
            realized_pnl: Dec::shown(closed.realized, scale),
            opened_at: Ts(life.opened_at),
            fees: exact(closed.fees),
            funding: exact(closed.funding),
            margin_ratio: None,
            stop_loss: None,
            take_profit: None,
            status: PositionStatus::Closed,
            age_ms: 0,
            stale: false,
            closed_at: Some(Ts(closed.closed_at)),
            exit_cause: Some(ExitCause::of(&closed.cause)),
        }
    }
}

impl PositionDetailBody {
    /// Returns what a position's life says of it; nothing is open.
    fn of_life(position: PositionBody, stream: &Stream, life: &Life, scale: u32) -> Self {
        let exact = |value| Dec::at(value, scale);
        Self {
            position,
            cost: exact(Decimal::ZERO),
            realized: exact(Decimal::ZERO),
            notional: None,
            maintenance_margin: None,
            tier: None,
            shortfall: exact(life.shortfall),
            entered_size: Dec(life.entered_quantity),
            entered_cost: exact(life.entered_cost),
            exited_size: Dec(life.exited_quantity),
            exited_cost: exact(life.exited_cost),
            market: None,
            stops_market: None,
            entries: life
                .entries
                .iter()
                .map(|version: &Version| EntryBody::of(stream, *version))
                .collect(),
        }
    }
}

impl TierBody {
    fn of(tier: &Tier) -> Self {
        Self {
            number: tier.number,
            floor: Dec(tier.floor),
            rate: Dec(tier.rate),
            deduction: Dec(tier.deduction),
            leverage_max: Dec(tier.leverage_max),
        }
    }
}

impl From<PositionSide> for SideBody {
    fn from(side: PositionSide) -> Self {
        match side {
            PositionSide::Long => Self::Long,
            PositionSide::Short => Self::Short,
        }
    }
}

impl ExitCause {
    pub const fn of(cause: &Cause) -> Self {
        match cause {
            Cause::Requested => Self::Requested,
            Cause::Netted => Self::Netted,
            Cause::Fired(firing) => match firing.trigger {
                Trigger::Liquidation => Self::Liquidation,
                Trigger::StopLoss => Self::StopLoss,
                Trigger::TakeProfit => Self::TakeProfit,
            },
        }
    }
}
