//! Facts about candles that outlive the trades they were made of.

use serde::{Deserialize, Serialize};

use crate::candle::{Candle, Interval};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum CandleEvent {
    /// A bucket closed with this candle, or a late trade changed it: then `revision` is higher.
    #[serde(rename = "candle_closed.v1")]
    CandleClosed { interval: Interval, candle: Candle },

    /// The venue's own bar of a closed bucket.
    #[serde(rename = "candle_imported.v1")]
    CandleImported { interval: Interval, candle: Candle },
}
