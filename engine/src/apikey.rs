//! `entasis apikey`: keys are made, listed, rotated and revoked on the machine itself.

use std::io::Write;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use api::api_keys::bodies::OVERLAP_S_MAX;
use commands::clock::Clock;
use domain::access::Scope;
use domain::keys::key::{ApiKey, Grant, KeyId};
use serde_json::{Value, json};

use crate::admin::{self, Request, Told};
use crate::clock::Wall;
use crate::command_line::{ApiKeyCommand, ApiKeyCreate};
use crate::configuration::Configuration;

/// How long a former secret may be good beside the one that replaces it, here as over HTTP.
const OVERLAP_MAX: Duration = Duration::from_secs(OVERLAP_S_MAX as u64);

pub(crate) async fn run(command: &ApiKeyCommand, at: &Configuration) -> Result<()> {
    let (request, is_json) = match command {
        ApiKeyCommand::Create(create) => (Request::CreateKey { grant: grant(create) }, create.json),
        ApiKeyCommand::List(list) => (Request::ListKeys, list.json),
        ApiKeyCommand::Rotate(rotate) => {
            ensure!(rotate.overlap <= OVERLAP_MAX, "--overlap is 7d at most");
            let overlap_s = u32::try_from(rotate.overlap.as_secs())?;
            (Request::RotateKey { key: rotate.id.clone(), overlap_s }, rotate.json)
        }
        ApiKeyCommand::Revoke(revoke) => {
            (Request::RevokeKey { key: revoke.id.clone() }, revoke.json)
        }
    };
    let text = match admin::ask(at, request).await? {
        Told::Refused(why) => bail!(why),
        Told::Key { id, api_key } if is_json => json!({"id": id, "api_key": api_key}).to_string(),
        // Alone, so that a script can take it.
        Told::Key { api_key, .. } => api_key,
        Told::Revoked { id } if is_json => json!({"id": id, "revoked": true}).to_string(),
        Told::Revoked { id } => format!("{id} is revoked"),
        Told::Keys(keys) if is_json => {
            let keys: Vec<Value> = keys.iter().map(|(id, key)| shown(id, key)).collect();
            json!({"keys": keys}).to_string()
        }
        Told::Keys(keys) => {
            keys.iter().map(|(id, key)| line(id, key)).collect::<Vec<_>>().join("\n")
        }
    };
    if !text.is_empty() {
        writeln!(std::io::stdout(), "{text}")?;
    }
    Ok(())
}

fn grant(create: &ApiKeyCreate) -> Grant {
    let scopes = create.scope.iter().copied().collect::<domain::access::Scopes>();
    Grant {
        account: create.account.clone(),
        role: create.role,
        scopes: if scopes.is_empty() { create.role.scopes() } else { scopes },
        networks: create.network.iter().copied().collect(),
        expires_at: create
            .ttl
            .map(|ttl| Wall.now().plus(i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX))),
        label: create.label.clone(),
    }
}

/// Returns a key as it is told: nothing of its secret, not even the hash.
fn shown(id: &KeyId, key: &ApiKey) -> Value {
    let ApiKey { grant, former, revoked, .. } = key;
    json!({
        "id": id,
        "account": grant.account,
        "role": grant.role,
        "scopes": grant.scopes,
        "networks": grant.networks,
        "expires_at": grant.expires_at,
        "label": grant.label,
        "former_until": former.as_ref().map(|former| former.until),
        "revoked": revoked,
    })
}

fn line(id: &KeyId, key: &ApiKey) -> String {
    let ApiKey { grant, revoked, .. } = key;
    let scopes: Vec<&str> = grant.scopes.iter().map(Scope::as_str).collect();
    let networks: Vec<String> = grant.networks.iter().map(ToString::to_string).collect();
    let said = [
        Some(format!("{id}  {} {}", grant.role, grant.account)),
        Some(scopes.join(" ")),
        (!networks.is_empty()).then(|| format!("from {}", networks.join(" "))),
        grant.expires_at.map(|expires_at| format!("until {}", expires_at.to_shortest())),
        grant.label.as_ref().map(|label| format!("\"{label}\"")),
        revoked.then(|| "revoked".to_owned()),
    ];
    said.into_iter().flatten().collect::<Vec<_>>().join("  ")
}
