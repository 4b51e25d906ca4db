//! Who may do what: roles, and the scopes that they have.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub mod event;

/// What a principal is in the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds an account, and trades for it.
    Trader,
    /// Reads every account's events, and changes nothing.
    Auditor,
    /// Opens accounts, and moves money in and out of them.
    Operator,
    /// Gives and takes keys.
    Admin,
}

/// A right. Each operation asks for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    #[serde(rename = "market:read")]
    MarketRead,
    #[serde(rename = "portfolio:read")]
    PortfolioRead,
    #[serde(rename = "portfolio:write")]
    PortfolioWrite,
    #[serde(rename = "analysis:read")]
    AnalysisRead,
    #[serde(rename = "events:read")]
    EventsRead,
    #[serde(rename = "operator")]
    Operator,
    #[serde(rename = "admin")]
    Admin,
}

/// Rights, in one order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<Scope>);

/// Text that names no role, or no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotARight {
    #[error("expected trader, auditor, operator or admin")]
    Role,
    #[error(
        "expected market:read, portfolio:read, portfolio:write, analysis:read, events:read, \
         operator or admin"
    )]
    Scope,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Trader, Self::Auditor, Self::Operator, Self::Admin];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trader => "trader",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Returns all that this role may have. A key or a token may have less of it, never more.
    pub fn scopes(self) -> Scopes {
        let own: &[Scope] = match self {
            Self::Trader => &[Scope::PortfolioRead, Scope::PortfolioWrite, Scope::EventsRead],
            Self::Auditor => &[Scope::EventsRead],
            Self::Operator => &[Scope::Operator],
            Self::Admin => &[Scope::Admin],
        };
        [Scope::MarketRead, Scope::AnalysisRead].into_iter().chain(own.iter().copied()).collect()
    }
}

impl Scope {
    pub const ALL: [Self; 7] = [
        Self::MarketRead,
        Self::PortfolioRead,
        Self::PortfolioWrite,
        Self::AnalysisRead,
        Self::EventsRead,
        Self::Operator,
        Self::Admin,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MarketRead => "market:read",
            Self::PortfolioRead => "portfolio:read",
            Self::PortfolioWrite => "portfolio:write",
            Self::AnalysisRead => "analysis:read",
            Self::EventsRead => "events:read",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl Scopes {
    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }

    /// Returns what both have.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).copied().collect())
    }

    /// Whether all of these are among those of `other`.
    pub fn are_within(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl FromStr for Role {
    type Err = NotARight;

    fn from_str(text: &str) -> Result<Self, NotARight> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(NotARight::Role)
    }
}

impl FromStr for Scope {
    type Err = NotARight;

    fn from_str(text: &str) -> Result<Self, NotARight> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(NotARight::Scope)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
