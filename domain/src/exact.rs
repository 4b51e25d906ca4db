//! Exact arithmetic on money: what cannot be held in full is `None`, never rounded in silence.
//!
//! `Decimal` holds 96 bits and rounds what is longer. Here a sum or a product comes out whole or not
//! at all, and a quotient is rounded once, from a numerator of any width.

use num_bigint::{BigInt, Sign};
use rust_decimal::Decimal;

use crate::amount;

/// Digits after the point of a figure that had to be rounded.
pub const DIGITS: u32 = 18;

/// How a quotient loses the digits that it cannot keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest; from the middle to the even one.
    HalfEven,
    /// Away from zero.
    Up,
}

/// Returns a + b.
pub fn add(a: Decimal, b: Decimal) -> Option<Decimal> {
    let scale = a.scale().max(b.scale());
    let narrow = || {
        let whole =
            |value: Decimal| value.mantissa().checked_mul(10_i128.pow(scale - value.scale()));
        let sum = whole(a)?.checked_add(whole(b)?)?;
        Decimal::try_from_i128_with_scale(sum, scale).ok()
    };
    let whole = |value: Decimal| BigInt::from(value.mantissa()) * ten_to(scale - value.scale());
    narrow().or_else(|| fit(whole(a) + whole(b), scale))
}

/// Returns a − b.
pub fn sub(a: Decimal, b: Decimal) -> Option<Decimal> {
    add(a, -b)
}

/// Returns a · b.
pub fn mul(a: Decimal, b: Decimal) -> Option<Decimal> {
    let scale = a.scale() + b.scale();
    let narrow = || {
        let product = a.mantissa().checked_mul(b.mantissa())?;
        Decimal::try_from_i128_with_scale(product, scale).ok()
    };
    narrow().or_else(|| fit(BigInt::from(a.mantissa()) * b.mantissa(), scale))
}

/// Returns the sum of all; zero of none.
pub fn sum(mut values: impl Iterator<Item = Decimal>) -> Option<Decimal> {
    values.try_fold(Decimal::ZERO, add)
}

/// Returns the product of the one divided by the product of the other, with at most `digits` after
/// the point, and those of the first factor kept. `None` also for a division by zero.
pub fn quotient<const N: usize, const D: usize>(
    numerators: [Decimal; N],
    denominators: [Decimal; D],
    digits: u32,
    rounding: Rounding,
) -> Option<Decimal> {
    let (numerator, numerator_scale) = product(&numerators);
    let (denominator, denominator_scale) = product(&denominators);
    if denominator.sign() == Sign::NoSign {
        return None;
    }
    let above = numerator * ten_to(denominator_scale + digits);
    let below = denominator * ten_to(numerator_scale);
    let value = fit(rounded(&above, &below, rounding), digits)?;
    let kept = numerators.first().map_or(0, |first| first.scale().min(digits));
    Some(amount::at_scale(value, kept))
}

/// Returns a price: half to even at 18 digits, or at as many as it can be held with.
pub fn price(cost: Decimal, quantity: Decimal) -> Option<Decimal> {
    let at = |digits| quotient([cost], [quantity], digits, Rounding::HalfEven);
    (0..=DIGITS).rev().find_map(at)
}

fn product(factors: &[Decimal]) -> (BigInt, u32) {
    factors.iter().fold((BigInt::from(1), 0), |(product, scale), factor| {
        (product * factor.mantissa(), scale + factor.scale())
    })
}

fn rounded(above: &BigInt, below: &BigInt, rounding: Rounding) -> BigInt {
    // Division cuts towards zero, so whatever is rounded goes one step away from it.
    let cut = above / below;
    let rest = above - &cut * below;
    let goes_up = match rounding {
        Rounding::Up => rest.sign() != Sign::NoSign,
        Rounding::HalfEven => {
            let (twice, whole) = (rest.magnitude() * 2_u32, below.magnitude());
            twice > *whole || (twice == *whole && cut.bit(0))
        }
    };
    match (goes_up, above.sign() == below.sign()) {
        (false, _) => cut,
        (true, true) => cut + 1,
        (true, false) => cut - 1,
    }
}

/// Zeros at the end are given up where it does not fit with them, and no other digit.
fn fit(mut mantissa: BigInt, mut scale: u32) -> Option<Decimal> {
    loop {
        let narrow = i128::try_from(&mantissa).ok();
        let held = narrow.and_then(|narrow| Decimal::try_from_i128_with_scale(narrow, scale).ok());
        if held.is_some() {
            return held;
        }
        let tenth = &mantissa / 10;
        if scale == 0 || &tenth * 10 != mantissa {
            return None;
        }
        (mantissa, scale) = (tenth, scale - 1);
    }
}

fn ten_to(power: u32) -> BigInt {
    BigInt::from(10).pow(power)
}

#[cfg(test)]
mod tests;
