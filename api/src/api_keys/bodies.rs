//! What is asked and told of keys.

use std::collections::BTreeSet;

use domain::access::{Role, Scope, Scopes};
use domain::keys::event::KeyEvent;
use domain::keys::key::{ApiKey, Grant, KeyId, SecretHash};
use domain::network::Network;
use domain::time::Timestamp;
use poem_openapi::{Enum, Object};
use projections::access::Made;
use secrecy::ExposeSecret;

use crate::auth::key_text::KeyText;
use crate::body::{Body, Fields};
use crate::market::EntryBody;
use crate::orders::Carried;
use crate::problem::{Code, Problem};
use crate::scalar::Ts;
use crate::trading::SUCCESS;

/// How long a former secret may be good beside the one that replaces it: a week.
pub const OVERLAP_S_MAX: u32 = 604_800;

#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[oai(rename = "Role", rename_all = "lowercase")]
pub enum RoleBody {
    Trader,
    Auditor,
    Operator,
    Admin,
}

#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[oai(rename = "Scope")]
pub enum ScopeBody {
    #[oai(rename = "market:read")]
    MarketRead,
    #[oai(rename = "portfolio:read")]
    PortfolioRead,
    #[oai(rename = "portfolio:write")]
    PortfolioWrite,
    #[oai(rename = "analysis:read")]
    AnalysisRead,
    #[oai(rename = "events:read")]
    EventsRead,
    #[oai(rename = "operator")]
    Operator,
    #[oai(rename = "admin")]
    Admin,
}

#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct CreateApiKeyBody {
    /// Whose account it opens, 1 to 64 letters, digits, '_' or '-'; of those who hold none, a name.
    #[oai(validator(pattern = "^[A-Za-z0-9_-]{1,64}$"))]
    account: String,
    role: RoleBody,
    /// What it may, of what its role may; all of it when absent.
    #[oai(validator(min_items = 1))]
    scopes: Option<Vec<ScopeBody>>,
    /// It is good from these networks only, such as `10.0.0.0/8`, `2001:db8::/32` or one address; from
    /// everywhere when absent or empty. At most 64.
    #[oai(validator(max_items = 64))]
    networks: Option<Vec<String>>,
    /// It opens nothing from then on; never when absent.
    expires_at: Option<Ts>,
    /// What its holders call it: 1 to 64 printable characters, without blanks at its ends.
    label: Option<String>,
}

#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct RotateApiKeyBody {
    /// Seconds for which the secret that it had until now stays good; 0 when absent.
    #[oai(validator(maximum(value = "604800")))]
    overlap_s: Option<u32>,
}

impl Body for CreateApiKeyBody {
    type Read = Grant;

    fn read(fields: &mut Fields) -> Option<Grant> {
        let account = fields.text("account");
        let account = fields.required("account", account);
        let role = fields.text::<Role>("role");
        let role = fields.required("role", role);
        let scopes = scopes(fields);
        let networks = networks(fields);
        let expires_at = fields.value::<Ts>("expires_at", "a time such as 2024-03-21T09:30:00Z");
        let label = fields.text("label");
        let role = role?;
        Some(Grant {
            account: account?,
            role,
            scopes: scopes.unwrap_or_else(|| role.scopes()),
            networks: networks.unwrap_or_default(),
            expires_at: expires_at.map(|Ts(at)| at),
            label,
        })
    }
}

impl Body for RotateApiKeyBody {
    type Read = u32;

    fn read(fields: &mut Fields) -> Option<u32> {
        let expected = "0 to 604800 seconds";
        match fields.value::<u32>("overlap_s", expected) {
            Some(overlap) if overlap > OVERLAP_S_MAX => {
                fields.wrong("overlap_s", format!("expected {expected}"))
            }
            overlap => Some(overlap.unwrap_or_default()),
        }
    }
}

/// Reads which scopes are asked for.
pub fn scopes(fields: &mut Fields) -> Option<Scopes> {
    let names = fields.value::<Vec<String>>("scopes", "a list of scopes")?;
    let scopes = names.iter().map(|name| name.parse::<Scope>()).collect::<Result<Scopes, _>>();
    match scopes {
        Ok(scopes) => Some(scopes),
        Err(reason) => fields.wrong("scopes", reason.to_string()),
    }
}

fn networks(fields: &mut Fields) -> Option<BTreeSet<Network>> {
    let names = fields.value::<Vec<String>>("networks", "a list of networks")?;
    match names.iter().map(|name| name.parse()).collect::<Result<_, _>>() {
        Ok(networks) => Some(networks),
        Err(reason) => {
            let reason: domain::network::NotANetwork = reason;
            fields.wrong("networks", reason.to_string())
        }
    }
}

/// A key that was given.
#[derive(Object)]
pub(super) struct ApiKeyCreatedBody {
    id: String,
    /// The key, to be kept by its holder: it is shown this once. Null when the request is repeated.
    api_key: Option<String>,
    account: String,
    role: RoleBody,
    scopes: Vec<ScopeBody>,
    networks: Vec<String>,
    expires_at: Option<Ts>,
    label: Option<String>,
    created_at: Ts,
    entry: Option<EntryBody>,
    token: String,
}

impl ApiKeyCreatedBody {
    pub(super) fn of(drawn: &KeyText, carried: &Carried) -> Result<Self, Problem> {
        let (Some(entry), Some(KeyEvent::ApiKeyCreated { key, grant, secret })) =
            (&carried.entry, carried.key_event())
        else {
            return Err(not_what_was_asked());
        };
        Ok(Self {
            id: key.to_string(),
            api_key: shown_once(drawn, *secret),
            account: grant.account.to_string(),
            role: grant.role.into(),
            scopes: scope_bodies(&grant.scopes),
            networks: grant.networks.iter().map(ToString::to_string).collect(),
            expires_at: grant.expires_at.map(Ts),
            label: grant.label.as_ref().map(ToString::to_string),
            created_at: Ts(entry.recorded_at),
            entry: carried.entry_body(),
            token: carried.token.text(),
        })
    }
}

/// A key that has a new secret.
#[derive(Object)]
pub(super) struct ApiKeyRotatedBody {
    id: String,
    /// The key with its new secret, to be kept by its holder: it is shown this once. Null when the
    /// request is repeated.
    api_key: Option<String>,
    status: String,
    timestamp: Ts,
    /// When the secret before it ends.
    former_until: Ts,
    entry: Option<EntryBody>,
    token: String,
}

impl ApiKeyRotatedBody {
    pub(super) fn of(drawn: &KeyText, carried: &Carried) -> Result<Self, Problem> {
        let (Some(entry), Some(KeyEvent::ApiKeyRotated { key, secret, former_until })) =
            (&carried.entry, carried.key_event())
        else {
            return Err(not_what_was_asked());
        };
        Ok(Self {
            id: key.to_string(),
            api_key: shown_once(drawn, *secret),
            status: SUCCESS.to_owned(),
            timestamp: Ts(entry.recorded_at),
            former_until: Ts(*former_until),
            entry: carried.entry_body(),
            token: carried.token.text(),
        })
    }
}

/// A key that opens nothing any more.
#[derive(Object)]
pub(super) struct ApiKeyRevokedBody {
    id: String,
    status: String,
    timestamp: Ts,
    entry: Option<EntryBody>,
    token: String,
}

impl ApiKeyRevokedBody {
    pub(super) fn of(id: &KeyId, carried: &Carried, now: Timestamp) -> Self {
        Self {
            id: id.to_string(),
            status: SUCCESS.to_owned(),
            timestamp: Ts(carried.happened_at(now)),
            entry: carried.entry_body(),
            token: carried.token.text(),
        }
    }
}

#[derive(Object)]
pub(super) struct ApiKeysBody {
    pub(super) api_keys: Vec<ApiKeyBody>,
    /// Where the next page starts; null on the last one.
    pub(super) next_cursor: Option<String>,
}

/// A key, without its secret.
#[derive(Object)]
pub(super) struct ApiKeyBody {
    pub(super) id: String,
    account: String,
    role: RoleBody,
    scopes: Vec<ScopeBody>,
    networks: Vec<String>,
    expires_at: Option<Ts>,
    label: Option<String>,
    created_at: Ts,
    rotated_at: Option<Ts>,
    /// Until when the secret before the last rotation is good.
    former_until: Option<Ts>,
    revoked_at: Option<Ts>,
    /// The first time that it was used on the last day on which it was.
    used_at: Option<Ts>,
}

impl ApiKeyBody {
    pub(super) fn of(id: &KeyId, key: &ApiKey, made: &Made) -> Self {
        let ApiKey { grant, former, .. } = key;
        Self {
            id: id.to_string(),
            account: grant.account.to_string(),
            role: grant.role.into(),
            scopes: scope_bodies(&grant.scopes),
            networks: grant.networks.iter().map(ToString::to_string).collect(),
            expires_at: grant.expires_at.map(Ts),
            label: grant.label.as_ref().map(ToString::to_string),
            created_at: Ts(made.created_at),
            rotated_at: made.rotated_at.map(Ts),
            former_until: former.as_ref().map(|former| Ts(former.until)),
            revoked_at: made.revoked_at.map(Ts),
            used_at: made.used_at.map(Ts),
        }
    }
}

/// Returns what was drawn, if it is what was kept. When the request had been carried out before, it
/// is not: what was drawn then is gone, and this belongs to nothing.
fn shown_once(drawn: &KeyText, kept: SecretHash) -> Option<String> {
    (drawn.hash() == kept).then(|| drawn.text().expose_secret().to_owned())
}

/// An append id is made of one command, and under it stands what that command decides.
fn not_what_was_asked() -> Problem {
    Problem::new(Code::Internal, "")
}

pub fn scope_bodies(scopes: &Scopes) -> Vec<ScopeBody> {
    scopes.iter().map(ScopeBody::from).collect()
}

impl From<Role> for RoleBody {
    fn from(role: Role) -> Self {
        match role {
            Role::Trader => Self::Trader,
            Role::Auditor => Self::Auditor,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
        }
    }
}

impl From<Scope> for ScopeBody {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::MarketRead => Self::MarketRead,
            Scope::PortfolioRead => Self::PortfolioRead,
            Scope::PortfolioWrite => Self::PortfolioWrite,
            Scope::AnalysisRead => Self::AnalysisRead,
            Scope::EventsRead => Self::EventsRead,
            Scope::Operator => Self::Operator,
            Scope::Admin => Self::Admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use poem_openapi::types::ToJSON;

    use super::*;

    #[test]
    fn roles_and_scopes_are_called_here_as_they_are_everywhere() {
        for role in Role::ALL {
            assert_eq!(RoleBody::from(role).to_json(), Some(role.as_str().into()));
        }
        for scope in Scope::ALL {
            assert_eq!(ScopeBody::from(scope).to_json(), Some(scope.as_str().into()));
        }
    }
}
