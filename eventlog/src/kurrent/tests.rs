//! The log on KurrentDB against a double of its server: the promises of the port, and by subject in the
//! files beneath what only a server can do to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time;

use super::*;
use crate::contract;
use crate::contract::{draft, stream, ticks};
use crate::kurrent::double::Double;

mod kurrent_double_access;
mod kurrent_double_aged;
mod kurrent_double_copied;
mod kurrent_double_damaged;
mod kurrent_double_ended;
mod kurrent_double_followed;
mod kurrent_double_idle;
mod kurrent_double_ids;
mod kurrent_double_led;
mod kurrent_double_raced;
mod kurrent_double_shared;
mod kurrent_double_unknown;
mod server_of_ones_own;

/// How long something may take that comes by itself. Past it the test fails.
const COMES_WAIT: Duration = Duration::from_mins(1);

/// Returns options for a log that nobody else has. What is measured is the truth, not the time, so an
/// append may take longer than a client would wait.
fn fresh() -> Options {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("test{}_", NEXT.fetch_add(1, Ordering::Relaxed));
    Options { prefix, patience: Duration::from_secs(20), ..Options::default() }
}

async fn open(double: &Double, log: Log, options: &Options) -> Kurrent {
    let address = double.url().parse().unwrap();
    Kurrent::open(address, log, options.clone()).await.unwrap()
}

/// Appends an entry of its own to a stream, after whatever is there.
async fn append(log: &Kurrent, stream: &Stream, id: u128) -> Appended {
    log.append(draft(stream, id, ticks(id, 1)), Expected::Any).await.unwrap()
}

async fn read_all(log: &impl ReadLog) -> Vec<Entry> {
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

/// Asks again until the answer is what is waited for.
async fn until<T, F: Future<Output = Option<T>>>(asked: impl Fn() -> F) -> T {
    let comes = async {
        loop {
            if let Some(answer) = asked().await {
                return answer;
            }
            time::sleep(Duration::from_millis(20)).await;
        }
    };
    time::timeout(COMES_WAIT, comes).await.expect("what is waited for comes")
}

async fn keeps_its_promises(double: &Double) {
    contract::check(async |log| open(double, log, &fresh()).await).await;
    contract::transfer::check(async |log| open(double, log, &fresh()).await).await;

    let options = fresh();
    contract::check_reopened(async || open(double, Log::Market, &options).await).await;
    let options = fresh();
    contract::transfer::check_reopened(async || open(double, Log::Market, &options).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_on_a_kurrent_double_keeps_the_promises_of_the_port() {
    keeps_its_promises(&Double::start().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_on_a_kurrent_double_of_three_nodes_keeps_the_promises_of_the_port() {
    keeps_its_promises(&Double::cluster(3).unwrap()).await;
}
