//! The log on JetStream against real servers: the promises of the port, and by subject in the files
//! beneath what only a broker can do to it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time;

use super::*;
use crate::contract;
use crate::contract::{draft, stream, ticks};
use crate::nats::server::{Cluster, Settings};
use crate::transfer::ReadStored;

mod aged_out;
mod away;
mod damaged;
mod followed;
mod raced;
mod refused;
mod stood;

/// How long something may take that comes by itself. Past it the test fails.
const COMES_WAIT: Duration = Duration::from_secs(30);

/// Returns options for a log that nobody else has. What is measured is the truth, not the time, so
/// an append may take longer than a client would wait.
fn fresh(replicas: usize) -> Options {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let patience = Duration::from_secs(20);
    Options { prefix, replicas, sync_always: true, patience, ..Options::default() }
}

async fn open(client: &async_nats::Client, log: Log, options: &Options) -> Nats {
    Nats::open(client.clone(), log, options.clone()).await.unwrap()
}

/// Appends an entry of its own to a stream, after whatever is there.
async fn append(log: &Nats, stream: &Stream, id: u128) -> Appended {
    log.append(draft(stream, id, ticks(id, 1)), Expected::Any).await.unwrap()
}

async fn read_all(log: &Nats) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map_or(Offset(0), |entry| entry.offset);
        let read = log.read(after, usize::MAX).await.unwrap();
        if read.is_empty() {
            return entries;
        }
        entries.extend(read);
    }
}

/// Asks JetStream's interface as an operator may.
async fn ask(client: &async_nats::Client, what: &str, body: &Value) -> Value {
    let subject = format!("$JS.API.{what}");
    let answer = client.request(subject, body.to_string().into()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

/// Asks again until the answer is what is waited for.
async fn until<T, F: Future<Output = Option<T>>>(asked: impl Fn() -> F) -> T {
    let comes = async {
        loop {
            if let Some(answer) = asked().await {
                return answer;
            }
            time::sleep(Duration::from_millis(50)).await;
        }
    };
    time::timeout(COMES_WAIT, comes).await.expect("what is waited for comes")
}

async fn keeps_its_promises(cluster: Cluster, replicas: usize) {
    let client = cluster.client().await;
    contract::check(async |log| open(&client, log, &fresh(replicas)).await).await;
    contract::transfer::check(async |log| open(&client, log, &fresh(replicas)).await).await;

    let options = fresh(replicas);
    contract::check_reopened(async || open(&client, Log::Market, &options).await).await;
    let options = fresh(replicas);
    contract::transfer::check_reopened(async || open(&client, Log::Market, &options).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_on_one_server_keeps_the_promises_of_the_port() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };

    keeps_its_promises(cluster, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_on_three_servers_keeps_the_promises_of_the_port() {
    let Some(cluster) = Cluster::three(Settings::default()).await else { return };

    keeps_its_promises(cluster, 3).await;
}

#[tokio::test]
async fn a_long_log_reads_the_same_by_any_way() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };
    let client = cluster.client().await;
    let options = fresh(1);
    let log = open(&client, Log::Market, &options).await;
    let source = crate::memory::Memory::new(Log::Market);
    for id in 0..3_000 {
        let place = if id % 100 == 7 { 2 } else { 1 };
        source.append(draft(&stream(place), id, ticks(id, 1)), Expected::Any).await.unwrap();
    }
    let all = source.stored(Offset(0), usize::MAX).await.unwrap();
    log.take_over(&all).await.unwrap();

    let all = read_all(&open(&client, Log::Market, &options).await).await;
    assert_eq!(all.len(), 3_000);
    for limit in [1, 20, 700] {
        let log = open(&client, Log::Market, &options).await;
        for after in (0..3_000).step_by(431) {
            let expected = &all[after..(after + 3 * limit).min(3_000)];
            let mut read = Vec::new();
            while read.len() < expected.len() {
                // Where the one before has come to, there is more waiting.
                let next = Offset((after + read.len()) as u64);
                let some = log.read(next, limit.min(expected.len() - read.len())).await.unwrap();
                assert!(!some.is_empty(), "{after} {limit}");
                read.extend(some);
            }
            assert!(read == expected, "{after} {limit}");
        }
    }
    for place in [1, 2] {
        let own: Vec<_> = all.iter().filter(|entry| entry.stream == stream(place)).collect();
        // Nothing is known of places at first; then what was read before is.
        for after in [own.len() - 20, own.len() / 3, 0, own.len() / 2, own.len() - 1] {
            let log = open(&client, Log::Market, &options).await;
            for after in [after, after + 3] {
                let read = log.read_stream(&stream(place), Version(after as u64), 10).await;
                let expected = own.iter().skip(after).take(10).map(|entry| (*entry).clone());
                assert_eq!(read, Ok(expected.collect()), "{place} {after}");
            }
        }
    }
}
