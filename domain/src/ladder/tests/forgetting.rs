//! What is forgotten shows in nothing: the coarser candles stay as they were, and the minutes are
//! the same again, made from what was archived.

use super::sources::{at, candle, native};
use super::*;
use crate::candle::Source::{Built, Native};
use crate::ladder::archive::Archived;
use crate::ladder::gaps::Teller;
use crate::market::event::GapReason;
use crate::time::{DAY, MINUTE};

const DAY_SECONDS: i64 = DAY / SECOND;

const TWO_DAYS: Limits = Limits { ledger_days: 2, market_days: 9 };

/// Trades at these seconds, each an entry of its own.
fn trade(ladder: &mut Ladder, seconds: &[i64]) {
    for second in seconds {
        ladder.take(&buy(second.unsigned_abs(), *second, 100));
        ladder.settle(Timestamp::MIN, TWO_DAYS);
    }
}

/// Records each hour that is due and has closed by then.
fn record_due(ladder: &mut Ladder, second: i64) {
    for (_, minutes) in ladder.unrecorded(at(second), 99) {
        ladder.take_recorded(&minutes);
        ladder.settle(Timestamp::MIN, TWO_DAYS);
    }
}

fn minutes(ladder: &Ladder) -> Vec<i64> {
    let minutes = ladder.range(Interval::Minute, Timestamp::MIN, Timestamp::MAX);
    minutes.map(|candle| candle.opened_at.micros() / SECOND).collect()
}

fn trades(ladder: &Ladder, interval: Interval) -> Vec<(i64, u64)> {
    let candles = ladder.range(interval, Timestamp::MIN, Timestamp::MAX);
    candles.map(|it| (it.opened_at.micros() / SECOND, it.trades)).collect()
}

#[test]
fn the_oldest_day_goes_when_the_ledger_tells_of_too_many() {
    let mut ladder = Ladder::default();
    trade(&mut ladder, &[10, 70, 3_610, DAY_SECONDS, 2 * DAY_SECONDS]);
    record_due(&mut ladder, 2 * DAY_SECONDS);
    assert_eq!(ladder.since(), None);

    record_due(&mut ladder, 3 * DAY_SECONDS);

    assert_eq!(ladder.since(), Some(at(DAY_SECONDS)));
    assert_eq!(minutes(&ladder), [DAY_SECONDS, 2 * DAY_SECONDS]);
    assert_eq!(ladder.range(Interval::FiveMinutes, at(0), at(DAY_SECONDS)).count(), 0);
    assert_eq!(trades(&ladder, Interval::Hour)[..2], [(0, 2), (3_600, 1)]);
    assert_eq!(trades(&ladder, Interval::FourHours)[0], (0, 3));
    assert_eq!(trades(&ladder, Interval::Day)[0], (0, 3));
    assert_eq!(ladder.unrecorded(Timestamp::MAX, 9), []);
}

#[test]
fn a_minute_that_was_never_recorded_is_not_forgotten() {
    let mut ladder = Ladder::default();
    trade(&mut ladder, &[10, 3_610]);
    // The ledger tells of later days first, as when the venue's bars are asked for after a long stop.
    for day in 1..4 {
        ladder.take_bars([(Interval::Minute, &native(day * DAY_SECONDS, 5))]);
        ladder.settle(Timestamp::MIN, TWO_DAYS);
    }
    assert_eq!(ladder.since(), Some(at(2 * DAY_SECONDS)));
    assert_eq!(minutes(&ladder), [0, 3_600, 2 * DAY_SECONDS, 3 * DAY_SECONDS]);

    // A trade that belongs there still comes in.
    trade(&mut ladder, &[20]);
    let due = ladder.unrecorded(at(DAY_SECONDS), 1);
    assert_eq!(due.iter().map(|(hour, _)| *hour).collect::<Vec<_>>(), [at(0)]);
    assert_eq!(due[0].1[0].trades, 2);
    ladder.take_recorded(&due[0].1);
    ladder.settle(Timestamp::MIN, TWO_DAYS);

    assert_eq!(minutes(&ladder), [3_600, 2 * DAY_SECONDS, 3 * DAY_SECONDS]);
    assert_eq!(trades(&ladder, Interval::Hour)[..2], [(0, 2), (3_600, 1)]);
    assert_eq!(trades(&ladder, Interval::Day)[0], (0, 3));
}

#[test]
fn what_is_never_recorded_goes_in_the_end() {
    let mut ladder = Ladder::default();
    let days: Vec<i64> = (0..10).map(|day| day * DAY_SECONDS).collect();
    trade(&mut ladder, &days);

    assert_eq!(minutes(&ladder), days[1..]);
    assert_eq!(ladder.since(), None);
    assert_eq!(ladder.first(Interval::Day).unwrap().opened_at, at(DAY_SECONDS));
    assert_eq!(ladder.unrecorded(Timestamp::MAX, 99).len(), 9);
}

#[test]
fn a_trade_of_an_hour_whose_minutes_are_forgotten_is_passed_over_and_counted() {
    let mut ladder = Ladder::default();
    trade(&mut ladder, &[10, DAY_SECONDS, 2 * DAY_SECONDS]);
    record_due(&mut ladder, 3 * DAY_SECONDS);

    ladder.take(&buy(9, 20, 900));
    ladder.settle(at(3 * DAY_SECONDS), TWO_DAYS);

    let day = ladder.first(Interval::Day).unwrap();
    assert_eq!((day.trades, day.revision), (1, 1));
    assert_eq!(ladder.unrecorded(Timestamp::MAX, 9), []);
}

#[test]
fn a_bar_that_comes_after_its_day_was_forgotten_still_makes_its_hour() {
    let mut ladder = Ladder::default();
    // Of an import that goes back in time, entry by entry.
    for second in [3 * DAY_SECONDS, 2 * DAY_SECONDS, DAY_SECONDS + 60, DAY_SECONDS, 7_200, 0] {
        ladder.take_bars([(Interval::Minute, &native(second, 5))]);
        ladder.settle(Timestamp::MIN, TWO_DAYS);
    }

    assert_eq!(minutes(&ladder), [2 * DAY_SECONDS, 3 * DAY_SECONDS]);
    let hours = trades(&ladder, Interval::Hour);
    assert_eq!(hours[..3], [(0, 5), (7_200, 5), (DAY_SECONDS, 10)]);
    assert_eq!(trades(&ladder, Interval::Day)[..2], [(0, 10), (DAY_SECONDS, 10)]);
}

#[test]
fn a_gap_that_the_ledger_was_not_told_of_is_forgotten_with_its_minutes() {
    let gap = MarketEvent::FeedGapOpened { first_id: 3, last_id: 3, after: at(61), before: at(70) };
    let tell = |ladder: &mut Ladder| {
        ladder.take_recorded(&[candle(Built, 0, 1, 100, 0), candle(Built, 60, 2, 100, 0)]);
        ladder.take_bars([(Interval::Minute, &native(60, 9))]);
        for day in 1..3 {
            ladder.take_recorded(&[candle(Built, day * DAY_SECONDS, 1, 100, 0)]);
            ladder.settle(Timestamp::MIN, TWO_DAYS);
        }
    };
    let hear = |ladder: &mut Ladder| {
        ladder.take_gap(Teller::Market, &gap);
        ladder.settle(Timestamp::MIN, TWO_DAYS);
    };
    let (mut one, mut other) = (Ladder::default(), Ladder::default());
    hear(&mut one);
    tell(&mut one);
    tell(&mut other);
    hear(&mut other);

    assert_eq!(one, other);
    assert_eq!(trades(&one, Interval::Hour)[0], (0, 3));
}

#[test]
fn a_minute_that_changes_alone_changes_its_day() {
    let mut ladder = Ladder::default();
    trade(&mut ladder, &[0, 60, 120]);
    let built = all(&ladder, Interval::Minute, at(0), at(180));
    let bars: Vec<Candle> =
        built.iter().map(|built| Candle { source: Native, ..built.clone() }).collect();
    for place in [0, 2] {
        ladder.hear_gap(&MarketEvent::FeedGapOpened {
            first_id: 60 + place,
            last_id: 60 + place,
            after: bars[usize::try_from(place).unwrap()].opened_at.plus(1),
            before: bars[usize::try_from(place).unwrap()].opened_at.plus(2),
        });
    }
    ladder.import(bars.iter().map(|bar| (Interval::Minute, bar)));
    let day = ladder.last(Interval::Day).cloned();
    ladder.take_changed();

    let (after, before) = (at(61), at(62));
    ladder.hear_gap(&MarketEvent::FeedGapOpened { first_id: 99, last_id: 99, after, before });
    let changed = ladder.roll(Timestamp::MIN);

    assert_eq!(changed, [(Interval::Minute, at(60))]);
    assert_eq!(ladder.last(Interval::Day).cloned(), day);
    assert_eq!(ladder.take_changed(), (true, [at(0)].into()));
}

#[test]
fn one_bad_time_costs_one_day() {
    let mut ladder = Ladder::default();
    trade(&mut ladder, &[10, 99_999 * DAY_SECONDS]);
    record_due(&mut ladder, 100_000 * DAY_SECONDS);
    trade(&mut ladder, &[20, DAY_SECONDS]);
    record_due(&mut ladder, 2 * DAY_SECONDS);

    assert_eq!(minutes(&ladder), [DAY_SECONDS, 99_999 * DAY_SECONDS]);
    assert_eq!(trades(&ladder, Interval::Day)[0], (0, 2));
}

/// What happens to an instrument, some time after what happened before.
#[derive(Debug, Clone)]
enum Step {
    /// Trades, some of them so many seconds late.
    Trades { pause: i64, late: i64, price: i64 },
    /// Trades do not come for so long; then they may.
    Gap { pause: i64, ends: bool, filled: bool },
    /// The venue tells its own bars of the last minutes, or of longer intervals.
    Bars { interval: Interval, count: i64, trades: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let pause = || prop_oneof![4 => 20i64..900, 1 => 20_000i64..100_000];
    let late = prop_oneof![3 => Just(0), 1 => 1i64..300, 1 => 1i64..40_000];
    let finest = prop::sample::select(vec![Interval::Minute, Interval::FiveMinutes]);
    prop_oneof![
        6 => (pause(), late, 100i64..200)
            .prop_map(|(pause, late, price)| Step::Trades { pause, late, price }),
        1 => (pause(), any::<bool>(), any::<bool>())
            .prop_map(|(pause, ends, filled)| Step::Gap { pause, ends, filled }),
        2 => (finest, 1i64..30, 0u64..9)
            .prop_map(|(interval, count, trades)| Step::Bars { interval, count, trades }),
        1 => (prop::sample::select(Interval::ALL.to_vec()), 1i64..4, 0u64..9)
            .prop_map(|(interval, count, trades)| Step::Bars { interval, count, trades }),
    ]
}

/// One ladder that forgets and one that does not, told the same, and what was archived meanwhile.
#[derive(Default)]
struct World {
    now: i64,
    id: u64,
    forgets: Ladder,
    remembers: Ladder,
    archive: Vec<(bool, Vec<Candle>)>,
}

impl World {
    fn of(steps: &[Step]) -> Self {
        let mut world = Self { now: 50_000, ..Self::default() };
        for step in steps {
            world.take(step);
        }
        world.record();
        world
    }

    fn each(&mut self, clock: i64, tell: impl Fn(&mut Ladder)) {
        tell(&mut self.forgets);
        self.forgets.settle(at(clock), TWO_DAYS);
        tell(&mut self.remembers);
        self.remembers.settle(at(clock), Limits { ledger_days: 999, market_days: 999 });
    }

    fn take(&mut self, step: &Step) {
        // The jobs are done before the ledger can tell of another day.
        self.record();
        let before = self.now;
        match *step {
            Step::Trades { pause, late, price } => {
                self.now += pause;
                self.id += 2;
                let late = buy(self.id, self.now - late, price);
                let is_passed = self.forgets.passes_over(Interval::Minute.bucket(late.traded_at));
                let news = buy(self.id + 1, self.now, price + 1);
                self.each(before, |ladder| {
                    ladder.take(&news);
                    if !is_passed {
                        ladder.take(&late);
                    }
                });
            }
            Step::Gap { pause, ends, filled } => {
                self.now += pause;
                self.id += 1;
                let (first_id, last_id, reason) = (self.id, self.id, GapReason::NotToBeHad);
                let (after, before) = (at(before), at(self.now));
                let mut events =
                    vec![MarketEvent::FeedGapOpened { first_id, last_id, after, before }];
                if ends && filled {
                    events.push(MarketEvent::FeedGapFilled { first_id, last_id });
                } else if ends {
                    events.push(MarketEvent::FeedGapUnfillable { first_id, last_id, reason });
                }
                self.each(0, |ladder| {
                    for event in &events {
                        ladder.take_gap(Teller::Market, event);
                        ladder.take_gap(Teller::Ledger, event);
                    }
                });
            }
            Step::Bars { interval, count, trades } => {
                let length = interval.length() / SECOND;
                let first = self.now - self.now.rem_euclid(length) - (count - 1) * length;
                let bars: Vec<Candle> = (0..count)
                    .map(|place| candle(Native, first + place * length, trades, 300 + place, 0))
                    .collect();
                // A bar of a minute of a forgotten day would be news to it alone.
                let since = self.forgets.since().unwrap_or(Timestamp::MIN);
                let bars: Vec<Candle> =
                    bars.into_iter().filter(|bar| bar.opened_at >= since).collect();
                self.each(0, |ladder| ladder.take_bars(bars.iter().map(|bar| (interval, bar))));
                if interval == Interval::Minute {
                    self.archive(false, &bars);
                }
            }
        }
    }

    fn record(&mut self) {
        loop {
            let due = self.forgets.unrecorded(at(self.now), 9);
            assert_eq!(due, self.remembers.unrecorded(at(self.now), 9));
            if due.is_empty() {
                return;
            }
            for (_, minutes) in due {
                self.each(0, |ladder| ladder.take_recorded(&minutes));
                self.archive(true, &minutes);
            }
        }
    }

    fn archive(&mut self, is_closed: bool, minutes: &[Candle]) {
        for minutes in minutes.chunk_by(|one, other| {
            Interval::Hour.bucket(one.opened_at) == Interval::Hour.bucket(other.opened_at)
        }) {
            self.archive.push((is_closed, minutes.to_vec()));
        }
    }

    fn archived(&self) -> impl Iterator<Item = Archived<'_>> {
        self.archive.iter().map(|(is_closed, minutes)| {
            if *is_closed { Archived::Closed(minutes) } else { Archived::Imported(minutes) }
        })
    }
}

fn all(ladder: &Ladder, interval: Interval, from: Timestamp, until: Timestamp) -> Vec<Candle> {
    ladder.range(interval, from, until).cloned().collect()
}

proptest! {
    /// While the jobs keep up: hours, four hours and days are the same as if nothing were ever
    /// forgotten, with all that they tell.
    #[test]
    fn coarser_candles_are_as_if_nothing_were_forgotten(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let world = World::of(&steps);
        for interval in [Interval::Hour, Interval::FourHours, Interval::Day] {
            let all = |ladder| all(ladder, interval, Timestamp::MIN, Timestamp::MAX);
            prop_assert_eq!(all(&world.forgets), all(&world.remembers));
        }
    }

    /// So are the minutes and the five minutes, with what was archived.
    #[test]
    fn minutes_from_the_archive_are_as_if_nothing_were_forgotten(
        steps in prop::collection::vec(step(), 1..80),
        from in 0i64..600_000,
        length in 1i64..300_000,
    ) {
        let world = World::of(&steps);
        let (from, until) = (at(from), at(from + length));
        let older = world.forgets.of_archive(from, until, world.archived());
        let from = Interval::Hour.bucket(from);
        let until = Interval::Hour.bucket(until.plus(60 * MINUTE - 1));

        for interval in Interval::ALL {
            let seen = all(&older, interval, from, until);
            prop_assert_eq!(&seen, &all(&world.remembers, interval, from, until), "{}", interval);
        }
        for interval in [Interval::Hour, Interval::FourHours, Interval::Day] {
            prop_assert_eq!(
                older.before(interval, Interval::Day.bucket(from)),
                world.remembers.before(interval, Interval::Day.bucket(from))
            );
        }
    }

    /// The minutes of an hour can be rolled up in any order.
    #[test]
    fn an_hour_does_not_depend_on_the_order_of_its_minutes(
        parts in prop::collection::btree_map(0i64..60, (0u64..3, 100i64..400, any::<bool>()), 1..20),
        seed in any::<u64>(),
    ) {
        let parts: Vec<Candle> = parts
            .into_iter()
            .map(|(minute, (trades, high, is_native))| match (trades, is_native) {
                (0, false) => Candle::filled(at(60 * minute), buy(1, 0, high).price),
                (_, false) => Candle::of(&buy(trades, 60 * minute + 7, high), Interval::Minute),
                (_, true) => candle(Native, 60 * minute, trades, high, 3),
            })
            .collect();
        let mut shuffled = parts.clone();
        shuffled.sort_by_key(|part| part.opened_at.micros().unsigned_abs().wrapping_mul(seed | 1));
        let mut hour = crate::ladder::past::PastHour::default();
        for part in &shuffled {
            hour.add(Interval::Minute, part);
            hour.add(Interval::Minute, part);
        }

        prop_assert_eq!(hour.whole.map(|it| it.candle), Candle::rollup(Interval::Hour, &parts));
    }
}
