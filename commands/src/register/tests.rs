//! The register against a log in memory, also over a line that loses answers, and beside others.

use std::collections::BTreeSet;

use domain::access::Role;
use domain::keys::key::{Grant, KeyId, SecretHash};
use domain::time::{DAY, Timestamp};
use eventlog::log::{Expected, ReadLog};
use eventlog::memory::Memory;
use eventlog::stream::Log;
use futures_util::future;
use proptest::prelude::*;

use super::*;
use crate::desk::appending::UNKNOWN_PATIENCE;
use crate::desk::keys::KEYS_REMEMBERED_MAX;
use crate::desk::tests::clock;
use crate::desk::tests::line::{Fault, Line};
use crate::desk::tests::lost::dropped_after;

type Outcome = Result<Registered, RegisterError>;

fn memory() -> Arc<Memory> {
    Arc::new(Memory::new(Log::Ledger))
}

/// A node's register on a log.
fn register(log: Arc<dyn EventLog>) -> Arc<Register> {
    Arc::new(Register::new(log, clock()))
}

fn key_id(number: usize) -> KeyId {
    format!("key{number:05}").parse().unwrap()
}

fn noon() -> Timestamp {
    "2024-03-21T12:00:00Z".parse().unwrap()
}

/// Makes a key of this number with this secret.
fn create(number: usize, secret: u8) -> KeyCommand {
    let grant = Grant {
        account: "alice".parse().unwrap(),
        role: Role::Trader,
        scopes: Role::Trader.scopes(),
        networks: BTreeSet::new(),
        expires_at: None,
        label: None,
    };
    let secret = SecretHash([secret; 32]);
    KeyCommand::CreateApiKey { key: key_id(number), grant, secret, now: noon() }
}

fn rotate(number: usize, secret: u8) -> KeyCommand {
    let secret = SecretHash([secret; 32]);
    KeyCommand::RotateApiKey { key: key_id(number), secret, former_until: noon() }
}

fn revoke(number: usize) -> KeyCommand {
    KeyCommand::RevokeApiKey { key: key_id(number) }
}

fn order(key: &str, asked: &str, command: KeyCommand) -> KeyOrder {
    let [principal, role, via] = ["ann", "admin", "rest"].map(str::to_owned);
    KeyOrder {
        append_id: append_id("ann", key),
        asked: asked.to_owned(),
        command,
        actor: Actor { principal, role, via },
        correlation_id: Some("req-1".to_owned()),
    }
}

/// Submits a command under a key; what is asked is what kind of command it is.
async fn ask(register: &Register, key: &str, command: KeyCommand) -> Outcome {
    let asked = match &command {
        KeyCommand::CreateApiKey { .. } => "create".to_owned(),
        KeyCommand::RotateApiKey { key, .. } => format!("rotate {key}"),
        KeyCommand::RevokeApiKey { key } => format!("revoke {key}"),
        KeyCommand::RevokeToken { token, .. } => format!("revoke token {token}"),
    };
    register.submit(order(key, &asked, command)).await
}

async fn entries(log: &Memory) -> Vec<Entry> {
    log.read_stream(&Stream::Keys, Version(0), usize::MAX).await.unwrap()
}

/// Returns the keys as their whole stream makes them.
async fn replayed(log: &Memory) -> Keys {
    let mut keys = Keys::default();
    for entry in entries(log).await {
        for event in &entry.events {
            let Event::Key(event) = event else { unreachable!() };
            keys.evolve(event);
        }
    }
    keys
}

/// Returns a log in which there is the key 1, with the secret 1.
async fn with_a_key() -> Arc<Memory> {
    let log = memory();
    ask(&register(log.clone()), "first", create(1, 1)).await.unwrap();
    log
}

/// What another node writes without asking this one.
fn draft(key: &str, command: KeyCommand, event: KeyEvent) -> Draft {
    register(memory()).draft(&order(key, "elsewhere", command), vec![event])
}

fn revoked(number: usize) -> Draft {
    let event = KeyEvent::ApiKeyRevoked { key: key_id(number) };
    draft(&format!("revoked {number}"), revoke(number), event)
}

fn created(number: usize) -> Draft {
    let command = create(number, 1);
    let KeyCommand::CreateApiKey { key, grant, secret, .. } = command.clone() else {
        unreachable!()
    };
    draft(&format!("created {number}"), command, KeyEvent::ApiKeyCreated { key, grant, secret })
}

/// Returns the secret that an answer's entry gives to a key.
fn secret(registered: &Registered) -> u8 {
    match &registered.entry.as_ref().unwrap().events[0] {
        Event::Key(
            KeyEvent::ApiKeyCreated { secret, .. } | KeyEvent::ApiKeyRotated { secret, .. },
        ) => secret.0[0],
        event => panic!("{event:?}"),
    }
}

fn is_unknown(outcome: &Outcome) -> bool {
    matches!(outcome, Err(RegisterError::Log(LogError::OutcomeUnknown)))
}

#[tokio::test]
async fn what_is_asked_about_keys_becomes_entries_of_one_stream() {
    let log = memory();
    let register = register(log.clone());

    let made = ask(&register, "make", create(1, 1)).await.unwrap();
    let rotated = ask(&register, "rotate", rotate(1, 2)).await.unwrap();
    let revoked = ask(&register, "revoke", revoke(1)).await.unwrap();

    let entries = entries(&log).await;
    assert_eq!(entries.len(), 3);
    for (done, entry) in [made, rotated, revoked].into_iter().zip(&entries) {
        assert_eq!((done.at, done.replayed), (entry.offset, false));
        // It was not read back, and is the same to the last bit.
        assert_eq!(done.entry.as_deref(), Some(entry));
        assert_eq!(entry.correlation_id.as_deref(), Some("req-1"));
        assert_eq!(entry.actor.principal, "ann");
    }
    assert_eq!(register.keys().await.unwrap(), replayed(&log).await);
    assert!(register.keys().await.unwrap().get(&key_id(1)).unwrap().revoked);
}

#[tokio::test]
async fn what_is_sent_again_gets_its_first_result_again_with_what_was_drawn_then() {
    let log = with_a_key().await;
    let register = register(log.clone());
    ask(&register, "later", revoke(1)).await.unwrap();

    for register in [register, self::register(log.clone())] {
        // Another id and another secret are drawn each time.
        let again = ask(&register, "first", create(2, 2)).await.unwrap();
        assert!(again.replayed);
        assert_eq!((secret(&again), again.at), (1, Offset(1)));
    }
    assert_eq!(entries(&log).await.len(), 2);
}

#[tokio::test]
async fn an_id_that_was_used_for_something_else_is_refused() {
    let log = with_a_key().await;
    // One that has read the stream before the id was used learns of it from the log.
    let behind = register(log.clone());
    behind.keys().await.unwrap();
    ask(&register(log.clone()), "second", create(2, 2)).await.unwrap();

    for (register, key) in [(behind, "second"), (register(log.clone()), "first")] {
        let other = ask(&register, key, revoke(1)).await;
        assert!(matches!(other, Err(RegisterError::KeyReused)), "{other:?}");
    }
    assert_eq!(entries(&log).await.len(), 2);
}

#[tokio::test]
async fn an_id_that_is_taken_is_told_apart_so_that_another_can_be_drawn() {
    let log = with_a_key().await;
    let register = register(log.clone());

    let taken = ask(&register, "k", create(1, 2)).await;
    assert!(matches!(taken, Err(RegisterError::Refused(KeyRefusal::KeyTaken))), "{taken:?}");
    let drawn_again = ask(&register, "k", create(2, 2)).await.unwrap();

    assert!(!drawn_again.replayed);
    assert_eq!((secret(&drawn_again), entries(&log).await.len()), (2, 2));
}

#[tokio::test]
async fn what_is_so_already_puts_nothing_in() {
    let log = with_a_key().await;
    let register = register(log.clone());
    ask(&register, "revoke", revoke(1)).await.unwrap();
    let head = log.head().await.unwrap();

    let again = ask(&register, "revoke again", revoke(1)).await.unwrap();

    assert_eq!((again.entry, again.at, again.replayed), (None, head, false));
    assert_eq!(log.head().await.unwrap(), head);
}

#[tokio::test]
async fn a_token_that_is_revoked_twice_is_revoked_once() {
    let log = memory();
    let token: TokenId = "t1".parse().unwrap();
    let revoke = KeyCommand::RevokeToken {
        token: token.clone(),
        account: "alice".parse().unwrap(),
        now: noon(),
        until: noon().plus(DAY),
    };
    let id = revocation_id(&token);
    let order = KeyOrder { append_id: id, ..order("", "revoke token t1", revoke) };

    assert!(!register(log.clone()).submit(order.clone()).await.unwrap().replayed);
    assert!(register(log.clone()).submit(order).await.unwrap().replayed);
    assert!(replayed(&log).await.is_revoked(&token));
    assert_eq!(entries(&log).await.len(), 1);
}

#[tokio::test]
async fn nothing_is_refused_from_a_state_that_another_node_has_left_behind() {
    let log = with_a_key().await;
    let here = register(log.clone());
    here.keys().await.unwrap();
    log.append(created(2), Expected::Any).await.unwrap();

    assert!(ask(&here, "k", rotate(2, 7)).await.unwrap().entry.is_some());
    let unknown = ask(&here, "k2", rotate(3, 7)).await;
    assert!(matches!(unknown, Err(RegisterError::Refused(KeyRefusal::KeyUnknown))), "{unknown:?}");
}

#[tokio::test]
async fn an_order_is_decided_anew_when_another_node_was_first() {
    let log = with_a_key().await;
    let line = Line::new(&log, 1);
    let here = register(line.clone());
    here.keys().await.unwrap();
    line.let_in_before([revoked(1)]);

    let refused = ask(&here, "k", rotate(1, 2)).await;

    assert!(matches!(refused, Err(RegisterError::Refused(KeyRefusal::KeyRevoked))), "{refused:?}");
    assert_eq!(here.keys().await.unwrap(), replayed(&log).await);
}

#[tokio::test]
async fn an_order_that_is_never_first_is_turned_away() {
    let log = with_a_key().await;
    let line = Line::new(&log, 0);
    let here = register(line.clone());
    here.keys().await.unwrap();
    line.let_in_before((100..100 + DECISIONS_MAX).map(created));

    let busy = ask(&here, "never", rotate(1, 2)).await;

    assert!(matches!(busy, Err(RegisterError::Busy)), "{busy:?}");
    assert!(!ask(&here, "never", rotate(1, 2)).await.unwrap().replayed);
    assert_eq!(here.keys().await.unwrap(), replayed(&log).await);
}

#[tokio::test(start_paused = true)]
async fn so_many_orders_wait_and_no_more_and_none_for_ever() {
    let line = Line::new(&with_a_key().await, 0);
    let register = register(line.clone());
    register.keys().await.unwrap();
    line.hold_up_at(Stream::Keys);
    let began = tokio::time::Instant::now();
    let keys: Vec<String> = (0..=ORDERS_WAITING_MAX).map(|number| number.to_string()).collect();
    let orders = keys.iter().map(|key| ask(&register, key, revoke(1)));
    let let_go = async {
        tokio::time::sleep(2 * TURN_PATIENCE).await;
        line.permits.add_permits(1);
    };

    let (outcomes, ()) = future::join(future::join_all(orders), let_go).await;

    // The first has its turn, and keeps it until the log answers.
    let (first, others) = outcomes.split_first().unwrap();
    assert!(first.is_ok(), "{first:?}");
    assert!(others.iter().all(|other| matches!(other, Err(RegisterError::Busy))));
    assert_eq!(began.elapsed(), 2 * TURN_PATIENCE);
    assert!(ask(&register, "last", revoke(1)).await.unwrap().entry.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_asked_for_until_it_is_known() {
    for faults in [
        vec![Fault::Unheard],
        vec![Fault::Lost],
        vec![Fault::Lost, Fault::Unheard],
        vec![Fault::Unheard, Fault::Unreachable, Fault::Full, Fault::Lost],
    ] {
        let log = with_a_key().await;
        let line = Line::new(&log, 1);
        let register = register(line.clone());
        line.fail(faults.clone());

        let done = ask(&register, "k", rotate(1, 2)).await.unwrap();

        // This very call has done it: its secret is the key's.
        assert!(!done.replayed, "{faults:?}");
        let entries = entries(&log).await;
        assert_eq!((entries.len(), done.entry.as_deref()), (2, entries.last()), "{faults:?}");
        assert!(ask(&register, "k", rotate(1, 3)).await.unwrap().replayed);
        assert_eq!(register.keys().await.unwrap(), replayed(&log).await);
    }
}

/// Each attempt draws a secret of its own. Whichever of them comes in, nobody is given a secret that
/// belongs to no key.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_given_up_and_came_in_is_not_taken_for_the_next_one() {
    for faults in [vec![], vec![Fault::Lost], vec![Fault::Unheard]] {
        for is_in in [false, true] {
            let log = with_a_key().await;
            let line = Line::new(&log, 1);
            let register = register(line.clone());
            line.fail(is_in.then_some(Fault::Unheard));
            line.fail([Fault::Lost; 100]);
            let began = tokio::time::Instant::now();

            let unknown = ask(&register, "k", rotate(1, 2)).await;

            assert!(is_unknown(&unknown), "{unknown:?}");
            assert!(began.elapsed() <= UNKNOWN_PATIENCE);
            line.heal();
            line.fail(faults.clone());
            let done = ask(&register, "k", rotate(1, 3)).await.unwrap();
            let stands = replayed(&log).await.get(&key_id(1)).unwrap().secret.0[0];
            assert_eq!((secret(&done), stands), if is_in { (2, 2) } else { (3, 3) });
            assert_eq!(done.replayed, is_in, "{faults:?}");
            assert_eq!(entries(&log).await.len(), 2);
            assert_eq!(register.keys().await.unwrap(), replayed(&log).await);
        }
    }
}

/// The network may still have it: only an entry in its place tells that it never came.
#[tokio::test(start_paused = true)]
async fn no_is_not_said_to_an_order_that_may_still_come_in() {
    let log = with_a_key().await;
    let line = Line::new(&log, 1);
    let register = register(line.clone());
    line.fail([Fault::Lost; 100]);
    ask(&register, "k", rotate(1, 2)).await.unwrap_err();
    line.heal();

    // Under the same id, and now it would be refused.
    let impossible = || order("k", "rotate key00001", rotate(9, 2));
    let unknown = register.submit(impossible()).await;
    assert!(is_unknown(&unknown), "{unknown:?}");

    ask(&register, "in its place", create(5, 5)).await.unwrap();
    let refused = register.submit(impossible()).await;
    assert!(matches!(refused, Err(RegisterError::Refused(KeyRefusal::KeyUnknown))), "{refused:?}");
}

#[tokio::test]
async fn what_has_surely_not_happened_is_said_at_once() {
    let line = Line::new(&with_a_key().await, 1);
    let register = register(line.clone());

    line.fail([Fault::Full]);
    let full = ask(&register, "k", rotate(1, 2)).await;
    line.fail([Fault::Unreachable]);
    let unreachable = ask(&register, "k", rotate(1, 2)).await;

    assert!(matches!(full, Err(RegisterError::Log(LogError::Full))), "{full:?}");
    let is_told = matches!(unreachable, Err(RegisterError::Log(LogError::Unavailable(_))));
    assert!(is_told, "{unreachable:?}");
    assert!(!ask(&register, "k", rotate(1, 2)).await.unwrap().replayed);
}

/// A client hangs up at each point where its order waits, and asks again under the same key.
#[tokio::test(start_paused = true)]
async fn a_client_who_hangs_up_anywhere_leaves_nothing_wrong() {
    for faults in [vec![], vec![Fault::Unheard, Fault::Lost]] {
        let mut polls = 0;
        loop {
            let log = with_a_key().await;
            let line = Line::new(&log, 2);
            let register = register(line.clone());
            line.fail(faults.clone());

            let first = dropped_after(polls, ask(&register, "k", rotate(1, 2))).await;
            let second = ask(&register, "k", rotate(1, 3)).await.unwrap();

            let entries = entries(&log).await;
            assert_eq!(entries.len(), 2, "{polls}");
            assert_eq!(second.entry.as_deref(), entries.last(), "{polls}");
            assert_eq!(second.replayed, secret(&second) == 2, "{polls}");
            assert_eq!(register.keys().await.unwrap(), replayed(&log).await, "{polls}");
            if first.is_some() {
                break;
            }
            polls += 1;
        }
        assert!(polls > 5, "an order never waits");
    }
}

#[tokio::test]
async fn an_order_is_known_as_long_as_is_promised_also_after_a_restart() {
    let log = with_a_key().await;
    let here = register(log.clone());
    ask(&here, "second", create(2, 2)).await.unwrap();
    for number in 1..KEYS_REMEMBERED_MAX {
        let key = number.to_string();
        ask(&here, &key, rotate(1, u8::try_from(2 + number % 7).unwrap())).await.unwrap();
    }

    for register in [here, register(log.clone())] {
        register.keys().await.unwrap();
        let turn = register.turn().await.unwrap();
        let known = |key| turn.folded.reach.find(append_id("ann", key));
        assert_eq!((known("first"), known("second")), (None, Some(Version(2))));
        drop(turn);
        let again = ask(&register, "second", create(3, 3)).await.unwrap();
        assert_eq!((again.replayed, secret(&again)), (true, 2));
    }
}

#[tokio::test]
async fn keys_whose_stream_has_lost_its_end_are_not_decided_on() {
    let line = Line::new(&with_a_key().await, 0);
    let register = register(line.clone());
    register.keys().await.unwrap();
    line.lose_the_end();

    let keys = register.keys().await;
    let refused = ask(&register, "k", revoke(7)).await;

    assert!(matches!(keys, Err(LogError::Damaged { .. })), "{keys:?}");
    let is_told = matches!(refused, Err(RegisterError::Log(LogError::Damaged { .. })));
    assert!(is_told, "{refused:?}");
}

#[test]
fn administrators_with_the_same_key_never_meet_nor_do_tokens() {
    let ids = [
        append_id("ann", "k"),
        append_id("bea", "k"),
        append_id("ann", "k2"),
        append_id("an", "n/k"),
        append_id("ann/k", ""),
        revocation_id(&"k".parse().unwrap()),
        revocation_id(&"k2".parse().unwrap()),
    ];
    for (place, id) in ids.iter().enumerate() {
        assert!(!ids[..place].contains(id), "{place}");
    }
    // Wherever and whenever they are made: these are in the log for ever.
    assert_eq!(ids[0].to_string(), "9208106e-64de-53f1-9674-8fbb9ea997b3");
    assert_eq!(ids[5].to_string(), "6d2e5e39-a33f-5fe3-b2a8-84c6605cc6cc");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Several nodes at once, over lines that lose answers: each order is carried out once or not at
    /// all, and what a node says of it is what stands in the log.
    #[test]
    fn nodes_that_race_carry_out_each_order_once(
        orders in prop::collection::vec((0..3_usize, 0..8_usize, 0..5_u8, 0..4_usize), 1..24),
        faults in prop::collection::vec(0..4_u8, 0..12),
        waits in 0..3_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let log = memory();
            let nodes: Vec<_> = (0..3)
                .map(|node| {
                    let line = Line::new(&log, waits + node);
                    line.fail(faults.iter().skip(node).step_by(3).map(|fault| match fault {
                        0 => Fault::Lost,
                        1 => Fault::Unheard,
                        2 => Fault::Unreachable,
                        _ => Fault::None,
                    }));
                    register(line)
                })
                .collect();
            let asked = orders.iter().enumerate().map(|(place, (node, key, kind, number))| {
                let drawn = u8::try_from(place).unwrap();
                // Of one key always the same is asked, whatever is drawn for it.
                let number = (number + key) % 4;
                let command = match (kind + u8::try_from(*key).unwrap()) % 3 {
                    _ if *key < 4 => create(*key, drawn),
                    0 => revoke(number),
                    _ => rotate(number, drawn),
                };
                let (key, asked) = (key.to_string(), format!("what {key} asks"));
                let order = order(&key, &asked, command);
                let node = &nodes[*node];
                async move { (key, node.submit(order).await) }
            });
            let outcomes = future::join_all(asked).await;

            let (entries, truth) = (entries(&log).await, replayed(&log).await);
            let mut own = BTreeSet::new();
            for (key, outcome) in &outcomes {
                let id = append_id("ann", key);
                let standing: Vec<_> =
                    entries.iter().filter(|entry| entry.append_id == id).collect();
                prop_assert!(standing.len() <= 1);
                let Ok(registered) = outcome else { continue };
                if let Some(entry) = &registered.entry {
                    prop_assert_eq!(Some(&&**entry), standing.first());
                    // Only one of them was it. (Of a revocation nothing is drawn: all are the same.)
                    let is_same =
                        matches!(entry.events[0], Event::Key(KeyEvent::ApiKeyRevoked { .. }));
                    prop_assert!(is_same || registered.replayed || own.insert(key.clone()));
                }
            }
            for node in &nodes {
                prop_assert_eq!(node.keys().await.unwrap(), truth.clone());
            }
            Ok(())
        })?;
    }
}
