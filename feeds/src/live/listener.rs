//! What is known of a venue from what was heard of it, socket or no socket.

use std::collections::{BTreeMap, BTreeSet};

use domain::book::LostReason;
use domain::instrument::Instrument;
use domain::median::Median;
use domain::observation::{Heard, Observation};
use domain::time::Timestamp;
use tokio::time::Instant;

use crate::feed::{Known, Resume};
use crate::live::minutes::Minutes;
use crate::live::missing::Missing;
use crate::live::quiet::Quiet;
use crate::live::tempo::Tempo;
use crate::scales::Scales;
use crate::splice::Splices;
use crate::venue::Listed;

/// Messages from which the venue's clock is told.
const SKEW_SAMPLES: usize = 1_000;

/// Keeps what was heard, and makes of it what is to be handed on.
pub(super) struct Listener {
    tempo: Tempo,
    splices: Splices,
    scales: Scales,
    /// The venue's clock less ours, in microseconds.
    skew: Median<SKEW_SAMPLES>,
    ears: BTreeMap<Instrument, Ear>,
}

/// What is known of one instrument.
pub(super) struct Ear {
    pub(super) missing: Missing,
    pub(super) minutes: Minutes,
    /// Anything at all of it.
    pub(super) all: Quiet,
    /// When its book was last told of.
    book_at: Option<Instant>,
}

impl Listener {
    pub(super) fn new(listed: &[Listed], resume: &Resume, tempo: Tempo) -> Self {
        let (mut scales, mut ears) = (Scales::default(), BTreeMap::new());
        let at = Instant::now();
        for Listed { instrument, listing, .. } in listed {
            scales.list(instrument, listing);
            let known = resume.0.get(instrument).cloned().unwrap_or_default();
            let Known { trade_id, missing, minute } = known;
            let ear = Ear {
                missing: Missing::after(trade_id, &missing, at),
                minutes: Minutes::after(minute),
                all: Quiet::default(),
                book_at: None,
            };
            ears.insert(instrument.clone(), ear);
        }
        Self { tempo, splices: Splices::default(), scales, skew: Median::default(), ears }
    }

    /// Takes in what a frame or the answer of a request said.
    pub(super) fn hear(
        &mut self,
        observation: Observation,
        at: Instant,
        told: &mut Vec<Observation>,
    ) {
        if let Some(venue_time) = observation.venue_time {
            self.skew.push(venue_time.since(observation.received_at));
        }
        if let Some(ear) = instrument(&observation.heard).and_then(|one| self.ears.get_mut(one)) {
            ear.all.hear(at);
            if let Heard::Tick(_, tick) = &observation.heard {
                ear.missing.hear(tick, at, self.tempo.hole_patience);
            }
        }
        let before = told.len();
        self.splices.hear(observation, told);
        for observation in told.iter_mut().skip(before) {
            // What a book knows already does not keep it alive: a venue's ids may start again.
            if let Heard::Diff(one, _) | Heard::Snapshot(one, _) = &observation.heard
                && let Some(ear) = self.ears.get_mut(one)
            {
                ear.book_at = Some(at);
            }
            self.scales.apply(observation);
        }
    }

    /// Data flows again.
    pub(super) fn connected(&mut self, venue_time: Timestamp, at: Instant) {
        for ear in self.ears.values_mut() {
            ear.minutes.connected(venue_time);
            ear.all.rest(at);
        }
    }

    /// No socket is left: what happens from here on is not heard.
    pub(super) fn disconnected(&mut self, now: Timestamp, told: &mut Vec<Observation>) {
        let venue_time = self.venue_time(now);
        for (instrument, ear) in &mut self.ears {
            ear.minutes.broken(venue_time);
            self.splices.lose(instrument, LostReason::Disconnected, now, told);
        }
    }

    /// Gives up the books that nothing was told of for too long.
    pub(super) fn lose_silent_books(
        &mut self,
        now: Timestamp,
        at: Instant,
        told: &mut Vec<Observation>,
    ) {
        for (instrument, ear) in &self.ears {
            let silent =
                |heard: Instant| at.saturating_duration_since(heard) >= self.tempo.book_silence;
            if ear.book_at.is_some_and(silent) {
                self.splices.lose(instrument, LostReason::Silent, now, told);
            }
        }
    }

    /// Whether one instrument has been silent for so long, while others were not, that its stream
    /// may have been forgotten. Asked once, the wait begins anew.
    pub(super) fn has_forgotten_stream(&mut self, at: Instant) -> bool {
        let min = self.tempo.instrument_silence_min;
        let mut forgotten = false;
        for ear in self.ears.values_mut() {
            if ear.all.is_past(at, min, min.saturating_mul(60)) {
                ear.all.rest(at);
                forgotten = true;
            }
        }
        forgotten
    }

    /// Returns the venue's time.
    pub(super) fn venue_time(&self, now: Timestamp) -> Timestamp {
        now.plus(self.skew.get().unwrap_or(0))
    }

    pub(super) fn splices(&mut self) -> &mut Splices {
        &mut self.splices
    }

    pub(super) const fn scales(&self) -> &Scales {
        &self.scales
    }

    pub(super) fn ears(&mut self) -> impl Iterator<Item = (&Instrument, &mut Ear)> {
        self.ears.iter_mut()
    }

    pub(super) fn ear(&mut self, instrument: &Instrument) -> Option<&mut Ear> {
        self.ears.get_mut(instrument)
    }

    pub(super) fn instruments(&self) -> BTreeSet<Instrument> {
        self.ears.keys().cloned().collect()
    }
}

/// Returns what an observation is about.
pub(super) const fn instrument(heard: &Heard) -> Option<&Instrument> {
    match heard {
        Heard::Tick(instrument, _)
        | Heard::Top(instrument, _)
        | Heard::Snapshot(instrument, _)
        | Heard::Diff(instrument, _)
        | Heard::BookLost(instrument, _)
        | Heard::Candles(instrument, ..)
        | Heard::TradesGone(instrument, ..)
        | Heard::Listed(instrument, _) => Some(instrument),
        Heard::Link(_) | Heard::Beat => None,
    }
}
