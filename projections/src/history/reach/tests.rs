//! Pages that reach behind memory, from a real read store, held against the same story in a memory
//! that has forgotten nothing.

use domain::candle::event::CandleEvent;
use domain::candle::{Candle, Source};
use domain::event::Event;
use domain::ladder::DAYS_MAX;
use domain::ladder::gaps::Gap;
use domain::market::event::MarketEvent;
use domain::tick::{Side, Tick};
use domain::time::{DAY, MINUTE, SECOND};
use eventlog::entry::{Actor, Draft};
use eventlog::log::{EventLog, Expected, ReadLog};
use eventlog::memory::Memory;
use proptest::prelude::*;
use uuid::Uuid;

use crate::history::{Cursor, PAGE_MAX, Shown};
use crate::store::Store;

use super::*;

const HOUR: i64 = 60 * MINUTE;

/// Days of a story: as many as memory holds.
const DAYS: usize = DAYS_MAX;

/// The first day of each story.
fn day(day: usize) -> Timestamp {
    let first: Timestamp = "2024-02-28T00:00:00Z".parse().unwrap();
    first.plus(DAY * i64::try_from(day).unwrap())
}

/// What is told of one market.
#[derive(Debug, Clone)]
enum Told {
    /// Minutes that were recorded, or the venue's own, from a minute on.
    Closed(Vec<Candle>),
    Native(Vec<Candle>),
    Bar(Interval, Candle),
    /// Trades that were never recorded.
    Trades(Vec<Tick>),
    Gap(MarketEvent),
}

/// A node: its logs, its views, its read store.
struct Node {
    ledger: Memory,
    market: Memory,
    views: Views,
    store: Store,
    _folder: tempfile::TempDir,
}

fn venue() -> Venue {
    "binance".parse().unwrap()
}

fn instrument() -> Instrument {
    "BTC-USDT".parse().unwrap()
}

impl Node {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&folder.path().join("read.db")).await.unwrap();
        let (ledger, market) = (Memory::new(Log::Ledger), Memory::new(Log::Market));
        Self { ledger, market, views: Views::new(vec![venue()]), store, _folder: folder }
    }

    async fn of(story: &[Told]) -> Self {
        let node = Self::new().await;
        node.tell(story).await;
        node.file().await;
        node
    }

    async fn tell(&self, story: &[Told]) {
        for told in story {
            let (log, stream, events) = match told {
                Told::Closed(candles) => {
                    let closed = |candle: &Candle| CandleEvent::CandleClosed {
                        interval: Interval::Minute,
                        candle: candle.clone(),
                    };
                    let events = candles.iter().map(closed).map(Event::Candle).collect();
                    (&self.ledger, "candles-binance.BTC-USDT", events)
                }
                Told::Native(candles) => {
                    let bar = |candle: &Candle| CandleEvent::CandleImported {
                        interval: Interval::Minute,
                        candle: candle.clone(),
                    };
                    let events = candles.iter().map(bar).map(Event::Candle).collect();
                    (&self.ledger, "candles-binance.BTC-USDT", events)
                }
                Told::Bar(interval, candle) => {
                    let (interval, candle) = (*interval, candle.clone());
                    let events =
                        vec![Event::Candle(CandleEvent::CandleImported { interval, candle })];
                    (&self.ledger, "candles-binance.BTC-USDT", events)
                }
                Told::Trades(ticks) => {
                    let tick = |tick: &Tick| Event::Market(MarketEvent::TickObserved(*tick));
                    (&self.market, "market-binance.BTC-USDT", ticks.iter().map(tick).collect())
                }
                Told::Gap(gap) => {
                    let events = vec![Event::Market(gap.clone())];
                    append(&self.market, "market-binance.BTC-USDT", events.clone()).await;
                    (&self.ledger, "gaps-binance.BTC-USDT", events)
                }
            };
            append(log, stream, events).await;
        }
        for (log, from) in [(Log::Ledger, &self.ledger), (Log::Market, &self.market)] {
            let entries = from.read(self.views.applied(log), 10_000).await.unwrap();
            self.views.fold(log, &entries);
        }
    }

    async fn file(&self) {
        self.store.catch_up_archive(&self.ledger).await.unwrap();
    }

    async fn ask(&self, query: Query) -> Result<Page, OutOfReach> {
        let (venue, instrument) = (venue(), instrument());
        let archive = self.store.archive();
        answer(query, &self.views, (&venue, &instrument), Some(&archive)).await
    }

    /// Answers from memory alone.
    fn remember(&self, query: Query) -> Page {
        let candles = self.views.candles();
        query.answer(candles.get(&venue(), &instrument()).unwrap())
    }

    fn since(&self) -> Option<Timestamp> {
        self.views.candles().get(&venue(), &instrument()).unwrap().ladder.since()
    }
}

async fn append(log: &Memory, stream: &str, events: Vec<Event>) {
    let id = Uuid::now_v7();
    let actor = Actor { principal: "test".into(), role: "feed".into(), via: "intake".into() };
    let draft = Draft {
        stream: stream.parse().unwrap(),
        append_id: id,
        command_id: id,
        recorded_at: day(0),
        actor,
        correlation_id: None,
        causation: None,
        events,
    };
    log.append(draft, Expected::Any).await.unwrap();
}

/// A bar of so many trades around a price in cents.
fn bar(opened_at: Timestamp, price: i64, trades: u64, source: Source) -> Candle {
    let cents = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100).parse().unwrap();
    Candle {
        high: cents(price + 9),
        low: cents(price - 9),
        close: cents(price + 3),
        trades,
        volume: trades.into(),
        source,
        ..Candle::filled(opened_at, cents(price))
    }
}

fn minutes(from: Timestamp, count: i64, price: i64, trades: u64, source: Source) -> Vec<Candle> {
    let minute = |nth| bar(from.plus(nth * MINUTE), price + nth, trades, source);
    (0..count).map(minute).collect()
}

/// A day after the story, so that memory forgets one more.
fn filler(nth: usize) -> Told {
    Told::Closed(minutes(day(DAYS + nth).plus(HOUR), 1, 5_000, 1, Source::Built))
}

/// A minute in each day: so all of them count.
fn backbone() -> Vec<Told> {
    let one = |nth| Told::Closed(minutes(day(nth).plus(14 * HOUR), 2, 4_000, 2, Source::Built));
    (0..DAYS).map(one).collect()
}

fn told() -> impl Strategy<Value = Told> {
    let place = (0..DAYS, 0i64..12, 0i64..50, 1i64..10);
    (place, 0u8..6, 100i64..10_000, 0u64..9).prop_map(
        |((at, hours, minute, count), kind, price, trades)| {
            // Of an hour either trades are held or what was recorded: those that were built are
            // recorded in the end, and then hold no more.
            let recorded = day(at).plus(2 * hours * HOUR + minute * MINUTE);
            let hour = Interval::Hour.bucket(recorded);
            match kind {
                0 | 1 => Told::Closed(minutes(recorded, count, price, trades + 1, Source::Built)),
                2 => Told::Native(minutes(recorded, count, price, trades, Source::Native)),
                3 => {
                    let opened_at = Interval::FiveMinutes.bucket(recorded);
                    Told::Bar(Interval::FiveMinutes, bar(opened_at, price, trades, Source::Native))
                }
                4 => Told::Bar(Interval::Hour, bar(hour, price, trades, Source::Native)),
                _ => {
                    let tick = |nth: i64| Tick {
                        trade_id: u64::try_from(hour.micros() / SECOND + minute + nth).unwrap(),
                        price: format!("{price}").parse().unwrap(),
                        quantity: "1".parse().unwrap(),
                        taker: Side::Buy,
                        traded_at: recorded.plus(HOUR + nth * 40 * SECOND),
                        received_at: recorded.plus(HOUR),
                    };
                    Told::Trades((0..count).map(tick).collect())
                }
            }
        },
    )
}

fn gap() -> impl Strategy<Value = Told> {
    (0..DAYS, 0i64..1_440, 1i64..3_000).prop_map(|(at, minute, length)| {
        let after = day(at).plus(minute * MINUTE + 10 * SECOND);
        let before = after.plus(length * MINUTE);
        let first_id = u64::try_from(after.micros() / SECOND).unwrap();
        Told::Gap(MarketEvent::FeedGapOpened { first_id, last_id: first_id, after, before })
    })
}

fn query() -> impl Strategy<Value = Query> {
    let ends = (0..DAYS, 0i64..1_440, 0..DAYS, 0i64..1_440);
    let limit = prop_oneof![1usize..20, 20usize..400, Just(PAGE_MAX)];
    (ends, any::<[bool; 3]>(), limit).prop_map(
        |((one, minute, other, other_minute), [is_ahead, fill, is_minute], limit)| {
            let one = day(one).plus(minute * MINUTE + 7 * SECOND);
            let other = day(other).plus(other_minute * MINUTE);
            Query {
                interval: if is_minute { Interval::Minute } else { Interval::FiveMinutes },
                start: is_ahead.then_some(one.min(other)),
                // Up to it both have the same clock.
                end: Some(one.max(other).min(day(DAYS - 1).plus(14 * HOUR))),
                limit,
                fill,
            }
        },
    )
}

fn plain(page: Page) -> (Vec<Candle>, Vec<Gap>, Option<Cursor>) {
    (page.candles.into_iter().map(|shown| shown.candle).collect(), page.gaps, page.next)
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(test)
}

/// A node that has forgotten the first day of this story.
async fn forgetful(story: impl IntoIterator<Item = Told>) -> Node {
    let story: Vec<Told> = story.into_iter().chain(backbone()).chain([filler(0)]).collect();
    let node = Node::of(&story).await;
    assert_eq!(node.since(), Some(day(1)));
    node
}

fn five_minutes(start: Option<Timestamp>, limit: usize) -> Query {
    Query { interval: Interval::FiveMinutes, start, end: Some(day(2)), limit, fill: true }
}

#[tokio::test]
async fn the_first_candle_in_memory_goes_on_at_the_last_close_that_was_forgotten() {
    let late = day(1).plus(-HOUR);
    let node = forgetful([
        Told::Bar(Interval::FiveMinutes, bar(late, 100, 1, Source::Native)),
        Told::Closed(minutes(late.plus(HOUR / 2), 1, 200, 1, Source::Built)),
    ])
    .await;

    let page = node.ask(five_minutes(Some(day(1)), 1)).await.unwrap();

    let Shown { candle, .. } = page.candles.first().unwrap();
    assert_eq!((candle.source, candle.close.to_string()), (Source::Filled, "2.03".to_owned()));
}

#[tokio::test]
async fn what_was_forgotten_is_never_left_out_in_silence() {
    let node = forgetful([]).await;
    let (venue, instrument) = (venue(), instrument());
    let ask = async |query| answer(query, &node.views, (&venue, &instrument), None).await;

    let since = "2024-02-29T00:00:00Z".to_owned();
    let no_archive = Err(OutOfReach::NoArchive(since));
    assert_eq!(ask(five_minutes(Some(day(0)), 1)).await, no_archive);
    assert_eq!(ask(five_minutes(None, PAGE_MAX)).await, no_archive);
    assert_eq!(ask(five_minutes(Some(day(1)), 1)).await.unwrap().candles.len(), 1);
    assert_eq!(ask(five_minutes(None, 288)).await.unwrap().candles.len(), 288);
    let hours = Query { interval: Interval::Hour, ..five_minutes(None, 100) };
    assert_eq!(ask(hours).await.unwrap().candles.len(), 35);

    // Nor while the archive has not seen what memory has.
    node.tell(&[filler(1)]).await;
    let behind = node.ask(five_minutes(Some(day(0)), 1)).await;
    assert!(matches!(behind, Err(OutOfReach::Archive { .. })), "{behind:?}");
    node.file().await;
    assert_eq!(node.ask(five_minutes(Some(day(0)), 1)).await.unwrap().candles.len(), 1);
}

#[tokio::test]
async fn a_page_reads_about_as_many_hours_as_it_shows() {
    let node = forgetful([]).await;
    let candles = node.views.candles();
    let held = candles.get(&venue(), &instrument()).unwrap();
    for (interval, limit, hours) in [
        (Interval::Minute, 1, 2),
        (Interval::Minute, PAGE_MAX, 18),
        (Interval::FiveMinutes, PAGE_MAX, 85),
    ] {
        for start in [None, Some(day(0))] {
            let query = Query { interval, start, end: Some(day(1).plus(-1)), limit, fill: true };
            match query.try_on(held, None) {
                Tried::Wants(wanted) => assert_eq!(wanted.hours, hours, "{query:?}"),
                Tried::Page(page) => panic!("{page:?}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Wherever memory begins, each page is the one of a memory that has forgotten nothing, in both
    /// directions and of any size; so all pages together hold each candle once.
    #[test]
    fn a_page_is_the_same_wherever_memory_begins(
        gaps in prop::collection::vec(gap(), 0..4),
        story in prop::collection::vec(told(), 0..60),
        forgotten in 0..=DAYS,
        late in prop::collection::vec(told(), 0..6),
        queries in prop::collection::vec(query(), 1..6),
    ) {
        run(async {
            let story: Vec<Told> = gaps.into_iter().chain(backbone()).chain(story).collect();
            let whole: Vec<Told> = story.iter().chain(&late).cloned().collect();
            let whole = Node::of(&whole).await;
            prop_assert_eq!(whole.since(), None);
            let fillers = (0..forgotten).map(filler);
            let filled: Vec<Told> = story.into_iter().chain(fillers).chain(late).collect();
            let node = Node::of(&filled).await;
            prop_assert_eq!(node.since(), (forgotten > 0).then(|| day(forgotten)));

            for asked in queries {
                let mut next = Some(asked);
                for _ in 0..12 {
                    let Some(query) = next else { break };
                    let (page, expected) = (node.ask(query).await.unwrap(), whole.remember(query));
                    next = expected.next.map(|cursor| asked.at(cursor));
                    prop_assert_eq!(plain(page), plain(expected), "{:?}", query);
                }
            }
            Ok(())
        })?;
    }
}
