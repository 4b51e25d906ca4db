//! A simulated exchange: its market is a pure function of seed and time.
//!
//! Time is cut into slots. What happens in a slot can be worked out from the seed and the slot's
//! number alone, trade ids included, so that a restart goes on with the same market:
//!
//! ```text
//! chance (seed, place) ── path: the middle price of a slot ── book of a slot ── trades in it
//! ```

mod book;
mod market;
mod path;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use domain::instrument::{Instrument, Venue};
use domain::observation::Observation;
use domain::time::{SECOND, Timestamp};
use tokio::sync::mpsc::Sender;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::counts::Counts;
use crate::simulated::market::{LISTINGS, Market};
use crate::splice::Splices;

/// The venue's name.
pub const VENUE: &str = "simulated";

/// The length of a slot, in microseconds.
pub const SLOT: i64 = SECOND / 4;

/// Where slot 0 begins: 2020-01-01T00:00:00Z.
pub const EPOCH: Timestamp = Timestamp::from_micros(1_577_836_800 * SECOND);

pub fn venue() -> Venue {
    VENUE.parse().expect("the name is in a venue's letters")
}

pub fn instruments() -> Vec<Instrument> {
    LISTINGS.iter().map(market::Listing::instrument).collect()
}

/// Returns the slot that holds this instant. Before the epoch, and in the first slot of all,
/// which has no book before it, that is slot 1.
pub fn slot_at(instant: Timestamp) -> u64 {
    u64::try_from(instant.since(EPOCH) / SLOT).unwrap_or(0).max(1)
}

/// Returns the instant at which a slot begins.
pub fn start_of(slot: u64) -> Timestamp {
    EPOCH.plus(i64::try_from(slot).unwrap_or(i64::MAX).saturating_mul(SLOT))
}

/// The exchange of one seed. Equal seeds tell equal things, whenever they are asked.
pub struct Exchange {
    markets: Vec<Market>,
}

impl Exchange {
    pub fn new(seed: u64) -> Self {
        let chance = Chance::of_seed(seed);
        Self { markets: LISTINGS.iter().map(|listing| Market::new(listing, chance)).collect() }
    }

    /// Returns the book of each instrument as it stood in this slot.
    pub fn snapshots(&self, slot: u64) -> Vec<Observation> {
        self.markets.iter().map(|market| market.snapshot(slot)).collect()
    }

    /// Returns what is heard when this slot, 1 or later, has passed: of each instrument the
    /// trades, what changed in the book since the slot before, and its top.
    pub fn slot(&self, slot: u64) -> Vec<Observation> {
        let mut heard = Vec::new();
        for market in &self.markets {
            market.slot(slot, &mut heard);
        }
        heard
    }
}

type Clock = dyn Fn() -> Timestamp + Send + Sync;

/// Tells what happens from `now` on, each slot when it has passed, until nobody listens any more.
///
/// No slot is left out: after a pause of the process the feed catches up. After a restart, the
/// trade ids of the time between are missing, as they would be at any venue.
pub async fn run(seed: u64, now: &Clock, out: Sender<Observation>, counts: Arc<Counts>) {
    let exchange = Exchange::new(seed);
    let mut slot = slot_at(now());
    let mut heard = exchange.snapshots(slot - 1);
    let (mut splices, mut told) = (Splices::default(), Vec::new());
    loop {
        for observation in heard {
            counts.frame();
            splices.hear(observation, &mut told);
        }
        for observation in told.drain(..) {
            if !counts.hand_over(observation, &out).await {
                return;
            }
        }
        tokio::select! {
            () = wait_for(start_of(slot + 1), now) => {}
            () = out.closed() => return,
        }
        heard = exchange.slot(slot);
        slot += 1;
    }
}

async fn wait_for(due: Timestamp, now: &Clock) {
    // Asked again after each sleep: the clock that counts is the given one, not the timer's.
    while let Ok(micros @ 1..) = u64::try_from(due.since(now())) {
        sleep(Duration::from_micros(micros)).await;
    }
}
