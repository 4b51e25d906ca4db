//! On what terms accounts trade, as configured, and the account of the demonstration.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use commands::desk::{self, Desk, DeskError, Order};
use commands::terms::TradingTerms;
use domain::account::Account;
use domain::account::command::AccountCommand;
use domain::account::limits::Limits;
use domain::account::position::Mode;
use domain::amount::{Amount, decimal};
use domain::margin::Tiers;
use domain::name::AccountId;
use eventlog::entry::Actor;
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};

/// The greatest fee, in basis points: one in a hundred.
const TAKER_BPS_MAX: Decimal = Decimal::ONE_HUNDRED;

const POSITIONS_MAX_DEFAULT: u32 = 10_000;
const NOTIONAL_MAX_DEFAULT: &str = "10000000";

/// The account of the demonstration, and what is paid into it.
const DEMO_ACCOUNT: &str = "demo";
const DEMO_CURRENCY: &str = "USDT";
const DEMO_AMOUNT: &str = "1000000.00";

/// Under this name it is set up. No operator has a slash in his.
const DEMO_SETUP: &str = "demo/setup";

/// `[trading]`: what trading costs, what it takes to hold a position, and the limits of new accounts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TradingKeys {
    /// The fee on a fill's cost, in basis points. Every order takes; there is no maker's fee.
    taker_bps: Option<Exact>,
    positions_max: Option<u32>,
    notional_max: Option<Exact>,
    /// By instrument, `BTC-USDT`, or `default`: rows of floor, maintenance rate, greatest leverage.
    tiers: BTreeMap<String, Vec<[Exact; 3]>>,
}

/// A number as it is written: a text, or a whole number. `0.1` without quotes has been rounded before
/// anybody could look at it.
#[derive(Debug, Clone, Copy)]
struct Exact(Decimal);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a number in quotes, such as \"0.004\", or a whole number")]
        enum Written {
            Whole(i64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Whole(whole) => Ok(Self(whole.into())),
            Written::Text(text) => decimal(&text).map(Self).map_err(serde::de::Error::custom),
        }
    }
}

impl TradingKeys {
    /// Returns the terms that these keys set; what they leave out is the default.
    pub(crate) fn terms(self) -> Result<TradingTerms> {
        let bps = self.taker_bps.map_or(Decimal::ZERO, |bps| bps.0);
        let in_bounds = (Decimal::ZERO..=TAKER_BPS_MAX).contains(&bps);
        ensure!(in_bounds, "trading.taker_bps = {bps}: expected 0 to {TAKER_BPS_MAX}");
        let notional_max = match self.notional_max {
            Some(Exact(notional)) => Amount::new(notional),
            None => Amount::from_str(NOTIONAL_MAX_DEFAULT),
        };
        let limits_default = Limits {
            positions_max: self.positions_max.unwrap_or(POSITIONS_MAX_DEFAULT),
            notional_max: notional_max.context("trading.notional_max")?,
            quantity_max: BTreeMap::new(),
        };
        let mut terms = TradingTerms {
            fee_rate: bps / Decimal::from(10_000),
            tiers: BTreeMap::new(),
            tiers_default: Arc::default(),
            limits_default,
        };
        for (name, rows) in self.tiers {
            let named = || format!("trading.tiers.{name}");
            let rows: Vec<_> =
                rows.iter().map(|[floor, rate, max]| (floor.0, rate.0, max.0)).collect();
            let tiers = Arc::new(Tiers::new(&rows).with_context(named)?);
            if name == "default" {
                terms.tiers_default = tiers;
            } else {
                terms.tiers.insert(name.parse().with_context(named)?, tiers);
            }
        }
        Ok(terms)
    }
}

/// Tells whoever runs the demonstration how to become the holder of its account.
pub(crate) fn hint(data: &Path) -> String {
    let data = data.display();
    format!("a token for its account: entasis token issue --account {DEMO_ACCOUNT} --data {data}")
}

/// Opens and funds the account of the demonstration, unless that was done before.
pub(crate) async fn fund_demo(desk: &Desk, terms: &TradingTerms) -> Result<()> {
    let account: AccountId = DEMO_ACCOUNT.parse()?;
    let open = AccountCommand::OpenAccount {
        currency: DEMO_CURRENCY.parse()?,
        mode: Mode::default(),
        limits: terms.limits_default.clone(),
    };
    let fund = AccountCommand::Deposit { amount: DEMO_AMOUNT.parse()? };
    let is_open: fn(&Account) -> bool = |account| account.standing().is_some();
    let is_funded: fn(&Account) -> bool = |account| !account.money().deposits.is_zero();
    for (name, command, is_done) in [("open", open, is_open), ("fund", fund, is_funded)] {
        let order = Order {
            append_id: desk::operator_append_id(DEMO_SETUP, &account, name),
            account: account.clone(),
            command: format!("{{\"demo\":\"{name}\"}}"),
            actor: Actor {
                principal: "demo".into(),
                role: "operator".into(),
                via: "engine".into(),
            },
            correlation_id: None,
            causation: None,
        };
        // The account itself says so, long after its ids are forgotten: and whoever opened it, and
        // on whatever terms, it is open.
        let unless_done = |account: &Account| {
            if is_done(account) { Err(AlreadyDone) } else { Ok(command.clone()) }
        };
        match desk.submit(order, unless_done).await {
            Ok(_) | Err(DeskError::Unquoted(AlreadyDone)) => {}
            Err(error) => bail!("the account {account} cannot be set up ({name}): {error}"),
        }
    }
    Ok(())
}

/// Nothing is left to do.
#[derive(Debug)]
struct AlreadyDone;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use domain::account::event::AccountEvent;
    use domain::event::Event;
    use eventlog::entry::Offset;
    use eventlog::log::ReadLog;
    use eventlog::memory::Memory;
    use eventlog::stream::Log;
    use projections::store::Store;

    use super::*;
    use crate::clock::Wall;

    fn terms(toml: &str) -> Result<TradingTerms> {
        let file = config::File::from_str(toml, config::FileFormat::Toml);
        let keys: TradingKeys =
            config::Config::builder().add_source(file).build()?.try_deserialize()?;
        keys.terms()
    }

    #[tokio::test]
    async fn an_account_that_is_open_on_other_terms_is_funded_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&folder.path().join("read.db")).await.unwrap();
        let ledger = Arc::new(Memory::new(Log::Ledger));
        let desk = Desk::new(ledger.clone(), Arc::new(store), Arc::new(Wall));
        let account: AccountId = DEMO_ACCOUNT.parse().unwrap();
        let order = Order {
            append_id: desk::operator_append_id("operator", &account, "k"),
            account,
            command: "{}".to_owned(),
            actor: Actor { principal: "o".into(), role: "operator".into(), via: "rest".into() },
            correlation_id: None,
            causation: None,
        };
        let open = AccountCommand::OpenAccount {
            currency: DEMO_CURRENCY.parse().unwrap(),
            mode: Mode::Netting,
            limits: terms("").unwrap().limits_default,
        };
        desk.submit(order, |_| Ok::<_, Infallible>(open.clone())).await.unwrap();

        fund_demo(&desk, &terms("").unwrap()).await.unwrap();
        fund_demo(&desk, &terms("positions_max = 3").unwrap()).await.unwrap();

        let entries = ledger.read(Offset(0), 100).await.unwrap();
        let paid = entries
            .iter()
            .flat_map(|entry| &entry.events)
            .filter(|event| matches!(event, Event::Account(AccountEvent::Deposited { .. })));
        assert_eq!(paid.count(), 1);
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        let terms = terms("").unwrap();

        assert_eq!(terms.fee_rate, Decimal::ZERO);
        assert_eq!(terms.limits_default.positions_max, 10_000);
        assert_eq!(terms.limits_default.notional_max.to_string(), "10000000");
        assert_eq!(*terms.tiers(&"BTC-USDT".parse().unwrap()).as_ref(), Tiers::default());
    }

    #[test]
    fn fees_limits_and_tiers_are_taken_to_the_digit() {
        let terms = terms(
            r#"
            taker_bps = "2.5"
            positions_max = 3
            notional_max = 5000
            [tiers]
            default = [[0, "0.01", 50]]
            BTC-USDT = [[0, "0.004", 125], ["50000", "0.005", 100]]
            "#,
        )
        .unwrap();

        assert_eq!(terms.fee_rate.to_string(), "0.00025");
        assert_eq!(terms.limits_default.notional_max.to_string(), "5000");
        let tiers = |symbol: &str| terms.tiers(&symbol.parse().unwrap()).iter().count();
        assert_eq!((tiers("BTC-USDT"), tiers("ETH-USDT")), (2, 1));
    }

    #[test]
    fn terms_that_cannot_be_meant_are_refused_by_name() {
        for (toml, word) in [
            ("taker_bps = 0.1", "number"),
            ("taker_bps = -1", "trading.taker_bps"),
            ("taker_bps = 101", "trading.taker_bps"),
            ("maker_bps = 1", "maker_bps"),
            ("notional_max = 0", "trading.notional_max"),
            (r#"tiers = { btc = [[0, "0.01", 50]] }"#, "trading.tiers.btc"),
            (r#"tiers = { default = [[5, "0.01", 50]] }"#, "trading.tiers.default"),
            ("tiers = { default = [] }", "trading.tiers.default"),
        ] {
            let error = format!("{:#}", terms(toml).err().unwrap_or_else(|| panic!("{toml}")));
            assert!(error.contains(word), "{toml}: {error}");
        }
    }
}
