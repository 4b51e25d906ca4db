//! Two feeds of one venue on one log, and the one that is followed is killed, again and again: each
//! trade stands once, and no book in the log was ever wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use commands::clock::Clock;
use commands::feed_status::FeedStatus;
use commands::intake::{BookRecording, Intake, Options, QUEUE_TICKS_MAX};
use domain::book::Session;
use domain::event::Event;
use domain::market::event::MarketEvent;
use domain::observation::Pace;
use domain::time::Timestamp;
use eventlog::entry::{Entry, Offset};
use eventlog::log::{EventLog, ReadLog};
use eventlog::memory::Memory;
use eventlog::stream::Log;
use feeds::feed::{Addresses, Known, Resume, Surroundings};
use projections::store::Store;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::data;
use crate::exchange::{self, Exchange, Kind, lines};
use crate::house;
use crate::restart::{self, DEPTH};

const KILLS: usize = 50;

const LINES_PER_SECOND: u32 = 6_000;

/// Time after the last line in which the last trade must be in.
const ALL_IN_MAX: Duration = Duration::from_mins(1);

/// A clock that runs as ours does, from a day of its own.
struct Watch(Instant);

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        let micros = i64::try_from(self.0.elapsed().as_micros()).expect("a short test");
        Timestamp::from_micros(1_723_161_253_000_000 + micros)
    }
}

/// What both feeds share: the venue, the logs, a clock.
struct Place {
    exchange: Exchange,
    market: Arc<Memory>,
    ledger: Arc<Memory>,
    store: Store,
    clock: Arc<Watch>,
}

/// A feed and its intake. Dropping it kills both, wherever they are.
struct Node {
    session: Session,
    _tasks: JoinSet<()>,
}

impl Place {
    async fn entries(&self) -> Vec<Entry> {
        self.market.read(Offset(0), usize::MAX).await.expect("memory can be read")
    }

    async fn start(&self, session: u64) -> Node {
        let (venue, instrument) =
            ("binance".parse().expect("a venue"), "BTC-USDT".parse().expect("an instrument"));
        let status = Arc::new(FeedStatus::new(venue, vec![instrument], Pace::Live));
        let session = Session(session);
        let (market, ledger): (Arc<dyn EventLog>, Arc<dyn EventLog>) =
            (self.market.clone(), self.ledger.clone());
        let options = Options { session, books: BookRecording::All };
        let keep = Arc::new(self.store.clone());
        let intake = Intake::new(market, ledger, keep, self.clock.clone(), status, options);
        let clock = self.clock.clone();
        let instrument = "BTC-USDT".parse().expect("an instrument");
        let trade_id = restart::trade_ids(&self.entries().await).into_iter().max();
        let surroundings = Surroundings {
            now: Arc::new(move || clock.now()),
            addresses: Addresses {
                ws_url: Some(self.exchange.ws_url.clone()),
                rest_url: Some(self.exchange.rest_url.clone()),
            },
            resume: Resume(BTreeMap::from([(instrument, Known { trade_id, ..Known::default() })])),
            seed: session.0,
        };
        let (sender, queue) = mpsc::channel(QUEUE_TICKS_MAX);
        let spec = "binance:BTC-USDT".parse().expect("a feed");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            feeds::feed::run(spec, surroundings, sender, Arc::default()).await.expect("a feed");
        });
        tasks.spawn(async move { intake.run(queue).await.expect("an intake") });
        Node { session, _tasks: tasks }
    }

    /// Returns whose book is followed.
    async fn followed(&self) -> Option<Session> {
        let entries = self.entries().await;
        let mut events = entries.iter().rev().flat_map(|entry| entry.events.iter().rev());
        events.find_map(|event| match event {
            Event::Market(
                MarketEvent::BookSnapshotObserved { told, .. }
                | MarketEvent::BookDiffObserved { told, .. }
                | MarketEvent::BookLost { told, .. },
            ) => Some(told.session),
            _ => None,
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_that_is_followed_dies_fifty_times_and_nothing_is_wrong() {
    let Some(folder) = data::recordings() else { return };
    let day = |day: &str| folder.join(format!("recordings/binance_spot_btcusdt_{day}.rec.gz"));
    let files = [day("20240808"), day("20240809")];
    die_again_and_again(&files, (KILLS, KILLS / 2), LINES_PER_SECOND).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_in_a_small_market() {
    // It lasts 25 seconds of venue time: hardly more than one silence for each.
    die_again_and_again(&[data::small_recording()], (3, 2), 100).await;
}

/// Kills the feed that is followed so many times; at least so many sessions must have been followed.
async fn die_again_and_again(
    files: &[std::path::PathBuf],
    (kills, followed_min): (usize, usize),
    lines_per_second: u32,
) {
    let lines = lines(files);
    let truth = exchange::books(&lines, DEPTH);
    let told: BTreeSet<u64> = lines
        .iter()
        .filter(|line| line.kind == Kind::Trade)
        .filter_map(|line| line.value["t"].as_u64())
        .collect();
    let exchange = Exchange::open(lines.clone(), BTreeMap::new(), lines_per_second).await;
    let folder = house::folder();
    let (store, _) = Store::open(&folder.path().join("read.db")).await.expect("a read store");
    let place = Place {
        exchange,
        market: Arc::new(Memory::new(Log::Market)),
        ledger: Arc::new(Memory::new(Log::Ledger)),
        store,
        clock: Arc::new(Watch(Instant::now())),
    };
    let mut nodes = [place.start(1).await, place.start(2).await];
    place.exchange.play();
    let mut owners = BTreeSet::new();
    for kill in 0..kills {
        place.exchange.until(lines.len() * (kill + 1) / (kills + 1)).await;
        let followed = place.followed().await;
        owners.extend(followed);
        let dies = usize::from(followed == Some(nodes[1].session));
        let session = 3 + u64::try_from(kill).expect("few");
        // The one that is followed is gone before its successor comes.
        let successor = place.start(session).await;
        nodes[dies] = successor;
    }
    place.exchange.until_over().await;
    let all_in = async {
        let mut after = Offset(0);
        while restart::trade_ids(&place.entries().await).len() < told.len() {
            place.market.wait_after(after).await.expect("memory can be watched");
            after = place.market.head().await.expect("memory can be read");
        }
    };
    timeout(ALL_IN_MAX, all_in).await.expect("every trade is recorded in the end");
    drop(nodes);

    let entries = place.entries().await;
    let ids = restart::trade_ids(&entries);
    assert_eq!(ids.len(), told.len(), "each trade stands once");
    assert_eq!(ids.into_iter().collect::<BTreeSet<u64>>(), told);
    restart::assert_books(&entries, &truth);
    eprintln!("{} sessions were followed", owners.len());
    assert!(owners.len() >= followed_min, "{owners:?}");
}
