//! Followers, whatever happens to what they follow by.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::kurrent::double::faults::Reads;
use crate::patient::Patient;

/// Follows a log until it has seen so many entries.
async fn follow(log: Arc<Kurrent>, entries: usize) -> Vec<Entry> {
    let log = Patient::new(log);
    let (mut seen, mut after) = (Vec::new(), Offset(0));
    while seen.len() < entries {
        log.wait_after(after).await.unwrap();
        let read = log.read(after, 7).await.unwrap();
        after = read.last().map_or(after, |entry| entry.offset);
        seen.extend(read);
    }
    seen
}

async fn ends(follower: tokio::task::JoinHandle<Vec<Entry>>) -> Vec<Entry> {
    time::timeout(COMES_WAIT, follower).await.expect("it sees all").unwrap()
}

/// Appends in spite of all.
async fn append_some_time(log: &Kurrent, stream: &Stream, id: u128) -> Appended {
    until(async || log.append(draft(stream, id, ticks(id, 1)), Expected::Any).await.ok()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_on_a_kurrent_double_sees_its_own_and_the_others_entries_once_and_in_order() {
    let double = Double::start().unwrap();
    let options = fresh();
    let one = Arc::new(open(&double, Log::Market, &options).await);
    let other = Arc::new(open(&double, Log::Market, &options).await);
    let followers = [
        tokio::spawn(follow(Arc::clone(&one), 400)),
        tokio::spawn(follow(Arc::clone(&other), 400)),
    ];
    let mut writers = tokio::task::JoinSet::new();
    for (number, log) in [(0, one.clone()), (1, other.clone())] {
        writers.spawn(async move {
            for id in 0..200 {
                // Some streams are of both nodes.
                append_some_time(&log, &stream(id % 5 + number * 3), number * 1_000 + id).await;
            }
        });
    }
    writers.join_all().await;

    let all = read_all(&open(&double, Log::Market, &options).await).await;
    assert_eq!(all.len(), 400);
    for follower in followers {
        assert!(ends(follower).await == all);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_this_node_are_seen_at_once_and_of_others_soon_on_a_kurrent_double() {
    let double = Double::start().unwrap();
    let options = fresh();
    let here = open(&double, Log::Market, &options).await;
    let there = open(&double, Log::Market, &options).await;
    let mut waits = [Vec::new(), Vec::new()];
    for id in 0..60 {
        let log = if id % 2 == 0 { &here } else { &there };
        let offset = append(log, &stream(1), id).await.offset;
        let appended = Instant::now();
        here.wait_after(Offset(offset.0 - 1)).await.unwrap();
        waits[usize::from(id % 2 == 1)].push(appended.elapsed());
        // As long as nothing comes, others are asked for less and less often.
        time::sleep(Duration::from_millis(u64::try_from(id).unwrap() * 5)).await;
    }
    for (waits, longest) in waits.iter_mut().zip([50, 400].map(Duration::from_millis)) {
        waits.sort_unstable();
        let median = waits[waits.len() / 2];
        assert!(median < longest, "{waits:?}");
    }
}

/// Something happens to the server again and again, while a node appends and both follow.
async fn nothing_is_missed_while(
    double: &Double,
    rounds: u128,
    mut happens: impl AsyncFnMut(u128),
) {
    let options = fresh();
    let writer = Arc::new(open(double, Log::Market, &options).await);
    let reader = Arc::new(open(double, Log::Market, &options).await);
    let each = 5;
    let entries = usize::try_from(rounds * each).unwrap();
    let followers = [
        tokio::spawn(follow(Arc::clone(&writer), entries)),
        tokio::spawn(follow(Arc::clone(&reader), entries)),
    ];
    for round in 0..rounds {
        let appends = async {
            for id in 0..each {
                append_some_time(&writer, &stream(id % 3), round * each + id).await;
            }
        };
        tokio::join!(appends, happens(round));
    }
    double.heal();

    let all = read_all(&open(double, Log::Market, &options).await).await;
    assert_eq!(all.len(), entries);
    for follower in followers {
        assert!(ends(follower).await == all);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_of_a_kurrent_double_misses_nothing_whenever_its_reads_end() {
    let double = Double::start().unwrap();
    let mut chance = ChaCha8Rng::seed_from_u64(8);
    nothing_is_missed_while(&double, 200, async |_| {
        let times = chance.random_range(1..4);
        let events = chance.random_range(0..12);
        let reads = [Reads::Every, Reads::OfAll, Reads::OfStreams][chance.random_range(0..3)];
        if chance.random_bool(0.5) {
            double.cut_reads(reads, events, times);
        } else {
            double.break_reads(reads, events, times);
        }
        time::sleep(Duration::from_millis(chance.random_range(0..20))).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_misses_nothing_while_a_kurrent_double_is_killed_and_comes_back() {
    let double = Double::start().unwrap();
    nothing_is_missed_while(&double, 6, async |round| {
        if round % 2 == 0 {
            double.kill(0);
        } else {
            double.stop(0);
        }
        time::sleep(Duration::from_millis(300)).await;
        double.start_again(0).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_misses_nothing_while_a_kurrent_double_stands_still() {
    let double = Double::start().unwrap();
    nothing_is_missed_while(&double, 3, async |_| {
        double.freeze(0);
        time::sleep(Duration::from_secs(2)).await;
        double.thaw(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_misses_nothing_while_leaders_of_a_kurrent_double_change() {
    let double = Double::cluster(3).unwrap();
    nothing_is_missed_while(&double, 9, async |round| {
        let leader = usize::try_from(round % 3).unwrap();
        match round % 3 {
            0 => double.lead((leader + 1) % 3),
            1 => {
                double.kill(leader);
                double.lead_nobody();
                time::sleep(Duration::from_millis(300)).await;
                double.lead((leader + 1) % 3);
                double.start_again(leader).unwrap();
            }
            _ => {
                double.stop(leader);
                double.lead((leader + 1) % 3);
                time::sleep(Duration::from_millis(300)).await;
                double.start_again(leader).unwrap();
            }
        }
    })
    .await;
}
