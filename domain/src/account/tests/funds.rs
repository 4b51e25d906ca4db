//! The account itself, its money, and its days.

use super::*;
use crate::account::command::{AccountCommand, Refusal};
use crate::account::event::{DayClosed, Firing, Mark, Trigger};
use crate::account::limits::QUANTITY_LIMITS_MAX;
use crate::spec::given;
use crate::time::DAY;

fn open_in(mode: Mode) -> AccountCommand {
    AccountCommand::OpenAccount { currency: "USDT".parse().unwrap(), mode, limits: limits() }
}

#[test]
fn an_account_is_opened_once() {
    given::<Account>(&[]).when(open_in(Mode::Hedging)).then(&[opened_in(Mode::Hedging)]);

    let past = [opened_in(Mode::Hedging)];
    given::<Account>(&past).when(open_in(Mode::Hedging)).then_nothing();
    given::<Account>(&past).when(open_in(Mode::Netting)).then_refused(
        &Refusal::AccountOpenOtherwise { currency: "USDT".parse().unwrap(), mode: "hedging" },
    );
}

#[test]
fn nothing_can_be_asked_of_an_account_that_is_not_open() {
    let (position_id, market, terms) = (id(1), market(7), terms());
    let (fill, mark) = (fill("1", "64000"), price("64000"));
    let firing = Firing { trigger: Trigger::Liquidation, set_by: 1, trade_id: 1, price: mark };
    for command in [
        AccountCommand::Deposit { amount: amount("1") },
        AccountCommand::Withdraw { amount: amount("1") },
        AccountCommand::SetLimits { limits: limits() },
        AccountCommand::SetMode { mode: Mode::Hedging },
        AccountCommand::OpenPosition(a_long(1).0),
        AccountCommand::ReducePosition { position_id, fill: fill.clone(), terms: terms.clone() },
        AccountCommand::ClosePosition { position_id, fill: fill.clone(), terms: terms.clone() },
        AccountCommand::SetStops {
            position_id,
            stop_loss: None,
            take_profit: None,
            mark,
            market: market.clone(),
        },
        AccountCommand::ApplyFunding {
            position_id,
            rate: Decimal::ONE,
            mark,
            market,
            terms: terms.clone(),
        },
        AccountCommand::Fire { position_id, firing, fill, terms },
        AccountCommand::CloseDay { day: Timestamp::default(), marks: BTreeMap::new() },
    ] {
        given::<Account>(&[]).when(command).then_refused(&Refusal::AccountNotOpen);
    }
}

#[test]
fn what_is_deposited_is_free() {
    let past = [opened_in(Mode::Hedging)];
    let command = AccountCommand::Deposit { amount: amount("100000.00") };
    given::<Account>(&past).when(command).then(&[deposited("100000.00")]);

    assert_eq!(account(&funded("100000.00")).free().to_string(), "100000.00");
}

#[test]
fn a_balance_has_a_bound_that_counts_margin_too() {
    let (_, position) = a_long(1);
    let past = [funded("9999990000"), vec![position]].concat();
    let deposit = |text: &str| AccountCommand::Deposit { amount: amount(text) };

    given::<Account>(&past).when(deposit("10000")).then(&[deposited("10000")]);
    given::<Account>(&past).when(deposit("10000.01")).then_refused(&Refusal::BalanceTooLarge {
        balance: decimal("10000000000.01"),
        balance_max: decimal("10000000000"),
    });
}

/// What ever went in is a figure too, and it does not shrink.
#[test]
fn a_deposit_that_takes_a_figure_past_its_digits_is_refused() {
    let mut past = vec![opened_in(Mode::Hedging)];
    for _ in 0..7 {
        let amount = amount("9999999999.000000000000000001");
        past.extend([Event::Deposited { amount }, Event::Withdrawn { amount }]);
    }
    let deposit = |text: &str| AccountCommand::Deposit { amount: amount(text) };

    given::<Account>(&past).when(deposit("1")).then(&[deposited("1")]);
    given::<Account>(&past).when(deposit("9999999999")).then_refused(&Refusal::Inexact);
}

#[test]
fn what_is_free_can_be_withdrawn_and_no_more() {
    let (_, position) = a_long(1);
    let past = [funded("10000.00"), vec![position]].concat();
    let withdraw = |text: &str| AccountCommand::Withdraw { amount: amount(text) };

    given::<Account>(&past)
        .when(withdraw("400"))
        .then(&[Event::Withdrawn { amount: amount("400") }]);
    given::<Account>(&past).when(withdraw("400.01")).then_refused(&Refusal::WithdrawalTooLarge {
        amount: decimal("400.01"),
        free: decimal("400"),
    });
}

#[test]
fn limits_replace_those_before() {
    let past = funded("1");
    let wider = Limits { positions_max: 50, ..limits() };
    let set = |limits: &Limits| AccountCommand::SetLimits { limits: limits.clone() };

    given::<Account>(&past).when(set(&wider)).then(&[Event::LimitsSet { limits: wider.clone() }]);
    given::<Account>(&past).when(set(&limits())).then_nothing();
    let after = [past, vec![Event::LimitsSet { limits: wider.clone() }]].concat();
    given::<Account>(&after).when(set(&wider)).then_nothing();
}

#[test]
fn an_account_has_limits_for_so_many_instruments() {
    let quantity_max = (0..=QUANTITY_LIMITS_MAX)
        .map(|number| (format!("C{number}-USDT").parse().unwrap(), quantity("1")))
        .collect();
    let limits = Limits { quantity_max, ..limits() };
    let refusal = Refusal::TooManyLimits { limits: 65, limits_max: 64 };
    let (currency, mode) = ("USDT".parse().unwrap(), Mode::Hedging);

    let set = AccountCommand::SetLimits { limits: limits.clone() };
    given::<Account>(&funded("1")).when(set).then_refused(&refusal);
    let open = AccountCommand::OpenAccount { currency, mode, limits };
    given::<Account>(&[]).when(open).then_refused(&refusal);
}

#[test]
fn the_mode_changes_while_nothing_is_held() {
    let set = AccountCommand::SetMode { mode: Mode::Netting };
    given::<Account>(&funded("1"))
        .when(set.clone())
        .then(&[Event::ModeSet { mode: Mode::Netting }]);
    given::<Account>(&netting("1")).when(set.clone()).then_nothing();

    let held = [funded("100000"), vec![a_long(1).1, a_long(2).1]].concat();
    given::<Account>(&held).when(set).then_refused(&Refusal::PositionsOpen { open: 2 });
    given::<Account>(&held).when(AccountCommand::SetMode { mode: Mode::Hedging }).then_nothing();
}

#[test]
fn a_day_is_closed_once_at_the_marks_of_what_is_held() {
    let past = [funded("100000.00"), vec![a_long(1).1]].concat();
    let day = Timestamp::from_micros(20_000 * DAY);
    let mark = |text: &str| Mark { price: price(text), market: market(9) };
    let marks = BTreeMap::from([
        (instrument(), mark("65000.00")),
        ("ETH-USDT".parse().unwrap(), mark("3000")),
    ]);
    let closed = Event::DayClosed(DayClosed {
        day,
        marks: BTreeMap::from([(instrument(), mark("65000.00"))]),
        free: decimal("90400"),
        margin: decimal("9600"),
        unrealized: decimal("1500"),
        equity: decimal("101500"),
    });
    let close = |day: Timestamp| AccountCommand::CloseDay { day, marks: marks.clone() };

    given::<Account>(&past).when(close(day)).then(std::slice::from_ref(&closed));
    // Any instant of the day says the same.
    given::<Account>(&past).when(close(day.plus(DAY - 1))).then(std::slice::from_ref(&closed));
    let after = [past.clone(), vec![closed]].concat();
    given::<Account>(&after).when(close(day)).then_nothing();
    given::<Account>(&after).when(close(day.plus(-DAY))).then_nothing();
    assert_eq!(account(&after).day(), Some(day));

    let blind = AccountCommand::CloseDay { day, marks: BTreeMap::new() };
    given::<Account>(&past)
        .when(blind)
        .then_refused(&Refusal::MarkMissing { instrument: instrument() });
}

#[test]
fn each_refusal_has_its_code_and_its_figures() {
    let far = Refusal::StopWouldFire {
        trigger: "stop_loss",
        price: price("64000.00"),
        mark: price("63000.00"),
    };
    for (refusal, code, figures) in [
        (Refusal::AccountNotOpen, "404", ""),
        (Refusal::PositionUnknown, "404", ""),
        (Refusal::PositionClosed, "PORT_003", ""),
        (Refusal::NothingToReduce, "PORT_003", ""),
        (
            Refusal::MoreThanOpen { quantity: quantity("2"), open: quantity("1.50") },
            "PORT_003",
            "open 1.50, quantity 2",
        ),
        (
            Refusal::WithdrawalTooLarge { amount: decimal("400.01"), free: decimal("400.00") },
            "PORT_001",
            "amount 400.01, free 400.00",
        ),
        (Refusal::NotNetting, "400", ""),
        (far, "400", "mark 63000.00, stop_loss 64000.00"),
        (
            Refusal::QuantityLimit {
                instrument: instrument(),
                quantity: decimal("11"),
                quantity_max: decimal("10"),
            },
            "PORT_002",
            "instrument BTC-USDT, quantity 11, quantity_max 10",
        ),
    ] {
        assert_eq!(refusal.code(), code, "{refusal}");
        let named = |(name, figure): (String, String)| format!("{name} {figure}");
        let told: Vec<String> = refusal.arithmetic().into_iter().map(named).collect();
        assert_eq!(told.join(", "), figures);
    }
}
