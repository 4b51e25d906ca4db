//! Who asks, and what they may do: the one place that says so.

use domain::name::AccountId;
use eventlog::entry::Actor;
use poem::{FromRequest, Request, RequestBody, Result};

/// Who everybody is as long as nobody has to say who they are: the holder of the account of this
/// name, and an operator.
const STAND_IN: &str = "demo";

/// Through which door these principals come.
const VIA: &str = "rest";

/// The proof that whoever asks may read the market.
///
/// Nobody has to say who they are yet, and anybody may read the market. A handler that takes this
/// will ask the right thing once that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarketReader(());

/// The proof that whoever asks may see an account, which is their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortfolioReader(AccountId);

/// The proof that whoever asks may trade for an account, which is their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortfolioWriter(AccountId);

/// The proof that whoever asks may open accounts and move money in and out of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator(String);

impl PortfolioReader {
    pub const fn account(&self) -> &AccountId {
        &self.0
    }
}

impl PortfolioWriter {
    pub const fn account(&self) -> &AccountId {
        &self.0
    }

    pub fn actor(&self) -> Actor {
        actor(self.0.as_str(), "trader")
    }
}

impl Operator {
    pub fn name(&self) -> &str {
        &self.0
    }

    pub fn actor(&self) -> Actor {
        actor(&self.0, "operator")
    }
}

/// Returns whose account a request or a WebSocket is about.
pub fn account() -> AccountId {
    STAND_IN.parse().expect("it is a name")
}

fn actor(principal: &str, role: &str) -> Actor {
    Actor { principal: principal.to_owned(), role: role.to_owned(), via: VIA.to_owned() }
}

impl<'a> FromRequest<'a> for MarketReader {
    async fn from_request(_request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        Ok(Self(()))
    }
}

impl<'a> FromRequest<'a> for PortfolioReader {
    async fn from_request(_request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        Ok(Self(account()))
    }
}

impl<'a> FromRequest<'a> for PortfolioWriter {
    async fn from_request(_request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        Ok(Self(account()))
    }
}

impl<'a> FromRequest<'a> for Operator {
    async fn from_request(_request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        Ok(Self(STAND_IN.to_owned()))
    }
}
