//! What is held of each instrument and side, all positions together: an order is held against its
//! limits without a look at each of them.

use std::collections::BTreeMap;
use std::ops::Neg;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::account::position::{Position, PositionSide};
use crate::exact;
use crate::fill::Fill;
use crate::instrument::Instrument;

/// The sums over all open positions. What is held no more is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exposures {
    /// Of all instruments and both sides.
    pub(super) cost: Decimal,
    instruments: BTreeMap<Instrument, Sides>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sides {
    long: Exposure,
    short: Exposure,
}

/// The open positions of one side of an instrument.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exposure {
    pub(super) quantity: Decimal,
    pub(super) cost: Decimal,
}

impl Exposure {
    pub(super) const fn of_fill(fill: &Fill) -> Self {
        Self { quantity: fill.quantity.value(), cost: fill.cost }
    }

    pub(super) const fn of_position(position: &Position) -> Self {
        Self { quantity: position.quantity.value(), cost: position.cost }
    }
}

impl Neg for Exposure {
    type Output = Self;

    fn neg(self) -> Self {
        Self { quantity: -self.quantity, cost: -self.cost }
    }
}

impl Exposures {
    pub(super) fn of(&self, instrument: &Instrument, side: PositionSide) -> Exposure {
        self.instruments.get(instrument).map(|sides| *sides.of(side)).unwrap_or_default()
    }

    /// Returns what is held of a side when more is got into, and the cost of all; `None`, here and
    /// below, where a sum could not be held exactly.
    pub(super) fn after(
        &self,
        (instrument, side): (&Instrument, PositionSide),
        more: Exposure,
    ) -> Option<(Exposure, Decimal)> {
        let held = self.of(instrument, side);
        let quantity = exact::add(held.quantity, more.quantity)?;
        let cost = exact::add(held.cost, more.cost)?;
        Some((Exposure { quantity, cost }, exact::add(self.cost, more.cost)?))
    }

    /// Takes in what was got into.
    pub(super) fn add(
        &mut self,
        (instrument, side): (&Instrument, PositionSide),
        more: Exposure,
    ) -> Option<()> {
        let (of, cost) = self.after((instrument, side), more)?;
        let sides = self.instruments.entry(instrument.clone()).or_default();
        *sides.of_mut(side) = of;
        self.cost = cost;
        if *sides == Sides::default() {
            self.instruments.remove(instrument);
        }
        Some(())
    }

    /// Takes in what was got out of.
    pub(super) fn remove(&mut self, of: (&Instrument, PositionSide), less: Exposure) -> Option<()> {
        self.add(of, -less)
    }
}

impl Sides {
    const fn of(&self, side: PositionSide) -> &Exposure {
        match side {
            PositionSide::Long => &self.long,
            PositionSide::Short => &self.short,
        }
    }

    const fn of_mut(&mut self, side: PositionSide) -> &mut Exposure {
        match side {
            PositionSide::Long => &mut self.long,
            PositionSide::Short => &mut self.short,
        }
    }
}
