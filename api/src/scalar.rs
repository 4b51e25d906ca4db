//! The texts that stand for values in requests and answers: decimals, times, symbols, intervals.

use std::borrow::Cow;
use std::fmt::Display;

use domain::amount::{at_scale, decimal};
use domain::candle::Interval;
use domain::instrument::Instrument;
use domain::time::Timestamp;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{
    ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type,
};
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Value;

/// Characters of a decimal. A longer one is no decimal.
const DECIMAL_CHARS_MAX: usize = 40;

/// The place of the zone in a time of the shortest form: `2024-03-21T09:30:00`.
const ZONE_MIN: usize = 19;

/// A decimal that keeps its zeros: `"65432.10"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dec(pub Decimal);

/// A decimal greater than zero, as it is asked for: `"1.5"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positive(pub Decimal);

/// How many times its margin a position costs: `"12.5"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times(pub Decimal);

/// An instant in UTC, with a fraction only where there is one: `"2024-03-21T09:30:00Z"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ts(pub Timestamp);

/// An instrument: `"BTC-USDT"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol(pub Instrument);

/// The length of a candle: `"1m"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntervalName(pub Interval);

impl Dec {
    /// Returns the decimal with `scale` digits, or those that count when they are more.
    pub fn at(value: Decimal, scale: u32) -> Self {
        Self(at_scale(value, scale))
    }

    /// Returns the decimal rounded half to even at `scale`, for the eye: nothing is computed from it.
    pub fn shown(value: Decimal, scale: u32) -> Self {
        Self::at(value.round_dp_with_strategy(scale, RoundingStrategy::MidpointNearestEven), scale)
    }

    fn read(text: &str) -> Result<Self, impl Display> {
        match decimal(text) {
            Ok(value) if text.len() <= DECIMAL_CHARS_MAX => Ok(Self(value)),
            _ => Err("expected digits such as 65432.10, without exponent"),
        }
    }

    fn text(self) -> String {
        self.0.to_string()
    }

    fn schema() -> MetaSchema {
        let pattern = Some(r"^-?[0-9]+(\.[0-9]+)?$".to_owned());
        MetaSchema { pattern, ..MetaSchema::new_with_format("string", "decimal") }
    }
}

// What is read into these two has rules of its own, which the patterns say in another way: they are
// as wide as `Quantity`, `Price` and `Amount` are, and as `Leverage` is, but for zeros that do not
// count.
impl Positive {
    fn read(text: &str) -> Result<Self, impl Display> {
        Dec::read(text).map(|decimal| Self(decimal.0))
    }

    fn text(self) -> String {
        self.0.to_string()
    }

    fn schema() -> MetaSchema {
        let whole = r"[1-9][0-9]{0,9}(\.[0-9]{1,18})?|[1-9][0-9]{10,12}(\.[0-9]{1,8})?";
        let pattern = Some(format!(r"^({whole}|0\.[0-9]{{0,17}}[1-9])$"));
        MetaSchema { pattern, ..MetaSchema::new_with_format("string", "decimal") }
    }
}

impl Times {
    fn read(text: &str) -> Result<Self, impl Display> {
        Dec::read(text).map(|decimal| Self(decimal.0))
    }

    fn text(self) -> String {
        self.0.to_string()
    }

    fn schema() -> MetaSchema {
        let pattern = Some(r"^(1000|[1-9][0-9]{0,2}(\.[0-9]{1,2})?)$".to_owned());
        MetaSchema { pattern, ..MetaSchema::new_with_format("string", "decimal") }
    }
}

impl Ts {
    fn read(text: &str) -> Result<Self, impl Display> {
        // In a query the `+` of an offset arrives as a space. A time without zone is UTC.
        let mut text = text.to_owned();
        if let Some(place) = text.rfind(' ').filter(|place| *place >= ZONE_MIN) {
            text.replace_range(place..=place, "+");
        }
        text.parse().or_else(|error| format!("{text}Z").parse().map_err(|_| error)).map(Self)
    }

    fn text(self) -> String {
        self.0.to_shortest()
    }

    fn schema() -> MetaSchema {
        MetaSchema::new_with_format("string", "date-time")
    }
}

impl Symbol {
    fn read(text: &str) -> Result<Self, impl Display> {
        text.parse().map(Self)
    }

    fn text(&self) -> String {
        self.0.to_string()
    }

    fn schema() -> MetaSchema {
        let pattern = Some("^[A-Z0-9]{1,15}-[A-Z0-9]{1,15}$".to_owned());
        MetaSchema { pattern, ..MetaSchema::new("string") }
    }
}

impl IntervalName {
    fn read(text: &str) -> Result<Self, impl Display> {
        text.parse().map(Self)
    }

    fn text(self) -> String {
        self.0.to_string()
    }

    fn schema() -> MetaSchema {
        let enum_items = Interval::ALL.map(|interval| interval.as_str().into()).to_vec();
        MetaSchema { enum_items, ..MetaSchema::new("string") }
    }
}

/// Lets poem-openapi read, write and describe a value by its text.
macro_rules! scalar {
    ($type:ty, $name:literal) => {
        impl Type for $type {
            const IS_REQUIRED: bool = true;
            type RawValueType = Self;
            type RawElementValueType = Self;

            fn name() -> Cow<'static, str> {
                $name.into()
            }

            fn schema_ref() -> MetaSchemaRef {
                MetaSchemaRef::Inline(Box::new(Self::schema()))
            }

            fn as_raw_value(&self) -> Option<&Self> {
                Some(self)
            }

            fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
                Box::new(self.as_raw_value().into_iter())
            }
        }

        impl ParseFromParameter for $type {
            fn parse_from_parameter(text: &str) -> ParseResult<Self> {
                Self::read(text).map_err(ParseError::custom)
            }
        }

        impl ParseFromJSON for $type {
            fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
                match value.unwrap_or_default() {
                    Value::String(text) => Self::read(&text).map_err(ParseError::custom),
                    other => Err(ParseError::expected_type(other)),
                }
            }
        }

        impl ToJSON for $type {
            fn to_json(&self) -> Option<Value> {
                Some(Value::String(self.text()))
            }
        }
    };
}
scalar!(Dec, "decimal");
scalar!(Positive, "positive");
scalar!(Times, "times");
scalar!(Ts, "time");
scalar!(Symbol, "symbol");
scalar!(IntervalName, "interval");

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Option<String> {
        Ts::parse_from_parameter(text).ok().map(Ts::text)
    }

    #[test]
    fn a_decimal_keeps_its_zeros() {
        for text in ["65432.10", "1500.00", "0", "-0.50", "123456789012345678.0123456789"] {
            let value = Dec::parse_from_json(Some(text.into())).unwrap();

            assert_eq!(value.to_json(), Some(text.into()));
        }
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for text in ["", "1e3", "NaN", "inf", "1,5", " 1", "0.123456789012345678901234567891"] {
            assert!(Dec::parse_from_parameter(text).is_err(), "{text}");
        }
        assert!(Dec::parse_from_parameter(&"0".repeat(41)).is_err());
    }

    #[test]
    fn a_time_ends_in_z_and_has_a_fraction_only_where_there_is_one() {
        assert_eq!(time("2024-03-21T09:30:00Z").unwrap(), "2024-03-21T09:30:00Z");
        assert_eq!(time("2024-03-21T09:30:00.12Z").unwrap(), "2024-03-21T09:30:00.120Z");
    }

    #[test]
    fn the_plus_of_a_zone_may_arrive_as_a_space() {
        for text in ["2024-03-21T18:30:00+09:00", "2024-03-21T18:30:00 09:00"] {
            assert_eq!(time(text).unwrap(), "2024-03-21T09:30:00Z");
        }
        assert_eq!(time("2024-03-21T18:30:00.5 09:00").unwrap(), "2024-03-21T09:30:00.500Z");
    }

    #[test]
    fn a_time_without_zone_is_utc() {
        assert_eq!(time("2024-03-21T09:30:00").unwrap(), "2024-03-21T09:30:00Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "yesterday", "2024-03-21", "1711013400", "2024-13-01T00:00:00Z"] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
