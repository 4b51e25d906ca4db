//! A minute of three sources, in sentences.

use super::*;
use crate::candle::event::CandleEvent;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * SECOND)
}

/// A minute or a bar that opens at `second`; its high says where it comes from.
pub(super) fn candle(source: Source, second: i64, trades: u64, high: i64, revision: u32) -> Candle {
    let price = |units| crate::amount::Price::of_units(units, 2).unwrap();
    Candle {
        opened_at: at(second),
        open: price(100),
        high: price(high),
        low: price(100),
        close: price(100),
        trades,
        source,
        revision,
        ..Candle::filled(at(second), price(100))
    }
}

pub(super) fn native(second: i64, trades: u64) -> Candle {
    candle(Source::Native, second, trades, 900, 0)
}

fn recorded(second: i64, trades: u64, revision: u32) -> Candle {
    candle(Source::Built, second, trades, 500, revision)
}

fn opened(first_id: u64, after: i64, before: i64) -> MarketEvent {
    let (after, before) = (at(after), at(before));
    MarketEvent::FeedGapOpened { first_id, last_id: first_id, after, before }
}

fn import(ladder: &mut Ladder, bars: &[Candle]) {
    ladder.import(bars.iter().map(|bar| (Interval::Minute, bar)));
}

/// What stands: where it opens, its source, its trades and its revision.
fn standing(ladder: &Ladder, interval: Interval) -> Vec<(i64, Source, u64, u32)> {
    let candles = ladder.range(interval, Timestamp::MIN, Timestamp::MAX);
    candles.map(|it| (it.opened_at.micros() / SECOND, it.source, it.trades, it.revision)).collect()
}

use Source::{Built, Native};

#[test]
fn of_built_and_recorded_the_one_with_more_trades_stands() {
    let mut ladder = Ladder::default();
    fold(&mut ladder, 0, &[buy(1, 10, 100), buy(2, 70, 100), buy(3, 71, 100)]);
    ladder.record(&[recorded(0, 2, 0), recorded(60, 2, 0), recorded(120, 4, 0)]);

    assert_eq!(
        standing(&ladder, Interval::Minute),
        [(0, Built, 2, 0), (60, Built, 2, 0), (120, Built, 4, 0)]
    );
    let highs: Vec<_> = ladder
        .range(Interval::Minute, at(0), at(180))
        .map(|candle| candle.high.to_string())
        .collect();
    assert_eq!(highs, ["5.00", "1.00", "5.00"]);
    assert_eq!(standing(&ladder, Interval::Hour), [(0, Built, 8, 0)]);

    fold(&mut ladder, 0, &[buy(4, 11, 100)]);
    assert_eq!(ladder.first(Interval::Minute).unwrap().high.to_string(), "1.00");
}

#[test]
fn what_was_recorded_just_as_it_was_built_is_held_once() {
    let mut ladder = Ladder::default();
    fold(&mut ladder, 0, &[buy(1, 10, 100), buy(2, 70, 100)]);
    let [(_, minutes)] = &ladder.unrecorded(at(3_602), 9)[..] else { panic!() };
    ladder.record(minutes);
    assert_eq!(ladder.mixed.len(), 0);

    // A late trade makes two of it, until it is recorded anew.
    fold(&mut ladder, 3_700, &[buy(3, 11, 100)]);
    assert_eq!(ladder.mixed.len(), 1);
    assert_eq!(ladder.mixed[&at(0)].recorded, Some(minutes[0].clone()));
    let [(_, minutes)] = &ladder.unrecorded(at(3_700), 9)[..] else { panic!() };
    ladder.record(minutes);
    assert_eq!(ladder.mixed.len(), 0);
}

#[test]
fn a_bar_stands_where_nothing_was_built() {
    let mut ladder = Ladder::default();
    fold(&mut ladder, 0, &[buy(1, 10, 100), buy(2, 70, 100)]);
    import(&mut ladder, &[native(-60, 7), native(60, 9), native(120, 8)]);

    assert_eq!(
        standing(&ladder, Interval::Minute),
        [(-60, Native, 7, 0), (0, Built, 1, 0), (60, Built, 1, 0), (120, Native, 8, 0)]
    );
    assert_eq!(
        standing(&ladder, Interval::FiveMinutes),
        [(-300, Native, 7, 0), (0, Native, 10, 0)]
    );
}

#[test]
fn a_bar_stands_for_the_first_minute_of_all_because_we_came_in_its_middle() {
    let mut ladder = Ladder::default();
    fold(&mut ladder, 0, &[buy(1, 70, 100), buy(2, 130, 100)]);
    import(&mut ladder, &[native(60, 9), native(120, 9)]);
    assert_eq!(standing(&ladder, Interval::Minute), [(60, Native, 9, 1), (120, Built, 1, 0)]);

    fold(&mut ladder, 0, &[buy(3, 10, 100)]);
    assert_eq!(standing(&ladder, Interval::Minute)[1], (60, Built, 1, 0));
}

#[test]
fn the_first_minute_is_the_first_also_when_it_is_only_recorded_any_more() {
    let mut ladder = Ladder::default();
    ladder.record(&[recorded(0, 3, 0), recorded(60, 9, 0)]);
    import(&mut ladder, &[native(0, 8), native(60, 9)]);
    fold(&mut ladder, 0, &[buy(1, 70, 100)]);

    assert_eq!(standing(&ladder, Interval::Minute), [(0, Native, 8, 1), (60, Built, 9, 0)]);
}

#[test]
fn a_bar_stands_while_a_gap_touches_the_minute() {
    let mut ladder = Ladder::default();
    fold(&mut ladder, 0, &[buy(1, 0, 100), buy(2, 60, 100), buy(9, 119, 100), buy(10, 120, 100)]);
    import(&mut ladder, &[native(60, 9), native(120, 9)]);

    ladder.hear_gap(&opened(3, 60, 119));
    assert_eq!(
        ladder.roll(at(0))[..2],
        [(Interval::Minute, at(60)), (Interval::FiveMinutes, at(0))]
    );
    assert_eq!(standing(&ladder, Interval::Minute)[1..], [(60, Native, 9, 1), (120, Built, 1, 0)]);
    assert_eq!(standing(&ladder, Interval::Day), [(0, Native, 11, 0)]);

    ladder.hear_gap(&MarketEvent::FeedGapFilled { first_id: 3, last_id: 3 });
    ladder.roll(at(0));
    assert_eq!(standing(&ladder, Interval::Minute)[1..], [(60, Built, 2, 0), (120, Built, 1, 0)]);
    assert_eq!(ladder.roll(at(0)), []);
}

#[test]
fn a_recorded_revision_is_the_least_that_is_shown() {
    let mut ladder = Ladder::default();
    ladder.record(&[recorded(0, 1, 2)]);
    let shown = |ladder: &Ladder| ladder.first(Interval::Minute).unwrap().revision;
    assert_eq!(shown(&ladder), 2);

    fold(&mut ladder, 0, &[buy(1, 10, 100)]);
    assert_eq!(shown(&ladder), 2);
    for (count, expected) in [(1, 2), (2, 2), (3, 3)] {
        fold(&mut ladder, 100, &[buy(1 + count, 10, 100)]);
        assert_eq!(shown(&ladder), expected);
    }
}

#[test]
fn a_coarser_bar_stands_only_where_nothing_finer_is_and_is_rolled_up_further() {
    let mut ladder = Ladder::default();
    let (first, second) = (native(0, 60), native(3_600, 70));
    let changed = ladder.import([
        (Interval::Hour, &first),
        (Interval::Hour, &second),
        (Interval::Day, &first),
    ]);
    assert_eq!(changed.len(), 4);
    assert_eq!(standing(&ladder, Interval::Minute), []);
    assert_eq!(standing(&ladder, Interval::Day), [(0, Native, 130, 0)]);

    fold(&mut ladder, 0, &[buy(1, 3_610, 100)]);
    assert_eq!(standing(&ladder, Interval::Hour), [(0, Native, 60, 0), (3_600, Built, 1, 0)]);
    assert_eq!(standing(&ladder, Interval::Day), [(0, Native, 61, 0)]);
}

#[test]
fn an_import_that_changes_nothing_says_nothing() {
    let mut ladder = Ladder::default();
    fold(&mut ladder, 0, &[buy(1, 10, 100), buy(2, 70, 100)]);

    assert_eq!(ladder.import([(Interval::Minute, &native(60, 4))]), []);
    assert_eq!(ladder.import([(Interval::Hour, &native(60, 4))]), []);
    assert_eq!(ladder.record(&[recorded(60, 1, 0)]), []);
    assert_eq!(ladder.import([(Interval::Minute, &native(120, 4))]).len(), 5);
    assert_eq!(ladder.import([(Interval::Minute, &native(120, 4))]), []);
}

#[test]
fn an_hour_is_to_be_recorded_while_it_holds_more_than_was() {
    let mut ladder = Ladder::default();
    fold(&mut ladder, 0, &[buy(1, 10, 100), buy(2, 70, 100), buy(3, 3_600, 100)]);
    import(&mut ladder, &[native(0, 9), native(120, 9)]);

    assert_eq!(ladder.unrecorded(at(3_601), 9), []);
    let [(hour, minutes)] = &ladder.unrecorded(at(3_602), 9)[..] else { panic!() };
    assert_eq!(*hour, at(0));
    assert_eq!(
        minutes.iter().map(|it| (it.source, it.trades)).collect::<Vec<_>>(),
        [(Built, 1), (Built, 1)]
    );

    ladder.record(minutes);
    assert_eq!(ladder.unrecorded(at(7_201), 9), []);
    assert_eq!(ladder.unrecorded(at(7_202), 9).len(), 1);
    assert_eq!(ladder.unrecorded(at(7_202), 0), []);

    fold(&mut ladder, 3_700, &[buy(4, 71, 100)]);
    let [(_, late)] = &ladder.unrecorded(at(3_700), 9)[..] else { panic!() };
    assert_eq!(late[1].revision, 1);
    ladder.record(late);
    assert_eq!(ladder.unrecorded(at(3_700), 9), []);
}

#[test]
fn a_recorded_candle_reads_as_it_was_written() {
    let event = CandleEvent::CandleImported { interval: Interval::Hour, candle: native(0, 3) };
    let text = serde_json::to_string(&event).unwrap();

    assert_eq!(serde_json::from_str::<CandleEvent>(&text).unwrap(), event);
    assert!(serde_json::from_str::<CandleEvent>(&text.replace("open\"", "opened\"")).is_err());
    assert!(serde_json::from_str::<CandleEvent>(&text.replace("\"0\"", "0")).is_err());
}
