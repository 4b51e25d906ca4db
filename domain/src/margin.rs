//! Isolated margin: tiers, maintenance, and the price at which a position is liquidated.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::account::event::Maintenance;
use crate::account::position::{LEVERAGE_MAX, PositionSide};
use crate::exact;

/// What it takes to hold a notional from `floor` up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// 1, 2, 3…
    pub number: u32,
    pub floor: Decimal,
    /// Maintenance margin = notional × rate − deduction.
    pub rate: Decimal,
    /// Makes maintenance continuous from tier to tier.
    pub deduction: Decimal,
    pub leverage_max: Decimal,
}

/// The tiers of an instrument, from a floor of zero up; the last has no end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers(Vec<Tier>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotTiers(pub String);

impl Tiers {
    /// Returns the tiers of rows of floor, rate and greatest leverage; deductions follow from them.
    pub fn new(rows: &[(Decimal, Decimal, Decimal)]) -> Result<Self, NotTiers> {
        let mut tiers: Vec<Tier> = Vec::with_capacity(rows.len());
        for (number, row) in (1..).zip(rows) {
            let tier = tiers.last().map_or_else(|| first(row), |below| above(below, row));
            tiers.push(tier.map_err(|reason| NotTiers(format!("tier {number}: {reason}")))?);
        }
        if tiers.is_empty() {
            Err(NotTiers("there is no tier".to_owned()))
        } else {
            Ok(Self(tiers))
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Tier> {
        self.0.iter()
    }

    /// Returns the tier that holds a notional; of one that is a floor, the tier that ends there.
    pub fn at(&self, notional: Decimal) -> &Tier {
        let below = self.0.partition_point(|tier| tier.floor < notional);
        self.0.get(below.saturating_sub(1)).expect("Tiers::new takes one row at least")
    }

    /// Returns the maintenance margin of a notional.
    pub fn maintenance_margin(&self, notional: Decimal) -> Option<Decimal> {
        let tier = self.at(notional);
        exact::sub(exact::mul(notional, tier.rate)?, tier.deduction)
    }

    /// Returns where a position with this margin is liquidated; `None` where figures are not exact.
    ///
    /// At that price margin − maintenance + unrealized is zero, with maintenance by the tier that
    /// holds the notional at that very price. As maintenance is continuous and grows slower than
    /// the notional, exactly one tier fits.
    pub fn liquidation(
        &self,
        side: PositionSide,
        quantity: Decimal,
        cost: Decimal,
        margin: Decimal,
    ) -> Option<Maintenance> {
        for tier in &self.0 {
            let fixed = exact::add(margin, tier.deduction)?;
            // The notional there is above ÷ below. It is compared before it is divided.
            let (above, below) = match side {
                PositionSide::Long => {
                    (exact::sub(cost, fixed)?, exact::sub(Decimal::ONE, tier.rate)?)
                }
                PositionSide::Short => {
                    (exact::add(cost, fixed)?, exact::add(Decimal::ONE, tier.rate)?)
                }
            };
            if above > Decimal::ZERO && self.at_ratio(above, below)? == tier.number {
                let price = exact::price(above, exact::mul(quantity, below)?)?;
                return Some(Maintenance { tier: *tier, liquidation_price: Some(price) });
            }
        }
        Some(match side {
            PositionSide::Long => Maintenance { tier: *self.at(cost), liquidation_price: None },
            // It has paid more funding than it was ever worth: any price liquidates it.
            PositionSide::Short => Maintenance {
                tier: *self.at(Decimal::ZERO),
                liquidation_price: Some(Decimal::ZERO),
            },
        })
    }

    /// Returns the number of the tier that holds a notional of above ÷ below.
    fn at_ratio(&self, above: Decimal, below: Decimal) -> Option<u32> {
        let mut number = 1;
        for tier in &self.0 {
            if exact::mul(tier.floor, below)? < above {
                number = tier.number;
            }
        }
        Some(number)
    }
}

fn first(&(floor, rate, leverage_max): &(Decimal, Decimal, Decimal)) -> Result<Tier, String> {
    if floor != Decimal::ZERO {
        return Err("the first floor must be 0".to_owned());
    }
    sound(Tier { number: 1, floor, rate, deduction: Decimal::ZERO, leverage_max })
}

fn above(
    below: &Tier,
    &(floor, rate, leverage_max): &(Decimal, Decimal, Decimal),
) -> Result<Tier, String> {
    if floor <= below.floor {
        return Err(format!("floor {floor} must be greater than {}", below.floor));
    }
    // A rate that fell would make a larger position cheaper to hold than a smaller one.
    if rate < below.rate {
        return Err(format!("rate {rate} must not be less than {}", below.rate));
    }
    let deduction = exact::sub(rate, below.rate)
        .and_then(|more| exact::mul(floor, more))
        .and_then(|step| exact::add(below.deduction, step))
        .ok_or("its figures cannot be held exactly: use fewer digits")?;
    sound(Tier { number: below.number + 1, floor, rate, deduction, leverage_max })
}

fn sound(tier: Tier) -> Result<Tier, String> {
    let Tier { rate, leverage_max, .. } = tier;
    if rate < Decimal::ZERO || rate >= Decimal::ONE {
        Err(format!("rate {rate} must be at least 0 and less than 1"))
    } else if leverage_max < Decimal::ONE || leverage_max > Decimal::from(LEVERAGE_MAX) {
        Err(format!("leverage {leverage_max} must be 1 to {LEVERAGE_MAX}"))
    } else if exact::mul(rate, leverage_max).is_none_or(|share| share >= Decimal::ONE) {
        // Its initial margin would not even be its maintenance.
        Err(format!("leverage {leverage_max} at rate {rate} is liquidated at once"))
    } else {
        Ok(tier)
    }
}

/// Floor, rate in thousandths of a percent, greatest leverage: those of BTC at the largest venue of
/// perpetuals.
const DEFAULT_ROWS: [(i64, i64, i64); 12] = [
    (0, 400, 125),
    (50_000, 500, 100),
    (600_000, 650, 75),
    (3_000_000, 1_000, 50),
    (12_000_000, 2_000, 25),
    (70_000_000, 2_500, 20),
    (100_000_000, 5_000, 10),
    (230_000_000, 10_000, 5),
    (480_000_000, 12_500, 4),
    (600_000_000, 15_000, 3),
    (800_000_000, 25_000, 2),
    (1_200_000_000, 50_000, 1),
];

impl Default for Tiers {
    /// The tiers of instruments for which none are configured, in the shape of a large venue's.
    fn default() -> Self {
        let rows = DEFAULT_ROWS.map(|(floor, rate, leverage_max)| {
            (floor.into(), Decimal::new(rate, 5).normalize(), leverage_max.into())
        });
        Self::new(&rows).expect("the rows rise")
    }
}

#[cfg(test)]
mod tests;
