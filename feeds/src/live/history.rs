//! Fetches what was not heard: trades of a hole, the venue's own bars.
//!
//! It hands over by itself: live observations never wait for the past. In which order the two
//! reach the intake does not matter to the rule of a market.

use std::sync::Arc;

use domain::candle::Interval;
use domain::instrument::Instrument;
use domain::observation::{Heard, Observation};
use domain::time::Timestamp;
use tokio::sync::mpsc::Sender;
use tracing::warn;

use crate::counts::Counts;
use crate::feed::{Hole, Now};
use crate::live::minutes::hours;
use crate::live::rest::{Rest, RestError, Share};
use crate::scales::Scales;
use crate::venue::{Ask, Venue};

/// Trades of one hole that are fetched one by one. A longer hole is given up: the venue's own bars
/// stand for it.
pub(super) const HOLE_TRADES_MAX: u64 = 50_000;

/// The way in which the past is asked for and handed over.
#[derive(Clone)]
pub(super) struct History {
    pub(super) venue: Arc<dyn Venue>,
    pub(super) rest: Arc<Rest>,
    pub(super) scales: Scales,
    pub(super) now: Now,
    pub(super) out: Sender<Observation>,
    pub(super) counts: Arc<Counts>,
}

/// How far a hole has been filled.
#[derive(Debug)]
pub(super) enum Filled {
    Whole,
    /// Some of its trades cannot be had, and that was told.
    Gone,
    /// This part is still to be had, later.
    Rest(Hole, RestError),
    /// This part was not told of: the venue may not have it yet.
    Empty(Hole),
}

impl History {
    /// Hands over the trades of a hole.
    pub(super) async fn fill(mut self, instrument: &Instrument, hole: Hole) -> Filled {
        if hole.last - hole.first >= HOLE_TRADES_MAX {
            warn!(%instrument, hole.first, hole.last, "too many trades are missing to be fetched");
            self.gone(instrument, hole.first, hole.last).await;
            return Filled::Gone;
        }
        let (mut next, mut gone) = (hole.first, false);
        while next <= hole.last {
            let ask = Ask::Trades { instrument: instrument.clone(), first_id: next };
            let ticks = match self
                .answer(&ask)
                .await
                .and_then(|body| Ok(self.venue.trades(&body, (self.now)())?))
            {
                Ok(ticks) => ticks,
                Err(error) if error.may_pass() => {
                    return Filled::Rest(Hole { first: next, ..hole }, error);
                }
                Err(error) => {
                    warn!(%instrument, next, hole.last, %error, "missing trades cannot be had");
                    self.gone(instrument, next, hole.last).await;
                    return Filled::Gone;
                }
            };
            let before = next;
            for tick in ticks.into_iter().filter(|tick| tick.trade_id >= before) {
                let last = tick.trade_id.min(hole.last + 1);
                if next < last {
                    gone = true;
                    self.gone(instrument, next, last - 1).await;
                }
                if tick.trade_id > hole.last {
                    next = hole.last + 1;
                    break;
                }
                next = tick.trade_id + 1;
                self.tell(Heard::Tick(instrument.clone(), tick)).await;
            }
            if next == before {
                return Filled::Empty(Hole { first: next, ..hole });
            }
        }
        if gone { Filled::Gone } else { Filled::Whole }
    }

    /// Hands over the venue's own bars of these minutes.
    pub(super) async fn minutes(
        mut self,
        instrument: &Instrument,
        first: Timestamp,
        last: Timestamp,
    ) -> Result<(), RestError> {
        let ask = Ask::Minutes { instrument: instrument.clone(), first, last };
        let body = self.answer(&ask).await?;
        for bars in hours(self.venue.minutes(&body)?, first, last) {
            self.tell(Heard::Candles(instrument.clone(), Interval::Minute, bars)).await;
        }
        Ok(())
    }

    /// Says of a hole that could not be filled at all that it is gone.
    pub(super) async fn give_up(mut self, instrument: &Instrument, hole: Hole) -> Filled {
        warn!(%instrument, hole.first, hole.last, "the venue does not know the missing trades");
        self.gone(instrument, hole.first, hole.last).await;
        Filled::Gone
    }

    async fn answer(&self, ask: &Ask) -> Result<Vec<u8>, RestError> {
        let venue = self.venue.as_ref();
        self.rest.get(venue, &venue.request(ask), Share::History).await
    }

    async fn gone(&mut self, instrument: &Instrument, first: u64, last: u64) {
        self.tell(Heard::TradesGone(instrument.clone(), first, last)).await;
    }

    /// Without a venue's time: it would pass for the time of its clock now.
    async fn tell(&mut self, heard: Heard) {
        let mut told = Observation { received_at: (self.now)(), venue_time: None, heard };
        self.scales.apply(&mut told);
        // Nobody listens any more: the feed itself notices, and ends.
        let _listening = self.counts.hand_over(told, &self.out).await;
    }
}
