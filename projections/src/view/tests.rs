//! A view in parts: those that changed are all that changed, and no more of them than did.

use std::collections::BTreeMap;
use std::fmt::Debug;

use domain::account::position::Mode;
use domain::book::{BookDiff, BookSnapshot, Level, LostReason, Session};
use domain::candle::event::CandleEvent;
use domain::candle::{Candle, Interval, Source};
use domain::event::Event;
use domain::ladder::DAYS_MAX;
use domain::market::event::{GapReason, MarketEvent, Told};
use domain::tick::{Side, Tick};
use domain::time::{DAY, MINUTE, SECOND, Timestamp};
use eventlog::stream::Stream;
use proptest::prelude::*;

use super::*;
use crate::access::Access;
use crate::books::Books;
use crate::candles::Candles;
use crate::holdings::Holdings;
use crate::prices::Prices;
use crate::sample::accounts::{Asking, asked};
use crate::sample::keys::{Giving, asked_of_keys};
use crate::sample::{at, copy_of, entry_of};

/// What a snapshot has of a view: it takes what changed, as often as it is told to.
struct Snapshot<V> {
    parts: BTreeMap<String, Vec<u8>>,
    view: V,
}

impl<V: View + PartialEq + Debug> Snapshot<V> {
    fn new() -> Self {
        Self { parts: BTreeMap::new(), view: V::default() }
    }

    /// Takes the parts that changed; returns their names.
    fn take(&mut self) -> BTreeSet<String> {
        let names = self.view.take_changed();
        for name in &names {
            match self.view.part(name) {
                Some(part) => self.parts.insert(name.clone(), part),
                None => self.parts.remove(name),
            };
        }
        names
    }

    fn check(&mut self) {
        self.take();
        let names: BTreeSet<String> = self.parts.keys().cloned().collect();
        assert_eq!(names, self.view.parts());
        let mut copy = V::default();
        for (name, part) in &self.parts {
            copy.restore(name, part).unwrap();
        }
        assert_eq!(copy, self.view);
        assert_eq!(copy_of(&copy), self.view);
        assert_eq!(copy.state_hash(), self.view.state_hash());
        let hashes = self.parts.iter().map(|(name, part)| (name.clone(), Hash::of(part)));
        assert_eq!(hash_of_parts(hashes), self.view.state_hash());
        assert_eq!(self.take(), BTreeSet::new());
    }
}

/// What comes next of one of two instruments.
#[derive(Debug, Clone)]
enum Step {
    /// A trade after a pause, with some that are late.
    Trades {
        pause: i64,
        late: Vec<i64>,
        price: i64,
    },
    Gap {
        opens: bool,
        id: u64,
        filled: bool,
    },
    Book {
        kind: u8,
        id: u64,
        price: i64,
    },
    Pulse {
        pause: i64,
    },
    /// The jobs have their turn.
    Turn,
    Bars {
        interval: Interval,
        back: i64,
        count: i64,
    },
}

fn step() -> impl Strategy<Value = (bool, Step)> {
    let pause = || prop_oneof![1 => 1i64..4_000, 3 => 40_000i64..120_000];
    let late = prop::collection::vec(prop_oneof![1i64..300, 1i64..4_000_000], 0..3);
    let step = prop_oneof![
        6 => (pause(), late, 100i64..900)
            .prop_map(|(pause, late, price)| Step::Trades { pause, late, price }),
        1 => (any::<bool>(), 0u64..4, any::<bool>())
            .prop_map(|(opens, id, filled)| Step::Gap { opens, id, filled }),
        2 => (0u8..3, 1u64..6, 100i64..900)
            .prop_map(|(kind, id, price)| Step::Book { kind, id, price }),
        1 => pause().prop_map(|pause| Step::Pulse { pause }),
        4 => Just(Step::Turn),
        2 => (prop::sample::select(Interval::ALL.to_vec()), 0i64..4_000_000, 1i64..5)
            .prop_map(|(interval, back, count)| Step::Bars { interval, back, count }),
    ];
    (prop::bool::weighted(0.8), step)
}

/// A history that is told step by step, and the entries of each.
struct Teller {
    now: Timestamp,
    id: u64,
    entries: u64,
}

impl Teller {
    const fn new(now: Timestamp) -> Self {
        Self { now, id: 0, entries: 0 }
    }

    fn entry(&mut self, stream: &str, events: Vec<Event>) -> Entry {
        self.entries += 1;
        entry_of(stream.parse().unwrap(), self.entries, events)
    }

    fn tick(&mut self, traded_at: Timestamp, price: i64) -> Event {
        self.id += 1;
        Event::Market(MarketEvent::TickObserved(Tick {
            trade_id: self.id,
            price: domain::amount::Price::of_units(price, 2).unwrap(),
            quantity: domain::amount::Quantity::of_units(price, 3).unwrap(),
            taker: if price % 2 == 0 { Side::Buy } else { Side::Sell },
            traded_at,
            received_at: traded_at.plus(SECOND),
        }))
    }

    fn tell(&mut self, instrument: &str, step: &Step, candles: &Candles) -> Vec<Entry> {
        let market = format!("market-binance.{instrument}");
        match step {
            Step::Trades { pause, late, price } => {
                self.now = self.now.plus(pause * SECOND);
                let mut events = vec![self.tick(self.now, *price)];
                for late in late {
                    events.push(self.tick(self.now.plus(-late * SECOND), *price + 1));
                }
                vec![self.entry(&market, events)]
            }
            Step::Gap { opens, id, filled } => {
                let (first_id, last_id) = (*id, *id);
                let event = if *opens {
                    let (after, before) = (self.now.plus(-DAY), self.now);
                    MarketEvent::FeedGapOpened { first_id, last_id, after, before }
                } else if *filled {
                    MarketEvent::FeedGapFilled { first_id, last_id }
                } else {
                    let reason = GapReason::NotToBeHad;
                    MarketEvent::FeedGapUnfillable { first_id, last_id, reason }
                };
                vec![self.entry(&market, vec![Event::Market(event)])]
            }
            Step::Book { kind, id, price } => {
                let event = self.book(*kind, *id, *price);
                vec![self.entry(&market, vec![Event::Market(event)])]
            }
            Step::Pulse { pause } => {
                self.now = self.now.plus(pause * SECOND);
                let (venue_time, received_at) = (self.now, self.now);
                let event = MarketEvent::PulseObserved { venue_time, received_at };
                vec![self.entry("pulse-binance", vec![Event::Market(event)])]
            }
            Step::Turn => self.turn(candles),
            Step::Bars { interval, back, count } => {
                let first = interval.bucket(self.now.plus(-back * SECOND));
                let price = domain::amount::Price::of_units(5_000 + count, 2).unwrap();
                let bar = |place| {
                    let opened_at = first.plus(place * interval.length());
                    let bar = Candle { source: Source::Native, ..Candle::filled(opened_at, price) };
                    Event::Candle(CandleEvent::CandleImported { interval: *interval, candle: bar })
                };
                let events = (0..*count).map(bar).collect();
                vec![self.entry(&format!("candles-binance.{instrument}"), events)]
            }
        }
    }

    fn book(&self, kind: u8, id: u64, price: i64) -> MarketEvent {
        let told = Told { session: Session(1), venue_time: self.now, received_at: self.now };
        let level = |price| Level {
            price: domain::amount::Price::of_units(price, 2).unwrap(),
            quantity: rust_decimal::Decimal::ONE,
        };
        let (bids, asks) = (vec![level(price)], vec![level(price + 2)]);
        match kind {
            0 => MarketEvent::BookSnapshotObserved {
                told,
                snapshot: BookSnapshot { update_id: id, bids, asks },
            },
            1 => MarketEvent::BookDiffObserved {
                told,
                diff: BookDiff { first_id: id, last_id: id + 1, previous_id: None, bids, asks },
            },
            _ => MarketEvent::BookLost { told, reason: LostReason::Disconnected },
        }
    }

    fn turn(&mut self, candles: &Candles) -> Vec<Entry> {
        let mut entries = Vec::new();
        for due in candles.unrecorded(99) {
            let closed = |candle| {
                Event::Candle(CandleEvent::CandleClosed { interval: Interval::Minute, candle })
            };
            let stream = Stream::Candles { venue: due.venue, instrument: due.instrument };
            let events = due.candles.into_iter().map(closed).collect();
            entries.push(self.entry(&stream.to_string(), events));
        }
        for due in candles.unrecorded_gaps(99) {
            let stream = Stream::Gaps { venue: due.venue, instrument: due.instrument };
            let events = due.events.into_iter().map(Event::Market).collect();
            entries.push(self.entry(&stream.to_string(), events));
        }
        entries
    }
}

/// Tells all steps to the three views, and calls `each` after each entry.
fn tell(steps: &[(bool, Step)], mut each: impl FnMut(&Entry)) -> Candles {
    let mut teller = Teller::new(at("00:00"));
    let mut candles = Candles::default();
    for (first, step) in steps {
        let instrument = if *first { "BTC-USDT" } else { "ETH-USDT" };
        for entry in teller.tell(instrument, step, &candles) {
            candles.fold(&entry);
            each(&entry);
        }
    }
    candles
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is told, with late trades, gaps, recordings, bars, and days that are forgotten:
    /// after each entry, the parts that changed make the view, whole.
    #[test]
    fn the_parts_that_changed_make_the_view_whole(
        steps in prop::collection::vec(step(), 1..160),
        pauses in prop::collection::vec(1usize..20, 1..9),
    ) {
        let (mut prices, mut candles, mut books) =
            (Snapshot::<Prices>::new(), Snapshot::<Candles>::new(), Snapshot::<Books>::new());
        let mut pauses = pauses.iter().cycle();
        let mut left = 1;
        tell(&steps, |entry| {
            prices.view.fold(entry);
            candles.view.fold(entry);
            books.view.fold(entry);
            left -= 1;
            if left == 0 {
                left = *pauses.next().unwrap();
                prices.check();
                candles.check();
                books.check();
            }
        });
        prices.check();
        candles.check();
        books.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The same of two accounts, whatever they are asked for.
    #[test]
    fn the_accounts_that_changed_make_the_view_whole(
        steps in prop::collection::vec((any::<bool>(), asked()), 1..80),
        pauses in prop::collection::vec(1usize..9, 1..9),
    ) {
        let mut holdings = Snapshot::<Holdings>::new();
        let mut asking = [Asking::new(0, at("00:00")), Asking::new(1_000, at("00:00"))];
        let mut teller = Teller::new(at("00:00"));
        for (place, mode) in [Mode::Hedging, Mode::Netting].into_iter().enumerate() {
            let opened = asking[place].open(mode);
            holdings.view.fold(&teller.entry(&format!("account-a{place}"), opened));
        }
        let mut pauses = pauses.iter().cycle();
        let mut left = 1;
        for (first, asked) in &steps {
            let place = usize::from(*first);
            let events = asking[place].ask(asked);
            holdings.view.fold(&teller.entry(&format!("account-a{place}"), events));
            left -= 1;
            if left == 0 {
                left = *pauses.next().unwrap();
                holdings.check();
            }
        }
        holdings.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The same of keys and tokens, whatever is asked about them; and what is known of them is what
    /// the rule of keys made of them.
    #[test]
    fn the_keys_that_changed_make_the_view_whole(
        steps in prop::collection::vec(asked_of_keys(), 1..120),
        pauses in prop::collection::vec(1usize..9, 1..9),
    ) {
        let mut access = Snapshot::<Access>::new();
        let mut giving = Giving::new(at("00:00"));
        let mut teller = Teller::new(at("00:00"));
        let mut pauses = pauses.iter().cycle();
        let mut left = 1;
        for asked in &steps {
            let Some((stream, events)) = giving.ask(asked) else { continue };
            access.view.fold(&teller.entry(&stream.to_string(), events));
            left -= 1;
            if left == 0 {
                left = *pauses.next().unwrap();
                access.check();
            }
        }
        access.check();
        let known: Vec<_> = access.view.keys().map(|(id, key, _)| (id, key)).collect();
        prop_assert_eq!(known, giving.keys().iter().collect::<Vec<_>>());
        for (_, token) in giving.keys().tokens().iter() {
            prop_assert!(access.view.is_revoked(token));
        }
    }
}

/// Returns a view that was told of two trades on each of more days than are kept, all recorded.
fn long() -> (Teller, Candles) {
    let mut teller = Teller::new(at("00:00"));
    let mut candles = Candles::default();
    for _ in 0..DAYS_MAX + 4 {
        let step = Step::Trades { pause: 86_400, late: vec![60], price: 100 };
        for step in [step, Step::Turn] {
            for entry in teller.tell("BTC-USDT", &step, &candles) {
                candles.fold(&entry);
            }
        }
    }
    (teller, candles)
}

fn changed(candles: &mut Candles, entry: &Entry) -> Vec<String> {
    candles.take_changed();
    candles.fold(entry);
    candles.take_changed().into_iter().collect()
}

#[test]
fn a_trade_changes_its_own_day_and_its_venues_head() {
    let (mut teller, mut candles) = long();
    let (today, yesterday) = ("binance/BTC-USDT/2024-04-26", "binance/BTC-USDT/2024-04-25");
    assert!(candles.parts().contains(today) && candles.parts().len() > DAYS_MAX);

    let news = teller.tick(teller.now.plus(MINUTE), 100);
    let late = teller.tick(teller.now.plus(-12 * 60 * MINUTE), 100);
    let (news, late) = (
        teller.entry("market-binance.BTC-USDT", vec![news]),
        teller.entry("market-binance.BTC-USDT", vec![late]),
    );

    assert_eq!(changed(&mut candles, &news), ["binance", today]);
    assert_eq!(changed(&mut candles, &late), [yesterday]);
}

#[test]
fn a_day_that_is_forgotten_is_a_change_of_that_day() {
    let (mut teller, mut candles) = long();
    let next = Step::Trades { pause: 86_400, late: vec![], price: 100 };
    let entries = teller.tell("BTC-USDT", &next, &candles);
    // A day that is new to the instrument shows in its head.
    let (head, today) = ("binance/BTC-USDT", "binance/BTC-USDT/2024-04-27");
    assert_eq!(changed(&mut candles, &entries[0]), ["binance", head, today]);

    teller.now = teller.now.plus(DAY);
    let pulse = teller.tell("BTC-USDT", &Step::Pulse { pause: 1 }, &candles);
    assert_eq!(changed(&mut candles, &pulse[0]), ["binance"]);
    // Three hours are recorded; of the first one's day the ledger told already.
    let recorded: Vec<Vec<String>> = teller
        .tell("BTC-USDT", &Step::Turn, &candles)
        .iter()
        .map(|entry| changed(&mut candles, entry))
        .collect();
    let day = |day: &str| format!("binance/BTC-USDT/{day}");
    assert_eq!(recorded[0], ["binance".to_owned(), day("2024-04-25")]);
    for (recorded, days) in
        recorded[1..].iter().zip([["2024-03-25", "2024-04-26"], ["2024-03-26", "2024-04-27"]])
    {
        let [forgotten, told] = days.map(day);
        assert_eq!(*recorded, ["binance".to_owned(), head.to_owned(), forgotten, told]);
    }
    assert_eq!(recorded.len(), 3);
}

/// A snapshot writes today again and again, so its size is what a snapshot costs.
#[test]
fn a_busy_day_is_small_and_reads_whole() {
    let mut teller = Teller::new(at("00:00"));
    let (mut candles, mut prices) = (Candles::default(), Prices::default());
    for minute in 0..1_440 {
        let now = at("00:00").plus(minute * MINUTE);
        let mut ticks = Vec::new();
        for trade in 0..5 {
            ticks.push(teller.tick(now.plus(trade * SECOND), 6_543_210 + 7 * minute + trade));
        }
        let entry = teller.entry("market-binance.BTC-USDT", ticks);
        candles.fold(&entry);
        prices.fold(&entry);
    }
    let (day, price) = ("binance/BTC-USDT/2024-03-21", "binance/BTC-USDT");

    // A row of a candle takes some 200 bytes.
    assert!(candles.part(day).unwrap().len() < 400_000);
    assert!(prices.part(price).unwrap().len() < 150_000);
    assert_eq!(copy_of(&candles), candles);
    assert_eq!(copy_of(&prices), prices);
}

#[test]
fn what_does_not_read_is_no_part() {
    let (_, candles) = long();
    let part = candles.part("binance").unwrap();
    for (name, state) in [
        ("binance", b"{".as_slice()),
        ("binance", b"{\"other\":1}"),
        ("binance/BTC-USDT/2024-04-26", &part),
        ("binance/BTC-USDT/yesterday", &part),
        ("", &part),
    ] {
        let error = Candles::default().restore(name, state).unwrap_err();
        assert_eq!(error.name, name);
    }
}
