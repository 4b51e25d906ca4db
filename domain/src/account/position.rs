//! What an account holds of one instrument, and the arithmetic of getting in and out.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::account::event::{Exited, Firing, Funded, Increased, Maintenance, Opened, Trigger};
use crate::amount::{self, NotAnAmount, Price, Quantity};
use crate::exact;
use crate::fill::MarketEntry;
use crate::instrument::Instrument;
use crate::name::from_text;
use crate::tick::Side;

/// How positions of one symbol stand to each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Each order opens a position of its own; long and short coexist.
    #[default]
    Hedging,
    /// One position a symbol: the same side adds, the other reduces, closes or flips it.
    Netting,
}

impl Mode {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hedging => "hedging",
            Self::Netting => "netting",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionSide {
    Long,
    Short,
}

impl PositionSide {
    /// Returns what a rising price brings: 1 for a long, −1 for a short.
    pub const fn sign(self) -> Decimal {
        match self {
            Self::Long => Decimal::ONE,
            Self::Short => Decimal::NEGATIVE_ONE,
        }
    }

    /// Returns the side of the market order that opens it.
    pub const fn entry(self) -> Side {
        match self {
            Self::Long => Side::Buy,
            Self::Short => Side::Sell,
        }
    }

    /// Returns the side of the market order that closes it.
    pub const fn exit(self) -> Side {
        match self {
            Self::Long => Side::Sell,
            Self::Short => Side::Buy,
        }
    }
}

/// The name of a position, `pos_` and 26 digits of base 32. It is made of the id of the append that
/// opens it, so that a command that is sent again names the same position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PositionId(u128);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no position has such a name")]
pub struct NotAPositionId;

const PREFIX: &str = "pos_";
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const DIGITS_COUNT: usize = 26;

impl PositionId {
    /// Returns the name that is made of these 128 bits.
    pub const fn new(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Display for PositionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        for place in (0..DIGITS_COUNT).rev() {
            let digit = usize::try_from(self.0 >> (5 * place) & 31).unwrap_or_default();
            fmt::Write::write_char(f, char::from(DIGITS.get(digit).copied().unwrap_or_default()))?;
        }
        Ok(())
    }
}

impl FromStr for PositionId {
    type Err = NotAPositionId;

    fn from_str(text: &str) -> Result<Self, NotAPositionId> {
        let digits = text.strip_prefix(PREFIX).ok_or(NotAPositionId)?;
        if digits.len() != DIGITS_COUNT {
            return Err(NotAPositionId);
        }
        let mut bits: u128 = 0;
        for byte in digits.bytes() {
            let digit = DIGITS.iter().position(|known| *known == byte).ok_or(NotAPositionId)?;
            bits = bits.checked_mul(32).ok_or(NotAPositionId)? | digit as u128;
        }
        Ok(Self(bits))
    }
}

impl Serialize for PositionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PositionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

/// How many times its margin a position costs: 1 or more, with at most two digits after the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leverage(Decimal);

/// The greatest leverage that is a leverage at all; tiers allow less.
pub const LEVERAGE_MAX: u32 = 1_000;

/// Digits after the point of a leverage.
pub const LEVERAGE_SCALE_MAX: u32 = 2;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotALeverage {
    #[error(transparent)]
    NotAnAmount(#[from] NotAnAmount),
    #[error("must be 1 to {LEVERAGE_MAX}")]
    OutOfRange,
    #[error("more than {LEVERAGE_SCALE_MAX} digits after the point")]
    TooFine,
}

impl Leverage {
    pub const ONE: Self = Self(Decimal::ONE);

    pub fn new(value: Decimal) -> Result<Self, NotALeverage> {
        if value < Decimal::ONE || value > Decimal::from(LEVERAGE_MAX) {
            Err(NotALeverage::OutOfRange)
        } else if amount::scale_that_counts(value) > LEVERAGE_SCALE_MAX {
            Err(NotALeverage::TooFine)
        } else {
            Ok(Self(value))
        }
    }

    pub const fn value(self) -> Decimal {
        self.0
    }
}

impl FromStr for Leverage {
    type Err = NotALeverage;

    fn from_str(text: &str) -> Result<Self, NotALeverage> {
        Self::new(amount::decimal(text)?)
    }
}

impl fmt::Display for Leverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Leverage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Leverage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

/// A position as it stands, open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    pub id: PositionId,
    pub instrument: Instrument,
    pub side: PositionSide,
    pub leverage: Leverage,
    /// What is open. Never zero: a position that is closed is no `Position` any more.
    pub quantity: Quantity,
    /// What was paid for what is open (received for it, of a short).
    pub cost: Decimal,
    /// The isolated wallet: what of the account's money stands for this position alone.
    pub margin: Decimal,
    /// Gross, of what was closed of it.
    pub realized: Decimal,
    pub fees: Decimal,
    /// Received; negative when more was paid.
    pub funding: Decimal,
    pub maintenance: Maintenance,
    pub stops: Stops,
    /// The market as it was when quantity, cost or margin changed last: a liquidation looks at what
    /// came after.
    pub market: MarketEntry,
    /// How many events have made the position what it is: 1 when it has just been opened.
    pub changes: u64,
    /// The value of `changes` when quantity, cost or margin changed last.
    pub margin_set_by: u64,
}

/// When a position is to be closed by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stops {
    pub stop_loss: Option<Price>,
    pub take_profit: Option<Price>,
    /// The market as it was when they were set; `None` as long as none ever were.
    pub market: Option<MarketEntry>,
    /// The value of the position's `changes` when they were set.
    pub set_by: u64,
}

impl Position {
    /// Returns side · (quantity · mark − cost); `None` where that is not exact.
    pub fn unrealized(&self, mark: Price) -> Option<Decimal> {
        let worth = exact::mul(self.quantity.value(), mark.value())?;
        exact::mul(self.side.sign(), exact::sub(worth, self.cost)?)
    }

    /// Whether the trade meets a condition of this position as it stands.
    pub fn is_met_by(&self, firing: &Firing) -> bool {
        let (condition, set_by) = match firing.trigger {
            Trigger::Liquidation => (self.maintenance.liquidation_price, self.margin_set_by),
            Trigger::StopLoss => (self.stops.stop_loss.map(Price::value), self.stops.set_by),
            Trigger::TakeProfit => (self.stops.take_profit.map(Price::value), self.stops.set_by),
        };
        firing.set_by == set_by
            && condition.is_some_and(|condition| {
                firing.trigger.is_met(self.side, condition, firing.price.value())
            })
    }

    pub(super) fn opened(opened: &Opened) -> Self {
        Self {
            id: opened.position_id,
            instrument: opened.instrument.clone(),
            side: opened.side,
            leverage: opened.leverage,
            quantity: opened.fill.quantity,
            cost: opened.fill.cost,
            margin: opened.margin,
            realized: Decimal::ZERO,
            fees: opened.fee.amount,
            funding: Decimal::ZERO,
            maintenance: opened.maintenance,
            stops: Stops::default(),
            market: opened.fill.market.clone(),
            changes: 1,
            margin_set_by: 1,
        }
    }

    /// Returns the position after it; `None`, here and below, where a figure could not be held
    /// exactly.
    pub(super) fn increased(&self, increased: &Increased) -> Option<Self> {
        let quantity = exact::add(self.quantity.value(), increased.fill.quantity.value())?;
        Some(Self {
            quantity: Quantity::new(quantity).ok()?,
            cost: exact::add(self.cost, increased.fill.cost)?,
            margin: exact::add(self.margin, increased.margin)?,
            fees: exact::add(self.fees, increased.fee.amount)?,
            ..self.changed(increased.maintenance, &increased.fill.market)
        })
    }

    /// Returns what is left of it.
    pub(super) fn reduced(&self, exited: &Exited) -> Option<Self> {
        let quantity = exact::sub(self.quantity.value(), exited.fill.quantity.value())?;
        Some(Self {
            quantity: Quantity::new(quantity).ok()?,
            cost: exact::sub(self.cost, exited.cost_released)?,
            margin: exact::sub(self.margin, exited.margin_released)?,
            realized: exact::add(self.realized, exited.realized)?,
            fees: exact::add(self.fees, exited.fee.amount)?,
            ..self.changed(exited.maintenance?, &exited.fill.market)
        })
    }

    pub(super) fn funded(&self, funded: &Funded) -> Option<Self> {
        Some(Self {
            margin: exact::add(self.margin, funded.received)?,
            funding: exact::add(self.funding, funded.received)?,
            ..self.changed(funded.maintenance, &funded.market)
        })
    }

    pub(super) fn stop_at(
        &mut self,
        stop_loss: Option<Price>,
        take_profit: Option<Price>,
        market: &MarketEntry,
    ) {
        self.changes += 1;
        let (market, set_by) = (Some(market.clone()), self.changes);
        self.stops = Stops { stop_loss, take_profit, market, set_by };
    }

    fn changed(&self, maintenance: Maintenance, market: &MarketEntry) -> Self {
        let changes = self.changes + 1;
        let market = market.clone();
        Self { maintenance, market, changes, margin_set_by: changes, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_one_name_and_a_name_one_position() {
        for (bits, name) in [
            (0, "pos_00000000000000000000000000"),
            (33, "pos_00000000000000000000000011"),
            (u128::MAX, "pos_7zzzzzzzzzzzzzzzzzzzzzzzzz"),
            (0x0123_4567_89ab_cdef_0123_4567_89ab_cdef, "pos_014d2pf2dbsqqg28t5cy4tqkff"),
        ] {
            let id = PositionId::new(bits);
            assert_eq!(id.to_string(), name);
            assert_eq!(name.parse(), Ok(id));
            assert_eq!(serde_json::to_string(&id).unwrap(), format!("{name:?}"));
            assert_eq!(serde_json::from_str::<PositionId>(&format!("{name:?}")).unwrap(), id);
        }
        for text in [
            "",
            "pos_",
            "00000000000000000000000000",
            "pos_0000000000000000000000000",
            "pos_000000000000000000000000000",
            "pos_80000000000000000000000000",
            "pos_0000000000000000000000000A",
            "pos_0000000000000000000000000l",
            "POS_00000000000000000000000000",
        ] {
            assert_eq!(text.parse::<PositionId>(), Err(NotAPositionId), "{text}");
        }
    }

    #[test]
    fn a_leverage_is_one_or_more_with_two_digits_at_most() {
        for text in ["1", "1.00", "2.5", "12.25", "1000", "10.500"] {
            assert_eq!(text.parse::<Leverage>().unwrap().to_string(), text);
        }
        for (text, reason) in [
            ("0", NotALeverage::OutOfRange),
            ("0.99", NotALeverage::OutOfRange),
            ("-5", NotALeverage::OutOfRange),
            ("1000.01", NotALeverage::OutOfRange),
            ("1.005", NotALeverage::TooFine),
            ("1e2", NotALeverage::NotAnAmount(NotAnAmount::NotDecimal)),
        ] {
            assert_eq!(text.parse::<Leverage>(), Err(reason), "{text}");
        }
    }
}
