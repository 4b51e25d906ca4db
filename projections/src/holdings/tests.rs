//! Ledgers of two accounts: what is held of them is what the rule of accounts made of them.

use std::fmt::Write;

use domain::account::position::Mode;
use domain::exact;
use eventlog::entry::Offset;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::sample::accounts::{Asked, Asking, asked};
use crate::sample::{at, copy_of, entry_of};

/// Two accounts, and the ledger that tells of them.
struct Told {
    alice: Asking,
    bob: Asking,
    entries: Vec<Entry>,
}

impl Told {
    /// A hedging account and a netting one, with ten thousand in each.
    fn new() -> Self {
        let (alice, bob) = (Asking::new(0, at("00:00")), Asking::new(1_000, at("00:00")));
        let mut told = Self { alice, bob, entries: Vec::new() };
        for (first, mode) in [(true, Mode::Hedging), (false, Mode::Netting)] {
            let events = told.asking(first).open(mode);
            told.put(first, events);
        }
        told
    }

    fn asking(&mut self, first: bool) -> &mut Asking {
        if first { &mut self.alice } else { &mut self.bob }
    }

    fn ask(&mut self, first: bool, asked: &Asked) {
        let events = self.asking(first).ask(asked);
        if !events.is_empty() {
            self.put(first, events);
        }
    }

    fn put(&mut self, first: bool, events: Vec<Event>) {
        let stream: Stream = if first { "account-alice" } else { "account-bob" }.parse().unwrap();
        let offset = u64::try_from(self.entries.len() + 1).unwrap();
        let earlier = self.entries.iter().filter(|entry| entry.stream == stream).count();
        let mut entry = entry_of(stream, offset, events);
        entry.version = Version(u64::try_from(earlier + 1).unwrap());
        entry.recorded_at = at("09:00").plus(i64::try_from(offset).unwrap() * 60_000_000);
        self.entries.push(entry);
    }

    fn holdings(&self) -> Holdings {
        let mut holdings = Holdings::default();
        for entry in &self.entries {
            holdings.fold(entry);
        }
        holdings
    }
}

fn alice() -> AccountId {
    "alice".parse().unwrap()
}

fn draw_life(life: &Life) -> String {
    let entries: Vec<String> = life.entries.iter().map(ToString::to_string).collect();
    let Life { entered_quantity, entered_cost, exited_quantity, exited_cost, .. } = life;
    format!(
        "since {} in v{}; in {entered_quantity} for {entered_cost}, out {exited_quantity} for \
         {exited_cost}, shortfall {}",
        &life.opened_at.to_shortest()[11..16],
        entries.join(","),
        life.shortfall,
    )
}

fn draw(held: &Held) -> String {
    let mut drawn = format!("v{}: free {}\n", held.version, held.account.free());
    for (id, life) in &held.open {
        let (position, _) = held.position(id).unwrap();
        writeln!(drawn, "open {:?} {} {}", position.side, position.quantity, draw_life(life))
            .unwrap();
    }
    for closed in &held.closed {
        writeln!(
            drawn,
            "{} {:?} {} realized {} fees {} funding {}\n  {}",
            if closed.liquidated { "liquidated" } else { "closed" },
            closed.side,
            &closed.closed_at.to_shortest()[11..16],
            closed.realized,
            closed.fees,
            closed.funding,
            draw_life(&closed.life),
        )
        .unwrap();
    }
    if let Some(day) = &held.day {
        writeln!(drawn, "day {} {}", &day.day.to_shortest()[..10], day.equity).unwrap();
    }
    drawn
}

/// What the hedging account holds after these.
fn check(asked: &[Asked], expected: &Expect) {
    let mut told = Told::new();
    for asked in asked {
        told.ask(true, asked);
    }
    expected.assert_eq(&draw(told.holdings().get(&alice()).unwrap()));
}

const OPEN: Asked = Asked::Open { long: true, leverage: 10, price: 100, quantity: 30 };

#[test]
fn a_position_is_known_from_its_opening_to_its_end() {
    check(
        &[OPEN, Asked::Reduce(0, 110), Asked::Fund(0), Asked::Stops(0), Asked::Close(0, 90)],
        &expect![[r#"
            v6: free 9989.836
            closed Long 09:07 realized -10.0 fees 0.236 funding -0.02
              since 09:03 in v2,3,4,5,6; in 3.0 for 300.0, out 3.0 for 290.0, shortfall 0.092
        "#]],
    );
}

#[test]
fn what_the_house_lost_stands_with_the_position() {
    check(
        &[OPEN, Asked::Liquidate(0, 20)],
        &expect![[r#"
        v3: free 9969.88
        liquidated Long 09:04 realized -83.13270 fees 0.20674692 funding 0
          since 09:03 in v2,3; in 3.0 for 300.0, out 3.0 for 216.86730, shortfall 53.21944692
    "#]],
    );
}

#[test]
fn the_last_day_stands_with_what_is_open() {
    check(
        &[OPEN, Asked::CloseDay, Asked::CloseDay],
        &expect![[r#"
        v4: free 9969.88
        open Long 3.0 since 09:03 in v2; in 3.0 for 300.0, out 0 for 0, shortfall 0
        day 2024-03-23 9999.88
    "#]],
    );
}

#[test]
fn an_account_that_was_never_opened_is_not_there() {
    let holdings = Told::new().holdings();
    assert!(holdings.get(&"carol".parse().unwrap()).is_none());
    assert_eq!(holdings.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["alice", "bob"]);
}

#[test]
fn the_positions_that_were_closed_last_are_held() {
    let mut told = Told::new();
    for _ in 0..CLOSED_HELD_MAX + 5 {
        for asked in [OPEN, Asked::Close(0, 100)] {
            told.ask(true, &asked);
        }
        told.ask(true, &Asked::Deposit(10));
    }
    let holdings = told.holdings();
    let closed = &holdings.get(&alice()).unwrap().closed;
    assert_eq!(closed.len(), CLOSED_HELD_MAX);
    assert_eq!(closed[0].id, PositionId::new(6));
    assert_eq!(closed.back().unwrap().id, PositionId::new(CLOSED_HELD_MAX as u128 + 5));
}

#[test]
fn of_many_entries_the_newest_are_named() {
    let mut told = Told::new();
    told.ask(true, &OPEN);
    for _ in 0..ENTRIES_NAMED_MAX {
        told.ask(true, &Asked::Fund(0));
    }
    let holdings = told.holdings();
    let (_, life) = holdings.get(&alice()).unwrap().open.iter().next().unwrap();
    assert_eq!(life.entries.len(), ENTRIES_NAMED_MAX);
    assert_eq!(life.entries[0], Version(3));
}

#[test]
fn an_entry_changes_its_own_account() {
    let mut told = Told::new();
    let mut holdings = told.holdings();
    holdings.take_changed();
    told.ask(true, &OPEN);
    holdings.fold(told.entries.last().unwrap());
    assert_eq!(holdings.take_changed(), BTreeSet::from(["alice".to_owned()]));
}

#[test]
fn what_does_not_read_is_no_part() {
    let holdings = Told::new().holdings();
    let part = holdings.part("alice").unwrap();
    for (name, state) in [("alice", b"{".as_slice()), ("alice", b"{\"other\":1}"), ("", &part)] {
        assert_eq!(Holdings::default().restore(name, state).unwrap_err().name, name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever was asked: the accounts are those that the rule made, each open position has its
    /// life, and of each position, open or closed, what was paid is tied up in cost or was realized.
    #[test]
    fn what_is_held_is_what_the_rule_made_of_it(
        steps in prop::collection::vec((any::<bool>(), asked()), 1..120),
    ) {
        let mut told = Told::new();
        for (first, asked) in &steps {
            told.ask(*first, asked);
        }
        let holdings = told.holdings();
        for (name, asking) in [("alice", &told.alice), ("bob", &told.bob)] {
            let held = holdings.get(&name.parse().unwrap()).unwrap();
            prop_assert_eq!(&held.account, &asking.account);
            let open: Vec<&PositionId> = held.account.positions().keys().collect();
            prop_assert_eq!(held.open.keys().collect::<Vec<_>>(), open);
            for id in held.open.keys() {
                let (position, life) = held.position(id).unwrap();
                let left = exact::sub(life.entered_quantity, life.exited_quantity);
                prop_assert_eq!(left, Some(position.quantity.value()));
                prop_assert_eq!(gained(position.side, life), exact::sub(position.realized, position.cost * position.side.sign()));
            }
            let money = held.account.money();
            let mut realized = Decimal::ZERO;
            for closed in &held.closed {
                prop_assert_eq!(closed.life.entered_quantity, closed.life.exited_quantity);
                prop_assert_eq!(gained(closed.side, &closed.life), Some(closed.realized));
                realized += closed.realized;
            }
            let still: Decimal = held.account.positions().values().map(|at| at.realized).sum();
            if held.closed.len() < CLOSED_HELD_MAX {
                prop_assert_eq!(realized + still, money.realized);
            }
        }
        prop_assert_eq!(&copy_of(&holdings), &holdings);
        prop_assert_eq!(copy_of(&holdings).state_hash(), holdings.state_hash());
        prop_assert!(told.entries.iter().all(|entry| entry.offset > Offset(0)));
    }
}

/// Returns what was received minus what was paid over a position's life.
fn gained(side: PositionSide, life: &Life) -> Option<Decimal> {
    match side {
        PositionSide::Long => exact::sub(life.exited_cost, life.entered_cost),
        PositionSide::Short => exact::sub(life.entered_cost, life.exited_cost),
    }
}
