//! Reads that end or stop before their time: no end of the log is believed that is none, and nobody waits
//! for long.

use super::*;
use crate::kurrent::double::faults::Reads;
use crate::kurrent::double::harm::UNTIL_HEALED;

/// What a client waits for an answer to a question.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Returns a log of entries and its options, and what it holds.
async fn with_entries(double: &Double, entries: u128) -> (Options, Vec<Entry>) {
    let options = fresh();
    let log = open(double, Log::Market, &options).await;
    for id in 0..entries {
        append(&log, &stream(id % 3), id).await;
    }
    let all = read_all(&log).await;
    assert_eq!(all.len() as u128, entries);
    (options, all)
}

fn is_unavailable<T>(answer: &Result<T, LogError>) -> bool {
    matches!(answer, Err(LogError::Unavailable(_)))
}

/// What is read is the beginning of what there is, and an end only when it is the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_end_is_believed_that_is_none_when_a_kurrent_double_ends_reads_early() {
    let double = Double::start().unwrap();
    let (options, all) = with_entries(&double, 30).await;
    for broken in [false, true] {
        for events in 0..=32 {
            let log = open(&double, Log::Market, &options).await;
            let last = all.last().unwrap();
            let (mut read, mut after, mut round) = (Vec::new(), Offset(0), 0);
            while read.len() < all.len() {
                round += 1;
                // Now and then nothing happens, so that it goes on.
                if round % 3 == 0 {
                    double.heal();
                } else if broken {
                    double.break_reads(Reads::Every, events, 2);
                } else {
                    double.cut_reads(Reads::Every, events, 2);
                }
                // As if nothing of it were in memory.
                let answer = match log.shared.raws(after, 11).await {
                    Ok(raws) => entries(&raws),
                    Err(error) => Err(error),
                };
                match answer {
                    Ok(some) => {
                        assert!(!some.is_empty(), "{events} after {after}");
                        after = some.last().unwrap().offset;
                        read.extend(some);
                    }
                    Err(LogError::Unavailable(_)) => {}
                    Err(error) => panic!("{error:?}"),
                }
                let head = log.head().await;
                assert!(head == Ok(last.offset) || is_unavailable(&head));
                let newest = log.last(&last.stream).await;
                assert!(newest == Ok(Some(last.clone())) || is_unavailable(&newest));
                let of_stream = log.read_stream(&last.stream, Version(0), usize::MAX).await;
                assert!(is_unavailable(&of_stream) || of_stream.unwrap().len() == 10);
                double.heal();
            }
            assert!(read == all);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_kurrent_double_ends_all_reads_nothing_is_empty() {
    let double = Double::start().unwrap();
    let (options, all) = with_entries(&double, 3).await;
    let log = open(&double, Log::Market, &options).await;
    let (newest, own) = (all[2].offset, &all[0].stream);

    double.end_reads(Reads::Every, UNTIL_HEALED);
    for after in [0, 1, newest.0 - 1, newest.0, newest.0 + 5] {
        assert!(is_unavailable(&log.read(Offset(after), 9).await), "{after}");
    }
    assert!(is_unavailable(&log.head().await));
    assert!(is_unavailable(&log.last(own).await));
    assert!(is_unavailable(&log.tip(own).await));
    assert!(is_unavailable(&log.read_stream(own, Version(0), 9).await));
    let address = || double.url().parse().unwrap();
    let opens = Kurrent::open(address(), Log::Market, options.clone());
    let opened = time::timeout(Duration::from_secs(2), opens).await;
    assert!(opened.is_err(), "it waits for a better answer");
    until(async || matches!(log.standing(), Standing::Down { .. }).then_some(())).await;

    double.heal();
    assert_eq!(until(async || log.read(Offset(0), 9).await.ok()).await, all);
    until(async || (log.standing() == Standing::Good).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_are_slow_bring_what_has_come_of_a_kurrent_double() {
    let double = Double::start().unwrap();
    let (options, all) = with_entries(&double, 60).await;
    let log = open(&double, Log::Market, &options).await;

    double.slow_reads(Duration::from_millis(60));
    let (mut read, mut after) = (Vec::new(), Offset(0));
    while read.len() < all.len() {
        let asked = Instant::now();
        let raws = log.shared.raws(after, 700).await.unwrap();
        assert!(asked.elapsed() < ANSWER_MAX, "{:?}", asked.elapsed());
        after = raws.last().unwrap().offset;
        read.extend(entries(&raws).unwrap());
    }
    assert!(read == all);
    double.heal();
}

/// All that is asked is answered soon, and that there is no answer.
async fn says_soon_that_it_is_away(log: &Kurrent) {
    let own = stream(1);
    for _ in 0..4 {
        let asked = Instant::now();
        assert!(is_unavailable(&log.head().await));
        assert!(asked.elapsed() < ANSWER_MAX, "{:?}", asked.elapsed());
        let asked = Instant::now();
        assert!(is_unavailable(&log.shared.raws(Offset(0), 9).await));
        assert!(asked.elapsed() < ANSWER_MAX, "{:?}", asked.elapsed());
        let asked = Instant::now();
        assert!(is_unavailable(&log.read_stream(&own, Version(0), 9).await));
        assert!(asked.elapsed() < ANSWER_MAX, "{:?}", asked.elapsed());
        let asked = Instant::now();
        assert!(is_unavailable(&log.last(&own).await));
        assert!(asked.elapsed() < ANSWER_MAX, "{:?}", asked.elapsed());
    }
}

/// It is told that it is away, with what to do, and that it is back.
async fn is_told(log: &Kurrent, since: Instant, back: impl FnOnce()) {
    let advice = until(async || match log.standing() {
        Standing::Down { advice, .. } => Some(advice),
        Standing::Good | Standing::Degraded { .. } => None,
    });
    assert!(advice.await.is_some_and(|advice| advice.contains("nodes")));
    assert!(since.elapsed() < Duration::from_millis(2_500), "{:?}", since.elapsed());
    says_soon_that_it_is_away(log).await;

    back();
    let came = Instant::now();
    until(async || (log.standing() == Standing::Good).then_some(())).await;
    assert!(came.elapsed() < Duration::from_secs(5), "{:?}", came.elapsed());
    append(log, &stream(1), 1_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kurrent_double_that_stands_still_is_told_of_and_so_is_its_return() {
    let double = Double::start().unwrap();
    let (options, _) = with_entries(&double, 3).await;
    let log = open(&double, Log::Market, &options).await;

    double.freeze(0);
    is_told(&log, Instant::now(), || double.thaw(0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kurrent_double_that_is_away_is_told_of_and_so_is_its_return() {
    for nodes in [1, 3] {
        let double = Double::cluster(nodes).unwrap();
        let (options, _) = with_entries(&double, 3).await;
        let log = open(&double, Log::Market, &options).await;

        (0..nodes).for_each(|node| double.kill(node));
        is_told(&log, Instant::now(), || {
            (0..nodes).for_each(|node| double.start_again(node).unwrap());
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kurrent_double_without_a_leader_is_away() {
    let double = Double::cluster(3).unwrap();
    let (options, _) = with_entries(&double, 3).await;
    let log = open(&double, Log::Market, &options).await;

    double.lead_nobody();
    is_told(&log, Instant::now(), || double.lead(2)).await;
}
