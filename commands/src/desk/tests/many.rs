//! Many orders at once: of one account, of several, on one node and on several.

use proptest::prelude::*;

use super::lost::dropped_after;
use super::*;
use crate::desk::seats::ORDERS_WAITING_MAX;

#[tokio::test(start_paused = true)]
async fn an_order_waits_for_its_own_twin_and_then_says_so() {
    let log = funded(500).await;
    let line = Line::new(&log, 0);
    let desk = desk(line.clone());
    line.hold_up(&alice());
    let began = tokio::time::Instant::now();

    let first = tokio::spawn({
        let desk = desk.clone();
        async move { ask(&desk, "k", deposit(7)).await }
    });
    tokio::task::yield_now().await;
    let twin = ask(&desk, "k", deposit(7)).await;
    assert!(matches!(twin, Err(DeskError::InProgress)), "{twin:?}");
    assert_eq!(began.elapsed(), IN_PROGRESS_PATIENCE);

    let other = ask(&desk, "other", deposit(7)).await;
    assert!(matches!(other, Err(DeskError::Busy)), "{other:?}");
    assert_eq!(began.elapsed(), IN_PROGRESS_PATIENCE + TURN_PATIENCE);

    line.permits.add_permits(1);
    assert!(!first.await.unwrap().unwrap().replayed);
    assert!(ask(&desk, "k", deposit(7)).await.unwrap().replayed);
}

#[tokio::test(start_paused = true)]
async fn so_many_orders_wait_for_one_account_and_no_more() {
    let log = funded(500).await;
    let line = Line::new(&log, 0);
    let desk = desk(line.clone());
    line.hold_up(&alice());
    let began = tokio::time::Instant::now();
    let keys: Vec<String> = (0..=ORDERS_WAITING_MAX).map(|number| number.to_string()).collect();
    let orders = keys.iter().map(|key| ask(&desk, key, deposit(1)));
    let let_go = async {
        tokio::time::sleep(IN_PROGRESS_PATIENCE / 2).await;
        line.permits.add_permits(ORDERS_WAITING_MAX);
    };

    let (outcomes, ()) = future::join(future::join_all(orders), let_go).await;

    let (last, others) = outcomes.split_last().unwrap();
    assert!(matches!(last, Err(DeskError::Busy)), "{last:?}");
    assert!(others.iter().all(Result::is_ok));
    assert_eq!(began.elapsed(), IN_PROGRESS_PATIENCE / 2);
    assert_eq!(account_entries(&log).await.len(), 2 + ORDERS_WAITING_MAX);
}

#[tokio::test(start_paused = true)]
async fn accounts_do_not_wait_for_each_other() {
    let line = Line::new(&funded(500).await, 0);
    let desk = desk(line.clone());
    line.hold_up(&alice());
    let slow = tokio::spawn({
        let desk = desk.clone();
        async move { ask(&desk, "k", deposit(7)).await }
    });
    tokio::task::yield_now().await;
    let began = tokio::time::Instant::now();

    ask_of(&desk, &bob(), "open", opening()).await.unwrap();
    ask_of(&desk, &bob(), "fund", deposit(1)).await.unwrap();

    assert!(began.elapsed().is_zero() && !slow.is_finished());
    line.permits.add_permits(1);
    slow.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_account_that_was_used_least_recently_goes_and_none_that_is_in_use() {
    let log = memory();
    let line = Line::new(&log, 0);
    let desk = Arc::new(Desk::holding(2, line.clone(), Arc::new(Drawer::default()), clock()));
    let account = |name: &str| name.parse::<AccountId>().unwrap();
    for name in ["a", "b", "a", "c"] {
        ask_of(&desk, &account(name), "open", opening()).await.unwrap();
        assert!(desk.seats.accounts() <= 2);
    }
    // Of what is held no more, nothing before the newest is remembered.
    let written = |name: &str| desk.last_written(&account(name));
    assert_eq!(
        (written("a"), written("b"), written("c")),
        (Some(Offset(1)), Some(Offset(2)), Some(Offset(3)))
    );
    line.asked();
    ask_of(&desk, &account("a"), "fund", deposit(1)).await.unwrap();
    assert_eq!(line.asked(), (1, 0), "it was held");
    ask_of(&desk, &account("b"), "fund", deposit(1)).await.unwrap();
    assert!(line.asked().1 > 0, "it was read again");

    // Both places are in use: whoever comes is turned away, and nobody is held twice.
    line.hold_up(&account("a"));
    let slow = tokio::spawn({
        let (desk, account) = (desk.clone(), account("a"));
        async move { ask_of(&desk, &account, "slow", deposit(1)).await }
    });
    tokio::task::yield_now().await;
    ask_of(&desk, &account("c"), "fund", deposit(1)).await.unwrap();
    ask_of(&desk, &account("b"), "more", deposit(1)).await.unwrap();
    assert_eq!(desk.seats.accounts(), 2);
    line.permits.add_permits(1);
    slow.await.unwrap().unwrap();
}

#[tokio::test]
async fn while_all_accounts_that_are_held_are_in_use_others_are_turned_away() {
    let line = Line::new(&memory(), 0);
    let desk = Arc::new(Desk::holding(1, line.clone(), Arc::new(Drawer::default()), clock()));
    line.hold_up(&alice());
    let slow = tokio::spawn({
        let desk = desk.clone();
        async move { ask(&desk, "open", opening()).await }
    });
    tokio::task::yield_now().await;

    let other = ask_of(&desk, &bob(), "open", opening()).await;
    assert!(matches!(other, Err(DeskError::Busy)), "{other:?}");

    line.permits.add_permits(1);
    slow.await.unwrap().unwrap();
    ask_of(&desk, &bob(), "open", opening()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_nodes_at_one_account_do_each_order_once() {
    let log = funded(500).await;
    let desks: Vec<_> = (0..16).map(|_| desk(log.clone())).collect();
    // Each node is told all sixteen orders, each in another sequence.
    let clients = desks.into_iter().enumerate().map(|(node, desk)| {
        tokio::spawn(async move {
            let mut fresh = 0;
            for place in 0..16 {
                let number = (node + place) % 16;
                let amount = u32::try_from(number).unwrap() + 1;
                let done = loop {
                    match ask(&desk, &format!("k{number}"), deposit(amount)).await {
                        Ok(done) => break done,
                        // As a client would: again, under the same key.
                        Err(DeskError::Busy) => {}
                        Err(error) => panic!("{error}"),
                    }
                };
                let id = append_id(&alice(), &format!("k{number}"));
                assert_eq!(done.entry.unwrap().append_id, id);
                fresh += usize::from(!done.replayed);
            }
            fresh
        })
    });
    let fresh: usize = future::join_all(clients).await.into_iter().map(Result::unwrap).sum();

    assert_eq!(fresh, 16);
    assert_eq!(account_entries(&log).await.len(), 2 + 16);
    assert_eq!(replayed(&log).await.free(), Decimal::from(500 + (1..=16).sum::<u32>()));
}

/// One thing that a client does.
#[derive(Debug, Clone)]
struct Attempt {
    node: usize,
    key: usize,
    /// After so many polls the client hangs up.
    polls: Option<usize>,
}

fn attempt() -> impl Strategy<Value = Attempt> {
    (0..2usize, 0..8usize, prop::option::of(0..40usize)).prop_map(|(node, key, polls)| Attempt {
        node,
        key,
        polls,
    })
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Fault::None),
        1 => Just(Fault::Lost),
        1 => Just(Fault::Unheard),
        1 => Just(Fault::Unreachable),
        1 => Just(Fault::Full),
    ]
}

/// The command of a key. Not all can be afforded at all times.
fn command(key: usize) -> AccountCommand {
    let amount = 10 << key;
    if key.is_multiple_of(2) { deposit(amount) } else { withdrawal(amount) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whoever asks whatever, wherever, however often, at once or one after another, over lines
    /// that lose questions and answers, hanging up half way: each key has at most one effect, each
    /// answer is of that effect, and each node has the account that the stream makes.
    #[test]
    fn each_order_has_one_effect(
        rounds in prop::collection::vec(prop::collection::vec(attempt(), 1..6), 1..8),
        faults in prop::collection::vec(prop::collection::vec(fault(), 0..24), 2),
        waits in 0..3usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let log = funded(100).await;
            let lines = [Line::new(&log, waits), Line::new(&log, waits)];
            let desks = lines.each_ref().map(|line| desk(line.clone()));
            for (line, faults) in lines.iter().zip(faults) {
                line.fail(faults);
            }
            let mut told = BTreeMap::new();
            for round in rounds {
                let each = round.into_iter().map(|Attempt { node, key, polls }| {
                    let desk = &desks[node];
                    let asked = async move {
                        (key, ask(desk, &key_of(key), command(key)).await)
                    };
                    dropped_after(polls.unwrap_or(usize::MAX), asked)
                });
                for (key, outcome) in future::join_all(each).await.into_iter().flatten() {
                    check_outcome(&mut told, key, outcome);
                }
            }
            for line in &lines {
                line.heal();
            }
            // Now all is well, and each client wants to know.
            for (key, node) in (0..8).flat_map(|key| [(key, 0), (key, 1)]) {
                let outcome = ask(&desks[node], &key_of(key), command(key)).await;
                let is_final = matches!(outcome, Ok(_) | Err(DeskError::Refused(_)));
                assert!(is_final, "{outcome:?}");
                check_outcome(&mut told, key, outcome);
            }
            let mut money = 100;
            let entries = account_entries(&log).await;
            let known = |key: &usize| append_id(&alice(), &key_of(*key));
            for entry in &entries[2..] {
                let key = (0..8).find(|key| known(key) == entry.append_id).unwrap();
                assert_eq!(told.remove(&key).as_ref(), Some(entry));
                money += if key % 2 == 0 { 10 << key } else { -(10 << key) };
            }
            assert!(told.is_empty(), "{told:?}");
            assert_eq!(replayed(&log).await.free(), Decimal::from(money));
            for desk in &desks {
                assert_eq!(seen(desk).await, replayed(&log).await);
            }
        });
    }
}

fn key_of(key: usize) -> String {
    format!("k{key}")
}

/// An answer tells of the one effect, and no refusal comes after it.
fn check_outcome(told: &mut BTreeMap<usize, Entry>, key: usize, outcome: Outcome) {
    match outcome {
        Ok(done) => {
            let entry = done.entry.expect("a movement of money is never so already");
            let first = told.entry(key).or_insert_with(|| (*entry).clone());
            assert_eq!(*first, *entry);
        }
        Err(
            DeskError::Refused(_) | DeskError::Busy | DeskError::InProgress | DeskError::Log(_),
        ) => {}
        Err(error @ (DeskError::KeyReused | DeskError::Unquoted(_))) => panic!("{error}"),
    }
}
