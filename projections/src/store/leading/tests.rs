//! Works that one node does at a time.

use tempfile::TempDir;

use super::*;
use crate::store::tests::place::Shared;

/// Time after which nobody expects that something comes any more.
const NOT: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_work_goes_to_the_next_when_it_is_given_up() {
    let Some(shared) = Shared::new().await else { return };
    let (first, second) = (shared.connect("n1").await, shared.connect("n2").await);
    let leading = first.lead("jobs").await;
    // Another work is another lease.
    let other = second.lead("guardian").await;
    assert!(tokio::time::timeout(NOT, second.lead("jobs")).await.is_err());
    assert!(!leading.is_lost() && !other.is_lost());
    assert_eq!(
        (first.leases_held(), second.leases_held()),
        (vec!["lead jobs".to_owned()], vec!["lead guardian".to_owned()])
    );
    drop(leading);
    let leading = tokio::time::timeout(NOT, second.lead("jobs")).await.unwrap();
    assert!(tokio::time::timeout(NOT, leading.lost()).await.is_err());
}

#[tokio::test]
async fn who_does_not_hear_of_the_store_any_more_stops_before_another_begins() {
    let Some(shared) = Shared::alone().await else { return };
    let store = shared.connect("n1").await;
    let leading = store.lead("jobs").await;
    shared.server.stop_signal();
    let stood_still = Instant::now();
    let seconds = Duration::from_secs(u64::try_from(LEAD_SECONDS).unwrap() - 1);
    tokio::time::timeout(seconds, leading.lost()).await.unwrap();
    assert!(leading.is_lost() && stood_still.elapsed() + SIGN + AGAIN > TRUST);
    shared.server.cont();
    drop(leading);
    tokio::time::timeout(Duration::from_secs(20), store.lead("jobs")).await.unwrap();
}

#[tokio::test]
async fn a_work_that_another_took_is_lost_at_the_next_sign() {
    let Some(shared) = Shared::new().await else { return };
    let store = shared.connect("n1").await;
    let leading = store.lead("jobs").await;
    shared.sql("UPDATE lease SET owner = 'n2', fence = fence + 1").await;
    tokio::time::timeout(SIGN * 2, leading.lost()).await.unwrap();
    let other = shared.connect("n2").await;
    shared.expire("lead jobs").await;
    let other = other.lead("jobs").await;
    // Whoever lost it takes nothing away from the next by ending.
    drop(leading);
    assert!(tokio::time::timeout(NOT, other.lost()).await.is_err());
}

#[tokio::test]
async fn on_a_server_whose_clock_is_a_little_behind_no_two_do_the_same_work() {
    let Some(shared) = Shared::new().await else { return };
    let (first, second) = (shared.connect("n1").await, shared.connect("n2").await);
    let leading = first.lead("jobs").await;
    // As such a server sees the end that the one before it has written.
    shared.sql("UPDATE lease SET expires_at = expires_at + 5").await;
    assert!(tokio::time::timeout(NOT, second.lead("jobs")).await.is_err());
    assert!(!leading.is_lost());
}

#[tokio::test]
async fn where_nobody_shares_the_store_every_work_is_had_at_once() {
    let folder = TempDir::new().unwrap();
    let (store, _) = Store::open(&folder.path().join("read.db")).await.unwrap();
    let leading = store.lead("jobs").await;
    assert!(!leading.is_lost());
    assert!(tokio::time::timeout(Duration::from_millis(50), leading.lost()).await.is_err());
}
