//! Who may come in while it is measured: one trader, as often as they like.

use std::sync::Arc;

use anyhow::Result;
use api::auth::token::{self, Claims};
use api::auth::token_keys::{Algorithm, TokenKeys};
use api::gate::Gate;
use api::rules::Rules;
use commands::clock::Clock;
use commands::register::Register;
use commands::register::trail::Trail;
use domain::access::Role;
use domain::time::SECOND;
use eventlog::log::EventLog;
use secrecy::ExposeSecret;

/// The account that everything is asked of.
pub const ACCOUNT: &str = "demo";

/// Returns a gate whose limits nobody reaches, and a token of the account's holder.
pub fn open(ledger: Arc<dyn EventLog>, clock: Arc<dyn Clock>) -> Result<(Arc<Gate>, String)> {
    let keys = TokenKeys::read(TokenKeys::drawn(Algorithm::Hs256).expose_secret())?;
    let now = clock.now();
    let claims = Claims {
        id: "bench".parse()?,
        account: ACCOUNT.parse()?,
        role: Role::Trader,
        scopes: Role::Trader.scopes(),
        issued_at: now,
        expires_at: now.plus(3_600 * SECOND),
        key: None,
    };
    let token = token::sign(&keys, &claims).expose_secret().to_owned();
    let rules = Rules { requests_max: u32::MAX, requests_ip_max: u32::MAX, ..Rules::default() };
    let register = Arc::new(Register::new(ledger.clone(), clock.clone()));
    let trail = Arc::new(Trail::new(ledger, clock, "bench".parse()?));
    Ok((Arc::new(Gate::new(keys, rules, register, trail)), token))
}
