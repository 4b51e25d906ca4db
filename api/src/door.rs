//! What is done around every request: its id, its limits, its errors, its line in the log.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use commands::clock::Clock;
use futures_util::FutureExt;
use poem::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName,
    REFERRER_POLICY, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use poem::http::{HeaderValue, StatusCode};
use poem::{Body, Endpoint, IntoResponse, Request, Response, Result};
use tokio::time::Instant;
use tracing::{error, info};
use uuid::{NoContext, Uuid};

use crate::health;
use crate::idempotency::{IDEMPOTENCY_KEY, Named};
use crate::opening::Opening;
use crate::operations::Operations;
use crate::problem::{Code, Problem, Wishes};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of a request id that a client chose. A longer one is replaced by ours.
const REQUEST_ID_CHARS_MAX: usize = 128;

/// Bytes of a request's body. A larger one is answered with 413.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What every answer says, unless it says something else itself.
const DEFAULTS: [(HeaderName, &str); 5] = [
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
];

/// The endpoint around the routes.
pub struct Door<E> {
    pub routes: E,
    pub operations: Arc<Operations>,
    pub opening: Opening,
    pub clock: Arc<dyn Clock>,
    pub answer_patience: Duration,
}

impl<E: Endpoint> Endpoint for Door<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let began = Instant::now();
        let request_id = self.request_id(request.headers());
        let wishes = Wishes::of(request.headers());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());

        let named = self.named(&request, &request_id);
        let key = named.as_ref().ok().and_then(Option::as_ref).map(|named| named.key.clone());
        let answered = match named {
            Ok(named) => self.guarded(request, named).await,
            Err(problem) => Err(problem.into()),
        };
        let mut response = match answered {
            Ok(response) => response,
            Err(error) => Problem::of(&error).answer(&wishes, &request_id),
        };

        let status = response.status();
        let headers = response.headers_mut();
        if status == StatusCode::METHOD_NOT_ALLOWED {
            let allow = HeaderValue::try_from(self.operations.allow(&path));
            headers.insert(ALLOW, allow.expect("methods are plain letters"));
        }
        for (name, value) in DEFAULTS {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        // On errors too: what became of a request that timed out can be asked with its key.
        if let Some(key) = key {
            let key = HeaderValue::try_from(key).expect("a key is printable");
            headers.insert(IDEMPOTENCY_KEY, key);
        }
        let id = HeaderValue::try_from(&request_id).expect("an id is printable");
        headers.insert(REQUEST_ID, id);
        // The query stays out: it may hold what is nobody's business.
        info!(
            request_id,
            %method,
            path,
            status = status.as_u16(),
            micros = began.elapsed().as_micros(),
            "answered"
        );
        Ok(response)
    }
}

impl<E: Endpoint> Door<E> {
    /// Answers in time and without a panic, or with an error.
    async fn guarded(&self, mut request: Request, named: Option<Named>) -> Result<Response> {
        let may_change = named.is_some();
        if let Some(named) = named {
            request.set_data(named);
        }
        let answer = AssertUnwindSafe(self.checked(request)).catch_unwind();
        match tokio::time::timeout(self.answer_patience, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => {
                let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                error!(panic = text.unwrap_or_default(), "a handler panicked");
                Err(Problem::new(Code::Internal, "").into())
            }
            // What was asked may still happen: only asking again with its key tells.
            Err(_) if may_change => {
                let detail = "the answer took too long: repeat with the same Idempotency-Key";
                Err(Problem::new(Code::LogUnreachable, detail).into())
            }
            Err(_) => Err(Problem::new(Code::Unavailable, "the answer took too long").into()),
        }
    }

    async fn checked(&self, mut request: Request) -> Result<Response> {
        self.check_open(request.uri().path())?;
        let query = request.uri().query().unwrap_or_default();
        self.operations.check_query(request.method(), request.uri().path(), query)?;
        let headers = request.headers();
        if headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING) {
            let body = request.take_body().into_bytes_limit(BODY_BYTES_MAX).await?;
            request.set_body(Body::from_bytes(body));
        }
        self.routes.call(request).await.map(IntoResponse::into_response)
    }

    /// Returns what a request is called that may change something.
    fn named(&self, request: &Request, request_id: &str) -> Result<Option<Named>, Problem> {
        if !self.operations.may_change(request.method(), request.uri().path()) {
            return Ok(None);
        }
        Named::of(request.headers(), request_id, self.clock.as_ref()).map(Some)
    }

    /// Refuses what would be answered with the past.
    fn check_open(&self, path: &str) -> Result<(), Problem> {
        if self.opening.is_open() || health::PATHS.contains(&path) {
            return Ok(());
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
            None => new_id(self.clock.as_ref()),
        }
    }
}

/// Returns an id that is in order of time.
pub fn new_id(clock: &dyn Clock) -> String {
    let micros = u64::try_from(clock.now().micros()).unwrap_or_default();
    let nanos = u32::try_from(micros % 1_000_000 * 1_000).unwrap_or_default();
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, micros / 1_000_000, nanos)).to_string()
}
