//! Given past events, when a command, then events, nothing, or a refusal.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::account::command::{OpenPosition, Terms};
use crate::account::event::{AccountEvent as Event, Cause, Exited, Fee, Maintenance, Opened};
use crate::account::position::{Leverage, PositionSide};
use crate::amount::{Amount, Price, Quantity};
use crate::exact;
use crate::fill::{Fill, MarketEntry};
use crate::instrument::Instrument;
use crate::margin::Tiers;

mod conditions;
mod entries;
mod exits;
mod funds;
mod laws;
mod vectors;

const MARKET_VERSION: u64 = 7;

fn decimal(text: &str) -> Decimal {
    crate::amount::decimal(text).unwrap()
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

fn id(number: u128) -> PositionId {
    PositionId::new(number)
}

fn instrument() -> Instrument {
    "BTC-USDT".parse().unwrap()
}

fn market(version: u64) -> MarketEntry {
    MarketEntry { venue: "binance".parse().unwrap(), instrument: instrument(), version }
}

fn fill(size: &str, at: &str) -> Fill {
    Fill::at_price(quantity(size), price(at), market(MARKET_VERSION)).unwrap()
}

/// Without a fee.
fn terms() -> Terms {
    with_fee("0")
}

fn with_fee(rate: &str) -> Terms {
    Terms { fee_rate: decimal(rate), tiers: Arc::new(Tiers::default()) }
}

fn limits() -> Limits {
    Limits {
        positions_max: 3,
        notional_max: amount("1000000"),
        quantity_max: BTreeMap::from([(instrument(), quantity("10"))]),
    }
}

fn opened_in(mode: Mode) -> Event {
    Event::AccountOpened { currency: "USDT".parse().unwrap(), mode, limits: limits() }
}

fn deposited(text: &str) -> Event {
    Event::Deposited { amount: amount(text) }
}

/// An account in hedging mode with this much money.
fn funded(money: &str) -> Vec<Event> {
    vec![opened_in(Mode::Hedging), deposited(money)]
}

fn netting(money: &str) -> Vec<Event> {
    vec![opened_in(Mode::Netting), deposited(money)]
}

fn order(number: u128, side: PositionSide, of: &str, at: &str, leverage: &str) -> OpenPosition {
    OpenPosition {
        position_id: id(number),
        instrument: instrument(),
        side,
        leverage: leverage.parse().unwrap(),
        reduce_only: false,
        fill: fill(of, at),
        terms: terms(),
    }
}

fn no_fee() -> Fee {
    Fee { rate: Decimal::ZERO, amount: Decimal::ZERO }
}

fn maintenance(tier: usize, liquidation_price: &str) -> Maintenance {
    let liquidation_price = (liquidation_price != "-").then(|| decimal(liquidation_price));
    Maintenance { tier: *Tiers::default().iter().nth(tier - 1).unwrap(), liquidation_price }
}

fn opened(order: &OpenPosition, margin: &str, maintenance: Maintenance) -> Event {
    Event::PositionOpened(Box::new(Opened {
        position_id: order.position_id,
        instrument: order.instrument.clone(),
        side: order.side,
        leverage: order.leverage,
        fill: order.fill.clone(),
        margin: decimal(margin),
        fee: no_fee(),
        maintenance,
    }))
}

/// All of the position, without a fee.
fn left(number: u128, fill: Fill, cost: &str, margin: &str, realized: &str) -> Exited {
    let [cost_released, margin_released, realized] = [cost, margin, realized].map(decimal);
    let net = margin_released + realized;
    Exited {
        position_id: id(number),
        cause: Cause::Requested,
        fill,
        cost_released,
        realized,
        margin_released,
        fee: no_fee(),
        credited: net.max(Decimal::ZERO),
        shortfall: (-net).max(Decimal::ZERO),
        maintenance: None,
    }
}

/// 1.5 BTC at 64,000, ten times its margin: liquidated at 57,855.9….
fn a_long(number: u128) -> (OpenPosition, Event) {
    let order = order(number, PositionSide::Long, "1.5", "64000.00", "10");
    let event = opened(&order, "9600", maintenance(2, "57855.946398659966499162"));
    (order, event)
}

fn account(past: &[Event]) -> Account {
    let mut account = Account::default();
    for event in past {
        account.evolve(event);
    }
    account
}

/// What the books must say of an account at any time.
#[track_caller]
fn assert_conserved(account: &Account) {
    let Money { free, margin, deposits, withdrawals, realized, fees, funding, shortfall } =
        account.money;
    let came = [deposits, -withdrawals, realized, -fees, funding, shortfall];

    assert_eq!(exact::sum(came.into_iter()), exact::add(free, margin));
    assert!(free >= Decimal::ZERO);
    // The sums that are kept are those of the positions.
    let positions = || account.positions.values();
    assert_eq!(exact::sum(positions().map(|held| held.margin)), Some(margin));
    let mut exposures = Exposures::default();
    for held in positions() {
        let market = (&held.instrument, held.side);
        exposures.add(market, Exposure::of_position(held)).unwrap();
    }
    assert_eq!(account.exposures, exposures);
}
