//! Facts about one account: its money, its positions, and what they did to each other.
//!
//! Amounts of money are in the account's currency. Each figure that had to be rounded was rounded
//! once, before it came here: whoever takes an event in adds and subtracts, and works nothing out
//! again. The large ones are boxed: ticks, which are many, stand in the same lists as these.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::account::limits::Limits;
use crate::account::position::{Leverage, Mode, PositionId, PositionSide};
use crate::amount::{Amount, Price};
use crate::fill::{Fill, MarketEntry};
use crate::instrument::{Currency, Instrument};
use crate::margin::Tier;
use crate::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum AccountEvent {
    /// The account is there from here on, without money.
    #[serde(rename = "account_opened.v1")]
    AccountOpened { currency: Currency, mode: Mode, limits: Limits },

    #[serde(rename = "deposited.v1")]
    Deposited { amount: Amount },

    #[serde(rename = "withdrawn.v1")]
    Withdrawn { amount: Amount },

    /// These limits replace those before. What is held already stays, whatever they say.
    #[serde(rename = "limits_set.v1")]
    LimitsSet { limits: Limits },

    #[serde(rename = "mode_set.v1")]
    ModeSet { mode: Mode },

    #[serde(rename = "position_opened.v1")]
    PositionOpened(Box<Opened>),

    /// The same position, larger: only in netting mode.
    #[serde(rename = "position_increased.v1")]
    PositionIncreased(Box<Increased>),

    /// A part of the position was closed.
    #[serde(rename = "position_reduced.v1")]
    PositionReduced(Box<Exited>),

    /// All that was left of the position was closed.
    #[serde(rename = "position_closed.v1")]
    PositionClosed(Box<Exited>),

    /// All that was left of the position was closed because its margin was used up.
    #[serde(rename = "position_liquidated.v1")]
    PositionLiquidated(Box<Exited>),

    /// These stops replace those before; without either the position has none. They look at what
    /// the market does after `market`, which was the newest then.
    #[serde(rename = "stops_set.v1")]
    StopsSet {
        position_id: PositionId,
        stop_loss: Option<Price>,
        take_profit: Option<Price>,
        market: MarketEntry,
    },

    /// Funding was paid into the position's margin, or out of it where `received` is negative.
    #[serde(rename = "funding_applied.v1")]
    FundingApplied(Box<Funded>),

    /// What the account was worth when a UTC day was over.
    #[serde(rename = "day_closed.v1")]
    DayClosed(DayClosed),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    pub position_id: PositionId,
    pub instrument: Instrument,
    pub side: PositionSide,
    pub leverage: Leverage,
    pub fill: Fill,
    /// The initial margin: what went from the account's free money into the position.
    pub margin: Decimal,
    pub fee: Fee,
    pub maintenance: Maintenance,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Increased {
    pub position_id: PositionId,
    pub fill: Fill,
    /// What went from the account's free money into the position.
    pub margin: Decimal,
    pub fee: Fee,
    pub maintenance: Maintenance,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exited {
    pub position_id: PositionId,
    pub cause: Cause,
    pub fill: Fill,
    /// The share of the cost basis that left with what was closed.
    pub cost_released: Decimal,
    /// Gross: for a long what was received minus the share, for a short the share minus what was paid.
    pub realized: Decimal,
    /// The share of the margin that left with what was closed.
    pub margin_released: Decimal,
    pub fee: Fee,
    /// What went to the account's free money: margin released + realized − fee, never below zero.
    pub credited: Decimal,
    /// What was missing to that: the house's loss.
    pub shortfall: Decimal,
    /// Of what is left; `None` when nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Funded {
    pub position_id: PositionId,
    pub rate: Decimal,
    pub mark: Price,
    /// −side · quantity · mark · rate: a positive rate is paid by longs.
    pub received: Decimal,
    pub market: MarketEntry,
    pub maintenance: Maintenance,
}

/// What a fill cost beside itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fee {
    /// Of the fill's cost: 0.0004 is four basis points.
    pub rate: Decimal,
    pub amount: Decimal,
}

/// At which price a position as it stands is liquidated, and by which tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// The tier that holds quantity × liquidation price; where there is none, that of the cost.
    pub tier: Tier,
    /// `None` for a long that cannot lose more than its margin.
    pub liquidation_price: Option<Decimal>,
}

/// Why a position was reduced or closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Cause {
    /// It was asked for by the position's id.
    Requested,
    /// An order on the other side, in netting mode.
    Netted,
    /// A trade met a condition.
    Fired(Firing),
}

/// The trade that met a condition. Its entry is the fill's market entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    pub trigger: Trigger,
    /// Which of the position's changes made the condition: see `Position::changes`.
    pub set_by: u64,
    pub trade_id: u64,
    pub price: Price,
}

/// What fires, in the order in which it does on one mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    Liquidation,
    StopLoss,
    TakeProfit,
}

impl Trigger {
    /// Whether a trade at `price` meets a condition of this kind at `condition`, for a position on
    /// this side.
    pub fn is_met(self, side: PositionSide, condition: Decimal, price: Decimal) -> bool {
        match (self, side) {
            (Self::Liquidation | Self::StopLoss, PositionSide::Long)
            | (Self::TakeProfit, PositionSide::Short) => price <= condition,
            (Self::Liquidation | Self::StopLoss, PositionSide::Short)
            | (Self::TakeProfit, PositionSide::Long) => price >= condition,
        }
    }
}

/// A price at which positions were valued, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    pub price: Price,
    pub market: MarketEntry,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DayClosed {
    /// The start of the day.
    pub day: Timestamp,
    /// The last price at or before the day's end of each instrument that is held.
    pub marks: BTreeMap<Instrument, Mark>,
    pub free: Decimal,
    /// The margin of all open positions.
    pub margin: Decimal,
    pub unrealized: Decimal,
    /// free + margin + unrealized.
    pub equity: Decimal,
}
