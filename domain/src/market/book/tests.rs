//! Whose book is followed, in sentences.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;
use crate::amount::Price;
use crate::book::Level;
use crate::decider::Decider;
use crate::market::{Market, MarketCommand};
use crate::order_book::OrderBook;
use crate::spec::{Given, given};

const A: Session = Session(0xa);
const B: Session = Session(0xb);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn level(price: i64, quantity: i64) -> Level {
    Level { price: Price::of_units(price, 0).unwrap(), quantity: Decimal::from(quantity) }
}

fn book_at(update_id: u64) -> BookSnapshot {
    BookSnapshot { update_id, bids: vec![level(99, 1)], asks: vec![level(101, 1)] }
}

fn change(first_id: u64, last_id: u64) -> BookDiff {
    BookDiff {
        first_id,
        last_id,
        previous_id: None,
        bids: vec![level(99, i64::try_from(last_id).unwrap())],
        asks: Vec::new(),
    }
}

/// What is told at a time of the venue; it arrives a little later.
fn step(millis: i64, told: BookTold) -> BookStep {
    BookStep { venue_time: at(millis), received_at: at(millis + 70), told }
}

fn snapshot(millis: i64, update_id: u64) -> BookStep {
    step(millis, BookTold::Snapshot(book_at(update_id)))
}

fn diff(millis: i64, first_id: u64, last_id: u64) -> BookStep {
    step(millis, BookTold::Diff(change(first_id, last_id)))
}

fn lost(millis: i64, reason: LostReason) -> BookStep {
    step(millis, BookTold::Lost(reason))
}

fn by(session: Session, steps: &[BookStep]) -> MarketCommand {
    MarketCommand::FollowBook { session, steps: steps.to_vec() }
}

/// The event that records a step as it was told.
fn event(session: Session, step: &BookStep) -> MarketEvent {
    let BookStep { venue_time, received_at, told } = step.clone();
    let by = Told { session, venue_time, received_at };
    match told {
        BookTold::Snapshot(snapshot) => MarketEvent::BookSnapshotObserved { told: by, snapshot },
        BookTold::Diff(diff) => MarketEvent::BookDiffObserved { told: by, diff },
        BookTold::Lost(reason) => MarketEvent::BookLost { told: by, reason },
    }
}

fn recorded(session: Session, steps: &[BookStep]) -> Vec<MarketEvent> {
    steps.iter().map(|step| event(session, step)).collect()
}

/// A market whose book follows A.
fn following(steps: &[BookStep]) -> Given<Market> {
    given(&recorded(A, steps))
}

#[test]
fn a_sessions_snapshot_and_its_diffs_are_recorded() {
    let steps = [snapshot(0, 7), diff(100, 8, 9), diff(200, 10, 10)];

    given::<Market>(&[]).when(by(A, &steps)).then(&recorded(A, &steps));
}

#[test]
fn a_diff_without_a_snapshot_is_nothing() {
    given::<Market>(&[]).when(by(A, &[diff(0, 8, 9), lost(1, LostReason::Hole)])).then_nothing();
}

#[test]
fn a_hole_loses_the_book_and_nothing_more_is_taken_until_a_snapshot() {
    let steps = [diff(100, 10, 11), diff(200, 12, 12), snapshot(300, 12), diff(400, 13, 13)];

    following(&[snapshot(0, 7)]).when(by(A, &steps)).then(&[
        event(A, &lost(100, LostReason::Hole)),
        event(A, &steps[2]),
        event(A, &steps[3]),
    ]);
}

#[test]
fn an_old_diff_is_nothing() {
    following(&[snapshot(0, 7), diff(100, 8, 9)])
        .when(by(A, &[diff(100, 8, 9), diff(150, 5, 6)]))
        .then_nothing();
}

#[test]
fn what_a_session_loses_it_loses_once() {
    let steps = [lost(100, LostReason::Disconnected), lost(200, LostReason::Silent)];

    following(&[snapshot(0, 7)]).when(by(A, &steps)).then(&[event(A, &steps[0])]);
}

#[test]
fn another_session_is_a_stranger_while_the_first_speaks() {
    let market = following(&[snapshot(0, 7), diff(100, 8, 9)]);

    market
        .when(by(B, &[snapshot(200, 10), diff(300, 11, 11), lost(400, LostReason::Hole)]))
        .then_nothing();
    market.when(by(B, &[snapshot(5_099, 60)])).then_nothing();
}

#[test]
fn another_session_takes_over_from_a_silent_one_with_a_snapshot_of_its_own() {
    let steps = [diff(5_100, 60, 60), snapshot(5_100, 60), diff(5_200, 61, 61)];

    following(&[snapshot(0, 7), diff(100, 8, 9)])
        .when(by(B, &steps))
        .then(&recorded(B, &steps[1..]));
}

#[test]
fn another_session_takes_over_at_once_from_one_that_lost_its_book() {
    let market = following(&[snapshot(0, 7), diff(100, 8, 9), lost(200, LostReason::Crossed)]);

    // One that would turn back time is not taken.
    market.when(by(B, &[snapshot(199, 10)])).then_nothing();
    market.when(by(B, &[snapshot(200, 10)])).then_nothing();
    market.when(by(B, &[snapshot(201, 10)])).then(&[event(B, &snapshot(201, 10))]);
}

#[test]
fn the_first_session_is_then_a_stranger() {
    let past = [
        recorded(A, &[snapshot(0, 7), lost(100, LostReason::Hole)]),
        recorded(B, &[snapshot(200, 9)]),
    ];
    let market = given::<Market>(&past.concat());

    market
        .when(by(A, &[snapshot(300, 10), diff(400, 10, 10), lost(500, LostReason::Hole)]))
        .then_nothing();
    market.when(by(A, &[snapshot(5_200, 60)])).then(&[event(A, &snapshot(5_200, 60))]);
}

#[test]
fn a_snapshot_of_the_followed_session_is_recorded_when_it_is_further() {
    let market = following(&[snapshot(0, 7), diff(100, 8, 9)]);

    market.when(by(A, &[snapshot(150, 9), snapshot(150, 8)])).then_nothing();
    market.when(by(A, &[snapshot(150, 12)])).then(&[event(A, &snapshot(150, 12))]);
}

#[test]
fn a_lost_book_takes_a_later_snapshot_of_its_session_whatever_its_id() {
    // A venue that starts anew counts from one again.
    let past = [snapshot(0, 7), diff(100, 8, 900), lost(200, LostReason::Disconnected)];
    let market = following(&past);

    market.when(by(A, &[snapshot(300, 1)])).then(&[event(A, &snapshot(300, 1))]);
    // Its time was guessed, a little too early, but it arrived later.
    let guessed = BookStep { received_at: at(271), ..snapshot(190, 901) };
    market.when(by(A, std::slice::from_ref(&guessed))).then(&[event(A, &guessed)]);
}

#[test]
fn the_same_steps_twice_add_nothing() {
    let steps = [
        snapshot(0, 7),
        diff(100, 8, 9),
        lost(200, LostReason::Silent),
        snapshot(300, 12),
        diff(400, 13, 14),
        diff(500, 15, 15),
    ];
    for told in 1..=steps.len() {
        let market = following(&steps[..told]);

        market.when(by(A, &steps[..told])).then_nothing();
        // Nor does a second feed that tells of the same time.
        market.when(by(B, &steps[..told])).then_nothing();
    }
}

#[test]
fn a_snapshot_is_recorded_without_its_deepest_levels() {
    let depth = i64::try_from(SNAPSHOT_LEVELS_MAX).unwrap() + 5;
    let asks = (0..depth).map(|n| level(1_000 + n, 1)).collect();
    let deep = BookSnapshot { update_id: 7, bids: Vec::new(), asks };
    let Ok(events) = Market::default().decide(by(A, &[step(0, BookTold::Snapshot(deep.clone()))]));

    let [MarketEvent::BookSnapshotObserved { snapshot, .. }] = &events[..] else { panic!() };
    assert_eq!(snapshot.asks, deep.asks[..SNAPSHOT_LEVELS_MAX]);
}

#[test]
fn one_decision_never_holds_more_than_an_entry() {
    let mut steps = vec![snapshot(0, 7)];
    steps.extend((8..400).map(|id| diff(100, id, id)));

    let Ok(events) = Market::default().decide(by(A, &steps));
    assert_eq!(events.len(), DECISION_EVENTS_MAX);
}

/// The true book after each update: 20 prices a side that never meet.
fn truth(updates: &[(bool, i64, i64)]) -> Vec<BTreeMap<(bool, i64), i64>> {
    let mut books = vec![BTreeMap::from([((true, 50), 1), ((false, 51), 1)])];
    for &(is_bid, price, quantity) in updates {
        let mut book = books[books.len() - 1].clone();
        book.insert((is_bid, if is_bid { 50 - price } else { 51 + price }), quantity);
        books.push(book);
    }
    books
}

fn side(book: &BTreeMap<(bool, i64), i64>, is_bid: bool) -> Vec<Level> {
    let resting = book.iter().filter(|((bid, _), quantity)| *bid == is_bid && **quantity > 0);
    resting.map(|((_, price), quantity)| level(*price, *quantity)).collect()
}

fn true_snapshot(books: &[BTreeMap<(bool, i64), i64>], update_id: usize) -> BookSnapshot {
    let (bids, asks) = (side(&books[update_id], true), side(&books[update_id], false));
    BookSnapshot { update_id: update_id as u64, bids, asks }
}

/// What happens to one of the two feeds next.
#[derive(Debug, Clone)]
enum Fate {
    /// The feed hears a diff of so many updates, if there are so many yet.
    Hears(usize),
    /// The same never arrives.
    Misses(usize),
    /// It hears again what it heard so many updates ago.
    Repeats(usize),
    /// It takes a new snapshot, of so many updates ago, and goes on from there.
    Fetches(usize),
    Loses,
    /// It starts anew, under another session.
    Crashes,
}

fn fates() -> impl Strategy<Value = Vec<(bool, i64, Fate)>> {
    let fate = prop_oneof![
        8 => (1usize..4).prop_map(Fate::Hears),
        1 => (1usize..4).prop_map(Fate::Misses),
        1 => (1usize..9).prop_map(Fate::Repeats),
        3 => (0usize..3).prop_map(Fate::Fetches),
        1 => Just(Fate::Loses),
        1 => Just(Fate::Crashes),
    ];
    let pause = prop_oneof![9 => 0i64..400, 1 => 4_000i64..9_000];
    prop::collection::vec((any::<bool>(), pause, fate), 1..120)
}

proptest! {
    /// Two feeds tell of one true book, each in its own way and neither with care. Whatever is
    /// recorded folds into the true book of its update id, and a session only goes on with its own.
    #[test]
    fn what_is_recorded_is_the_true_book(
        updates in prop::collection::vec((any::<bool>(), 0i64..20, 0i64..3), 200),
        fates in fates(),
        with_previous in any::<bool>(),
    ) {
        let books = truth(&updates);
        let mut market = Market::default();
        let mut heard = [0usize; 2];
        let mut sessions = [Session(0), Session(1)];
        let (mut now, mut written) = (0, 0usize);
        let mut book: Option<(Session, OrderBook)> = None;

        for (count, (of_second, pause, fate)) in (2u64..).zip(fates) {
            let feed = usize::from(of_second);
            now += pause;
            // The true book moves on with time, to where no feed is ahead of it.
            written = (written + usize::from(pause > 0) * 2).min(updates.len());
            let from = heard[feed];
            let told = |first: usize, last: usize| BookTold::Diff(BookDiff {
                first_id: first as u64 + 1,
                last_id: last as u64,
                previous_id: with_previous.then_some(first as u64),
                bids: changed(&updates[first..last], &books[last], true),
                asks: changed(&updates[first..last], &books[last], false),
            });
            let step = match fate {
                Fate::Hears(updates) if from + updates <= written => {
                    heard[feed] += updates;
                    told(from, from + updates)
                }
                Fate::Misses(updates) if from + updates <= written => {
                    heard[feed] += updates;
                    continue;
                }
                Fate::Repeats(updates) if from > 0 => told(from.saturating_sub(updates), from),
                Fate::Fetches(ago) => {
                    heard[feed] = written.saturating_sub(ago);
                    BookTold::Snapshot(true_snapshot(&books, heard[feed]))
                }
                Fate::Loses => BookTold::Lost(LostReason::Disconnected),
                Fate::Crashes => {
                    sessions[feed] = Session(count);
                    continue;
                }
                _ => continue,
            };
            let steps = vec![self::step(now, step)];
            let command = MarketCommand::FollowBook { session: sessions[feed], steps };
            let Ok(events) = market.decide(command);
            for event in events {
                market.evolve(&event);
                match &event {
                    MarketEvent::BookSnapshotObserved { told, snapshot } => {
                        book = Some((told.session, OrderBook::of(snapshot).unwrap()));
                    }
                    MarketEvent::BookDiffObserved { told, diff } => {
                        let (session, book) = book.as_mut().unwrap();
                        prop_assert_eq!(*session, told.session);
                        prop_assert_eq!(book.apply(diff), Ok(Applied::Changed));
                    }
                    MarketEvent::BookLost { told, .. } => {
                        prop_assert_eq!(book.take().unwrap().0, told.session);
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            prop_assert_eq!(market.book().is_some_and(|it| it.synced), book.is_some());
            if let Some((session, book)) = &book {
                let id = usize::try_from(book.last_id()).unwrap();
                prop_assert_eq!(market.book().map(|it| (it.session, it.last_id)), Some((*session, id as u64)));
                prop_assert_eq!(book, &OrderBook::of(&true_snapshot(&books, id)).unwrap());
            }
        }
    }
}

/// The levels of one side that updates changed, as they are after the last of them.
fn changed(
    updates: &[(bool, i64, i64)],
    after: &BTreeMap<(bool, i64), i64>,
    is_bid: bool,
) -> Vec<Level> {
    let of_side = updates.iter().filter(|(bid, ..)| *bid == is_bid);
    let prices = of_side.map(|(_, price, _)| if is_bid { 50 - price } else { 51 + price });
    prices.map(|price| level(price, after[&(is_bid, price)])).collect()
}
