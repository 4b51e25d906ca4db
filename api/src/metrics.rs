//! Figures for whoever watches the node: in the text format of Prometheus, on an address of their own.
//!
//! What the door counts of its own work stands in [`Counts`]; everything else is asked of those who
//! know it when somebody comes for it. No name of an account is in it.

mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use commands::clock::Clock;
use commands::feed_status::{FeedBoard, FeedState};
use domain::time::SECOND;
use eventlog::log::{Durability, Standing};
use eventlog::stream::Log;
use poem::http::StatusCode;
use projections::store::Store;
use projections::store::health::Writing;
use projections::views::Views;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::app::App;
use crate::gate::Gate;
use crate::metrics::text::{Kind, Text};
use crate::opening::Opening;
use crate::standing::Logs;

/// Bytes of a request. One that is longer is not answered.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// How long one who comes for figures may take. They come one after the other.
const CALLER_PATIENCE: Duration = Duration::from_secs(2);

/// How long nobody is accepted after an accept failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Repeated,
    Refused,
    /// It could not be decided: there was no price, or too many came at once.
    Undecided,
    /// The log did not say whether it is in.
    Unknown,
    /// The log took nothing.
    Unavailable,
}

impl Outcome {
    const ALL: [Self; 6] = [
        Self::Done,
        Self::Repeated,
        Self::Refused,
        Self::Undecided,
        Self::Unknown,
        Self::Unavailable,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Repeated => "repeated",
            Self::Refused => "refused",
            Self::Undecided => "undecided",
            Self::Unknown => "unknown",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What the door counts. Counters only grow, but for the sockets.
#[derive(Debug, Default)]
pub struct Counts {
    /// Answers, and the microseconds that they took, by class of status.
    answered: [AtomicU64; CLASSES.len()],
    micros: [AtomicU64; CLASSES.len()],
    too_many: AtomicU64,
    commands: [AtomicU64; Outcome::ALL.len()],
    sockets: AtomicI64,
}

/// A WebSocket that is open, until it is dropped.
pub struct OpenSocket(Arc<Gate>);

impl Counts {
    pub(crate) fn answered(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        for (counters, by) in [(&self.answered, 1), (&self.micros, micros)] {
            if let Some(counter) = counters.get(class) {
                counter.fetch_add(by, Ordering::Relaxed);
            }
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            self.too_many.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn commanded(&self, outcome: Outcome) {
        let place = Outcome::ALL.iter().position(|one| *one == outcome);
        if let Some(counter) = place.and_then(|place| self.commands.get(place)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl OpenSocket {
    pub(crate) fn of(gate: &Arc<Gate>) -> Self {
        gate.counts.sockets.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(gate))
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.counts.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whom the figures are asked of.
pub struct Metrics {
    views: Arc<Views>,
    feeds: Arc<FeedBoard>,
    clock: Arc<dyn Clock>,
    logs: Logs,
    store: Option<Store>,
    gate: Arc<Gate>,
    opening: Opening,
}

impl Metrics {
    pub fn of(app: &App) -> Self {
        Self {
            views: Arc::clone(&app.views),
            feeds: Arc::clone(&app.feeds),
            clock: Arc::clone(&app.clock),
            logs: Logs::new(Arc::clone(&app.ledger), Arc::clone(&app.market)),
            store: app.store.clone(),
            gate: Arc::clone(&app.gate),
            opening: app.opening.clone(),
        }
    }

    /// Returns all figures as they are now. A log that is away is not waited for.
    pub async fn text(&self) -> String {
        let mut text = Text::default();
        text.family("build_info", Kind::Gauge, "What runs.");
        text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.family("open", Kind::Gauge, "Whether the node has caught up and answers: 1, else 0.");
        text.sample(&[], u8::from(self.opening.is_open()));
        self.tell_logs(&mut text).await;
        self.tell_store(&mut text);
        self.tell_feeds(&mut text);
        self.tell_door(&mut text);
        text.end()
    }

    async fn tell_logs(&self, text: &mut Text) {
        // Asked before the heads: the lag is then never below what it was.
        let applied = [Log::Ledger, Log::Market].map(|log| (log, self.views.applied(log).0));
        let [ledger, market] = self.logs.fares().await;
        let fares = [(Log::Ledger, ledger), (Log::Market, market)];
        text.family("log_applied", Kind::Gauge, "The offset up to which the views show a log.");
        for (log, applied) in applied {
            text.sample(&[("log", log.as_str())], applied);
        }
        text.family("log_head", Kind::Gauge, "The offset of a log's newest entry, as last known.");
        for ((log, fare), (_, applied)) in fares.iter().zip(applied) {
            text.sample(&[("log", log.as_str())], fare.head.0.max(applied));
        }
        text.family("log_standing", Kind::Gauge, "0 good, 1 degraded, 2 down.");
        for (log, fare) in &fares {
            let standing = match fare.standing {
                Standing::Good => 0,
                Standing::Degraded { .. } => 1,
                Standing::Down { .. } => 2,
            };
            text.sample(&[("log", log.as_str())], standing);
        }
        text.family(
            "log_durability",
            Kind::Gauge,
            "What an entry survives: 0 nothing, 1 the process, 2 a loss of power, 3 a machine.",
        );
        for (log, fare) in &fares {
            let durability = match fare.durability {
                Durability::Memory => 0,
                Durability::Os => 1,
                Durability::Fsync => 2,
                Durability::Quorum => 3,
            };
            text.sample(&[("log", log.as_str())], durability);
        }
    }

    fn tell_store(&self, text: &mut Text) {
        let Some(store) = &self.store else { return };
        let health = store.health();
        let degraded = health.snapshots != Writing::Good || health.archive.degraded.is_some();
        text.family("read_store_degraded", Kind::Gauge, "Whether it cannot be written: 1, else 0.");
        text.sample(&[], u8::from(degraded));
        text.family("archive_lag", Kind::Gauge, "Entries that the views show and it does not.");
        let applied = self.views.applied(Log::Ledger).0;
        text.sample(&[], applied.saturating_sub(health.archive.applied.0));
    }

    fn tell_feeds(&self, text: &mut Text) {
        let numbered = || {
            let feeds = (1..).zip(self.feeds.iter());
            feeds.map(|(number, feed)| (number.to_string(), feed))
        };
        text.family("feed_state", Kind::Gauge, "0 running, 1 finished, 2 failed.");
        for (number, feed) in numbered() {
            let state = match feed.state() {
                FeedState::Running => 0,
                FeedState::Finished => 1,
                FeedState::Failed(_) => 2,
            };
            text.sample(&[("venue", feed.venue.as_str()), ("feed", &number)], state);
        }
        text.family("feed_heard_age_seconds", Kind::Gauge, "Since a feed was last heard.");
        for (number, feed) in numbered() {
            if let Some(heard_at) = feed.heard_at() {
                let age = self.clock.now().since(heard_at).max(0) / SECOND;
                text.sample(&[("venue", feed.venue.as_str()), ("feed", &number)], age);
            }
        }
        let counters = [
            ("feed_recorded_total", "Trades that were recorded."),
            ("feed_repeated_total", "Trades that had been recorded before."),
            ("feed_set_aside_total", "Trades that claim to come from the future."),
        ];
        for (place, (name, help)) in counters.into_iter().enumerate() {
            text.family(name, Kind::Counter, help);
            for (number, feed) in numbered() {
                let count = match place {
                    0 => feed.recorded(),
                    1 => feed.repeated(),
                    _ => feed.set_aside(),
                };
                text.sample(&[("venue", feed.venue.as_str()), ("feed", &number)], count);
            }
        }
    }

    fn tell_door(&self, text: &mut Text) {
        let counts = &self.gate.counts;
        text.family("requests_total", Kind::Counter, "Answers, by class of their status.");
        for (class, count) in CLASSES.iter().zip(&counts.answered) {
            text.sample(&[("class", class)], count.load(Ordering::Relaxed));
        }
        text.family("request_microseconds_total", Kind::Counter, "Time that the answers took.");
        for (class, micros) in CLASSES.iter().zip(&counts.micros) {
            text.sample(&[("class", class)], micros.load(Ordering::Relaxed));
        }
        text.family("refused_requests_total", Kind::Counter, "Requests past a limit: 429.");
        text.sample(&[], counts.too_many.load(Ordering::Relaxed));
        text.family("commands_total", Kind::Counter, "What was asked of accounts, by its outcome.");
        for (outcome, count) in Outcome::ALL.iter().zip(&counts.commands) {
            text.sample(&[("outcome", outcome.as_str())], count.load(Ordering::Relaxed));
        }
        text.family("sockets", Kind::Gauge, "WebSockets that are open.");
        text.sample(&[], counts.sockets.load(Ordering::Relaxed));
        text.family(
            "nodes",
            Kind::Gauge,
            "Nodes that share the limits of accounts, this included.",
        );
        text.sample(&[], self.gate.limits.nodes());
    }
}

/// Answers who comes for the figures, until `stop`.
pub async fn serve(listener: TcpListener, metrics: Metrics, stop: CancellationToken) {
    let serving = async {
        loop {
            match listener.accept().await {
                // Who takes too long, or hangs up, comes again.
                Ok((stream, _)) => {
                    drop(timeout(CALLER_PATIENCE, answer(stream, &metrics)).await);
                }
                Err(error) => {
                    warn!(%error, "a connection for figures could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    stop.run_until_cancelled(serving).await;
}

/// Answers one request and hangs up: `GET /metrics`, and nothing else.
async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    metrics: &Metrics,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read_buf(&mut request).await?;
        if read == 0 || request.len() > REQUEST_BYTES_MAX {
            return Ok(());
        }
    }
    let is_ours = [b"GET /metrics ".as_slice(), b"GET /metrics?"];
    let (status, body) = if is_ours.iter().any(|ours| request.starts_with(ours)) {
        ("200 OK", metrics.text().await)
    } else {
        ("404 Not Found", "there is GET /metrics here\n".to_owned())
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text::CONTENT_TYPE,
        body.len(),
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
