//! Many writers at one stream, on nodes of their own.

use tokio::task::JoinSet;

use super::*;

const WRITERS: u128 = 16;
const ROUNDS: u64 = 50;
const SAME_ROUNDS: u128 = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_on_two_nodes_one_wins_and_all_others_are_told() {
    let double = Double::start().unwrap();
    let options = fresh();
    let nodes = [
        Arc::new(open(&double, Log::Market, &options).await),
        Arc::new(open(&double, Log::Market, &options).await),
    ];
    for round in 0..ROUNDS {
        let mut rivals = JoinSet::new();
        for number in 1..=WRITERS {
            let log = Arc::clone(&nodes[usize::from(number % 2 == 0)]);
            let id = u128::from(round) * 100 + number;
            rivals.spawn(async move {
                let draft = draft(&stream(1), id, ticks(id, 1));
                (id, log.append(draft, Expected::At(Version(round))).await)
            });
        }
        let answers = rivals.join_all().await;

        let lost = Err(LogError::Conflict { actual: Some(Version(round + 1)) });
        let won: Vec<_> = answers.iter().filter(|(_, answer)| answer.is_ok()).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        let losers = answers.iter().filter(|(_, answer)| *answer == lost).count();
        assert_eq!(losers as u128, WRITERS - 1, "every loser is told the truth: {answers:?}");
        let tip = nodes[0].last(&stream(1)).await.unwrap().unwrap();
        assert_eq!((tip.append_id.as_u128(), tip.version), (won[0].0, Version(round + 1)));
    }
    assert_eq!(read_all(&*nodes[0]).await.len() as u64, ROUNDS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_append_of_two_nodes_with_other_figures_is_in_once() {
    let double = Double::start().unwrap();
    let options = fresh();
    let nodes = [
        Arc::new(open(&double, Log::Market, &options).await),
        Arc::new(open(&double, Log::Market, &options).await),
    ];
    for round in 0..SAME_ROUNDS {
        let version = u64::try_from(round).unwrap();
        let expected = match round % 3 {
            0 => Expected::Any,
            _ => Expected::At(Version(version)),
        };
        let mut same = JoinSet::new();
        for (number, log) in (0..).zip(&nodes) {
            let log = Arc::clone(log);
            // The same trades, as each of them came by them.
            let draft = draft(&stream(1), round + 1, ticks(round, 1 + number));
            same.spawn(async move { (number, log.append(draft, expected).await) });
        }
        let answers = same.join_all().await;

        let entry = nodes[0].last(&stream(1)).await.unwrap().unwrap();
        assert_eq!(entry.version, Version(version + 1), "{answers:?}");
        let mut firsts = Vec::new();
        for (number, answer) in answers {
            let appended = answer.unwrap();
            assert_eq!((appended.offset, appended.version), (entry.offset, entry.version));
            firsts.extend((!appended.repeated).then_some(number));
        }
        assert_eq!(firsts, [entry.events.len() as u128 - 1], "one was the first: that of the log");
        // Both know what stands there.
        for (number, log) in (0..).zip(&nodes).filter(|_| round % 7 == 0) {
            let place = stream(2 + number);
            log.append(draft(&place, round, ticks(round, 1)), Expected::Any).await.unwrap();
        }
    }
    let all = read_all(&*nodes[1]).await;
    let own: Vec<_> = all.iter().filter(|entry| entry.stream == stream(1)).collect();
    assert_eq!(own.len() as u128, SAME_ROUNDS);
    assert!(own.windows(2).all(|pair| pair[1].prev_hash == pair[0].hash), "each rests on the last");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_append_of_many_nodes_at_once_is_in_once() {
    let double = Double::cluster(3).unwrap();
    let options = fresh();
    let mut nodes = Vec::new();
    for _ in 0..6 {
        nodes.push(Arc::new(open(&double, Log::Market, &options).await));
    }
    for round in 1..=40 {
        let mut same = JoinSet::new();
        for log in &nodes {
            let log = Arc::clone(log);
            let draft = draft(&stream(1), round, ticks(round, 1));
            same.spawn(async move { log.append(draft, Expected::Any).await });
        }
        let answers = same.join_all().await;

        let version = Version(u64::try_from(round).unwrap());
        assert!(answers.iter().flatten().all(|answer| answer.version == version), "{answers:?}");
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert!(answers.iter().flatten().any(|answer| !answer.repeated), "{answers:?}");
    }
}
