//! The whole loop over loopback sockets: what a venue does, and what is handed on.

mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::observation::Heard as Told;
use domain::order_book::{Applied, OrderBook};
use domain::time::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::{Instrument, Link, Live, LiveError, Observation, Surroundings, Tempo, run};
use crate::feed::{Addresses, Hole, Known, Resume};
use crate::live::tests::server::{Venue, fails, held_back, ok};
use crate::samples::show;

/// Half a second before a minute ends.
const START: Timestamp = Timestamp::from_millis(1_711_013_459_500);

const LISTINGS: &str = r#"{"symbols":[
    {"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","filters":[
        {"filterType":"PRICE_FILTER","tickSize":"0.01000000"},
        {"filterType":"LOT_SIZE","minQty":"0.00001000","stepSize":"0.00001000"}]},
    {"symbol":"ETHBTC","status":"BREAK","baseAsset":"ETH","quoteAsset":"BTC","filters":[]}]}"#;

/// Waits that a test can sit out.
fn brisk() -> Tempo {
    let millis = Duration::from_millis;
    Tempo {
        look: millis(5),
        backoff_min: millis(20),
        backoff_max: millis(50),
        hole_patience: millis(30),
        minute_patience: millis(0),
        limited: millis(200),
        ..Tempo::default()
    }
}

/// A feed at a venue of ours, and what it hands on.
struct Heard {
    queue: mpsc::Receiver<Observation>,
    feed: JoinHandle<Result<(), LiveError>>,
    /// What was handed on and not asked for yet.
    shown: Vec<String>,
}

fn listen(venue: &Venue, tempo: Tempo, known: Known) -> Heard {
    let btc: Instrument = "BTC-USDT".parse().unwrap();
    let began = Instant::now();
    let micros = move || i64::try_from(began.elapsed().as_micros()).unwrap();
    let surroundings = Surroundings {
        now: Arc::new(move || START.plus(micros())),
        addresses: Addresses {
            ws_url: Some(venue.ws_url.clone()),
            rest_url: Some(venue.rest_url.clone()),
        },
        resume: Resume(BTreeMap::from([(btc.clone(), known)])),
        seed: 7,
    };
    let live = Live { venue: "binance".parse().unwrap(), instruments: vec![btc] };
    let (out, queue) = mpsc::channel(4);
    let feed = tokio::spawn(run(live, surroundings, tempo, out, Arc::default()));
    Heard { queue, feed, shown: Vec::new() }
}

impl Heard {
    /// Waits until something is handed on whose text starts like this, and returns it. What came
    /// before stays to be asked for.
    async fn until(&mut self, start: &str) -> String {
        if let Some(place) = self.shown.iter().position(|shown| shown.starts_with(start)) {
            return self.shown.remove(place);
        }
        loop {
            let next = timeout(Duration::from_secs(20), self.queue.recv()).await;
            let Ok(Some(next)) = next else { panic!("no {start}, but {:#?}", self.shown) };
            let shown = shown(&next);
            if shown.starts_with(start) {
                return shown;
            }
            self.shown.push(shown);
        }
    }

    fn has(&self, start: &str) -> bool {
        self.shown.iter().any(|shown| shown.starts_with(start))
    }
}

/// The text of an observation without times.
fn shown(observation: &Observation) -> String {
    match &observation.heard {
        Told::Candles(_, interval, bars) => {
            let (first, last) = (&bars[0].opened_at, &bars[bars.len() - 1].opened_at);
            format!(
                "bars {interval} {}..{}",
                &first.to_shortest()[11..16],
                &last.to_shortest()[11..16]
            )
        }
        Told::BookLost(_, reason) => format!("lost {reason:?}"),
        Told::TradesGone(_, first, last) => format!("gone {first}..{last}"),
        Told::Listed(instrument, listing) => format!(
            "listed {instrument} {} {} {:?} {}",
            listing.price_scale,
            listing.quantity_scale,
            listing.quantity_min.map(|least| least.to_string()),
            listing.trading
        ),
        Told::Link(Link::Up) => "up".to_owned(),
        Told::Link(Link::Down(reason)) => format!("down: {reason}"),
        _ => {
            let shown = show(observation);
            shown.split(", ").next().unwrap().replace("BTC-USDT ", "")
        }
    }
}

fn trade(id: u64) -> String {
    let millis = START.micros() / 1_000;
    format!(
        r#"{{"stream":"btcusdt@trade","data":{{"e":"trade","E":{millis},"s":"BTCUSDT","t":{id},"p":"65000.10000000","q":"0.50000000","T":{millis},"m":true,"M":true}}}}"#
    )
}

fn diff(first: u64, last: u64, bid: &str) -> String {
    let millis = START.micros() / 1_000;
    format!(
        r#"{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":{millis},"s":"BTCUSDT","U":{first},"u":{last},"b":[["{bid}","1.00000000"]],"a":[]}}}}"#
    )
}

fn snapshot(update_id: u64) -> String {
    format!(
        r#"{{"lastUpdateId":{update_id},"bids":[["100.00000000","2.00000000"]],"asks":[["900.00000000","3.00000000"]]}}"#
    )
}

fn bars(minutes: &[&str]) -> String {
    let bar = |minute: &&str| {
        let opened_at: Timestamp = format!("2024-03-21T{minute}:00Z").parse().unwrap();
        let millis = opened_at.micros() / 1_000;
        format!(
            r#"[{millis},"1.0","3.0","0.5","2.0","10.0",{},"20.0",5,"4.0","8.0","0"]"#,
            millis + 59_999
        )
    };
    format!("[{}]", minutes.iter().map(bar).collect::<Vec<_>>().join(","))
}

fn past_trades(ids: impl Iterator<Item = u64>) -> String {
    let row = |id: u64| {
        let millis = START.micros() / 1_000;
        format!(
            r#"{{"id":{id},"price":"65000.10000000","qty":"0.50000000","quoteQty":"1","time":{millis},"isBuyerMaker":false,"isBestMatch":true}}"#
        )
    };
    format!("[{}]", ids.map(row).collect::<Vec<_>>().join(","))
}

async fn venue() -> Venue {
    let venue = Venue::new().await;
    venue.answer("exchangeInfo", ok(LISTINGS));
    venue
}

#[tokio::test]
async fn a_feed_tells_listing_book_trades_and_the_bars_up_to_the_minute_of_its_connect() {
    let venue = venue().await;
    venue.answer("depth", ok(snapshot(10)));
    venue.answer("klines", ok(bars(&["08:58", "08:59", "09:00", "09:29", "09:30"])));
    venue.answer("klines", ok(bars(&["09:30", "09:31"])));
    let known = Known { minute: Some("2024-03-21T08:57:00Z".parse().unwrap()), ..Known::default() };
    let mut heard = listen(&venue, brisk(), known);
    let mut peer = venue.accept().await;
    assert_eq!(heard.until("listed").await, r#"listed BTC-USDT 2 5 Some("0.00001000") true"#);

    peer.say(&diff(9, 11, "101.00000000")).await;
    peer.say(&diff(12, 12, "102.00000000")).await;
    peer.say(&trade(1)).await;

    heard.until("up").await;
    assert_eq!(heard.until("book").await, "book #10 100.00×2.00000 | 900.00×3.00000");
    assert_eq!(heard.until("diff").await, "diff #9..11 101.00×1.00000 | ");
    assert_eq!(heard.until("diff").await, "diff #12..12 102.00×1.00000 | ");
    assert_eq!(heard.until("tick").await, "tick #1 Sell 0.50000 at 65000.10");
    assert_eq!(heard.until("bars").await, "bars 1m 08:58..08:59");
    // The bar of 09:30 was still forming; it comes when its minute has closed.
    assert_eq!(heard.until("bars").await, "bars 1m 09:00..09:29");
    assert_eq!(heard.until("bars").await, "bars 1m 09:30..09:30");
    assert_eq!(
        venue.asked("klines"),
        [
            "/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime=1711011480000&endTime=1711013399999&limit=1000",
            "/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime=1711013400000&endTime=1711013459999&limit=1000",
        ]
    );
    assert_eq!(peer.ping(b"still there").await.as_deref(), Some(&b"still there"[..]));
}

#[tokio::test]
async fn after_a_hang_up_the_missing_trades_and_a_new_book_are_fetched() {
    let venue = venue().await;
    venue.answer("depth", ok(snapshot(10)));
    venue.answer("depth", ok(snapshot(30)));
    venue.answer("klines", ok("[]"));
    venue.answer("historicalTrades", ok(past_trades(3..=5)));
    venue.answer("historicalTrades", ok(past_trades(6..=9)));
    let mut heard = listen(&venue, brisk(), Known::default());
    let mut peer = venue.accept().await;
    peer.say(&diff(9, 11, "101")).await;
    peer.say(&trade(2)).await;
    heard.until("diff #9..11").await;
    drop(peer);

    assert!(heard.until("down").await.starts_with("down: "));
    heard.until("lost Disconnected").await;
    let mut peer = venue.accept().await;
    peer.say(&diff(30, 31, "105")).await;
    peer.say(&trade(8)).await;

    heard.until("up").await;
    heard.until("up").await;
    heard.until("book #30").await;
    heard.until("diff #30..31").await;
    for id in [2, 8] {
        heard.until(&format!("tick #{id} Sell")).await;
    }
    for id in 3..=7 {
        heard.until(&format!("tick #{id} Buy")).await;
    }
    assert!(!heard.has("tick"), "{:?}", heard.shown);
    let asked = venue.asked("historicalTrades");
    assert!(asked[0].ends_with("symbol=BTCUSDT&limit=1000&fromId=3"));
    assert!(asked[1].ends_with("&fromId=6"));
}

#[tokio::test]
async fn a_socket_that_misses_nothing_brings_the_book_back_without_a_request() {
    let venue = venue().await;
    venue.answer("depth", ok(snapshot(10)));
    venue.answer("klines", ok("[]"));
    let mut heard = listen(&venue, brisk(), Known::default());
    let mut peer = venue.accept().await;
    peer.say(&diff(9, 11, "101")).await;
    heard.until("diff #9..11").await;
    drop(peer);
    let mut peer = venue.accept().await;
    peer.say(&diff(12, 12, "102")).await;

    heard.until("lost Disconnected").await;
    heard.until("book #10").await;
    assert_eq!(
        heard.until("book").await,
        "book #12 102.00×1.00000 101.00×1.00000 100.00×2.00000 | 900.00×3.00000"
    );
    assert_eq!(venue.asked("depth").len(), 1);
}

#[tokio::test]
async fn a_hole_in_the_diffs_loses_the_book_until_a_snapshot_fits_again() {
    let venue = venue().await;
    for update_id in [10, 15, 20] {
        venue.answer("depth", ok(snapshot(update_id)));
    }
    venue.answer("klines", ok("[]"));
    let mut heard = listen(&venue, brisk(), Known::default());
    let mut peer = venue.accept().await;
    peer.say(&diff(9, 11, "101")).await;
    heard.until("diff #9..11").await;
    peer.say(&diff(18, 19, "102")).await;
    peer.say(&diff(20, 21, "103")).await;

    heard.until("lost Hole").await;
    heard.until("book #20").await;
    heard.until("diff #20..21").await;
    assert_eq!(venue.asked("depth").len(), 3, "the snapshot of 15 is older than the stream");
}

#[tokio::test]
async fn trades_told_twice_or_out_of_order_are_not_asked_for() {
    let venue = venue().await;
    venue.answer("klines", ok("[]"));
    let known = Known { trade_id: Some(1), ..Known::default() };
    let mut heard = listen(&venue, brisk(), known);
    let mut peer = venue.accept().await;
    venue.answer("historicalTrades", ok(past_trades(6..=6)));
    for id in [2, 2, 4, 3, 5, 7] {
        peer.say(&trade(id)).await;
    }
    heard.until("tick #6 Buy").await;

    let asked = venue.asked("historicalTrades");
    assert_eq!(asked.len(), 1, "only what is missing is asked for: {asked:?}");
}

#[tokio::test]
async fn trades_that_the_venue_refuses_are_gone_and_the_bars_of_their_minutes_stand() {
    let venue = venue().await;
    let refusal = r#"{"code":-2014,"msg":"API-key format invalid."}"#;
    venue.answer("historicalTrades", fails(401, "", refusal));
    venue.answer("klines", ok(bars(&["09:29"])));
    venue.answer("klines", ok(bars(&["09:30"])));
    let known = Known {
        trade_id: Some(1),
        minute: Some("2024-03-21T09:28:00Z".parse().unwrap()),
        ..Known::default()
    };
    let mut heard = listen(&venue, brisk(), known);
    let mut peer = venue.accept().await;
    peer.say(&trade(2)).await;
    peer.say(&trade(7)).await;

    heard.until("gone 3..6").await;
    heard.until("bars 1m 09:29..09:29").await;
    heard.until("bars 1m 09:30..09:30").await;
}

#[tokio::test]
async fn too_long_a_hole_is_given_up_at_once() {
    let venue = venue().await;
    venue.answer("klines", ok("[]"));
    let known = Known { trade_id: Some(1), ..Known::default() };
    let mut heard = listen(&venue, brisk(), known);
    let mut peer = venue.accept().await;
    peer.say(&trade(60_000)).await;

    heard.until("gone 2..59999").await;
    assert_eq!(venue.asked("historicalTrades").len(), 0);
}

#[tokio::test]
async fn trades_that_the_venue_leaves_out_are_gone_and_the_others_are_told() {
    let venue = venue().await;
    venue.answer("klines", ok("[]"));
    venue.answer("historicalTrades", ok(past_trades([3, 5, 9].into_iter())));
    let known = Known { trade_id: Some(1), ..Known::default() };
    let mut heard = listen(&venue, brisk(), known);
    let mut peer = venue.accept().await;
    peer.say(&trade(8)).await;

    for told in ["gone 2..2", "tick #3", "gone 4..4", "tick #5", "gone 6..7"] {
        heard.until(told).await;
    }
    assert!(!heard.has("tick #9"), "it lies past the hole");
}

#[tokio::test]
async fn trades_that_were_missing_before_a_restart_are_fetched_after_it() {
    let venue = venue().await;
    venue.answer("klines", ok("[]"));
    venue.answer("historicalTrades", ok(past_trades(4..=6)));
    let hole = Hole { first: 4, last: 6, after: None, before: START };
    let known = Known { trade_id: Some(9), missing: vec![hole], ..Known::default() };
    let mut heard = listen(&venue, brisk(), known);
    let mut peer = venue.accept().await;
    peer.say(&trade(10)).await;

    heard.until("tick #10").await;
    for id in 4..=6 {
        heard.until(&format!("tick #{id}")).await;
    }
    assert!(venue.asked("historicalTrades")[0].ends_with("fromId=4"));
}

#[tokio::test]
async fn too_many_requests_are_waited_out_and_a_ban_says_so() {
    let venue = Venue::new().await;
    venue.answer("exchangeInfo", fails(418, "Retry-After: 1\r\n", ""));
    venue.answer("exchangeInfo", fails(451, "", r#"{"code":0,"msg":"restricted location"}"#));
    venue.answer("exchangeInfo", ok(LISTINGS));
    venue.answer("klines", ok("[]"));
    venue.answer("depth", fails(429, "", ""));
    venue.answer("depth", fails(403, "", "<html>"));
    venue.answer("depth", fails(503, "", ""));
    venue.answer("depth", ok(snapshot(10)));
    let began = Instant::now();
    let mut heard = listen(&venue, brisk(), Known::default());

    assert_eq!(heard.until("down").await, "down: too many requests (418), banned for 1 s");
    assert_eq!(heard.until("down").await, "down: the venue refuses: 451 0 restricted location");
    assert!(began.elapsed() >= Duration::from_secs(1));
    let mut peer = venue.accept().await;
    peer.say(&diff(9, 11, "101")).await;
    let asked_at = Instant::now();

    heard.until("book #10").await;
    assert!(asked_at.elapsed() >= brisk().limited * 2);
    assert_eq!(venue.asked("depth").len(), 4);
}

#[tokio::test]
async fn too_many_requests_that_say_no_seconds_to_wait_are_waited_out_all_the_same() {
    let venue = Venue::new().await;
    venue.answer("exchangeInfo", fails(429, "Retry-After: 0\r\n", ""));
    venue.answer("exchangeInfo", ok(LISTINGS));
    let began = Instant::now();
    let mut heard = listen(&venue, brisk(), Known::default());

    heard.until("listed").await;
    assert!(began.elapsed() >= brisk().limited);
}

#[tokio::test]
async fn a_book_that_is_lost_again_and_again_is_asked_for_ever_more_seldom() {
    let venue = venue().await;
    venue.answer("depth", ok(snapshot(10)));
    venue.answer("klines", ok("[]"));
    let forever = Duration::from_hours(1);
    let tempo = Tempo { backoff_min: forever, backoff_max: forever, ..brisk() };
    let mut heard = listen(&venue, tempo, Known::default());
    let mut peer = venue.accept().await;
    let top = r#"{"stream":"btcusdt@bookTicker","data":{"u":12,"s":"BTCUSDT","b":"5","B":"1","a":"6","A":"1"}}"#;
    peer.say(&diff(9, 11, "101")).await;
    heard.until("diff #9..11").await;
    for tries in 1..=2 {
        assert_eq!(venue.asked("depth").len(), tries);
        peer.say(top).await;
        peer.say(&diff(12, 12, "102")).await;
        heard.until("lost Contradicted").await;
        peer.say(&diff(11, 11, "101")).await;
        if tries == 1 {
            heard.until("diff #11..11").await;
        }
    }

    // The third is an hour away, or a part of one; trades go on.
    let (lost_at, mut id) = (Instant::now(), 0);
    while lost_at.elapsed() < 20 * brisk().look {
        id += 1;
        peer.say(&trade(id)).await;
        heard.until(&format!("tick #{id} ")).await;
    }
    assert_eq!(venue.asked("depth").len(), 2);
}

#[tokio::test]
async fn before_a_shutdown_a_successor_takes_over_and_nothing_is_lost() {
    let venue = venue().await;
    venue.answer("depth", ok(snapshot(10)));
    venue.answer("klines", ok("[]"));
    let mut heard = listen(&venue, brisk(), Known::default());
    let mut old = venue.accept().await;
    old.say(&diff(9, 11, "101")).await;
    heard.until("diff #9..11").await;
    old.say(r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1711013459500}}"#)
        .await;
    let mut new = venue.accept().await;

    old.say(&diff(12, 12, "102")).await;
    old.say(&trade(1)).await;
    heard.until("diff #12..12").await;
    new.say(&diff(12, 12, "102")).await;
    new.say(&diff(13, 13, "103")).await;
    new.say(&trade(1)).await;
    old.gone().await;
    new.say(&trade(2)).await;

    heard.until("diff #13..13").await;
    heard.until("tick #2").await;
    assert!(!heard.has("lost") && !heard.has("down") && !heard.has("diff"), "{:?}", heard.shown);
    assert_eq!(venue.asked("depth").len(), 1);
}

#[tokio::test]
async fn an_old_socket_is_followed_by_another_before_the_venue_hangs_up() {
    let venue = venue().await;
    venue.answer("depth", ok(snapshot(10)));
    venue.answer("klines", ok("[]"));
    let age = Duration::from_millis(100);
    let tempo = Tempo { socket_age: Some(age), overlap_max: age, ..brisk() };
    let mut heard = listen(&venue, tempo, Known::default());
    let mut old = venue.accept().await;
    old.say(&diff(9, 11, "101")).await;
    heard.until("diff #9..11").await;
    let mut new = venue.accept().await;

    // It tells of no book, but has had the time to.
    new.say(&trade(1)).await;
    old.gone().await;
    new.say(&diff(12, 12, "102")).await;

    heard.until("diff #12..12").await;
    assert!(!heard.has("lost") && !heard.has("down"), "{:?}", heard.shown);
}

#[tokio::test]
async fn a_book_that_falls_silent_is_lost_while_trades_go_on() {
    let venue = venue().await;
    venue.answer("depth", ok(snapshot(10)));
    venue.answer("klines", ok("[]"));
    let tempo = Tempo { book_silence: Duration::from_millis(100), ..brisk() };
    let mut heard = listen(&venue, tempo, Known::default());
    let mut peer = venue.accept().await;
    peer.say(&diff(9, 11, "101")).await;
    heard.until("diff #9..11").await;

    heard.until("lost Silent").await;
    peer.say(&trade(1)).await;
    peer.say(&diff(12, 13, "102")).await;

    heard.until("tick #1").await;
    heard.until("book #13").await;
    assert!(!heard.has("down"));
}

#[tokio::test]
async fn a_silent_socket_is_given_up_although_it_answers_pings() {
    let venue = venue().await;
    venue.answer("klines", ok("[]"));
    let tempo = Tempo {
        socket_silence_min: Duration::from_millis(150),
        socket_silence_max: Duration::from_millis(300),
        ..brisk()
    };
    let mut heard = listen(&venue, tempo, Known::default());
    let mut peer = venue.accept().await;
    for id in 1..=10 {
        peer.say(&trade(id)).await;
    }
    heard.until("tick #10").await;
    let pinging = async { while peer.ping(b"").await.is_some() {} };
    let ((), down) = tokio::join!(pinging, heard.until("down"));

    assert!(down.starts_with("down: silent for "), "{down}");
    let mut peer = venue.accept().await;
    peer.say(&trade(11)).await;
    heard.until("tick #11").await;
}

#[tokio::test]
async fn a_snapshot_that_was_asked_for_before_a_hang_up_is_of_no_use_after_it() {
    let venue = venue().await;
    let (answer, held) = held_back(ok(snapshot(10)));
    venue.answer("depth", answer);
    venue.answer("depth", ok(snapshot(50)));
    venue.answer("klines", ok("[]"));
    let mut heard = listen(&venue, brisk(), Known::default());
    let mut peer = venue.accept().await;
    peer.say(&diff(9, 11, "101")).await;
    heard.until("up").await;
    venue.is_asked("depth").await;
    drop(peer);
    heard.until("down").await;
    let mut peer = venue.accept().await;
    peer.say(&trade(1)).await;
    heard.until("up").await;
    held.send(()).unwrap();
    peer.say(&diff(50, 51, "102")).await;

    heard.until("book #50").await;
    heard.until("diff #50..51").await;
    assert!(!heard.has("book") && !heard.has("lost"), "{:?}", heard.shown);
}

#[tokio::test]
async fn recorded_frames_over_a_socket_tell_every_trade_once_and_the_recorded_book() {
    let Some(data) = crate::samples::shared_data() else { return };
    let file = data.join("recordings/binance_spot_btcusdt_20240808.rec.gz");
    let mut lines = crate::recording::lines::Lines::open(vec![file]).unwrap();
    let (mut frames, mut book) = (Vec::new(), String::new());
    while let Some(line) = lines.read().unwrap() {
        let text = std::str::from_utf8(line.parts().unwrap().1).unwrap().to_owned();
        if text.starts_with(r#"{"lastUpdateId""#) { book = text } else { frames.push(text) }
    }
    let venue = venue().await;
    venue.answer("depth", ok(book));
    venue.answer("klines", ok("[]"));
    let mut heard = listen(&venue, brisk(), Known::default());
    let mut peer = venue.accept().await;
    // The snapshot that was recorded fits only these: the rest waits for it.
    let rest = frames.split_off(40);
    for frame in &frames {
        peer.say(frame).await;
    }
    let (spliced, go) = tokio::sync::oneshot::channel();
    let mut spliced = Some(spliced);
    let saying = async {
        go.await.unwrap();
        for frame in &rest {
            peer.say(frame).await;
        }
    };
    let hearing = async {
        let (mut ids, mut book) = (Vec::new(), None);
        while ids.last() != Some(&3_735_693_015) {
            match heard.queue.recv().await.unwrap().heard {
                Told::Tick(_, tick) => ids.push(tick.trade_id),
                Told::Snapshot(_, snapshot) => {
                    book = Some(OrderBook::of(&snapshot).unwrap());
                    spliced.take().unwrap().send(()).unwrap();
                }
                Told::Diff(_, diff) => {
                    assert_eq!(book.as_mut().unwrap().apply(&diff), Ok(Applied::Changed));
                }
                Told::BookLost(_, reason) => panic!("{reason:?}"),
                _ => {}
            }
        }
        (ids, book)
    };
    let ((), (ids, book)) = tokio::join!(saying, hearing);

    assert_eq!(ids, (3_735_683_259..=3_735_693_015).collect::<Vec<u64>>());
    let book = book.unwrap();
    assert_eq!(book.last_id(), 50_093_421_584);
    assert_eq!(venue.asked("depth").len(), 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_the_socket_goes_on() {
    let venue = venue().await;
    venue.answer("klines", ok("[]"));
    let mut heard = listen(&venue, brisk(), Known::default());
    let mut peer = venue.accept().await;
    for frame in ["", "{", r#"{"e":"trade"}"#, r#"{"result":null,"id":1}"#, r#"{"e":"kline"}"#] {
        peer.say(frame).await;
    }
    peer.say(&trade(1)).await;

    heard.until("tick #1").await;
}

#[tokio::test]
async fn an_instrument_that_the_venue_does_not_list_ends_the_feed_by_its_name() {
    let venue = Venue::new().await;
    venue.answer("exchangeInfo", ok(r#"{"symbols":[]}"#));
    let heard = listen(&venue, brisk(), Known::default());

    let end = heard.feed.await.unwrap();

    assert_eq!(end.unwrap_err().to_string(), "binance does not list BTC-USDT");
}

#[tokio::test]
async fn a_feed_ends_when_nobody_listens_any_more() {
    let venue = venue().await;
    venue.answer("klines", ok("[]"));
    let mut heard = listen(&venue, brisk(), Known::default());
    let mut peer = venue.accept().await;
    peer.say(&trade(1)).await;
    heard.until("tick #1").await;
    drop(heard.queue);

    assert!(heard.feed.await.unwrap().is_ok());
    peer.gone().await;
}
