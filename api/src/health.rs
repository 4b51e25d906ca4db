//! Whether the node lives, is ready, and what it stands on.

use std::sync::Arc;

use commands::feed_status::{FeedState, FeedStatus};
use domain::observation::Pace;
use domain::time::Timestamp;
use eventlog::entry::Offset;
use eventlog::log::ReadLog;
use eventlog::stream::Log;
use poem::http::StatusCode;
use poem::web::{Data, Json};
use poem::{IntoResponse, Response, Result, handler};
use projections::store::health::{StoreHealth, Writing};
use serde_json::{Value, json};

use crate::app::App;
use crate::problem::{Code, Problem};

/// What is asked about the house itself, and answered before it is open.
pub const PATHS: [&str; 3] = ["/livez", "/readyz", "/health"];

#[handler]
pub(crate) fn livez() -> Response {
    answer(StatusCode::OK, json!({"status": "alive"}))
}

/// A feed that failed does not make the node useless: what it brought can still be read, and a
/// price that grows old says so itself.
#[handler]
pub(crate) async fn readyz(Data(app): Data<&Arc<App>>) -> Result<Response> {
    let ledger = view_body(app, Log::Ledger).await?;
    let market = view_body(app, Log::Market).await?;
    let failed = app.feeds.iter().any(|feed| matches!(feed.state(), FeedState::Failed(_)));
    let store = StoreReport::of(app).await?;
    let (status, word) = match (app.opening.is_open(), failed || store.is_degraded) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "catching_up"),
        (true, true) => (StatusCode::OK, "degraded"),
        (true, false) => (StatusCode::OK, "ready"),
    };
    let feeds: Vec<Value> = app.feeds.iter().map(|feed| feed_body(feed)).collect();
    let views = json!({"ledger": ledger, "market": market});
    let body = json!({"status": word, "views": views, "feeds": feeds, "read_store": store.body});
    Ok(answer(status, body))
}

#[handler]
pub(crate) async fn health(Data(app): Data<&Arc<App>>) -> Result<Response> {
    let log = async |log| -> Result<Value> {
        let read = app.log(log);
        Ok(json!({"durability": read.durability(), "head": head(read).await?}))
    };
    let (ledger, market) = (log(Log::Ledger).await?, log(Log::Market).await?);
    Ok(answer(StatusCode::OK, json!({"status": "alive", "ledger": ledger, "market": market})))
}

async fn view_body(app: &App, log: Log) -> Result<Value> {
    // Asked before the head: the lag is then never below what it was.
    let applied = app.views.applied(log);
    let head = head(app.log(log)).await?;
    Ok(json!({"applied": applied, "head": head, "lag": head.0.saturating_sub(applied.0)}))
}

/// How the read store fares. Without it the node still answers all that is in memory.
struct StoreReport {
    is_degraded: bool,
    body: Value,
}

impl StoreReport {
    async fn of(app: &App) -> Result<Self> {
        let Some(store) = &app.store else {
            return Ok(Self { is_degraded: false, body: json!({"status": "none"}) });
        };
        let StoreHealth { snapshots, archive } = store.health();
        let head = head(app.ledger.as_ref()).await?;
        let (since, reason) = match snapshots {
            Writing::Good => (None, archive.degraded),
            Writing::Degraded { since, reason } => (Some(since), Some(reason)),
        };
        let body = json!({
            "status": if reason.is_some() { "degraded" } else { "good" },
            "reason": reason,
            "since": since.map(Timestamp::to_shortest),
            "archive": {
                "applied": archive.applied,
                "lag": head.0.saturating_sub(archive.applied.0),
                "whole": archive.whole,
            },
        });
        Ok(Self { is_degraded: reason.is_some(), body })
    }
}

async fn head(log: &dyn ReadLog) -> Result<Offset, Problem> {
    log.head().await.map_err(|error| Problem::new(Code::LogUnreachable, error.to_string()))
}

fn feed_body(feed: &FeedStatus) -> Value {
    let (state, error) = match feed.state() {
        FeedState::Running => ("running", None),
        FeedState::Finished => ("finished", None),
        FeedState::Failed(error) => ("failed", Some(error)),
    };
    json!({
        "exchange": feed.venue,
        "symbols": feed.instruments,
        "pace": match feed.pace { Pace::Live => "live", Pace::Recorded => "recorded" },
        "state": state,
        "error": error,
        "heard_at": feed.heard_at().map(Timestamp::to_shortest),
        "recorded": feed.recorded(),
        "repeated": feed.repeated(),
        "set_aside": feed.set_aside(),
    })
}

fn answer(status: StatusCode, body: Value) -> Response {
    Json(body).with_status(status).into_response()
}
