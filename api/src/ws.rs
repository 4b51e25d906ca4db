//! The WebSocket: who may open one, and how a request becomes a session.
//!
//! Read in this order: what clients ask for (`ws/protocol`); what they can listen to: a topic with
//! its ring (`ws/topic`) of frames (`ws/frames`), each of which has a place in the log
//! (`ws/sequence`; of a book it holds the `ws/best` levels), and how its listeners are woken (`ws/bell`). All topics meet in `ws/hub`, where
//! the one reader of the log tells them (`ws/broadcast`) of `ws/trades`, the `ws/book` and candles
//! (`ws/bars`). On the other side stands a session: what it is due of one topic
//! (`ws/subscription`, or from the log itself `ws/resume`), what it says itself (`ws/answers`), how
//! what it is told of its own account (`ws/own`, woken by `ws/owners`), how all of it goes out
//! (`ws/outbox`), its deadlines (`ws/pace`), whose it is (`ws/identity`, of which `ws/roster` knows all),
//! its answers (`ws/dialogue`), the loop around all of it (`ws/session`), and how it ends (`ws/ending`).

pub mod protocol;

pub mod bell;
pub mod best;
pub mod frames;
pub mod sequence;
pub mod topic;

pub mod owners;
pub mod roster;

pub mod hub;

pub mod bars;
pub mod book;
pub mod broadcast;
pub mod trades;

pub mod answers;
pub mod ending;
pub mod outbox;
pub mod own;
pub mod pace;
pub mod resume;
pub mod subscription;

pub mod dialogue;
pub mod identity;
pub mod session;

use std::sync::Arc;

use poem::http::StatusCode;
use poem::http::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use poem::{Endpoint, FromRequest, Request, Response, Result};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::addresses::Client;
use crate::admission::Admission;
use crate::allowance;
use crate::app::App;
use crate::door::RequestId;
use crate::limits::Verdict;
use crate::metrics::OpenSocket;
use crate::problem::{Code, Language, Problem};
use crate::server::Seat;
use crate::ws::hub::Hub;
use crate::ws::identity::{Handshake, Identity, TooMany};
use crate::ws::protocol::Mode;
use crate::ws::session::Session;

/// The subprotocol of extended connections.
const EXTENDED: &str = "entasis.v1";

/// Bytes of an `Origin`, which is kept for as long as the session lasts. A longer one is a stranger's.
const ORIGIN_BYTES_MAX: usize = 512;

/// The endpoint that becomes a WebSocket.
pub struct MarketSocket {
    app: Arc<App>,
    hub: Arc<Hub>,
    admission: Arc<Admission>,
    tasks: TaskTracker,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl MarketSocket {
    pub fn new(
        app: Arc<App>,
        hub: Arc<Hub>,
        tasks: TaskTracker,
        stop: CancellationToken,
        cut: CancellationToken,
    ) -> Self {
        let admission = Admission::new(app.settings.ws.connections_ip_max);
        Self { app, hub, admission, tasks, stop, cut }
    }
}

impl Endpoint for MarketSocket {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let headers = request.headers();
        let key = handshake_key(headers)?;
        check_origin(headers, &self.app.gate.rules.load().origins)?;
        let by_query = is_extended(request.uri().query())?;
        let by_protocol = speaks_extended(headers)?;
        let mode = if by_query || by_protocol { Mode::Extended } else { Mode::Plain };
        let handshake = handshake(&request).await?;
        let admitted = self.admission.enter(handshake.address).ok_or_else(|| {
            Problem::new(Code::TooManyRequests, "too many WebSockets from this address")
        })?;
        let (identity, verdict) = self.identify(headers, handshake).await?;
        let accept = derive_accept_key(key.as_bytes());
        let language = Language::of(headers);
        let seat = request.extensions().get::<Arc<Seat>>().cloned();
        let upgrade = request.take_upgrade()?;

        let session = Session::new(
            Arc::clone(&self.app),
            Arc::clone(&self.hub),
            self.stop.clone(),
            identity,
            (mode, language),
        );
        let (cut, open) = (self.cut.clone(), OpenSocket::of(&self.app.gate));
        self.tasks.spawn(async move {
            // The connection's places are held for as long as the session lasts.
            let _held = (admitted, seat, open);
            match cut.run_until_cancelled(upgrade).await {
                Some(Ok(stream)) => session.serve(stream, &cut).await,
                Some(Err(error)) => debug!(%error, "the client left before the WebSocket began"),
                None => {}
            }
        });
        let mut response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_ACCEPT, accept);
        if by_protocol {
            response = response.header(SEC_WEBSOCKET_PROTOCOL, EXTENDED);
        }
        let mut response = response.finish();
        if let Some(verdict) = verdict {
            allowance::tell(response.headers_mut(), &verdict);
        }
        Ok(response)
    }
}

impl MarketSocket {
    /// Returns whose session it is to be: nobody's where nothing is presented. What is presented must
    /// be good, and its account have room for one more.
    async fn identify(
        &self,
        headers: &HeaderMap,
        handshake: Handshake,
    ) -> Result<(Identity, Option<Verdict>), Problem> {
        let Handshake { address, request_id, .. } = &handshake;
        let admitted = self.app.admit_headers(headers, *address, request_id)?;
        let (roster, sessions_max) =
            (Arc::clone(self.hub.roster()), self.app.settings.ws.connections_account_max);
        let mut identity = Identity::new(handshake, roster, sessions_max, self.cut.child_token());
        let Some(principal) = admitted else { return Ok((identity, None)) };
        let verdict = self.app.count_account(&principal).await;
        if !verdict.accepted {
            return Err(App::spent(&verdict));
        }
        identity.become_of(principal, &self.app).map_err(|TooMany| {
            Problem::new(Code::TooManyRequests, "the account has too many WebSockets")
        })?;
        Ok((identity, Some(verdict)))
    }
}

/// Whether the query asks for an extended connection, for clients that cannot name a subprotocol.
fn is_extended(query: Option<&str>) -> Result<bool, Problem> {
    match query {
        None => Ok(false),
        Some("v=1") => Ok(true),
        Some(query) => {
            let name = query.split(['=', '&']).next().unwrap_or_default();
            Err(Problem::field(name, "this path has one parameter: v=1"))
        }
    }
}

/// Whether the client offers our subprotocol. One who offers only others would be disappointed.
fn speaks_extended(headers: &HeaderMap) -> Result<bool, Problem> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    let offers = values.iter().filter_map(|value| value.to_str().ok());
    if offers.flat_map(|offers| offers.split(',')).any(|offer| offer.trim() == EXTENDED) {
        return Ok(true);
    }
    if headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return Err(Problem::field("Sec-WebSocket-Protocol", "only entasis.v1 is spoken here"));
    }
    Ok(false)
}

fn handshake_key(headers: &HeaderMap) -> Result<String, Problem> {
    let text = |name: HeaderName| {
        headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let asks = |name, token: &str| {
        text(name).split(',').any(|part: &str| part.trim().eq_ignore_ascii_case(token))
    };
    if !asks(UPGRADE, "websocket") || !asks(CONNECTION, "upgrade") {
        return Err(Problem::field("Upgrade", "this path speaks WebSocket only"));
    }
    if text(SEC_WEBSOCKET_VERSION) != "13" {
        return Err(Problem::field("Sec-WebSocket-Version", "must be 13"));
    }
    match text(SEC_WEBSOCKET_KEY) {
        "" => Err(Problem::field("Sec-WebSocket-Key", "missing")),
        key => Ok(key.to_owned()),
    }
}

/// Refuses pages of strangers. What sends no `Origin` is no browser, and so nobody's page.
fn check_origin(headers: &HeaderMap, listed: &[String]) -> Result<(), Problem> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let ours = origin
        .split_once("://")
        .is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host) && !host.is_empty());
    let fits = origin.len() <= ORIGIN_BYTES_MAX;
    if fits && ours || listed.iter().any(|listed| listed.eq_ignore_ascii_case(origin)) {
        return Ok(());
    }
    Err(Problem::new(Code::Forbidden, "pages of this origin may not open a WebSocket"))
}

async fn handshake(request: &Request) -> Result<Handshake> {
    let Client(address) = Client::from_request_without_body(request).await?;
    let RequestId(request_id) = RequestId::from_request_without_body(request).await?;
    let origin = request.headers().get(ORIGIN).and_then(|origin| origin.to_str().ok());
    Ok(Handshake { address, origin: origin.map(str::to_owned), request_id })
}
