//! Entries of another log, taken over while appends go wrong.

use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::memory::Memory;
use crate::transfer::ReadStored;

const SEEDS: u64 = 12;

/// Takes a batch over until that is done, as whoever copies does.
async fn take_over(copy: &Kurrent, batch: &[Stored]) -> Vec<Appended> {
    until(async || match copy.take_over(batch).await {
        Ok(appended) => Some(appended),
        Err(LogError::OutcomeUnknown | LogError::Unavailable(_)) => None,
        Err(error) => panic!("{error:?}"),
    })
    .await
}

fn bodies(stored: &[Stored]) -> Vec<&[u8]> {
    stored.iter().map(|stored| stored.body.as_slice()).collect()
}

async fn all_stored(log: &impl ReadStored) -> Vec<Stored> {
    let mut all: Vec<Stored> = Vec::new();
    loop {
        let after = all.last().map_or(Offset(0), |stored| stored.offset);
        let read = log.stored(after, usize::MAX).await.unwrap();
        if read.is_empty() {
            return all;
        }
        all.extend(read);
    }
}

async fn original(entries: u128) -> Memory {
    let log = Memory::new(Log::Market);
    for id in 0..entries {
        // Runs of one stream, and streams that take turns.
        let place = if id % 40 < 25 { id / 40 % 3 } else { id % 5 };
        let draft = draft(&stream(place), id + 1, ticks(id, 1 + id % 30));
        log.append(draft, Expected::Any).await.unwrap();
    }
    log
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_interrupted_again_and_again_is_whole_in_the_end() {
    let all = all_stored(&original(400).await).await;
    for seed in 0..SEEDS {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let double = Double::start().unwrap();
        let options = Options { patience: Options::default().patience, ..fresh() };
        let mut copy = open(&double, Log::Market, &options).await;
        let mut done = 0;
        while done < all.len() {
            let times = random.random_range(1..6);
            match random.random_range(0..6) {
                0 => double.lose_answers(times),
                1 => double.time_out_answers(times),
                2 => double.refuse_appends(times),
                3 => double.delay_appends(times, Duration::from_millis(random.random_range(1..80))),
                4 => double.withhold_positions(times),
                _ => double.heal(),
            }
            if random.random_range(0..4) == 0 {
                copy = open(&double, Log::Market, &options).await;
            }
            let until = (done + random.random_range(1..90)).min(all.len());
            // Some of it is in already.
            let from = done - random.random_range(0..20).min(done);
            let appended = take_over(&copy, &all[from..until]).await;
            assert_eq!(appended.len(), until - from, "seed {seed}");
            assert!(appended.is_sorted_by_key(|it| it.offset), "seed {seed}: {appended:?}");
            assert!(appended[..done - from].iter().all(|it| it.repeated), "seed {seed}");
            done = until;
        }
        double.heal();
        let copied = all_stored(&open(&double, Log::Market, &options).await).await;
        assert_eq!(copied.len(), all.len(), "seed {seed}");
        assert!(bodies(&copied) == bodies(&all), "seed {seed}: the same bytes in their order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_one_stream_go_in_together() {
    let double = Double::start().unwrap();
    let log = Memory::new(Log::Market);
    for id in 0..500 {
        log.append(draft(&stream(1), id, ticks(id, 1)), Expected::Any).await.unwrap();
    }
    let all = all_stored(&log).await;
    let copy = open(&double, Log::Market, &fresh()).await;

    take_over(&copy, &all).await;

    let appends = double.calls()["append"];
    assert!(appends <= 4, "{appends} writes for 500 entries");
    assert_eq!(bodies(&all_stored(&copy).await), bodies(&all));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_a_stream_has_had_twice_is_in_both_places_of_a_copy() {
    let id = |stored: &Stored| stored.header(Log::Market).unwrap().append_id.as_u128();
    // The same id in one stream again, as after its first entry was forgotten: sealed by hand.
    let mut all: Vec<Stored> = Vec::new();
    let mut hash = crate::entry::Hash::default();
    for (version, id) in (1..).zip([1, 2, 3, 1, 4, 2]) {
        let draft = draft(&stream(1), id, ticks(u128::from(version), 1));
        let sealed = crate::body::seal(&draft, Version(version), hash).unwrap();
        hash = sealed.hash;
        let (offset, content, body) = (Offset(version), sealed.content, sealed.body);
        all.push(Stored { offset, content, body });
    }
    for size in 1..=all.len() {
        let double = Double::start().unwrap();
        let copy = open(&double, Log::Market, &fresh()).await;
        for batch in all.chunks(size) {
            take_over(&copy, batch).await;
        }
        for batch in all.chunks(size) {
            assert!(take_over(&copy, batch).await.iter().all(|appended| appended.repeated));
        }
        let copied = all_stored(&copy).await;
        assert_eq!(copied.iter().map(id).collect::<Vec<_>>(), [1, 2, 3, 1, 4, 2], "{size}");
        assert_eq!(bodies(&copied), bodies(&all), "{size}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_began_later_goes_on_from_there() {
    let all = all_stored(&original(200).await).await;
    let later = &all[120..];
    let double = Double::start().unwrap();
    let options = fresh();
    let copy = open(&double, Log::Market, &options).await;

    take_over(&copy, later).await;

    for log in [copy, open(&double, Log::Market, &options).await] {
        assert_eq!(bodies(&all_stored(&log).await)[..later.len()], bodies(later));
        for place in 0..5 {
            let tip = log.tip(&stream(place)).await.unwrap().unwrap();
            let next = append(&log, &stream(place), 10_000 + u128::from(tip.version.0)).await;
            assert_eq!(next.version, tip.version.next());
            let last = log.last(&stream(place)).await.unwrap().unwrap();
            assert_eq!(last.prev_hash, tip.hash);
        }
    }
}
