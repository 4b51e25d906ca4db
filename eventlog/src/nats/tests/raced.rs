//! Many writers at one stream, each in a process of its own as far as the log knows.

use tokio::task::JoinSet;

use super::*;

const WRITERS: u128 = 16;
const ROUNDS: u64 = 50;

async fn one_wins_each_round(cluster: Cluster, replicas: usize) {
    let client = cluster.client().await;
    let options = fresh(replicas);
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        writers.push(Arc::new(open(&client, Log::Market, &options).await));
    }
    for round in 0..ROUNDS {
        let mut rivals = JoinSet::new();
        for (log, number) in writers.iter().zip(1..) {
            let log = Arc::clone(log);
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
        let tip = writers[0].last(&stream(1)).await.unwrap().unwrap();
        assert_eq!((tip.append_id.as_u128(), tip.version), (won[0].0, Version(round + 1)));
    }
    assert_eq!(read_all(&writers[0]).await.len() as u64, ROUNDS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_on_one_server_one_wins_and_all_others_are_told() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };

    one_wins_each_round(cluster, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_on_three_servers_one_wins_and_all_others_are_told() {
    let Some(cluster) = Cluster::three(Settings::default()).await else { return };

    one_wins_each_round(cluster, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_append_of_many_nodes_at_once_is_in_once() {
    let Some(cluster) = Cluster::three(Settings::default()).await else { return };
    let client = cluster.client().await;
    let options = fresh(3);
    let mut nodes = Vec::new();
    for _ in 0..6 {
        nodes.push(Arc::new(open(&client, Log::Market, &options).await));
    }
    for round in 1..=20 {
        let mut same = JoinSet::new();
        for log in &nodes {
            let log = Arc::clone(log);
            let draft = draft(&stream(1), round, ticks(round, 1));
            same.spawn(async move { log.append(draft, Expected::Any).await });
        }
        let answers = same.join_all().await;

        let version = Version(u64::try_from(round).unwrap());
        assert!(answers.iter().flatten().all(|answer| answer.version == version), "{answers:?}");
        assert_eq!(answers.iter().flatten().filter(|answer| !answer.repeated).count(), 1);
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
}
