//! A door to test the judge at: keys that were given, and tokens that were signed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use commands::register::{KeyOrder, append_id};
use domain::access::{Role, Scope};
use domain::keys::command::KeyCommand;
use domain::keys::key::Grant;
use domain::time::{MINUTE, SECOND, Timestamp};
use eventlog::entry::Actor;
use eventlog::stream::Log;
use secrecy::{ExposeSecret, SecretString};

use crate::app::App;
use crate::auth::credentials::Credentials;
use crate::auth::judge::Denied;
use crate::auth::key_text::{self, KeyText};
use crate::auth::token::{self, Claims};
use crate::principal::Principal;
use crate::settings::Settings;
use crate::tests::house::{NOON, TestClock, foundation};

/// From where everybody comes here.
const HERE: &str = "192.0.2.7";

/// The parts of a door, a minute after noon, and keys that were given before.
pub(super) struct Doorway {
    pub(super) app: App,
}

impl Doorway {
    pub(super) fn new() -> Self {
        let app = foundation(Settings::default());
        Self { app: App { clock: Arc::new(TestClock::at("2024-03-21T09:31:01Z")), ..app } }
    }

    pub(super) fn noon() -> Timestamp {
        NOON.parse().unwrap()
    }

    async fn submit(&self, command: KeyCommand) {
        let name = key_text::random_text(20);
        let actor = Actor { principal: "ada".into(), role: "admin".into(), via: "rest".into() };
        let order = KeyOrder {
            append_id: append_id("ada", &name),
            asked: name,
            command,
            actor,
            correlation_id: None,
        };
        self.app.gate.register.submit(order).await.unwrap();
        let applied = self.app.views.applied(Log::Ledger);
        let entries = self.app.ledger.read(applied, 1_000).await.unwrap();
        self.app.views.fold(Log::Ledger, &entries);
    }

    /// Gives a key, and returns it.
    pub(super) async fn give(
        &self,
        account: &str,
        role: Role,
        scopes: &[Scope],
        change: impl FnOnce(&mut Grant),
    ) -> KeyText {
        let drawn = key_text::drawn();
        let mut grant = Grant {
            account: account.parse().unwrap(),
            role,
            scopes: scopes.iter().copied().collect(),
            networks: BTreeSet::new(),
            expires_at: None,
            label: None,
        };
        change(&mut grant);
        let command = KeyCommand::CreateApiKey {
            key: drawn.id.clone(),
            grant,
            secret: drawn.hash(),
            now: Self::noon(),
        };
        self.submit(command).await;
        drawn
    }

    pub(super) async fn revoke(&self, key: &KeyText) {
        self.submit(KeyCommand::RevokeApiKey { key: key.id.clone() }).await;
    }

    /// Gives a key another secret, and returns it; the one before is good for so many seconds.
    pub(super) async fn rotate(&self, key: &KeyText, overlap_s: i64) -> KeyText {
        let drawn = key_text::drawn_for(key.id.clone());
        let former_until = Self::noon().plus(overlap_s * SECOND);
        let secret = drawn.hash();
        self.submit(KeyCommand::RotateApiKey { key: key.id.clone(), secret, former_until }).await;
        drawn
    }

    pub(super) fn claims(
        account: &str,
        role: Role,
        scopes: &[Scope],
        key: Option<&KeyText>,
    ) -> Claims {
        Claims {
            id: key_text::random_text(10).parse().unwrap(),
            account: account.parse().unwrap(),
            role,
            scopes: scopes.iter().copied().collect(),
            issued_at: Self::noon(),
            expires_at: Self::noon().plus(10 * MINUTE),
            key: key.map(|key| key.id.clone()),
        }
    }

    pub(super) fn signed(&self, claims: &Claims) -> String {
        token::sign(&self.app.gate.token_keys.load(), claims).expose_secret().to_owned()
    }

    pub(super) async fn revoke_token(&self, claims: &Claims) {
        let (token, account) = (claims.id.clone(), claims.account.clone());
        let until = claims.expires_at;
        self.submit(KeyCommand::RevokeToken { token, account, now: Self::noon(), until }).await;
    }

    pub(super) fn judge(
        &self,
        token: Option<&str>,
        key: Option<&str>,
    ) -> Result<Principal, Denied> {
        let presented =
            Credentials { token: token.map(SecretString::from), key: key.map(SecretString::from) };
        self.app.judge(&presented, here())
    }
}

pub(super) fn here() -> IpAddr {
    HERE.parse().unwrap()
}
