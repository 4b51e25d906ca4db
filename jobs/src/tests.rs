//! The jobs side by side.

use std::sync::Mutex;

use async_trait::async_trait;
use domain::market::event::MarketEvent;
use eventlog::entry::{Draft, Entry, Offset, Version};
use eventlog::log::{Appended, Durability, Expected, ReadLog, Tip};
use eventlog::memory::Memory;
use eventlog::stream::{Log, Stream};
use projections::views::Cut;

use super::*;
use crate::house::{House, at};
use crate::retire::{Guarded, Settings, Snapshots};

/// A ledger that takes all but the candles, and whose head can be asked until it is damaged.
struct Ailing {
    ledger: Arc<Memory>,
    damage: Mutex<Option<LogError>>,
}

impl Ailing {
    fn new(ledger: Arc<Memory>) -> Arc<Self> {
        Arc::new(Self { ledger, damage: Mutex::new(None) })
    }
}

#[async_trait]
impl ReadLog for Ailing {
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
        let damage = self.damage.lock().unwrap().clone();
        damage.map_or(Ok(()), Err)?;
        self.ledger.head().await
    }
    async fn wait_after(&self, after: Offset) -> Result<(), LogError> {
        self.ledger.wait_after(after).await
    }
    fn durability(&self) -> Durability {
        self.ledger.durability()
    }
}

#[async_trait]
impl EventLog for Ailing {
    async fn append(&self, draft: Draft, expected: Expected) -> Result<Appended, LogError> {
        if matches!(draft.stream, Stream::Candles { .. }) {
            return Err(LogError::Unavailable("not this one".to_owned()));
        }
        self.ledger.append(draft, expected).await
    }
}

struct Newest(Cut);

#[async_trait]
impl Snapshots for Newest {
    async fn newest_cut(&self) -> Option<Cut> {
        Some(self.0)
    }
}

#[async_trait]
impl Guarded for Newest {
    async fn guarded(&self) -> Option<Offset> {
        Some(self.0.market.offset)
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_ledger_ends_the_jobs() {
    let house = House::new();
    let ledger = Ailing::new(house.ledger.clone());
    let damage = LogError::Damaged { offset: Offset(7), reason: "a bad checksum".to_owned() };
    *ledger.damage.lock().unwrap() = Some(damage.clone());
    let jobs = Jobs {
        views: house.views().await,
        desk: house.desk(ledger.clone()),
        ledger,
        clock: house.clock.clone(),
        retirement: None,
    };

    assert_eq!(run(jobs).await, damage);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waits_holds_up_no_other() {
    let house = House::new();
    house.trade("BTC-USDT", "1 09:10:00 10,5 10:30:00 11").await;
    let (after, before) = (at("09:10:00"), at("10:30:00"));
    house.clock.set(at("10:30:00"));
    let opened = MarketEvent::FeedGapOpened { first_id: 2, last_id: 4, after, before };
    house.record("BTC-USDT", vec![opened]).await;
    let ledger = Ailing::new(house.ledger.clone());
    let views = house.views().await;
    let market = Arc::new(Memory::new(Log::Market));
    let retirement = Retirement {
        market: market.clone(),
        trim: market.clone(),
        snapshots: Arc::new(Newest(Cut::default())),
        guarded: Arc::new(Newest(Cut::default())),
        settings: Settings { rest: Duration::from_mins(1), ..Settings::default() },
    };
    let jobs = Jobs {
        views: views.clone(),
        ledger: ledger.clone(),
        desk: house.desk(ledger.clone()),
        clock: house.clock.clone(),
        retirement: Some(retirement),
    };
    let jobs = tokio::spawn(run(jobs));

    // The gap is copied while the hour before it waits for a ledger that does not take it.
    house.ledger.wait_after(Offset(0)).await.unwrap();
    assert_eq!(house.in_ledger("gaps-").await.len(), 1);
    assert!(house.in_ledger("candles-").await.is_empty());
    // And a job that finds damage ends them all.
    let damage = LogError::Damaged { offset: Offset(7), reason: "a bad checksum".to_owned() };
    *ledger.damage.lock().unwrap() = Some(damage.clone());
    assert_eq!(jobs.await.unwrap(), damage);
}
