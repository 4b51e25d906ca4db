//! What a desk knows after a restart: from the stream, and from what was kept.

use eventlog::keep::Kept;

use super::*;
use crate::desk::kept::KEEP_ENTRIES;

const NAME: &str = "account-alice";

fn keeping(log: Arc<dyn EventLog>, drawer: &Arc<Drawer>) -> Arc<Desk> {
    Arc::new(Desk::new(log, drawer.clone(), clock()))
}

/// Deposits under keys of these numbers.
async fn deposits(desk: &Desk, numbers: std::ops::Range<usize>) {
    for number in numbers {
        ask(desk, &number.to_string(), deposit(1)).await.unwrap();
        // What is kept is kept when the desk waits.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_account_is_kept_now_and_then_and_known_again_with_its_keys() {
    let (log, drawer) = (funded(500).await, Arc::new(Drawer::default()));
    let entries = usize::try_from(KEEP_ENTRIES).unwrap();
    deposits(&keeping(log.clone(), &drawer), 0..2 * entries + 10).await;
    let version = drawer.get(NAME).unwrap().version;
    assert_eq!(version, Version(2 * KEEP_ENTRIES));

    let line = Line::new(&log, 0);
    let again = keeping(line.clone(), &drawer);
    assert_eq!(seen(&again).await, replayed(&log).await);
    // The tip, the entry of what was kept, what came after.
    assert_eq!(line.asked(), (0, 4));
    // Before what was kept, and after it.
    for key in ["3", "515"] {
        assert!(ask(&again, key, deposit(1)).await.unwrap().replayed);
        let other = ask(&again, key, deposit(2)).await;
        assert!(matches!(other, Err(DeskError::KeyReused)), "{other:?}");
    }
}

#[tokio::test]
async fn what_was_kept_and_is_not_of_this_log_or_does_not_read_is_nothing() {
    let (log, drawer) = (funded(500).await, Arc::new(Drawer::default()));
    deposits(&keeping(log.clone(), &drawer), 0..300).await;
    let kept = drawer.get(NAME).unwrap();

    let elsewhere = funded(700).await;
    deposits(&desk(elsewhere.clone()), 0..300).await;
    let early = funded(500).await;
    for (log, kept) in [
        (&elsewhere, kept.clone()),
        (&early, kept.clone()),
        (&log, Kept { state: b"{}".to_vec(), ..kept.clone() }),
        (&log, Kept { revision: kept.revision + 1, ..kept.clone() }),
        (&log, Kept { version: Version(7), ..kept.clone() }),
        (&log, Kept { version: Version(0), ..kept.clone() }),
    ] {
        drawer.put(NAME, kept);
        assert_eq!(seen(&keeping(log.clone(), &drawer)).await, replayed(log).await);
    }
    drawer.is_stuck.store(true, Ordering::Relaxed);
    let stuck = keeping(log.clone(), &drawer);
    deposits(&stuck, 300..600).await;
    assert_eq!(seen(&stuck).await, replayed(&log).await);
}

#[test]
fn as_many_keys_are_known_again_as_are_promised() {
    let id = |version: u64| append_id(&alice(), &version.to_string());
    let promised = KEYS_REMEMBERED_MAX as u64;
    let mut keys = Keys::default();
    for version in 1..=promised {
        keys.push(id(version), Version(version));
    }
    assert_eq!(keys.find(id(1)), Some(Version(1)));
    assert_eq!(keys.find(id(promised)), Some(Version(promised)));
    assert_eq!(keys.find(id(0)), None);

    keys.push(id(promised + 1), Version(promised + 1));
    assert_eq!(keys.find(id(1)), None);
    assert_eq!(keys.find(id(2)), Some(Version(2)));
    // As kept.
    assert_eq!(Keys::of(keys.ids().clone(), Version(promised + 1)), keys);
}

/// Past the ring, the log itself may know the id still.
#[tokio::test]
async fn a_key_past_those_remembered_is_known_as_long_as_the_log_knows_it() {
    let (log, drawer) = (funded(500).await, Arc::new(Drawer::default()));
    let desk = keeping(log.clone(), &drawer);
    deposits(&desk, 0..KEYS_REMEMBERED_MAX).await;

    assert!(ask(&desk, "fund", deposit(500)).await.unwrap().replayed);
    let other = ask(&desk, "fund", deposit(501)).await;
    assert!(matches!(other, Err(DeskError::KeyReused)), "{other:?}");
    assert_eq!(account_entries(&log).await.len(), 2 + KEYS_REMEMBERED_MAX);
}

#[tokio::test]
async fn an_account_whose_stream_has_lost_its_end_is_not_decided_on() {
    let log = funded(500).await;
    let line = Line::new(&log, 0);
    let desk = desk(line.clone());
    ask(&desk, "k", deposit(1)).await.unwrap();
    line.lose_the_end();

    let weighed = desk.weigh(&alice(), |_| Ok::<_, Infallible>(withdrawal(1))).await;
    assert!(matches!(weighed, Err(DeskError::Log(LogError::Damaged { .. }))), "{weighed:?}");
}
