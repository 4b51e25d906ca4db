//! The rule on trades, in sentences.

use proptest::prelude::*;

use super::*;
use crate::spec::given;

fn tick_at(trade_id: u64, second: i64) -> Tick {
    Tick {
        trade_id,
        price: "100.00".parse().unwrap(),
        quantity: "1".parse().unwrap(),
        taker: crate::tick::Side::Buy,
        traded_at: Timestamp::from_micros(second * SECOND),
        received_at: Timestamp::from_micros(second * SECOND),
    }
}

fn seen(trade_id: u64, second: i64) -> MarketEvent {
    MarketEvent::TickObserved(tick_at(trade_id, second))
}

fn record(ticks: &[(u64, i64)]) -> MarketCommand {
    MarketCommand::RecordTicks(ticks.iter().map(|(id, second)| tick_at(*id, *second)).collect())
}

/// Asks about gaps by the market's own clock alone.
fn notice() -> MarketCommand {
    MarketCommand::NoticeGaps { venue_time: Timestamp::MIN }
}

fn opened(first_id: u64, last_id: u64, after: i64, before: i64) -> MarketEvent {
    MarketEvent::FeedGapOpened {
        first_id,
        last_id,
        after: Timestamp::from_micros(after * SECOND),
        before: Timestamp::from_micros(before * SECOND),
    }
}

#[test]
fn a_trade_is_news_once() {
    given::<Market>(&[]).when(record(&[(7, 0), (7, 0), (8, 0)])).then(&[seen(7, 0), seen(8, 0)]);
    given::<Market>(&[seen(7, 0), seen(8, 0)]).when(record(&[(8, 0), (7, 0)])).then_nothing();
}

#[test]
fn a_trade_below_the_first_is_recorded_late() {
    given::<Market>(&[seen(7, 5)])
        .when(record(&[(4, 3), (5, 4), (4, 3)]))
        .then(&[seen(4, 3), seen(5, 4)]);
}

#[test]
fn a_hole_is_a_gap_only_after_two_seconds_of_venue_time() {
    let past = [seen(1, 0), seen(5, 10)];

    given::<Market>(&past).when(notice()).then_nothing();
    given::<Market>(&[past[0].clone(), past[1].clone(), seen(6, 12)])
        .when(notice())
        .then(&[opened(2, 4, 0, 10)]);
}

#[test]
fn a_hole_is_a_gap_by_the_venues_clock_also_when_the_instrument_rests() {
    let at = |second: i64| MarketCommand::NoticeGaps {
        venue_time: Timestamp::from_micros(second * SECOND),
    };
    let market = given::<Market>(&[seen(1, 0), seen(5, 10)]);

    market.when(at(11)).then_nothing();
    market.when(at(12)).then(&[opened(2, 4, 0, 10)]);
}

#[test]
fn ranges_that_were_given_up_never_stand_within_each_other() {
    let mut market = Market::default();
    for (first, last) in [(8_001, 9_999), (20_000, 20_005), (7_000, 12_000), (9_000, 9_100)] {
        market.cover(first, last);
    }

    assert_eq!(market.given_up, BTreeMap::from([(7_000, 12_000), (20_000, 20_005)]));
    market.cover(11_000, 20_001);
    assert_eq!(market.given_up, BTreeMap::from([(7_000, 20_005)]));
}

#[test]
fn an_opened_gap_is_opened_once() {
    given::<Market>(&[seen(1, 0), seen(5, 10), seen(6, 12), opened(2, 4, 0, 10)])
        .when(notice())
        .then_nothing();
}

#[test]
fn a_gap_whose_trades_all_came_is_filled() {
    let past = [seen(1, 0), seen(5, 10), seen(6, 12), opened(2, 4, 0, 10), seen(3, 5), seen(2, 4)];
    let filled = MarketEvent::FeedGapFilled { first_id: 2, last_id: 4 };

    given::<Market>(&past).when(notice()).then_nothing();
    given::<Market>(&past).when(record(&[(3, 5), (4, 6)])).then(&[seen(4, 6)]);
    given::<Market>(&[&past[..], &[seen(4, 6)]].concat())
        .when(notice())
        .then(std::slice::from_ref(&filled));
    given::<Market>(&[&past[..], &[seen(4, 6), filled]].concat()).when(notice()).then_nothing();
}

#[test]
fn a_hole_that_was_filled_in_part_is_opened_as_what_is_left() {
    given::<Market>(&[seen(1, 0), seen(9, 10), seen(4, 5), seen(10, 13)])
        .when(notice())
        .then(&[opened(2, 3, 0, 5), opened(5, 8, 5, 10)]);
}

#[test]
fn the_gap_too_many_is_given_up_and_its_trades_are_still_news() {
    let gaps = i64::try_from(GAPS_MAX).unwrap() + 1;
    let past: Vec<_> = (0..=gaps).map(|n| seen(2 * u64::try_from(n).unwrap(), 0)).collect();
    let given_up =
        MarketEvent::FeedGapUnfillable { first_id: 1, last_id: 1, reason: GapReason::TooManyGaps };

    given::<Market>(&past).when(notice()).then(&[opened(1, 1, 0, 0), given_up.clone()]);
    let after = given::<Market>(&[&past[..], &[opened(1, 1, 0, 0), given_up]].concat());
    after.when(notice()).then_nothing();
    after.when(record(&[(1, 0), (1, 0), (2, 0)])).then(&[seen(1, 0)]);
}

#[test]
fn one_decision_never_holds_more_than_an_entry() {
    let many: Vec<_> = (0..300).map(|n| (2 * n, 0)).collect();
    let Ok(events) = Market::default().decide(record(&many));
    assert_eq!(events.len(), DECISION_EVENTS_MAX);

    let mut market = Market::default();
    for (id, _) in many {
        market.evolve(&seen(id, 0));
    }
    market.evolve(&seen(600, 9));
    let Ok(events) = market.decide(notice());
    assert_eq!(events.len(), DECISION_EVENTS_MAX);
}

/// Runs trades through the rule as the intake does and returns every event.
fn run(arrivals: &[(u64, i64)], batch: usize) -> (Market, Vec<MarketEvent>) {
    let mut market = Market::default();
    let mut all = Vec::new();
    for ticks in arrivals.chunks(batch) {
        for command in [record(ticks), notice()] {
            let Ok(events) = market.decide(command);
            for event in events {
                market.evolve(&event);
                all.push(event);
            }
        }
    }
    (market, all)
}

proptest! {
    /// Whatever the order, the repeats and the batches: each trade is recorded once, gaps open
    /// before they end, and what is missing at the end is just what never came.
    #[test]
    fn each_trade_is_recorded_once(
        arrivals in prop::collection::vec((0u64..60, 0i64..20), 1..200),
        batch in 1usize..20,
    ) {
        let (market, events) = run(&arrivals, batch);

        let mut recorded: Vec<u64> = events.iter().filter_map(|event| match event {
            MarketEvent::TickObserved(tick) => Some(tick.trade_id),
            _ => None,
        }).collect();
        recorded.sort_unstable();
        let mut expected: Vec<u64> = arrivals.iter().map(|(id, _)| *id).collect();
        expected.sort_unstable();
        expected.dedup();
        prop_assert_eq!(&recorded, &expected);

        let (low, high) = (expected[0], expected[expected.len() - 1]);
        for id in low..=high {
            prop_assert_eq!(market.is_news(id), !expected.contains(&id), "{}", id);
        }
        let mut open = std::collections::BTreeSet::new();
        for event in &events {
            match event {
                MarketEvent::FeedGapOpened { first_id, .. } => prop_assert!(open.insert(*first_id)),
                MarketEvent::FeedGapFilled { first_id, .. } => prop_assert!(open.remove(first_id)),
                _ => {}
            }
        }
    }
}
