//! Whose book is recorded, and that what is recorded is the true one.

use domain::book::{BookDiff, BookSnapshot, LostReason, SNAPSHOT_LEVELS_MAX};
use domain::market::book::BOOK_SILENCE;
use domain::order_book::OrderBook;

use super::*;

fn level(price: u64, quantity: u64) -> Level {
    Level { price: price.to_string().parse().unwrap(), quantity: quantity.into() }
}

fn heard(milli: i64, heard: Heard) -> Observation {
    let at = seconds(0).plus(milli * 1_000);
    Observation { received_at: at, venue_time: Some(at), heard }
}

/// A book of one bid and one ask as of an update.
fn snapshot(milli: i64, update_id: u64) -> Observation {
    let snapshot = BookSnapshot { update_id, bids: vec![level(100, 1)], asks: vec![level(200, 1)] };
    heard(milli, Heard::Snapshot(btc(), snapshot))
}

/// The update that sets the bid at 100 to its own number.
fn diff(milli: i64, id: u64) -> Observation {
    let bids = vec![level(100, id)];
    let diff = BookDiff { first_id: id, last_id: id, previous_id: None, bids, asks: Vec::new() };
    heard(milli, Heard::Diff(btc(), diff))
}

fn lost(milli: i64) -> Observation {
    heard(milli, Heard::BookLost(btc(), LostReason::Disconnected))
}

/// A feed that has started anew, with a log that others write too.
fn feed(log: &Arc<Memory>, session: u64) -> Intake {
    intake(log.clone(), &live(), session, BookRecording::All)
}

/// Tells each observation in a round of its own, as in real time.
async fn tell(intake: &mut Intake, told: impl IntoIterator<Item = Observation>) {
    for observation in told {
        intake.take(&mut vec![observation]).await.unwrap();
    }
}

/// What stands in the log of the book, drawn: who, what, and up to which update.
async fn drawn(log: &Memory) -> Vec<String> {
    let draw = |event: &MarketEvent| match event {
        MarketEvent::BookSnapshotObserved { told, snapshot } => {
            format!("{} snapshot {}", told.session.0, snapshot.update_id)
        }
        MarketEvent::BookDiffObserved { told, diff } => {
            format!("{} diff {}", told.session.0, diff.last_id)
        }
        MarketEvent::BookLost { told, .. } => format!("{} lost", told.session.0),
        other => panic!("{other:?}"),
    };
    recorded(log).await.1.iter().map(draw).collect()
}

#[test]
fn what_is_recorded_of_books_is_set_by_a_word() {
    let words = ["all", "sampled", "off", "All", ""].map(str::parse::<BookRecording>);
    let (all, sampled, off) = (BookRecording::All, BookRecording::Sampled, BookRecording::Off);

    assert_eq!(words[..3], [Ok(all), Ok(sampled), Ok(off)]);
    assert_eq!(words[3..], [Err(NotABookRecording), Err(NotABookRecording)]);
}

#[tokio::test(start_paused = true)]
async fn a_book_is_recorded_as_it_is_told() {
    let log = memory();
    let mut feed = feed(&log, 1);
    tell(&mut feed, [diff(0, 9), snapshot(0, 10), diff(100, 11), diff(200, 12), lost(300)]).await;
    tell(&mut feed, [diff(400, 13), snapshot(500, 20), diff(600, 21)]).await;

    assert_eq!(
        drawn(&log).await,
        ["1 snapshot 10", "1 diff 11", "1 diff 12", "1 lost", "1 snapshot 20", "1 diff 21"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_book_that_is_told_again_from_the_same_update_on_is_recorded_again() {
    let log = memory();
    let mut feed = feed(&log, 1);
    tell(&mut feed, [snapshot(0, 10), lost(100), snapshot(200, 10), lost(300)]).await;
    tell(&mut feed, [snapshot(400, 10), diff(500, 11)]).await;

    assert_eq!(
        drawn(&log).await,
        ["1 snapshot 10", "1 lost", "1 snapshot 10", "1 lost", "1 snapshot 10", "1 diff 11"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_round_holds_all_that_a_first_book_went_through() {
    let log = memory();
    let mut round = vec![snapshot(0, 10), diff(100, 11), lost(150), snapshot(200, 20)];
    round.extend([diff(300, 21), diff(400, 22)]);
    feed(&log, 1).take(&mut round).await.unwrap();

    assert_eq!(drawn(&log).await, ["1 snapshot 20", "1 diff 21", "1 diff 22"]);
}

#[tokio::test(start_paused = true)]
async fn only_one_sessions_book_is_recorded() {
    let log = memory();
    let (mut first, mut second) = (feed(&log, 1), feed(&log, 2));
    tell(&mut first, [snapshot(0, 10)]).await;
    tell(&mut second, [snapshot(10, 10)]).await;
    for id in 11_u64..80 {
        let milli = (id.cast_signed() - 10) * 1_000;
        tell(&mut first, [diff(milli, id)]).await;
        tell(&mut second, [diff(milli + 10, id)]).await;
    }

    let drawn = drawn(&log).await;
    assert_eq!(drawn.len(), 70);
    assert!(drawn.iter().all(|event| event.starts_with("1 ")), "{drawn:?}");
}

#[tokio::test(start_paused = true)]
async fn another_session_takes_over_from_one_that_was_killed_and_only_after_its_silence() {
    let log = memory();
    let (mut first, mut second) = (feed(&log, 1), feed(&log, 2));
    tell(&mut second, [snapshot(0, 10)]).await;
    tell(&mut first, [snapshot(0, 10), diff(100, 11)]).await;
    tell(&mut second, [diff(1_000, 11), diff(2_000, 12), diff(3_000, 13)]).await;
    // The second was first; now it is killed, and starts anew as a third.
    drop(second);
    let mut third = feed(&log, 3);
    tell(&mut third, [snapshot(4_000, 14), diff(4_100, 15)]).await;
    tell(&mut first, [diff(5_000, 12), diff(5_100, 13), diff(7_999, 14)]).await;
    // Five seconds after the last word of the second, whoever speaks first.
    tell(&mut first, [diff(8_000, 15)]).await;
    tell(&mut third, [diff(8_001, 16), diff(8_002, 17)]).await;
    tell(&mut first, [diff(8_003, 16)]).await;

    assert_eq!(BOOK_SILENCE, 5 * SECOND);
    assert_eq!(
        drawn(&log).await,
        ["2 snapshot 10", "2 diff 11", "2 diff 12", "2 diff 13", "1 snapshot 15", "1 diff 16"]
    );
}

#[tokio::test(start_paused = true)]
async fn another_session_takes_over_at_once_from_one_that_lost_its_book() {
    let log = memory();
    let (mut first, mut second) = (feed(&log, 1), feed(&log, 2));
    tell(&mut first, [snapshot(0, 10), diff(100, 11)]).await;
    tell(&mut second, [snapshot(150, 10), diff(160, 11)]).await;
    tell(&mut first, [lost(200)]).await;
    // It learns of the loss when it meets what was recorded: by silence, or by a trade.
    tell(&mut second, [trade(1, 1), diff(1_100, 12), diff(1_200, 13)]).await;
    // The first is back, too late.
    tell(&mut first, [snapshot(1_300, 12), diff(1_400, 13)]).await;

    assert_eq!(
        drawn(&log).await,
        ["1 snapshot 10", "1 diff 11", "1 lost", "2 snapshot 12", "2 diff 13"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_judged_by_an_old_reading_of_the_log_is_judged_again() {
    let log = memory();
    let (mut first, mut second) = (feed(&log, 1), feed(&log, 2));
    tell(&mut second, [snapshot(0, 10)]).await;
    // The first read the log when the second had begun, and nothing since.
    tell(&mut first, [snapshot(0, 10), diff(100, 11)]).await;
    for id in 11_u64..20 {
        tell(&mut second, [diff((id.cast_signed() - 10) * 1_000, id)]).await;
    }
    let entries_before = entries(&log).await.len();
    tell(&mut first, [diff(9_500, 12)]).await;

    // For all that the first knew the second was silent; the log said otherwise.
    assert_eq!(entries(&log).await.len(), entries_before);
}

#[tokio::test(start_paused = true)]
async fn a_recording_that_is_played_again_does_not_turn_the_book_back() {
    let log = memory();
    tell(
        &mut feed(&log, 1),
        (0..100).map(|id| match id {
            0 => snapshot(0, 10),
            _ => diff(id * 100, 10 + id.unsigned_abs()),
        }),
    )
    .await;
    let mut again = feed(&log, 2);
    tell(
        &mut again,
        (0..150).map(|id| match id {
            0 => snapshot(0, 10),
            _ => diff(id * 100, 10 + id.unsigned_abs()),
        }),
    )
    .await;

    let drawn = drawn(&log).await;
    assert_eq!((drawn.len(), drawn[100].as_str()), (101, "2 snapshot 159"));
}

#[tokio::test(start_paused = true)]
async fn a_sampled_book_is_a_snapshot_a_second_and_its_losses() {
    let log = memory();
    let mut feed = intake(log.clone(), &live(), 1, BookRecording::Sampled);
    tell(&mut feed, [snapshot(0, 10)]).await;
    tell(&mut feed, (1..30).map(|id| diff(id * 100, 10 + id.unsigned_abs()))).await;
    tell(&mut feed, [lost(3_000), diff(3_100, 40), snapshot(3_200, 50), diff(3_300, 51)]).await;

    assert_eq!(
        drawn(&log).await,
        ["1 snapshot 10", "1 snapshot 20", "1 snapshot 30", "1 lost", "1 snapshot 50"]
    );
}

#[tokio::test(start_paused = true)]
async fn books_that_are_switched_off_are_signs_of_life_and_no_more() {
    let log = memory();
    let mut feed = intake(log.clone(), &live(), 1, BookRecording::Off);
    tell(&mut feed, [snapshot(0, 10)]).await;
    tell(&mut feed, (1..130).map(|id| diff(id * 1_000, 10 + id.unsigned_abs()))).await;

    let pulses = recorded(&log).await.1;
    assert!(pulses.iter().all(|event| matches!(event, MarketEvent::PulseObserved { .. })));
    assert_eq!(pulses.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_pulse_is_recorded_beside_a_book_whosever_it_is() {
    let log = memory();
    let (mut first, mut second) = (feed(&log, 1), feed(&log, 2));
    for id in 0..200 {
        for feed in [&mut first, &mut second] {
            let told =
                if id == 0 { snapshot(0, 10) } else { diff(id * 1_000, 10 + id.cast_unsigned()) };
            tell(feed, [told]).await;
        }
    }
    assert_eq!(drawn(&log).await.len(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_lost_book_leaves_the_venue_without_a_sign_but_its_pulse() {
    let log = memory();
    let mut feed = feed(&log, 1);
    tell(&mut feed, [snapshot(0, 10), lost(1_000)]).await;
    tell(&mut feed, (2..63).map(|second| diff(second * 1_000, 11))).await;

    let pulses = recorded(&log).await.1.split_off(2);
    assert!(matches!(pulses.as_slice(), [MarketEvent::PulseObserved { .. }]), "{pulses:?}");
}

#[tokio::test(start_paused = true)]
async fn trades_go_in_before_the_book_and_both_within_a_second_of_each_other() {
    let log = memory();
    let mut round = vec![snapshot(0, 10)];
    for id in 1..50 {
        round.push(diff(id * 100, 10 + id.unsigned_abs()));
        let mut trade = trade(id.unsigned_abs(), 0);
        let Heard::Tick(_, tick) = &mut trade.heard else { unreachable!() };
        tick.traded_at = seconds(0).plus(id * 100_000);
        round.push(trade);
    }
    // All of it waits in the queue at once, as when a recording is played at full speed.
    feed(&log, 1).take(&mut round).await.unwrap();

    let mut clock = Timestamp::MIN;
    let mut last_was_book = true;
    for entry in entries(&log).await {
        let stamps: Vec<Timestamp> = entry
            .events
            .iter()
            .map(|event| match event {
                Event::Market(MarketEvent::TickObserved(tick)) => tick.traded_at,
                Event::Market(
                    MarketEvent::BookSnapshotObserved { told, .. }
                    | MarketEvent::BookDiffObserved { told, .. },
                ) => told.venue_time,
                other => panic!("{other:?}"),
            })
            .collect();
        let is_book = !matches!(entry.events[0], Event::Market(MarketEvent::TickObserved(_)));
        assert_ne!(is_book, last_was_book, "ticks, then their book");
        last_was_book = is_book;
        let (from, until) = (*stamps.iter().min().unwrap(), *stamps.iter().max().unwrap());
        assert!(until.since(from) < SECOND);
        assert!(clock == Timestamp::MIN || clock.since(from) < SECOND);
        clock = clock.max(until);
    }
    assert_eq!(recorded(&log).await.0.len(), 49);
}

#[tokio::test(start_paused = true)]
async fn a_stamp_from_the_future_leaves_no_hole_in_the_book() {
    let log = memory();
    let status = live();
    let mut feed = intake(log.clone(), &status, 1, BookRecording::All);
    let mut wild = diff(100, 11);
    wild.venue_time = Some(seconds(999));
    tell(&mut feed, [snapshot(0, 10), wild, diff(200, 12)]).await;

    assert_eq!(drawn(&log).await, ["1 snapshot 10", "1 diff 11", "1 diff 12"]);
    assert_eq!((status.set_aside(), feed.venue_clock), (1, seconds(0).plus(200_000)));
}

#[tokio::test(start_paused = true)]
async fn a_clock_of_ours_that_is_a_year_ahead_says_nothing_of_the_venues_time() {
    let log = memory();
    let mut feed = feed(&log, 1);
    let year = 365 * 1_440 * MINUTE;
    let ahead = |mut told: Observation| {
        told.received_at = told.received_at.plus(year);
        told
    };
    let untimed = |told: Observation| Observation { venue_time: None, ..ahead(told) };
    tell(&mut feed, [untimed(diff(0, 8)), ahead(diff(0, 9)), untimed(snapshot(50, 10))]).await;
    tell(&mut feed, [ahead(diff(100, 11)), untimed(lost(150))]).await;

    let times = recorded(&log).await.1.into_iter().map(|event| match event {
        MarketEvent::BookSnapshotObserved { told, .. }
        | MarketEvent::BookDiffObserved { told, .. }
        | MarketEvent::BookLost { told, .. } => told.venue_time.since(seconds(0)),
        other => panic!("{other:?}"),
    });
    assert_eq!(times.collect::<Vec<_>>(), [50_000, 100_000, 150_000]);
}

#[tokio::test(start_paused = true)]
async fn a_trade_that_was_fetched_late_says_nothing_of_the_venues_time() {
    let log = memory();
    let late = Observation { received_at: seconds(0), venue_time: None, ..trade(1, -7_200) };
    let undated = Observation { venue_time: None, ..snapshot(1_000, 10) };
    tell(&mut feed(&log, 1), [trade(2, 0), late, undated]).await;

    let told = recorded(&log).await.1.into_iter().find_map(|event| match event {
        MarketEvent::BookSnapshotObserved { told, .. } => Some(told.venue_time),
        _ => None,
    });
    assert_eq!(told, Some(seconds(1)));
}

#[tokio::test(start_paused = true)]
async fn a_book_of_any_size_fits_its_entries() {
    let log = memory();
    let deep = |side: std::ops::Range<u64>| -> Vec<Level> {
        let fine = |price: u64| format!("{}.123456789012345678", 1_000_000_000 + price);
        let quantity = "1234567890.123456789012345678".parse().unwrap();
        side.map(|price| Level { price: fine(price).parse().unwrap(), quantity }).collect()
    };
    let (bids, asks) = (deep(0..6_000).into_iter().rev().collect(), deep(10_000..16_000));
    let mut round =
        vec![heard(0, Heard::Snapshot(btc(), BookSnapshot { update_id: 1, bids, asks }))];
    // Each changes some thousand levels; one more than any entry holds.
    for (id, levels) in [(2, 3_000), (3, 3_000), (4, 6_000), (5, 100), (6, 3_000)] {
        let diff = BookDiff {
            first_id: id,
            last_id: id,
            previous_id: None,
            bids: deep(0..levels / 2),
            asks: deep(10_000..10_000 + levels / 2),
        };
        round.push(heard(0, Heard::Diff(btc(), diff)));
    }
    round.extend((7..400).map(|id| diff(0, id)));
    feed(&log, 1).take(&mut round).await.unwrap();

    let drawn = drawn(&log).await;
    assert_eq!(
        drawn[..6],
        ["1 snapshot 1", "1 diff 2", "1 diff 3", "1 snapshot 4", "1 diff 5", "1 diff 6"]
    );
    assert_eq!(drawn.len(), 399);
    let MarketEvent::BookSnapshotObserved { snapshot, .. } = &recorded(&log).await.1[0] else {
        panic!()
    };
    assert_eq!((snapshot.bids.len(), snapshot.asks.len()), (1_000, SNAPSHOT_LEVELS_MAX));
}

/// What may befall two feeds of one venue.
#[derive(Debug, Clone)]
enum Chance {
    /// The venue changes a level and tells both feeds.
    Update { bid: bool, offset: u64, quantity: u64, milli: i64 },
    /// A trade, told to both feeds.
    Trade,
    /// A feed loses its book.
    Loses(usize),
    /// A feed fetches the book.
    Fetches(usize),
    /// A feed misses what comes next, and does not know.
    Misses(usize),
    /// A feed is killed; another starts in its place.
    Killed(usize),
}

fn chance() -> impl Strategy<Value = Chance> {
    prop_oneof![
        12 => (any::<bool>(), 0u64..6, 0u64..3, 1i64..1_500).prop_map(
            |(bid, offset, quantity, milli)| Chance::Update { bid, offset, quantity, milli }
        ),
        2 => Just(Chance::Trade),
        1 => (0usize..2).prop_map(Chance::Loses),
        4 => (0usize..2).prop_map(Chance::Fetches),
        1 => (0usize..2).prop_map(Chance::Misses),
        1 => (0usize..2).prop_map(Chance::Killed),
    ]
}

/// Plays chances to two feeds, told in rounds of their own or together; returns the log and the
/// true book as of each update.
async fn play(chances: Vec<Chance>, together: bool) -> (Arc<Memory>, BTreeMap<u64, BookSnapshot>) {
    let log = memory();
    let mut sessions = 2;
    let mut feeds = [feed(&log, 1), feed(&log, 2)];
    let mut rounds: [Vec<Observation>; 2] = Default::default();
    let mut misses = [false; 2];
    let (mut milli, mut trades) = (0, 0);
    let mut truth = OrderBook::of(&BookSnapshot {
        update_id: 1_000,
        bids: vec![level(100, 1)],
        asks: vec![level(200, 1)],
    })
    .unwrap();
    let mut history = BTreeMap::from([(truth.last_id(), truth.snapshot(1_000))]);
    for chance in chances {
        match chance {
            Chance::Update { bid, offset, quantity, milli: later } => {
                milli += later;
                let changed = vec![level(if bid { 100 - offset } else { 200 + offset }, quantity)];
                let (bids, asks) = if bid { (changed, vec![]) } else { (vec![], changed) };
                let id = truth.last_id() + 1;
                let diff = BookDiff { first_id: id, last_id: id, previous_id: None, bids, asks };
                truth.apply(&diff).unwrap();
                history.insert(id, truth.snapshot(1_000));
                for (round, misses) in rounds.iter_mut().zip(&mut misses) {
                    if !std::mem::take(misses) {
                        round.push(heard(milli, Heard::Diff(btc(), diff.clone())));
                    }
                }
            }
            Chance::Trade => {
                trades += 1;
                let mut told = trade(trades, 0);
                let Heard::Tick(_, tick) = &mut told.heard else { unreachable!() };
                tick.traded_at = seconds(0).plus(milli * 1_000);
                for round in &mut rounds {
                    round.push(told.clone());
                }
            }
            Chance::Loses(place) => rounds[place].push(lost(milli)),
            Chance::Fetches(place) => {
                let book = truth.snapshot(1_000);
                rounds[place].push(heard(milli, Heard::Snapshot(btc(), book)));
            }
            Chance::Misses(place) => misses[place] = true,
            Chance::Killed(place) => {
                sessions += 1;
                rounds[place].clear();
                feeds[place] = feed(&log, sessions);
            }
        }
        if !together || rounds[0].len() > 20 {
            let [first, second] = &mut feeds;
            let [of_first, of_second] = &mut rounds;
            let (one, other) = future::join(first.take(of_first), second.take(of_second)).await;
            assert_eq!((one, other), (Ok(()), Ok(())));
        }
    }
    (log, history)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever befalls the feeds: what stands in the log folds into the true book.
    #[test]
    fn what_is_recorded_always_folds_into_the_true_book(
        chances in prop::collection::vec(chance(), 1..150),
        together in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        let (events, history) = runtime.block_on(async {
            let (log, history) = play(chances, together).await;
            (recorded(&log).await.1, history)
        });
        let mut book: Option<(Session, OrderBook)> = None;
        for event in events {
            match event {
                MarketEvent::BookSnapshotObserved { told, snapshot } => {
                    book = Some((told.session, OrderBook::of(&snapshot).unwrap()));
                }
                MarketEvent::BookDiffObserved { told, diff } => {
                    let (session, book) = book.as_mut().expect("a diff continues a book");
                    prop_assert_eq!(told.session, *session);
                    prop_assert!(book.apply(&diff).is_ok());
                }
                MarketEvent::BookLost { told, .. } => {
                    prop_assert_eq!(book.take().map(|(session, _)| session), Some(told.session));
                }
                // What a killed feed had heard of trades is missing.
                _ => {}
            }
            if let Some((_, book)) = &book {
                prop_assert_eq!(&book.snapshot(1_000), &history[&book.last_id()]);
            }
        }
    }
}
