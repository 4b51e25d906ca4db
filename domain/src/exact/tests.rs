//! Sums and products are whole or not there; quotients are rounded once.

use proptest::prelude::*;

use super::*;

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn shown(value: Option<Decimal>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

#[test]
fn a_sum_or_a_product_is_whole_or_not_there() {
    let max = Decimal::MAX;
    let fine = decimal("0.0000000000000000000000000001");
    for (found, expected) in [
        (add(decimal("1.50"), decimal("0.005")), "1.505"),
        (add(Decimal::ZERO, decimal("1.50")), "1.50"),
        (sub(decimal("1.50"), decimal("1.5")), "0.00"),
        (sub(Decimal::ZERO, Decimal::ZERO), "0"),
        // `Decimal` itself would say 79228162514264337593543950335.
        (add(max, decimal("0.1")), "-"),
        (add(max, Decimal::ONE), "-"),
        (add(max, decimal("0.0")), "79228162514264337593543950335"),
        (add(decimal("7"), fine), "7.0000000000000000000000000001"),
        (add(decimal("8"), fine), "-"),
        // Zeros at the end are given up where nothing else fits.
        (
            add(decimal("8"), decimal("0.0000000000000000000000000010")),
            "8.000000000000000000000000001",
        ),
        (mul(decimal("1.50"), decimal("-2.0")), "-3.000"),
        (mul(Decimal::ZERO, decimal("-2")), "0"),
        (mul(decimal("0.00000000000001"), decimal("0.00000000000001")), shown(Some(fine)).as_str()),
        (mul(decimal("0.00000000000001"), decimal("0.000000000000001")), "-"),
        (
            mul(decimal("0.5000000000000000000000000000"), decimal("2.0")),
            "1.0000000000000000000000000000",
        ),
        (mul(max, decimal("1.0")), "79228162514264337593543950335"),
        (mul(max, decimal("1.1")), "-"),
    ] {
        assert_eq!(shown(found), expected);
    }
}

#[test]
fn a_quotient_is_rounded_once() {
    use Rounding::{HalfEven, Up};
    for (above, below, digits, rounding, expected) in [
        ("1", "3", 18, HalfEven, "0.333333333333333333"),
        ("2", "3", 18, HalfEven, "0.666666666666666667"),
        ("1", "3", 18, Up, "0.333333333333333334"),
        ("-1", "3", 18, Up, "-0.333333333333333334"),
        ("1", "-3", 18, HalfEven, "-0.333333333333333333"),
        ("0.5", "1", 0, HalfEven, "0"),
        ("1.5", "1", 0, HalfEven, "2"),
        ("2.5", "1", 0, HalfEven, "2"),
        ("-2.5", "1", 0, HalfEven, "-2"),
        ("-3.5", "1", 0, HalfEven, "-4"),
        ("2.6", "1", 0, HalfEven, "3"),
        ("2.1", "1", 0, Up, "3"),
        ("2", "1", 0, Up, "2"),
        // The digits of what is divided are kept.
        ("96000.000", "10", 18, Up, "9600.000"),
        ("96000.000", "16000", 18, Up, "6.000"),
        ("0", "7", 18, Up, "0"),
        ("1", "0", 18, Up, "-"),
        ("79228162514264337593543950335", "0.1", 18, HalfEven, "-"),
    ] {
        let found = quotient([decimal(above)], [decimal(below)], digits, rounding);
        assert_eq!(shown(found), expected, "{above} ÷ {below}");
    }
}

#[test]
fn no_digit_is_lost_on_the_way_to_a_quotient() {
    let (max, third) = (Decimal::MAX, decimal("0.3333333333333333333333333333"));

    assert_eq!(quotient([max, max], [max], DIGITS, Rounding::Up), Some(max));
    assert_eq!(
        shown(quotient([third, third, third], [third, third], DIGITS, Rounding::HalfEven)),
        "0.333333333333333333"
    );
}

#[test]
fn a_large_price_has_fewer_digits() {
    let shown = |cost: &str, quantity: &str| shown(price(decimal(cost), decimal(quantity)));

    assert_eq!(shown("2", "0.3"), "6.666666666666666667");
    assert_eq!(shown("2000000000", "0.003"), "666666666666.66666666666666667");
    assert_eq!(shown("79228162514264337593543950335", "2"), "39614081257132168796771975168");
    assert_eq!(shown("79228162514264337593543950335", "0.5"), "-");
    assert_eq!(shown("1", "0"), "-");
}

fn any_decimal() -> impl Strategy<Value = Decimal> {
    let mantissa = prop_oneof![-9_999i128..9_999, -(1i128 << 96) + 1..(1i128 << 96)];
    (mantissa, 0u32..=28)
        .prop_map(|(mantissa, scale)| Decimal::from_i128_with_scale(mantissa, scale))
}

/// Returns the value in steps of 10^-56.
fn steps(value: Decimal) -> BigInt {
    BigInt::from(value.mantissa()) * ten_to(56 - value.scale())
}

/// Whether as many steps of 10^-56 can be held.
fn can_be_held(steps: &BigInt) -> bool {
    (0..=28).any(|scale| {
        let step = ten_to(56 - scale);
        steps % &step == BigInt::from(0) && (steps / step).magnitude().bits() <= 96
    })
}

proptest! {
    #[test]
    fn a_sum_and_a_product_are_there_whenever_they_can_be_held(a in any_decimal(), b in any_decimal()) {
        let sum_steps = steps(a) + steps(b);
        prop_assert_eq!(add(a, b).map(steps), can_be_held(&sum_steps).then_some(sum_steps));
        let product_steps = steps(a) * steps(b) / ten_to(56);
        prop_assert_eq!(mul(a, b).map(steps), can_be_held(&product_steps).then_some(product_steps));
    }

    #[test]
    fn a_quotient_is_the_nearest_that_can_be_written(a in any_decimal(), b in any_decimal(), c in any_decimal()) {
        prop_assume!(!c.is_zero());
        if let Some(found) = quotient([a, b], [c], DIGITS, Rounding::HalfEven) {
            let above = BigInt::from(a.mantissa()) * b.mantissa() * ten_to(c.scale() + 46);
            let below = BigInt::from(c.mantissa()) * ten_to(a.scale() + b.scale());
            let off: BigInt = above - steps(found) / ten_to(10) * &below;
            let half_step = ten_to(46 - DIGITS) * below;
            prop_assert!(*(off * 2_u32).magnitude() <= *half_step.magnitude());
            prop_assert!(found.scale() <= DIGITS);
        }
    }
}
