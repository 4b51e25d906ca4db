//! The rule on trades, in sentences.

use proptest::prelude::*;

use super::*;
use crate::decider::Decider;
use crate::market::{Market, MarketCommand};
use crate::spec::{Given, given};
use crate::time::SECOND;

mod passed;

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

fn give_up(first_id: u64, last_id: u64) -> MarketCommand {
    MarketCommand::GiveUpTrades { first_id, last_id }
}

fn gone(first_id: u64, last_id: u64) -> MarketEvent {
    MarketEvent::FeedGapUnfillable { first_id, last_id, reason: GapReason::NotToBeHad }
}

fn filled(first_id: u64, last_id: u64) -> MarketEvent {
    MarketEvent::FeedGapFilled { first_id, last_id }
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
fn trades_that_are_not_to_be_had_are_a_gap_that_is_given_up() {
    let past = [seen(1, 0), seen(5, 10)];

    given::<Market>(&past).when(give_up(2, 4)).then(&[opened(2, 4, 0, 10), gone(2, 4)]);
    given::<Market>(&[&past[..], &[opened(2, 4, 0, 10)]].concat())
        .when(give_up(1, 9))
        .then(&[gone(2, 4)]);
    let after =
        given::<Market>(&[&past[..], &[opened(2, 4, 0, 10), gone(2, 4), seen(6, 13)]].concat());
    after.when(give_up(1, 9)).then_nothing();
    after.when(notice()).then_nothing();
    after.when(record(&[(3, 5), (5, 10)])).then(&[seen(3, 5)]);
}

#[test]
fn trades_that_are_not_missing_are_not_given_up() {
    given::<Market>(&[]).when(give_up(0, u64::MAX)).then_nothing();
    given::<Market>(&[seen(7, 0), seen(8, 0), seen(12, 1)]).when(give_up(0, 8)).then_nothing();
    given::<Market>(&[seen(7, 0), seen(12, 1)]).when(give_up(12, u64::MAX)).then_nothing();
    given::<Market>(&[seen(7, 0), seen(12, 1)]).when(give_up(11, 8)).then_nothing();
}

#[test]
fn of_a_hole_only_the_trades_that_are_not_to_be_had_are_given_up() {
    let past = [seen(1, 0), seen(10, 10), seen(11, 13)];
    let cut = [opened(4, 6, 0, 10), gone(4, 6)];

    given::<Market>(&past).when(give_up(4, 6)).then(&cut);
    given::<Market>(&[&past[..], &cut].concat())
        .when(notice())
        .then(&[opened(2, 3, 0, 10), opened(7, 9, 0, 10)]);
}

#[test]
fn what_is_not_to_be_had_of_a_gap_becomes_a_gap_of_its_own() {
    let past = [seen(1, 0), seen(10, 10), seen(11, 13), opened(2, 9, 0, 10), seen(5, 4)];
    let cut = [opened(4, 4, 0, 4), gone(4, 4), opened(6, 7, 4, 10), gone(6, 7)];

    given::<Market>(&past).when(give_up(4, 7)).then(&cut);
    let rest = [seen(2, 1), seen(3, 1), seen(8, 5), seen(9, 5)];
    given::<Market>(&[&past[..], &cut, &rest[..3]].concat()).when(notice()).then_nothing();
    given::<Market>(&[&past[..], &cut, &rest].concat()).when(notice()).then(&[filled(2, 9)]);
}

#[test]
fn a_gap_whose_first_trades_came_keeps_what_may_still_come() {
    let past =
        [seen(1, 0), seen(10, 10), seen(11, 13), opened(2, 9, 0, 10), seen(2, 1), seen(3, 2)];
    let cut = [opened(4, 6, 2, 10), gone(4, 6)];

    given::<Market>(&past).when(give_up(1, 2)).then_nothing();
    given::<Market>(&past).when(give_up(4, 6)).then(&cut);
    given::<Market>(&[&past[..], &cut].concat()).when(give_up(3, 9)).then(&[gone(2, 9)]);
}

#[test]
fn a_gap_that_loses_its_first_trade_leaves_what_may_still_come_in_gaps_of_their_own() {
    let past = [seen(1, 0), seen(10, 10), seen(11, 13), opened(2, 9, 0, 10), seen(6, 4)];
    let cut = [opened(4, 5, 0, 4), opened(7, 9, 4, 10), gone(2, 9)];

    given::<Market>(&past).when(give_up(1, 3)).then(&cut);
    let after = [&past[..], &cut].concat();
    given::<Market>(&after).when(give_up(1, 3)).then_nothing();
    given::<Market>(&[&after[..], &[seen(4, 3), seen(5, 3)]].concat())
        .when(notice())
        .then(&[filled(4, 5)]);
    given::<Market>(&after).when(give_up(1, 9)).then(&[gone(4, 5), gone(7, 9)]);
}

#[test]
fn giving_up_is_continued_where_a_full_decision_ended() {
    let mut market = Market::default();
    for id in 0..=300 {
        market.evolve(&seen(2 * id, 0));
    }
    let mut decisions = Vec::new();
    loop {
        let Ok(events) = market.decide(give_up(0, 600));
        if events.is_empty() {
            break;
        }
        for event in &events {
            market.evolve(event);
        }
        decisions.push(events.len());
    }

    assert_eq!(decisions, [DECISION_EVENTS_MAX, DECISION_EVENTS_MAX, 88]);
    assert!(!market.has_gaps());
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

/// What the events say is missing: open gaps and those given up, by first id.
#[derive(Debug, Default)]
struct Told {
    recorded: std::collections::BTreeSet<u64>,
    gaps: BTreeMap<u64, (u64, bool)>,
}

impl Told {
    fn fold(&mut self, event: &MarketEvent) {
        match event {
            MarketEvent::TickObserved(tick) => assert!(self.recorded.insert(tick.trade_id)),
            MarketEvent::FeedGapOpened { first_id, last_id, .. } => {
                assert_eq!(self.gaps.insert(*first_id, (*last_id, true)), None, "{event:?}");
            }
            MarketEvent::FeedGapFilled { first_id, last_id } => {
                assert_eq!(self.gaps.remove(first_id), Some((*last_id, true)), "{event:?}");
            }
            MarketEvent::FeedGapUnfillable { first_id, last_id, .. } => {
                let gap = self.gaps.insert(*first_id, (*last_id, false));
                assert_eq!(gap, Some((*last_id, true)), "{event:?}");
            }
            other => panic!("{other:?}"),
        }
    }

    fn lists(&self, id: u64, open: Option<bool>) -> bool {
        let within = self.gaps.iter().filter(|(first, (last, _))| (**first..=*last).contains(&id));
        open.map_or(within.clone().next().is_some(), |open| {
            within.clone().any(|gap| gap.1.1 == open)
        })
    }
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

    /// Whatever comes, and whatever is given up in between: no trade that is missing goes unlisted,
    /// and none that may still come is only in gaps that were given up.
    #[test]
    fn no_missing_trade_goes_unlisted(
        steps in prop::collection::vec(
            prop_oneof![
                3 => (0u64..40, 0i64..20).prop_map(|(id, second)| record(&[(id, second)])),
                1 => (0i64..30).prop_map(|second| MarketCommand::NoticeGaps {
                    venue_time: Timestamp::from_micros(second * SECOND),
                }),
                2 => (0u64..40, 0u64..12).prop_map(|(id, more)| give_up(id, id + more)),
            ],
            1..60,
        ),
    ) {
        let (mut market, mut told) = (Market::default(), Told::default());
        let mut given_up = std::collections::BTreeSet::new();
        let is_missing = |told: &Told, id: u64| {
            told.recorded.range(..id).next().is_some()
                && told.recorded.range(id..).next().is_some_and(|next| *next != id)
        };
        for step in steps {
            if let MarketCommand::GiveUpTrades { first_id, last_id } = step {
                given_up.extend((first_id..=last_id).filter(|id| is_missing(&told, *id)));
            }
            let Ok(events) = market.decide(step.clone());
            for event in events {
                told.fold(&event);
                market.evolve(&event);
            }
            if !matches!(step, MarketCommand::RecordTicks(_)) {
                prop_assert_eq!(market.decide(step), Ok(Vec::new()));
            }
            for id in (0..40).filter(|id| is_missing(&told, *id)) {
                prop_assert!(market.is_news(id));
                prop_assert!(!given_up.contains(&id) || told.lists(id, Some(false)), "{} {:?}", id, told);
            }
        }
        let Ok(events) = market.decide(MarketCommand::NoticeGaps {
            venue_time: Timestamp::from_micros(99 * SECOND),
        });
        for event in events {
            told.fold(&event);
            market.evolve(&event);
        }
        for id in (0..40).filter(|id| is_missing(&told, *id)) {
            prop_assert!(told.lists(id, Some(!given_up.contains(&id))), "{} {:?}", id, told);
        }
    }
}
