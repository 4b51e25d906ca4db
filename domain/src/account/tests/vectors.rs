//! Sequences whose every figure is known from elsewhere, in netting mode.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::*;
use crate::account::command::AccountCommand;

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    events: Vec<Step>,
    expect: Vec<Expected>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Step {
    Fill { side: String, qty: String, price: String, fee_rate: String, mark: String },
    Funding { rate: String, mark: String },
}

/// Cumulative over the positions of a sequence; `qty` is signed.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Expected {
    qty: String,
    side: String,
    avg_entry: String,
    realized_gross: String,
    fees_paid: String,
    funding_received: String,
    unrealized_at_mark: String,
    equity_change: String,
}

/// Three of the sequences of the oracle, for where the others are not at hand.
const OURS: &str = r#"{"cases":[
{"name":"flip_short_to_long","events":[
 {"kind":"fill","side":"sell","qty":"0.1","price":"50000","fee_rate":"0.001","mark":"50000"},
 {"kind":"fill","side":"buy","qty":"0.2","price":"40000","fee_rate":"0.00125","mark":"40000"}],
"expect":[
 {"qty":"-0.1","side":"short","avg_entry":"50000.000000000000","realized_gross":"0.000000000000","fees_paid":"5.000000000000","funding_received":"0.000000000000","unrealized_at_mark":"0.000000000000","equity_change":"-5.000000000000"},
 {"qty":"0.1","side":"long","avg_entry":"40000.000000000000","realized_gross":"1000.000000000000","fees_paid":"15.000000000000","funding_received":"0.000000000000","unrealized_at_mark":"0.000000000000","equity_change":"985.000000000000"}]},
{"name":"non_terminating_average","events":[
 {"kind":"fill","side":"buy","qty":"1","price":"100","fee_rate":"0.0004","mark":"100"},
 {"kind":"fill","side":"buy","qty":"1","price":"101","fee_rate":"0.0004","mark":"101"},
 {"kind":"fill","side":"buy","qty":"1","price":"101","fee_rate":"0.0004","mark":"101"},
 {"kind":"fill","side":"sell","qty":"3","price":"100.5","fee_rate":"0.0004","mark":"100.5"}],
"expect":[
 {"qty":"1","side":"long","avg_entry":"100.000000000000","realized_gross":"0.000000000000","fees_paid":"0.040000000000","funding_received":"0.000000000000","unrealized_at_mark":"0.000000000000","equity_change":"-0.040000000000"},
 {"qty":"2","side":"long","avg_entry":"100.500000000000","realized_gross":"0.000000000000","fees_paid":"0.080400000000","funding_received":"0.000000000000","unrealized_at_mark":"1.000000000000","equity_change":"0.919600000000"},
 {"qty":"3","side":"long","avg_entry":"100.666666666667","realized_gross":"0.000000000000","fees_paid":"0.120800000000","funding_received":"0.000000000000","unrealized_at_mark":"1.000000000000","equity_change":"0.879200000000"},
 {"qty":"0","side":"flat","avg_entry":"0.000000000000","realized_gross":"-0.500000000000","fees_paid":"0.241400000000","funding_received":"0.000000000000","unrealized_at_mark":"0.000000000000","equity_change":"-0.741400000000"}]},
{"name":"long_pays_funding","events":[
 {"kind":"fill","side":"buy","qty":"2","price":"100","fee_rate":"0","mark":"100"},
 {"kind":"funding","rate":"0.0001","mark":"110"}],
"expect":[
 {"qty":"2","side":"long","avg_entry":"100.000000000000","realized_gross":"0.000000000000","fees_paid":"0.000000000000","funding_received":"0.000000000000","unrealized_at_mark":"0.000000000000","equity_change":"0.000000000000"},
 {"qty":"2","side":"long","avg_entry":"100.000000000000","realized_gross":"0.000000000000","fees_paid":"0.000000000000","funding_received":"-0.022000000000","unrealized_at_mark":"20.000000000000","equity_change":"19.978000000000"}]}
]}"#;

/// Reads twelve digits; zero has no sign.
fn twelve(value: Decimal) -> String {
    let rounded = value.round_dp(12);
    format!("{:.12}", if rounded.is_zero() { Decimal::ZERO } else { rounded })
}

fn no_sign_of_zero(text: &str) -> String {
    twelve(decimal(text))
}

impl Expected {
    fn of(account: &Account, mark: Price) -> Self {
        let money = account.money;
        let held = account.positions.values().next();
        let (signed, side) = held.map_or((Decimal::ZERO, "flat"), |held| match held.side {
            PositionSide::Long => (held.quantity.value(), "long"),
            PositionSide::Short => (-held.quantity.value(), "short"),
        });
        let average = held.map_or(Decimal::ZERO, |held| held.cost / held.quantity.value());
        let unrealized = held.map_or(Decimal::ZERO, |held| held.unrealized(mark).unwrap());
        let change = money.realized - money.fees + money.funding + unrealized;
        Self {
            qty: signed.normalize().to_string(),
            side: side.to_owned(),
            avg_entry: twelve(average),
            realized_gross: twelve(money.realized),
            fees_paid: twelve(money.fees),
            funding_received: twelve(money.funding),
            unrealized_at_mark: twelve(unrealized),
            equity_change: twelve(change),
        }
    }

    fn without_signs_of_zero(self) -> Self {
        Self {
            qty: decimal(&self.qty).normalize().to_string(),
            side: self.side,
            avg_entry: no_sign_of_zero(&self.avg_entry),
            realized_gross: no_sign_of_zero(&self.realized_gross),
            fees_paid: no_sign_of_zero(&self.fees_paid),
            funding_received: no_sign_of_zero(&self.funding_received),
            unrealized_at_mark: no_sign_of_zero(&self.unrealized_at_mark),
            equity_change: no_sign_of_zero(&self.equity_change),
        }
    }
}

/// Returns the command of a step, and what it pays minus what it receives.
fn command(step: &Step, account: &Account, number: u128) -> (AccountCommand, Decimal, Price) {
    match step {
        Step::Fill { side, qty, price: at, fee_rate, mark } => {
            let mark = price(mark);
            let (side, sign) = match side.as_str() {
                "buy" => (PositionSide::Long, Decimal::ONE),
                _ => (PositionSide::Short, Decimal::NEGATIVE_ONE),
            };
            let fill = Fill { mark, ..fill(qty, at) };
            let paid = sign * fill.cost;
            let order = OpenPosition {
                fill,
                terms: with_fee(fee_rate),
                ..order(number, side, qty, at, "1")
            };
            (AccountCommand::OpenPosition(order), paid, mark)
        }
        Step::Funding { rate, mark } => {
            let (rate, mark) = (decimal(rate), price(mark));
            let position_id = account.positions.keys().next().copied().unwrap_or(id(0));
            let (market, terms) = (market(MARKET_VERSION), terms());
            let funding = AccountCommand::ApplyFunding { position_id, rate, mark, market, terms };
            (funding, Decimal::ZERO, mark)
        }
    }
}

fn play(case: Case) -> usize {
    let limits = Limits {
        positions_max: 1,
        notional_max: amount("10000000000"),
        quantity_max: BTreeMap::new(),
    };
    let mut account = account(&netting("5000000000"));
    account.evolve(&Event::LimitsSet { limits });
    let (mut paid, steps) = (Decimal::ZERO, case.events.len());
    assert_eq!(case.expect.len(), steps);
    for ((number, step), expected) in (1..).zip(&case.events).zip(case.expect) {
        let (command, pays, mark) = command(step, &account, number);
        let is_flat = account.positions.is_empty();
        match account.decide(command) {
            Ok(events) => {
                for event in &events {
                    account.evolve(event);
                }
            }
            // Funding of nothing.
            Err(refusal) => assert!(is_flat && refusal == Refusal::PositionUnknown, "{refusal}"),
        }
        paid += pays;
        let place = format!("{} step {number}", case.name);
        assert_eq!(Expected::of(&account, mark), expected.without_signs_of_zero(), "{place}");

        // The law, over the whole life of all positions.
        let tied = account.positions.values().map(|held| held.side.sign() * held.cost);
        assert_eq!(paid, tied.sum::<Decimal>() - account.money.realized, "{place}");
        assert_conserved(&account);
    }
    steps
}

fn play_all(text: &str) -> (usize, usize) {
    let vectors: Vectors = serde_json::from_str(text).unwrap();
    let count = vectors.cases.len();
    (count, vectors.cases.into_iter().map(play).sum())
}

#[test]
fn each_figure_of_a_known_sequence_comes_out() {
    assert_eq!(play_all(OURS), (3, 8));
}

#[test]
fn each_figure_of_all_sequences_of_the_oracle_comes_out() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("ENTASIS_DATA").map_or_else(beside, PathBuf::from);
    match std::fs::read_to_string(data.join("oracles/position_vectors.json")) {
        Ok(text) => assert_eq!(play_all(&text), (15, 120)),
        // Not `println!`: what a test that passes prints by that way is hidden.
        Err(_) => writeln!(std::io::stderr(), "skipped: no recordings").unwrap(),
    }
}
