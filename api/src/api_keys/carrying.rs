//! How what is asked about keys and tokens is carried out, and what became of it.

use std::time::Duration;

use commands::register::{KeyOrder, RegisterError, Registered, append_id};
use domain::event::Event;
use domain::keys::command::{KeyCommand, KeyRefusal};
use domain::keys::event::KeyEvent;
use domain::keys::key::Grant;
use eventlog::stream::Log;
use serde_json::Value;

use crate::app::App;
use crate::auth::key_text::{self, KeyText};
use crate::consistency::Token;
use crate::idempotency::Named;
use crate::orders::{self, Carried};
use crate::principal::Admin;
use crate::problem::{Code, Problem};

/// How long an answer waits until the views of this node show what it tells of.
const VIEWS_PATIENCE: Duration = Duration::from_secs(2);

/// How often an id is drawn. That as many in a row are taken happens to nobody.
const DRAWS_MAX: usize = 8;

impl Carried {
    /// Returns what has happened to a key or a token.
    pub fn key_event(&self) -> Option<&KeyEvent> {
        self.entry.iter().flat_map(|entry| &entry.events).find_map(|event| match event {
            Event::Key(event) => Some(event),
            Event::Account(_)
            | Event::Market(_)
            | Event::Candle(_)
            | Event::Refusal(_)
            | Event::Access(_) => None,
        })
    }
}

impl From<Registered> for Carried {
    fn from(done: Registered) -> Self {
        let at = done.entry.as_ref().map_or(done.at, |entry| entry.offset);
        Self { entry: done.entry, token: Token(at), replayed: done.replayed }
    }
}

impl App {
    /// Gives a key, under an id that nobody has.
    pub async fn create_api_key(
        &self,
        admin: &Admin,
        named: Named,
        text: &Value,
        grant: &Grant,
    ) -> Result<(KeyText, Carried), Problem> {
        for _ in 0..DRAWS_MAX {
            let drawn = key_text::drawn();
            let command = KeyCommand::CreateApiKey {
                key: drawn.id.clone(),
                grant: grant.clone(),
                secret: drawn.hash(),
                now: self.clock.now(),
            };
            let order = key_order(admin, named.clone(), text, command);
            match self.gate.register.submit(order).await {
                Err(RegisterError::Refused(KeyRefusal::KeyTaken)) => {}
                outcome => {
                    let carried = outcome.map(Carried::from).map_err(problem)?;
                    // Whether the views show it by now or not: the secret is shown now or never.
                    self.shown(&carried).await;
                    return Ok((drawn, carried));
                }
            }
        }
        Err(problem(RegisterError::Busy))
    }

    /// Carries out what an administrator asks.
    pub async fn carry_out_on_keys(
        &self,
        admin: &Admin,
        named: Named,
        text: &Value,
        command: KeyCommand,
    ) -> Result<Carried, Problem> {
        let order = key_order(admin, named, text, command);
        self.gate.register.submit(order).await.map(Carried::from).map_err(problem)
    }

    /// Carries out what whoever holds a token asks of it.
    pub async fn carry_out_on_token(&self, order: KeyOrder) -> Result<Carried, Problem> {
        self.gate.register.submit(order).await.map(Carried::from).map_err(problem)
    }

    /// Waits until the views of this node show what was done, and returns whether they do.
    pub async fn shown(&self, carried: &Carried) -> bool {
        self.views.wait_applied(Log::Ledger, carried.token.0, VIEWS_PATIENCE).await
    }

    /// Waits until the views of this node show what was done; an answer without that would not be
    /// true.
    pub async fn must_show(&self, carried: &Carried) -> Result<(), Problem> {
        if self.shown(carried).await {
            return Ok(());
        }
        let applied = self.views.applied(Log::Ledger);
        let detail = format!(
            "it is done, and not in force on this node yet, which shows ledger:{applied}: repeat \
             the request"
        );
        Err(Problem::new(Code::ViewsBehind, detail))
    }
}

pub fn no_such_key() -> Problem {
    Problem::new(Code::NotFound, "no such key")
}

fn key_order(admin: &Admin, named: Named, text: &Value, command: KeyCommand) -> KeyOrder {
    let principal = admin.principal();
    KeyOrder {
        append_id: append_id(principal.account.as_str(), &named.key),
        asked: text.to_string(),
        command,
        actor: principal.actor(),
        correlation_id: Some(named.request_id),
    }
}

fn problem(error: RegisterError) -> Problem {
    match error {
        RegisterError::Refused(refusal) => refused(&refusal),
        RegisterError::KeyReused => {
            Problem::new(Code::KeyReused, "this Idempotency-Key was used for another command")
        }
        RegisterError::Busy => Problem::new(Code::Overloaded, error.to_string()),
        RegisterError::Log(error) => orders::of_log(&error),
    }
}

fn refused(refusal: &KeyRefusal) -> Problem {
    let field = |name| Problem::field(name, refusal.to_string());
    match refusal {
        KeyRefusal::KeyUnknown => no_such_key(),
        KeyRefusal::NoScope | KeyRefusal::ScopeBeyondRole { .. } => field("scopes"),
        KeyRefusal::TooManyNetworks { .. } => field("networks"),
        KeyRefusal::ExpiredAlready => field("expires_at"),
        KeyRefusal::KeyRevoked | KeyRefusal::TooManyKeys { .. } => {
            Problem::new(Code::BadRequest, refusal.to_string())
        }
        KeyRefusal::KeyTaken | KeyRefusal::TooManyTokens { .. } => {
            Problem::new(Code::Overloaded, refusal.to_string())
        }
        KeyRefusal::TooManyTokensOfAccount { .. } => {
            Problem::new(Code::TooManyRequests, refusal.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::access::Role;
    use eventlog::log::LogError;

    use super::*;

    #[test]
    fn each_no_has_its_code_and_names_the_field_that_it_is_about() {
        let allowed = Role::Auditor.scopes();
        for (refusal, status, field) in [
            (KeyRefusal::KeyUnknown, 404, None),
            (KeyRefusal::KeyRevoked, 400, None),
            (KeyRefusal::NoScope, 400, Some("scopes")),
            (KeyRefusal::ScopeBeyondRole { allowed }, 400, Some("scopes")),
            (KeyRefusal::TooManyNetworks { max: 64 }, 400, Some("networks")),
            (KeyRefusal::ExpiredAlready, 400, Some("expires_at")),
            (KeyRefusal::TooManyKeys { max: 1 }, 400, None),
            (KeyRefusal::TooManyTokens { max: 1 }, 503, None),
            (KeyRefusal::TooManyTokensOfAccount { max: 1 }, 429, None),
        ] {
            let problem = problem(RegisterError::Refused(refusal));
            assert_eq!(problem.status.as_u16(), status, "{problem}");
            assert_eq!(problem.errors.first().map(|error| error.field.as_str()), field);
        }
    }

    #[test]
    fn what_did_not_happen_is_told_by_its_cause() {
        for (error, status, code) in [
            (RegisterError::KeyReused, 422, "IDEM_001"),
            (RegisterError::Busy, 503, "SYS_003"),
            (RegisterError::Log(LogError::Full), 503, "SYS_001"),
            (RegisterError::Log(LogError::OutcomeUnknown), 503, "SYS_001"),
        ] {
            let problem = problem(error);
            assert_eq!((problem.status.as_u16(), problem.code.words().code), (status, code));
        }
    }
}
