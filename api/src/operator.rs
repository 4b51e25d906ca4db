//! What operators do: open accounts, move money in and out, set limits and modes. The only paths on
//! which an account is named by the caller.
#![expect(clippy::disallowed_types, reason = "what the macro of poem-openapi writes is not ours")]

use std::collections::BTreeMap;
use std::sync::Arc;

use commands::desk;
use domain::account::command::AccountCommand;
use domain::account::event::AccountEvent;
use domain::account::limits::Limits;
use domain::account::position::Mode;
use domain::amount::{Amount, Quantity};
use domain::instrument::{Currency, NotAnInstrument};
use domain::name::AccountId;
use poem::Result;
use poem_openapi::param::Path;
use poem_openapi::{Object, OpenApi};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::account::{LimitsBody, ModeBody, money};
use crate::app::App;
use crate::body::{Body, Fields, Strict};
use crate::idempotency::Named;
use crate::market::{EntryBody, Tag};
use crate::orders::{Carried, Created, Settled, canonical, order};
use crate::principal::Operator;
use crate::problem::{Code, Problem};
use crate::scalar::{Dec, Positive, Ts};
use crate::trading::SUCCESS;

/// What an account is kept in when nobody says it.
const CURRENCY_DEFAULT: &str = "USDT";

pub struct OperatorApi(pub Arc<App>);

#[OpenApi(tag = "Tag::Operator")]
impl OperatorApi {
    /// Open an account
    ///
    /// It holds nothing yet. To open one that is open on the same terms is no error.
    #[oai(path = "/operator/accounts", method = "post", operation_id = "open_account")]
    async fn open(
        &self,
        operator: Operator,
        named: Named,
        body: Strict<OpenAccountBody>,
    ) -> Result<Created<AccountOpenedBody>> {
        let Strict(NewAccount { account, currency, mode, limits }) = body;
        let text = json!({
            "command": "open_account",
            "account": account,
            "currency": currency,
            "mode": mode,
            "limits": limits.as_ref().map(limits_text),
        });
        let limits = limits.unwrap_or_else(|| self.0.terms.limits_default.clone());
        let (asked, kept) = (LimitsBody::of(&limits), currency.to_string());
        let command = AccountCommand::OpenAccount { currency, mode, limits };
        let carried = self.0.operate(&operator, named, &account, &text, command).await?;
        Ok(carried.created(AccountOpenedBody {
            account: account.to_string(),
            status: SUCCESS.to_owned(),
            timestamp: Ts(carried.happened_at(self.0.clock.now())),
            currency: kept,
            mode: mode.into(),
            limits: limits_set(&carried).unwrap_or(asked),
            entry: carried.entry_body(),
            token: carried.token.text(),
        }))
    }

    /// Pay in
    #[oai(path = "/operator/accounts/:account/deposits", method = "post", operation_id = "deposit")]
    async fn deposit(
        &self,
        operator: Operator,
        named: Named,
        /// The name of the account.
        account: Path<String>,
        body: Strict<AmountBody>,
    ) -> Result<Created<MovedBody>> {
        let (account, Strict(amount)) = (account_of(&account.0)?, body);
        let text = moved_text("deposit", &account, amount);
        let command = AccountCommand::Deposit { amount };
        let carried = self.0.operate(&operator, named, &account, &text, command).await?;
        Ok(carried.created(self.0.moved_body(&account, amount, &carried)))
    }

    /// Pay out
    ///
    /// Only what is free.
    #[oai(
        path = "/operator/accounts/:account/withdrawals",
        method = "post",
        operation_id = "withdraw"
    )]
    async fn withdraw(
        &self,
        operator: Operator,
        named: Named,
        /// The name of the account.
        account: Path<String>,
        body: Strict<AmountBody>,
    ) -> Result<Created<MovedBody>> {
        let (account, Strict(amount)) = (account_of(&account.0)?, body);
        let text = moved_text("withdraw", &account, amount);
        let command = AccountCommand::Withdraw { amount };
        let carried = self.0.operate(&operator, named, &account, &text, command).await?;
        Ok(carried.created(self.0.moved_body(&account, amount, &carried)))
    }

    /// Set the limits of an account
    ///
    /// These replace those before. What is held already stays, whatever they say.
    #[oai(path = "/operator/accounts/:account/limits", method = "put", operation_id = "set_limits")]
    async fn limits(
        &self,
        operator: Operator,
        named: Named,
        /// The name of the account.
        account: Path<String>,
        body: Strict<LimitsBody>,
    ) -> Result<Settled<LimitsSetBody>> {
        let (account, Strict(limits)) = (account_of(&account.0)?, body);
        let text =
            json!({"command": "set_limits", "account": account, "limits": limits_text(&limits)});
        let asked = LimitsBody::of(&limits);
        let command = AccountCommand::SetLimits { limits };
        let carried = self.0.operate(&operator, named, &account, &text, command).await?;
        Ok(carried.settled(LimitsSetBody {
            account: account.to_string(),
            status: SUCCESS.to_owned(),
            timestamp: Ts(carried.happened_at(self.0.clock.now())),
            limits: limits_set(&carried).unwrap_or(asked),
            entry: carried.entry_body(),
            token: carried.token.text(),
        }))
    }

    /// Set the mode of an account
    ///
    /// Only while it holds no position.
    #[oai(path = "/operator/accounts/:account/mode", method = "put", operation_id = "set_mode")]
    async fn mode(
        &self,
        operator: Operator,
        named: Named,
        /// The name of the account.
        account: Path<String>,
        body: Strict<SetModeBody>,
    ) -> Result<Settled<ModeSetBody>> {
        let (account, Strict(mode)) = (account_of(&account.0)?, body);
        let text = json!({"command": "set_mode", "account": account, "mode": mode});
        let command = AccountCommand::SetMode { mode };
        let carried = self.0.operate(&operator, named, &account, &text, command).await?;
        Ok(carried.settled(ModeSetBody {
            account: account.to_string(),
            status: SUCCESS.to_owned(),
            timestamp: Ts(carried.happened_at(self.0.clock.now())),
            mode: mode.into(),
            entry: carried.entry_body(),
            token: carried.token.text(),
        }))
    }
}

impl App {
    async fn operate(
        &self,
        operator: &Operator,
        named: Named,
        account: &AccountId,
        text: &Value,
        command: AccountCommand,
    ) -> Result<Carried, Problem> {
        let append_id = desk::operator_append_id(operator.name(), account, &named.key);
        let order = order(account, append_id, text, operator.actor(), named);
        self.carry_out(order, |_| Ok(command.clone())).await
    }

    fn moved_body(&self, account: &AccountId, amount: Amount, carried: &Carried) -> MovedBody {
        MovedBody {
            account: account.to_string(),
            status: SUCCESS.to_owned(),
            timestamp: Ts(carried.happened_at(self.clock.now())),
            amount: money(amount.value()),
            entry: carried.entry_body(),
            token: carried.token.text(),
        }
    }
}

/// Returns the limits that an entry has set, with the digits that they were first written with.
fn limits_set(carried: &Carried) -> Option<LimitsBody> {
    carried.events().find_map(|event| match event {
        AccountEvent::AccountOpened { limits, .. } | AccountEvent::LimitsSet { limits } => {
            Some(LimitsBody::of(limits))
        }
        _ => None,
    })
}

/// Reads an account's name. What is no name names nothing.
fn account_of(text: &str) -> Result<AccountId, Problem> {
    text.parse().map_err(|_| Problem::new(Code::NotFound, "no such account"))
}

fn moved_text(command: &str, account: &AccountId, amount: Amount) -> Value {
    json!({"command": command, "account": account, "amount": canonical(amount.value())})
}

fn limits_text(limits: &Limits) -> Value {
    let quantity =
        |(instrument, quantity): (_, &Quantity)| (instrument, canonical(quantity.value()));
    let quantities: BTreeMap<_, _> = limits.quantity_max.iter().map(quantity).collect();
    json!({
        "positions_max": limits.positions_max,
        "notional_max": canonical(limits.notional_max.value()),
        "quantity_max": quantities,
    })
}

/// An account that is to be opened.
#[derive(Debug)]
pub struct NewAccount {
    account: AccountId,
    currency: Currency,
    mode: Mode,
    limits: Option<Limits>,
}

#[derive(Object)]
#[oai(deny_unknown_fields)]
struct OpenAccountBody {
    /// 1 to 64 letters, digits, '_' or '-'.
    account: String,
    /// The quote of the instruments that it trades; USDT when absent.
    currency: Option<String>,
    /// How positions of one symbol stand to each other; hedging when absent.
    mode: Option<ModeBody>,
    /// How much it may hold; those of the house when absent.
    limits: Option<LimitsBody>,
}

#[derive(Object)]
#[oai(deny_unknown_fields)]
struct AmountBody {
    /// A string, or a number of at most 15 digits.
    amount: Positive,
}

#[derive(Object)]
#[oai(deny_unknown_fields)]
struct SetModeBody {
    mode: ModeBody,
}

impl Body for OpenAccountBody {
    type Read = NewAccount;

    fn read(fields: &mut Fields) -> Option<NewAccount> {
        let account = fields.text("account");
        let account = fields.required("account", account);
        let currency = fields.text("currency");
        let currency = currency.or_else(|| CURRENCY_DEFAULT.parse().ok());
        let mode = fields.value("mode", "hedging or netting").unwrap_or(ModeBody::Hedging);
        let limits = fields.object("limits", limits).flatten();
        Some(NewAccount { account: account?, currency: currency?, mode: mode.into(), limits })
    }
}

impl Body for AmountBody {
    type Read = Amount;

    fn read(fields: &mut Fields) -> Option<Amount> {
        let amount = fields.amount("amount", amount);
        fields.required("amount", amount)
    }
}

impl Body for SetModeBody {
    type Read = Mode;

    fn read(fields: &mut Fields) -> Option<Mode> {
        let mode = fields.value::<ModeBody>("mode", "hedging or netting");
        fields.required("mode", mode).map(Mode::from)
    }
}

impl Body for LimitsBody {
    type Read = Limits;

    fn read(fields: &mut Fields) -> Option<Limits> {
        limits(fields)
    }
}

fn limits(fields: &mut Fields) -> Option<Limits> {
    let positions_max = fields.value("positions_max", "a whole number");
    let positions_max = fields.required("positions_max", positions_max);
    let notional_max = fields.amount("notional_max", amount);
    let notional_max = fields.required("notional_max", notional_max);
    let quantity_max = fields.object("quantity_max", |quantities| {
        let mut limits = BTreeMap::new();
        for name in quantities.names() {
            let quantity = quantities.amount(&name, quantity);
            match (name.parse(), quantity) {
                (Ok(instrument), Some(quantity)) => drop(limits.insert(instrument, quantity)),
                (Ok(_), None) => {}
                (Err(NotAnInstrument), _) => {
                    quantities.wrong::<()>(&name, NotAnInstrument.to_string());
                }
            }
        }
        limits
    });
    Some(Limits {
        positions_max: positions_max?,
        notional_max: notional_max?,
        quantity_max: quantity_max.unwrap_or_default(),
    })
}

fn amount(value: Decimal) -> Result<Amount, String> {
    Amount::new(value).map_err(|error| error.to_string())
}

fn quantity(value: Decimal) -> Result<Quantity, String> {
    Quantity::new(value).map_err(|error| error.to_string())
}

#[derive(Object)]
struct AccountOpenedBody {
    account: String,
    status: String,
    timestamp: Ts,
    currency: String,
    mode: ModeBody,
    limits: LimitsBody,
    entry: Option<EntryBody>,
    token: String,
}

/// Money that was moved.
#[derive(Object)]
struct MovedBody {
    account: String,
    status: String,
    timestamp: Ts,
    amount: Dec,
    entry: Option<EntryBody>,
    token: String,
}

#[derive(Object)]
struct LimitsSetBody {
    account: String,
    status: String,
    timestamp: Ts,
    limits: LimitsBody,
    entry: Option<EntryBody>,
    token: String,
}

#[derive(Object)]
struct ModeSetBody {
    account: String,
    status: String,
    timestamp: Ts,
    mode: ModeBody,
    entry: Option<EntryBody>,
    token: String,
}
