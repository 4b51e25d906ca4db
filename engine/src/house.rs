//! Wiring: opens the logs, builds the views, runs feeds and door, and takes all down again.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use commands::clock::Clock;
use commands::feed_status::{FeedBoard, FeedState, FeedStatus};
use commands::intake::{self, Intake, QUEUE_TICKS_MAX};
use domain::book::Session;
use domain::instrument::{Instrument, Venue};
use eventlog::log::{EventLog, LogError, ReadLog};
use eventlog::stream::Log;
use feeds::counts::Counts;
use feeds::feed::{Hole, Known, Resume, Surroundings};
use feeds::spec::FeedSpec;
use projections::candles::{Gap, InstrumentCandles};
use projections::projector;
use projections::views::Views;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::Wall;
use crate::configuration::Configuration;

/// Time that an intake has for its last ticks when the house stops. A log that takes none by then
/// would keep the house from ever stopping; those ticks were shown to nobody.
const INTAKE_STOP_PATIENCE: Duration = Duration::from_secs(8);

/// Runs the house until a signal stops it, or a part of it fails that nothing can stand in for.
pub(crate) async fn run(configuration: Configuration) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(Wall);
    // Taken first: an address in use should not cost a replay.
    let listener = TcpListener::bind(&configuration.listen)
        .await
        .with_context(|| format!("cannot listen on {}", configuration.listen))?;
    let ledger = configuration.ledger.open(Log::Ledger)?;
    let market = configuration.market.open(Log::Market)?;

    let feeds: Vec<(FeedSpec, Arc<FeedStatus>)> = configuration
        .feeds
        .into_iter()
        .map(|feed| {
            let status = FeedStatus::new(feed.venue(), feed.instruments(), feed.pace());
            (feed, Arc::new(status))
        })
        .collect();
    let venues: Vec<Venue> = feeds.iter().map(|(_, status)| status.venue.clone()).collect();
    let board = Arc::new(FeedBoard::new(feeds.iter().map(|(_, status)| status.clone())));
    let views = Arc::new(Views::new(venues));

    let stop = CancellationToken::new();
    let mut parts: JoinSet<Result<()>> = JoinSet::new();
    for (log, from) in [(Log::Ledger, reader(&ledger)), (Log::Market, reader(&market))] {
        projector::catch_up(log, from.as_ref(), &views).await?;
        parts.spawn(project(log, from, views.clone(), stop.clone()));
    }
    for (feed, status) in feeds {
        let intake = Intake::new(
            market.clone(),
            ledger.clone(),
            clock.clone(),
            status.clone(),
            intake::Options { session: Session(drawn()), books: configuration.books },
        );
        let surroundings = Surroundings {
            now: now(&clock),
            addresses: configuration.venues.get(&status.venue).cloned().unwrap_or_default(),
            resume: resume(&views, &status.venue, &status.instruments),
            seed: drawn(),
        };
        parts.spawn(take_in(feed, surroundings, status, intake, stop.clone()));
    }
    parts.spawn(do_jobs(views.clone(), ledger.clone(), clock.clone(), stop.clone()));
    let address = listener.local_addr()?;
    let app = api::app::App {
        views,
        feeds: board,
        clock,
        ledger: reader(&ledger),
        market: reader(&market),
        settings: settings(configuration.ws),
    };
    let door = stop.clone();
    parts.spawn(async move { Ok(api::routes::serve(listener, app, door).await?) });
    announce(&format!("listening on http://{address}"))?;

    let stopped = tokio::select! {
        signal = a_signal() => signal.map(|name| tracing::info!(signal = name, "stopping")),
        part = failed(&mut parts) => part,
    };
    stop.cancel();
    // Each part ends in its own time; what is told is what went wrong first.
    let mut ended = stopped;
    while let Some(part) = parts.join_next().await {
        let part = ending(part);
        if let (Err(_), Err(error)) = (&ended, &part) {
            tracing::error!(error = format!("{error:#}"), "while stopping");
        }
        ended = ended.and(part);
    }
    ended
}

fn ending(part: Result<Result<()>, JoinError>) -> Result<()> {
    part.unwrap_or_else(|error| Err(anyhow!("a part of the house has panicked: {error}")))
}

fn reader(log: &Arc<dyn EventLog>) -> Arc<dyn ReadLog> {
    Arc::clone(log) as Arc<dyn ReadLog>
}

fn settings(ws: crate::configuration::Ws) -> api::settings::Settings {
    let default = api::settings::Settings::default();
    let limits = api::settings::WsSettings {
        connections_ip_max: ws.connections_ip_max.unwrap_or(default.ws.connections_ip_max),
        subscriptions_max: ws.subscriptions_max.unwrap_or(default.ws.subscriptions_max),
        messages_per_second: ws.messages_per_second.unwrap_or(default.ws.messages_per_second),
        messages_burst: ws.messages_burst.unwrap_or(default.ws.messages_burst),
        lot: drawn(),
        ..default.ws
    };
    api::settings::Settings { origins: ws.origins, ws: limits, ..default }
}

/// Folds a log into the views until told to stop. A log that cannot be read any more ends the house:
/// views that stand still must not pass for fresh ones.
async fn project(
    log: Log,
    from: Arc<dyn ReadLog>,
    views: Arc<Views>,
    stop: CancellationToken,
) -> Result<()> {
    tokio::select! {
        error = projector::follow(log, from, views) => Err(error).with_context(|| format!("the {log} views")),
        () = stop.cancelled() => Ok(()),
    }
}

/// Returns what the house draws lots with: nobody can know it, and no two are alike.
fn drawn() -> u64 {
    Uuid::now_v7().as_u64_pair().1
}

fn now(clock: &Arc<dyn Clock>) -> feeds::feed::Now {
    let clock = clock.clone();
    Arc::new(move || clock.now())
}

/// Returns what is known of a venue's instruments from before: a feed goes on from there.
fn resume(views: &Views, venue: &Venue, instruments: &[Instrument]) -> Resume {
    let (prices, candles) = (views.prices(), views.candles());
    let known = instruments.iter().map(|instrument| {
        let trade_id = prices.get(venue, instrument).map(|quote| quote.tick.trade_id);
        let held = candles.get(venue, instrument);
        let minute = held.and_then(|held| held.whole_until());
        let hole = |gap: &Gap| Hole {
            first: gap.first_id,
            last: gap.last_id,
            after: Some(gap.after),
            before: gap.before,
        };
        let missing = held.iter().flat_map(InstrumentCandles::open_gaps).map(hole).collect();
        (instrument.clone(), Known { trade_id, missing, minute })
    });
    Resume(known.collect())
}

/// Runs what happens by the clock, until told to stop.
async fn do_jobs(
    views: Arc<Views>,
    ledger: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> Result<()> {
    tokio::select! {
        error = jobs::run(views, ledger, clock) => Err(error).context("the jobs"),
        () = stop.cancelled() => Ok(()),
    }
}

/// Runs one feed and its intake. What the feed has said when it is stopped is still recorded. A
/// feed that ends in an error leaves the house running: its prices grow old, and say so.
async fn take_in(
    feed: FeedSpec,
    surroundings: Surroundings,
    status: Arc<FeedStatus>,
    intake: Intake,
    stop: CancellationToken,
) -> Result<()> {
    let (sender, queue) = mpsc::channel(QUEUE_TICKS_MAX);
    let counts = Arc::new(Counts::default());
    let record = intake.run(queue);
    let intake = async {
        tokio::select! {
            recorded = record => recorded,
            () = too_late(&stop) => Err(LogError::Unavailable("it did not take the last ticks".to_owned())),
        }
    };
    let hear = async {
        tokio::select! {
            ended = feeds::feed::run(feed, surroundings, sender, counts) => Some(ended),
            () = stop.cancelled() => None,
        }
    };
    let (heard, recorded) = tokio::join!(hear, intake);
    match (heard, recorded) {
        (_, Err(error)) => {
            Err(error).with_context(|| format!("ticks of {} cannot be recorded", status.venue))
        }
        (Some(Ok(())), Ok(())) => {
            tracing::info!(venue = %status.venue, recorded = status.recorded(), "feed finished");
            status.set_state(FeedState::Finished);
            Ok(())
        }
        (Some(Err(error)), Ok(())) => {
            tracing::error!(venue = %status.venue, %error, "feed failed");
            status.set_state(FeedState::Failed(error.to_string()));
            Ok(())
        }
        (None, Ok(())) => Ok(()),
    }
}

/// Returns when the house has been stopping for longer than an intake may wait for its log.
async fn too_late(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(INTAKE_STOP_PATIENCE).await;
}

/// Waits for the first part that ends in an error. A part that ends well is missed by nobody.
async fn failed(parts: &mut JoinSet<Result<()>>) -> Result<()> {
    while let Some(part) = parts.join_next().await {
        ending(part)?;
    }
    Ok(())
}

async fn a_signal() -> Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => Ok("SIGINT"),
        _ = terminate.recv() => Ok("SIGTERM"),
    }
}

/// The first line on stdout is for whoever started the process, man or script.
fn announce(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
