//! What a key is exchanged for: a token that is good for a short time, a ticket that is good once.
#![expect(clippy::disallowed_types, reason = "what the macro of poem-openapi writes is not ours")]
#![expect(clippy::unused_async, reason = "poem-openapi asks for async handlers")]

use std::sync::Arc;

use commands::register::{KeyOrder, revocation_id};
use domain::access::Scopes;
use domain::access::event::AccessEvent;
use domain::keys::command::KeyCommand;
use domain::keys::key::TokenId;
use domain::time::{SECOND, Timestamp};
use poem::http::HeaderMap;
use poem::http::header::ORIGIN;
use poem::web::{Data, Json as Plain};
use poem::{IntoResponse, Response, Result, handler};
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::addresses::Client;
use crate::api_keys::bodies::{RoleBody, ScopeBody, scope_bodies, scopes};
use crate::app::App;
use crate::auth::credentials::Credentials;
use crate::auth::key_text::random_text;
use crate::auth::token::{self, Claims, LEEWAY, LIFETIME_MAX};
use crate::body::{Body, Empty, Fields, Optional};
use crate::door::RequestId;
use crate::market::Tag;
use crate::orders;
use crate::principal::Principal;
use crate::problem::{Code, Problem};
use crate::scalar::Ts;
use crate::tickets::{self, TooMany};
use crate::trading::SUCCESS;

/// Seconds for which a token is good when nobody says it.
const TTL_S_DEFAULT: u32 = 900;

/// Letters and digits of a token's id: 131 random bits.
const TOKEN_ID_CHARS: usize = 22;

/// How a token is to be sent.
const BEARER: &str = "Bearer";

pub struct TokensApi(pub Arc<App>);

#[OpenApi(tag = "Tag::Auth")]
impl TokensApi {
    /// Exchange a key for a token
    ///
    /// The token may what the key may, or less; it is good for as long as is said, and never longer
    /// than the key.
    #[oai(path = "/auth/token", method = "post", operation_id = "issue_token")]
    async fn issue(
        &self,
        principal: Principal,
        client: Client,
        request_id: RequestId,
        body: Optional<IssueTokenBody>,
    ) -> Result<Json<TokenBody>> {
        let claims = self.0.claims_for(&principal, body.0.unwrap_or_default())?;
        self.0.record_issued(&claims, client, request_id).await?;
        let token = token::sign(&self.0.gate.token_keys.load(), &claims);
        let life = claims.expires_at.since(claims.issued_at) / SECOND;
        Ok(Json(TokenBody {
            token: token.expose_secret().to_owned(),
            token_type: BEARER.to_owned(),
            expires_in: u32::try_from(life).unwrap_or_default(),
            expires_at: Ts(claims.expires_at),
            account: claims.account.to_string(),
            role: claims.role.into(),
            scopes: scope_bodies(&claims.scopes),
        }))
    }

    /// Revoke the token
    ///
    /// The one that is presented. It opens nothing any more, and what it has opened is closed.
    #[oai(path = "/auth/token", method = "delete", operation_id = "revoke_token")]
    async fn revoke(
        &self,
        principal: Principal,
        request_id: RequestId,
        headers: &HeaderMap,
        _body: Empty,
    ) -> Result<Json<TokenRevokedBody>> {
        let claims = self.0.presented(headers)?;
        let RequestId(request_id) = request_id;
        let order = KeyOrder {
            append_id: revocation_id(&claims.id),
            asked: json!({"command": "revoke_token", "token": claims.id}).to_string(),
            command: KeyCommand::RevokeToken {
                token: claims.id,
                account: claims.account,
                now: self.0.clock.now(),
                // Taken for so long after its end and, of two nodes, the one whose clock is ahead may
                // forget what the one behind still takes.
                until: claims.expires_at.plus(2 * token::micros(LEEWAY)),
            },
            actor: principal.actor(),
            correlation_id: Some(request_id),
        };
        let carried = self.0.carry_out_on_token(order).await?;
        // Whoever is told that a token is revoked must not find it good.
        self.0.must_show(&carried).await?;
        let timestamp = Ts(carried.happened_at(self.0.clock.now()));
        Ok(Json(TokenRevokedBody { status: SUCCESS.to_owned(), timestamp }))
    }

    /// Get a ticket for the WebSocket
    ///
    /// For pages of a browser, which cannot send headers with one: `{"action":"auth","ticket":…}`.
    /// It is good once, for half a minute, from the same address and for pages of the same origin.
    #[oai(path = "/ws/ticket", method = "post", operation_id = "issue_ticket")]
    async fn ticket(
        &self,
        principal: Principal,
        client: Client,
        headers: &HeaderMap,
        _body: Empty,
    ) -> Result<Json<TicketBody>> {
        let Client(address) = client;
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = match (origins.next().map(|origin| origin.to_str()), origins.next()) {
            (None, _) => None,
            (Some(Ok(origin)), None) => Some(origin),
            (Some(_), _) => return Err(Problem::field("Origin", "expected one origin").into()),
        };
        let now = self.0.clock.now();
        let issued = self.0.gate.tickets.issue(principal, address, origin, now);
        let ticket = issued.map_err(|TooMany| {
            Problem::new(Code::Overloaded, "too many tickets wait to be used")
        })?;
        Ok(Json(TicketBody {
            ticket: ticket.text.expose_secret().to_owned(),
            expires_at: Ts(ticket.expires_at),
            expires_in: u32::try_from(tickets::LIFE / SECOND).unwrap_or_default(),
        }))
    }
}

/// The public keys that our tokens can be verified with: `/.well-known/jwks.json`.
#[handler]
pub(crate) fn jwks(Data(app): Data<&Arc<App>>) -> Response {
    let keys = app.gate.token_keys.load().jwks(app.clock.now());
    Plain(keys).into_response()
}

impl App {
    /// Returns what a token is to say that somebody gets for their key.
    fn claims_for(&self, principal: &Principal, asked: Asked) -> Result<Claims, Problem> {
        let mut keys = principal.keys.iter();
        let (Some(key), None, None) = (keys.next(), keys.next(), &principal.token) else {
            return Err(Problem::new(Code::Unauthorized, "an API key is needed, and no token"));
        };
        let scopes = asked.scopes.unwrap_or_else(|| principal.scopes.clone());
        if !scopes.are_within(&principal.scopes) {
            return Err(Problem::field("scopes", "the key may not do all of this"));
        }
        let issued_at = self.clock.now().floor(SECOND);
        let asked_until = issued_at.plus(i64::from(asked.ttl_s) * SECOND);
        let key_until = principal.expires_at.unwrap_or(Timestamp::MAX).floor(SECOND);
        if key_until <= issued_at {
            return Err(Problem::new(Code::Unauthorized, "the API key expires in this second"));
        }
        Ok(Claims {
            id: token_id(),
            account: principal.account.clone(),
            role: principal.role,
            scopes,
            issued_at,
            expires_at: asked_until.min(key_until),
            key: Some(key.clone()),
        })
    }

    /// Records that a token is given. What cannot be recorded is not given.
    async fn record_issued(
        &self,
        claims: &Claims,
        Client(address): Client,
        RequestId(request_id): RequestId,
    ) -> Result<(), Problem> {
        let claims = claims.clone();
        let Some(key) = claims.key else { return Ok(()) };
        let event = AccessEvent::TokenIssued {
            at: self.clock.now(),
            token: claims.id,
            account: claims.account,
            role: claims.role,
            scopes: claims.scopes,
            expires_at: claims.expires_at,
            key,
            address,
            request_id,
        };
        self.gate.trail.record(event).await.map_err(|error| orders::of_log(&error))
    }

    /// Returns what the token says that is presented: when it expires, which whoever was let in with
    /// more than a token does not know.
    fn presented(&self, headers: &HeaderMap) -> Result<Claims, Problem> {
        let wanted = || Problem::new(Code::Unauthorized, "a token is needed");
        let token = Credentials::of(headers).ok().and_then(|presented| presented.token);
        let token = token.ok_or_else(wanted)?;
        token::verify(&self.gate.token_keys.load(), token.expose_secret(), self.clock.now())
            .map_err(|reason| Problem::new(Code::Unauthorized, reason.told()))
    }
}

fn token_id() -> TokenId {
    random_text(TOKEN_ID_CHARS).parse().expect("letters and digits are an id")
}

#[derive(Object)]
#[oai(deny_unknown_fields)]
struct IssueTokenBody {
    /// Seconds for which it is good; 900 when absent.
    #[oai(validator(minimum(value = "1"), maximum(value = "86400")))]
    ttl_s: Option<u32>,
    /// What it may, of what the key may; all of it when absent.
    #[oai(validator(min_items = 1))]
    scopes: Option<Vec<ScopeBody>>,
}

/// What is asked of a token.
#[derive(Debug)]
pub struct Asked {
    ttl_s: u32,
    scopes: Option<Scopes>,
}

impl Default for Asked {
    fn default() -> Self {
        Self { ttl_s: TTL_S_DEFAULT, scopes: None }
    }
}

impl Body for IssueTokenBody {
    type Read = Asked;

    fn read(fields: &mut Fields) -> Option<Asked> {
        let expected = "1 to 86400 seconds";
        let ttl_s = match fields.value::<u32>("ttl_s", expected) {
            Some(ttl) if !(1..=LIFETIME_MAX.as_secs()).contains(&u64::from(ttl)) => {
                fields.wrong("ttl_s", format!("expected {expected}"))
            }
            ttl => Some(ttl.unwrap_or(TTL_S_DEFAULT)),
        };
        let scopes = match scopes(fields) {
            Some(none) if none.is_empty() => fields.wrong("scopes", "name at least one"),
            scopes => scopes,
        };
        Some(Asked { ttl_s: ttl_s?, scopes })
    }
}

#[derive(Object)]
struct TokenBody {
    token: String,
    /// How it is to be sent: `Authorization: Bearer …`.
    token_type: String,
    /// Seconds for which it is good.
    expires_in: u32,
    expires_at: Ts,
    account: String,
    role: RoleBody,
    scopes: Vec<ScopeBody>,
}

#[derive(Object)]
struct TokenRevokedBody {
    status: String,
    timestamp: Ts,
}

#[derive(Object)]
struct TicketBody {
    /// To be sent as `{"action":"auth","ticket":…}`.
    ticket: String,
    expires_at: Ts,
    /// Seconds for which it is good.
    expires_in: u32,
}
