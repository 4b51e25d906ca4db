//! What can be asked of an account, and why it may be refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;

use crate::account::event::{Firing, Mark};
use crate::account::limits::Limits;
use crate::account::position::{Leverage, Mode, PositionId, PositionSide};
use crate::amount::{Amount, Price, Quantity};
use crate::fill::{Fill, MarketEntry};
use crate::instrument::{Currency, Instrument};
use crate::margin::Tiers;
use crate::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountCommand {
    OpenAccount {
        currency: Currency,
        mode: Mode,
        limits: Limits,
    },
    Deposit {
        amount: Amount,
    },
    Withdraw {
        amount: Amount,
    },
    SetLimits {
        limits: Limits,
    },
    SetMode {
        mode: Mode,
    },
    OpenPosition(OpenPosition),
    /// Closes as much of a position as the fill says.
    ReducePosition {
        position_id: PositionId,
        fill: Fill,
        terms: Terms,
    },
    /// Closes what is left of a position: the fill is of all of it.
    ClosePosition {
        position_id: PositionId,
        fill: Fill,
        terms: Terms,
    },
    SetStops {
        position_id: PositionId,
        stop_loss: Option<Price>,
        take_profit: Option<Price>,
        /// The mark that they are judged by.
        mark: Price,
        market: MarketEntry,
    },
    ApplyFunding {
        position_id: PositionId,
        rate: Decimal,
        mark: Price,
        market: MarketEntry,
        terms: Terms,
    },
    /// Closes a position because a trade met its condition, unless the condition is gone by now.
    Fire {
        position_id: PositionId,
        firing: Firing,
        fill: Fill,
        terms: Terms,
    },
    /// States what the account is worth at these marks, once for each day.
    CloseDay {
        day: Timestamp,
        marks: BTreeMap<Instrument, Mark>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPosition {
    /// The name of the position, should one be opened.
    pub position_id: PositionId,
    pub instrument: Instrument,
    pub side: PositionSide,
    pub leverage: Leverage,
    /// In netting mode: reduces or closes what is held on the other side, and opens nothing.
    pub reduce_only: bool,
    pub fill: Fill,
    pub terms: Terms,
}

/// What trading costs, and what it takes to hold a position: from configuration, and an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Of a fill's cost: 0.0004 is four basis points.
    pub fee_rate: Decimal,
    pub tiers: Arc<Tiers>,
}

/// Why an account does not do what it is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the account is not open")]
    AccountNotOpen,
    #[error("the account is open already, with {currency} in {mode} mode: set its mode and limits")]
    AccountOpenOtherwise { currency: Currency, mode: &'static str },
    /// More than the account may ever hold: its figures would not be exact any more.
    #[error("the balance would be {balance}, more than {balance_max}")]
    BalanceTooLarge { balance: Decimal, balance_max: Decimal },
    #[error("{amount} is more than the free {free}")]
    WithdrawalTooLarge { amount: Decimal, free: Decimal },
    #[error("the account holds {currency}, and {instrument} is paid in another currency")]
    OtherCurrency { instrument: Instrument, currency: Currency },
    #[error("{limits} instruments would have a limit of their own, more than {limits_max}")]
    TooManyLimits { limits: usize, limits_max: usize },
    #[error("the mode changes only while no position is open: {open} are")]
    PositionsOpen { open: usize },
    #[error("no such position")]
    PositionUnknown,
    #[error("the position is closed")]
    PositionClosed,
    /// As in `reduce_only` with nothing on the other side.
    #[error("there is nothing to reduce")]
    NothingToReduce,
    #[error("{quantity} is more than the {open} that is open")]
    MoreThanOpen { quantity: Quantity, open: Quantity },
    /// A fill that was to close all of a position, and does not.
    #[error("{quantity} is not all of the {open} that is open")]
    LessThanOpen { quantity: Quantity, open: Quantity },
    #[error("reduce_only is for accounts in netting mode")]
    NotNetting,
    #[error("a {trigger} at {price} would fire at once: the mark is {mark}")]
    StopWouldFire { trigger: &'static str, price: Price, mark: Price },
    #[error("{instrument} is held, and there is no price for it")]
    MarkMissing { instrument: Instrument },
    /// An order that costs more than is free.
    #[error(
        "the order costs {}, and {} is free: margin {}, open loss {}, fee {}",
        .0.cost, .0.free, .0.margin, .0.open_loss, .0.fee
    )]
    InsufficientBalance(Box<OrderCost>),
    #[error("{positions} positions would be open, more than {positions_max}")]
    TooManyPositions { positions: u32, positions_max: u32 },
    #[error("the order takes notional to {notional}, past the limit of {notional_max}")]
    NotionalLimit { notional: Decimal, notional_max: Decimal },
    #[error("the order takes {instrument} to {quantity}, past the limit of {quantity_max}")]
    QuantityLimit { instrument: Instrument, quantity: Decimal, quantity_max: Decimal },
    #[error(
        "leverage {leverage} is more than the {leverage_max} that tier {tier} allows at a notional of {notional}"
    )]
    LeverageLimit { leverage: Leverage, leverage_max: Decimal, tier: u32, notional: Decimal },
    /// A figure would need more digits than are held exactly.
    #[error("the figures of this order cannot be held exactly: use fewer digits")]
    Inexact,
}

/// What an order would cost, and what it would lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderCost {
    /// margin + open loss + fee.
    pub cost: Decimal,
    pub free: Decimal,
    pub margin: Decimal,
    /// What the fill is worse than the mark.
    pub open_loss: Decimal,
    pub fee: Decimal,
    /// The tier of the account's notional on this side of the instrument.
    pub tier: u32,
    /// The largest quantity that the free money pays for at this fill's average price, cut to the
    /// digits of the order's own quantity.
    pub quantity_affordable: Decimal,
    /// Of the position, were it accepted.
    pub liquidation_price: Option<Decimal>,
}
