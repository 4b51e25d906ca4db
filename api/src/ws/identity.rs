//! Whose session it is: what its client presents, for how long that is good, and what it opens.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::access::Scope;
use domain::keys::key::KeyId;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::app::App;
use crate::auth::credentials::Credentials;
use crate::auth::judge::Denied;
use crate::principal::Principal;
use crate::problem::{Code, Problem};
use crate::ws::answers;
use crate::ws::ending::{Ending, FORBIDDEN, UNAUTHENTICATED};
use crate::ws::protocol::{Channel, Mode, OwnChannel, Presented, Rejection};
use crate::ws::roster::{Place, Roster, is_revoked};
use crate::ws::session::Session;

/// Of credentials that are not good, one session may present so many. The last of them closes it.
const FAILURES_MAX: u32 = 3;

/// The word for the record of a ticket that is not good.
const BAD_TICKET: &str = "ticket_not_good";

/// From where a session was opened.
#[derive(Debug, Clone)]
pub struct Handshake {
    pub address: IpAddr,
    /// That of the page on which the client runs, where it is a page.
    pub origin: Option<String>,
    /// Under which is recorded what fails later.
    pub request_id: String,
}

/// Whose session it is, as far as its client has said.
#[derive(Debug)]
pub struct Identity {
    handshake: Handshake,
    roster: Arc<Roster>,
    sessions_max: usize,
    known: Option<Known>,
    failures: u32,
    /// Cancelled when a session that was let in would not be any more.
    evicted: CancellationToken,
}

#[derive(Debug)]
struct Known {
    principal: Principal,
    place: Place,
}

/// The account has as many sessions as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl Identity {
    /// Returns a session of nobody yet. It ends when `evicted` is cancelled.
    pub const fn new(
        handshake: Handshake,
        roster: Arc<Roster>,
        sessions_max: usize,
        evicted: CancellationToken,
    ) -> Self {
        Self { handshake, roster, sessions_max, known: None, failures: 0, evicted }
    }

    /// Makes it the session of somebody who was let in: from here on it ends when a key or token of
    /// theirs is revoked. The caller has made sure that it is nobody else's.
    pub fn become_of(&mut self, principal: Principal, app: &App) -> Result<(), TooMany> {
        if let Some(known) = &mut self.known {
            known.place.renew(&principal);
            known.principal = principal;
        } else {
            let (roster, evicted) = (&self.roster, self.evicted.clone());
            let place =
                roster.enter(&principal, self.handshake.address, evicted, self.sessions_max);
            let place = place.ok_or(TooMany)?;
            info!(
                request_id = self.handshake.request_id,
                address = %self.handshake.address,
                account = principal.account.as_str(),
                role = principal.role.as_str(),
                key = principal.keys.first().map(KeyId::as_str),
                "a session has an account"
            );
            self.known = Some(Known { principal, place });
        }
        // What was revoked between the judgement and the entry in the roster.
        if let Some(known) = &self.known
            && is_revoked(app, &known.principal, self.handshake.address)
        {
            self.evicted.cancel();
        }
        Ok(())
    }

    pub fn principal(&self) -> Option<&Principal> {
        self.known.as_ref().map(|known| &known.principal)
    }

    pub const fn evicted(&self) -> &CancellationToken {
        &self.evicted
    }

    /// Returns when what was presented expires; `None` means not while this node runs.
    pub fn expires(&self, app: &App) -> Option<Instant> {
        let left = self.principal()?.expires_at?.since(app.clock.now());
        Instant::now().checked_add(Duration::from_micros(u64::try_from(left).unwrap_or_default()))
    }

    /// Whether this is somebody else than whose session it is.
    fn is_of_another(&self, principal: &Principal) -> bool {
        self.principal().is_some_and(|known| {
            (&known.account, known.role) != (&principal.account, principal.role)
        })
    }

    /// Returns who presents this.
    async fn judge(&self, app: &App, presented: &Presented) -> Result<Principal, Problem> {
        let Handshake { address, origin, request_id } = &self.handshake;
        let credentials = match presented {
            Presented::Token(token) => {
                Credentials { token: Some(token.clone()), ..Credentials::default() }
            }
            Presented::Key(key) => Credentials { key: Some(key.clone()), ..Credentials::default() },
            Presented::Ticket(ticket) => {
                let (ticket, now) = (ticket.expose_secret(), app.clock.now());
                let redeemed = app.gate.redeem(ticket, *address, origin.as_deref(), now).await;
                let good = redeemed.ok_or_else(|| Denied::Failed {
                    word: BAD_TICKET,
                    detail: "the ticket is not good".to_owned(),
                    key: None,
                });
                // Its key may have been revoked since.
                let good = good.and_then(|principal| {
                    app.judge_again(&principal, *address).map(|()| principal)
                });
                return good.map_err(|denied| app.denied(&denied, *address, request_id));
            }
        };
        app.admit(&credentials, *address, request_id)
    }
}

impl Session {
    /// Lets the client say who it is, for the first time or with a fresh token.
    pub(super) async fn authenticate(
        &mut self,
        id: Option<Value>,
        presented: &Presented,
    ) -> Result<(), Ending> {
        let principal = match self.identity.judge(&self.app, presented).await {
            Ok(principal) => principal,
            Err(problem) => return self.turn_away(id, problem),
        };
        if self.identity.is_of_another(&principal) {
            let detail = "the connection is another account's or role's: open one for this";
            self.reject(&Rejection { id, ..Rejection::new(Code::WsNotAuthenticated, detail) });
            return Ok(());
        }
        if self.identity.become_of(principal, &self.app).is_err() {
            let detail = "the account has too many WebSockets";
            self.reject(&Rejection { id, ..Rejection::new(Code::TooManyRequests, detail) });
            return Err(Ending::Close(CloseCode::Policy, detail.into()));
        }
        self.deadlines.good_until(self.identity.expires(&self.app));
        self.say_who(id.as_ref());
        self.end_what_is_closed();
        // What waited for a fresh token goes on.
        self.ready.extend(self.own.keys());
        Ok(())
    }

    /// Says that nothing of the account is told any more, until a new token comes.
    pub(super) fn say_expired(&mut self) {
        let patience = self.app.settings.ws.renew_patience.as_secs();
        let detail = format!("send a new token within {patience} seconds");
        self.reject(&Rejection::new(Code::WsExpired, detail));
    }

    fn turn_away(&mut self, id: Option<Value>, problem: Problem) -> Result<(), Ending> {
        match problem.code {
            Code::Forbidden => Err(Ending::Close(FORBIDDEN, problem.detail.into())),
            Code::TooManyRequests => Err(Ending::Close(CloseCode::Policy, problem.detail.into())),
            _ => {
                let rejection = Rejection::new(Code::WsNotAuthenticated, problem.detail);
                self.reject(&Rejection { id, ..rejection });
                self.identity.failures += 1;
                if self.identity.failures < FAILURES_MAX {
                    return Ok(());
                }
                Err(Ending::Close(UNAUTHENTICATED, "too many failed authentications".into()))
            }
        }
    }

    fn say_who(&mut self, id: Option<&Value>) {
        let is_wanted = id.is_some() || self.mode == Mode::Extended;
        if let Some(principal) = self.identity.principal().filter(|_| is_wanted) {
            self.outbox.say(&answers::authenticated(id, principal));
        }
    }

    /// Returns why the client may not listen to a channel of the market, if it may not.
    pub(super) fn may_hear(&self, channel: Channel) -> Result<(), Rejection> {
        let is_open = match channel {
            Channel::Market | Channel::Orderbook => self.app.gate.rules.load().anonymous_market,
            Channel::Candles => false,
        };
        if is_open {
            return Ok(());
        }
        self.holds(channel.as_str(), Scope::MarketRead).map(drop)
    }

    /// Returns whose account a channel of one's own is about, if the client may listen to it.
    pub(super) fn may_hear_own(&self, channel: OwnChannel) -> Result<&Principal, Rejection> {
        self.holds(channel.as_str(), Scope::PortfolioRead)
    }

    fn holds(&self, what: &str, scope: Scope) -> Result<&Principal, Rejection> {
        let Some(principal) = self.identity.principal() else {
            let detail = format!("{what}: say who you are first, with the action auth");
            return Err(Rejection::new(Code::WsNotAuthenticated, detail));
        };
        if self.deadlines.has_expired(Instant::now()) {
            let detail = format!("{what}: send a new token first");
            return Err(Rejection::new(Code::WsExpired, detail));
        }
        if !principal.scopes.contains(scope) {
            return Err(Rejection::new(Code::WsScope, format!("{what} needs the scope {scope}")));
        }
        Ok(principal)
    }

    /// Ends what the client listens to and may not any more: a fresh token can open less.
    fn end_what_is_closed(&mut self) {
        for channel in self.own_slots.keys().copied().collect::<Vec<_>>() {
            if let Some(rejection) = self.may_hear_own(channel).err() {
                if let Some(slot) = self.own_slots.remove(&channel) {
                    self.own.remove(&slot);
                }
                self.outbox.say(&answers::own_error(&rejection, channel, self.language));
            }
        }
        for (key, slot) in self.slots.clone() {
            let Some(topic) = self.subscriptions.get(&slot).map(|one| &one.topic) else { continue };
            if let Err(rejection) = self.may_hear(topic.key.subject.channel()) {
                self.outbox.say(&answers::error(&rejection, Some(&topic.key), self.language));
                self.subscriptions.remove(&slot);
                self.slots.remove(&key);
            }
        }
    }

    /// Whether it is nobody's, where nothing is told to nobody.
    pub(super) fn is_strangers(&self) -> bool {
        self.identity.principal().is_none() && !self.app.gate.rules.load().anonymous_market
    }
}
