//! Followers, whatever happens to what they follow by.

use std::sync::Arc;

use super::*;
use crate::patient::Patient;
use crate::remote::ring::RING_BYTES_MAX;

/// Follows a log until it has seen so many entries.
async fn follow(log: Arc<Nats>, entries: usize) -> Vec<Entry> {
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

/// Returns whether the tail, and nothing else, has brought all up to an offset.
async fn is_followed_to(log: &Nats, offset: Offset) {
    let mut newest = log.shared.ring.newest();
    let comes = newest.wait_for(|newest| *newest >= offset);
    drop(time::timeout(COMES_WAIT, comes).await.expect("the tail comes to it").unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_consumer_is_made_anew_where_it_was() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };
    let client = cluster.client().await;
    let log = open(&client, Log::Market, &fresh(1)).await;
    let stream_name = log.shared.names().stream.clone();
    for round in 1..=3 {
        is_followed_to(&log, append(&log, &stream(1), round * 10).await.offset).await;

        let names = ask(&client, &format!("CONSUMER.NAMES.{stream_name}"), &json!({})).await;
        let consumers = names["consumers"].as_array().unwrap().clone();
        assert!(!consumers.is_empty(), "{names}");
        for consumer in consumers {
            let what = format!("CONSUMER.DELETE.{stream_name}.{}", consumer.as_str().unwrap());
            ask(&client, &what, &json!({})).await;
        }

        is_followed_to(&log, append(&log, &stream(1), round * 10 + 1).await.offset).await;
    }
    assert_eq!(log.shared.ring.after(Offset(0), 99).map(|entries| entries.len()), Some(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_misses_nothing_while_its_server_is_killed_and_comes_back() {
    let Some(mut cluster) = Cluster::single(Settings::default()).await else { return };
    let client = cluster.client().await;
    let log = Arc::new(open(&client, Log::Market, &fresh(1)).await);
    let follower = tokio::spawn(follow(Arc::clone(&log), 60));
    for round in 0..3 {
        for id in 1..=20 {
            let id = round * 100 + id;
            until(async || {
                let draft = draft(&stream(id % 3), id, ticks(id, 1));
                log.append(draft, Expected::Any).await.ok()
            })
            .await;
        }
        cluster.kill9(0).await;
        cluster.restart(0).await;
    }

    let seen = time::timeout(COMES_WAIT, follower).await.expect("it sees all").unwrap();
    assert_eq!(seen, follow(log, 60).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_misses_nothing_while_leaders_change() {
    let Some(cluster) = Cluster::three(Settings::default()).await else { return };
    let client = cluster.client().await;
    let log = Arc::new(open(&client, Log::Market, &fresh(3)).await);
    let stream_name = log.shared.names().stream.clone();
    let follower = tokio::spawn(follow(Arc::clone(&log), 60));
    for round in 0..3 {
        for id in 1..=20 {
            let id = round * 100 + id;
            until(async || {
                let draft = draft(&stream(id % 3), id, ticks(id, 1));
                log.append(draft, Expected::Any).await.ok()
            })
            .await;
        }
        ask(&client, &format!("STREAM.LEADER.STEPDOWN.{stream_name}"), &json!({})).await;
    }

    let seen = time::timeout(COMES_WAIT, follower).await.expect("it sees all").unwrap();
    assert_eq!(seen, follow(log, 60).await);
}

#[tokio::test]
async fn a_reader_behind_the_ring_reads_the_same_entries() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };
    let log = open(&cluster.client().await, Log::Market, &fresh(1)).await;
    for id in 1..=30 {
        append(&log, &stream(id % 3), id).await;
    }
    is_followed_to(&log, Offset(30)).await;
    let ring = log.shared.ring.after(Offset(10), 99).unwrap();

    // As if they had been too many.
    log.shared.ring.push(ring[18].offset, ring[19].clone(), RING_BYTES_MAX + 1);

    assert_eq!(log.shared.ring.after(Offset(10), 99), None);
    assert_eq!(log.read(Offset(10), 99).await.unwrap(), ring);
}
