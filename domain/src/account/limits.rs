//! How much an account may hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::amount::{Amount, Quantity};
use crate::instrument::Instrument;

/// Instruments for which an account may have a limit of its own.
pub const QUANTITY_LIMITS_MAX: usize = 64;

/// What an order is refused for exceeding (`PORT_002`). Reducing never is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Open positions at once.
    pub positions_max: u32,
    /// The cost of all open positions together.
    pub notional_max: Amount,
    /// Of an instrument, both sides added up; without an entry it is bounded by `notional_max` alone.
    pub quantity_max: BTreeMap<Instrument, Quantity>,
}
