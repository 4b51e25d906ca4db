//! Facts about who came to the door: beside what they did there. Never a secret, nor a part of one.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::access::{Role, Scopes};
use crate::keys::key::{KeyId, TokenId};
use crate::name::AccountId;
use crate::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum AccessEvent {
    /// Credentials were presented, and are not good.
    #[serde(rename = "authentication_failed.v1")]
    AuthenticationFailed {
        at: Timestamp,
        address: IpAddr,
        /// Why, in one word that is never translated: `token_expired`.
        reason: String,
        /// The key that was named, where one was.
        key: Option<KeyId>,
        request_id: String,
    },

    /// Somebody came from an address from which they may not come: that of the house, or of a key.
    #[serde(rename = "address_denied.v1")]
    AddressDenied { at: Timestamp, address: IpAddr, key: Option<KeyId>, request_id: String },

    /// So many failures and denials of one address came too fast to be recorded one by one. An IPv6
    /// address stands for its /64; 0.0.0.0 for those of too many addresses at once.
    #[serde(rename = "failures_counted.v1")]
    FailuresCounted { address: IpAddr, count: u64, from: Timestamp, to: Timestamp },

    /// A key was exchanged for a token.
    #[serde(rename = "token_issued.v1")]
    TokenIssued {
        at: Timestamp,
        token: TokenId,
        account: AccountId,
        role: Role,
        scopes: Scopes,
        expires_at: Timestamp,
        key: KeyId,
        address: IpAddr,
        request_id: String,
    },

    /// Somebody looked at what concerns others: keys, or the audit.
    #[serde(rename = "records_read.v1")]
    RecordsRead {
        at: Timestamp,
        account: AccountId,
        role: Role,
        operation: String,
        address: IpAddr,
        request_id: String,
    },

    /// A key was used, for the first time on this UTC day.
    #[serde(rename = "api_key_used.v1")]
    ApiKeyUsed { at: Timestamp, key: KeyId },
}
