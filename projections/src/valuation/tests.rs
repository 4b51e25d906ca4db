//! Positions at a mark, figures worked out by hand.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use domain::account::command::{AccountCommand, OpenPosition, Terms};
use domain::account::limits::Limits;
use domain::account::position::{Leverage, Mode, PositionId};
use domain::decider::Decider;
use domain::fill::{Fill, MarketEntry};
use expect_test::{Expect, expect};

use super::*;

/// Half a percent of maintenance, and from 1,000 on one percent.
fn tiers() -> Arc<Tiers> {
    let row = |floor: i64, thousandths, leverage: i64| {
        (Decimal::from(floor), Decimal::new(thousandths, 3), Decimal::from(leverage))
    };
    Arc::new(Tiers::new(&[row(0, 5, 100), row(1_000, 10, 50)]).unwrap())
}

fn put(account: &mut Account, command: AccountCommand) {
    for event in account.decide(command).unwrap() {
        account.evolve(&event);
    }
}

/// An account with a thousand, and positions of BTC-USDT drawn as `SIDE QUANTITY PRICE LEVERAGE`.
fn account(positions: &[&str]) -> Account {
    let mut account = Account::default();
    let limits = Limits {
        positions_max: 10,
        notional_max: "1000000".parse().unwrap(),
        quantity_max: BTreeMap::new(),
    };
    let (currency, mode) = ("USDT".parse().unwrap(), Mode::Hedging);
    put(&mut account, AccountCommand::OpenAccount { currency, mode, limits });
    put(&mut account, AccountCommand::Deposit { amount: "1000.00".parse().unwrap() });
    for (position, number) in positions.iter().zip(1..) {
        let words: Vec<&str> = position.split(' ').collect();
        let instrument: Instrument = "BTC-USDT".parse().unwrap();
        let venue = "binance".parse().unwrap();
        let market = MarketEntry { venue, instrument: instrument.clone(), version: 1 };
        let (quantity, price) = (words[1].parse().unwrap(), words[2].parse().unwrap());
        let leverage: Leverage = words[3].parse().unwrap();
        let order = OpenPosition {
            position_id: PositionId::new(number),
            instrument,
            side: match words[0] {
                "long" => PositionSide::Long,
                _ => PositionSide::Short,
            },
            leverage,
            reduce_only: false,
            fill: Fill::at_price(quantity, price, market).unwrap(),
            terms: Terms { fee_rate: Decimal::ZERO, tiers: tiers() },
        };
        put(&mut account, AccountCommand::OpenPosition(order));
    }
    account
}

fn check(positions: &[&str], mark: &str, drawn: &Expect) {
    let (account, tiers, mark) = (account(positions), tiers(), mark.parse().unwrap());
    let mut told = String::new();
    for position in account.positions().values() {
        let Worth { notional, unrealized, maintenance_margin, margin_ratio, .. } =
            of_position(position, mark, &tiers).unwrap();
        writeln!(
            told,
            "{notional}: {unrealized}, needs {maintenance_margin} of {}, {margin_ratio}",
            position.margin
        )
        .unwrap();
    }
    let worth = of_account(&account, |_| Some(mark), |_| &tiers).unwrap();
    let AccountWorth { margin, unrealized, balance, equity, .. } = worth;
    let AccountWorth { maintenance_margin, margin_ratio, notional, .. } = worth;
    writeln!(
        told,
        "{margin} of {balance}, with {unrealized} {equity}; {notional} needs {maintenance_margin}, \
         {margin_ratio}"
    )
    .unwrap();
    drawn.assert_eq(&told);
}

#[test]
fn a_long_gains_as_its_price_rises_and_a_short_as_it_falls() {
    // Of each 500 at leverage 10: margin 50. At 101 the long has gained 5 and needs 505 · 0.005.
    check(
        &["long 5 100.00 10", "short 5 100.00 10"],
        "101.00",
        &expect![[r#"
        505.00: 5.00, needs 2.52500 of 50.00, 0.045909
        505.00: -5.00, needs 2.52500 of 50.00, 0.056111
        100.00 of 1000.00, with 0.00 1000.00; 1010.00 needs 5.05000, 0.05050
    "#]],
    );
}

#[test]
fn maintenance_is_that_of_the_tier_of_the_notional() {
    // 15 · 100 = 1,500: of the second tier, 1,500 · 0.01 − 5.
    check(
        &["long 15 100.00 10"],
        "100.00",
        &expect![[r#"
        1500.00: 0.00, needs 10.00000 of 150.00, 0.066667
        150.00 of 1000.00, with 0.00 1000.00; 1500.00 needs 10.00000, 0.066667
    "#]],
    );
}

#[test]
fn nothing_left_of_a_margin_is_told_as_the_greatest_ratio() {
    check(
        &["long 5 100.00 10"],
        "90.00",
        &expect![[r#"
        450.00: -50.00, needs 2.25000 of 50.00, 1000
        50.00 of 1000.00, with -50.00 950.00; 450.00 needs 2.25000, 1000
    "#]],
    );
    check(
        &["long 5 100.00 10"],
        "80.00",
        &expect![[r#"
        400.00: -100.00, needs 2.00000 of 50.00, 1000
        50.00 of 1000.00, with -100.00 900.00; 400.00 needs 2.00000, 1000
    "#]],
    );
}

#[test]
fn an_account_without_positions_is_worth_its_money() {
    check(
        &[],
        "100.00",
        &expect![[r#"
        0 of 1000.00, with 0 1000.00; 0 needs 0, 0
    "#]],
    );
}

#[test]
fn without_a_mark_an_account_has_no_worth() {
    let (held, tiers) = (account(&["long 5 100.00 10"]), tiers());
    assert_eq!(of_account(&held, |_| None, |_| &tiers), None);
    assert!(of_account(&account(&[]), |_| None, |_| &tiers).is_some());
}
