//! Which trade fires is a matter of the logs, whatever the order in which they are read.
//!
//! Two guardians and their clients do things in any order. Whatever the ledger tells in the end, a
//! naive reader of it must come to the same: one that knows the whole ledger, and passes the whole
//! market for each position by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use domain::account::Account;
use domain::account::event::{AccountEvent, Cause, Firing, Trigger};
use domain::account::position::{Mode, Position, PositionId, PositionSide};
use domain::amount::{Price, Quantity};
use domain::decider::Decider;
use domain::fill::{Fill, Sight};
use domain::market::event::MarketEvent;
use domain::order_book::OrderBook;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rust_decimal::Decimal;

use super::house::{Line, at, btc_at, market_stream};
use super::*;

/// Entries of a quiet book between two that matter, so that there are copies to go back to.
const QUIET_ENTRIES: u64 = 12;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// The market goes on by an entry that matters, and the quiet ones after it.
    Market(Vec<Told>),
    /// A client opens its next position, by the market as it stood some entries ago.
    Open {
        side: PositionSide,
        leverage: u32,
        ago: u64,
    },
    /// A client sets stops this far from 100, or removes them.
    SetStops {
        position: usize,
        stop_loss: u32,
        take_profit: u32,
        ago: u64,
    },
    /// A client closes a half of what is left, or all.
    Reduce {
        position: usize,
        wholly: bool,
    },
    /// Margin goes out of a position or into it, in thousandths of its worth.
    Fund {
        position: usize,
        rate: i64,
        ago: u64,
    },
    /// A guardian reads the ledger alone, the market alone, or what there is.
    Ledger(usize),
    MarketOnly(usize),
    Round(usize),
    /// A guardian is replaced by one that knows what was kept last.
    Restart {
        guardian: usize,
        keeps: bool,
    },
}

/// What an entry tells, in small numbers.
#[derive(Debug, Clone)]
enum Told {
    /// At a price in tenths, this many trades before the newest.
    Trade {
        price: u32,
        late: u64,
    },
    /// A book around a price, with so much at its best levels.
    Snapshot {
        price: u32,
        quantity: u32,
    },
    Diff {
        price: u32,
        quantity: u32,
    },
    Lost,
    Pause,
}

fn told() -> impl Strategy<Value = Told> {
    let price = || prop_oneof![4 => 980..1_020_u32, 2 => 900..1_100_u32, 1 => 850..1_150_u32];
    prop_oneof![
        8 => price().prop_map(|price| Told::Trade { price, late: 0 }),
        1 => (price(), 1..3_u64).prop_map(|(price, late)| Told::Trade { price, late }),
        2 => (price(), 0..3_u32).prop_map(|(price, quantity)| Told::Snapshot { price, quantity }),
        1 => (price(), 0..3_u32).prop_map(|(price, quantity)| Told::Diff { price, quantity }),
        1 => Just(Told::Lost),
        1 => Just(Told::Pause),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let side = prop_oneof![Just(Long), Just(Short)];
    let leverage = prop_oneof![Just(1_u32), Just(5), Just(10), Just(20)];
    let ago = || prop_oneof![3 => 0..3_u64, 2 => 0..100_u64, 1 => 0..1_000_u64];
    let stops = (0..100_u32, 0..100_u32);
    prop_oneof![
        10 => prop::collection::vec(told(), 1..4).prop_map(Step::Market),
        4 => (side, leverage, ago())
            .prop_map(|(side, leverage, ago)| Step::Open { side, leverage, ago }),
        4 => (0..8_usize, stops, ago()).prop_map(|(position, (stop_loss, take_profit), ago)| {
            Step::SetStops { position, stop_loss, take_profit, ago }
        }),
        2 => (0..8_usize, any::<bool>())
            .prop_map(|(position, wholly)| Step::Reduce { position, wholly }),
        1 => (0..8_usize, -40..80_i64, ago())
            .prop_map(|(position, rate, ago)| Step::Fund { position, rate, ago }),
        4 => (0..2_usize).prop_map(Step::Ledger),
        4 => (0..2_usize).prop_map(Step::MarketOnly),
        3 => (0..2_usize).prop_map(Step::Round),
        2 => (0..2_usize, any::<bool>())
            .prop_map(|(guardian, keeps)| Step::Restart { guardian, keeps }),
    ]
}

/// A market that is told step by step.
#[derive(Default)]
struct Teller {
    update_id: u64,
    trade_id: u64,
    second: i64,
}

impl Teller {
    fn event(&mut self, told: &Told) -> MarketEvent {
        let price = |tenths: u32| Decimal::new(tenths.into(), 1).to_string();
        self.update_id += 1;
        let levels = |from: u32, step: i32, quantity: u32| {
            let level = |place: i32| {
                let price = price(from.saturating_add_signed(step * place));
                format!("{price}x{}", f64::from(quantity) / 2.0)
            };
            (1..4).map(level).collect::<Vec<_>>().join(" ")
        };
        match *told {
            Told::Trade { price: tenths, late } => {
                self.trade_id += 10;
                let second = self.second - i64::try_from(late).unwrap() * 3;
                trade(self.trade_id - 25 * late, &price(tenths), second)
            }
            Told::Snapshot { price, quantity } => {
                let (bids, asks) = (levels(price, -1, quantity), levels(price, 1, quantity));
                snapshot(self.update_id, self.second, &bids, &asks)
            }
            Told::Diff { price, quantity } => {
                diff(self.update_id, self.second, &levels(price, -1, quantity), "")
            }
            Told::Lost => lost(self.second),
            Told::Pause => {
                self.second += 7;
                diff(self.update_id, self.second - 7, "", "")
            }
        }
    }

    async fn tell(&mut self, house: &House, told: &[Told]) {
        self.second += 1;
        let events = told.iter().map(|told| self.event(told)).collect();
        house.tell(events).await;
        for _ in 0..QUIET_ENTRIES {
            self.update_id += 1;
            house.tell(vec![diff(self.update_id, self.second, "", "")]).await;
        }
    }
}

/// What came of a play.
struct Played {
    house: House,
    /// Entries that were read again, and how often something had changed that was not known.
    read_again: usize,
    behind: usize,
}

/// Does everything in its order, and lets the guardians come to the end.
async fn play(script: &[Step]) -> Played {
    let house = House::with(&["alice"]).await;
    let mut teller = Teller { trade_id: 1_000, ..Teller::default() };
    teller.tell(&house, &[Told::Trade { price: 1_000, late: 0 }]).await;
    let line = Line::to(house.market.clone());
    let guardian = || Guardian::new(GuardianParts { market: line.clone(), ..house.parts() });
    let mut guardians = [guardian(), guardian()];
    let (mut opened, mut behind) = (0, 0);
    for step in script {
        let newest = house.market.tip(&market_stream()).await.unwrap().unwrap().version.0;
        let version = |ago: u64| newest.saturating_sub(ago).max(1);
        match *step {
            Step::Market(ref told) => teller.tell(&house, told).await,
            Step::Open { side, leverage, ago } => {
                opened += 1;
                house.open("alice", opened, (side, leverage), "100", version(ago)).await;
            }
            Step::SetStops { position, stop_loss, take_profit, ago } => {
                let Some((id, held)) = open_position(&house, position).await else { continue };
                let away = |sign: i64, tenths: u32| match tenths {
                    0 => "-".to_owned(),
                    _ => Decimal::new(1_000 + sign * i64::from(tenths), 1).to_string(),
                };
                let sign = if held.side == Long { 1 } else { -1 };
                let stops = (away(-sign, stop_loss), away(sign, take_profit));
                house.stops("alice", id, (&stops.0, &stops.1), version(ago)).await;
            }
            Step::Reduce { position, wholly } => {
                let Some((id, held)) = open_position(&house, position).await else { continue };
                let parts = if wholly { Decimal::ONE } else { Decimal::TWO };
                let quantity = held.quantity.value() / parts;
                if quantity > Decimal::new(1, 3) {
                    house.reduce("alice", id, &quantity.to_string(), newest).await;
                }
            }
            Step::Fund { position, rate, ago } => {
                let Some((id, _)) = open_position(&house, position).await else { continue };
                let rate = Decimal::new(rate, 3).to_string();
                house.fund("alice", id, &rate, version(ago)).await;
            }
            Step::Ledger(guardian) => {
                let guardian = &mut guardians[guardian];
                guardian.start().await.unwrap();
                guardian.read_ledger().await.unwrap();
            }
            Step::MarketOnly(guardian) => {
                let guardian = &mut guardians[guardian];
                guardian.start().await.unwrap();
                let is_whole =
                    guardian.arm().await.unwrap() && guardian.read_market().await.unwrap();
                behind += usize::from(!is_whole);
            }
            Step::Round(guardian) => drop(guardians[guardian].round().await.unwrap()),
            Step::Restart { guardian: place, keeps } => {
                let before = &mut guardians[place];
                // What was learned and not armed is never kept.
                if keeps && before.fresh.is_empty() {
                    before.keeper.finish(&before.known, house.clock.now()).await;
                }
                guardians[place] = guardian();
            }
        }
    }
    let left = |guardian: &Guardian| guardian.known.conditions.positions().count();
    for guardian in &mut guardians {
        guardian.catch_up().await.unwrap();
        assert_eq!(left(guardian), account(&house).await.positions().len());
    }
    guardians[0].catch_up().await.unwrap();
    assert_eq!(guardians[0].known.conditions, guardians[1].known.conditions);
    for Guardian { known, .. } in &mut guardians {
        let market = known.markets.get_mut(&market_stream()).unwrap();
        // Also those who wait for what comes next.
        market.armed.come_to(Version(u64::MAX));
        let armed = |price: &str| market.armed.met(price.parse().unwrap());
        let armed: BTreeSet<_> = armed("0.01").into_iter().chain(armed("1000000")).collect();
        assert_eq!(armed, known.conditions.iter().map(|(name, _)| name).collect());
    }
    let read_again = line.stream_entries_read.load(Ordering::Relaxed);
    Played { house, read_again, behind }
}

async fn account(house: &House) -> Account {
    let mut account = Account::default();
    for (_, event) in account_events(house).await {
        account.evolve(&event);
    }
    account
}

async fn account_events(house: &House) -> Vec<(Entry, AccountEvent)> {
    let entries = house.ledger.read(Offset(0), usize::MAX).await.unwrap();
    let mut events = Vec::new();
    for entry in entries {
        assert!(matches!(entry.stream, Stream::Account(_)), "something was refused: {entry:?}");
        for event in &entry.events {
            let Event::Account(event) = event else { continue };
            events.push((entry.clone(), event.clone()));
        }
    }
    events
}

/// Returns one of the open positions, and its number.
async fn open_position(house: &House, place: usize) -> Option<(u32, Position)> {
    let account = account(house).await;
    let position = account.positions().values().nth(place)?;
    let number = (0..1_000).find(|n| PositionId::new((*n).into()) == position.id)?;
    Some((number, position.clone()))
}

/// Returns the trade that fires a position as it stands, and its fill.
fn expected(position: &Position, market: &[Entry]) -> Option<(Firing, Fill)> {
    let stops = &position.stops;
    let after = stops.market.as_ref().map_or(0, |market| market.version);
    let conditions = [
        (
            Trigger::Liquidation,
            position.maintenance.liquidation_price,
            position.market.version,
            position.margin_set_by,
        ),
        (Trigger::StopLoss, stops.stop_loss.map(Price::value), after, stops.set_by),
        (Trigger::TakeProfit, stops.take_profit.map(Price::value), after, stops.set_by),
    ];
    let mut book: Option<(OrderBook, i64)> = None;
    let mut last = None;
    for entry in market {
        let market = btc_at(entry.version.0);
        for event in &entry.events {
            let Event::Market(event) = event else { continue };
            let tick = match event {
                MarketEvent::BookSnapshotObserved { told, snapshot } => {
                    let second = told.venue_time.since(at(0));
                    book = OrderBook::of(snapshot).ok().map(|book| (book, second));
                    continue;
                }
                MarketEvent::BookDiffObserved { told, diff } => {
                    book = book.and_then(|(mut book, _)| {
                        book.apply(diff).ok()?;
                        Some((book, told.venue_time.since(at(0))))
                    });
                    continue;
                }
                MarketEvent::BookLost { .. } => {
                    book = None;
                    continue;
                }
                MarketEvent::TickObserved(tick) => tick,
                _ => continue,
            };
            if last >= Some((tick.traded_at, tick.trade_id)) {
                continue;
            }
            last = Some((tick.traded_at, tick.trade_id));
            let fresh =
                book.as_ref().filter(|(_, told)| tick.traded_at.since(at(0)) - told <= 5_000_000);
            let sight = Sight {
                book: fresh.map(|(book, _)| book),
                last: Some(tick.price),
                market: &market,
            };
            for (trigger, price, after, set_by) in conditions {
                let Some(price) = price.filter(|_| entry.version.0 > after) else { continue };
                if trigger.is_met(position.side, price, tick.price.value()) && !sight.is_suspect() {
                    let (trade_id, price) = (tick.trade_id, tick.price);
                    let fill = sight.fill(position.side.exit(), position.quantity).unwrap();
                    return Some((Firing { trigger, set_by, trade_id, price }, fill));
                }
            }
        }
    }
    None
}

/// Holds everything that was closed, and all that is still open, against the naive reader.
async fn judge(house: &House) -> BTreeMap<Trigger, usize> {
    let market = house.market.read(Offset(0), usize::MAX).await.unwrap();
    let (mut account, mut fired) = (Account::default(), BTreeMap::new());
    for (entry, event) in account_events(house).await {
        if let AccountEvent::PositionClosed(exited) | AccountEvent::PositionLiquidated(exited) =
            &event
            && let Cause::Fired(firing) = exited.cause
        {
            let position = &account.positions()[&exited.position_id];
            let (expected, fill) = expected(position, &market).unwrap();
            assert_eq!((firing, &exited.fill), (expected, &fill));
            assert_eq!(entry.causation.unwrap().version.0, fill.market.version);
            *fired.entry(firing.trigger).or_insert(0) += 1;
        }
        account.evolve(&event);
    }
    for position in account.positions().values() {
        assert_eq!(expected(position, &market), None, "{position:?}");
    }
    fired
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_same_trade_fires_however_the_logs_are_read(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            judge(&play(&steps).await.house).await;
        });
    }
}

#[tokio::test]
async fn what_is_played_fires_every_trigger_in_every_way() {
    let mut runner = TestRunner::deterministic();
    let scripts = prop::collection::vec(step(), 60);
    let (mut fired, mut read_again, mut behind) = (BTreeMap::new(), 0, 0);
    for _ in 0..64 {
        let played = play(&scripts.new_tree(&mut runner).unwrap().current()).await;
        for (trigger, times) in judge(&played.house).await {
            *fired.entry(trigger).or_insert(0) += times;
        }
        read_again += usize::from(played.read_again > 0);
        behind += played.behind;
    }
    assert!(fired.len() == 3 && fired.values().all(|times| *times > 20), "{fired:?}");
    assert!(read_again > 20 && behind > 0, "{read_again} {behind}");
}

/// An order in netting mode: more of the same side, less of it, or over to the other.
fn netted() -> impl Strategy<Value = (PositionSide, u32)> {
    (prop_oneof![Just(Long), Just(Short)], 1..5_u32)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn what_a_guardian_knows_of_an_account_is_what_the_account_knows(
        orders in prop::collection::vec((netted(), 0..4_u32), 1..20)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let house = House::with_mode(Mode::Netting, &["alice"]).await;
            let mut guardian = house.guardian();
            for (number, ((side, quantity), then)) in (1..).zip(orders) {
                let quantity = Quantity::new(quantity.into()).unwrap();
                house.order("alice", number, (side, 10), ("100", quantity), number.into()).await;
                if let Some((id, held)) = open_position(&house, 0).await && then > 1 {
                    let tenths = i64::from(then) * if held.side == Long { 10 } else { -10 };
                    let take_profit = Decimal::new(1_000 + tenths, 1).to_string();
                    house.stops("alice", id, ("-", &take_profit), number.into()).await;
                }
                guardian.catch_up().await.unwrap();
                prop_assert_eq!(known(&guardian), conditions(&account(&house).await));
            }
            Ok(())
        })?;
    }
}

/// What there is of conditions: of which position, by which change, at which price, after which entry.
type Drawn = Vec<(PositionId, Trigger, u64, Decimal, u64)>;

fn known(guardian: &Guardian) -> Drawn {
    let drawn = |(name, condition): (Name, Condition)| {
        let Name { position_id, trigger, set_by, .. } = name;
        (position_id, trigger, set_by, condition.price, condition.after.version)
    };
    guardian.known.conditions.iter().map(drawn).collect()
}

fn conditions(account: &Account) -> Drawn {
    let mut drawn = Vec::new();
    for Position { id, maintenance, margin_set_by, market, stops, .. } in
        account.positions().values()
    {
        let liquidation = maintenance.liquidation_price;
        drawn.extend(
            liquidation
                .map(|price| (*id, Trigger::Liquidation, *margin_set_by, price, market.version)),
        );
        let after = stops.market.as_ref().map_or(0, |market| market.version);
        for (trigger, price) in
            [(Trigger::StopLoss, stops.stop_loss), (Trigger::TakeProfit, stops.take_profit)]
        {
            drawn.extend(price.map(|price| (*id, trigger, stops.set_by, price.value(), after)));
        }
    }
    drawn
}
