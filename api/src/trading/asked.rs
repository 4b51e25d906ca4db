//! What is asked for: the bodies of orders, and the values that they are read into.

use domain::account::position::{Leverage, PositionSide};
use domain::amount::Quantity;
use domain::instrument::Instrument;
use poem::Result;
use poem_openapi::Object;
use rust_decimal::Decimal;

use crate::body::{Body, Fields};
use crate::positions::SideBody;
use crate::scalar::{Positive, Symbol, Times};

/// A position that is asked for.
#[derive(Debug)]
pub struct Asked {
    pub instrument: Instrument,
    pub quantity: Quantity,
    pub side: PositionSide,
    pub leverage: Leverage,
    pub reduce_only: bool,
}

/// What is to be opened.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub struct OpenPositionBody {
    symbol: Symbol,
    /// A string, or a number of at most 15 digits.
    size: Positive,
    #[oai(rename = "type")]
    side: SideBody,
    /// How many times its margin the position costs, with at most two digits after the point.
    #[oai(default = "one")]
    leverage: Times,
    /// In netting mode: reduces or closes what is held on the other side, and opens nothing.
    #[oai(default)]
    pub reduce_only: bool,
}

fn one() -> Times {
    Times(Decimal::ONE)
}

#[derive(Object)]
#[oai(deny_unknown_fields)]
pub struct ReducePositionBody {
    /// How much of the position is closed: a string, or a number of at most 15 digits.
    size: Positive,
}

impl Body for OpenPositionBody {
    type Read = Asked;

    fn read(fields: &mut Fields) -> Option<Asked> {
        let instrument = fields.text("symbol");
        let instrument = fields.required("symbol", instrument);
        let quantity = fields.amount("size", quantity);
        let quantity = fields.required("size", quantity);
        let side = fields.value("type", "long or short");
        let side = fields.required("type", side);
        let leverage = fields.amount("leverage", leverage).unwrap_or(Leverage::ONE);
        let reduce_only = fields.value("reduce_only", "true or false").unwrap_or(false);
        let side = match side? {
            SideBody::Long => PositionSide::Long,
            SideBody::Short => PositionSide::Short,
        };
        Some(Asked { instrument: instrument?, quantity: quantity?, side, leverage, reduce_only })
    }
}

impl Body for ReducePositionBody {
    type Read = Quantity;

    fn read(fields: &mut Fields) -> Option<Quantity> {
        let quantity = fields.amount("size", quantity);
        fields.required("size", quantity)
    }
}

fn quantity(value: Decimal) -> Result<Quantity, String> {
    Quantity::new(value).map_err(|error| error.to_string())
}

fn leverage(value: Decimal) -> Result<Leverage, String> {
    Leverage::new(value).map_err(|error| error.to_string())
}
