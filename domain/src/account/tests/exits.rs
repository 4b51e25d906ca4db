//! Getting out: on request, and when a trade meets a condition.

use super::*;
use crate::account::command::{AccountCommand, Refusal};
use crate::account::event::{Firing, Trigger};
use crate::account::position::PositionSide::{Long, Short};
use crate::spec::given;

fn reduce(number: u128, fill: Fill) -> AccountCommand {
    AccountCommand::ReducePosition { position_id: id(number), fill, terms: terms() }
}

fn close(number: u128, fill: Fill) -> AccountCommand {
    AccountCommand::ClosePosition { position_id: id(number), fill, terms: terms() }
}

fn holding() -> Vec<Event> {
    [funded("10000"), vec![a_long(1).1]].concat()
}

/// The long was closed where it was opened.
fn closed() -> Vec<Event> {
    let exited = left(1, fill("1.5", "64000.00"), "96000", "9600", "0");
    [holding(), vec![Event::PositionClosed(exited.into())]].concat()
}

#[test]
fn a_part_is_closed_with_its_share_of_cost_and_margin() {
    let part = fill("0.5", "66000.00");
    let reduced = Event::PositionReduced(Box::new(Exited {
        maintenance: Some(maintenance(2, "57839.195979899497487437")),
        ..left(1, part.clone(), "32000", "3200", "1000")
    }));
    given::<Account>(&holding()).when(reduce(1, part)).then(std::slice::from_ref(&reduced));

    let after = account(&[holding(), vec![reduced]].concat());
    let held = &after.positions()[&id(1)];
    assert_eq!((held.quantity, held.cost), (quantity("1.0"), decimal("64000")));
    assert_eq!((held.margin, held.realized), (decimal("6400"), decimal("1000")));
    assert_eq!(after.free(), decimal("4600"));
    assert_conserved(&after);
}

#[test]
fn a_share_is_rounded_once_and_the_last_part_takes_the_rest() {
    let order = order(1, Long, "3", "100.00", "7");
    let mut account = account(&funded("1000"));
    let mut released = (Decimal::ZERO, Decimal::ZERO);
    let opened = account.decide(AccountCommand::OpenPosition(order)).unwrap();
    for event in &opened {
        account.evolve(event);
    }
    for size in ["0.7", "0.7", "0.7", "0.9"] {
        let events = account.decide(reduce(1, fill(size, "101.00"))).unwrap();
        let [Event::PositionReduced(exited) | Event::PositionClosed(exited)] = &events[..] else {
            panic!("{events:?}");
        };
        released = (released.0 + exited.cost_released, released.1 + exited.margin_released);
        account.evolve(&events[0]);
        assert_conserved(&account);
    }

    assert_eq!(released, (decimal("300"), decimal("42.857142857142857143")));
    assert_eq!(account.free(), decimal("1003"));
}

#[test]
fn all_of_a_position_is_closed_by_either_command() {
    let all = fill("1.5", "65000.00");
    let closed = Event::PositionClosed(left(1, all.clone(), "96000", "9600", "1500").into());
    given::<Account>(&holding()).when(reduce(1, all.clone())).then(std::slice::from_ref(&closed));
    given::<Account>(&holding()).when(close(1, all)).then(std::slice::from_ref(&closed));

    let after = account(&[holding(), vec![closed]].concat());
    assert!(after.positions().is_empty() && after.is_closed(&id(1)));
    assert_eq!((after.free(), after.money().realized), (decimal("11500"), decimal("1500")));
    assert_conserved(&after);
}

#[test]
fn a_fee_on_the_way_out_is_taken_from_what_is_credited() {
    let all = fill("1.5", "65000.00");
    let command = AccountCommand::ClosePosition {
        position_id: id(1),
        fill: all.clone(),
        terms: with_fee("0.001"),
    };
    given::<Account>(&holding()).when(command).then(&[Event::PositionClosed(Box::new(Exited {
        fee: Fee { rate: decimal("0.001"), amount: decimal("97.5") },
        credited: decimal("11002.5"),
        ..left(1, all, "96000", "9600", "1500")
    }))]);
}

#[test]
fn what_is_lost_beyond_the_margin_is_the_houses_loss() {
    let all = fill("1.5", "57000.00");
    let exited = left(1, all.clone(), "96000", "9600", "-10500");
    assert_eq!((exited.credited, exited.shortfall), (Decimal::ZERO, decimal("900")));
    let closed = Event::PositionClosed(exited.into());
    given::<Account>(&holding()).when(close(1, all)).then(std::slice::from_ref(&closed));

    let after = account(&[holding(), vec![closed]].concat());
    assert_eq!((after.free(), after.money().shortfall), (decimal("400"), decimal("900")));
    assert_conserved(&after);
}

#[test]
fn what_is_not_open_is_not_reduced() {
    let part = || fill("0.5", "66000.00");
    given::<Account>(&holding()).when(reduce(2, part())).then_refused(&Refusal::PositionUnknown);
    given::<Account>(&closed()).when(reduce(1, part())).then_refused(&Refusal::PositionClosed);
    given::<Account>(&holding())
        .when(reduce(1, fill("1.6", "66000.00")))
        .then_refused(&Refusal::MoreThanOpen { quantity: quantity("1.6"), open: quantity("1.5") });
}

#[test]
fn what_is_left_is_no_finer_than_the_price_leaves_room_for() {
    let order = order(1, Long, "1", "1000.12345", "1");
    let past = [funded("999999"), vec![opened(&order, "1000.12345", maintenance(1, "-"))]].concat();
    let fine = |size| fill(size, "1000.12345");

    given::<Account>(&past)
        .when(reduce(1, fine("0.00000000000001")))
        .then_refused(&Refusal::Inexact);
    assert!(account(&past).decide(reduce(1, fine("0.0000000000001"))).is_ok());

    // What is so fine already, since prices got finer, can still be closed.
    let order = OpenPosition { fill: fine("1.00000000000001"), ..order };
    let past = [funded("1"), vec![opened(&order, "1000.12345", maintenance(1, "-"))]].concat();
    for command in [reduce, close] {
        assert!(account(&past).decide(command(1, fine("1.00000000000001"))).is_ok());
    }
}

/// Nothing is recorded that could not be taken in again.
#[test]
fn getting_out_is_refused_where_what_else_is_held_could_not_be_summed_up() {
    let costs = ["0.000000000000000001", "70000000000.000000000000000009", "10000000000"];
    let held = (1..).zip(costs).map(|(number, cost)| {
        let order = order(number, Long, "1", "64000.00", "1");
        let fill = Fill { cost: decimal(cost), ..order.fill.clone() };
        opened(&OpenPosition { fill, ..order }, "0", maintenance(1, "-"))
    });
    let past = [funded("1"), held.collect()].concat();

    given::<Account>(&past).when(close(1, fill("1", "0.01"))).then_refused(&Refusal::Inexact);
}

#[test]
fn a_position_closed_twice_is_closed_once() {
    let all = || fill("1.5", "66000.00");
    given::<Account>(&closed()).when(close(1, all())).then_nothing();
    given::<Account>(&closed()).when(close(2, all())).then_refused(&Refusal::PositionUnknown);
}

#[test]
fn to_close_is_to_close_all() {
    let open = quantity("1.5");
    given::<Account>(&holding())
        .when(close(1, fill("1.4", "66000.00")))
        .then_refused(&Refusal::LessThanOpen { quantity: quantity("1.4"), open });
    given::<Account>(&holding())
        .when(close(1, fill("1.6", "66000.00")))
        .then_refused(&Refusal::MoreThanOpen { quantity: quantity("1.6"), open });
}

#[test]
fn so_many_closed_positions_are_known() {
    let mut account = account(&funded("10000"));
    for number in 0..=CLOSED_KNOWN_MAX as u128 {
        account.evolve(&a_long(number).1);
        let exited = left(number, fill("1.5", "64000.00"), "96000", "9600", "0");
        account.evolve(&Event::PositionClosed(exited.into()));
    }

    assert!(!account.is_closed(&id(0)));
    assert!(account.is_closed(&id(1)));
    assert!(account.is_closed(&id(CLOSED_KNOWN_MAX as u128)));
}

/// A position at 64,000 with a stop-loss and a take-profit three thousand away.
fn stopped(side: PositionSide) -> Vec<Event> {
    let (order, liquidation) = match side {
        Long => (order(1, Long, "1.5", "64000.00", "10"), "57855.946398659966499162"),
        Short => (order(1, Short, "1.5", "64000.00", "10"), "70082.918739635157545605"),
    };
    let (stop_loss, take_profit) = match side {
        Long => ("61000.00", "67000.00"),
        Short => ("67000.00", "61000.00"),
    };
    let stops = Event::StopsSet {
        position_id: id(1),
        stop_loss: Some(price(stop_loss)),
        take_profit: Some(price(take_profit)),
        market: market(8),
    };
    [funded("10000"), vec![opened(&order, "9600", maintenance(2, liquidation)), stops]].concat()
}

fn firing(trigger: Trigger, set_by: u64, at: &str) -> Firing {
    Firing { trigger, set_by, trade_id: 5, price: price(at) }
}

fn fire(firing: Firing) -> AccountCommand {
    let fill = Fill::at_price(quantity("1.5"), firing.price, market(9)).unwrap();
    AccountCommand::Fire { position_id: id(1), firing, fill, terms: terms() }
}

#[test]
fn a_trade_that_meets_a_condition_closes_the_position_and_one_that_does_not_does_nothing() {
    use Trigger::{Liquidation, StopLoss, TakeProfit};
    for (side, trigger, set_by, meets, misses) in [
        (Long, Liquidation, 1, ["57855.94", "50000"], ["57855.95", "64000"]),
        (Short, Liquidation, 1, ["70082.92", "80000"], ["70082.91", "64000"]),
        (Long, StopLoss, 2, ["61000.00", "60999.99"], ["61000.01", "64000"]),
        (Short, StopLoss, 2, ["67000.00", "67000.01"], ["66999.99", "64000"]),
        (Long, TakeProfit, 2, ["67000.00", "67000.01"], ["66999.99", "64000"]),
        (Short, TakeProfit, 2, ["61000.00", "60999.99"], ["61000.01", "64000"]),
    ] {
        let account = account(&stopped(side));
        for at in meets {
            let firing = firing(trigger, set_by, at);
            let events = account.decide(fire(firing)).unwrap();
            let exited = match (&events[..], trigger) {
                ([Event::PositionLiquidated(exited)], Liquidation)
                | ([Event::PositionClosed(exited)], StopLoss | TakeProfit) => exited,
                other => panic!("{other:?}"),
            };
            assert_eq!(exited.cause, Cause::Fired(firing));
        }
        for at in misses {
            assert_eq!(account.decide(fire(firing(trigger, set_by, at))), Ok(Vec::new()), "{at}");
        }
        // The condition was set by something else since.
        let stale = firing(trigger, set_by + 1, meets[0]);
        assert_eq!(account.decide(fire(stale)), Ok(Vec::new()));
    }
}

#[test]
fn a_condition_that_is_gone_fires_nothing() {
    let firing = firing(Trigger::StopLoss, 0, "50000");
    given::<Account>(&holding()).when(fire(firing)).then_nothing();
    given::<Account>(&closed()).when(fire(firing)).then_nothing();
    given::<Account>(&funded("1")).when(fire(firing)).then_nothing();
}

#[test]
fn a_condition_closes_all_of_the_position() {
    let command = AccountCommand::Fire {
        position_id: id(1),
        firing: firing(Trigger::StopLoss, 2, "61000.00"),
        fill: fill("1.4", "61000.00"),
        terms: terms(),
    };
    given::<Account>(&stopped(Long))
        .when(command)
        .then_refused(&Refusal::LessThanOpen { quantity: quantity("1.4"), open: quantity("1.5") });
}
