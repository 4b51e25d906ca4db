//! What a guardian knows of the one before it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use eventlog::entry::Hash;
use eventlog::keep::Kept;
use tokio::sync::oneshot;

use super::house::Line;
use super::*;
use crate::guardian::kept::{KEEP_ENTRIES, KEEP_EVERY, NAME};

/// Runs a guardian until it waits, does something else meanwhile, and stops it.
async fn run_while(parts: GuardianParts, meanwhile: impl Future<Output = ()>) {
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(Guardian::new(parts).run(async { drop(stopped.await) }));
    // Time stands still for as long as anybody has something to do.
    tokio::time::sleep(Duration::from_millis(1)).await;
    meanwhile.await;
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}

async fn run(parts: GuardianParts) {
    run_while(parts, async {}).await;
}

/// A house in which Alice is long, a book was told, and a guardian has run and stopped.
async fn after_a_run() -> House {
    let house = House::with(&["alice"]).await;
    house.tell(vec![snapshot(7, 1, "90.1x5", "100.5x2"), trade(1, "100", 1)]).await;
    house.open("alice", 1, (Long, 10), "100", 1).await;
    house.tell(vec![diff(8, 2, "80x1", "")]).await;
    run(house.parts()).await;
    house
}

/// The trade that comes while nobody guards, and what it fires.
async fn comes_down(house: &House) -> &'static str {
    house.tell(vec![trade(2, "90", 3)]).await;
    house.tell(vec![diff(9, 4, "90.1x0", ""), trade(3, "80", 4)]).await;
    "alice 1 liquidation: trade 2 at 90 in entry 3, filled by the book at 90.1"
}

fn kept(house: &House) -> Option<Kept> {
    house.keep.0.lock().unwrap().get(NAME).cloned()
}

#[tokio::test(start_paused = true)]
async fn what_came_while_nobody_guarded_fires_when_somebody_does() {
    let house = after_a_run().await;
    let fired = comes_down(&house).await;

    run(house.parts()).await;

    assert_eq!(house.fired().await, [fired]);
}

#[tokio::test(start_paused = true)]
async fn a_guardian_goes_on_where_the_one_before_it_has_stopped() {
    let house = after_a_run().await;
    let fired = comes_down(&house).await;
    let (ledger, market) = (Line::to(house.ledger.clone()), Line::to(house.market.clone()));

    run(GuardianParts { ledger: ledger.clone(), market: market.clone(), ..house.parts() }).await;

    assert_eq!(house.fired().await, [fired]);
    // The last of the run before, by which its place is known again, and what came since.
    let read = |line: &Line| line.entries_read.load(Ordering::Relaxed);
    assert_eq!((read(&ledger), read(&market)), (1 + 1, 1 + 2));
}

#[tokio::test(start_paused = true)]
async fn whatever_is_wrong_with_what_was_kept_the_same_fires() {
    type Spoil = fn(&mut Kept);
    let spoils: [Spoil; 6] = [
        |kept| kept.state.clear(),
        |kept| kept.state = b"{}".to_vec(),
        |kept| kept.revision += 1,
        |kept| alter(kept, "ledger", "hash"),
        |kept| alter(kept, "market", "hash"),
        |kept| alter(kept, "market", "offset"),
    ];
    for spoil in spoils {
        let house = after_a_run().await;
        let fired = comes_down(&house).await;
        let line = Line::to(house.ledger.clone());
        spoil(house.keep.0.lock().unwrap().get_mut(NAME).unwrap());

        run(GuardianParts { ledger: line.clone(), ..house.parts() }).await;

        assert_eq!(house.fired().await, [fired]);
        assert!(line.entries_read.load(Ordering::Relaxed) >= 4, "it was taken for this log's");
    }
}

/// Makes what was kept tell of another log.
fn alter(kept: &mut Kept, log: &str, what: &str) {
    let mut state: serde_json::Value = serde_json::from_slice(&kept.state).unwrap();
    state[log][what] = match what {
        "hash" => Hash::of(b"another").to_string().into(),
        _ => 1_000.into(),
    };
    kept.state = serde_json::to_vec(&state).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_log_whose_end_was_lost_is_another_log() {
    let house = after_a_run().await;
    let other = House::with(&["alice"]).await;
    other.tell(vec![trade(1, "100", 1)]).await;
    other.open("alice", 1, (Long, 20), "100", 1).await;
    other.tell(vec![trade(2, "95", 2)]).await;

    run(GuardianParts { keep: house.keep.clone(), ..other.parts() }).await;

    let fired = "alice 1 liquidation: trade 2 at 95 in entry 2, filled";
    assert_eq!(other.fired().await, [fired]);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_lies_never_past_a_firing_that_is_not_done() {
    let house = after_a_run().await;
    let before = kept(&house).unwrap();
    let fired = comes_down(&house).await;
    let line = Line::to(house.ledger.clone());
    line.appends_lost.store(usize::MAX, Ordering::Relaxed);
    let desk = Arc::new(Desk::new(line, house.keep.clone(), house.clock.clone()));

    run_while(GuardianParts { desk, ..house.parts() }, async {
        tokio::time::sleep(Duration::from_mins(1)).await;
        house.clock.pass(KEEP_EVERY);
    })
    .await;
    assert_eq!(kept(&house).unwrap(), before);
    run(house.parts()).await;

    assert_eq!(house.fired().await, [fired]);
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_and_not_looked_at_is_not_kept() {
    let house = House::with(&["alice"]).await;
    house.trades("100").await;
    house.trades("89").await;
    run(house.parts()).await;
    let before = kept(&house).unwrap();
    house.open("alice", 1, (Long, 10), "100", 1).await;
    house.stops("alice", 1, ("50", "-"), 1).await;
    let line = Line::to(house.ledger.clone());
    line.shown.store(3, Ordering::Relaxed);
    // It knows of the position, and waits for what else the ledger tells of it.
    let parts = GuardianParts { ledger: line, ..house.parts() };
    run_while(parts, async {
        house.clock.pass(KEEP_EVERY);
        tokio::time::sleep(Duration::from_mins(1)).await;
    })
    .await;
    assert_eq!(kept(&house).unwrap(), before);

    run(house.parts()).await;

    let fired = "alice 1 liquidation: trade 2 at 89 in entry 2, filled";
    assert_eq!(house.fired().await, [fired]);
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_kept_from_time_to_time() {
    let house = House::with(&["alice"]).await;
    house.trades("100").await;
    let looked = async {
        assert!(kept(&house).is_none(), "nothing is due yet");
        house.clock.pass(KEEP_EVERY);
        house.trades("100").await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let first = kept(&house).expect("time has passed");
        house.clock.pass(KEEP_EVERY);
        for _ in 1..KEEP_ENTRIES {
            house.tell(vec![diff(1, 1, "", "")]).await;
        }
        house.trades("100").await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_ne!(kept(&house).unwrap(), first, "much has come");
    };

    run_while(house.parts(), looked).await;
}

#[tokio::test(start_paused = true)]
async fn late_conditions_are_looked_back_for_after_a_restart_too() {
    let house = House::with(&["alice"]).await;
    for version in 1..=1_000 {
        house.trades(if version == 900 { "90" } else { "100" }).await;
    }
    run(house.parts()).await;
    house.open("alice", 1, (Long, 10), "100", 890).await;
    house.open("alice", 2, (Long, 10), "100", 999).await;
    let line = Line::to(house.market.clone());

    run(GuardianParts { market: line.clone(), ..house.parts() }).await;

    let fired = "alice 1 liquidation: trade 900 at 90 in entry 900, filled";
    assert_eq!(house.fired().await, [fired]);
    assert!(line.stream_entries_read.load(Ordering::Relaxed) <= 1_000 - 512);
    house.trades("90").await;
    run(house.parts()).await;
    assert_eq!(house.fired().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_heard_while_a_long_past_is_read() {
    let house = House::with(&["alice"]).await;
    for _ in 0..2_000 {
        house.tell(vec![diff(1, 1, "", "")]).await;
    }
    let guardian = house.guardian();

    // It is told before it has begun.
    guardian.run(async {}).await.unwrap();

    assert!(kept(&house).is_some_and(|kept| kept.state.len() < 10_000));
}

#[tokio::test(start_paused = true)]
async fn what_it_need_not_look_at_again_is_known_to_others() {
    let house = House::with(&["alice"]).await;
    assert_eq!(passed(&*house.keep).await, Ok(None));

    house.tell(vec![trade(1, "100", 1)]).await;
    house.tell(vec![trade(2, "101", 2)]).await;
    run(house.parts()).await;

    assert_eq!(passed(&*house.keep).await, Ok(Some(house.market.head().await.unwrap())));
}
