//! Who asks, and what they may do: the one place that says so.

use std::collections::BTreeSet;

use domain::access::{Role, Scope, Scopes};
use domain::keys::key::{KeyId, TokenId};
use domain::name::AccountId;
use domain::time::Timestamp;
use eventlog::entry::Actor;
use poem::{FromRequest, Request, RequestBody, Result};
use serde::{Deserialize, Serialize};

use crate::problem::{Code, Problem};

/// Through which door these principals come.
const VIA: &str = "rest";

/// Who somebody is who was let in, and what they may do. The door puts it into the request. Nodes write
/// it to each other, of whose ticket it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// The account that is theirs; of those who hold none, their name.
    pub account: AccountId,
    pub role: Role,
    pub scopes: Scopes,
    /// The keys behind it: the one that was presented, the one that the token was exchanged for.
    pub keys: BTreeSet<KeyId>,
    pub token: Option<TokenId>,
    /// When the first of what was presented expires.
    pub expires_at: Option<Timestamp>,
}

/// The proof that whoever asks may read the market.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarketReader(());

/// The proof that whoever asks may see an account, which is their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortfolioReader(AccountId);

/// The proof that whoever asks may trade for an account, which is their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortfolioWriter(Principal);

/// The proof that whoever asks may open accounts and move money in and out of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator(Principal);

/// The proof that whoever asks may give and take keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin(Principal);

impl Principal {
    pub fn actor(&self) -> Actor {
        Actor {
            principal: self.account.to_string(),
            role: self.role.to_string(),
            via: VIA.to_owned(),
        }
    }

    /// Returns whom the door let in; without anybody there is no answer.
    fn of(request: &Request) -> Result<&Self, Problem> {
        let none = || Problem::new(Code::Unauthorized, "a token or a key is needed");
        request.data::<Self>().ok_or_else(none)
    }

    /// Returns whom the door let in, if they have this right. The door has asked for it already: this
    /// is what makes a handler impossible that was forgotten there.
    fn with(request: &Request, scope: Scope) -> Result<&Self, Problem> {
        let principal = Self::of(request)?;
        if principal.scopes.contains(scope) {
            return Ok(principal);
        }
        Err(Problem::new(Code::Forbidden, format!("this needs the scope {scope}")))
    }
}

impl PortfolioReader {
    pub const fn account(&self) -> &AccountId {
        &self.0
    }
}

impl PortfolioWriter {
    pub const fn account(&self) -> &AccountId {
        &self.0.account
    }

    pub fn actor(&self) -> Actor {
        self.0.actor()
    }
}

impl Operator {
    pub fn name(&self) -> &str {
        self.0.account.as_str()
    }

    pub fn actor(&self) -> Actor {
        self.0.actor()
    }
}

impl Admin {
    pub const fn principal(&self) -> &Principal {
        &self.0
    }
}

impl<'a> FromRequest<'a> for Principal {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        Ok(Self::of(request)?.clone())
    }
}

impl<'a> FromRequest<'a> for MarketReader {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        Principal::with(request, Scope::MarketRead)?;
        Ok(Self(()))
    }
}

impl<'a> FromRequest<'a> for PortfolioReader {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        Ok(Self(Principal::with(request, Scope::PortfolioRead)?.account.clone()))
    }
}

impl<'a> FromRequest<'a> for PortfolioWriter {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        Ok(Self(Principal::with(request, Scope::PortfolioWrite)?.clone()))
    }
}

impl<'a> FromRequest<'a> for Operator {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        Ok(Self(Principal::with(request, Scope::Operator)?.clone()))
    }
}

impl<'a> FromRequest<'a> for Admin {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        Ok(Self(Principal::with(request, Scope::Admin)?.clone()))
    }
}
