//! Stop-loss, take-profit and liquidation on a recorded day: exactly the trades that an independent
//! reader of the trades names fire, once, with two guardians at work and with both of them away.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use commands::clock::Clock;
use commands::desk::{self, Desk, Order};
use commands::feed_status::FeedStatus;
use commands::guardian::{Guardian, GuardianParts};
use commands::intake::{BookRecording, Intake, Options, QUEUE_TICKS_MAX};
use commands::terms::TradingTerms;
use domain::account::command::{AccountCommand, OpenPosition};
use domain::account::event::{AccountEvent, Cause};
use domain::account::limits::Limits;
use domain::account::position::{Leverage, Mode, PositionSide};
use domain::amount::Price;
use domain::book::Session;
use domain::event::Event;
use domain::instrument::{Instrument, Venue};
use domain::margin::Tiers;
use domain::market::event::MarketEvent;
use domain::name::AccountId;
use domain::observation::{Observation, Pace};
use domain::tick::Side;
use domain::time::Timestamp;
use eventlog::entry::{Actor, Entry, Offset};
use eventlog::log::ReadLog;
use eventlog::memory::Memory;
use eventlog::stream::Log;
use projections::projector;
use projections::store::Store;
use projections::views::Views;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::exchange::{Kind, lines};
use crate::house::House;
use crate::tools::{project, tool};
use crate::{data, house, recordings, restart};

/// Times at which orders are placed, evenly over the day.
const ROUNDS: usize = 60;

/// Of each ten rounds, the guardians are away in these.
const AWAY: std::ops::Range<usize> = 4..7;

/// Trades after which the house is killed.
const HALF: u64 = 8_000;

/// Time after which a test fails rather than wait.
const PATIENCE: Duration = Duration::from_mins(1);

/// The time of the commands. What fires does not depend on it.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        "2024-08-08T23:54:15Z".parse().expect("a time")
    }
}

/// A market that is played, an account that trades in it, and two guardians.
struct Place {
    folder: TempDir,
    market: Arc<Memory>,
    ledger: Arc<Memory>,
    views: Arc<Views>,
    desk: Arc<Desk>,
    status: Arc<FeedStatus>,
    terms: Arc<TradingTerms>,
    guardians: JoinSet<()>,
    _projectors: JoinSet<()>,
    drawn: u64,
}

fn account() -> AccountId {
    "alice".parse().expect("a name")
}

fn instrument() -> Instrument {
    "BTC-USDT".parse().expect("an instrument")
}

/// Fees of four basis points, and maintenance so high that liquidation is near at high leverage.
fn terms() -> TradingTerms {
    let rows = [(Decimal::ZERO, Decimal::new(75, 4), Decimal::from(125))];
    TradingTerms {
        fee_rate: Decimal::new(4, 4),
        tiers: BTreeMap::new(),
        tiers_default: Arc::new(Tiers::new(&rows).expect("a table of one tier")),
        limits_default: Limits {
            positions_max: 10_000,
            notional_max: "10000000".parse().expect("an amount"),
            quantity_max: BTreeMap::new(),
        },
    }
}

impl Place {
    async fn new(venue: &Venue) -> Self {
        let folder = house::folder();
        let (market, ledger) =
            (Arc::new(Memory::new(Log::Market)), Arc::new(Memory::new(Log::Ledger)));
        let views = Arc::new(Views::new(vec![venue.clone()]));
        let mut projectors = JoinSet::new();
        for (log, from) in [(Log::Ledger, ledger.clone()), (Log::Market, market.clone())] {
            let views = Arc::clone(&views);
            projectors.spawn(async move { drop(projector::follow(log, from, views).await) });
        }
        let (store, _) = Store::open(&folder.path().join("desk.db")).await.expect("a store");
        let desk = Desk::new(ledger.clone(), Arc::new(store), Arc::new(Still));
        let status = FeedStatus::new(venue.clone(), vec![instrument()], Pace::Recorded);
        let mut place = Self {
            folder,
            market,
            ledger,
            views,
            desk: Arc::new(desk),
            status: Arc::new(status),
            terms: Arc::new(terms()),
            guardians: JoinSet::new(),
            _projectors: projectors,
            drawn: 8,
        };
        place
            .submit("open", |_| AccountCommand::OpenAccount {
                currency: "USDT".parse().expect("a currency"),
                mode: Mode::Hedging,
                limits: terms().limits_default,
            })
            .await;
        let amount = "1000000".parse().expect("an amount");
        place.submit("fund", |_| AccountCommand::Deposit { amount }).await;
        place.start_guardians().await;
        place
    }

    /// Two of them, each with a cursor of its own that outlives it.
    async fn start_guardians(&mut self) {
        for name in ["first", "second"] {
            let guardian = self.guardian(name).await;
            self.guardians.spawn(async move { drop(guardian.run(pending()).await) });
        }
    }

    /// One that keeps what it knows under this name.
    async fn guardian(&self, name: &str) -> Guardian {
        let path = self.folder.path().join(format!("{name}.db"));
        let (store, _) = Store::open(&path).await.expect("a store");
        Guardian::new(GuardianParts {
            ledger: self.ledger.clone(),
            market: self.market.clone(),
            desk: Arc::clone(&self.desk),
            keep: Arc::new(store),
            clock: Arc::new(Still),
            terms: Arc::clone(&self.terms),
        })
    }

    async fn submit(
        &self,
        key: &str,
        command: impl Fn(&Views) -> AccountCommand + Send + Sync,
    ) -> Arc<Entry> {
        let order = Order {
            append_id: desk::append_id(&account(), key),
            account: account(),
            command: json!(key).to_string(),
            actor: Actor { principal: "alice".into(), role: "trader".into(), via: "test".into() },
            correlation_id: None,
            causation: None,
        };
        let done = self.desk.submit(order, |_| Ok::<_, Infallible>(command(&self.views))).await;
        done.unwrap_or_else(|error| panic!("{key}: {error}")).entry.expect("something happened")
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.drawn = self.drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.drawn >> 33) % below
    }

    /// Opens a position, and sets stops on most of them, some of them near.
    async fn place_order(&mut self, key: &str) {
        let side = if self.draw(2) == 0 { PositionSide::Long } else { PositionSide::Short };
        let leverage = match self.draw(3) {
            0 => Decimal::from(125),
            1 => Decimal::from(100),
            _ => Decimal::from(5),
        };
        let leverage = Leverage::new(leverage).expect("a leverage");
        // In hundred-thousandths of the mark.
        let (loss, profit) = (5 + self.draw(150), 5 + self.draw(150));
        let (with_loss, with_profit) = (self.draw(4) > 0, self.draw(4) > 0);
        let now = self.status.heard_at().expect("something was heard");
        let order = |views: &Views, to_do: &dyn Fn(domain::fill::Sight<'_>) -> AccountCommand| {
            views.sight(&instrument(), now, to_do).expect("it was traded")
        };
        let terms = self.terms.of(&instrument());
        let opened = self
            .submit(key, |views| {
                order(views, &|sight| {
                    let taker = if side == PositionSide::Long { Side::Buy } else { Side::Sell };
                    let quantity = "0.25".parse().expect("a quantity");
                    AccountCommand::OpenPosition(OpenPosition {
                        position_id: desk::position_id(desk::append_id(&account(), key)),
                        instrument: instrument(),
                        side,
                        leverage,
                        reduce_only: false,
                        fill: sight.fill(taker, quantity).expect("a fresh price"),
                        terms: terms.clone(),
                    })
                })
            })
            .await;
        let [Event::Account(AccountEvent::PositionOpened(opened))] = opened.events.as_slice()
        else {
            panic!("{opened:?}")
        };
        let position_id = opened.position_id;
        if !with_loss && !with_profit {
            return;
        }
        self.submit(&format!("{key} stops"), |views| {
            order(views, &|sight| {
                let mark = sight.last.expect("a fresh price");
                let away = |share: u64, up: bool| -> Price {
                    let share = Decimal::new(i64::try_from(share).expect("small"), 5);
                    let factor = if up { Decimal::ONE + share } else { Decimal::ONE - share };
                    Price::new((mark.value() * factor).round_dp(2)).expect("a price")
                };
                let is_long = side == PositionSide::Long;
                AccountCommand::SetStops {
                    position_id,
                    stop_loss: with_loss.then(|| away(loss, !is_long)),
                    take_profit: with_profit.then(|| away(profit, is_long)),
                    mark,
                    market: sight.market.clone(),
                }
            })
        })
        .await;
    }

    /// Plays a market, and trades in it.
    async fn play(&mut self, observations: Vec<Observation>) {
        let store = Store::open(&self.folder.path().join("intake.db")).await.expect("a store").0;
        let intake = Intake::new(
            self.market.clone(),
            self.ledger.clone(),
            Arc::new(store),
            Arc::new(Still),
            Arc::clone(&self.status),
            Options { session: Session(1), books: BookRecording::All },
        );
        let (sender, queue) = mpsc::channel(QUEUE_TICKS_MAX);
        let intake = tokio::spawn(async move { intake.run(queue).await.expect("an intake") });
        let each = observations.len() / ROUNDS + 1;
        let last = observations.last().expect("a market").received_at;
        for (round, part) in observations.chunks(each).enumerate() {
            for observation in part {
                sender.send(observation.clone()).await.expect("an intake that takes");
            }
            if round % 2 == 0 {
                self.heard(part.last().expect("a part").received_at).await;
            }
            match round % 10 {
                place if place == AWAY.start => self.guardians.shutdown().await,
                place if place == AWAY.end => self.start_guardians().await,
                _ => {}
            }
            let traded = self.views.quote(&instrument()).is_some();
            if traded {
                for order in 0..3 {
                    self.place_order(&format!("order {round} {order}")).await;
                }
            }
        }
        drop(sender);
        intake.await.expect("an intake that ends");
        self.heard(last).await;
        if self.guardians.is_empty() {
            self.start_guardians().await;
        }
    }

    /// Waits until the views show what was received up to then.
    async fn heard(&self, received_at: Timestamp) {
        let heard = async {
            while self.status.heard_at().is_none_or(|heard| heard < received_at) {
                tokio::task::yield_now().await;
            }
            let head = self.market.head().await.expect("memory can be read");
            self.views.wait_applied(Log::Market, head, PATIENCE).await
        };
        assert!(timeout(PATIENCE, heard).await.expect("in time"));
    }

    async fn entries(&self, log: &Memory) -> Vec<Entry> {
        log.read(Offset(0), usize::MAX).await.expect("memory can be read")
    }
}

/// Returns what has fired, in the order of the ledger.
fn fired(ledger: &[Entry]) -> Vec<Value> {
    let mut fired = Vec::new();
    for event in ledger.iter().flat_map(|entry| &entry.events) {
        let Event::Account(
            AccountEvent::PositionClosed(exited) | AccountEvent::PositionLiquidated(exited),
        ) = event
        else {
            continue;
        };
        let Cause::Fired(firing) = &exited.cause else { panic!("{exited:?}") };
        let (position, trigger) = (exited.position_id.to_string(), firing.trigger);
        let trade_id = firing.trade_id;
        fired.push(json!({ "position": position, "trigger": trigger, "trade_id": trade_id }));
    }
    fired
}

/// Returns the conditions that were set, each with the last trade that was seen then.
fn conditions(market: &[Entry], ledger: &[Entry]) -> Vec<Value> {
    let mut seen = BTreeMap::new();
    let mut last = 0;
    for entry in market {
        for event in &entry.events {
            if let Event::Market(MarketEvent::TickObserved(tick)) = event {
                last = last.max(tick.trade_id);
            }
        }
        seen.insert(entry.version.0, last);
    }
    let condition = |trigger: &str, price: String, version: u64| json!({ "trigger": trigger, "price": price, "after": seen[&version] });
    let mut positions: BTreeMap<String, Value> = BTreeMap::new();
    for event in ledger.iter().flat_map(|entry| &entry.events) {
        match event {
            Event::Account(AccountEvent::PositionOpened(opened)) => {
                let price = opened.maintenance.liquidation_price;
                let version = opened.fill.market.version;
                let conditions: Vec<Value> = price
                    .map(|price| condition("liquidation", price.to_string(), version))
                    .into_iter()
                    .collect();
                let id = opened.position_id.to_string();
                let position =
                    json!({ "position": id, "side": opened.side, "conditions": conditions });
                positions.insert(id, position);
            }
            Event::Account(AccountEvent::StopsSet {
                position_id,
                stop_loss,
                take_profit,
                market,
            }) => {
                let position = positions.get_mut(&position_id.to_string()).unwrap();
                let conditions = position["conditions"].as_array_mut().unwrap();
                for (trigger, price) in [("stop_loss", stop_loss), ("take_profit", take_profit)] {
                    conditions.extend(
                        price.map(|price| condition(trigger, price.to_string(), market.version)),
                    );
                }
            }
            _ => {}
        }
    }
    positions.into_values().collect()
}

/// The firings by position: one that fired twice stands there twice.
fn by_position(firings: Vec<Value>) -> BTreeMap<String, Vec<Value>> {
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for firing in firings {
        all.entry(firing["position"].as_str().unwrap().to_owned()).or_default().push(firing);
    }
    all
}

/// Asks the script which trade fires what.
async fn named(python: &Path, trades: &Path, conditions: &[Value]) -> Vec<Value> {
    let mut script = Command::new(python)
        .arg(project().join("tests/triggers.py"))
        .arg(trades)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut input = script.stdin.take().expect("stdin is piped");
    for condition in conditions {
        input.write_all(format!("{condition}\n").as_bytes()).await.expect("it reads");
    }
    drop(input);
    let output = timeout(PATIENCE, script.wait_with_output()).await.expect("in time").unwrap();
    assert!(output.status.success());
    let output = String::from_utf8(output.stdout).expect("text");
    output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Plays a market, and returns how often each trigger fired, once it is as the script says.
async fn fires_as_named(venue: &str, recording: &Path, trades: &Path) -> BTreeMap<String, usize> {
    let Some(python) = tool("python") else { return BTreeMap::new() };
    let venue: Venue = venue.parse().unwrap();
    let spec = format!("recording:{}?venue={venue}&symbol=BTC-USDT&speed=max", recording.display());
    let observations = recordings::play(&spec).await;
    let mut place = Place::new(&venue).await;
    place.play(observations).await;

    let market = place.entries(&place.market).await;
    let placed = conditions(&market, &place.entries(&place.ledger).await);
    let expected = named(&python, trades, &placed).await;
    let all_fired = async {
        loop {
            let head = place.ledger.head().await.unwrap();
            if fired(&place.entries(&place.ledger).await).len() >= expected.len() {
                break;
            }
            place.ledger.wait_after(head).await.unwrap();
        }
    };
    let in_time = timeout(PATIENCE, all_fired).await.is_ok();
    place.guardians.shutdown().await;
    // One that starts from nothing finds that all is done.
    place.guardian("third").await.catch_up().await.unwrap();
    let fired = fired(&place.entries(&place.ledger).await);
    assert_eq!(by_position(fired.clone()), by_position(expected), "in time: {in_time}");
    let mut counts = BTreeMap::new();
    for firing in fired {
        *counts.entry(firing["trigger"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trades_that_the_script_names_fire_on_the_recorded_perpetual_day() {
    let Some(folder) = data::recordings() else { return };
    let recording = folder.join("recordings/binance_usdm_btcusdt_20240808.rec.gz");
    let trades = folder.join("trades/binance_usdm_btcusdt_trades.csv.gz");

    let counts = fires_as_named("binance_usdm", &recording, &trades).await;

    assert!(counts.values().all(|count| *count >= 10) && counts.len() == 3, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trades_that_the_script_names_fire_in_a_small_market() {
    let recording = data::small_recording();
    let folder = house::folder();
    let trades: PathBuf = folder.path().join("trades.csv");
    let mut rows = vec!["trade_id,price".to_owned()];
    for line in
        lines(std::slice::from_ref(&recording)).iter().filter(|line| line.kind == Kind::Trade)
    {
        let (id, price) = (line.value["t"].as_u64().unwrap(), line.value["p"].as_str().unwrap());
        rows.push(format!("{id},{price}"));
    }
    std::fs::write(&trades, rows.join("\n")).unwrap();

    let counts = fires_as_named("binance", &recording, &trades).await;

    assert!(counts.values().sum::<usize>() >= 5, "{counts:?}");
}

/// Through the door of a house that is killed on the way. The recording then begins anew, and what
/// is recorded already passes without a trace.
#[tokio::test]
async fn the_trades_that_the_script_names_fire_in_a_house_that_is_killed() {
    let Some(data) = data::recordings() else { return };
    let Some(python) = tool("python") else { return };
    let folder = house::folder();
    let terms = "[trading]\ntaker_bps = 4\ntiers = { default = [[0, \"0.0075\", 125]] }\n";
    std::fs::write(folder.path().join("house.toml"), terms).unwrap();
    let recording =
        data.join("recordings/binance_usdm_btcusdt_20240808.rec.gz").display().to_string();
    let feed = format!("recording:{recording}?venue=binance_usdm&symbol=BTC-USDT&speed=20");
    let words = ["serve", "--config", "house.toml", "--feed", &feed];
    let mut house = House::start(&folder, words).await;
    for (path, body) in [
        ("operator/accounts", json!({ "account": "demo" })),
        ("operator/accounts/demo/deposits", json!({ "amount": "1000000" })),
    ] {
        let answer = house.post(&format!("/v1/{path}"), &body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
    }

    let price = "/v1/market/price/BTC-USDT";
    let first = trade_id(&house.until(price, |answer| answer.status == 200).await);
    for number in 0..40_usize {
        if number == 20 {
            house.until(price, |answer| trade_id(answer) > first + HALF).await;
            house.kill().await;
            house = House::start(&folder, words).await;
        }
        open_with_stops(&house, number).await;
    }
    let feeds = |answer: &house::Answer| answer.body.to_string().contains("finished");
    house.until("/readyz", feeds).await;
    house.stop().await;

    let entries = async |log| restart::entries(&restart::open(&folder, log)).await;
    let placed = conditions(&entries(Log::Market).await, &entries(Log::Ledger).await);
    let trades = data.join("trades/binance_usdm_btcusdt_trades.csv.gz");
    let expected = named(&python, &trades, &placed).await;
    assert!(expected.len() >= 10, "{expected:?}");
    // What had not fired when it was stopped does now.
    let house = House::start(&folder, words).await;
    let path = "/v1/portfolio/positions?status=closed&limit=1000";
    let all_closed = |answer: &house::Answer| {
        answer.body["positions"].as_array().is_some_and(|closed| closed.len() >= expected.len())
    };
    house.until(path, all_closed).await;
    house.stop().await;
    assert_eq!(by_position(fired(&entries(Log::Ledger).await)), by_position(expected));
}

fn trade_id(price: &house::Answer) -> u64 {
    price.body["trade_id"].as_u64().unwrap_or_default()
}

/// Opens a position as soon as the market allows it, and sets stops near the price that it got.
async fn open_with_stops(house: &House, number: usize) {
    let (side, is_long) = if number.is_multiple_of(2) { ("long", true) } else { ("short", false) };
    let leverage = ["125", "100", "5"][number % 3];
    let order = json!({ "symbol": "BTC-USDT", "size": "0.25", "type": side, "leverage": leverage });
    let opened = loop {
        let answer = house.post("/v1/portfolio/positions", &order).await;
        // A house that has just started has no fresh price yet.
        assert!([201, 503].contains(&answer.status), "{}", answer.body);
        if answer.status == 201 {
            break answer.body;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let entry: Decimal = opened["entry_price"].as_str().unwrap().parse().unwrap();
    let away = |share: usize, up: bool| {
        let share = Decimal::new(i64::try_from(share).unwrap(), 5);
        let factor = if up { Decimal::ONE + share } else { Decimal::ONE - share };
        (entry * factor).round_dp(2).to_string()
    };
    let (loss, profit) = (20 + 7 * (number % 11), 20 + 9 * (number % 13));
    let stops = json!({ "stop_loss": away(loss, !is_long), "take_profit": away(profit, is_long) });
    let id = opened["position_id"].as_str().unwrap();
    let answer = house.put(&format!("/v1/portfolio/positions/{id}/stops"), &stops).await;
    // The market may have gone past them, or past the position, in between.
    assert!([200, 400].contains(&answer.status), "{}", answer.body);
}
