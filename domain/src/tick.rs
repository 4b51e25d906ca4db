//! One trade seen at a venue.

use serde::{Deserialize, Serialize};

use crate::amount::{Price, Quantity};
use crate::time::Timestamp;

/// The side of an order or of a trade's taker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Buy,
    Sell,
}

/// A trade as its venue told it. Which venue and instrument, the stream says that it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tick {
    /// The venue's own number of the trade; consecutive per instrument on the venues that we read.
    pub trade_id: u64,
    pub price: Price,
    pub quantity: Quantity,
    /// Who took: `Buy` when the buyer met a resting offer.
    pub taker: Side,
    /// The venue's time of the trade.
    pub traded_at: Timestamp,
    /// Our time of its arrival.
    pub received_at: Timestamp,
}

/// Digits after the point that price and quantity may carry together.
pub const TICK_SCALE_MAX: u32 = 18;

/// The greatest price times quantity.
pub const NOTIONAL_MAX: i64 = 10_000_000_000;

impl Tick {
    /// Whether price times quantity is exact, and so are sums of such products up to 7.9·10^28 in
    /// steps of their common scale: of a whole day at the scales that venues have. What a venue
    /// tells is recorded only when it is.
    pub fn is_exact(&self) -> bool {
        let (price, quantity) = (self.price.value(), self.quantity.value());
        price.scale() + quantity.scale() <= TICK_SCALE_MAX
            && price
                .checked_mul(quantity)
                .is_some_and(|notional| notional <= rust_decimal::Decimal::from(NOTIONAL_MAX))
    }
}
