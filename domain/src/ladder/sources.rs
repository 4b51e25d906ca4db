//! What is known of one minute, and which candle of it stands.

use serde::{Deserialize, Serialize};

use crate::candle::{Candle, Interval};
use crate::tick::Tick;

use super::series::{Held, Origin};

/// All that is known of a minute. What stands is a function of it, whatever came first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sources {
    /// From trades. Its revision counts the market's entries that changed it after it had closed.
    built: Option<Candle>,
    /// The recorded one with most trades, while it has more than the built one.
    recorded: Option<Candle>,
    native: Option<Candle>,
    /// The highest revision that was recorded, while it is above the count.
    revision_min: u32,
}

/// The better of a built and a recorded candle, with its revision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base<'a> {
    candle: &'a Candle,
    revision: u32,
}

impl Base<'_> {
    pub(super) fn trades(self) -> u64 {
        self.candle.trades
    }

    pub(super) fn to_candle(self) -> Candle {
        Candle { revision: self.revision, ..self.candle.clone() }
    }
}

impl Held {
    /// Returns the base of a minute of which `sources` holds more, where there is more.
    pub(super) fn base<'a>(&'a self, sources: Option<&'a Sources>) -> Option<Base<'a>> {
        match self.origin {
            Origin::Built | Origin::Recorded => {
                Some(Base { candle: &self.candle, revision: self.candle.revision })
            }
            Origin::Native => None,
            Origin::Mixed => sources?.base(),
        }
    }
}

impl Sources {
    /// Returns what is known of a minute of which one source tells.
    pub(super) fn of(held: &Held) -> Self {
        let candle = Some(held.candle.clone());
        match held.origin {
            Origin::Built => Self { built: candle, ..Self::default() },
            Origin::Recorded => {
                Self { recorded: candle, revision_min: held.candle.revision, ..Self::default() }
            }
            Origin::Native => Self { native: candle, ..Self::default() },
            Origin::Mixed => Self::default(),
        }
    }

    pub(super) fn take(&mut self, tick: &Tick) {
        match &mut self.built {
            Some(candle) => candle.take(tick),
            None => self.built = Some(Candle::of(tick, Interval::Minute)),
        }
    }

    /// Counts a correction by trades.
    pub(super) fn count(&mut self) {
        if let Some(built) = &mut self.built {
            built.revision = built.revision.saturating_add(1);
        }
    }

    /// Takes a recorded candle: the one with most trades stays, of equals the later.
    pub(super) fn record(&mut self, candle: &Candle) {
        self.revision_min = self.revision_min.max(candle.revision);
        if self.recorded.as_ref().is_none_or(|recorded| candle.trades >= recorded.trades) {
            self.recorded = Some(candle.clone());
        }
    }

    /// Takes the venue's own bar; a later one replaces it.
    pub(super) fn import(&mut self, candle: &Candle) {
        self.native = Some(candle.clone());
    }

    pub(super) fn has_native(&self) -> bool {
        self.native.is_some()
    }

    /// Forgets what cannot matter any more: trades and revisions of a built candle only grow.
    pub(super) fn tidy(&mut self) {
        if let Some(recorded) = &mut self.recorded {
            // Its own revision stands in `revision_min`.
            recorded.revision = 0;
        }
        let Some(built) = &self.built else { return };
        if self.recorded.as_ref().is_some_and(|recorded| recorded.trades <= built.trades) {
            self.recorded = None;
        }
        if self.revision_min <= built.revision {
            self.revision_min = 0;
        }
    }

    /// Returns the candle that stands. The venue's own bar does where there is no other, or where
    /// the other is `partial`: then it is one revision past the candle that it replaces.
    pub(super) fn standing(&self, partial: bool) -> Option<Held> {
        let candle = match (self.base(), &self.native) {
            (None, native) => native.clone()?,
            (Some(base), Some(native)) if partial => {
                Candle { revision: base.revision.saturating_add(1), ..native.clone() }
            }
            (Some(base), _) => base.to_candle(),
        };
        Some(Held { candle, origin: self.origin() })
    }

    fn origin(&self) -> Origin {
        match (&self.built, &self.recorded, &self.native) {
            (Some(_), None, None) if self.revision_min == 0 => Origin::Built,
            (None, Some(_), None) => Origin::Recorded,
            (None, None, Some(_)) => Origin::Native,
            _ => Origin::Mixed,
        }
    }

    /// Returns the candle with more trades, the built one of equals.
    fn base(&self) -> Option<Base<'_>> {
        let counted = self.built.as_ref().map_or(0, |built| built.revision);
        let candle = match (&self.built, &self.recorded) {
            (Some(built), Some(recorded)) if recorded.trades > built.trades => recorded,
            (Some(built), _) => built,
            (None, recorded) => recorded.as_ref()?,
        };
        Some(Base { candle, revision: counted.max(self.revision_min) })
    }
}
