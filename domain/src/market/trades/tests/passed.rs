//! The rule on trades after part of the past is gone, and after it was put away and taken back.

use std::collections::BTreeSet;

use super::*;
use crate::spec::having;

/// A market that knows what was before, passed over what came then, and read what is left.
fn passed(before: &[MarketEvent], left: &[MarketEvent]) -> Market {
    let mut market = Market::default();
    for event in before {
        market.evolve(event);
    }
    market.pass_over();
    for event in left {
        market.evolve(event);
    }
    market
}

fn given_passed(before: &[MarketEvent], left: &[MarketEvent]) -> Given<Market> {
    having(passed(before, left))
}

/// A trade that comes long after it happened.
fn late(trade_id: u64, second: i64, received: i64) -> MarketEvent {
    let received_at = Timestamp::from_micros(received * SECOND);
    MarketEvent::TickObserved(Tick { received_at, ..tick_at(trade_id, second) })
}

#[test]
fn what_lies_between_the_known_and_the_next_trade_counts_as_seen() {
    let market = given_passed(&[seen(7, 0), seen(8, 1)], &[]);

    market.when(record(&[(7, 0), (8, 1), (90, 60)])).then(&[seen(90, 60)]);
    let on = given_passed(&[seen(7, 0), seen(8, 1)], &[seen(90, 60), seen(91, 70)]);
    on.when(notice()).then_nothing();
    on.when(record(&[(9, 2), (50, 30), (89, 59), (3, 0), (92, 71)])).then(&[seen(92, 71)]);
}

#[test]
fn who_knows_nothing_takes_the_next_trade_for_the_newest() {
    given_passed(&[], &[]).when(record(&[(90, 60)])).then(&[seen(90, 60)]);
    let market = given_passed(&[], &[seen(90, 60), seen(91, 70)]);

    market.when(notice()).then_nothing();
    market.when(record(&[(89, 59), (1, 0), (90, 60), (92, 71)])).then(&[seen(92, 71)]);
}

#[test]
fn a_hole_that_opens_afterwards_is_a_gap_like_any_other() {
    let past = [seen(90, 60), seen(91, 63), seen(95, 70), seen(96, 72)];

    given_passed(&[seen(7, 0)], &past).when(notice()).then(&[opened(92, 94, 63, 70)]);
}

#[test]
fn a_hole_that_reaches_back_to_what_was_passed_over_is_no_gap_and_its_trades_are_news() {
    // While 51 to 100 were fetched late, 101 and on had come already.
    let past = [late(50, 30, 200), late(51, 31, 200), seen(201, 200), seen(202, 210)];
    let market = given_passed(&[seen(7, 0)], &past);

    market.when(notice()).then_nothing();
    market.when(record(&[(49, 29), (52, 32), (52, 32)])).then(&[seen(52, 32)]);
}

#[test]
fn what_the_log_calls_a_gap_is_one_although_its_hole_was_passed_over() {
    for past in [
        vec![opened(20, 29, 10, 15)],
        vec![seen(40, 20), opened(20, 29, 10, 15)],
        vec![opened(20, 29, 10, 15), seen(40, 20)],
    ] {
        let market = given_passed(&[seen(7, 0)], &past);

        market.when(notice()).then_nothing();
        market.when(record(&[(19, 10), (25, 12)])).then(&[seen(25, 12)]);
        market.when(give_up(20, 29)).then(&[gone(20, 29)]);
        let filling: Vec<MarketEvent> = (20..30).map(|id| seen(id, 12)).collect();
        given_passed(&[seen(7, 0)], &[past, filling].concat())
            .when(notice())
            .then(&[filled(20, 29)]);
    }
    // Its hole reaches back; what lies around it is in doubt as before.
    let past = [late(15, 8, 60), seen(40, 60), opened(20, 29, 10, 15), seen(25, 12)];
    let market = given_passed(&[seen(7, 0)], &past);
    market.when(record(&[(25, 12), (26, 12), (19, 9)])).then(&[seen(26, 12), seen(19, 9)]);
    market.when(give_up(16, 39)).then(&[gone(20, 29)]);
}

#[test]
fn a_gap_that_was_open_is_waited_for_until_the_log_says_that_it_is_not() {
    let before = [seen(1, 0), seen(5, 10), seen(6, 12), opened(2, 4, 0, 10)];

    let market = given_passed(&before, &[seen(90, 60)]);
    market.when(record(&[(3, 5), (5, 10)])).then(&[seen(3, 5)]);
    market.when(notice()).then_nothing();
    given_passed(&before, &[seen(90, 60), seen(2, 3), seen(3, 5), seen(4, 6)])
        .when(notice())
        .then(&[filled(2, 4)]);

    // Its trades had come in what was passed over.
    let closed = given_passed(&before, &[filled(2, 4), seen(90, 60)]);
    closed.when(record(&[(3, 5)])).then_nothing();
    assert!(!passed(&before, &[filled(2, 4), seen(90, 60)]).has_gaps());
    // It was given up: a trade of it is still news.
    let given_up = given_passed(&before, &[gone(2, 4), seen(90, 60)]);
    given_up.when(record(&[(3, 5)])).then(&[seen(3, 5)]);
}

#[test]
fn a_hole_that_was_no_gap_yet_becomes_none_and_its_trades_stay_news() {
    let market = given_passed(&[seen(1, 0), seen(5, 1)], &[seen(90, 60), seen(91, 70)]);

    market.when(notice()).then_nothing();
    market.when(record(&[(3, 0), (3, 0), (6, 2)])).then(&[seen(3, 0)]);
}

#[test]
fn what_was_given_up_stays_news() {
    let before = [seen(1, 0), seen(5, 10), opened(2, 4, 0, 10), gone(2, 4)];

    given_passed(&before, &[seen(90, 60)]).when(record(&[(3, 5), (5, 10)])).then(&[seen(3, 5)]);
}

/// A day of a venue whose ids and times rise together, in the order in which it was heard: late
/// trades come long after they happened.
fn day(arrivals: &[u64]) -> Vec<Tick> {
    let mut now = 0;
    let arrive = |id: &u64| {
        let second = i64::try_from(*id).unwrap();
        now = (now + 1).max(second);
        let received_at = Timestamp::from_micros(now * SECOND);
        Tick { received_at, ..tick_at(*id, second) }
    };
    arrivals.iter().map(arrive).collect()
}

/// Tells trades as an intake does; returns what was recorded, a decision an entry.
fn tell(market: &mut Market, ticks: &[Tick], batch: usize) -> Vec<Vec<MarketEvent>> {
    let mut entries = Vec::new();
    for ticks in ticks.chunks(batch) {
        for command in [MarketCommand::RecordTicks(ticks.to_vec()), notice()] {
            let Ok(events) = market.decide(command);
            for event in &events {
                market.evolve(event);
            }
            if !events.is_empty() {
                entries.push(events);
            }
        }
    }
    entries
}

fn ids_in_order(events: &[MarketEvent]) -> Vec<u64> {
    let id = |event: &MarketEvent| match event {
        MarketEvent::TickObserved(tick) => Some(tick.trade_id),
        _ => None,
    };
    events.iter().filter_map(id).collect()
}

fn ids(events: &[MarketEvent]) -> BTreeSet<u64> {
    ids_in_order(events).into_iter().collect()
}

/// Trades in an order that is not quite theirs, with some that never come and some that come late.
fn arrivals() -> impl Strategy<Value = Vec<u64>> {
    let trade = prop_oneof![12 => Just(0u64), 2 => 1u64..4, 1 => 20u64..80, 1 => Just(u64::MAX)];
    prop::collection::vec(trade, 4..160).prop_map(|late| {
        let mut trades: Vec<(u64, u64)> =
            late.iter().zip(10u64..).map(|(late, id)| (late.saturating_add(id), id)).collect();
        trades.retain(|(place, _)| *place < u64::MAX);
        trades.sort_unstable();
        trades.into_iter().map(|(_, id)| id).collect()
    })
}

proptest! {
    /// Wherever it was put away: what is taken back is equal, and decides and evolves alike.
    #[test]
    fn a_market_taken_back_goes_on_as_if_it_had_never_been_put_away(
        arrivals in arrivals(), batch in 1usize..9, place in 0usize..100, lost in any::<bool>(),
    ) {
        let ticks = day(&arrivals);
        let (before, after) = ticks.split_at(place.min(ticks.len()));
        let mut market = Market::default();
        tell(&mut market, before, batch);
        if lost {
            market.pass_over();
        }
        let text = serde_json::to_string(&market).unwrap();
        let mut again: Market = serde_json::from_str(&text).unwrap();

        prop_assert_eq!(&again, &market);
        prop_assert_eq!(serde_json::to_string(&again).unwrap(), text);
        prop_assert_eq!(tell(&mut again, after, batch), tell(&mut market, after, batch));
        prop_assert_eq!(again, market);
    }

    /// Whatever part of the log is gone: what is known to stand in it is not recorded again, nothing
    /// that stands in it is called missing, and what the rest of it calls missing is news.
    #[test]
    fn nothing_is_recorded_twice_and_no_gap_is_told_that_was_none(
        arrivals in arrivals(),
        batch in 1usize..9,
        (known, gone, live) in (0usize..150, 0usize..150, 0usize..150),
    ) {
        let ticks = day(&arrivals);
        let (logged, live) = ticks.split_at(ticks.len() - live.min(ticks.len()));
        let entries = tell(&mut Market::default(), logged, batch);
        let (before, rest) = entries.split_at(known.min(entries.len()));
        let (lost, rest) = rest.split_at(gone.min(rest.len()));
        let [before, lost, rest] = [before, lost, rest].map(<[_]>::concat);
        let mut market = passed(&before, &rest);

        for id in ids(&before).union(&ids(&rest)) {
            prop_assert!(!market.is_news(*id), "{}", id);
        }
        let known = passed(&before, &[]);
        let high = ids(&before).last().copied();
        let bridge = ids_in_order(&rest).into_iter().find(|id| Some(*id) > high);
        for id in ids(&lost).into_iter().filter(|id| bridge.is_some_and(|bridge| *id < bridge)) {
            let was_missing = high.is_some_and(|high| id < high) && known.is_news(id);
            prop_assert!(was_missing || !market.is_news(id), "{}", id);
        }

        let mut told = tell(&mut market, live, batch).concat();
        let Ok(noticed) = market.decide(MarketCommand::NoticeGaps { venue_time: Timestamp::MAX });
        told.extend(noticed);
        let recorded = ids(&entries.concat());
        let mut missing = BTreeSet::new();
        for event in rest.iter().chain(&told) {
            match event {
                MarketEvent::FeedGapOpened { first_id, last_id, .. } => {
                    missing.extend(*first_id..=*last_id);
                }
                MarketEvent::TickObserved(tick) => {
                    missing.remove(&tick.trade_id);
                }
                _ => {}
            }
        }
        for id in missing {
            prop_assert!(market.is_news(id) && !recorded.contains(&id), "{}", id);
        }
    }
}
