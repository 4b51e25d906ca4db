//! `entasis token`: tokens are issued and looked at on the machine itself, and their keys changed.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use api::auth::token::{self, Claims, LIFETIME_MAX};
use api::auth::token_keys::TokenKeys;
use commands::clock::Clock;
use domain::access::Scopes;
use domain::time::Timestamp;
use secrecy::ExposeSecret;
use serde_json::json;
use uuid::Uuid;

use crate::clock::Wall;
use crate::command_line::{TokenCommand, TokenInspect, TokenIssue, TokenRotate};
use crate::configuration::Configuration;
use crate::{entrance, private};

/// By then every house has taken up a new key, and clocks that are apart have met.
const TAKEN_UP_MAX: Duration = Duration::from_mins(1);

pub(crate) fn run(command: &TokenCommand, at: &Configuration) -> Result<()> {
    match command {
        TokenCommand::Issue(issue) => self::issue(issue, at),
        TokenCommand::Inspect(inspect) => self::inspect(inspect, at),
        TokenCommand::Rotate(rotate) => self::rotate(rotate, at),
    }
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.plus(i64::try_from(by.as_micros()).unwrap_or(i64::MAX))
}

fn issue(issue: &TokenIssue, at: &Configuration) -> Result<()> {
    ensure!(issue.ttl <= LIFETIME_MAX, "--ttl is 24h at most");
    ensure!(!issue.ttl.is_zero(), "--ttl is 0");
    let scopes: Scopes = issue.scope.iter().copied().collect();
    let allowed = issue.role.scopes();
    ensure!(scopes.are_within(&allowed), "the role {} has no such scope", issue.role);
    let now = Wall.now();
    let claims = Claims {
        id: Uuid::now_v7().to_string().parse()?,
        account: issue.account.clone(),
        role: issue.role,
        scopes: if scopes.is_empty() { allowed } else { scopes },
        issued_at: now,
        expires_at: later(now, issue.ttl),
        key: None,
    };
    let token = token::sign(&entrance::token_keys(&at.door)?, &claims);
    writeln!(std::io::stdout(), "{}", token.expose_secret())?;
    Ok(())
}

/// Tells what a token says and whether it is good; one that is not ends with an error.
fn inspect(inspect: &TokenInspect, at: &Configuration) -> Result<()> {
    let text = if inspect.token == "-" {
        let mut text = String::new();
        std::io::stdin().lock().take(64 * 1024).read_to_string(&mut text)?;
        text
    } else {
        inspect.token.clone()
    };
    let keys = entrance::token_keys(&at.door)?;
    match token::verify(&keys, text.trim(), Wall.now()) {
        Ok(claims) => {
            let told = json!({
                "valid": true,
                "account": claims.account,
                "role": claims.role,
                "scopes": claims.scopes,
                "id": claims.id,
                "issued_at": claims.issued_at,
                "expires_at": claims.expires_at,
                "key": claims.key,
            });
            writeln!(std::io::stdout(), "{told:#}")?;
            Ok(())
        }
        Err(bad) => {
            let told = json!({"valid": false, "reason": bad.word()});
            writeln!(std::io::stdout(), "{told:#}")?;
            bail!("{bad}")
        }
    }
}

/// Puts a new key before the others. A house that runs takes it up within a second.
fn rotate(rotate: &TokenRotate, at: &Configuration) -> Result<()> {
    let now = Wall.now();
    let file = entrance::token_keys_file(&at.door);
    let file = file.context("the secret is configured: there is no file to put a key into")?;
    let before = entrance::token_keys_text(&at.door)?;
    // By then the last token that the former key has signed has expired: a house may sign with it
    // until it has read the file.
    let until = later(now, LIFETIME_MAX + TAKEN_UP_MAX);
    let named = || format!("{}", file.display());
    let text = TokenKeys::rotated(before.expose_secret(), rotate.algorithm, now, until)
        .with_context(named)?;
    TokenKeys::read(text.expose_secret()).with_context(named)?;
    private::replace(&file, &text)?;
    writeln!(
        std::io::stdout(),
        "{}: a new key signs; the one before it verifies until {}",
        file.display(),
        until.to_shortest()
    )?;
    Ok(())
}
