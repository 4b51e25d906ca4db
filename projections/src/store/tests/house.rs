//! A node's two logs, its views and its store, and what happens to them.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Mutex;
use std::task::Poll;

use domain::account::position::Mode;
use domain::book::{BookSnapshot, Level, Session};
use domain::candle::event::CandleEvent;
use domain::candle::{Candle, Interval, Source};
use domain::event::Event;
use domain::market::event::{MarketEvent, Told};
use domain::name::AccountId;
use domain::tick::{Side, Tick};
use domain::time::{MINUTE, Timestamp};
use eventlog::entry::{Actor, Draft, Hash};
use eventlog::log::{EventLog, Expected};
use eventlog::memory::Memory;
use eventlog::stream::{Log, Stream};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tempfile::TempDir;
use uuid::Uuid;

use super::super::*;
use crate::projector;
use crate::sample::accounts::{Asked, Asking};
use crate::sample::at;
use crate::sample::keys::{AskedOfKeys, Giving};

pub(super) struct House {
    pub(super) folder: TempDir,
    pub(super) ledger: Arc<Memory>,
    pub(super) market: Arc<Memory>,
    told: Mutex<Past>,
}

#[derive(Default)]
struct Past {
    entries: u128,
    minutes: i64,
    accounts: BTreeMap<usize, Asking>,
    giving: Option<Giving>,
}

/// What may happen between two moments.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Trades of an instrument, some minutes after what happened before.
    Trade {
        instrument: usize,
        minutes: i64,
        prices: Vec<u32>,
    },
    /// Trades are missing, and come after all or not.
    Gap {
        instrument: usize,
        filled: bool,
    },
    Book {
        instrument: usize,
        price: u32,
    },
    /// The venue's own bars of the last few minutes.
    Import {
        instrument: usize,
        minutes: i64,
    },
    /// One of two accounts is asked for something. It is opened first.
    Account {
        account: usize,
        asked: Asked,
    },
    /// Something is asked about keys.
    Keys(AskedOfKeys),
    /// The hours that have closed go into the ledger.
    Record,
    Fold {
        log: Log,
        entries: usize,
    },
    /// A snapshot, so many minutes after the one before.
    Snapshot {
        minutes: i64,
    },
    Restart,
}

impl House {
    pub(super) fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            ledger: Arc::new(Memory::new(Log::Ledger)),
            market: Arc::new(Memory::new(Log::Market)),
            told: Mutex::default(),
        }
    }

    /// Returns the same logs with a folder of their own.
    pub(super) fn again(&self) -> Self {
        Self { ledger: self.ledger.clone(), market: self.market.clone(), ..Self::new() }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("read.db")
    }

    pub(super) async fn open(&self) -> Store {
        Store::open(&self.path()).await.unwrap().0
    }

    /// Opens the store and restores views from it.
    pub(super) async fn start(&self) -> (Store, Views, Loaded) {
        let store = self.open().await;
        let views = Views::new(Vec::new());
        let loaded = self.load(&store, &views).await.unwrap();
        (store, views, loaded)
    }

    pub(super) async fn load(&self, store: &Store, views: &Views) -> Result<Loaded, StoreError> {
        store.load(views, self.ledger.as_ref(), self.market.as_ref()).await
    }

    /// Folds all that the logs hold.
    pub(super) async fn show(&self, views: &Views) {
        projector::catch_up(Log::Ledger, self.ledger.as_ref(), views).await.unwrap();
        projector::catch_up(Log::Market, self.market.as_ref(), views).await.unwrap();
    }

    /// The state hashes of views that were folded from nothing.
    pub(super) async fn truth(&self) -> BTreeMap<&'static str, Hash> {
        let views = Views::new(Vec::new());
        self.show(&views).await;
        views.state_hashes()
    }

    pub(super) fn log(&self, log: Log) -> &Memory {
        match log {
            Log::Ledger => &self.ledger,
            Log::Market => &self.market,
        }
    }

    /// Takes one step of the world; of the node's own steps only the folding.
    pub(super) async fn step(&self, step: &Step, views: &Views) {
        match step {
            Step::Trade { instrument, minutes, prices } => {
                self.told.lock().unwrap().minutes += minutes;
                let trades = prices.iter().enumerate().map(|(place, price)| {
                    let place = i64::try_from(place).unwrap();
                    self.trade(place * 7_000_000, *price)
                });
                self.put(&market(*instrument), trades.collect()).await;
            }
            Step::Gap { instrument, filled } => {
                let (now, first_id) = (self.now(), u64::try_from(self.now().micros()).unwrap());
                let (after, before) = (now.plus(-3 * MINUTE), now);
                let last_id = first_id + 5;
                let opened = MarketEvent::FeedGapOpened { first_id, last_id, after, before };
                let mut events = vec![Event::Market(opened)];
                if *filled {
                    events.push(MarketEvent::FeedGapFilled { first_id, last_id }.into());
                }
                self.put(&market(*instrument), events).await;
            }
            Step::Book { instrument, price } => {
                let level = |price: u32| Level {
                    price: price.to_string().parse().unwrap(),
                    quantity: rust_decimal::Decimal::ONE,
                };
                let snapshot = BookSnapshot {
                    update_id: 7,
                    bids: vec![level(*price)],
                    asks: vec![level(price + 1)],
                };
                let now = self.now();
                let told = Told { session: Session(1), venue_time: now, received_at: now };
                let event = MarketEvent::BookSnapshotObserved { told, snapshot };
                self.put(&market(*instrument), vec![event.into()]).await;
            }
            Step::Import { instrument, minutes } => {
                let newest = Interval::Minute.bucket(self.now());
                let bars = (1..=*minutes).rev().map(|back| {
                    let candle = Candle {
                        trades: 3,
                        source: Source::Native,
                        ..Candle::filled(newest.plus(-back * MINUTE), "100".parse().unwrap())
                    };
                    let interval = Interval::Minute;
                    Event::Candle(CandleEvent::CandleImported { interval, candle })
                });
                self.put(&candles(*instrument), bars.collect()).await;
            }
            Step::Account { account, asked } => self.ask(*account, asked).await,
            Step::Keys(asked) => self.ask_of_keys(asked).await,
            Step::Record => self.record(views).await,
            Step::Fold { log, entries } => {
                let read = self.log(*log).read(views.applied(*log), *entries).await.unwrap();
                views.fold(*log, &read);
            }
            Step::Snapshot { .. } | Step::Restart => {}
        }
    }

    pub(super) async fn ask(&self, account: usize, asked: &Asked) {
        let mode = [Mode::Hedging, Mode::Netting][account];
        let (opened, events) = {
            let mut told = self.told.lock().unwrap();
            let mut opened = Vec::new();
            let asking = told.accounts.entry(account).or_insert_with(|| {
                let first = 1_000 * (account as u128);
                let mut asking = Asking::new(first, at("00:00"));
                opened = asking.open(mode);
                asking
            });
            (opened, asking.ask(asked))
        };
        for events in [opened, events] {
            if !events.is_empty() {
                self.put(&Stream::Account(account_id(account)), events).await;
            }
        }
    }

    async fn ask_of_keys(&self, asked: &AskedOfKeys) {
        let told = {
            let mut told = self.told.lock().unwrap();
            told.giving.get_or_insert_with(|| Giving::new(at("00:00"))).ask(asked)
        };
        if let Some((stream, events)) = told {
            self.put(&stream, events).await;
        }
    }

    /// Records the hours that have closed, as the job does.
    async fn record(&self, views: &Views) {
        let due = views.candles().unrecorded(16);
        for hour in due {
            let (venue, instrument) = (hour.venue, hour.instrument);
            let closed = |candle| CandleEvent::CandleClosed { interval: Interval::Minute, candle };
            let events = hour.candles.into_iter().map(closed).map(Event::Candle).collect();
            self.put(&Stream::Candles { venue, instrument }, events).await;
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        at("09:00").plus(self.told.lock().unwrap().minutes * MINUTE)
    }

    fn trade(&self, later: i64, price: u32) -> Event {
        let mut told = self.told.lock().unwrap();
        told.entries += 1;
        let traded_at = at("09:00").plus(told.minutes * MINUTE + later);
        Event::Market(MarketEvent::TickObserved(Tick {
            trade_id: u64::try_from(told.entries).unwrap(),
            price: price.to_string().parse().unwrap(),
            quantity: "0.5".parse().unwrap(),
            taker: Side::Buy,
            traded_at,
            received_at: traded_at,
        }))
    }

    pub(super) async fn put(&self, stream: &Stream, events: Vec<Event>) {
        let append_id = {
            let mut told = self.told.lock().unwrap();
            told.entries += 1;
            Uuid::from_u128(told.entries)
        };
        let draft = Draft {
            stream: stream.clone(),
            append_id,
            command_id: Uuid::nil(),
            recorded_at: self.now(),
            actor: Actor { principal: "a".into(), role: "feed".into(), via: "test".into() },
            correlation_id: None,
            causation: None,
            events,
        };
        self.log(stream.log()).append(draft, Expected::Any).await.unwrap();
    }

    /// Runs a statement on the file, as nobody should.
    pub(super) async fn sql(&self, statement: &str) -> Vec<SqliteRow> {
        let options = SqliteConnectOptions::new().filename(self.path());
        let mut connection = options.connect().await.unwrap();
        let statement = AssertSqlSafe(statement.to_owned());
        let rows = sqlx::query(statement).fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        rows
    }

    /// Returns a number that the file holds.
    pub(super) async fn count(&self, statement: &str) -> i64 {
        sqlx::Row::get(&self.sql(statement).await[0], 0)
    }
}

/// A world in which something of everything happens, over a few days.
pub(super) async fn busy(entries: usize) -> House {
    let house = House::new();
    let views = Views::new(Vec::new());
    for place in 0..entries {
        let (instrument, number) = (place % 2, u32::try_from(place).unwrap());
        let prices = (0..4).map(|tick| 100 + (number * 7 + tick * 3) % 23).collect();
        let step = match place % 8 {
            3 => Step::Book { instrument, price: 90 + number % 9 },
            5 => Step::Import { instrument, minutes: 5 },
            6 => Step::Gap { instrument, filled: place % 16 == 6 },
            _ => Step::Trade { instrument, minutes: 13, prices },
        };
        house.step(&step, &views).await;
        house.show(&views).await;
        house.step(&Step::Record, &views).await;
        house.step(&Step::Keys(giving(place)), &views).await;
        for asked in trading(number) {
            house.step(&Step::Account { account: place % 2, asked }, &views).await;
        }
    }
    house
}

/// What an account is asked for at a time: it comes into positions and out of them.
fn trading(number: u32) -> Vec<Asked> {
    let price = 90 + number * 7 % 23;
    let open = |long| Asked::Open { long, leverage: 5 + number % 15, price, quantity: 3 };
    match number / 2 % 6 {
        0 => vec![open(true), Asked::Stops(0)],
        1 => vec![open(false)],
        2 => vec![open(true), Asked::Reduce(number as usize, price)],
        3 => vec![Asked::Fund(0), Asked::Close(number as usize, price)],
        4 => vec![Asked::Liquidate(0, number % 30), Asked::CloseDay],
        _ => vec![Asked::Deposit(10), Asked::Close(0, price), Asked::CloseDay],
    }
}

/// What is asked about keys at a time: they come and go.
fn giving(place: usize) -> AskedOfKeys {
    match place % 6 {
        0 | 1 => AskedOfKeys::Create,
        2 => AskedOfKeys::RevokeToken(30),
        3 => AskedOfKeys::Rotate(place),
        4 => AskedOfKeys::Use(place),
        _ => AskedOfKeys::Revoke(place),
    }
}

pub(super) fn market(instrument: usize) -> Stream {
    format!("market-binance.{}", instrument_name(instrument)).parse().unwrap()
}

pub(super) fn candles(instrument: usize) -> Stream {
    format!("candles-binance.{}", instrument_name(instrument)).parse().unwrap()
}

pub(super) fn account_id(account: usize) -> AccountId {
    ["alice", "bob"][account].parse().unwrap()
}

pub(super) fn instrument_name(instrument: usize) -> &'static str {
    ["BTC-USDT", "ETH-USDT"][instrument]
}

/// Polls a future so many times at the most, and then gives it up.
pub(super) async fn polled<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        let Some(fewer) = left.checked_sub(1) else { return Poll::Ready(None) };
        left = fewer;
        future.as_mut().poll(context).map(Some)
    })
    .await
}
