//! What is known of one minute, and which candle of it stands.

use crate::candle::{Candle, Interval};
use crate::tick::Tick;

use super::series::{Held, Origin};

/// All that is known of a minute. What stands is a function of it, whatever came first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// From trades. Its revision counts the market's entries that changed it after it had closed.
    pub(super) built: Option<Candle>,
    /// The recorded one with most trades. Its revision is the highest that was recorded.
    pub(super) recorded: Option<Candle>,
    pub(super) native: Option<Candle>,
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
            Origin::Built | Origin::Closed | Origin::Recorded => {
                Some(Base { candle: &self.candle, revision: self.candle.revision })
            }
            Origin::Native => None,
            Origin::Mixed => sources?.base(),
        }
    }
}

impl Sources {
    /// Returns what is known of a minute of which the candle that stands tells all.
    pub(super) fn of(held: &Held) -> Self {
        let candle = || Some(held.candle.clone());
        match held.origin {
            Origin::Built => Self { built: candle(), ..Self::default() },
            Origin::Closed => Self { built: candle(), recorded: candle(), native: None },
            Origin::Recorded => Self { recorded: candle(), ..Self::default() },
            Origin::Native => Self { native: candle(), ..Self::default() },
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
        let (most, revision) = match &self.recorded {
            Some(before) if before.trades > candle.trades => (before, candle.revision),
            Some(before) => (candle, before.revision),
            None => (candle, 0),
        };
        let revision = most.revision.max(revision);
        self.recorded = Some(Candle { revision, ..most.clone() });
    }

    /// Takes the venue's own bar; a later one replaces it.
    pub(super) fn import(&mut self, candle: &Candle) {
        self.native = Some(candle.clone());
    }

    pub(super) fn has_native(&self) -> bool {
        self.native.is_some()
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

    /// Returns what the ledger told, alone.
    pub(super) fn of_ledger(&self) -> Self {
        Self { built: None, ..self.clone() }
    }

    fn origin(&self) -> Origin {
        match (&self.built, &self.recorded, &self.native) {
            (Some(_), None, None) => Origin::Built,
            (Some(built), Some(recorded), None) if built == recorded => Origin::Closed,
            (None, Some(_), None) => Origin::Recorded,
            (None, None, Some(_)) => Origin::Native,
            _ => Origin::Mixed,
        }
    }

    /// Returns the candle with more trades, the built one of equals, at the higher revision.
    fn base(&self) -> Option<Base<'_>> {
        let candle = match (&self.built, &self.recorded) {
            (Some(built), Some(recorded)) if recorded.trades > built.trades => recorded,
            (Some(built), _) => built,
            (None, recorded) => recorded.as_ref()?,
        };
        let revision = |candle: &Option<Candle>| candle.as_ref().map_or(0, |it| it.revision);
        Some(Base { candle, revision: revision(&self.built).max(revision(&self.recorded)) })
    }
}
