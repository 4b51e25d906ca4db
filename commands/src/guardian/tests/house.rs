//! Two logs in memory, those who write into them, and a drawing of what fired.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use domain::account::command::{AccountCommand, OpenPosition};
use domain::account::event::{AccountEvent, Cause, Firing, Trigger};
use domain::account::limits::Limits;
use domain::account::position::{Leverage, Mode, PositionId, PositionSide};
use domain::amount::Quantity;
use domain::book::{BookDiff, BookSnapshot, Level, LostReason, Session};
use domain::fill::{Basis, Fill};
use domain::instrument::{Instrument, Venue};
use domain::margin::Tiers;
use domain::market::event::{MarketEvent, Told};
use domain::name::AccountId;
use domain::tick::{Side, Tick};
use domain::time::{SECOND, Timestamp};
use eventlog::entry::{Actor, Draft};
use eventlog::keep::{KeepError, Kept};
use eventlog::log::{Appended, Durability, EventLog, Expected, Tip};
use eventlog::memory::Memory;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::*;
use crate::desk::{Done, Order, append_id};

pub(super) fn noon() -> Timestamp {
    "2024-03-21T12:00:00Z".parse().unwrap()
}

/// A clock that is set by hand.
pub(super) struct Hand(AtomicI64);

impl Hand {
    pub(super) fn pass(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// Keeps what it is given.
#[derive(Default)]
pub(super) struct Drawer(pub(super) Mutex<BTreeMap<String, Kept>>);

#[async_trait]
impl Keep for Drawer {
    async fn load(&self, name: &str) -> Result<Option<Kept>, KeepError> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }

    async fn save(&self, name: &str, kept: Kept) -> Result<(), KeepError> {
        self.0.lock().unwrap().insert(name.to_owned(), kept);
        Ok(())
    }
}

/// A log that counts what is read of it, shows what came later of late, and cannot be reached for a
/// number of appends.
pub(super) struct Line {
    pub(super) log: Arc<Memory>,
    /// What stands behind this offset is not read yet.
    pub(super) shown: AtomicU64,
    pub(super) entries_read: AtomicUsize,
    pub(super) stream_entries_read: AtomicUsize,
    pub(super) appends_lost: AtomicUsize,
}

impl Line {
    pub(super) fn to(log: Arc<Memory>) -> Arc<Self> {
        Arc::new(Self {
            log,
            shown: AtomicU64::new(u64::MAX),
            entries_read: AtomicUsize::new(0),
            stream_entries_read: AtomicUsize::new(0),
            appends_lost: AtomicUsize::new(0),
        })
    }
}

#[async_trait]
impl ReadLog for Line {
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
        let mut entries = self.log.read(after, limit).await?;
        entries.retain(|entry| entry.offset.0 <= self.shown.load(Ordering::Relaxed));
        self.entries_read.fetch_add(entries.len(), Ordering::Relaxed);
        Ok(entries)
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let entries = self.log.read_stream(stream, after, limit).await?;
        self.stream_entries_read.fetch_add(entries.len(), Ordering::Relaxed);
        Ok(entries)
    }

    async fn last(&self, stream: &Stream) -> Result<Option<Entry>, LogError> {
        self.log.last(stream).await
    }

    async fn tip(&self, stream: &Stream) -> Result<Option<Tip>, LogError> {
        self.log.tip(stream).await
    }

    async fn floor(&self) -> Result<Offset, LogError> {
        self.log.floor().await
    }

    async fn head(&self) -> Result<Offset, LogError> {
        self.log.head().await
    }

    async fn wait_after(&self, after: Offset) -> Result<(), LogError> {
        self.log.wait_after(after).await
    }

    fn durability(&self) -> Durability {
        self.log.durability()
    }
}

#[async_trait]
impl EventLog for Line {
    async fn append(&self, draft: Draft, expected: Expected) -> Result<Appended, LogError> {
        let fails = |left: usize| left.checked_sub(1);
        if self.appends_lost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fails).is_ok() {
            return Err(LogError::Unavailable("the line is cut".to_owned()));
        }
        self.log.append(draft, expected).await
    }
}

/// Two logs, and a market in small numbers. Without fees, and without maintenance: a long of
/// leverage 10 that was opened at 100 is liquidated at 90, a short at 110.
pub(super) struct House {
    pub(super) ledger: Arc<Memory>,
    pub(super) market: Arc<Memory>,
    pub(super) clock: Arc<Hand>,
    pub(super) keep: Arc<Drawer>,
    orders: AtomicU64,
    /// The id of the last trade; trades come a second apart.
    trade_id: AtomicU64,
}

impl House {
    pub(super) fn new() -> Self {
        Self {
            ledger: Arc::new(Memory::new(Log::Ledger)),
            market: Arc::new(Memory::new(Log::Market)),
            clock: Arc::new(Hand(AtomicI64::new(noon().micros()))),
            keep: Arc::new(Drawer::default()),
            orders: AtomicU64::new(0),
            trade_id: AtomicU64::new(0),
        }
    }

    /// A house in which these accounts are open and full of money.
    pub(super) async fn with(accounts: &[&str]) -> Self {
        Self::with_mode(Mode::Hedging, accounts).await
    }

    pub(super) async fn with_mode(mode: Mode, accounts: &[&str]) -> Self {
        let house = Self::new();
        for account in accounts {
            let limits = Limits {
                positions_max: 1_000,
                notional_max: "10000000000".parse().unwrap(),
                quantity_max: BTreeMap::new(),
            };
            let currency = "USDT".parse().unwrap();
            let open = AccountCommand::OpenAccount { currency, mode, limits };
            house.ask(account, open).await;
            let amount = "10000000000".parse().unwrap();
            house.ask(account, AccountCommand::Deposit { amount }).await;
        }
        house
    }

    pub(super) fn desk(&self) -> Arc<Desk> {
        let keep = Arc::new(Drawer::default());
        Arc::new(Desk::new(self.ledger.clone(), keep, self.clock.clone()))
    }

    /// A guardian of a node of its own.
    pub(super) fn guardian(&self) -> Guardian {
        Guardian::new(self.parts())
    }

    pub(super) fn parts(&self) -> GuardianParts {
        GuardianParts {
            ledger: self.ledger.clone(),
            market: self.market.clone(),
            desk: self.desk(),
            keep: self.keep.clone(),
            clock: self.clock.clone(),
            terms: terms(),
        }
    }

    /// Asks for something that is done.
    pub(super) async fn ask(&self, account: &str, command: AccountCommand) -> Done {
        let key = self.orders.fetch_add(1, Ordering::Relaxed);
        let account: AccountId = account.parse().unwrap();
        let order = Order {
            append_id: append_id(&account, &key.to_string()),
            account,
            command: format!("{command:?}"),
            actor: actor(),
            correlation_id: None,
            causation: None,
        };
        let command = |_: &_| Ok::<_, Infallible>(command.clone());
        self.desk().submit(order, command).await.unwrap()
    }

    /// Opens a position of one at a price, by a market that stood at `version`.
    pub(super) async fn open(
        &self,
        account: &str,
        position: u32,
        terms: (PositionSide, u32),
        price: &str,
        version: u64,
    ) {
        self.order(account, position, terms, (price, one()), version).await;
    }

    pub(super) async fn order(
        &self,
        account: &str,
        position: u32,
        (side, leverage): (PositionSide, u32),
        (price, quantity): (&str, Quantity),
        version: u64,
    ) {
        let fill = Fill::at_price(quantity, price.parse().unwrap(), btc_at(version)).unwrap();
        let command = AccountCommand::OpenPosition(OpenPosition {
            position_id: PositionId::new(position.into()),
            instrument: btc(),
            side,
            leverage: Leverage::new(leverage.into()).unwrap(),
            reduce_only: false,
            fill,
            terms: terms().of(&btc()),
        });
        self.ask(account, command).await;
    }

    pub(super) async fn stops(
        &self,
        account: &str,
        position: u32,
        (stop_loss, take_profit): (&str, &str),
        version: u64,
    ) {
        let price = |text: &str| (text != "-").then(|| text.parse().unwrap());
        let command = AccountCommand::SetStops {
            position_id: PositionId::new(position.into()),
            stop_loss: price(stop_loss),
            take_profit: price(take_profit),
            mark: "100".parse().unwrap(),
            market: btc_at(version),
        };
        self.ask(account, command).await;
    }

    /// Closes this much of a position at its owner's wish.
    pub(super) async fn reduce(&self, account: &str, position: u32, quantity: &str, version: u64) {
        let (quantity, price) = (quantity.parse().unwrap(), "100".parse().unwrap());
        let fill = Fill::at_price(quantity, price, btc_at(version)).unwrap();
        let position_id = PositionId::new(position.into());
        let terms = terms().of(&btc());
        self.ask(account, AccountCommand::ReducePosition { position_id, fill, terms }).await;
    }

    /// Takes this share of a position's worth out of its margin, or puts it in.
    pub(super) async fn fund(&self, account: &str, position: u32, rate: &str, version: u64) {
        let command = AccountCommand::ApplyFunding {
            position_id: PositionId::new(position.into()),
            rate: rate.parse().unwrap(),
            mark: "100".parse().unwrap(),
            market: btc_at(version),
            terms: terms().of(&btc()),
        };
        self.ask(account, command).await;
    }

    /// Records an entry of trades at these prices; each is a second after the one before.
    pub(super) async fn trades(&self, prices: &str) -> u64 {
        let events = prices.split_whitespace().map(|price| {
            let trade_id = self.trade_id.fetch_add(1, Ordering::Relaxed) + 1;
            trade(trade_id, price, i64::try_from(trade_id).unwrap())
        });
        self.tell(events.collect()).await
    }

    /// Records what a market tells; returns the version of its entry.
    pub(super) async fn tell(&self, events: Vec<MarketEvent>) -> u64 {
        let key = self.orders.fetch_add(1, Ordering::Relaxed);
        let draft = Draft {
            stream: market_stream(),
            append_id: Uuid::from_u128(key.into()),
            command_id: Uuid::from_u128(key.into()),
            recorded_at: self.clock.now(),
            actor: actor(),
            correlation_id: None,
            causation: None,
            events: events.into_iter().map(Into::into).collect(),
        };
        self.market.append(draft, Expected::Any).await.unwrap().version.0
    }

    /// Returns what fired, in the order of the ledger.
    pub(super) async fn fired(&self) -> Vec<String> {
        let entries = self.ledger.read(Offset(0), usize::MAX).await.unwrap();
        entries.iter().filter_map(drawn).collect()
    }
}

/// Draws an entry that closed a position by itself: `alice 1 stop_loss by trade 7 at 95 in entry 7`.
fn drawn(entry: &Entry) -> Option<String> {
    let Stream::Account(account) = &entry.stream else { return None };
    let [Event::Account(event)] = entry.events.as_slice() else { return None };
    let (AccountEvent::PositionClosed(exited) | AccountEvent::PositionLiquidated(exited)) = event
    else {
        return None;
    };
    let Cause::Fired(Firing { trigger, trade_id, price, .. }) = exited.cause else { return None };
    assert_eq!(
        matches!(event, AccountEvent::PositionLiquidated(_)),
        trigger == Trigger::Liquidation
    );
    let number = (0..10_000).find(|n| PositionId::new(*n) == exited.position_id).unwrap();
    let trigger = match trigger {
        Trigger::Liquidation => "liquidation",
        Trigger::StopLoss => "stop_loss",
        Trigger::TakeProfit => "take_profit",
    };
    let basis = match exited.fill.basis {
        Basis::BookVwap => format!("filled by the book at {}", exited.fill.price.normalize()),
        Basis::LastPrice => "filled".to_owned(),
    };
    let version = exited.fill.market.version;
    Some(format!(
        "{account} {number} {trigger}: trade {trade_id} at {price} in entry {version}, {basis}"
    ))
}

pub(super) fn actor() -> Actor {
    let name = || "test".to_owned();
    Actor { principal: name(), role: name(), via: name() }
}

pub(super) fn terms() -> Arc<TradingTerms> {
    let tiers = Tiers::new(&[(Decimal::ZERO, Decimal::ZERO, Decimal::ONE_HUNDRED)]).unwrap();
    Arc::new(TradingTerms {
        fee_rate: Decimal::ZERO,
        tiers: BTreeMap::new(),
        tiers_default: Arc::new(tiers),
        limits_default: Limits {
            positions_max: 1,
            notional_max: "1".parse().unwrap(),
            quantity_max: BTreeMap::new(),
        },
    })
}

pub(super) fn one() -> Quantity {
    "1".parse().unwrap()
}

pub(super) fn btc() -> Instrument {
    "BTC-USDT".parse().unwrap()
}

fn venue() -> Venue {
    "binance".parse().unwrap()
}

pub(super) fn btc_at(version: u64) -> MarketEntry {
    MarketEntry { venue: venue(), instrument: btc(), version }
}

pub(super) fn market_stream() -> Stream {
    Stream::Market { venue: venue(), instrument: btc() }
}

pub(super) fn at(second: i64) -> Timestamp {
    noon().plus(second * SECOND)
}

pub(super) fn trade(trade_id: u64, price: &str, second: i64) -> MarketEvent {
    MarketEvent::TickObserved(Tick {
        trade_id,
        price: price.parse().unwrap(),
        quantity: one(),
        taker: Side::Buy,
        traded_at: at(second),
        received_at: at(second),
    })
}

fn told(second: i64) -> Told {
    Told { session: Session(1), venue_time: at(second), received_at: at(second) }
}

/// Reads `99x1 98x2`.
fn levels(text: &str) -> Vec<Level> {
    let level = |level: &str| {
        let (price, quantity) = level.split_once('x').unwrap();
        Level { price: price.parse().unwrap(), quantity: quantity.parse().unwrap() }
    };
    text.split_whitespace().map(level).collect()
}

pub(super) fn snapshot(update_id: u64, second: i64, bids: &str, asks: &str) -> MarketEvent {
    let snapshot = BookSnapshot { update_id, bids: levels(bids), asks: levels(asks) };
    MarketEvent::BookSnapshotObserved { told: told(second), snapshot }
}

pub(super) fn diff(update_id: u64, second: i64, bids: &str, asks: &str) -> MarketEvent {
    let (bids, asks) = (levels(bids), levels(asks));
    let diff = BookDiff { first_id: update_id, last_id: update_id, previous_id: None, bids, asks };
    MarketEvent::BookDiffObserved { told: told(second), diff }
}

pub(super) fn lost(second: i64) -> MarketEvent {
    MarketEvent::BookLost { told: told(second), reason: LostReason::Silent }
}
