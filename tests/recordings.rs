//! Real recorded input against reference answers, inside the process: rollups, a venue's own bars,
//! and trades that come twice, at once and out of order.

use std::path::Path;
use std::sync::Arc;

use commands::clock::Clock;
use commands::feed_status::FeedStatus;
use commands::intake::{BookRecording, Intake, Options, QUEUE_TICKS_MAX};
use domain::amount::at_scale;
use domain::book::Session;
use domain::candle::{Candle, Interval, Source};
use domain::instrument::{Instrument, Venue};
use domain::market::event::MarketEvent;
use domain::observation::{Heard, Observation, Pace};
use domain::tick::{Side, Tick};
use domain::time::{SECOND, Timestamp};
use eventlog::entry::Offset;
use eventlog::log::{EventLog, ReadLog};
use eventlog::memory::Memory;
use eventlog::stream::Log;
use feeds::feed::{Addresses, Resume, Surroundings};
use feeds::spec::FeedSpec;
use projections::history::{PAGE_MAX, Query};
use projections::projector;
use projections::store::Store;
use projections::views::Views;
use tokio::sync::mpsc;

use crate::{data, house};

fn candles(path: &Path) -> Vec<Candle> {
    let candle = |row: &Vec<String>| {
        let price = |place: usize| row[place].parse().unwrap();
        let opened_at = Timestamp::from_millis(row[0].parse().unwrap());
        Candle {
            open: price(1),
            high: price(2),
            low: price(3),
            close: price(4),
            volume: row[5].parse().unwrap(),
            source: Source::Native,
            ..Candle::filled(opened_at, price(1))
        }
    };
    data::rows(path).iter().map(candle).collect()
}

/// How many of the coarser bars are equal to the rollup of the finer ones, and how many there are.
fn equal_rollups(
    folder: &Path,
    interval: Interval,
    finer: &[&str],
    coarser: &[&str],
    scale: Option<u32>,
) -> (usize, usize) {
    let read = |names: &[&str]| -> Vec<Candle> {
        names.iter().flat_map(|name| candles(&folder.join(format!("{name}.csv.gz")))).collect()
    };
    let finer = read(finer);
    let bars = read(coarser);
    let key = |candle: &Candle| {
        let volume = scale.map_or(candle.volume, |scale| candle.volume.round_dp(scale));
        (candle.opened_at, candle.open, candle.high, candle.low, candle.close, volume.normalize())
    };
    let (mut equal, mut compared) = (0, 0);
    for bar in &bars {
        let within = |candle: &&Candle| interval.bucket(candle.opened_at) == bar.opened_at;
        let start = finer.partition_point(|candle| candle.opened_at < bar.opened_at);
        let parts = finer[start..].iter().take_while(within);
        let Some(whole) = Candle::rollup(interval, parts) else { continue };
        compared += 1;
        equal += usize::from(key(&whole) == key(bar));
    }
    (equal, compared)
}

#[test]
fn rollups_equal_the_venues_own_bars() {
    let Some(folder) = data::recordings() else { return };
    let folder = folder.join("candles");
    let rollup =
        |interval, finer, coarser| equal_rollups(&folder, interval, &[finer], &[coarser], Some(8));

    let (hour, four, day) = ("binance_BTCUSDT_1h", "binance_BTCUSDT_4h", "binance_BTCUSDT_1d");
    assert_eq!(rollup(Interval::FourHours, hour, four), (11_271, 11_271));
    assert_eq!(rollup(Interval::Day, hour, day), (1_881, 1_881));
    assert_eq!(rollup(Interval::Day, four, day), (1_881, 1_881));
    // The bar of 2017-09-09 20:00 has another open at the venue itself.
    let (hour, four, day) = ("binance_ETHUSDT_1h", "binance_ETHUSDT_4h", "binance_ETHUSDT_1d");
    assert_eq!(rollup(Interval::FourHours, hour, four), (11_270, 11_271));
    assert_eq!(rollup(Interval::Day, hour, day), (1_881, 1_881));
}

#[test]
fn seconds_make_minutes_and_minutes_make_days() {
    let Some(folder) = data::recordings() else { return };
    let folder = folder.join("candles/lean");
    let days = ["20161007", "20161008", "20170903", "20170904", "20180405", "20180406"];
    let minutes: Vec<String> = days.iter().map(|day| format!("coinbase_BTCUSD_1m_{day}")).collect();
    let minutes: Vec<&str> = minutes.iter().map(String::as_str).collect();

    let (first, second) = ("coinbase_BTCUSD_1s_20161007", "coinbase_BTCUSD_1s_20161008");
    let rollup =
        |finer, coarser| equal_rollups(&folder, Interval::Minute, &[finer], &[coarser], None);
    assert_eq!(rollup(first, minutes[0]), (1_419, 1_419));
    assert_eq!(rollup(second, minutes[1]), (1_400, 1_400));
    assert_eq!(
        equal_rollups(&folder, Interval::Day, &minutes, &["coinbase_BTCUSD_1d"], None),
        (6, 6)
    );
}

/// A clock for entries; nothing here depends on it.
struct Midnight;

impl Clock for Midnight {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }
}

fn btc() -> Instrument {
    "BTC-USDT".parse().unwrap()
}

fn told(tick: Tick) -> Observation {
    Observation {
        received_at: tick.received_at,
        venue_time: Some(tick.traded_at),
        heard: Heard::Tick(btc(), tick),
    }
}

/// Runs one intake for each list of observations, all at once, on one log.
async fn take_in(venue: &Venue, feeds: Vec<Vec<Observation>>) -> Arc<Memory> {
    let log = Arc::new(Memory::new(Log::Market));
    let ledger: Arc<dyn EventLog> = Arc::new(Memory::new(Log::Ledger));
    let folder = house::folder();
    let (store, _) = Store::open(&folder.path().join("read.db")).await.unwrap();
    let mut intakes = tokio::task::JoinSet::new();
    for (observations, session) in feeds.into_iter().zip(1..) {
        let status = Arc::new(FeedStatus::new(venue.clone(), vec![btc()], Pace::Recorded));
        let (sender, queue) = mpsc::channel(QUEUE_TICKS_MAX);
        let log: Arc<dyn EventLog> = log.clone();
        let options = Options { session: Session(session), books: BookRecording::All };
        let (ledger, keep, clock) = (ledger.clone(), Arc::new(store.clone()), Arc::new(Midnight));
        let intake = Intake::new(log, ledger, keep, clock, status, options);
        intakes.spawn(intake.run(queue));
        intakes.spawn(async move {
            for observation in observations {
                sender.send(observation).await.unwrap();
            }
            Ok(())
        });
    }
    while let Some(done) = intakes.join_next().await {
        done.unwrap().unwrap();
    }
    log
}

async fn views_of(log: &Memory) -> Views {
    let views = Views::new(Vec::new());
    projector::catch_up(Log::Market, log, &views).await.unwrap();
    views
}

/// All candles of an interval, without their count of revisions.
fn held(views: &Views, venue: &Venue, interval: Interval) -> Vec<Candle> {
    let candles = views.candles();
    let market = candles.get(venue, &btc()).unwrap();
    market
        .ladder
        .range(interval, Timestamp::MIN, Timestamp::MAX)
        .map(|candle| Candle { revision: 0, ..candle.clone() })
        .collect()
}

#[tokio::test]
async fn krakens_trades_fold_to_krakens_own_bars() {
    let Some(folder) = data::recordings() else { return };
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_str(&data::text(&folder.join("oracles").join(name))).unwrap()
    };
    let trades = read("kraken_xbtusdt_trades.http.json");
    let bars = read("kraken_xbtusdt_ohlc1m.http.json");

    let ticks = trades["result"]["XBTUSDT"].as_array().unwrap().iter().map(|row| {
        let text = |place: usize| row[place].as_str().unwrap();
        // The time is a JSON number in seconds: its digits are moved, not multiplied.
        let (seconds, fraction) = row[2].to_string().split_once('.').map_or_else(
            || (row[2].as_i64().unwrap(), String::new()),
            |(seconds, fraction)| (seconds.parse().unwrap(), fraction.to_owned()),
        );
        let micros: i64 = format!("{fraction:0<6.6}").parse().unwrap();
        let traded_at = Timestamp::from_micros(seconds * SECOND + micros);
        told(Tick {
            trade_id: row[6].as_u64().unwrap(),
            price: text(0).parse().unwrap(),
            quantity: text(1).parse().unwrap(),
            taker: if text(3) == "b" { Side::Buy } else { Side::Sell },
            traded_at,
            received_at: traded_at,
        })
    });
    // The last minute was silent: only the venue's heartbeat says that it has passed.
    let received_at = "2025-11-10T19:59:50Z".parse().unwrap();
    let beat = Observation { received_at, venue_time: Some(received_at), heard: Heard::Beat };
    let kraken: Venue = "kraken".parse().unwrap();
    let log = take_in(&kraken, vec![ticks.chain([beat]).collect()]).await;
    let views = views_of(&log).await;
    let query =
        Query { interval: Interval::Minute, start: None, end: None, limit: PAGE_MAX, fill: true };
    let page = query.answer(views.candles().get(&kraken, &btc()).unwrap());

    // The first minute was cut by the start of the recording.
    let (mut equal, mut silent) = (0, 0);
    for row in &bars["result"]["XBTUSDT"].as_array().unwrap()[1..] {
        let opened_at = Timestamp::from_micros(row[0].as_i64().unwrap() * SECOND);
        let Some(shown) = page.candles.iter().find(|shown| shown.candle.opened_at == opened_at)
        else {
            continue;
        };
        let candle = &shown.candle;
        let text = |place: usize| row[place].as_str().unwrap();
        let prices = [candle.open, candle.high, candle.low, candle.close];
        let same = (1..5).zip(prices).all(|(place, price)| text(place).parse() == Ok(price))
            && text(6).parse() == Ok(candle.volume)
            && row[7].as_u64() == Some(candle.trades)
            && (candle.trades == 0 || {
                let average = candle.quote_volume / candle.volume;
                // Kraken prints its average at one digit, cut.
                at_scale(average.trunc_with_scale(1), 1).to_string() == text(5)
            });
        equal += usize::from(same);
        silent += usize::from(same && candle.trades == 0);
    }
    assert_eq!((equal, silent), (156, 49));
}

/// Everything that a recording feed says.
async fn replay(folder: &Path, venue: &str, files: &[&str]) -> Vec<Observation> {
    let files: Vec<String> = files
        .iter()
        .map(|file| folder.join("recordings").join(file).display().to_string())
        .collect();
    play(&format!("recording:{}?venue={venue}&symbol=BTC-USDT&speed=max", files.join(","))).await
}

pub(crate) async fn play(spec: &str) -> Vec<Observation> {
    let spec: FeedSpec = spec.parse().unwrap();
    let (sender, mut queue) = mpsc::channel(QUEUE_TICKS_MAX);
    let surroundings = Surroundings {
        now: Arc::new(|| Timestamp::from_micros(0)),
        addresses: Addresses::default(),
        resume: Resume::default(),
        seed: 1,
    };
    let feed = tokio::spawn(feeds::feed::run(spec, surroundings, sender, Arc::default()));
    let mut observations = Vec::new();
    while let Some(observation) = queue.recv().await {
        observations.push(observation);
    }
    feed.await.unwrap().unwrap();
    observations
}

/// The reference candles, each with the ids of its first and last trade.
fn reference(folder: &Path, name: &str, interval: Interval) -> Vec<(Candle, [u64; 2])> {
    data::rows(&folder.join("oracles").join(format!("{name}_{interval}.csv")))
        .iter()
        .map(|row| {
            let price = |place: usize| row[place].parse().unwrap();
            let candle = Candle {
                high: price(2),
                low: price(3),
                close: price(4),
                volume: row[5].parse().unwrap(),
                quote_volume: row[6].parse().unwrap(),
                trades: row[7].parse().unwrap(),
                taker_buy: row[8].parse().unwrap(),
                source: Source::Built,
                ..Candle::filled(Timestamp::from_millis(row[0].parse().unwrap()), price(1))
            };
            (candle, [row[9].parse().unwrap(), row[10].parse().unwrap()])
        })
        .collect()
}

/// Whether the candles held are the reference candles, in every field.
fn assert_reference(views: &Views, folder: &Path, venue: &Venue, name: &str, counts: [usize; 2]) {
    for (interval, count) in [Interval::Minute, Interval::FiveMinutes].into_iter().zip(counts) {
        let held: Vec<(Candle, [u64; 2])> = held(views, venue, interval)
            .into_iter()
            .map(|candle| {
                let ids = [candle.first, candle.last].map(|place| place.unwrap().trade_id);
                (Candle { first: None, last: None, ..candle }, ids)
            })
            .collect();
        assert_eq!(held.len(), count, "{name} {interval}");
        assert_eq!(held, reference(folder, name, interval), "{name} {interval}");
    }
}

/// Trades put out of order, each by at most `seconds` of venue time.
fn shuffled(observations: &[Observation], seconds: i64, seed: u64) -> Vec<Observation> {
    let mut state = seed;
    let mut keyed: Vec<(i64, &Observation)> = observations
        .iter()
        .map(|observation| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let delay = i64::try_from(state >> 33).unwrap() % (seconds * SECOND);
            let at = observation.venue_time.unwrap_or(observation.received_at);
            (at.micros() + delay, observation)
        })
        .collect();
    keyed.sort_by_key(|(at, _)| *at);
    keyed.into_iter().map(|(_, observation)| observation.clone()).collect()
}

fn only_ticks(observations: Vec<Observation>) -> Vec<Observation> {
    observations.into_iter().filter(|one| matches!(one.heard, Heard::Tick(..))).collect()
}

/// The recorded trade ids in order of arrival.
async fn ids(log: &Memory) -> Vec<u64> {
    let entries = log.read(Offset(0), usize::MAX).await.unwrap();
    let events = entries.iter().flat_map(|entry| &entry.events);
    events
        .filter_map(|event| match event {
            domain::event::Event::Market(MarketEvent::TickObserved(tick)) => Some(tick.trade_id),
            _ => None,
        })
        .collect()
}

/// However often, in whatever order and through however many doors the trades come: each stands in
/// the log once, and the candles are the same.
async fn assert_recorded_once(venue: &Venue, trades: Vec<Observation>) -> Views {
    let log = take_in(venue, vec![trades.clone()]).await;
    let expected_ids = ids(&log).await;
    let views = views_of(&log).await;
    let expected = Interval::ALL.map(|interval| held(&views, venue, interval));
    let mut whole: Vec<u64> = expected_ids.clone();
    whole.dedup();
    assert_eq!(whole.len(), trades.len());

    let twice = [trades.clone(), trades.clone()].concat();
    let feeds = [
        vec![twice],
        vec![trades.clone(), trades.clone()],
        vec![shuffled(&trades, 2, 7)],
        vec![shuffled(&trades, 2, 8), shuffled(&trades, 2, 9)],
    ];
    for (case, feeds) in feeds.into_iter().enumerate() {
        let log = take_in(venue, feeds).await;
        let mut recorded = ids(&log).await;
        recorded.sort_unstable();
        assert_eq!(recorded, expected_ids, "case {case}");
        let views = views_of(&log).await;
        let candles = Interval::ALL.map(|interval| held(&views, venue, interval));
        assert_eq!(candles, expected, "case {case}");
    }
    views
}

#[tokio::test]
async fn recorded_trades_fold_to_the_reference_candles_however_they_come() {
    let Some(folder) = data::recordings() else { return };
    let spot = ["binance_spot_btcusdt_20240808.rec.gz", "binance_spot_btcusdt_20240809.rec.gz"];
    let trades = only_ticks(replay(&folder, "binance", &spot).await);
    assert_eq!(trades.len(), 19_904);
    let binance: Venue = "binance".parse().unwrap();
    let views = assert_recorded_once(&binance, trades).await;
    assert_reference(&views, &folder, &binance, "binance_spot_btcusdt_candles", [12, 4]);

    let usdm = replay(&folder, "binance_usdm", &["binance_usdm_btcusdt_20240808.rec.gz"]).await;
    let trades = only_ticks(usdm);
    assert_eq!(trades.len(), 21_313);
    let binance: Venue = "binance_usdm".parse().unwrap();
    let views = assert_recorded_once(&binance, trades).await;
    assert_reference(&views, &folder, &binance, "binance_usdm_btcusdt_candles", [6, 2]);
}

#[tokio::test]
async fn the_small_recording_is_recorded_once_however_it_comes() {
    let file = data::small_recording();
    let spec = format!("recording:{}?venue=binance&symbol=BTC-USDT&speed=max", file.display());
    let trades = only_ticks(play(&spec).await);

    assert!(trades.len() > 50, "{} trades", trades.len());
    assert_recorded_once(&"binance".parse().unwrap(), trades).await;
}
