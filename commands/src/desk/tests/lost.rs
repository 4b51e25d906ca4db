//! Answers that are lost on the way, and clients who hang up.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::task::yield_now;

use super::*;

const TICK: Duration = Duration::from_millis(10);

/// Runs a future for so many polls; `None` when it was dropped then.
pub(crate) async fn dropped_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for poll in 0..polls {
        let once = future::poll_fn(|context| {
            Poll::Ready(match future.as_mut().poll(context) {
                Poll::Ready(output) => Some(output),
                Poll::Pending => None,
            })
        });
        if let Some(output) = once.await {
            return Some(output);
        }
        // Time passes only while everybody waits for it.
        if poll % 8 == 7 {
            tokio::time::sleep(TICK).await;
        } else {
            yield_now().await;
        }
    }
    None
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_asked_for_until_it_is_known() {
    for faults in [
        vec![Fault::Unheard],
        vec![Fault::Lost],
        vec![Fault::Lost, Fault::Unheard],
        vec![Fault::Unheard, Fault::Unreachable, Fault::Full, Fault::Lost],
    ] {
        let log = funded(500).await;
        let line = Line::new(&log, 1);
        let desk = desk(line.clone());
        line.fail(faults.clone());

        let done = ask(&desk, "k", deposit(7)).await.unwrap();

        // This very call has done it.
        assert!(!done.replayed, "{faults:?}");
        let entries = account_entries(&log).await;
        assert_eq!((entries.len(), done.entry.as_deref()), (3, entries.last()), "{faults:?}");
        assert!(ask(&desk, "k", deposit(7)).await.unwrap().replayed);
        ask(&desk, "next", deposit(1)).await.unwrap();
        assert_eq!(seen(&desk).await, replayed(&log).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_that_nobody_knows_and_learns_it_under_the_same_key() {
    for is_in in [false, true] {
        let log = funded(500).await;
        let line = Line::new(&log, 1);
        let desk = desk(line.clone());
        line.fail(is_in.then_some(Fault::Unheard));
        line.fail([Fault::Lost; 100]);
        let began = tokio::time::Instant::now();

        let unknown = ask(&desk, "k", deposit(7)).await;

        assert!(matches!(unknown, Err(DeskError::Log(LogError::OutcomeUnknown))), "{unknown:?}");
        assert!(began.elapsed() <= UNKNOWN_PATIENCE);
        line.heal();
        let done = ask(&desk, "k", deposit(7)).await.unwrap();
        assert_eq!(done.replayed, is_in);
        assert_eq!(account_entries(&log).await.len(), 3);
        assert_eq!(seen(&desk).await, replayed(&log).await);
    }
}

/// The network may still have it: only an entry in its place tells that it never came.
#[tokio::test(start_paused = true)]
async fn no_is_not_said_to_an_order_that_may_still_come_in() {
    let log = funded(500).await;
    let line = Line::new(&log, 1);
    let desk = desk(line.clone());
    line.fail([Fault::Lost; 100]);
    ask(&desk, "k", withdrawal(500)).await.unwrap_err();
    line.heal();

    let unpriced = |key| desk.submit(order(key, &withdrawal(500)), |_| Err("no price"));
    let (same, other) = (unpriced("k").await, unpriced("other").await);
    assert!(matches!(same, Err(DeskError::Log(LogError::OutcomeUnknown))), "{same:?}");
    assert!(matches!(other, Err(DeskError::Unquoted("no price"))), "{other:?}");

    ask(&desk, "in its place", withdrawal(1)).await.unwrap();
    assert!(matches!(unpriced("k").await, Err(DeskError::Unquoted("no price"))));
    let refused = ask(&desk, "k", withdrawal(500)).await;
    assert!(matches!(refused, Err(DeskError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn what_has_surely_not_happened_is_said_at_once() {
    let log = funded(500).await;
    let line = Line::new(&log, 1);
    let desk = desk(line.clone());

    line.fail([Fault::Full]);
    let full = ask(&desk, "k", deposit(7)).await;
    line.fail([Fault::Unreachable]);
    let unreachable = ask(&desk, "k", deposit(7)).await;

    assert!(matches!(full, Err(DeskError::Log(LogError::Full))), "{full:?}");
    let is_told = matches!(unreachable, Err(DeskError::Log(LogError::Unavailable(_))));
    assert!(is_told, "{unreachable:?}");
    assert!(!ask(&desk, "k", deposit(7)).await.unwrap().replayed);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_and_cannot_be_shown_is_not_said_to_be_out() {
    let log = funded(500).await;
    let line = Line::new(&log, 1);
    let desk = desk(line.clone());
    ask(&desk, "k", deposit(7)).await.unwrap();

    line.make_unreadable(true);
    let unknown = ask(&desk, "k", deposit(7)).await;
    assert!(matches!(unknown, Err(DeskError::Log(LogError::OutcomeUnknown))), "{unknown:?}");

    line.make_unreadable(false);
    assert!(ask(&desk, "k", deposit(7)).await.unwrap().replayed);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_cannot_be_recorded_is_not_answered_as_one() {
    let log = funded(500).await;
    let line = Line::new(&log, 1);
    let desk = desk(line.clone());

    line.fail_refusals([Fault::Full]);
    let full = ask(&desk, "k", withdrawal(501)).await;
    assert!(matches!(full, Err(DeskError::Log(LogError::Full))), "{full:?}");
    assert_eq!(refusals(&log).await, []);

    line.fail_refusals([Fault::Unheard, Fault::Lost]);
    let refused = ask(&desk, "k", withdrawal(501)).await;
    assert!(matches!(refused, Err(DeskError::Refused(_))), "{refused:?}");
    assert_eq!(refusals(&log).await.len(), 1);
}

/// A client hangs up at each point where its order waits, and asks again under the same key.
#[tokio::test(start_paused = true)]
async fn a_client_who_hangs_up_anywhere_leaves_nothing_wrong() {
    for (command, faults) in [
        (deposit(7), vec![]),
        (deposit(7), vec![Fault::Unheard, Fault::Lost]),
        (withdrawal(501), vec![]),
    ] {
        let mut polls = 0;
        loop {
            let log = funded(500).await;
            let line = Line::new(&log, 2);
            // Cold, so that loading is dropped too; and one who is behind.
            let (cold, behind) = (desk(line.clone()), desk(line.clone()));
            seen(&behind).await;
            log.append(deposited("elsewhere", 1), Expected::Any).await.unwrap();
            let mut ended = 0;
            for (place, desk) in [cold, behind].into_iter().enumerate() {
                let key = format!("k{place}");
                line.fail(faults.clone());
                let first = dropped_after(polls, ask(&desk, &key, command.clone())).await;
                ended += usize::from(first.is_some());
                let second = ask(&desk, &key, command.clone()).await;
                line.heal();

                match second {
                    Ok(done) => {
                        let id = append_id(&alice(), &key);
                        let mut entries = account_entries(&log).await;
                        entries.retain(|entry| entry.append_id == id);
                        assert_eq!(done.entry.as_deref(), entries.first(), "{polls}");
                        assert_eq!(entries.len(), 1, "{polls}");
                    }
                    Err(DeskError::Refused(_)) => assert_eq!(command, withdrawal(501)),
                    Err(error) => panic!("{polls}: {error}"),
                }
                assert_eq!(seen(&desk).await, replayed(&log).await, "{polls}");
            }
            if ended == 2 {
                break;
            }
            polls += 1;
        }
        assert!(polls > 5, "{command:?} never waits");
    }
}

/// The append of one who has hung up is still on its way: nothing is decided before it is in.
#[tokio::test(start_paused = true)]
async fn an_append_that_nobody_waits_for_keeps_its_turn() {
    let log = funded(500).await;
    let line = Line::new(&log, 0);
    let desk = desk(line.clone());
    line.hold_up(&alice());
    let first = ask(&desk, "k", withdrawal(500));
    assert!(dropped_after(10, first).await.is_none());

    // The same order again, at a moment when it could not be decided: it waits for the first.
    let again = desk.submit(order("k", &withdrawal(500)), |_| Err("no price"));
    let let_go = async {
        tokio::time::sleep(IN_PROGRESS_PATIENCE / 2).await;
        line.permits.add_permits(1);
    };
    let (again, ()) = future::join(again, let_go).await;

    assert!(again.unwrap().replayed);
    assert_eq!(seen(&desk).await.free(), Decimal::ZERO);
}
