//! All facts that can be recorded, each under a name with a version that never changes its meaning.

use serde::Serialize;

use crate::access::event::AccessEvent;
use crate::account::event::AccountEvent;
use crate::candle::event::CandleEvent;
use crate::keys::event::KeyEvent;
use crate::market::event::MarketEvent;
use crate::refusal::RefusalEvent;

/// One fact. In JSON it is an object whose `type` is the versioned name: `tick_observed.v1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Event {
    Market(MarketEvent),
    Candle(CandleEvent),
    Account(AccountEvent),
    Refusal(RefusalEvent),
    Key(KeyEvent),
    Access(AccessEvent),
}

/// Which enum a name belongs to, so that a reader can go straight to the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Market,
    Candle,
    Account,
    Refusal,
    Key,
    Access,
}

/// Every name ever recorded. A name is added, never changed and never removed; each has its sample
/// in `domain/golden/`.
pub const NAMES: &[(&str, Family)] = &[
    ("tick_observed.v1", Family::Market),
    ("feed_gap_opened.v1", Family::Market),
    ("feed_gap_filled.v1", Family::Market),
    ("feed_gap_unfillable.v1", Family::Market),
    ("pulse_observed.v1", Family::Market),
    ("book_snapshot_observed.v1", Family::Market),
    ("book_diff_observed.v1", Family::Market),
    ("book_lost.v1", Family::Market),
    ("candle_closed.v1", Family::Candle),
    ("candle_imported.v1", Family::Candle),
    ("account_opened.v1", Family::Account),
    ("deposited.v1", Family::Account),
    ("withdrawn.v1", Family::Account),
    ("limits_set.v1", Family::Account),
    ("mode_set.v1", Family::Account),
    ("position_opened.v1", Family::Account),
    ("position_increased.v1", Family::Account),
    ("position_reduced.v1", Family::Account),
    ("position_closed.v1", Family::Account),
    ("position_liquidated.v1", Family::Account),
    ("stops_set.v1", Family::Account),
    ("funding_applied.v1", Family::Account),
    ("day_closed.v1", Family::Account),
    ("command_refused.v1", Family::Refusal),
    ("api_key_created.v1", Family::Key),
    ("api_key_rotated.v1", Family::Key),
    ("api_key_revoked.v1", Family::Key),
    ("token_revoked.v1", Family::Key),
    ("authentication_failed.v1", Family::Access),
    ("address_denied.v1", Family::Access),
    ("failures_counted.v1", Family::Access),
    ("token_issued.v1", Family::Access),
    ("records_read.v1", Family::Access),
    ("api_key_used.v1", Family::Access),
];

/// Returns the family of a recorded name; `None` is a name that this version does not know.
pub fn family(name: &str) -> Option<Family> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, family)| *family)
}

impl From<MarketEvent> for Event {
    fn from(event: MarketEvent) -> Self {
        Self::Market(event)
    }
}

impl From<CandleEvent> for Event {
    fn from(event: CandleEvent) -> Self {
        Self::Candle(event)
    }
}

impl From<AccountEvent> for Event {
    fn from(event: AccountEvent) -> Self {
        Self::Account(event)
    }
}

impl From<RefusalEvent> for Event {
    fn from(event: RefusalEvent) -> Self {
        Self::Refusal(event)
    }
}

impl From<KeyEvent> for Event {
    fn from(event: KeyEvent) -> Self {
        Self::Key(event)
    }
}

impl From<AccessEvent> for Event {
    fn from(event: AccessEvent) -> Self {
        Self::Access(event)
    }
}

#[cfg(test)]
mod tests;
