//! How a refusal is told: its code, and the figures behind it.

use std::collections::BTreeMap;

use crate::account::command::Refusal;

impl Refusal {
    /// Returns the code that the client is told.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::WithdrawalTooLarge { .. }
            | Self::OtherCurrency { .. }
            | Self::InsufficientBalance(_) => "PORT_001",
            Self::BalanceTooLarge { .. }
            | Self::TooManyPositions { .. }
            | Self::NotionalLimit { .. }
            | Self::QuantityLimit { .. }
            | Self::LeverageLimit { .. } => "PORT_002",
            Self::PositionClosed | Self::NothingToReduce | Self::MoreThanOpen { .. } => "PORT_003",
            Self::AccountNotOpen | Self::PositionUnknown => "404",
            Self::AccountOpenOtherwise { .. }
            | Self::TooManyLimits { .. }
            | Self::PositionsOpen { .. }
            | Self::NotNetting
            | Self::LessThanOpen { .. }
            | Self::StopWouldFire { .. }
            | Self::MarkMissing { .. }
            | Self::Inexact => "400",
        }
    }

    /// Returns every figure of it by its name.
    pub fn arithmetic(&self) -> BTreeMap<String, String> {
        match self {
            Self::AccountNotOpen
            | Self::PositionUnknown
            | Self::PositionClosed
            | Self::NothingToReduce
            | Self::NotNetting
            | Self::Inexact => BTreeMap::new(),
            Self::AccountOpenOtherwise { currency, mode } => {
                named([("currency", currency.to_string()), ("mode", (*mode).to_owned())])
            }
            Self::TooManyLimits { limits, limits_max } => {
                named([("limits", limits.to_string()), ("limits_max", limits_max.to_string())])
            }
            Self::BalanceTooLarge { balance, balance_max } => {
                named([("balance", balance.to_string()), ("balance_max", balance_max.to_string())])
            }
            Self::WithdrawalTooLarge { amount, free } => {
                named([("amount", amount.to_string()), ("free", free.to_string())])
            }
            Self::OtherCurrency { instrument, currency } => {
                named([("instrument", instrument.to_string()), ("currency", currency.to_string())])
            }
            Self::PositionsOpen { open } => named([("open", open.to_string())]),
            Self::MoreThanOpen { quantity, open } | Self::LessThanOpen { quantity, open } => {
                named([("quantity", quantity.to_string()), ("open", open.to_string())])
            }
            Self::StopWouldFire { trigger, price, mark } => {
                named([(trigger, price.to_string()), ("mark", mark.to_string())])
            }
            Self::MarkMissing { instrument } => named([("instrument", instrument.to_string())]),
            Self::InsufficientBalance(order) => {
                let mut figures = named([
                    ("cost", order.cost.to_string()),
                    ("free", order.free.to_string()),
                    ("margin", order.margin.to_string()),
                    ("open_loss", order.open_loss.to_string()),
                    ("fee", order.fee.to_string()),
                    ("tier", order.tier.to_string()),
                    ("quantity_affordable", order.quantity_affordable.to_string()),
                ]);
                if let Some(price) = order.liquidation_price {
                    figures.insert("liquidation_price".to_owned(), price.to_string());
                }
                figures
            }
            Self::TooManyPositions { positions, positions_max } => named([
                ("positions", positions.to_string()),
                ("positions_max", positions_max.to_string()),
            ]),
            Self::NotionalLimit { notional, notional_max } => named([
                ("notional", notional.to_string()),
                ("notional_max", notional_max.to_string()),
            ]),
            Self::QuantityLimit { instrument, quantity, quantity_max } => named([
                ("instrument", instrument.to_string()),
                ("quantity", quantity.to_string()),
                ("quantity_max", quantity_max.to_string()),
            ]),
            Self::LeverageLimit { leverage, leverage_max, tier, notional } => named([
                ("leverage", leverage.to_string()),
                ("leverage_max", leverage_max.to_string()),
                ("tier", tier.to_string()),
                ("notional", notional.to_string()),
            ]),
        }
    }
}

fn named<const N: usize>(figures: [(&str, String); N]) -> BTreeMap<String, String> {
    figures.map(|(name, figure)| (name.to_owned(), figure)).into()
}
