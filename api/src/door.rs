//! What is done around every request: its id, its limits, its errors, its line in the log.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use commands::clock::Clock;
use domain::keys::key::KeyId;
use eventlog::log::Standing;
use futures_util::FutureExt;
use poem::http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
    HeaderMap, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use poem::http::{HeaderValue, Method, StatusCode, Version};
use poem::{Body, Endpoint, FromRequest, IntoResponse, Request, RequestBody, Response, Result};
use tokio::time::Instant;
use tracing::{error, info};
use uuid::{NoContext, Uuid};

use crate::addresses::{self, Client};
use crate::allowance;
use crate::app::App;
use crate::health;
use crate::idempotency::{IDEMPOTENCY_KEY, Named};
use crate::limits::Verdict;
use crate::operations::{Keeping, Operation, Operations, Sought};
use crate::orders;
use crate::principal::Principal;
use crate::problem::{Code, Problem, Wishes};
use crate::server::Peer;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of a request id that a client chose. A longer one is replaced by ours.
const REQUEST_ID_CHARS_MAX: usize = 128;

/// Bytes of a request's body. A larger one is answered with 413.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a request's path and query. A longer one is answered with 414.
const TARGET_BYTES_MAX: usize = 8 * 1024;

/// Characters of a path that stand in the log; the rest of a longer one does not, so that strangers
/// cannot fill it with theirs.
const PATH_CHARS_LOGGED: usize = 512;

/// How long an answer may take while the log is down: it is to be there within a second. Thereafter it
/// is looked so often whether the log is.
const LOG_PATIENCE: Duration = Duration::from_millis(800);
const LOG_LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is said of answers that nobody is to keep.
const NOT_KEPT: &str = "no-store";

/// What every answer says, unless it says something else itself.
const DEFAULTS: [(HeaderName, &str); 5] = [
    (CACHE_CONTROL, NOT_KEPT),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
];

/// What a request is called, in every answer, line of the log and entry that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub String);

/// The endpoint around the routes.
pub struct Door<E> {
    pub routes: E,
    pub operations: Arc<Operations>,
    pub app: Arc<App>,
}

/// What becomes known of a request on its way in, for its answer and its line in the log.
struct Visit {
    request_id: String,
    address: IpAddr,
    /// What it is called, where it may change something.
    key: Option<String>,
    principal: Option<Principal>,
    verdict: Option<Verdict>,
    keeping: Keeping,
    /// Nothing good comes from this connection any more.
    hang_up: bool,
}

impl<E: Endpoint> Endpoint for Door<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let began = Instant::now();
        let wishes = Wishes::of(request.headers());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let version = request.version();
        let mut visit = Visit {
            request_id: self.request_id(request.headers()),
            address: self.client(&request),
            key: None,
            principal: None,
            verdict: None,
            keeping: Keeping::IfStillSo,
            hang_up: false,
        };

        let mut response = match self.guarded(request, &mut visit).await {
            Ok(response) => response,
            Err(error) => Problem::of(&error).answer(&wishes, &visit.request_id),
        };

        let status = response.status();
        let headers = response.headers_mut();
        if status == StatusCode::METHOD_NOT_ALLOWED {
            let allow = HeaderValue::try_from(self.operations.allow(&path));
            headers.insert(ALLOW, allow.expect("methods are plain letters"));
        }
        if visit.hang_up && version <= Version::HTTP_11 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        visit.tell(headers);
        self.app.gate.counts.answered(status, began.elapsed());
        info!(
            request_id = visit.request_id,
            %method,
            // The query stays out: it may hold what is nobody's business.
            path = logged(&path),
            status = status.as_u16(),
            micros = began.elapsed().as_micros(),
            address = %visit.address,
            account = visit.principal.as_ref().map(|principal| principal.account.as_str()),
            role = visit.principal.as_ref().map(|principal| principal.role.as_str()),
            key = visit.key_names(),
            "answered"
        );
        Ok(response)
    }
}

impl Visit {
    /// Says on the answer what the door knows of its request.
    fn tell(&self, headers: &mut HeaderMap) {
        if self.keeping == Keeping::Nothing {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(NOT_KEPT));
        }
        for (name, value) in DEFAULTS {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        // On errors too: what became of a request that timed out can be asked with its key.
        if let Some(key) = &self.key {
            let key = HeaderValue::try_from(key).expect("a key is printable");
            headers.insert(IDEMPOTENCY_KEY, key);
        }
        if let Some(verdict) = &self.verdict {
            allowance::tell(headers, verdict);
        }
        let id = HeaderValue::try_from(&self.request_id).expect("an id is printable");
        headers.insert(REQUEST_ID, id);
    }

    /// Returns the ids of the keys that somebody came with.
    fn key_names(&self) -> Option<String> {
        let keys = &self.principal.as_ref()?.keys;
        let names: Vec<&str> = keys.iter().map(KeyId::as_str).collect();
        (!names.is_empty()).then(|| names.join(","))
    }
}

impl<E: Endpoint> Door<E> {
    /// Answers in time and without a panic, or with an error.
    async fn guarded(&self, request: Request, visit: &mut Visit) -> Result<Response> {
        let answer = AssertUnwindSafe(self.checked(request, visit)).catch_unwind();
        match tokio::time::timeout(self.app.settings.answer_patience, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => {
                let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                error!(panic = text.unwrap_or_default(), "a handler panicked");
                Err(Problem::new(Code::Internal, "").into())
            }
            // What was asked may still happen: only asking again with its key tells.
            Err(_) if visit.key.is_some() => {
                let detail = "the answer took too long: repeat with the same Idempotency-Key";
                Err(Problem::new(Code::LogUnreachable, detail).into())
            }
            Err(_) => Err(Problem::new(Code::Unavailable, "the answer took too long").into()),
        }
    }

    async fn checked(&self, mut request: Request, visit: &mut Visit) -> Result<Response> {
        self.check_way_in(&request, visit)?;
        request.set_data(Client(visit.address));
        request.set_data(RequestId(visit.request_id.clone()));
        match self.operations.seek(request.method(), request.uri().path()) {
            Sought::Operation(operation) => self.enter(&mut request, operation, visit).await?,
            Sought::NoMethod => return Err(StatusCode::METHOD_NOT_ALLOWED.into()),
            Sought::NoPath => return Err(StatusCode::NOT_FOUND.into()),
            Sought::Elsewhere => {}
        }
        self.take_body(&mut request, visit).await?;
        let answer = self.routes.call(request);
        self.while_log_is_there(answer, visit).await.map(IntoResponse::into_response)
    }

    /// Waits for an answer, but not for one that the log keeps from coming.
    ///
    /// A command that is dropped here is still carried to its end (`commands::desk`): only asking again
    /// with its key tells what came of it.
    async fn while_log_is_there<T>(
        &self,
        answer: impl Future<Output = Result<T>>,
        visit: &Visit,
    ) -> Result<T> {
        let mut answer = pin!(answer);
        let mut patience = LOG_PATIENCE;
        loop {
            if let Ok(answer) = tokio::time::timeout(patience, &mut answer).await {
                return answer;
            }
            if matches!(self.app.ledger.standing(), Standing::Down { .. }) {
                let detail = match &visit.key {
                    Some(_) => orders::UNKNOWN,
                    None => orders::UNREACHABLE,
                };
                return Err(Problem::new(Code::LogUnreachable, detail).into());
            }
            patience = LOG_LOOK_EVERY;
        }
    }

    /// Refuses what no credentials would let in.
    fn check_way_in(&self, request: &Request, visit: &mut Visit) -> Result<(), Problem> {
        let denied = request.extensions().get::<Peer>().is_some_and(|peer| peer.denied);
        if denied || !self.app.gate.rules.load().admits(visit.address) {
            visit.hang_up = true;
            self.app.address_denied(visit.address, None, &visit.request_id);
            return Err(Problem::new(Code::Forbidden, "not from this address"));
        }
        self.app.count_address(visit.address)?;
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        if target > TARGET_BYTES_MAX {
            let detail = format!("path and query may have {TARGET_BYTES_MAX} bytes");
            return Err(Problem::new(Code::UriTooLong, detail));
        }
        self.check_open(request.uri().path())
    }

    /// Lets in whoever may ask for an operation, and not more often than they may.
    async fn enter(
        &self,
        request: &mut Request,
        operation: &Operation,
        visit: &mut Visit,
    ) -> Result<(), Problem> {
        visit.keeping = operation.row.keeping;
        let headers = request.headers();
        let admitted = self.app.admit_headers(headers, visit.address, &visit.request_id)?;
        // Noted before it is judged what they may: the log tells who has tried.
        visit.principal.clone_from(&admitted);
        let principal = operation.row.access.check(admitted)?;
        let verdict = self.app.count_account(&principal).await;
        visit.verdict = Some(verdict);
        if !verdict.accepted {
            return Err(App::spent(&verdict));
        }
        if operation.row.is_command(may_change(request.method())) {
            let clock = self.app.clock.as_ref();
            let named = Named::of(headers, &visit.request_id, clock)?;
            visit.key = Some(named.key.clone());
            request.set_data(named);
        }
        operation.check_query(request.uri().query().unwrap_or_default())?;
        request.set_data(principal);
        Ok(())
    }

    /// Takes the body of a request in, before anything is done about it.
    async fn take_body(&self, request: &mut Request, visit: &mut Visit) -> Result<()> {
        let headers = request.headers();
        let is_plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"identity");
        if !headers.get_all(CONTENT_ENCODING).iter().all(is_plain) {
            let detail = "a body is taken as it is: without Content-Encoding";
            return Err(Problem::new(Code::UnsupportedMediaType, detail).into());
        }
        if announced(headers).is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
            // Not waited for: it may never come.
            visit.hang_up = true;
            return Err(StatusCode::PAYLOAD_TOO_LARGE.into());
        }
        // No field need say that there is one: with HTTP/2 it just comes.
        let body = request.take_body();
        if !body.is_empty() {
            let body = body.into_bytes_limit(BODY_BYTES_MAX);
            let taken = tokio::time::timeout(self.app.settings.body_patience, body).await;
            let Ok(body) = taken else {
                visit.hang_up = true;
                let detail = "the body took too long: nothing was done";
                return Err(Problem::new(Code::TooSlow, detail).into());
            };
            request.set_body(Body::from_bytes(body?));
        }
        Ok(())
    }

    /// Returns whose address a request comes from, behind proxies that are trusted.
    fn client(&self, request: &Request) -> IpAddr {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.address);
        let remote = || request.remote_addr().as_socket_addr().map(SocketAddr::ip);
        let peer = peer.or_else(remote).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        addresses::client(peer, request.headers(), &self.app.gate.rules.load())
    }

    /// Refuses what would be answered with the past.
    fn check_open(&self, path: &str) -> Result<(), Problem> {
        if self.app.opening.is_open() || health::PATHS.contains(&path) {
            return Ok(());
        }
        if self.app.opening.has_caught_up() {
            let detail = "this node answers no clients: others of the house do";
            return Err(Problem::new(Code::Unavailable, detail));
        }
        let detail = "the node is catching up with its logs; /readyz tells how far it has come";
        Err(Problem::new(Code::LogUnreachable, detail))
    }

    /// Returns the id that the client gave, where it can be used, else a new one.
    fn request_id(&self, headers: &HeaderMap) -> String {
        let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        let printable = |id: &&str| {
            (1..=REQUEST_ID_CHARS_MAX).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_graphic())
        };
        match given.filter(printable) {
            Some(id) => id.to_owned(),
            None => new_id(self.app.clock.as_ref()),
        }
    }
}

/// Returns what of a path stands in the log.
fn logged(path: &str) -> &str {
    let end = path.char_indices().nth(PATH_CHARS_LOGGED).map(|(end, _)| end);
    end.and_then(|end| path.get(..end)).unwrap_or(path)
}

/// Returns how long a body will be, where its request says it.
fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether a request to an operation may change something: it does not only read.
const fn may_change(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

impl<'a> FromRequest<'a> for RequestId {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        let id = request.data::<Self>().cloned();
        Ok(id.expect("the door names every request"))
    }
}

/// Returns an id that is in order of time.
pub fn new_id(clock: &dyn Clock) -> String {
    let micros = u64::try_from(clock.now().micros()).unwrap_or_default();
    let nanos = u32::try_from(micros % 1_000_000 * 1_000).unwrap_or_default();
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, micros / 1_000_000, nanos)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stands_in_the_log_as_far_as_it_is_short() {
        let (short, long) = ("é".repeat(PATH_CHARS_LOGGED), "é".repeat(64 * 1024));

        assert_eq!(logged(&short), short);
        assert_eq!(logged(&long), short);
    }
}
