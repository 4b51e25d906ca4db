//! Prices and quantities: exact decimals that keep the digits they came with.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Digits after the point that a price or a quantity may carry. Together they stay within the 28
/// digits that `Decimal` holds exactly, for amounts up to 10^10.
pub const SCALE_MAX: u32 = 18;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAmount {
    #[error("not a decimal number: expected digits such as 65432.10, without exponent")]
    NotDecimal,
    #[error("must be greater than zero")]
    NotPositive,
    #[error("more than {SCALE_MAX} digits after the point")]
    TooFine,
    #[error("greater than {AMOUNT_MAX}")]
    TooLarge,
}

/// The fewest digits after the point of a price, where no listing says it.
pub const PRICE_SCALE_MIN: u32 = 2;

/// The greatest price or quantity.
pub const AMOUNT_MAX: i64 = 10_000_000_000_000;

/// What one unit of the base costs, in quote currency. Greater than zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(Decimal);

/// How much of the base. Greater than zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(Decimal);

/// A sum of money. Greater than zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(Decimal);

/// Reads a decimal exactly: what would have to be rounded is refused, and so are exponents.
pub fn decimal(text: &str) -> Result<Decimal, NotAnAmount> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let shaped = digits.starts_with(|first: char| first.is_ascii_digit())
        && digits.ends_with(|last: char| last.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !shaped {
        return Err(NotAnAmount::NotDecimal);
    }
    Decimal::from_str_exact(text).map_err(|_| NotAnAmount::NotDecimal)
}

fn checked(value: Decimal) -> Result<Decimal, NotAnAmount> {
    if value <= Decimal::ZERO {
        Err(NotAnAmount::NotPositive)
    } else if value.scale() > SCALE_MAX {
        Err(NotAnAmount::TooFine)
    } else if value > Decimal::from(AMOUNT_MAX) {
        Err(NotAnAmount::TooLarge)
    } else {
        Ok(value)
    }
}

/// The same bounds as [`checked`], without arithmetic on decimals: this is on the way of every tick.
fn units_in_bounds(units: i64, scale: u32) -> Result<(), NotAnAmount> {
    if units <= 0 {
        Err(NotAnAmount::NotPositive)
    } else if scale > SCALE_MAX {
        Err(NotAnAmount::TooFine)
    } else if i128::from(units) > i128::from(AMOUNT_MAX) * 10_i128.pow(scale) {
        Err(NotAnAmount::TooLarge)
    } else {
        Ok(())
    }
}

/// Returns the digits after the point that count: of `61837.63000000`, two.
pub fn scale_that_counts(value: Decimal) -> u32 {
    if value.scale() == 0 { 0 } else { value.normalize().scale() }
}

/// Returns the same value with `scale` digits after the point, or with those that count when
/// they are more: zeros are added or cut, never a digit that counts.
pub fn at_scale(mut value: Decimal, scale: u32) -> Decimal {
    if value.scale() != scale {
        let scale = scale.max(scale_that_counts(value));
        value.rescale(scale);
    }
    value
}

macro_rules! amount {
    ($name:ident) => {
        impl $name {
            pub fn new(value: Decimal) -> Result<Self, NotAnAmount> {
                checked(value).map(Self)
            }

            pub const fn value(self) -> Decimal {
                self.0
            }

            /// Returns the amount of `units` in steps of 10^-`scale`.
            pub fn of_units(units: i64, scale: u32) -> Result<Self, NotAnAmount> {
                units_in_bounds(units, scale)?;
                Ok(Self(Decimal::new(units, scale)))
            }

            /// Returns the whole number of steps of 10^-`scale` with the digits it carries now, where it fits.
            pub fn units(self) -> Option<i64> {
                i64::try_from(self.0.mantissa()).ok()
            }

            /// Returns the same amount with `scale` digits, or those that count when they are more.
            #[must_use]
            pub fn at_scale(self, scale: u32) -> Self {
                Self(at_scale(self.0, scale))
            }
        }

        impl FromStr for $name {
            type Err = NotAnAmount;

            fn from_str(text: &str) -> Result<Self, NotAnAmount> {
                Self::new(decimal(text)?)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::name::from_text(deserializer)
            }
        }
    };
}
amount!(Price);
amount!(Quantity);
amount!(Amount);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_keeps_its_zeros() {
        assert_eq!("1500.00".parse::<Price>().unwrap().to_string(), "1500.00");
        assert_eq!("61837.63000000".parse::<Price>().unwrap().at_scale(2).to_string(), "61837.63");
        assert_eq!("61838".parse::<Price>().unwrap().at_scale(2).to_string(), "61838.00");
        assert_eq!("0.00105".parse::<Quantity>().unwrap().at_scale(2).to_string(), "0.00105");
    }

    #[test]
    fn what_is_no_amount_is_refused_with_its_reason() {
        use NotAnAmount::{NotDecimal, NotPositive, TooFine, TooLarge};
        for (text, reason) in [
            ("", NotDecimal),
            ("1e3", NotDecimal),
            ("NaN", NotDecimal),
            ("1_000", NotDecimal),
            (".5", NotDecimal),
            ("5.", NotDecimal),
            ("1.2.3", NotDecimal),
            ("+1", NotDecimal),
            ("0", NotPositive),
            ("-1", NotPositive),
            ("0.0000000000000000001", TooFine),
            ("10000000000001", TooLarge),
            ("0.12345678901234567890123456789", NotDecimal),
        ] {
            assert_eq!(text.parse::<Price>(), Err(reason), "{text}");
        }
    }
}
