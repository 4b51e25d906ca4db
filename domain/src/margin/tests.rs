//! Tiers, maintenance, and liquidation prices that are known from elsewhere.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::account::position::PositionSide::{Long, Short};
use crate::exact::{DIGITS, Rounding};

fn decimal(text: &str) -> Decimal {
    crate::amount::decimal(text).unwrap()
}

fn liquidated(side: PositionSide, quantity: &str, cost: &str, margin: &str) -> (u32, String) {
    let [quantity, cost, margin] = [quantity, cost, margin].map(decimal);
    let maintenance = Tiers::default().liquidation(side, quantity, cost, margin).unwrap();
    let price = maintenance.liquidation_price;
    (
        maintenance.tier.number,
        price.map_or("-".to_owned(), |price| format!("{:.8}", price.round_dp(8))),
    )
}

#[test]
fn a_position_is_liquidated_at_the_price_that_others_say() {
    for (side, quantity, cost, margin, tier, price) in [
        (Long, "0.001", "61.686", "61.686", 1, "-"),
        (Long, "0.001", "61.686", "30.843", 1, "30966.86746988"),
        (Long, "0.001", "61.686", "1.23372", 1, "60695.06024096"),
        (Short, "0.001", "61.686", "61.686", 1, "122880.47808765"),
        // Its cost is of the second tier, and it is liquidated in the first.
        (Long, "0.9", "55517.4", "27758.7", 1, "30966.86746988"),
        // And this one the other way round.
        (Short, "0.8", "49348.8", "24674.4", 2, "92130.84577114"),
        // Paid away, and more, in funding.
        (Short, "1", "64000", "-64001", 1, "0.00000000"),
        (Long, "1", "64000", "-64001", 2, "128593.96984925"),
        // A currency of many digits.
        (Long, "0.01", "1000000000", "100000000.000000000000000001", 11, "103802473333.33333333"),
    ] {
        assert_eq!(liquidated(side, quantity, cost, margin), (tier, price.to_owned()), "{cost}");
    }
}

#[test]
fn at_its_liquidation_price_nothing_is_left_beyond_maintenance() {
    let tiers = Tiers::default();
    for (side, quantity, cost, margin) in [
        (Long, "1.5", "96000", "9600"),
        (Short, "1.5", "96000", "9600"),
        (Long, "250", "15421500", "616860"),
        (Short, "10", "500000", "-1000"),
    ] {
        let [quantity, cost, margin] = [quantity, cost, margin].map(decimal);
        let price = tiers.liquidation(side, quantity, cost, margin).unwrap();
        let notional = quantity * price.liquidation_price.unwrap();
        let left = margin + side.sign() * (notional - cost);
        let maintenance = tiers.maintenance_margin(notional).unwrap();

        assert_eq!(tiers.at(notional), &price.tier);
        assert_eq!((left - maintenance).round_dp(12), Decimal::ZERO);
    }
}

#[test]
fn on_a_border_both_tiers_ask_for_the_same() {
    let tiers = Tiers::default();
    for (tier, above) in tiers.iter().zip(tiers.iter().skip(1)) {
        let floor = above.floor;

        assert_eq!(tiers.at(floor), tier);
        assert_eq!(tiers.at(floor + Decimal::new(1, 18)), above);
        assert_eq!(floor * tier.rate - tier.deduction, floor * above.rate - above.deduction);
        assert_eq!(tiers.maintenance_margin(floor), Some(floor * above.rate - above.deduction));
    }
    assert_eq!(tiers.at(Decimal::ZERO).number, 1);
    assert_eq!(tiers.at(decimal("9000000000")).number, 12);
}

#[test]
fn what_are_no_tiers_is_refused_with_its_reason() {
    let reason = |rows: &[(&str, &str, &str)]| {
        let row = |&(floor, rate, leverage): &(&str, &str, &str)| {
            (decimal(floor), decimal(rate), decimal(leverage))
        };
        Tiers::new(&rows.iter().map(row).collect::<Vec<_>>()).unwrap_err().to_string()
    };

    assert_eq!(reason(&[]), "there is no tier");
    assert_eq!(reason(&[("1", "0.01", "10")]), "tier 1: the first floor must be 0");
    assert_eq!(
        reason(&[("0", "0.01", "10"), ("0", "0.02", "5")]),
        "tier 2: floor 0 must be greater than 0"
    );
    assert_eq!(
        reason(&[("0", "0.02", "10"), ("5", "0.01", "5")]),
        "tier 2: rate 0.01 must not be less than 0.02"
    );
    assert_eq!(reason(&[("0", "1", "1")]), "tier 1: rate 1 must be at least 0 and less than 1");
    assert_eq!(reason(&[("0", "0.01", "0.5")]), "tier 1: leverage 0.5 must be 1 to 1000");
    assert_eq!(
        reason(&[("0", "0.01", "100")]),
        "tier 1: leverage 100 at rate 0.01 is liquidated at once"
    );
}

#[derive(Deserialize)]
struct Row {
    floor: String,
    mmr: String,
    cum: String,
    max_leverage: i64,
}

/// Returns a file of the shared recordings, or says that there is none.
fn shared(name: &str) -> Option<String> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("ENTASIS_DATA").map_or_else(beside, PathBuf::from);
    let text = std::fs::read_to_string(data.join("margin").join(name)).ok();
    if text.is_none() {
        // Not `println!`: what a test that passes prints by that way is hidden.
        writeln!(std::io::stderr(), "skipped: no recordings").unwrap();
    }
    text
}

fn rows_of(tiers: &Value, symbol: &str) -> Vec<Row> {
    serde_json::from_value(tiers.get(symbol).unwrap().clone()).unwrap()
}

fn tiers_of(rows: &[Row]) -> Tiers {
    let rows = rows
        .iter()
        .map(|row| (decimal(&row.floor), decimal(&row.mmr), Decimal::from(row.max_leverage)));
    Tiers::new(&rows.collect::<Vec<_>>()).unwrap()
}

#[test]
fn deductions_are_those_of_the_venue() {
    let Some(text) = shared("binance_usdm_leverage_tiers.json") else { return };
    let all: Value = serde_json::from_str(&text).unwrap();
    let mut count = 0;
    for symbol in all.as_object().unwrap().keys() {
        let rows = rows_of(&all, symbol);
        for (row, tier) in rows.iter().zip(tiers_of(&rows).iter()) {
            assert_eq!(tier.deduction, decimal(&row.cum), "{symbol} from {}", row.floor);
            count += 1;
        }
    }
    assert_eq!(count, 44);
    assert_eq!(tiers_of(&rows_of(&all, "BTC/USDT:USDT")), Tiers::default());
}

#[test]
fn all_cases_of_the_venue_are_liquidated_where_it_says() {
    let tiers = shared("binance_usdm_leverage_tiers.json");
    let (Some(tiers), Some(cases)) = (tiers, shared("liquidation_vectors.json")) else { return };
    let tiers: Value = serde_json::from_str(&tiers).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&cases).unwrap();
    let (mut priced, mut without, mut refused) = (0, 0, 0);
    for case in &cases {
        let text = |name: &str| case.get(name).and_then(Value::as_str);
        let number = |name: &str| case.get(name).and_then(Value::as_u64);
        let tiers = tiers_of(&rows_of(&tiers, text("symbol").unwrap()));
        let quantity = decimal(text("size").unwrap());
        let cost = quantity * decimal(text("entry_price").unwrap());
        let leverage = Decimal::from(number("leverage").unwrap());
        let entry = tiers.at(cost);
        if case.get("reject").is_some() {
            assert!(leverage > entry.leverage_max, "{case}");
            assert_eq!(number("tier"), Some(entry.number.into()));
            assert_eq!(number("max_leverage").map(Decimal::from), Some(entry.leverage_max));
            refused += 1;
            continue;
        }
        let side = if text("side") == Some("long") { Long } else { Short };
        let margin = exact::quotient([cost], [leverage], DIGITS, Rounding::Up).unwrap();
        let maintenance = tiers.liquidation(side, quantity, cost, margin).unwrap();
        let at_entry = tiers.maintenance_margin(cost).unwrap();

        assert!(leverage <= entry.leverage_max, "{case}");
        assert_eq!(number("entry_tier"), Some(entry.number.into()), "{case}");
        assert_eq!(Some(at_entry), text("maintenance_margin_at_entry").map(decimal), "{case}");
        let price = maintenance.liquidation_price.map(|price| format!("{:.8}", price.round_dp(8)));
        assert_eq!(price.as_deref(), text("liq_price_binance"), "{case}");
        if price.is_some() {
            assert_eq!(number("liq_tier"), Some(maintenance.tier.number.into()), "{case}");
            priced += 1;
        } else {
            assert_eq!(maintenance.tier, *entry);
            without += 1;
        }
    }
    assert_eq!((priced, without, refused), (115, 9, 2));
}

#[derive(Deserialize)]
struct Cross {
    wallet_balance: String,
    positions: Vec<Held>,
}

#[derive(Deserialize)]
struct Held {
    size: String,
    entry: String,
    mark: String,
    mmr: String,
    cum: String,
    expected_liq: String,
}

/// Of one wallet behind two positions: what the other one is worth beyond its maintenance is, for
/// this one, margin.
#[test]
fn the_published_example_of_two_positions_comes_out() {
    let Some(text) = shared("binance_cross_example.json") else { return };
    let cross: Cross = serde_json::from_str(&text).unwrap();
    let [first, second] = &cross.positions[..] else { panic!("two positions") };
    for (held, other) in [(first, second), (second, first)] {
        let figures = |held: &Held| {
            [&held.size, &held.entry, &held.mark, &held.mmr, &held.cum].map(|text| decimal(text))
        };
        let [size, entry, mark, rate, deduction] = figures(other);
        let maintenance = size * mark * rate - deduction;
        let worth = size * (mark - entry);
        let [size, entry, _, rate, deduction] = figures(held);
        // The tier is given: it begins where its deduction says.
        let rows =
            [(Decimal::ZERO, Decimal::ZERO, Decimal::ONE), (deduction / rate, rate, Decimal::ONE)];
        let wallet = decimal(&cross.wallet_balance) + worth - maintenance;
        let found =
            Tiers::new(&rows).unwrap().liquidation(Long, size, size * entry, wallet).unwrap();

        let price = found.liquidation_price.unwrap();
        assert_eq!(format!("{:.2}", price.round_dp(2)), held.expected_liq);
    }
}
