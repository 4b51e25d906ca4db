//! What can be asked about keys, and why it is refused.

use crate::access::{Scope, Scopes};
use crate::keys::key::{Grant, KeyId, SecretHash, TokenId};
use crate::name::AccountId;
use crate::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyCommand {
    CreateApiKey {
        key: KeyId,
        grant: Grant,
        secret: SecretHash,
        now: Timestamp,
    },
    /// The secret as it is now is good until `former_until`, and the one before it no more.
    RotateApiKey {
        key: KeyId,
        secret: SecretHash,
        former_until: Timestamp,
    },
    RevokeApiKey {
        key: KeyId,
    },
    /// From `until` on nobody takes the token anyway: that is past its expiry by whatever leeway
    /// clocks are given.
    RevokeToken {
        token: TokenId,
        account: AccountId,
        now: Timestamp,
        until: Timestamp,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    #[error("there is no such key")]
    KeyUnknown,
    /// Two keys drew the same id: draw again.
    #[error("this id is taken")]
    KeyTaken,
    #[error("the key was revoked")]
    KeyRevoked,
    #[error("a key needs at least one scope")]
    NoScope,
    #[error("the role may have {}", list(allowed))]
    ScopeBeyondRole { allowed: Scopes },
    #[error("a key has at most {max} networks")]
    TooManyNetworks { max: usize },
    #[error("the key would have expired already")]
    ExpiredAlready,
    #[error("there are {max} keys that are not revoked: revoke one first")]
    TooManyKeys { max: usize },
    #[error("{max} tokens are revoked that have not expired yet: try again later")]
    TooManyTokens { max: usize },
    #[error("{max} tokens of this account are revoked that have not expired yet: revoke its key")]
    TooManyTokensOfAccount { max: usize },
}

fn list(scopes: &Scopes) -> String {
    scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(", ")
}
