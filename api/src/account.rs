//! An account: its money, what it is worth at the last prices, and what it was worth day by day.
#![expect(clippy::disallowed_types, reason = "what the macro of poem-openapi writes is not ours")]
#![expect(clippy::unused_async, reason = "poem-openapi asks for async handlers")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use domain::account::event::{DayClosed, Mark};
use domain::account::limits::Limits;
use domain::account::position::Mode;
use domain::amount::{PRICE_SCALE_MIN, Quantity};
use domain::instrument::Instrument;
use domain::name::AccountId;
use domain::time::Timestamp;
use eventlog::stream::{Log, Stream};
use poem::Result;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Enum, Object, OpenApi};
use projections::holdings::Held;
use projections::store::archive::Direction;
use projections::valuation;
use rust_decimal::Decimal;

use crate::app::App;
use crate::market::{EntryBody, Tag};
use crate::orders::market_body;
use crate::positions::{Marks, Seen, in_time};
use crate::principal::PortfolioReader;
use crate::problem::{Code, Problem};
use crate::scalar::{Dec, Positive, Ts};

/// Days of an answer when nobody says how many; at most 1,000.
const DAYS_DEFAULT: u32 = 500;

pub struct AccountApi(pub Arc<App>);

#[OpenApi(tag = "Tag::Portfolio")]
impl AccountApi {
    /// The account
    ///
    /// Its money, exact, and what it is worth at the last prices. When one of them is past the
    /// freshness threshold, the answer says `stale`.
    #[oai(path = "/portfolio/account", method = "get", operation_id = "portfolio_account")]
    async fn account(&self, reader: PortfolioReader) -> Result<Json<AccountBody>> {
        let account = reader.account();
        let body = self.0.views.at_rest(|_| {
            let holdings = self.0.views.holdings();
            holdings.get(account).map(|held| AccountBody::of(&self.0, account, held))
        });
        Ok(Json(body.unwrap_or_else(|| Err(not_open(account)))?))
    }

    /// Daily equity
    ///
    /// What the account was worth at the end of each UTC day, the oldest first. `start` and `end`
    /// are both inclusive and mean the start of a day. With neither, or with `end` alone, the newest
    /// come; with `start`, the oldest from there on.
    #[oai(path = "/portfolio/equity", method = "get", operation_id = "portfolio_equity")]
    async fn equity(
        &self,
        reader: PortfolioReader,
        /// The first day, RFC 3339; a time without zone is UTC.
        start: Query<Option<Ts>>,
        /// The last day, RFC 3339; a time without zone is UTC.
        end: Query<Option<Ts>>,
        /// Days at most; 500 when absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u32>>,
    ) -> Result<Json<EquityBody>> {
        let (start, end) = (start.0.map(|ts| ts.0), end.0.map(|ts| ts.0));
        if start.zip(end).is_some_and(|(start, end)| start > end) {
            return Err(Problem::field("start", "must not be after end").into());
        }
        let direction = if start.is_some() { Direction::Forward } else { Direction::Backward };
        // The end of a range of days is not in it.
        let end = end.map_or(Timestamp::MAX, |end| end.plus(1));
        let range = start.unwrap_or(Timestamp::MIN)..end;
        let days_max = limit.0.unwrap_or(DAYS_DEFAULT);
        let days = self.0.days(reader.account(), range, direction, days_max).await?;
        let equity = days.iter().map(EquityDayBody::of).collect();
        Ok(Json(EquityBody { account: reader.account().to_string(), equity }))
    }
}

impl App {
    async fn days(
        &self,
        account: &AccountId,
        range: Range<Timestamp>,
        direction: Direction,
        days_max: u32,
    ) -> Result<Vec<DayClosed>, Problem> {
        let held = {
            let holdings = self.views.holdings();
            let held = holdings.get(account).ok_or_else(|| not_open(account))?;
            held.day.clone()
        };
        let Some(store) = &self.store else {
            // Without an archive there is the last day and no other.
            return Ok(held.into_iter().filter(|day| range.contains(&day.day)).collect());
        };
        let archive = store.archive();
        let shown = self.views.applied(Log::Ledger);
        in_time(async {
            archive.wait_accounts_applied(shown).await?;
            archive.equity(account, range, direction, days_max).await
        })
        .await
    }
}

/// Returns the problem of an account that an operator has not opened.
pub fn not_open(account: &AccountId) -> Problem {
    let detail = format!("the account {account} is not open: an operator opens it");
    Problem::new(Code::NotFound, detail)
}

/// Returns an amount of money: exact, with the digits after the point that money has at least.
pub fn money(value: Decimal) -> Dec {
    Dec::at(value, PRICE_SCALE_MIN)
}

/// An account at the last prices of what it holds.
#[derive(Object)]
pub struct AccountBody {
    pub account: String,
    pub currency: String,
    pub mode: ModeBody,
    /// free + margin.
    pub balance: Dec,
    /// balance + unrealized.
    pub equity: Dec,
    /// What can be withdrawn or put into positions.
    pub free: Dec,
    /// What stands for open positions.
    pub margin: Dec,
    /// Gross, of all open positions.
    pub unrealized: Dec,
    /// Maintenance margin to margin and unrealized, of all positions together. Each is liquidated
    /// by its own.
    pub margin_ratio: Dec,
    pub maintenance_margin: Dec,
    /// All open positions at the last prices.
    pub notional: Dec,
    /// Open positions.
    pub positions: u64,
    pub limits: LimitsBody,
    pub deposits: Dec,
    pub withdrawals: Dec,
    /// Gross, of all positions, open and closed.
    pub realized: Dec,
    pub fees: Dec,
    /// Received; negative when more was paid.
    pub funding: Dec,
    /// What the house has lost to it.
    pub shortfall: Dec,
    pub opened_at: Ts,
    /// Of the oldest of the last prices; null when nothing is held.
    pub timestamp: Option<Ts>,
    pub age_ms: u64,
    pub stale: bool,
    /// The account's newest entry.
    pub entry: EntryBody,
}

#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[oai(rename_all = "lowercase")]
pub enum ModeBody {
    Hedging,
    Netting,
}

#[derive(Object)]
struct EquityBody {
    account: String,
    /// The oldest first.
    equity: Vec<EquityDayBody>,
}

/// What the account was worth when a UTC day was over.
#[derive(Object)]
struct EquityDayBody {
    /// The start of the day.
    timestamp: Ts,
    /// free + margin + unrealized.
    equity: Dec,
    free: Dec,
    margin: Dec,
    unrealized: Dec,
    /// The prices at which it was valued, by instrument, and where they stand.
    marks: BTreeMap<String, MarkBody>,
}

#[derive(Object)]
struct MarkBody {
    price: Dec,
    market: EntryBody,
}

impl EquityDayBody {
    fn of(day: &DayClosed) -> Self {
        let mark = |(instrument, mark): (&Instrument, &Mark)| {
            let body =
                MarkBody { price: Dec(mark.price.value()), market: market_body(&mark.market) };
            (instrument.to_string(), body)
        };
        Self {
            timestamp: Ts(day.day),
            equity: money(day.equity),
            free: money(day.free),
            margin: money(day.margin),
            unrealized: money(day.unrealized),
            marks: day.marks.iter().map(mark).collect(),
        }
    }
}

/// How much an account may hold.
#[derive(Object)]
pub struct LimitsBody {
    /// Open positions at once.
    pub positions_max: u32,
    /// The cost of all open positions together.
    pub notional_max: Positive,
    /// Of an instrument, both sides added up; without an entry `notional_max` alone bounds it.
    #[oai(default)]
    pub quantity_max: BTreeMap<String, Positive>,
}

impl AccountBody {
    /// Returns an account at the last prices.
    pub fn of(app: &App, account: &AccountId, held: &Held) -> Result<Self, Problem> {
        let standing = held.account.standing().ok_or_else(|| not_open(account))?;
        let mut marks = Marks::of(app);
        let mut seen: BTreeMap<&Instrument, Seen> = BTreeMap::new();
        for position in held.account.positions().values() {
            seen.insert(&position.instrument, marks.of_held(&position.instrument)?);
        }
        let oldest = seen.values().min_by_key(|seen| seen.traded_at);
        let mark = |instrument: &Instrument| seen.get(instrument).map(|seen| seen.price);
        let worth = valuation::of_account(&held.account, mark, |of| app.terms.tiers(of).as_ref());
        let worth = worth.ok_or_else(|| {
            Problem::new(Code::Internal, format!("{account} cannot be valued exactly"))
        })?;
        let sums = held.account.money();
        let stream = Stream::Account(account.clone());
        Ok(Self {
            account: account.to_string(),
            currency: standing.currency.to_string(),
            mode: standing.mode.into(),
            balance: money(worth.balance),
            equity: money(worth.equity),
            free: money(sums.free),
            margin: money(worth.margin),
            unrealized: money(worth.unrealized),
            margin_ratio: Dec(worth.margin_ratio),
            maintenance_margin: money(worth.maintenance_margin),
            notional: money(worth.notional),
            positions: held.account.positions().len() as u64,
            limits: LimitsBody::of(&standing.limits),
            deposits: money(sums.deposits),
            withdrawals: money(sums.withdrawals),
            realized: money(sums.realized),
            fees: money(sums.fees),
            funding: money(sums.funding),
            shortfall: money(sums.shortfall),
            opened_at: Ts(held.opened_at),
            timestamp: oldest.map(|oldest| Ts(oldest.traded_at)),
            age_ms: seen.values().map(|seen| seen.age_ms).max().unwrap_or_default(),
            stale: seen.values().any(|seen| seen.stale),
            entry: EntryBody::of(&stream, held.version),
        })
    }
}

impl LimitsBody {
    pub fn of(limits: &Limits) -> Self {
        let quantity = |(instrument, quantity): (&Instrument, &Quantity)| {
            (instrument.to_string(), Positive(quantity.value()))
        };
        Self {
            positions_max: limits.positions_max,
            notional_max: Positive(limits.notional_max.value()),
            quantity_max: limits.quantity_max.iter().map(quantity).collect(),
        }
    }
}

impl From<Mode> for ModeBody {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Hedging => Self::Hedging,
            Mode::Netting => Self::Netting,
        }
    }
}

impl From<ModeBody> for Mode {
    fn from(mode: ModeBody) -> Self {
        match mode {
            ModeBody::Hedging => Self::Hedging,
            ModeBody::Netting => Self::Netting,
        }
    }
}
