//! A node to test the door of.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use commands::clock::Clock;
use commands::desk::Desk;
use commands::feed_status::{FeedBoard, FeedStatus};
use commands::register::Register;
use commands::register::trail::Trail;
use commands::terms::TradingTerms;
use domain::account::limits::Limits;
use domain::book::{BookDiff, BookSnapshot, Level, LostReason, Session};
use domain::event::Event;
use domain::market::event::{MarketEvent, Told};
use domain::observation::Pace;
use domain::tick::{Side, Tick};
use domain::time::Timestamp;
use eventlog::entry::{Actor, Draft, Offset};
use eventlog::keep::{Keep, KeepError, Kept};
use eventlog::log::{EventLog, Expected, LogError, ReadLog};
use eventlog::memory::Memory;
use eventlog::stream::{Log, Stream};
use projections::projector;
use projections::store::Store;
use projections::views::Views;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::app::App;
use crate::auth::token_keys::{Algorithm, TokenKeys};
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::neighbours::Neighbours;
use crate::opening::Opening;
use crate::routes;
use crate::rules::Rules;
use crate::settings::Settings;

pub(crate) const NOON: &str = "2024-03-21T09:30:01Z";

pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn at(text: &str) -> Self {
        let clock = Self(AtomicI64::new(0));
        clock.set(text);
        clock
    }

    pub(crate) fn set(&self, text: &str) {
        let instant: Timestamp = text.parse().unwrap();
        self.0.store(instant.micros(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// States that are gone with the test.
#[derive(Default)]
struct TestKeep(Mutex<BTreeMap<String, Kept>>);

#[async_trait]
impl Keep for TestKeep {
    async fn load(&self, name: &str) -> Result<Option<Kept>, KeepError> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }

    async fn save(&self, name: &str, kept: Kept) -> Result<(), KeepError> {
        self.0.lock().unwrap().insert(name.to_owned(), kept);
        Ok(())
    }
}

/// A fee of four basis points, and limits that a test reaches.
fn terms() -> TradingTerms {
    TradingTerms {
        fee_rate: "0.0004".parse().unwrap(),
        tiers: BTreeMap::new(),
        tiers_default: Arc::default(),
        limits_default: Limits {
            positions_max: 5,
            notional_max: "1000000".parse().unwrap(),
            quantity_max: BTreeMap::from([("ETH-USDT".parse().unwrap(), "100".parse().unwrap())]),
        },
    }
}

/// Whose account it is that tests trade for.
pub(crate) const TRADER: &str = "demo";

/// One feed, which brings BTC-USDT and ETH-USDT from binance.
fn feed() -> Arc<FeedStatus> {
    let instruments = vec!["BTC-USDT".parse().unwrap(), "ETH-USDT".parse().unwrap()];
    Arc::new(FeedStatus::new("binance".parse().unwrap(), instruments, Pace::Live))
}

/// Limits that no test reaches that is not about them.
fn rules() -> Rules {
    Rules {
        requests_max: 1_000_000,
        requests_ip_max: 1_000_000,
        failures_ip_max: 1_000_000,
        ..Rules::default()
    }
}

fn gate(ledger: &Arc<dyn EventLog>, clock: &Arc<TestClock>) -> Gate {
    let register = Arc::new(Register::new(ledger.clone(), clock.clone()));
    let trail = Trail::new(ledger.clone(), clock.clone(), "node-1".parse().unwrap());
    let text = TokenKeys::drawn(Algorithm::Hs256);
    let token_keys = TokenKeys::read(text.expose_secret()).unwrap();
    Gate::new(token_keys, rules(), register, Arc::new(trail))
}

/// What the door of a test stands on.
fn app(
    clock: &Arc<TestClock>,
    (ledger, market): (Arc<dyn EventLog>, Arc<dyn ReadLog>),
    feed: &Arc<FeedStatus>,
    settings: Settings,
    store: Option<Store>,
) -> App {
    let keep = Arc::new(TestKeep::default());
    App {
        views: Arc::new(Views::new(vec![feed.venue.clone()])),
        feeds: Arc::new(FeedBoard::new([Arc::clone(feed)])),
        clock: clock.clone(),
        desk: Arc::new(Desk::new(ledger.clone(), keep, clock.clone())),
        terms: Arc::new(terms()),
        store,
        opening: Opening::shut(),
        gate: Arc::new(gate(&ledger, clock)),
        settings,
        ledger,
        market,
    }
}

/// What a door of a test stands on that has no house around it.
pub(crate) fn foundation(settings: Settings) -> App {
    let clock = Arc::new(TestClock::at(NOON));
    let (ledger, market) = (Memory::new(Log::Ledger), Memory::new(Log::Market));
    app(&clock, (Arc::new(ledger), Arc::new(market)), &feed(), settings, None)
}

pub(crate) struct House {
    pub(crate) address: SocketAddr,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) feed: Arc<FeedStatus>,
    pub(crate) stop: CancellationToken,
    pub(crate) serving: JoinHandle<std::io::Result<()>>,
    /// Writes down who came; what waits is written when the house stops.
    pub(crate) recording: JoinHandle<Result<(), LogError>>,
    pub(crate) views: Arc<Views>,
    pub(crate) market: Arc<Memory>,
    pub(crate) opening: Opening,
    pub(crate) gate: Arc<Gate>,
    pub(crate) ledger: Arc<Memory>,
    pub(crate) metrics: Metrics,
}

/// How a house reaches its logs, and what is in them.
pub(crate) struct Reached {
    pub(crate) ledger: Arc<dyn EventLog>,
    pub(crate) market: Arc<dyn ReadLog>,
    pub(crate) memories: (Arc<Memory>, Arc<Memory>),
}

impl Reached {
    /// Returns logs that stand in this process, and never are away.
    pub(crate) fn at_once(ledger: Arc<Memory>, market: Arc<Memory>) -> Self {
        let memories = (Arc::clone(&ledger), Arc::clone(&market));
        Self { ledger, market, memories }
    }
}

/// A trade of id, time, price, quantity; the even ids are sold.
pub(crate) fn tick(trade_id: u64, traded_at: &str, price: &str, quantity: &str) -> Event {
    let traded_at = traded_at.parse().unwrap();
    let tick = Tick {
        trade_id,
        price: price.parse().unwrap(),
        quantity: quantity.parse().unwrap(),
        taker: if trade_id.is_multiple_of(2) { Side::Sell } else { Side::Buy },
        traded_at,
        received_at: traded_at,
    };
    Event::Market(MarketEvent::TickObserved(tick))
}

/// Levels of price and quantity: `65000.00:1.234 64999.00:2.345`.
pub(crate) fn levels(text: &str) -> Vec<Level> {
    let level = |level: &str| {
        let (price, quantity) = level.split_once(':').unwrap();
        Level { price: price.parse().unwrap(), quantity: quantity.parse().unwrap() }
    };
    text.split_whitespace().map(level).collect()
}

fn told(at: &str) -> Told {
    let at = at.parse().unwrap();
    Told { session: Session(1), venue_time: at, received_at: at }
}

/// A whole book as of an update, told at a time.
pub(crate) fn snapshot(update_id: u64, at: &str, bids: &str, asks: &str) -> Event {
    let snapshot = BookSnapshot { update_id, bids: levels(bids), asks: levels(asks) };
    Event::Market(MarketEvent::BookSnapshotObserved { told: told(at), snapshot })
}

/// The update `id`, which follows the one before it.
pub(crate) fn diff(id: u64, at: &str, bids: &str, asks: &str) -> Event {
    let (bids, asks) = (levels(bids), levels(asks));
    let diff = BookDiff { first_id: id, last_id: id, previous_id: None, bids, asks };
    Event::Market(MarketEvent::BookDiffObserved { told: told(at), diff })
}

pub(crate) fn lost(at: &str, reason: LostReason) -> Event {
    Event::Market(MarketEvent::BookLost { told: told(at), reason })
}

/// The venue was heard at this time of its own.
pub(crate) fn pulse(at: &str) -> Event {
    let at = at.parse().unwrap();
    Event::Market(MarketEvent::PulseObserved { venue_time: at, received_at: at })
}

impl House {
    pub(crate) async fn open() -> Self {
        Self::with(Settings::default()).await
    }

    /// A house whose one feed brings BTC-USDT and ETH-USDT from binance.
    pub(crate) async fn with(settings: Settings) -> Self {
        Self::around(Arc::new(Memory::new(Log::Market)), settings, 0).await
    }

    /// A house that has caught up with a log of at most so many entries.
    pub(crate) async fn around(market: Arc<Memory>, settings: Settings, entries: usize) -> Self {
        let house = Self::shut(market, settings).await;
        let entries = house.market.read(Offset(0), entries).await.unwrap();
        house.views.fold(Log::Market, &entries);
        house.opening.open();
        house
    }

    /// A house around a log that its views do not show yet.
    pub(crate) async fn shut(market: Arc<Memory>, settings: Settings) -> Self {
        Self::build(market, settings, None).await
    }

    /// An open house with a read store.
    pub(crate) async fn with_store(store: Store) -> Self {
        let market = Arc::new(Memory::new(Log::Market));
        let house = Self::build(market, Settings::default(), Some(store)).await;
        house.opening.open();
        house
    }

    async fn build(market: Arc<Memory>, settings: Settings, store: Option<Store>) -> Self {
        let ledger = Arc::new(Memory::new(Log::Ledger));
        Self::build_on(Reached::at_once(ledger, market), settings, store, None).await
    }

    /// Another node of the same house: its logs are those of the first.
    pub(crate) async fn beside(&self, neighbours: Option<Arc<dyn Neighbours>>) -> Self {
        let logs = Reached::at_once(Arc::clone(&self.ledger), Arc::clone(&self.market));
        let house = Self::build_on(logs, Settings::default(), None, neighbours).await;
        house.fold().await;
        house.opening.open();
        house
    }

    /// A house that is still shut, on logs that may be anywhere.
    pub(crate) async fn build_on(
        reached: Reached,
        settings: Settings,
        store: Option<Store>,
        neighbours: Option<Arc<dyn Neighbours>>,
    ) -> Self {
        let clock = Arc::new(TestClock::at(NOON));
        let feed = feed();
        let (ledger, market) = reached.memories;
        let mut app = app(&clock, (reached.ledger, reached.market), &feed, settings, store);
        if let (Some(neighbours), Some(gate)) = (neighbours, Arc::get_mut(&mut app.gate)) {
            gate.neighbours = Some(neighbours);
        }
        let metrics = Metrics::of(&app);
        let (views, opening, gate) = (app.views.clone(), app.opening.clone(), app.gate.clone());
        tokio::spawn(projector::follow(Log::Ledger, ledger.clone(), Arc::clone(&views)));
        let stop = CancellationToken::new();
        let (trail, stopped) = (Arc::clone(&gate.trail), stop.clone().cancelled_owned());
        let recording = tokio::spawn(async move { trail.run(stopped).await });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(routes::serve(listener, None, app, stop.clone()));
        Self {
            address,
            clock,
            feed,
            stop,
            serving,
            recording,
            views,
            market,
            opening,
            gate,
            ledger,
            metrics,
        }
    }

    /// Changes the rules of the door while it is open.
    pub(crate) fn ruled(&self, change: impl FnOnce(&mut Rules)) {
        let mut rules = Rules::clone(&self.gate.rules.load());
        change(&mut rules);
        self.gate.rules.store(Arc::new(rules));
    }

    /// Puts events into the log and shows them to the views.
    pub(crate) async fn record(&self, stream: &str, events: Vec<Event>) {
        let before = self.market.head().await.unwrap();
        append(&self.market, stream, events).await;
        assert_eq!(self.views.applied(Log::Market), before);
        self.fold().await;
    }

    /// Shows the views what they have not seen.
    pub(crate) async fn fold(&self) {
        let entries = self.market.read(self.views.applied(Log::Market), 1_000).await.unwrap();
        self.views.fold(Log::Market, &entries);
    }

    /// Puts events into the ledger and shows them to the views. An archive does not see them yet.
    pub(crate) async fn tell_ledger(&self, stream: &str, events: Vec<Event>) {
        append(&self.ledger, stream, events).await;
        let entries = self.ledger.read(self.views.applied(Log::Ledger), 1_000).await.unwrap();
        self.views.fold(Log::Ledger, &entries);
    }

    /// Opens the trader's account, with money in it.
    pub(crate) async fn fund(&self, amount: &str) {
        self.fund_for(TRADER, amount).await;
    }

    /// Opens an account, with money in it.
    pub(crate) async fn fund_for(&self, account: &str, amount: &str) {
        let body = format!(r#"{{"account":"{account}"}}"#);
        let opened = self.post("/v1/operator/accounts", &body).await;
        assert_eq!(opened.status, 201, "{}", opened.body);
        let body = format!(r#"{{"amount":"{amount}"}}"#);
        let paid = self.post(&format!("/v1/operator/accounts/{account}/deposits"), &body).await;
        assert_eq!(paid.status, 201, "{}", paid.body);
    }

    /// A house in which BTC trades at 64,000, and the trader has an account with money in it.
    pub(crate) async fn trading() -> Self {
        let house = Self::open().await;
        house.trade(1, "64000.00").await;
        house.fund("100000.00").await;
        house
    }

    /// What BTC trades at from now on.
    pub(crate) async fn trade(&self, id: u64, price: &str) {
        let ticks = vec![tick(id, "2024-03-21T09:30:00Z", price, "1.5")];
        self.record("market-binance.BTC-USDT", ticks).await;
    }

    /// Opens a position of the trader, and returns its name.
    pub(crate) async fn position(&self, body: &str) -> String {
        let opened = self.post("/v1/portfolio/positions", body).await;
        assert_eq!(opened.status, 201, "{}", opened.body);
        opened.json()["position_id"].as_str().unwrap().to_owned()
    }

    /// Returns how many entries the ledger has.
    pub(crate) async fn written(&self) -> u64 {
        self.ledger.head().await.unwrap().0
    }
}

pub(crate) async fn append(log: &Memory, stream: &str, events: Vec<Event>) {
    let stream: Stream = stream.parse().unwrap();
    let id = Uuid::now_v7();
    let actor = Actor { principal: "intake".into(), role: "feed".into(), via: "intake".into() };
    let draft = Draft {
        stream,
        append_id: id,
        command_id: id,
        recorded_at: NOON.parse().unwrap(),
        actor,
        correlation_id: None,
        causation: None,
        events,
    };
    log.append(draft, Expected::Any).await.unwrap();
}
