//! What a node does, among several that share their logs.
//!
//! Every node holds all views. One that has no role besides still keeps them up to date, and can be
//! asked how it fares.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};

/// One of the things that a node may do. Any number of nodes may do each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Answers clients, over HTTP and WebSocket. Without it the address tells how the node fares, and
    /// no more.
    Door,
    /// Listens to venues and records what they say.
    Feeds,
    /// Closes positions when the market meets their conditions.
    Guardian,
    /// Does what happens by the clock; of several such nodes, one at a time.
    Jobs,
}

impl Role {
    const ALL: [Self; 4] = [Self::Door, Self::Feeds, Self::Guardian, Self::Jobs];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Door => "door",
            Self::Feeds => "feeds",
            Self::Guardian => "guardian",
            Self::Jobs => "jobs",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of: door, feeds, guardian, jobs")]
pub(crate) struct NotARole;

impl FromStr for Role {
    type Err = NotARole;

    fn from_str(text: &str) -> Result<Self, NotARole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(NotARole)
    }
}

/// The roles of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roles(BTreeSet<Role>);

impl Roles {
    /// Returns what a node does that stands alone: everything.
    pub(crate) fn all() -> Self {
        Self(Role::ALL.into())
    }

    /// Reads a list of words; none are all of them.
    pub(crate) fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let read = |word: &str| word.parse::<Role>().with_context(|| format!("roles: {word:?}"));
        let mut roles = BTreeSet::new();
        for word in words {
            ensure!(roles.insert(read(word)?), "roles: {word} stands there twice");
        }
        Ok(if roles.is_empty() { Self::all() } else { Self(roles) })
    }

    pub(crate) fn have(&self, role: Role) -> bool {
        self.0.contains(&role)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.0.iter().map(|role| role.as_str()).collect();
        f.write_str(&words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_words_and_no_words_are_all_of_them() {
        assert_eq!(Roles::parse([]).unwrap(), Roles::all());
        assert_eq!(Roles::parse(["jobs", "door"]).unwrap().to_string(), "door, jobs");
        assert!(!Roles::parse(["jobs"]).unwrap().have(Role::Door));
        assert!(Roles::all().have(Role::Door));
    }

    #[test]
    fn what_is_no_role_is_named() {
        for words in [["door", "dor"], ["door", "door"]] {
            let error = Roles::parse(words).unwrap_err();
            assert!(format!("{error:#}").contains(words[1]), "{error:#}");
        }
    }
}
