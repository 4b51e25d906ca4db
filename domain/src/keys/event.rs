//! Facts about the keys that open the door. They hold hashes of secrets, never a secret.

use serde::{Deserialize, Serialize};

use crate::keys::key::{Grant, KeyId, SecretHash, TokenId};
use crate::name::AccountId;
use crate::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum KeyEvent {
    #[serde(rename = "api_key_created.v1")]
    ApiKeyCreated { key: KeyId, grant: Grant, secret: SecretHash },

    /// It has a new secret; the one before is good until `former_until`.
    #[serde(rename = "api_key_rotated.v1")]
    ApiKeyRotated { key: KeyId, secret: SecretHash, former_until: Timestamp },

    /// It opens nothing any more, nor do tokens that it was exchanged for.
    #[serde(rename = "api_key_revoked.v1")]
    ApiKeyRevoked { key: KeyId },

    /// A token opens nothing any more. It would have expired at `until`, and is forgotten then.
    #[serde(rename = "token_revoked.v1")]
    TokenRevoked { token: TokenId, account: AccountId, at: Timestamp, until: Timestamp },
}
