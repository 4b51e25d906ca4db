//! On what terms accounts trade: from configuration, and the same for everything that decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::account::command::Terms;
use domain::account::limits::Limits;
use domain::instrument::Instrument;
use domain::margin::Tiers;
use rust_decimal::Decimal;

/// What trading costs, what it takes to hold a position, and how much a new account may hold.
#[derive(Debug, Clone)]
pub struct TradingTerms {
    /// Of a fill's cost: 0.0004 is four basis points.
    pub fee_rate: Decimal,
    /// Of instruments that have tiers of their own.
    pub tiers: BTreeMap<Instrument, Arc<Tiers>>,
    /// Of all others.
    pub tiers_default: Arc<Tiers>,
    /// Of an account that is opened without limits of its own.
    pub limits_default: Limits,
}

impl TradingTerms {
    /// Returns the terms of an instrument.
    pub fn of(&self, instrument: &Instrument) -> Terms {
        Terms { fee_rate: self.fee_rate, tiers: Arc::clone(self.tiers(instrument)) }
    }

    /// Returns the tiers of an instrument.
    pub fn tiers(&self, instrument: &Instrument) -> &Arc<Tiers> {
        self.tiers.get(instrument).unwrap_or(&self.tiers_default)
    }
}
