//! A node in tests: two logs in memory and a clock. Views come and go; the logs stay.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use async_trait::async_trait;
use commands::clock::Clock;
use commands::desk::Desk;
use commands::pen::Pen;
use domain::candle::Candle;
use domain::event::Event;
use domain::market::event::MarketEvent;
use domain::tick::{Side, Tick};
use domain::time::Timestamp;
use eventlog::entry::{Actor, Draft, Entry, Offset, Version};
use eventlog::keep::{Keep, KeepError, Kept};
use eventlog::log::{Appended, Durability, EventLog, Expected, LogError, ReadLog, Tip};
use eventlog::memory::Memory;
use eventlog::stream::{Log, Stream};
use projections::projector;
use projections::views::Views;

/// A clock that stands until it is set.
pub(crate) struct Watch(AtomicI64);

impl Watch {
    pub(crate) fn at(time: Timestamp) -> Self {
        Self(AtomicI64::new(time.micros()))
    }

    pub(crate) fn set(&self, time: Timestamp) {
        self.0.store(time.micros(), Ordering::Relaxed);
    }
}

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// An instant of the day on which tests play.
pub(crate) fn at(time: &str) -> Timestamp {
    format!("2024-03-21T{time}Z").parse().unwrap()
}

#[derive(Clone)]
pub(crate) struct House {
    pub(crate) ledger: Arc<Memory>,
    pub(crate) market: Arc<Memory>,
    pub(crate) clock: Arc<Watch>,
}

impl House {
    pub(crate) fn new() -> Self {
        Self {
            ledger: Arc::new(Memory::new(Log::Ledger)),
            market: Arc::new(Memory::new(Log::Market)),
            clock: Arc::new(Watch::at(at("23:59:59"))),
        }
    }

    /// Records trades of an instrument, drawn as `ID TIME PRICE` and parted by commas.
    pub(crate) async fn trade(&self, instrument: &str, trades: &str) {
        let tick = |trade: &str| {
            let words: Vec<&str> = trade.split_whitespace().collect();
            MarketEvent::TickObserved(tick(words[0].parse().unwrap(), at(words[1]), words[2]))
        };
        self.record(instrument, trades.split(',').map(tick).collect()).await;
    }

    /// Records what an intake would, as one entry.
    pub(crate) async fn record(&self, instrument: &str, events: Vec<MarketEvent>) {
        let actor =
            Actor { principal: "binance".into(), role: "feed".into(), via: "intake".into() };
        let pen = Pen { log: self.market.as_ref(), clock: self.clock.as_ref(), actor: &actor };
        let stream: Stream = format!("market-binance.{instrument}").parse().unwrap();
        let version = self.market.tip(&stream).await.unwrap().map_or(0, |tip| tip.version.0);
        let events = events.into_iter().map(Event::Market).collect();
        pen.put(&stream, &version.to_le_bytes(), events, Expected::Any).await.unwrap();
    }

    /// Returns views that show both logs, as after a start.
    pub(crate) async fn views(&self) -> Arc<Views> {
        let views = Arc::new(Views::new(Vec::new()));
        self.show(&views).await;
        views
    }

    pub(crate) async fn show(&self, views: &Views) {
        projector::catch_up(Log::Ledger, self.ledger.as_ref(), views).await.unwrap();
        projector::catch_up(Log::Market, self.market.as_ref(), views).await.unwrap();
    }

    /// Returns a desk that writes to this ledger, and keeps nothing.
    pub(crate) fn desk(&self, ledger: Arc<dyn EventLog>) -> Arc<Desk> {
        Arc::new(Desk::new(ledger, Arc::new(Nowhere), self.clock.clone()))
    }

    /// Returns what the ledger holds of streams of a kind, oldest first.
    pub(crate) async fn in_ledger(&self, kind: &str) -> Vec<Entry> {
        let mut entries = self.ledger.read(Offset(0), usize::MAX).await.unwrap();
        entries.retain(|entry| entry.stream.to_string().starts_with(kind));
        entries
    }
}

/// Keeps nothing: a desk then reads each account from its beginning.
struct Nowhere;

#[async_trait]
impl Keep for Nowhere {
    async fn load(&self, _name: &str) -> Result<Option<Kept>, KeepError> {
        Ok(None)
    }

    async fn save(&self, _name: &str, _kept: Kept) -> Result<(), KeepError> {
        Ok(())
    }
}

pub(crate) fn tick(trade_id: u64, traded_at: Timestamp, price: &str) -> Tick {
    let (price, quantity) = (price.parse().unwrap(), "0.5".parse().unwrap());
    Tick { trade_id, price, quantity, taker: Side::Buy, traded_at, received_at: traded_at }
}

/// Draws a minute as its time, trades and revision.
pub(crate) fn drawn(minute: &Candle) -> String {
    let Candle { opened_at, trades, revision, .. } = minute;
    format!("{} {trades} r{revision}", &opened_at.to_shortest()[11..16])
}

/// A ledger that cannot be reached now and then, and whose head may be behind: as for another node
/// that asked a moment ago.
pub(crate) struct Shaky {
    pub(crate) ledger: Arc<Memory>,
    pub(crate) calls: AtomicUsize,
    pub(crate) behind: bool,
}

#[async_trait]
impl ReadLog for Shaky {
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
        self.ledger.read(after, limit).await
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        self.ledger.read_stream(stream, after, limit).await
    }

    async fn last(&self, stream: &Stream) -> Result<Option<Entry>, LogError> {
        self.ledger.last(stream).await
    }

    async fn tip(&self, stream: &Stream) -> Result<Option<Tip>, LogError> {
        self.ledger.tip(stream).await
    }

    async fn floor(&self) -> Result<Offset, LogError> {
        self.ledger.floor().await
    }

    async fn head(&self) -> Result<Offset, LogError> {
        if self.behind {
            return Ok(Offset(0));
        }
        // By no number that the jobs of a turn divide into: one of them would fail each time.
        match self.calls.fetch_add(1, Ordering::Relaxed) % 5 {
            0 => Err(LogError::Unavailable("no answer".to_owned())),
            _ => self.ledger.head().await,
        }
    }

    async fn wait_after(&self, after: Offset) -> Result<(), LogError> {
        self.ledger.wait_after(after).await
    }

    fn durability(&self) -> Durability {
        self.ledger.durability()
    }
}

#[async_trait]
impl EventLog for Shaky {
    async fn append(&self, draft: Draft, expected: Expected) -> Result<Appended, LogError> {
        match self.calls.fetch_add(1, Ordering::Relaxed) % 4 {
            0 => Err(LogError::Unavailable("no answer".to_owned())),
            1 => {
                self.ledger.append(draft, expected).await?;
                Err(LogError::OutcomeUnknown)
            }
            _ => self.ledger.append(draft, expected).await,
        }
    }
}
