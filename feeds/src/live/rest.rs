//! Requests to a venue, within what it allows.

use std::sync::Mutex;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode, header};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use crate::live::backoff::Backoff;
use crate::live::tempo::Tempo;
use crate::venue::{DecodeError, Request, Terms, Venue};

/// The longest answer, in bytes. A longer one is an error.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Requests under way at once. More wait.
const REQUESTS_MAX: usize = 4;

/// How often one request is tried while the venue fails or does not answer.
const TRIES_MAX: u32 = 4;

/// The longest ban that a venue speaks of: three days.
const BAN_MAX: Duration = Duration::from_hours(72);

/// After this long, nothing of what was reported as used still counts.
const WINDOW: Duration = Duration::from_mins(1);

/// What a request may take of the venue's weight, in percent. History leaves room for books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    Books = 80,
    History = 60,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestError {
    /// Asking once more would be of no use.
    #[error("the venue refuses: {status} {complaint}")]
    Refused { status: u16, complaint: String },
    /// The venue wants to be left alone; the next request waits for it.
    #[error("too many requests ({status}), {banned}for {} s", wait.as_secs(), banned = if *.status == 418 { "banned " } else { "" })]
    Limited { status: u16, wait: Duration },
    #[error("the venue does not answer: {0}")]
    Unavailable(String),
    #[error("the answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    #[error(transparent)]
    Unreadable(#[from] DecodeError),
}

impl RestError {
    /// Whether the same request may be answered later.
    pub(super) const fn may_pass(&self) -> bool {
        matches!(self, Self::Limited { .. } | Self::Unavailable(_))
    }
}

/// The one way in which a feed makes requests.
pub(super) struct Rest {
    client: Client,
    base: String,
    terms: Terms,
    tempo: Tempo,
    waits: Backoff,
    gate: Semaphore,
    /// Held for a few instructions only, never while something is awaited.
    budget: Mutex<Budget>,
}

impl Rest {
    pub(super) fn new(
        base: &str,
        terms: Terms,
        tls: rustls::ClientConfig,
        tempo: Tempo,
        seed: u64,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(tempo.request_connect)
            .timeout(tempo.request_patience)
            .user_agent(concat!("entasis/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            client,
            base: base.trim_end_matches('/').to_owned(),
            terms,
            tempo,
            waits: Backoff::new(seed, 2, &tempo),
            gate: Semaphore::new(REQUESTS_MAX),
            budget: Mutex::new(Budget::new(Instant::now())),
        })
    }

    /// Returns the body of the answer. Waits for the venue's permission, and tries again where
    /// that may help.
    pub(super) async fn get(
        &self,
        venue: &dyn Venue,
        request: &Request,
        share: Share,
    ) -> Result<Vec<u8>, RestError> {
        let _turn = self.gate.acquire().await;
        let mut waits = self.waits.clone();
        let mut tries = 0;
        loop {
            self.permission(request.weight, share).await;
            let failed = match self.try_once(venue, request).await {
                Err(RestError::Unavailable(reason)) => reason,
                end => return end,
            };
            tries += 1;
            if tries == TRIES_MAX {
                return Err(RestError::Unavailable(failed));
            }
            sleep(waits.next()).await;
        }
    }

    async fn try_once(&self, venue: &dyn Venue, request: &Request) -> Result<Vec<u8>, RestError> {
        let url = format!("{}{}", self.base, request.path_and_query);
        let sent = self.client.get(url).send().await;
        let answer = sent.map_err(|error| RestError::Unavailable(causes(&error)))?;
        let used = answer.headers().get(self.terms.weight_header);
        if let Some(used) = used.and_then(|used| used.to_str().ok()?.parse().ok()) {
            self.budget().report(used, Instant::now());
        }
        let status = answer.status();
        // Forbidden is what the venue's outer wall says to who asks too much.
        if matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::IM_A_TEAPOT | StatusCode::FORBIDDEN
        ) {
            return Err(self.limited(&answer));
        }
        let body = body(answer).await?;
        if status.is_success() {
            return Ok(body);
        }
        let complaint = venue.complaint(&body).unwrap_or_else(|| "without a reason".to_owned());
        if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            return Err(RestError::Unavailable(format!("{status} {complaint}")));
        }
        Err(RestError::Refused { status: status.as_u16(), complaint })
    }

    fn limited(&self, answer: &Response) -> RestError {
        let told = answer.headers().get(header::RETRY_AFTER);
        // Zero says no time: asked at once, the venue would refuse once more, and then bar us.
        let told = told.and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        let told = told.filter(|seconds| *seconds > 0);
        let usual = match answer.status() {
            StatusCode::IM_A_TEAPOT => self.tempo.limited.saturating_mul(2),
            _ => self.tempo.limited,
        };
        let wait = told.map_or(usual, Duration::from_secs).min(BAN_MAX);
        self.budget().block(Instant::now() + wait);
        let error = RestError::Limited { status: answer.status().as_u16(), wait };
        warn!(%error, "requests rest");
        error
    }

    /// Waits until a request of this weight may be made, and counts it as made.
    async fn permission(&self, weight: u32, share: Share) {
        loop {
            let admitted =
                self.budget().admit(weight, self.terms.weight_max, share, Instant::now());
            match admitted {
                Ok(()) => return,
                Err(until) => sleep_until(until).await,
            }
        }
    }

    fn budget(&self) -> std::sync::MutexGuard<'_, Budget> {
        self.budget.lock().expect("nothing that holds it can panic")
    }
}

async fn body(mut answer: Response) -> Result<Vec<u8>, RestError> {
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > ANSWER_BYTES_MAX => {
                return Err(RestError::TooLong);
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(RestError::Unavailable(causes(&error))),
        }
    }
}

/// Returns an error with all its causes: the outermost says only that something failed.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// How much of a minute's weight is used. The venue reports it with each answer; what has been
/// sent since is added. Its minutes start when it likes, so a report counts for a whole minute.
#[derive(Debug)]
struct Budget {
    used: u32,
    since: Instant,
    blocked_until: Instant,
}

impl Budget {
    fn new(at: Instant) -> Self {
        Self { used: 0, since: at, blocked_until: at }
    }

    /// Counts a request in, or says when to ask again.
    fn admit(&mut self, weight: u32, max: u32, share: Share, at: Instant) -> Result<(), Instant> {
        if at < self.blocked_until {
            return Err(self.blocked_until);
        }
        if at.saturating_duration_since(self.since) >= WINDOW {
            (self.used, self.since) = (0, at);
        }
        let used = self.used.saturating_add(weight);
        // One request that is heavier than the whole share must still be possible.
        if used > max / 100 * share as u32 && self.used > 0 {
            return Err(self.since + WINDOW);
        }
        self.used = used;
        Ok(())
    }

    fn report(&mut self, used: u32, at: Instant) {
        (self.used, self.since) = (used, at);
    }

    fn block(&mut self, until: Instant) {
        self.blocked_until = self.blocked_until.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_fifths_of_the_weight_are_used_and_history_leaves_some_to_books() {
        let at = Instant::now();
        let mut budget = Budget::new(at);
        budget.report(3_590, at);

        assert_eq!(budget.admit(10, 6_000, Share::History, at), Ok(()));
        assert_eq!(budget.admit(1, 6_000, Share::History, at), Err(at + WINDOW));
        assert_eq!(budget.admit(1_200, 6_000, Share::Books, at), Ok(()));
        assert_eq!(budget.admit(1, 6_000, Share::Books, at), Err(at + WINDOW));
        assert_eq!(budget.admit(1, 6_000, Share::History, at + WINDOW), Ok(()));
    }

    #[test]
    fn a_ban_is_waited_for_whatever_is_left() {
        let at = Instant::now();
        let until = at + Duration::from_mins(2);
        let mut budget = Budget::new(at);
        budget.block(until);
        budget.block(at + Duration::from_secs(5));

        assert_eq!(budget.admit(1, 6_000, Share::Books, at), Err(until));
        assert_eq!(budget.admit(1, 6_000, Share::Books, until), Ok(()));
    }
}
