//! Getting in: what an order opens, adds to, nets or flips, and what it is refused for.

use super::*;
use crate::account::command::{AccountCommand, OrderCost, Refusal};
use crate::account::event::Increased;
use crate::account::position::PositionSide::{Long, Short};
use crate::fill::Whole;
use crate::spec::given;

fn open(order: OpenPosition) -> AccountCommand {
    AccountCommand::OpenPosition(order)
}

#[test]
fn an_order_opens_a_position_with_margin_of_its_own() {
    let (order, event) = a_long(1);
    given::<Account>(&funded("9600")).when(open(order)).then(std::slice::from_ref(&event));

    let short = self::order(1, Short, "1.5", "64000.00", "10");
    let opened = self::opened(&short, "9600", maintenance(2, "70082.918739635157545605"));
    given::<Account>(&funded("9600")).when(open(short)).then(&[opened]);

    let after = account(&[funded("10000"), vec![event]].concat());
    assert_eq!((after.free(), after.margin()), (decimal("400"), decimal("9600")));
    assert_conserved(&after);
}

#[test]
fn a_position_opened_twice_is_one_position() {
    let (order, event) = a_long(1);
    let past = [funded("100000"), vec![event]].concat();
    given::<Account>(&past).when(open(order.clone())).then_nothing();

    let exited = left(1, fill("1.5", "64000.00"), "96000", "9600", "0");
    let closed = [past, vec![Event::PositionClosed(exited.into())]].concat();
    given::<Account>(&closed).when(open(order)).then_nothing();
}

#[test]
fn long_and_short_of_one_instrument_coexist_in_hedging_mode() {
    let past = [funded("100000"), vec![a_long(1).1]].concat();
    let short = order(2, Short, "1.5", "64000.00", "10");
    let opened = opened(&short, "9600", maintenance(2, "70082.918739635157545605"));

    given::<Account>(&past).when(open(short)).then(std::slice::from_ref(&opened));
    assert_eq!(account(&[past, vec![opened]].concat()).positions().len(), 2);
}

#[test]
fn margin_that_does_not_divide_is_rounded_up() {
    let order = order(1, Long, "1", "100.00", "3");
    let account = account(&funded("1000"));
    let events = account.decide(open(order)).unwrap();
    let [Event::PositionOpened(opened)] = &events[..] else { panic!("{events:?}") };

    assert_eq!(opened.margin.to_string(), "33.333333333333333334");
}

#[test]
fn the_fee_is_paid_from_what_is_free() {
    let (order, _) = a_long(1);
    let order = OpenPosition { terms: with_fee("0.0004"), ..order };
    let given = account(&funded("10000"));
    let events = given.decide(open(order)).unwrap();
    let after = account(&[funded("10000"), events].concat());

    assert_eq!(after.money().fees, decimal("38.4"));
    assert_eq!(after.free(), decimal("361.6"));
    assert_conserved(&after);
}

#[test]
fn an_order_that_costs_more_than_is_free_is_refused_with_its_arithmetic() {
    let refused = |money: &str, order: OpenPosition| {
        let refusal = account(&funded(money)).decide(open(order)).unwrap_err();
        assert_eq!(refusal.code(), "PORT_001");
        let figures = refusal.arithmetic().into_iter();
        let figures: Vec<_> = figures.map(|(name, figure)| format!("{name} {figure}")).collect();
        format!("{refusal}; {}", figures.join(", "))
    };
    let (order, _) = a_long(1);
    assert_eq!(
        refused("9599.99", order.clone()),
        "the order costs 9600.000, and 9599.99 is free: margin 9600.000, open loss 0.000, fee 0.000; \
         cost 9600.000, fee 0.000, free 9599.99, liquidation_price 57855.946398659966499162, \
         margin 9600.000, open_loss 0.000, quantity_affordable 1.4, tier 2"
    );

    // A fill worse than the mark must be paid for too, though nothing is taken for it.
    let fill = Fill { mark: price("63000.00"), ..order.fill.clone() };
    let worse = OpenPosition { fill, terms: with_fee("0.001"), ..order };
    assert_eq!(
        refused("11000", worse.clone()),
        "the order costs 11196.000, and 11000 is free: margin 9600.000, open loss 1500.000, \
         fee 96.000; cost 11196.000, fee 96.000, free 11000, \
         liquidation_price 57855.946398659966499162, margin 9600.000, open_loss 1500.000, \
         quantity_affordable 1.4, tier 2"
    );
    let past = funded("11196");
    let events = account(&past).decide(open(worse)).unwrap();
    assert_eq!(account(&[past, events].concat()).free(), decimal("1500"));
}

#[test]
fn what_is_said_to_be_affordable_is_and_a_step_more_is_not() {
    let terms = with_fee("0.00075");
    for (at, leverage, money) in
        [("64000.01", "7", "9143.33"), ("0.37", "3", "0.02"), ("61234.57", "2.5", "33333.33")]
    {
        let sized = |size: Decimal| OpenPosition {
            fill: Fill { mark: price("0.36"), ..fill(&size.to_string(), at) },
            terms: terms.clone(),
            ..order(1, Short, "1", at, leverage)
        };
        let account = account(&funded(money));
        let refusal = account.decide(open(sized(decimal("9.000")))).unwrap_err();
        let Refusal::InsufficientBalance(cost) = refusal else { panic!("{refusal}") };
        let affordable = cost.quantity_affordable;

        assert!(account.decide(open(sized(affordable))).is_ok(), "{affordable}");
        assert!(account.decide(open(sized(affordable + decimal("0.001")))).is_err());
    }
}

#[test]
fn what_is_affordable_is_said_of_a_quantity_of_any_size() {
    let order = OpenPosition {
        instrument: "PEPE-USDT".parse().unwrap(),
        ..order(1, Long, "1000000000000", "0.0000009", "1")
    };
    let refusal = account(&funded("300000")).decide(open(order)).unwrap_err();
    let Refusal::InsufficientBalance(cost) = refusal else { panic!("{refusal}") };

    assert_eq!(cost.quantity_affordable, decimal("333333333333"));
}

#[test]
fn only_instruments_of_the_accounts_currency_are_traded() {
    let instrument: Instrument = "ETH-BTC".parse().unwrap();
    let order = OpenPosition { instrument: instrument.clone(), ..a_long(1).0 };
    let currency = "USDT".parse().unwrap();

    given::<Account>(&funded("100000"))
        .when(open(order))
        .then_refused(&Refusal::OtherCurrency { instrument, currency });
}

#[test]
fn an_account_holds_so_many_positions() {
    let held = vec![a_long(1).1, a_long(2).1, a_long(3).1];
    let past = [funded("100000"), held].concat();

    given::<Account>(&past)
        .when(open(a_long(4).0))
        .then_refused(&Refusal::TooManyPositions { positions: 4, positions_max: 3 });
}

#[test]
fn an_account_holds_positions_of_so_much_cost() {
    let past = [funded("1000000"), vec![a_long(1).1]].concat();
    let eth = |at: &str| OpenPosition {
        instrument: "ETH-USDT".parse().unwrap(),
        ..order(2, Short, "100", at, "2")
    };

    assert!(account(&past).decide(open(eth("9040"))).is_ok());
    given::<Account>(&past).when(open(eth("9040.01"))).then_refused(&Refusal::NotionalLimit {
        notional: decimal("1000001"),
        notional_max: decimal("1000000"),
    });
}

#[test]
fn an_account_holds_so_much_of_an_instrument_both_sides_together() {
    let past = [funded("1000000"), vec![a_long(1).1]].concat();

    assert!(account(&past).decide(open(order(2, Short, "8.5", "64000.00", "2"))).is_ok());
    given::<Account>(&past).when(open(order(2, Short, "8.6", "64000.00", "2"))).then_refused(
        &Refusal::QuantityLimit {
            instrument: instrument(),
            quantity: decimal("10.1"),
            quantity_max: decimal("10"),
        },
    );
}

#[test]
fn many_small_positions_get_no_more_leverage_than_a_large_one() {
    let small = |number: u128, side| order(number, side, "0.7", "64000.00", "125");
    let first = opened(&small(1, Long), "358.4", maintenance(1, "63742.971887550200803213"));
    let refusal = Refusal::LeverageLimit {
        leverage: "125".parse().unwrap(),
        leverage_max: decimal("100"),
        tier: 2,
        notional: decimal("89600"),
    };
    given::<Account>(&funded("10000"))
        .when(open(small(1, Long)))
        .then(std::slice::from_ref(&first));
    let past = [funded("10000"), vec![first.clone()]].concat();
    given::<Account>(&past).when(open(small(2, Long))).then_refused(&refusal);
    // The other side is counted for itself.
    assert!(account(&past).decide(open(small(2, Short))).is_ok());

    let past = [netting("10000"), vec![first]].concat();
    given::<Account>(&past).when(open(small(2, Long))).then_refused(&refusal);
}

#[test]
fn an_order_whose_figures_cannot_be_held_is_refused() {
    let large = |number| {
        let cost = decimal("70000000000.000000000000000001");
        let fill = Fill { cost, ..fill("1", "64000.00") };
        OpenPosition { fill, ..order(number, Long, "1", "64000.00", "1") }
    };
    let limits = Limits { notional_max: amount("10000000000000"), ..limits() };
    let past = [funded("1"), vec![Event::LimitsSet { limits }]].concat();
    let held = opened(&large(1), "0", maintenance(1, "-"));
    let past = [past, vec![held]].concat();

    given::<Account>(&past).when(open(large(2))).then_refused(&Refusal::Inexact);
}

/// At a price of five digits after the point, a quantity of fourteen would leave money of nineteen:
/// too many for a million beside it, and what was opened could never be closed.
#[test]
fn a_quantity_is_no_finer_than_the_price_leaves_room_for() {
    let sized = |size| order(2, Long, size, "1000.12345", "100");
    for (size, fits) in [
        ("1.0000000000001", true),
        ("1.00000000000010", true),
        ("1.00000000000001", false),
        ("0.000000000000000001", false),
    ] {
        let past = [funded("999999"), netting("999999")];
        for past in past {
            let decided = account(&past).decide(open(sized(size)));
            assert_eq!(decided.err(), (!fits).then_some(Refusal::Inexact), "{size}");
        }
    }
    let held = opened(&order(1, Long, "1", "1000.12345", "1"), "1000.12345", maintenance(1, "-"));
    let past = [netting("999999"), vec![held]].concat();
    let flip = order(2, Short, "1.00000000000001", "1000.12345", "1");
    for order in [sized("1.00000000000001"), flip] {
        given::<Account>(&past).when(open(order)).then_refused(&Refusal::Inexact);
    }
}

#[test]
fn reduce_only_is_for_netting() {
    let order = OpenPosition { reduce_only: true, ..a_long(1).0 };
    given::<Account>(&funded("100000")).when(open(order)).then_refused(&Refusal::NotNetting);
}

#[test]
fn the_same_side_adds_in_netting_mode_at_the_leverage_that_is_held() {
    let past = [netting("20000"), vec![a_long(1).1]].concat();
    let order = order(2, Long, "0.5", "66000.00", "3");
    let increased = Event::PositionIncreased(Box::new(Increased {
        position_id: id(1),
        fill: order.fill.clone(),
        margin: decimal("3300"),
        fee: no_fee(),
        maintenance: maintenance(2, "58316.582914572864321608"),
    }));
    given::<Account>(&past).when(open(order)).then(std::slice::from_ref(&increased));

    let after = account(&[past, vec![increased]].concat());
    let held = &after.positions()[&id(1)];
    assert_eq!((held.quantity, held.cost), (quantity("2.0"), decimal("129000")));
    assert_eq!((held.margin, held.changes, held.margin_set_by), (decimal("12900"), 2, 2));
    assert_conserved(&after);
}

#[test]
fn the_other_side_reduces_or_closes_in_netting_mode() {
    let past = [netting("20000"), vec![a_long(1).1]].concat();
    for reduce_only in [false, true] {
        let some = OpenPosition { reduce_only, ..order(2, Short, "0.5", "66000.00", "3") };
        let reduced = Exited {
            cause: Cause::Netted,
            maintenance: Some(maintenance(2, "57839.195979899497487437")),
            ..left(1, some.fill.clone(), "32000", "3200", "1000")
        };
        given::<Account>(&past).when(open(some)).then(&[Event::PositionReduced(reduced.into())]);

        let all = OpenPosition { reduce_only, ..order(2, Short, "1.5", "66000.00", "3") };
        let closed =
            Exited { cause: Cause::Netted, ..left(1, all.fill.clone(), "96000", "9600", "3000") };
        given::<Account>(&past).when(open(all)).then(&[Event::PositionClosed(closed.into())]);
    }
}

#[test]
fn reduce_only_never_opens() {
    let held = [netting("20000"), vec![a_long(1).1]].concat();
    let order = |side, size: &str| {
        open(OpenPosition { reduce_only: true, ..order(2, side, size, "66000.00", "3") })
    };

    given::<Account>(&netting("20000"))
        .when(order(Long, "1"))
        .then_refused(&Refusal::NothingToReduce);
    given::<Account>(&held).when(order(Long, "1")).then_refused(&Refusal::NothingToReduce);
    given::<Account>(&held)
        .when(order(Short, "1.6"))
        .then_refused(&Refusal::MoreThanOpen { quantity: quantity("1.6"), open: quantity("1.5") });
}

#[test]
fn an_order_larger_than_what_is_held_flips_it_in_one_decision() {
    let past = [netting("11000"), vec![a_long(1).1]].concat();
    let order =
        OpenPosition { terms: with_fee("0.0004"), ..order(2, Short, "2.5", "66000.00", "5") };
    let whole = Whole { quantity: quantity("2.5"), cost: decimal("165000") };
    let portion = |size: &str| Fill { part_of: Some(whole), ..fill(size, "66000.00") };
    let fee = |text: &str| Fee { rate: decimal("0.0004"), amount: decimal(text) };
    let closed = Event::PositionClosed(Box::new(Exited {
        cause: Cause::Netted,
        fee: fee("39.6"),
        credited: decimal("12560.4"),
        ..left(1, portion("1.5"), "96000", "9600", "3000")
    }));
    let opened = Event::PositionOpened(Box::new(Opened {
        position_id: id(2),
        instrument: instrument(),
        side: Short,
        leverage: "5".parse().unwrap(),
        fill: portion("1.0"),
        margin: decimal("13200"),
        fee: fee("26.4"),
        maintenance: maintenance(2, "78855.721393034825870647"),
    }));
    given::<Account>(&past).when(open(order.clone())).then(&[closed.clone(), opened.clone()]);

    let after = account(&[past, vec![closed, opened]].concat());
    assert!(after.is_closed(&id(1)));
    assert_conserved(&after);
    // Sent again, it names a position that is there.
    assert_eq!(after.decide(open(order)), Ok(Vec::new()));
}

#[test]
fn a_flip_whose_rest_cannot_be_paid_does_not_close_either() {
    let past = [netting("10000"), vec![a_long(1).1]].concat();
    let order =
        OpenPosition { terms: with_fee("0.0004"), ..order(2, Short, "2.5", "66000.00", "5") };

    given::<Account>(&past).when(open(order)).then_refused(&Refusal::InsufficientBalance(
        Box::new(OrderCost {
            cost: decimal("13226.4"),
            free: decimal("12960.4"),
            margin: decimal("13200"),
            open_loss: Decimal::ZERO,
            fee: decimal("26.4"),
            tier: 2,
            quantity_affordable: decimal("2.4"),
            liquidation_price: Some(decimal("78855.721393034825870647")),
        }),
    ));
}

#[test]
fn a_flip_is_held_to_the_limits_of_what_it_leads_to() {
    // Nine held and nineteen sold leave ten, which is as much as may be held.
    let held = order(1, Long, "9", "10000.00", "10");
    let held = opened(&held, "9000", maintenance(2, "9039.642657733109994417"));
    let past = [netting("100000"), vec![held]].concat();

    assert!(account(&past).decide(open(order(2, Short, "19", "10000.00", "10"))).is_ok());
    given::<Account>(&past).when(open(order(2, Short, "19.1", "10000.00", "10"))).then_refused(
        &Refusal::QuantityLimit {
            instrument: instrument(),
            quantity: decimal("10.1"),
            quantity_max: decimal("10"),
        },
    );
}
