//! Limits against a clock that the tests move.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::*;

/// A clock that the threads of a test move themselves.
#[derive(Default)]
struct Simulated(AtomicU64);

thread_local! {
    /// What the clock last said to this thread: it is read last where a request is judged.
    static SAID: Cell<u64> = const { Cell::new(0) };
}

impl Simulated {
    fn limits(self: &Arc<Self>) -> Limits {
        let clock = Arc::clone(self);
        Limits::timed_by(Box::new(move || {
            let nanos = clock.0.load(Ordering::SeqCst);
            SAID.set(nanos);
            Duration::from_nanos(nanos)
        }))
    }

    fn advance(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap();
        self.0.fetch_add(nanos, Ordering::SeqCst);
    }
}

/// Chance with a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

const THREADS: u64 = 8;
const REQUESTS: u64 = 1_000_000;
const MAX: usize = 1_000;
const SECOND: u64 = 1_000_000_000;

/// A request as its caller saw it: when, of whom, and whether it was accepted.
type Asked = (u64, usize, bool);

/// Asks for one of five accounts after another, in bursts, steadily, and with pauses between.
fn ask(thread: u64, clock: &Simulated, limits: &Limits, accounts: &[AccountId]) -> Vec<Asked> {
    let mut dice = Dice(thread);
    let mut asked = Vec::new();
    let mut pace = 0;
    for number in 0..REQUESTS / THREADS {
        if number % 500 == 0 {
            pace = [0, 20_000, 6_000_000, 12_000_000, 40_000_000]
                [usize::try_from(dice.below(5)).unwrap()];
            if dice.below(40) == 0 {
                clock.advance(Duration::from_nanos(dice.below(70 * SECOND)));
            }
        }
        clock.advance(Duration::from_nanos(dice.below(pace + 1)));
        // The first is asked for more often than the others together.
        let account = usize::try_from(dice.below(10).saturating_sub(5)).unwrap();
        let verdict = limits.account(&accounts[account], u32::try_from(MAX).unwrap()).unwrap();
        asked.push((SAID.get(), account, verdict.accepted));
    }
    asked
}

#[test]
fn in_no_minute_are_more_accepted_than_may_be_and_none_is_refused_below_that() {
    let clock = Arc::new(Simulated::default());
    let limits = clock.limits();
    let accounts: Vec<AccountId> =
        (0..5).map(|n| format!("account-{n}").parse().unwrap()).collect();
    let asked: Vec<Asked> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn({
                    let (clock, limits, accounts) = (&clock, &limits, &accounts);
                    move || ask(thread, clock, limits, accounts)
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(asked.len(), usize::try_from(REQUESTS).unwrap());

    let mut refused = 0;
    for account in 0..accounts.len() {
        let of_account = || asked.iter().filter(|(_, whose, _)| *whose == account);
        let mut accepted: Vec<u64> =
            of_account().filter(|(.., accepted)| *accepted).map(|(at, ..)| *at).collect();
        accepted.sort_unstable();
        for (first, last) in accepted.iter().zip(accepted.iter().skip(MAX)) {
            assert!(last - first >= 60 * SECOND, "{} from {first} to {last}", MAX + 1);
        }
        for (at, ..) in of_account().filter(|(.., accepted)| !accepted) {
            let until = accepted.partition_point(|instant| instant <= at);
            let before = accepted.partition_point(|instant| instant + 60 * SECOND <= *at);
            assert_eq!(until - before, MAX, "refused at {at}");
            refused += 1;
        }
        assert!(accepted.len() > MAX, "account {account} was too quiet to show anything");
    }
    assert!(refused > 10_000, "only {refused} of {REQUESTS} were refused");
}

/// A clock at a time, and limits by it.
fn simulated() -> (Arc<Simulated>, Limits) {
    let clock = Arc::new(Simulated::default());
    clock.advance(Duration::from_secs(100));
    let limits = clock.limits();
    (clock, limits)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_verdict_says_how_many_are_left_and_when_there_are_more() {
    let (clock, limits) = simulated();
    let account = "alice".parse().unwrap();
    let ask = || limits.account(&account, 3).unwrap();

    assert_eq!(ask(), Verdict { accepted: true, limit: 3, remaining: 2, reset: seconds(60) });
    clock.advance(seconds(20));
    assert_eq!(ask(), Verdict { accepted: true, limit: 3, remaining: 1, reset: seconds(60) });
    clock.advance(seconds(10));
    // None is left: the first leaves in half a minute.
    assert_eq!(ask(), Verdict { accepted: true, limit: 3, remaining: 0, reset: seconds(30) });
    assert_eq!(ask(), Verdict { accepted: false, limit: 3, remaining: 0, reset: seconds(30) });

    clock.advance(seconds(30));
    assert_eq!(ask(), Verdict { accepted: true, limit: 3, remaining: 0, reset: seconds(20) });
}

#[test]
fn what_was_refused_does_not_count() {
    let (clock, limits) = simulated();
    let account = "alice".parse().unwrap();
    assert!(limits.account(&account, 1).unwrap().accepted);
    for _ in 0..59 {
        clock.advance(seconds(1));
        assert!(!limits.account(&account, 1).unwrap().accepted);
    }
    clock.advance(seconds(1));
    assert!(limits.account(&account, 1).unwrap().accepted);
}

#[test]
fn accounts_do_not_share_their_limits() {
    let (_, limits) = simulated();
    for account in ["alice", "bob"] {
        let account = account.parse().unwrap();
        assert!(limits.account(&account, 1).unwrap().accepted);
        assert!(!limits.account(&account, 1).unwrap().accepted);
    }
}

#[test]
fn a_limit_that_is_changed_counts_at_once() {
    let (clock, limits) = simulated();
    let account = "alice".parse().unwrap();
    for _ in 0..5 {
        assert!(limits.account(&account, 5).unwrap().accepted);
        clock.advance(seconds(1));
    }
    assert!(!limits.account(&account, 5).unwrap().accepted);

    assert!(limits.account(&account, 6).unwrap().accepted);
    // Six are in the window: four must leave before there is room for one of three.
    let lowered = limits.account(&account, 3).unwrap();
    let reset = seconds(60 + 3 - 5);
    assert_eq!(lowered, Verdict { accepted: false, limit: 3, remaining: 0, reset });
    assert_eq!(limits.account(&account, 0).unwrap().reset, WINDOW);
    assert_eq!(limits.account(&account, 1_000).unwrap().remaining, 993);
}

#[test]
fn failures_of_one_network_count_together_and_exactly() {
    let (clock, limits) = simulated();
    let fail = |address: &str| limits.failure(address.parse().unwrap(), 20).accepted;
    for _ in 0..10 {
        assert!(fail("2001:db8::1"));
        assert!(fail("2001:db8::ffff:2"));
    }
    assert!(!fail("2001:db8::3"));
    assert!(fail("2001:db8:0:1::1"));
    assert!(fail("192.0.2.1"));

    clock.advance(seconds(60));
    assert!(fail("2001:db8::3"));
}

#[test]
fn an_address_is_the_same_however_it_is_written() {
    let (_, limits) = simulated();
    assert!(limits.address("192.0.2.1".parse().unwrap(), 1).accepted);
    assert!(!limits.address("::ffff:192.0.2.1".parse().unwrap(), 1).accepted);
    assert!(limits.address("192.0.2.2".parse().unwrap(), 1).accepted);
}

#[test]
fn limits_go_by_a_clock_that_moves_by_itself() {
    let limits = Limits::default();
    let accounts: BTreeMap<u32, AccountId> =
        (0..3).map(|n| (n, format!("account-{n}").parse().unwrap())).collect();
    for account in accounts.values() {
        let first = limits.account(account, 2).unwrap();
        assert_eq!((first.accepted, first.remaining), (true, 1));
        let second = limits.account(account, 2).unwrap();
        assert!(second.accepted && second.reset <= WINDOW);
        assert!(!limits.account(account, 2).unwrap().accepted);
    }
}
