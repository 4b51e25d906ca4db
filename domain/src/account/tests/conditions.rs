//! Stops and funding.

use super::*;
use crate::account::command::{AccountCommand, Refusal};
use crate::account::event::Funded;
use crate::account::position::PositionSide::{Long, Short};
use crate::spec::given;

fn holding() -> Vec<Event> {
    [funded("10000"), vec![a_long(1).1]].concat()
}

fn closed() -> Vec<Event> {
    let exited = left(1, fill("1.5", "64000.00"), "96000", "9600", "0");
    [holding(), vec![Event::PositionClosed(exited.into())]].concat()
}

/// At a mark of 64,000.
fn set(stop_loss: Option<&str>, take_profit: Option<&str>) -> AccountCommand {
    AccountCommand::SetStops {
        position_id: id(1),
        stop_loss: stop_loss.map(price),
        take_profit: take_profit.map(price),
        mark: price("64000.00"),
        market: market(8),
    }
}

fn stops(stop_loss: Option<&str>, take_profit: Option<&str>) -> Event {
    Event::StopsSet {
        position_id: id(1),
        stop_loss: stop_loss.map(price),
        take_profit: take_profit.map(price),
        market: market(8),
    }
}

#[test]
fn stops_replace_those_before() {
    let both = (Some("63999.99"), Some("64000.01"));
    given::<Account>(&holding()).when(set(both.0, both.1)).then(&[stops(both.0, both.1)]);
    given::<Account>(&holding()).when(set(None, None)).then_nothing();

    let after = [holding(), vec![stops(both.0, both.1)]].concat();
    given::<Account>(&after).when(set(both.0, both.1)).then_nothing();
    given::<Account>(&after).when(set(both.0, None)).then(&[stops(both.0, None)]);
    given::<Account>(&after).when(set(None, None)).then(&[stops(None, None)]);

    let after = account(&after);
    let held = &after.positions()[&id(1)];
    assert_eq!((held.changes, held.stops.set_by, held.margin_set_by), (2, 2, 1));
    assert_eq!((held.stops.market.as_ref(), &held.market), (Some(&market(8)), &market(7)));
}

#[test]
fn a_stop_that_would_fire_at_once_is_refused() {
    let short = order(1, Short, "1.5", "64000.00", "10");
    let short = opened(&short, "9600", maintenance(2, "70082.918739635157545605"));
    let short = [funded("10000"), vec![short]].concat();
    for (past, stop_loss, take_profit) in [
        (holding(), Some("64000.00"), None),
        (holding(), Some("64000.01"), None),
        (holding(), None, Some("64000.00")),
        (holding(), None, Some("63999.99")),
        (short.clone(), Some("64000.00"), None),
        (short.clone(), Some("63999.99"), None),
        (short.clone(), None, Some("64000.00")),
        (short, None, Some("64000.01")),
    ] {
        let trigger = if stop_loss.is_some() { "stop_loss" } else { "take_profit" };
        let price = price(stop_loss.or(take_profit).unwrap());
        let mark = self::price("64000.00");
        given::<Account>(&past)
            .when(set(stop_loss, take_profit))
            .then_refused(&Refusal::StopWouldFire { trigger, price, mark });
    }
}

#[test]
fn stops_are_set_for_what_is_open() {
    given::<Account>(&funded("1")).when(set(None, None)).then_refused(&Refusal::PositionUnknown);
    given::<Account>(&closed()).when(set(None, None)).then_refused(&Refusal::PositionClosed);
}

fn fund(rate: &str) -> AccountCommand {
    AccountCommand::ApplyFunding {
        position_id: id(1),
        rate: decimal(rate),
        mark: price("64000.00"),
        market: market(8),
        terms: terms(),
    }
}

#[test]
fn longs_pay_funding_out_of_the_positions_margin() {
    let funded = Event::FundingApplied(Box::new(Funded {
        position_id: id(1),
        rate: decimal("0.0001"),
        mark: price("64000.00"),
        received: decimal("-9.6"),
        market: market(8),
        maintenance: maintenance(2, "57862.378559463986599665"),
    }));
    given::<Account>(&holding()).when(fund("0.0001")).then(std::slice::from_ref(&funded));

    let after = account(&[holding(), vec![funded]].concat());
    let held = &after.positions()[&id(1)];
    assert_eq!((held.margin, held.funding), (decimal("9590.4"), decimal("-9.6")));
    assert_eq!((held.cost, held.quantity), (decimal("96000"), quantity("1.5")));
    assert_eq!((held.changes, held.margin_set_by, &held.market), (2, 2, &market(8)));
    assert_eq!((after.free(), after.money().funding), (decimal("400"), decimal("-9.6")));
    assert_conserved(&after);
}

#[test]
fn shorts_are_paid_what_longs_pay() {
    let received = |side, rate: &str| {
        let past = [
            funded("10000"),
            vec![opened(&order(1, side, "1.5", "64000.00", "10"), "9600", maintenance(2, "-"))],
        ]
        .concat();
        let events = account(&past).decide(fund(rate)).unwrap();
        let [Event::FundingApplied(funded)] = &events[..] else { panic!("{events:?}") };
        funded.received.to_string()
    };

    assert_eq!(received(Short, "0.0001"), "9.60");
    assert_eq!(received(Long, "-0.0001"), "9.60");
    assert_eq!(received(Short, "-0.0001"), "-9.60");
    assert_eq!(received(Long, "0.000000000000000000000001"), "0.00");
}

#[test]
fn funding_is_for_what_is_open() {
    given::<Account>(&holding()).when(fund("0")).then_nothing();
    given::<Account>(&funded("1")).when(fund("0.1")).then_refused(&Refusal::PositionUnknown);
    given::<Account>(&closed()).when(fund("0.1")).then_refused(&Refusal::PositionClosed);
    given::<Account>(&holding())
        .when(fund("79228162514264337593543950335"))
        .then_refused(&Refusal::Inexact);
}
