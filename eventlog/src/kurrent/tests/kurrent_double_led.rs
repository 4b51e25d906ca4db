//! Appends while leaders change and go, and while answers are lost: what was acknowledged stays, once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;

use super::*;

const FAULTS: usize = 200;
const NODES: usize = 3;
/// How long the streams may stand still, all faults together upon each other.
const GAP_MAX: Duration = Duration::from_secs(20);

/// What a writer was told, and the longest time in which it was told nothing.
struct Told {
    stream: Stream,
    acknowledged: Vec<(u128, Appended)>,
    gap: Duration,
}

/// What all writers have in common.
#[derive(Default)]
struct Writing {
    is_over: AtomicBool,
    acknowledged: AtomicUsize,
}

/// Writes until it is over; each entry is sent until its outcome is known.
async fn write(log: Arc<Kurrent>, place: u128, first_id: u128, writing: Arc<Writing>) -> Told {
    let stream = stream(place);
    let mut told = Told { stream: stream.clone(), acknowledged: Vec::new(), gap: Duration::ZERO };
    let mut id = first_id;
    let mut heard = Instant::now();
    while !writing.is_over.load(Ordering::Relaxed) {
        id += 1;
        let draft = draft(&stream, id, ticks(id, 1));
        let mut expected = match told.acknowledged.last() {
            _ if place == 0 => Expected::Any,
            Some((_, last)) => Expected::At(last.version),
            None => Expected::Empty,
        };
        loop {
            match log.append(draft.clone(), expected).await {
                Ok(appended) => {
                    told.acknowledged.push((id, appended));
                    writing.acknowledged.fetch_add(1, Ordering::Relaxed);
                    told.gap = told.gap.max(heard.elapsed());
                    heard = Instant::now();
                    break;
                }
                Err(LogError::OutcomeUnknown | LogError::Unavailable(_)) => {
                    time::sleep(Duration::from_millis(10)).await;
                }
                // Others write there, too.
                Err(LogError::Conflict { actual: Some(actual) }) if place == 1 => {
                    expected = Expected::At(actual);
                }
                Err(error) => panic!("{id} of {stream}: {error:?}"),
            }
        }
    }
    told
}

async fn harm(double: &Double, random: &mut ChaCha8Rng, leader: &mut usize) {
    let lead = |leader: &mut usize| {
        *leader = (*leader + 1) % NODES;
        double.lead(*leader);
    };
    let before = *leader;
    let moment = Duration::from_millis(random.random_range(1..120));
    match random.random_range(0..16) {
        0 | 1 => double.lose_answers(random.random_range(1..4)),
        2 | 3 => double.time_out_answers(random.random_range(1..4)),
        4 | 5 => double.refuse_appends(random.random_range(1..4)),
        6 | 7 => double.delay_appends(random.random_range(1..4), moment),
        8 => double.answer_late(1, moment * 6),
        9 => {
            double.hold_appends(random.random_range(1..4));
            time::sleep(moment).await;
            double.store_held();
        }
        10 | 11 => lead(leader),
        12 => {
            double.lead_nobody();
            time::sleep(moment).await;
            double.lead(*leader);
        }
        13 => {
            double.kill(before);
            lead(leader);
            time::sleep(moment).await;
            double.start_again(before).unwrap();
        }
        14 => {
            double.stop(before);
            lead(leader);
            time::sleep(moment).await;
            double.start_again(before).unwrap();
        }
        _ => {
            double.freeze(before);
            lead(leader);
            time::sleep(moment).await;
            double.thaw(before);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_lost_or_doubled_while_leaders_go() {
    let seed = 8;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let double = Double::cluster(NODES).unwrap();
    let options = Options { patience: Options::default().patience, ..fresh() };
    let writing = Arc::new(Writing::default());
    let mut writers = JoinSet::new();
    for node in 0..2 {
        let log = Arc::new(open(&double, Log::Market, &options).await);
        // Two streams that both nodes write into, and one of its own.
        for place in [0, 1, 2 + node] {
            let (log, writing) = (Arc::clone(&log), Arc::clone(&writing));
            writers.spawn(write(log, place, (node * 10 + place + 1) << 32, writing));
        }
    }

    let mut leader = 0;
    for _ in 0..FAULTS {
        harm(&double, &mut random, &mut leader).await;
        // It goes on, whatever it was.
        let before = writing.acknowledged.load(Ordering::Relaxed);
        until(async || (writing.acknowledged.load(Ordering::Relaxed) > before).then_some(())).await;
    }
    double.heal();
    double.store_held();
    writing.is_over.store(true, Ordering::Relaxed);
    let told = time::timeout(COMES_WAIT, writers.join_all()).await.expect("writers that end");

    let log = open(&double, Log::Market, &options).await;
    let all = read_all(&log).await;
    let mut by_id = BTreeMap::new();
    for entry in &all {
        let twice = by_id.insert((entry.stream.clone(), entry.append_id.as_u128()), entry);
        assert!(twice.is_none(), "seed {seed}: {twice:?} is in twice: {entry:?}");
    }
    for Told { stream, acknowledged, gap } in told {
        assert!(!acknowledged.is_empty(), "seed {seed}: {stream}");
        eprintln!("seed {seed}: {stream}: {} entries, {gap:?} without a word", acknowledged.len());
        assert!(gap < GAP_MAX, "seed {seed}: {stream} {gap:?}");
        for (id, appended) in acknowledged {
            let entry = by_id.get(&(stream.clone(), id));
            let stands = entry.map(|entry| (entry.offset, entry.version));
            assert_eq!(stands, Some((appended.offset, appended.version)), "seed {seed}: {id}");
        }
    }
    let mut tips: BTreeMap<&Stream, &Entry> = BTreeMap::new();
    for entry in &all {
        let before = tips.insert(&entry.stream, entry);
        let expected = before.map_or((Version(1), crate::entry::Hash::default()), |before| {
            (before.version.next(), before.hash)
        });
        assert_eq!((entry.version, entry.prev_hash), expected, "seed {seed}");
    }
}
