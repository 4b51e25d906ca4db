//! The promises of the port on a server that somebody has: the only one of these tests that does not
//! run against the double.
//!
//! `tests/contract-kurrent URL` runs it. Each log gets a prefix of its own, so a server may be asked
//! again and again; the streams stay there, under names that begin with `t` and 16 hexadecimal digits.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::contract;
use crate::kurrent::address::Address;
use crate::kurrent::{Kurrent, Options};
use crate::log::ReadLog;
use crate::stream::Log;

/// The URL of the server.
const URL: &str = "ENTASIS_TEST_KURRENT";

/// A server, and the logs that were made there.
struct Own {
    address: Address,
    /// What the prefixes of this run begin with. Two runs at once do not meet.
    run: String,
    logs: AtomicU32,
}

impl Own {
    /// Returns the server that the environment names.
    fn named() -> Option<Self> {
        let url = std::env::var(URL).ok().filter(|url| !url.is_empty())?;
        // The error repeats nothing of the URL: a password may stand in it.
        let address: Address = url.parse().unwrap_or_else(|error| panic!("{URL}: {error}"));
        assert!(
            address.prefix().is_none(),
            "{URL}: without anything behind the host: each log gets a prefix of its own"
        );
        let run = format!("t{:016x}", RandomState::new().hash_one(0));
        Some(Self { address, run, logs: AtomicU32::new(0) })
    }

    /// Returns options for a log that nobody else has. What is measured is the truth, not the time,
    /// so an append may take longer than a client would wait.
    fn fresh(&self) -> Options {
        let prefix = format!("{}_{}", self.run, self.logs.fetch_add(1, Ordering::Relaxed));
        Options { prefix, patience: Duration::from_secs(20), ..Options::default() }
    }

    async fn open(&self, log: Log, options: &Options) -> Kurrent {
        let opened = Kurrent::open(self.address.clone(), log, options.clone()).await;
        opened.unwrap_or_else(|error| panic!("{URL}: {error}"))
    }

    fn say(&self, what: &str) {
        say(&format!("{}: {what}", self.address));
    }
}

/// The harness hides what a test that passes prints, but not what goes to stderr by this way.
fn say(what: &str) {
    writeln!(std::io::stderr(), "{what}").expect("stderr is open");
}

/// Where no server is named it passes, even under `ENTASIS_TEST_REQUIRE=1`: `tests/run` cannot install
/// one, and the double is asked the same. `tests/contract-kurrent` always names one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_on_a_server_of_ones_own_keeps_the_promises_of_the_port() {
    let Some(own) = Own::named() else {
        say(&format!("not run: {URL} names no server"));
        return;
    };
    let log = own.open(Log::Market, &own.fresh()).await;
    let version = log.shared.server.version().await;
    let (major, minor) = version.unwrap_or_else(|fault| panic!("{URL}: {fault:?}"));
    own.say(&format!("version {major}.{minor}, durability {:?}", log.durability()));
    drop(log);

    contract::check(async |log| own.open(log, &own.fresh()).await).await;
    own.say("the promises of a log hold");
    contract::transfer::check(async |log| own.open(log, &own.fresh()).await).await;
    own.say("the promises of a copy hold");
    let options = own.fresh();
    contract::check_reopened(async || own.open(Log::Market, &options).await).await;
    own.say("what must survive a restart does");
    let options = own.fresh();
    contract::transfer::check_reopened(async || own.open(Log::Market, &options).await).await;
    let logs = own.logs.load(Ordering::Relaxed);
    own.say(&format!("what must survive of a copy does: {logs} logs, {}_0 and on", own.run));
}
