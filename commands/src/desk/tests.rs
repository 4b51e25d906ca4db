//! The desk against a log in memory, also over a line that loses answers, and beside other desks.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, Ordering};

use domain::account::limits::Limits;
use domain::account::position::Mode;
use domain::time::Timestamp;
use eventlog::log::ReadLog;
use eventlog::memory::Memory;
use eventlog::stream::Log;
use futures_util::future;
use rust_decimal::Decimal;

use super::*;
use crate::desk::appending::UNKNOWN_PATIENCE;
use crate::desk::folded::Folded;
use crate::desk::keys::{KEYS_REMEMBERED_MAX, Keys};
use crate::desk::seats::{IN_PROGRESS_PATIENCE, TURN_PATIENCE};

mod drawer;

pub(crate) mod line;

pub(crate) mod lost;

mod many;

mod restarts;

use drawer::Drawer;
use line::{Fault, Line};

type Outcome = Result<Done, DeskError<Infallible>>;

/// No two moments are the same.
pub(crate) struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

pub(crate) fn clock() -> Arc<Ticking> {
    let noon: Timestamp = "2024-03-21T12:00:00Z".parse().unwrap();
    Arc::new(Ticking(AtomicI64::new(noon.micros())))
}

fn alice() -> AccountId {
    "alice".parse().unwrap()
}

fn bob() -> AccountId {
    "bob".parse().unwrap()
}

fn memory() -> Arc<Memory> {
    Arc::new(Memory::new(Log::Ledger))
}

/// A node's desk on a log.
fn desk(log: Arc<dyn EventLog>) -> Arc<Desk> {
    Arc::new(Desk::new(log, Arc::new(Drawer::default()), clock()))
}

fn opening() -> AccountCommand {
    AccountCommand::OpenAccount {
        currency: "USDT".parse().unwrap(),
        mode: Mode::Hedging,
        limits: Limits {
            positions_max: 10,
            notional_max: "1000000".parse().unwrap(),
            quantity_max: BTreeMap::new(),
        },
    }
}

fn deposit(amount: u32) -> AccountCommand {
    AccountCommand::Deposit { amount: amount.to_string().parse().unwrap() }
}

fn withdrawal(amount: u32) -> AccountCommand {
    AccountCommand::Withdraw { amount: amount.to_string().parse().unwrap() }
}

fn order_of(account: &AccountId, key: &str, command: &AccountCommand) -> Order {
    Order {
        account: account.clone(),
        append_id: append_id(account, key),
        command: format!("{command:?}"),
        actor: Actor {
            principal: "alice".to_owned(),
            role: "trader".to_owned(),
            via: "rest".to_owned(),
        },
        correlation_id: Some("req-1".to_owned()),
        causation: None,
    }
}

fn order(key: &str, command: &AccountCommand) -> Order {
    order_of(&alice(), key, command)
}

/// Submits a command under a key.
async fn ask(desk: &Desk, key: &str, command: AccountCommand) -> Outcome {
    ask_of(desk, &alice(), key, command).await
}

async fn ask_of(desk: &Desk, account: &AccountId, key: &str, command: AccountCommand) -> Outcome {
    desk.submit(order_of(account, key, &command), |_| Ok(command.clone())).await
}

/// Returns a log in which Alice has an account with so much in it.
async fn funded(amount: u32) -> Arc<Memory> {
    let log = memory();
    let desk = desk(log.clone());
    ask(&desk, "open", opening()).await.unwrap();
    ask(&desk, "fund", deposit(amount)).await.unwrap();
    log
}

/// What another node writes without asking this one.
fn draft(key: &str, command: &AccountCommand, events: Vec<AccountEvent>) -> Draft {
    desk(memory()).draft(&order(key, command), events)
}

fn deposited(key: &str, amount: u32) -> Draft {
    let event = AccountEvent::Deposited { amount: amount.to_string().parse().unwrap() };
    draft(key, &deposit(amount), vec![event])
}

async fn entries(log: &Memory, stream: &Stream) -> Vec<Entry> {
    log.read_stream(stream, Version(0), usize::MAX).await.unwrap()
}

async fn account_entries(log: &Memory) -> Vec<Entry> {
    entries(log, &Stream::Account(alice())).await
}

async fn refusals(log: &Memory) -> Vec<Entry> {
    entries(log, &Stream::Refusals(alice())).await
}

/// Returns the account as its whole stream makes it.
async fn replayed(log: &Memory) -> Account {
    let mut account = Account::default();
    for entry in account_entries(log).await {
        for event in &entry.events {
            let Event::Account(event) = event else { unreachable!() };
            account.evolve(event);
        }
    }
    account
}

/// Returns the account as a desk sees it.
async fn seen(desk: &Desk) -> Account {
    let weighed = desk.weigh(&alice(), |_| Ok::<_, Infallible>(deposit(1))).await;
    weighed.unwrap().account
}

#[tokio::test]
async fn an_order_becomes_an_entry_of_its_account() {
    let log = memory();
    let desk = desk(log.clone());
    assert_eq!(desk.last_written(&alice()), None);

    let opened = ask(&desk, "open", opening()).await.unwrap();
    let paid_in = ask(&desk, "fund", deposit(500)).await.unwrap();

    let entries = account_entries(&log).await;
    assert_eq!(entries.len(), 2);
    for (done, entry) in [opened, paid_in].into_iter().zip(&entries) {
        assert_eq!((done.at, done.replayed), (entry.offset, false));
        // It was not read back, and is the same to the last bit.
        assert_eq!(done.entry.as_deref(), Some(entry));
    }
    assert_eq!(entries[1].correlation_id.as_deref(), Some("req-1"));
    assert_eq!(desk.last_written(&alice()), Some(entries[1].offset));
    assert_eq!(seen(&desk).await.free(), Decimal::from(500));
}

#[tokio::test]
async fn an_account_that_is_held_is_neither_read_nor_asked_for() {
    let line = Line::new(&funded(500).await, 0);
    let desk = desk(line.clone());
    ask(&desk, "first", deposit(1)).await.unwrap();
    line.asked();

    ask(&desk, "second", deposit(1)).await.unwrap();

    assert_eq!(line.asked(), (1, 0));
}

#[tokio::test]
async fn a_key_that_is_sent_again_gets_its_first_result_again() {
    let log = funded(500).await;
    let desk = desk(log.clone());
    let first = ask(&desk, "k", deposit(7)).await.unwrap();
    ask(&desk, "later", deposit(1)).await.unwrap();

    for desk in [desk, self::desk(log.clone())] {
        let again = ask(&desk, "k", deposit(7)).await.unwrap();
        assert!(again.replayed);
        assert_eq!((again.entry, again.at), (first.entry.clone(), first.at));
        assert!(desk.last_written(&alice()) >= Some(first.at));
    }
    assert_eq!(account_entries(&log).await.len(), 4);
}

#[tokio::test]
async fn a_key_done_before_is_known_also_when_there_is_no_price_now_or_a_rule_says_no() {
    let log = funded(500).await;
    let desk = desk(log.clone());
    ask(&desk, "k", withdrawal(500)).await.unwrap();
    let command = order("k", &withdrawal(500));

    for desk in [desk, self::desk(log.clone())] {
        // It could not be carried out once more: nothing is left.
        assert!(ask(&desk, "k", withdrawal(500)).await.unwrap().replayed);
        assert!(desk.submit(command.clone(), |_| Err("no price")).await.unwrap().replayed);
    }
    assert_eq!(refusals(&log).await, []);
}

#[tokio::test]
async fn a_key_that_was_used_for_another_command_is_refused() {
    let log = funded(500).await;
    let desk = desk(log.clone());
    ask(&desk, "k", deposit(7)).await.unwrap();

    for desk in [desk, self::desk(log.clone())] {
        let other = ask(&desk, "k", deposit(8)).await;
        assert!(matches!(other, Err(DeskError::KeyReused)), "{other:?}");
    }
    // A node that has read the account before the key was used learns of it from the log.
    let behind = self::desk(log.clone());
    seen(&behind).await;
    log.append(deposited("elsewhere", 9), Expected::Any).await.unwrap();
    let other = ask(&behind, "elsewhere", deposit(8)).await;
    assert!(matches!(other, Err(DeskError::KeyReused)), "{other:?}");
    assert_eq!(account_entries(&log).await.len(), 4);
}

#[test]
fn accounts_and_operators_with_the_same_key_never_meet() {
    let name = |text: &str| text.parse::<AccountId>().unwrap();
    let ids = [
        append_id(&alice(), "k"),
        append_id(&bob(), "k"),
        append_id(&alice(), "k2"),
        append_id(&name("a"), "b/c"),
        operator_append_id("olga", &alice(), "k"),
        operator_append_id("oleg", &alice(), "k"),
        operator_append_id("olga", &bob(), "k"),
        operator_append_id("ol", &alice(), "ga/k"),
        operator_append_id("olga/k", &alice(), ""),
    ];
    for (place, id) in ids.iter().enumerate() {
        assert!(!ids[..place].contains(id), "{place}");
    }
    // Wherever and whenever it is made: these are in the log for ever.
    assert_eq!(append_id(&alice(), "k").to_string(), "e4ebb2b8-a524-505b-80be-9b41f2ddbefa");
    assert_eq!(position_id(Uuid::from_u128(33)).to_string(), "pos_00000000000000000000000011");
}

#[tokio::test]
async fn what_is_so_already_puts_nothing_in() {
    let log = funded(500).await;
    let desk = desk(log.clone());
    let head = log.head().await.unwrap();

    let again = ask(&desk, "open again", opening()).await.unwrap();

    assert_eq!((again.entry, again.at, again.replayed), (None, head, false));
    assert_eq!(log.head().await.unwrap(), head);
}

#[tokio::test]
async fn each_refused_attempt_is_recorded_with_its_figures_and_uses_no_key_up() {
    let log = funded(500).await;
    let desk = desk(log.clone());
    for _ in 0..2 {
        let refused = ask(&desk, "k", withdrawal(501)).await;
        let Err(DeskError::Refused(refusal)) = refused else { panic!("{refused:?}") };
        let (amount, free) = (Decimal::from(501), Decimal::from(500));
        assert_eq!(refusal, Refusal::WithdrawalTooLarge { amount, free });
    }

    let recorded = refusals(&log).await;
    assert_eq!(recorded.len(), 2);
    for entry in recorded {
        let Event::Refusal(RefusalEvent::CommandRefused { command, code, reason, arithmetic }) =
            &entry.events[0]
        else {
            panic!("{entry:?}")
        };
        assert_eq!(*command, format!("{:?}", withdrawal(501)));
        assert_eq!((code.as_str(), reason.contains("501")), ("PORT_001", true));
        assert_eq!(arithmetic.get("free").map(String::as_str), Some("500"));
        assert_eq!(entry.actor.principal, "alice");
        assert_eq!(entry.correlation_id.as_deref(), Some("req-1"));
    }
    assert_eq!(account_entries(&log).await.len(), 2);

    ask(&desk, "more", deposit(1)).await.unwrap();
    let done = ask(&desk, "k", withdrawal(501)).await.unwrap();
    assert!(!done.replayed);
}

#[tokio::test]
async fn what_cannot_be_quoted_is_no_refusal_and_leaves_nothing_behind() {
    let log = funded(500).await;
    let desk = desk(log.clone());
    let head = log.head().await.unwrap();

    let unquoted = desk.submit(order("k", &deposit(1)), |_| Err("no price")).await;

    assert!(matches!(unquoted, Err(DeskError::Unquoted("no price"))), "{unquoted:?}");
    assert_eq!(log.head().await.unwrap(), head);
}

#[tokio::test]
async fn weighing_judges_the_account_as_it_is_and_records_nothing() {
    let log = funded(500).await;
    let desk = desk(log.clone());
    assert_eq!(seen(&desk).await.free(), Decimal::from(500));
    log.append(deposited("elsewhere", 1), Expected::Any).await.unwrap();
    let head = log.head().await.unwrap();

    let weighed = desk.weigh(&alice(), |_| Ok::<_, Infallible>(withdrawal(501))).await.unwrap();
    let refused = desk.weigh(&alice(), |_| Ok::<_, Infallible>(withdrawal(502))).await;
    let unquoted = desk.weigh(&alice(), |_| Err("no price")).await;

    assert_eq!(weighed.events.len(), 1);
    assert_eq!(weighed.account.free(), Decimal::from(501));
    assert!(matches!(refused, Err(DeskError::Refused(_))), "{refused:?}");
    assert!(matches!(unquoted, Err(DeskError::Unquoted("no price"))), "{unquoted:?}");
    assert_eq!(log.head().await.unwrap(), head);
}

#[tokio::test]
async fn nothing_is_refused_from_a_state_that_another_node_has_left_behind() {
    let log = funded(500).await;
    let here = desk(log.clone());
    ask(&here, "here", deposit(1)).await.unwrap();
    log.append(deposited("elsewhere", 100), Expected::Any).await.unwrap();

    let done = ask(&here, "all of it", withdrawal(601)).await.unwrap();

    assert!(done.entry.is_some());
    assert_eq!(refusals(&log).await, []);
}

#[tokio::test]
async fn an_order_is_decided_anew_when_another_node_was_first() {
    let log = funded(500).await;
    let line = Line::new(&log, 1);
    let here = desk(line.clone());
    seen(&here).await;
    let withdrawn = AccountEvent::Withdrawn { amount: "400".parse().unwrap() };
    line.let_in_before([draft("elsewhere", &withdrawal(400), vec![withdrawn])]);

    let refused = ask(&here, "k", withdrawal(200)).await;

    let (amount, free) = (Decimal::from(200), Decimal::from(100));
    let Err(DeskError::Refused(refusal)) = refused else { panic!("{refused:?}") };
    assert_eq!(refusal, Refusal::WithdrawalTooLarge { amount, free });
}

#[tokio::test]
async fn an_order_that_is_never_first_is_turned_away() {
    let log = funded(500).await;
    let line = Line::new(&log, 0);
    let here = desk(line.clone());
    let rivals = |from: usize, count: usize| {
        (from..from + count).map(|rival| deposited(&format!("rival {rival}"), 1))
    };

    line.let_in_before(rivals(0, DECISIONS_MAX - 1));
    ask(&here, "just so", deposit(1)).await.unwrap();

    line.let_in_before(rivals(100, DECISIONS_MAX));
    let busy = ask(&here, "never", deposit(1)).await;
    assert!(matches!(busy, Err(DeskError::Busy)), "{busy:?}");
    assert!(!ask(&here, "never", deposit(1)).await.unwrap().replayed);
    assert_eq!(seen(&here).await, replayed(&log).await);
}

#[tokio::test]
async fn a_stream_with_a_hole_is_damage_and_not_an_account() {
    let log = funded(500).await;
    let mut folded = Folded::default();
    let entries = account_entries(&log).await;

    let hole = folded.take(&entries[1]);
    folded.take(&entries[0]).unwrap();
    let other =
        folded.take(&Entry { prev_hash: eventlog::entry::Hash([7; 32]), ..entries[1].clone() });

    assert!(matches!(hole, Err(LogError::Damaged { .. })), "{hole:?}");
    assert!(matches!(other, Err(LogError::Damaged { .. })), "{other:?}");
    assert_eq!(folded.reach.version, Version(1));
}
