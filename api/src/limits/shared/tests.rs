//! Several nodes, each with its own clock and limits, on a time that the test moves; what they tell each
//! other takes its time, and never the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::limits::{Limits, WINDOW};

const MAX: u32 = 1_000;

/// Microseconds.
const SECOND: u64 = 1_000_000;
const MILLI: u64 = 1_000;

/// A telling is on its way for this long, and up to half as much again.
const WAY: u64 = 100 * MILLI;

/// Chance with a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

enum Step {
    /// Somebody asks a node; `since` is when for the first time.
    Ask {
        node: usize,
        since: u64,
    },
    Tell(usize),
    Hear(usize, Vec<Told>),
}

/// What was told to those who asked, and when, in microseconds.
#[derive(Default)]
struct Outcome {
    accepted: Vec<u64>,
    refused: Vec<u64>,
    /// The longest that anybody waited to be judged.
    waited: u64,
}

/// Plays requests, each at an instant and a node, against nodes that tell each other.
fn played(nodes: usize, asked: &[(u64, usize)], dice: &mut Dice) -> Outcome {
    let clock = Arc::new(AtomicU64::new(0));
    let limits: Vec<Limits> = (0..nodes)
        .map(|node| {
            let (clock, ahead) = (Arc::clone(&clock), dice.below(1_000 * SECOND));
            let time = move || Duration::from_micros(clock.load(Ordering::SeqCst) + ahead);
            let limits = Limits::timed_by(Box::new(time));
            limits.share_among(u32::try_from(nodes).unwrap());
            assert!(node < nodes);
            limits
        })
        .collect();
    let account: AccountId = "alice".parse().unwrap();
    let mut steps: BTreeMap<(u64, usize), Step> = BTreeMap::new();
    let mut number = 0;
    let mut put = |steps: &mut BTreeMap<_, _>, at: u64, step| {
        number += 1;
        steps.insert((at, number), step);
    };
    let end = asked.iter().map(|(at, _)| *at).max().unwrap() + 20 * SECOND;
    for (at, node) in asked {
        put(&mut steps, *at, Step::Ask { node: *node, since: *at });
    }
    for node in 0..nodes {
        put(&mut steps, dice.below(100 * MILLI), Step::Tell(node));
    }
    let mut outcome = Outcome::default();
    while let Some(((now, _), step)) = steps.pop_first() {
        clock.store(now, Ordering::SeqCst);
        match step {
            Step::Ask { node, since } => match limits[node].account(&account, MAX) {
                Ok(verdict) => {
                    outcome.waited = outcome.waited.max(now - since);
                    let told =
                        if verdict.accepted { &mut outcome.accepted } else { &mut outcome.refused };
                    told.push(now);
                }
                Err(NotYet(wait)) => {
                    let again = now + u64::try_from(wait.as_micros()).unwrap() + 1;
                    if Duration::from_micros(again - since) > JUDGED_PATIENCE {
                        outcome.refused.push(now);
                    } else {
                        put(&mut steps, again, Step::Ask { node, since });
                    }
                }
            },
            Step::Tell(node) => {
                let told = limits[node].tell(10);
                if !told.is_empty() {
                    for other in (0..nodes).filter(|other| *other != node) {
                        let arrives = now + WAY + dice.below(WAY / 2);
                        put(&mut steps, arrives, Step::Hear(other, told.clone()));
                    }
                }
                if now < end {
                    let next = now + u64::try_from(TELL_EVERY.as_micros()).unwrap();
                    put(&mut steps, next, Step::Tell(node));
                }
            }
            Step::Hear(node, told) => limits[node].take_in(&told),
        }
    }
    outcome
}

/// Returns the most that were accepted in any window.
fn most_in_a_window(accepted: &[u64]) -> usize {
    let window = u64::try_from(WINDOW.as_micros()).unwrap();
    let within = |(last, at)| last + 1 - accepted.partition_point(|before| before + window <= at);
    accepted.iter().copied().enumerate().map(within).max().unwrap_or_default()
}

/// Holds an outcome against what is promised.
fn check(name: &str, Outcome { accepted, refused, .. }: &Outcome) {
    let most = most_in_a_window(accepted);
    assert!(most <= 1_100, "{name}: {most} in a window");
    let window = u64::try_from(WINDOW.as_micros()).unwrap();
    for at in refused {
        let until = accepted.partition_point(|accepted| accepted <= at);
        let before = accepted.partition_point(|accepted| accepted + window <= *at);
        assert!(until - before >= 900, "{name}: refused after {} at {at}", until - before);
    }
}

/// How somebody spreads their requests over nodes and time.
fn asked(manner: u64, nodes: usize, dice: &mut Dice) -> Vec<(u64, usize)> {
    let node = |dice: &mut Dice| usize::try_from(dice.below(nodes as u64)).unwrap();
    let mut asked = Vec::new();
    match manner {
        // As fast as may be, everywhere, for two minutes and more.
        0 => {
            for _ in 0..12_000 {
                asked.push((dice.below(150 * SECOND), node(dice)));
            }
        }
        // All at once, everywhere, again and again.
        1 => {
            for round in 0..5 {
                let at = round * 31 * SECOND + dice.below(SECOND);
                asked.extend((0..1_500).map(|_| (at + dice.below(50 * MILLI), node(dice))));
            }
        }
        // One node after another, each for as long as it takes to tell.
        2 => {
            for number in 0..9_000_u64 {
                let at = number * 12 * MILLI;
                let turn = usize::try_from(at / (240 * MILLI)).unwrap();
                asked.push((at, turn % nodes));
            }
        }
        // Quiet, then all at once, in bursts of any size at any time.
        _ => {
            for _ in 0..12 {
                let (at, size) = (dice.below(150 * SECOND), dice.below(900));
                let spread = 1 + dice.below(5 * SECOND);
                let only = (dice.below(2) == 0).then(|| node(dice));
                asked.extend((0..size).map(|_| {
                    let node = only.unwrap_or_else(|| node(dice));
                    (at + dice.below(spread), node)
                }));
            }
        }
    }
    asked.sort_unstable();
    asked
}

#[test]
fn in_no_window_do_several_nodes_accept_a_tenth_more_than_may_be() {
    for nodes in [2, 3, 5, 10] {
        for (manner, seeds) in [(0, 2), (1, 4), (2, 1), (3, 6)] {
            for seed in 0..seeds {
                let mut dice = Dice(seed * 100 + manner);
                let asked = asked(manner, nodes, &mut dice);
                let outcome = played(nodes, &asked, &mut dice);
                let name = format!("{nodes} nodes, manner {manner}, seed {seed}");
                let most = most_in_a_window(&outcome.accepted);
                assert!(most <= 1_100, "{name}: {most} in a window");
                // Who asks for more than may be gets nearly as much as may be.
                if manner < 3 {
                    assert!(most >= 900, "{name}: {most} in a window");
                }
            }
        }
    }
}

#[test]
fn nobody_is_refused_below_nine_tenths_of_the_limit() {
    // Of bursts at one of many nodes it takes long until it is known that nobody else was asked.
    for nodes in [2, 3, 4] {
        for (manner, seeds) in [(0, 2), (1, 4), (2, 1), (3, 8)] {
            for seed in 0..seeds {
                let mut dice = Dice(seed * 1_000 + manner);
                let asked = asked(manner, nodes, &mut dice);
                let outcome = played(nodes, &asked, &mut dice);
                check(&format!("{nodes} nodes, manner {manner}, seed {seed}"), &outcome);
            }
        }
    }
}

#[test]
fn whoever_asks_at_an_even_pace_below_the_limit_hardly_waits() {
    for nodes in [2, 3, 10] {
        let mut dice = Dice(u64::try_from(nodes).unwrap());
        let node = |dice: &mut Dice| usize::try_from(dice.below(nodes as u64)).unwrap();
        // Fourteen in a second: 840 in a window.
        let asked: Vec<_> = (0..2_800).map(|n| (n * SECOND / 14, node(&mut dice))).collect();
        let outcome = played(nodes, &asked, &mut dice);

        assert!(outcome.refused.is_empty(), "{nodes} nodes refused {}", outcome.refused.len());
        assert!(outcome.waited <= 300 * MILLI, "{nodes} nodes: {}", outcome.waited);
    }
}

#[test]
fn a_burst_at_one_of_two_nodes_is_accepted_whole() {
    let asked: Vec<_> = (0..900).map(|n| (n, 0)).collect();
    let outcome = played(2, &asked, &mut Dice(1));

    assert_eq!((outcome.accepted.len(), outcome.refused.len()), (900, 0));
    assert!(outcome.waited < 4 * SECOND, "{}", outcome.waited);
}

#[test]
fn a_node_alone_is_exact_and_nobody_waits() {
    for manner in 0..4 {
        let mut dice = Dice(manner);
        let asked = asked(manner, 1, &mut dice);
        let outcome = played(1, &asked, &mut dice);

        assert!(most_in_a_window(&outcome.accepted) <= 1_000);
        assert_eq!(outcome.waited, 0);
        let window = u64::try_from(WINDOW.as_micros()).unwrap();
        for at in &outcome.refused {
            let until = outcome.accepted.partition_point(|accepted| accepted <= at);
            let before = outcome.accepted.partition_point(|accepted| accepted + window <= *at);
            assert_eq!(until - before, 1_000);
        }
    }
}

/// Limits at a time that the test moves, in milliseconds.
fn timed() -> (Arc<AtomicU64>, Limits) {
    let clock = Arc::new(AtomicU64::new(100_000));
    let told = Arc::clone(&clock);
    let time = move || Duration::from_millis(told.load(Ordering::SeqCst));
    (clock, Limits::timed_by(Box::new(time)))
}

fn told(account: &str, slices: &[(u32, u32)]) -> Told {
    let slices = slices.iter().copied().map(Slice::from).collect();
    Told { account: account.parse().unwrap(), slices }
}

#[test]
fn what_is_told_is_told_once_with_its_age() {
    let (clock, limits) = timed();
    let ask = |account: &str| limits.account(&account.parse().unwrap(), 100).unwrap();
    // Before anybody was there to be told.
    ask("alice");
    limits.share_among(1);
    for at in [100_120, 100_140, 100_210] {
        clock.store(at, Ordering::SeqCst);
        ask("alice");
        ask("bob");
    }
    clock.store(100_250, Ordering::SeqCst);

    let alice = told("alice", &[(1, 250), (2, 110), (1, 40)]);
    let bob = told("bob", &[(2, 110), (1, 40)]);
    assert_eq!(limits.tell(1), [alice]);
    assert_eq!(limits.tell(10), [bob]);
    assert_eq!(limits.tell(10), []);
    ask("bob");
    assert_eq!(limits.tell(10), [told("bob", &[(1, 0)])]);
}

#[test]
fn what_others_accepted_counts_for_as_long_as_what_was_accepted_here() {
    let (clock, limits) = timed();
    let account = "alice".parse().unwrap();
    limits.take_in(&[told("alice", &[(2, 30_000), (1, 10_000)])]);
    let ask = || limits.account(&account, 5).unwrap();

    assert_eq!((ask().remaining, ask().remaining), (1, 0));
    assert_eq!(ask().reset, Duration::from_secs(30));
    clock.store(130_000, Ordering::SeqCst);
    // Two have gone, and two are new.
    assert_eq!((ask().accepted, ask().accepted, ask().accepted), (true, true, false));
    assert_eq!(ask().reset, Duration::from_secs(20));
}

#[test]
fn what_was_told_is_kept_in_slices_however_much_it_is() {
    let (_, limits) = timed();
    for age in 0..70_000 {
        limits.take_in(&[told("alice", &[(1, age)])]);
    }
    let verdict = limits.account(&"alice".parse().unwrap(), 60_001).unwrap();
    assert_eq!((verdict.accepted, verdict.remaining), (true, 0));
    assert_eq!(limits.kept_slices(), 600);
}

#[test]
fn nonsense_that_is_told_counts_for_little() {
    let (_, limits) = timed();
    limits.take_in(&[told("alice", &[(u32::MAX, 1), (u32::MAX, 1), (0, 5), (7, u32::MAX)])]);

    let verdict = limits.account(&"alice".parse().unwrap(), u32::MAX).unwrap();
    assert_eq!(verdict.remaining, u32::MAX - 2_000_000 - 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_until_it_is_known_what_others_have_accepted() {
    let limits = Limits::default();
    limits.share_among(2);
    let account: AccountId = "alice".parse().unwrap();
    let mut accepted = 0;
    while limits.account(&account, 100).is_ok_and(|verdict| verdict.accepted) {
        accepted += 1;
    }
    assert_eq!(accepted, 13, "of 110, one part in eight");

    let began = tokio::time::Instant::now();
    assert!(limits.account_in_time(&account, 100).await.accepted);
    assert_eq!(began.elapsed().as_millis() / 10, BLIND.as_millis() / 10);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_wait_to_be_judged() {
    let limits = Limits::default();
    limits.share_among(2);
    let account: AccountId = "alice".parse().unwrap();
    while limits.account(&account, 4_000).is_ok() {}

    let asked = (0..2_000).map(|_| limits.account_in_time(&account, 4_000));
    let verdicts = futures_util::future::join_all(asked).await;
    let accepted = verdicts.iter().filter(|verdict| verdict.accepted).count();
    assert_eq!(accepted, WAITING_MAX);
}
