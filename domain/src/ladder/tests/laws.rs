//! It does not matter which log is read first, and what stands is a function of what was told.

use std::collections::BTreeSet;

use super::sources::{at, candle};
use super::*;
use crate::candle::Source::{Built, Native};
use crate::ladder::gaps::Teller;
use crate::market::event::GapReason;

/// One entry of the market log or of the ledger.
#[derive(Debug, Clone)]
enum Told {
    Ticks(Vec<Tick>),
    Gaps(Vec<MarketEvent>),
    Recorded(Vec<Candle>),
    Imported(Vec<(Interval, Candle)>),
}

/// Half an hour on each of a few days: minutes meet, and days are forgotten.
fn second() -> impl Strategy<Value = i64> {
    (0i64..4, 0i64..2, 0i64..8, 0i64..60)
        .prop_map(|(day, hour, minute, second)| day * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn gap() -> impl Strategy<Value = MarketEvent> {
    let opened = (0u64..4, second(), -30i64..200).prop_map(|(first_id, after, more)| {
        MarketEvent::FeedGapOpened {
            first_id,
            last_id: first_id,
            after: at(after),
            before: at(after + more),
        }
    });
    let filled =
        (0u64..4).prop_map(|first_id| MarketEvent::FeedGapFilled { first_id, last_id: first_id });
    let unfillable = (0u64..4).prop_map(|first_id| MarketEvent::FeedGapUnfillable {
        first_id,
        last_id: first_id,
        reason: GapReason::NotToBeHad,
    });
    prop_oneof![3 => opened, 1 => filled, 1 => unfillable]
}

fn market() -> impl Strategy<Value = Vec<Told>> {
    let ticks = prop::collection::vec((0u64..999, second(), 100i64..200), 1..6).prop_map(|ticks| {
        Told::Ticks(ticks.into_iter().map(|(id, at, price)| buy(id, at, price)).collect())
    });
    let gaps = prop::collection::vec(gap(), 1..3).prop_map(Told::Gaps);
    prop::collection::vec(prop_oneof![4 => ticks, 2 => gaps], 0..25)
}

fn ledger() -> impl Strategy<Value = Vec<Told>> {
    let minute = second().prop_map(|second| second - second.rem_euclid(60));
    let minutes = (minute, 1u64..4, 300i64..400, 0u32..3)
        .prop_map(|(second, trades, high, revision)| candle(Built, second, trades, high, revision));
    let bar = (prop::sample::select(&Interval::ALL[..]), second(), 1u64..6, 600i64..700).prop_map(
        |(interval, second, trades, high)| {
            let second = interval.bucket(at(second)).micros() / SECOND;
            (interval, candle(Native, second, trades, high, 0))
        },
    );
    let entry = prop_oneof![
        3 => prop::collection::vec(minutes, 1..8).prop_map(Told::Recorded),
        3 => prop::collection::vec(bar, 1..8).prop_map(Told::Imported),
        1 => prop::collection::vec(gap(), 1..3).prop_map(Told::Gaps),
    ];
    prop::collection::vec(entry, 0..12)
}

/// Nothing is forgotten of what these tests tell.
const ALL: Limits = Limits { ledger_days: 9, market_days: 9 };

fn limits() -> impl Strategy<Value = Limits> {
    let few = (1usize..4, 1usize..5);
    let few = few.prop_map(|(ledger_days, market_days)| Limits { ledger_days, market_days });
    prop_oneof![1 => Just(ALL), 3 => few]
}

/// Folds entries; `from_market` says which log the next one comes from, as long as it has any.
fn interleaved(market: &[Told], ledger: &[Told], from_market: &[bool], limits: Limits) -> Ladder {
    let mut ladder = Ladder::default();
    fold_interleaved(&mut ladder, market, ledger, from_market, limits, |_| ());
    ladder
}

fn fold_interleaved(
    ladder: &mut Ladder,
    market: &[Told],
    ledger: &[Told],
    from_market: &[bool],
    limits: Limits,
    mut after_each: impl FnMut(&mut Ladder),
) {
    let mut clock = Timestamp::MIN;
    let (mut market, mut ledger) = (market.iter(), ledger.iter());
    for of_market in from_market.iter().chain(&[true; 25]).chain(&[false; 12]) {
        let Some(entry) = (if *of_market { market.next() } else { ledger.next() }) else {
            continue;
        };
        let before = clock;
        let teller = if *of_market { Teller::Market } else { Teller::Ledger };
        match entry {
            Told::Ticks(ticks) => {
                for tick in ticks {
                    ladder.take(tick);
                    clock = clock.max(tick.traded_at);
                }
            }
            Told::Gaps(events) => events.iter().for_each(|event| ladder.take_gap(teller, event)),
            Told::Recorded(minutes) => ladder.take_recorded(minutes),
            Told::Imported(bars) => {
                ladder.take_bars(bars.iter().map(|(interval, bar)| (*interval, bar)));
            }
        }
        ladder.settle(if *of_market { before } else { Timestamp::MIN }, limits);
        after_each(ladder);
    }
}

/// The gaps of one log, worked out anew.
fn told_gaps(log: &[Told]) -> BTreeMap<u64, (Option<(Timestamp, Timestamp)>, u8)> {
    let mut gaps = BTreeMap::new();
    let events = log.iter().filter_map(|told| match told {
        Told::Gaps(events) => Some(events),
        _ => None,
    });
    for event in events.flatten() {
        match *event {
            MarketEvent::FeedGapOpened { first_id, after, before, .. } => {
                gaps.insert(first_id, (Some((after, before)), 0));
            }
            MarketEvent::FeedGapUnfillable { first_id, .. } => {
                gaps.entry(first_id).or_insert((None, 1)).1 = 1;
            }
            MarketEvent::FeedGapFilled { first_id, .. } => {
                gaps.entry(first_id).or_insert((None, 2)).1 = 2;
            }
            _ => {}
        }
    }
    gaps
}

/// The spans that no log says are filled.
fn torn(market: &[Told], ledger: &[Told]) -> Vec<(Timestamp, Timestamp)> {
    let (market, ledger) = (told_gaps(market), told_gaps(ledger));
    let both = (0u64..4).filter_map(|id| match (market.get(&id), ledger.get(&id)) {
        (Some(market), Some(ledger)) if ledger.1 > market.1 => {
            Some((ledger.0.or(market.0), ledger.1))
        }
        (Some(market), Some(ledger)) => Some((market.0.or(ledger.0), market.1)),
        (market, ledger) => market.or(ledger).copied(),
    });
    both.filter(|(_, stage)| *stage < 2).filter_map(|(span, _)| span).collect()
}

/// The minute that stands, worked out anew from all that was told, but for its revision.
fn expected(market: &[Told], ledger: &[Told], bucket: Timestamp) -> Option<Candle> {
    let (mut built, mut recorded, mut native) = (None::<Candle>, None::<Candle>, None);
    let (mut began, gaps) = (Timestamp::MAX, torn(market, ledger));
    for entry in market.iter().chain(ledger) {
        match entry {
            Told::Ticks(ticks) => {
                for tick in ticks {
                    let minute = Interval::Minute.bucket(tick.traded_at);
                    began = began.min(minute);
                    match &mut built {
                        _ if minute != bucket => {}
                        Some(candle) => candle.take(tick),
                        None => built = Some(Candle::of(tick, Interval::Minute)),
                    }
                }
            }
            Told::Gaps(_) => {}
            Told::Recorded(minutes) => {
                let mut last = BTreeMap::new();
                for minute in minutes {
                    began = began.min(minute.opened_at);
                    last.insert(minute.opened_at, minute.clone());
                }
                if let Some(minute) = last.remove(&bucket)
                    && recorded.as_ref().is_none_or(|before| before.trades <= minute.trades)
                {
                    recorded = Some(minute);
                }
            }
            Told::Imported(bars) => {
                for (interval, bar) in bars {
                    if *interval == Interval::Minute && bar.opened_at == bucket {
                        native = Some(bar.clone());
                    }
                }
            }
        }
    }
    let trades = |candle: &Option<Candle>| candle.as_ref().map_or(0, |candle| candle.trades);
    let base = if trades(&recorded) > trades(&built) { recorded } else { built };
    let end = Interval::Minute.end(bucket);
    let partial =
        bucket == began || gaps.iter().any(|(after, before)| *after < end && *before > bucket);
    if base.is_none() || partial { native.or(base) } else { base }
}

/// Each bucket of each interval that anything was told of.
fn buckets(market: &[Told], ledger: &[Told], interval: Interval) -> BTreeSet<Timestamp> {
    let told = market.iter().chain(ledger).flat_map(|entry| match entry {
        Told::Ticks(ticks) => ticks.iter().map(|tick| tick.traded_at).collect(),
        Told::Recorded(minutes) => minutes.iter().map(|minute| minute.opened_at).collect(),
        Told::Imported(bars) => {
            bars.iter().filter(|(of, _)| *of <= interval).map(|(_, bar)| bar.opened_at).collect()
        }
        Told::Gaps(_) => Vec::new(),
    });
    told.map(|instant| interval.bucket(instant)).collect()
}

/// A ladder as it is written down.
#[derive(Debug, Default, PartialEq)]
struct Written {
    head: String,
    days: BTreeMap<Timestamp, String>,
}

impl Written {
    fn of(ladder: &Ladder) -> Self {
        let day = |day| (day, serde_json::to_string(&ladder.day(day).unwrap()).unwrap());
        Self {
            head: serde_json::to_string(&ladder.head()).unwrap(),
            days: ladder.days().into_iter().map(day).collect(),
        }
    }

    /// Takes what has changed.
    fn take(&mut self, ladder: &mut Ladder) {
        let (head, days) = ladder.take_changed();
        if head {
            self.head = serde_json::to_string(&ladder.head()).unwrap();
        }
        for day in days {
            match ladder.day(day) {
                Some(part) => self.days.insert(day, serde_json::to_string(&part).unwrap()),
                None => self.days.remove(&day),
            };
        }
    }

    fn read(&self) -> Ladder {
        let mut ladder = Ladder::default();
        ladder.restore_head(serde_json::from_str(&self.head).unwrap());
        for day in self.days.values() {
            ladder.restore_day(serde_json::from_str(day).unwrap());
        }
        ladder
    }
}

fn unrevised(candle: &Candle) -> Candle {
    Candle { revision: 0, ..candle.clone() }
}

proptest! {
    /// However the two logs are interleaved, the ladder is the same to the byte, also when days
    /// are forgotten on the way.
    #[test]
    fn it_does_not_matter_which_log_is_read_first(
        market in market(),
        ledger in ledger(),
        orders in prop::collection::vec(prop::collection::vec(any::<bool>(), 0..60), 3),
        limits in limits(),
    ) {
        let one = interleaved(&market, &ledger, &[], limits);
        let bytes = Written::of(&one);

        for order in orders.iter().chain([&vec![false; 12]]) {
            let other = interleaved(&market, &ledger, order, limits);
            prop_assert_eq!(&other, &one);
            prop_assert_eq!(&Written::of(&other), &bytes);
        }
    }

    /// What is written down after each entry, only those parts that have changed, is the ladder,
    /// whole.
    #[test]
    fn the_parts_that_changed_are_all_that_changed(
        market in market(),
        ledger in ledger(),
        order in prop::collection::vec(any::<bool>(), 0..60),
        limits in limits(),
    ) {
        let mut written = Written::default();
        let mut ladder = Ladder::default();
        fold_interleaved(&mut ladder, &market, &ledger, &order, limits, |ladder| {
            written.take(ladder);
            assert_eq!(&written.read(), ladder);
            assert_eq!(written, Written::of(ladder));
            assert_eq!(ladder.take_changed(), (false, BTreeSet::new()));
        });
    }

    /// What stands is what the rule says, worked out anew; each coarser candle is the rollup of the
    /// finer, or a bar.
    #[test]
    fn what_stands_is_a_function_of_what_was_told(
        market in market(),
        ledger in ledger(),
        order in prop::collection::vec(any::<bool>(), 0..60),
    ) {
        let ladder = interleaved(&market, &ledger, &order, ALL);

        let all = |interval| -> Vec<Candle> {
            ladder.range(interval, Timestamp::MIN, Timestamp::MAX).map(unrevised).collect()
        };

        let minutes: Vec<Candle> = buckets(&market, &ledger, Interval::Minute)
            .into_iter()
            .filter_map(|bucket| expected(&market, &ledger, bucket))
            .map(|candle| unrevised(&candle))
            .collect();
        prop_assert_eq!(all(Interval::Minute), minutes);

        for pair in Interval::ALL.windows(2) {
            let wholes: Vec<Candle> = buckets(&market, &ledger, pair[1])
                .into_iter()
                .filter_map(|bucket| {
                    let finer = ladder.range(pair[0], bucket, pair[1].end(bucket));
                    let bar = || ladder.bars.get(&pair[1])?.get(&bucket).cloned();
                    Candle::rollup(pair[1], finer).or_else(bar)
                })
                .collect();
            prop_assert_eq!(all(pair[1]), wholes);
        }
    }

    /// Whatever was told: once each hour that is due is recorded, nothing is due any more.
    #[test]
    fn what_was_recorded_is_not_asked_for_again(market in market(), ledger in ledger()) {
        let mut ladder = interleaved(&market, &ledger, &[], ALL);
        let due = ladder.unrecorded(Timestamp::MAX, usize::MAX);
        let days = |ladder: &Ladder| -> Vec<Candle> {
            ladder.range(Interval::Day, Timestamp::MIN, Timestamp::MAX).cloned().collect()
        };
        let before = days(&ladder);
        for (_, minutes) in &due {
            ladder.record(minutes);
        }

        prop_assert_eq!(ladder.unrecorded(Timestamp::MAX, usize::MAX), []);
        prop_assert_eq!(days(&ladder), before);
    }
}
