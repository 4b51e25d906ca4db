//! Whether the node lives, is ready, and what it stands on.

use std::sync::Arc;

use commands::feed_status::{FeedState, FeedStatus};
use domain::observation::Pace;
use domain::time::Timestamp;
use eventlog::entry::Offset;
use eventlog::log::Standing;
use eventlog::stream::Log;
use poem::http::{StatusCode, Uri};
use poem::web::{Data, Json};
use poem::{IntoResponse, Response, handler};
use projections::store::health::{StoreHealth, Writing};
use serde_json::{Value, json};

use crate::app::App;
use crate::settings::Backend;
use crate::standing::{Fare, Logs};

/// What is asked about the house itself, and answered before it is open.
pub const PATHS: [&str; 3] = ["/livez", "/readyz", "/health"];

/// Asks whether the node is ready for queries, which a log that is away does not keep from it.
const FOR_QUERIES: &str = "for=queries";

#[handler]
pub(crate) fn livez() -> Response {
    answer(StatusCode::OK, json!({"status": "alive"}))
}

/// Whether the node may be asked: for everything, or with `?for=queries` for what stands in memory.
///
/// A feed that failed does not make the node useless: what it brought can still be read, and a price
/// that grows old says so itself. A ledger that is down does: an orchestrator is to send commands
/// elsewhere, and to start no further node that could not take any. Queries go on meanwhile, so a
/// proxy that has only nodes of the same broker asks whether they are ready for those.
#[handler]
pub(crate) async fn readyz(
    Data(app): Data<&Arc<App>>,
    Data(logs): Data<&Arc<Logs>>,
    uri: &Uri,
) -> Response {
    // Asked before the heads: the lag is then never below what it was.
    let applied = [Log::Ledger, Log::Market].map(|log| app.views.applied(log));
    let fares = logs.fares().await;
    let [ledger, market] = &fares;
    let store = StoreReport::of(app);
    let failed = app.feeds.iter().any(|feed| matches!(feed.state(), FeedState::Failed(_)));
    let all_good = [ledger, market].into_iter().all(|fare| fare.standing == Standing::Good);
    let is_down = matches!(ledger.standing, Standing::Down { .. });
    let for_queries = uri.query() == Some(FOR_QUERIES);
    let (status, word) = match (app.opening.has_caught_up(), is_down) {
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "catching_up"),
        (true, true) if for_queries => (StatusCode::OK, "log_down"),
        (_, true) => (StatusCode::SERVICE_UNAVAILABLE, "log_down"),
        (true, false) if failed || store.is_degraded || !all_good => (StatusCode::OK, "degraded"),
        (true, false) => (StatusCode::OK, "ready"),
    };
    let feeds: Vec<Value> = app.feeds.iter().map(|feed| feed_body(feed)).collect();
    let [of_ledger, of_market] = applied;
    let body = json!({
        "status": word,
        "views": {"ledger": view_body(of_ledger, ledger), "market": view_body(of_market, market)},
        "logs": {"ledger": log_body(ledger), "market": log_body(market)},
        "feeds": feeds,
        "read_store": store.body,
    });
    answer(status, body)
}

#[handler]
pub(crate) async fn health(Data(app): Data<&Arc<App>>, Data(logs): Data<&Arc<Logs>>) -> Response {
    let applied = [Log::Ledger, Log::Market].map(|log| app.views.applied(log));
    let [ledger, market] = logs.fares().await;
    let [of_ledger, of_market] = applied;
    let body = json!({
        "status": "alive",
        "ledger": whole_body(of_ledger, &ledger, app.settings.ledger),
        "market": whole_body(of_market, &market, app.settings.market),
        "read_store": StoreReport::of(app).body,
    });
    answer(StatusCode::OK, body)
}

/// Returns all that is known of a log.
fn whole_body(applied: Offset, fare: &Fare, backend: Backend) -> Value {
    let mut told = log_body(fare);
    if let Some(keys) = told.as_object_mut() {
        keys.insert("backend".to_owned(), json!(backend.name));
        if let Some(tested) = backend.tested {
            keys.insert("tested".to_owned(), json!(tested));
        }
        keys.insert("applied".to_owned(), json!(applied));
        keys.insert("head".to_owned(), json!(fare.head.max(applied)));
    }
    told
}

/// Returns how far the views are. What they show is in the log, whether its head is known or not.
fn view_body(applied: Offset, fare: &Fare) -> Value {
    let head = fare.head.max(applied);
    json!({"applied": applied, "head": head, "lag": head.0 - applied.0})
}

/// Returns how a log fares, and what an operator must do where it does not pass by itself.
fn log_body(fare: &Fare) -> Value {
    let (status, reason, advice) = match &fare.standing {
        Standing::Good => ("good", None, None),
        Standing::Degraded { reason, advice } => ("degraded", Some(reason), advice.as_ref()),
        Standing::Down { reason, advice } => ("down", Some(reason), advice.as_ref()),
    };
    json!({"status": status, "reason": reason, "advice": advice, "durability": fare.durability})
}

/// How the read store fares. Without it the node still answers all that is in memory.
struct StoreReport {
    is_degraded: bool,
    body: Value,
}

impl StoreReport {
    fn of(app: &App) -> Self {
        let Some(store) = &app.store else {
            return Self { is_degraded: false, body: json!({"status": "none"}) };
        };
        let StoreHealth { snapshots, archive } = store.health();
        // What the views show and the archive does not: the log itself may be away.
        let shown = app.views.applied(Log::Ledger);
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
                "lag": shown.0.saturating_sub(archive.applied.0),
                "whole": archive.whole,
            },
        });
        Self { is_degraded: reason.is_some(), body }
    }
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
