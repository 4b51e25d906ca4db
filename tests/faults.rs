//! Faults of the disk, made from outside: one that fills up, and calls that fail. The process lives
//! or stops, and says so; what it had acknowledged is there afterwards, once, and nothing else is.
//!
//! `space` is a small disk that can be filled and emptied, `injected` makes the n-th call of a kind
//! fail, `fat` is a recording that makes a log grow fast. Then the tests: `filling` fills the disk
//! under a running house, `acknowledged` sweeps failing calls over a log in a process of its own,
//! `failing` lets them hit the whole house, and `snapshots` holds what outlives a kill against the
//! logs.
//!
//! `ENTASIS_TEST_SEED` draws other moments, `ENTASIS_TEST_LONG=1` fifty times as many: `tests/long`.

mod fat;
mod injected;
pub(crate) mod space;

mod filling;

mod acknowledged;

mod failing;

mod snapshots;

use std::collections::{BTreeMap, BTreeSet};

use domain::event::Event;
use domain::market::event::MarketEvent;
use eventlog::entry::{Entry, Offset, Version};
use serde_json::{Value, json};

use crate::listener::Listener;

/// Draws numbers; the same seed draws the same.
pub(crate) struct Lots(u64);

impl Lots {
    /// Begins with the seed that is given, and prints it.
    pub(crate) fn draw(test: &str) -> Self {
        let given = std::env::var("ENTASIS_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(20_240_809);
        eprintln!("{test}: seed {seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % end.max(1)
    }
}

/// The entries behind a floor have no hole and no repetition; each stream's versions follow each
/// other, and so do its hashes.
fn assert_whole(floor: Offset, entries: &[Entry]) {
    let mut tips = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for (entry, offset) in entries.iter().zip(floor.0 + 1..) {
        assert_eq!(entry.offset, Offset(offset));
        let tip = (entry.version, entry.hash);
        match tips.insert(entry.stream.clone(), tip) {
            Some((version, hash)) => {
                assert_eq!((entry.version, entry.prev_hash), (version.next(), hash), "at {offset}");
            }
            // What was before the first that is held, the log itself must know: `verify` asks it.
            None => assert!(floor > Offset(0) || entry.version == Version(1), "at {offset}"),
        }
        assert!(ids.insert(entry.append_id), "{} stands twice", entry.append_id);
    }
}

/// Listens to all trades until the house hangs up; returns the seqs that it was told.
async fn hear(host: String) -> BTreeSet<u64> {
    let mut listener = Listener::connect(&host).await;
    let channel = json!({"action": "subscribe", "channel": "market", "symbols": ["BTC-USDT"]});
    listener.say(&channel).await;
    let mut seqs = BTreeSet::new();
    while let Some(message) = listener.next().await {
        if message["type"] == "data" {
            seqs.insert(message["seq"].as_u64().expect("a seq"));
        }
    }
    seqs
}

/// What a listener was told stands in the log, at the place that it was told.
fn assert_holds(entries: &[Entry], seqs: &BTreeSet<u64>) {
    let of = |entry: &Entry| {
        let events = entry.events.iter().zip(entry.offset.0 * 256..);
        let ticks = events
            .filter(|(event, _)| matches!(event, Event::Market(MarketEvent::TickObserved(_))));
        ticks.map(|(_, seq)| seq).collect::<Vec<u64>>()
    };
    let held: BTreeSet<u64> = entries.iter().flat_map(of).collect();
    let lost: Vec<&u64> = seqs.difference(&held).collect();
    assert!(lost.is_empty(), "told and not held: {lost:?}");
}

/// Returns how many trades the feeds of a house have recorded.
fn recorded(ready: &Value) -> u64 {
    let feeds = ready["feeds"].as_array();
    feeds.into_iter().flatten().filter_map(|feed| feed["recorded"].as_u64()).sum()
}
