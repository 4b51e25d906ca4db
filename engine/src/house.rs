//! Wiring: opens the logs, builds the views, runs feeds and door, and takes all down again.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use api::app::App;
use api::gate::Gate;
use api::metrics::Metrics;
use api::opening::Opening;
use api::settings::Backend;
use api::tls::Tls;
use commands::clock::Clock;
use commands::desk::Desk;
use commands::feed_status::{FeedBoard, FeedStatus};
use commands::guardian::{Guardian, GuardianParts};
use commands::intake::{self, BookRecording, Intake};
use commands::register::Register;
use commands::register::trail::Trail;
use commands::terms::TradingTerms;
use domain::book::Session;
use domain::time::Timestamp;
use eventlog::log::{LogError, ReadLog};
use eventlog::stream::Log;
use feeds::feed::{Addresses, Surroundings};
use feeds::spec::FeedSpec;
use jobs::Jobs;
use jobs::retire::{self, Retirement};
use projections::projector;
use projections::store::Store;
use projections::store::snapshots::LoadedView;
use projections::views::Views;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::admin::Socket;
use crate::clock::Wall;
use crate::configuration::door::TlsChoice;
use crate::configuration::{Configuration, DAY, Retention};
use crate::entrance::{self, Refresher, Seen};
use crate::feeding;
use crate::logs::{LogUrl, OpenLog, Opener};
use crate::progress;
use crate::roles::Role;
use crate::trading;

/// Runs the house until a signal stops it, or a part of it fails that nothing can stand in for.
pub(crate) async fn run(configuration: Configuration) -> Result<()> {
    // Taken first: an address in use should not cost a replay.
    let listener = bind(&configuration.listen)
        .await
        .with_context(|| format!("cannot listen on {}", configuration.listen))?;
    let address = listener.local_addr()?;
    let opener = Opener::of(&configuration);
    let door = configuration.door;
    let is_plain = door.tls == TlsChoice::Plain { behind_proxy: false };
    ensure!(
        !is_plain || address.ip().to_canonical().is_loopback(),
        "{address} is not loopback, and there is no TLS"
    );
    let seen = Seen::of(&door, configuration.read_again.as_ref());
    door.private.make()?;
    let token_keys = entrance::token_keys(&door)?;
    let tls = entrance::tls(&door)?.map(Tls::new).map(Arc::new);
    let backends = [configuration.ledger.backend(), configuration.market.backend()];
    // The lock of an embedded ledger says that nobody else uses what stands beside it. One in KurrentDB
    // has no lock, and keeps in the read store how far its settings were looked at.
    let (opener, ledger, store) = if matches!(configuration.ledger, LogUrl::Kurrent(_)) {
        let store = configuration.read_store.open(door.node.as_str()).await?;
        let opener = opener.keep(Arc::new(store.clone()));
        let ledger = opener.open(&configuration.ledger, Log::Ledger).await?;
        (opener, ledger, store)
    } else {
        let ledger = opener.open(&configuration.ledger, Log::Ledger).await?;
        let store = configuration.read_store.open(door.node.as_str()).await?;
        (opener.keep(Arc::new(store.clone())), ledger, store)
    };
    let market = opener.open(&configuration.market, Log::Market).await?;
    let neighbours = opener.neighbours(&configuration.ledger).await?.map(Arc::new);
    let measured = match &configuration.metrics {
        Some(listen) => {
            Some(bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?)
        }
        None => None,
    };
    let roles = configuration.roles;
    // Also where others listen to them: which venue speaks for an instrument is the same everywhere.
    let venues = configuration.feeds.iter().map(FeedSpec::venue).collect();
    let own = configuration.feeds.into_iter().filter(|_| roles.have(Role::Feeds));
    let feeds: Vec<(FeedSpec, Arc<FeedStatus>)> = own
        .map(|feed| {
            let status = FeedStatus::new(feed.venue(), feed.instruments(), feed.pace());
            (feed, Arc::new(status))
        })
        .collect();
    let clock: Arc<dyn Clock> = Arc::new(Wall);
    let desk = Desk::new(ledger.log.clone(), Arc::new(store.clone()), clock.clone());
    let rooms = Rooms {
        views: Arc::new(Views::new(venues)),
        ledger,
        market,
        store,
        clock,
        desk: Arc::new(desk),
        terms: Arc::new(configuration.trading),
        stop: CancellationToken::new(),
    };

    let register = Register::new(rooms.ledger.log.clone(), rooms.clock.clone());
    let trail = Trail::new(rooms.ledger.log.clone(), rooms.clock.clone(), door.node.clone());
    let mut gate = Gate::new(token_keys, door.rules.clone(), Arc::new(register), Arc::new(trail));
    if let Some(neighbours) = &neighbours {
        gate = gate.beside(neighbours.clone());
    }
    let gate = Arc::new(gate);
    let socket = Socket::open(&door.private.socket())?;

    let mut parts = JoinSet::new();
    if let Some(neighbours) = neighbours {
        let (node, gate) = (door.node.clone(), gate.clone());
        let (clock, stop) = (rooms.clock.clone(), rooms.stop.clone());
        parts.spawn(async move {
            neighbours.run(node, gate, clock, stop).await;
            Ok(())
        });
    }
    let opening = Opening::shut();
    let limits = (door.connections_max, door.connections_ip_max);
    let app = App {
        views: rooms.views.clone(),
        feeds: Arc::new(FeedBoard::new(feeds.iter().map(|(_, status)| status.clone()))),
        clock: rooms.clock.clone(),
        desk: rooms.desk.clone(),
        terms: rooms.terms.clone(),
        ledger: rooms.ledger.reader(),
        market: rooms.market.reader(),
        store: Some(rooms.store.clone()),
        gate: gate.clone(),
        opening: opening.clone(),
        settings: settings(&configuration.ws, limits, backends),
    };
    if let Some(listener) = measured {
        let (metrics, stop) = (Metrics::of(&app), rooms.stop.clone());
        parts.spawn(async move {
            api::metrics::serve(listener, metrics, stop).await;
            Ok(())
        });
    }
    // Before the views are there: who asks how far the house has come gets an answer.
    let (stop, served_with) = (rooms.stop.clone(), tls.clone());
    let shut = CancellationToken::new();
    let at_its_end = shut.clone().drop_guard();
    parts.spawn(async move {
        let _at_its_end = at_its_end;
        Ok(api::routes::serve(listener, served_with, app, stop).await?)
    });
    let scheme = if tls.is_some() { "https" } else { "http" };
    announce(&format!("listening on {scheme}://{address}"))?;
    if configuration.funded {
        announce(&trading::hint(door.private.data()))?;
    }
    rooms.run_entrance(&mut parts, &gate, socket, shut);
    let refresher = Refresher::new(gate, tls, door, configuration.read_again, seen);
    parts.spawn(refreshed(refresher, rooms.stop.clone()));

    let mut signals = Signals::new()?;
    // A start can be long, and is stopped like anything else.
    let made = tokio::select! {
        made = rooms.make_ready(configuration.funded) => made.map(|()| None),
        signal = signals.next() => Ok(Some(signal)),
        part = failed(&mut parts) => part.map(|()| None),
    };
    let stopped = if let Ok(None) = made {
        rooms.run_views(&mut parts);
        if roles.have(Role::Guardian) {
            rooms.run_guardian(&mut parts);
        }
        if roles.have(Role::Door) {
            opening.open();
        } else {
            opening.keep_to_itself();
        }
        for (feed, status) in feeds {
            let addresses = configuration.venues.get(&status.venue).cloned().unwrap_or_default();
            rooms.run_feed(&mut parts, feed, status, addresses, configuration.books);
        }
        if roles.have(Role::Jobs) {
            rooms.run_jobs(&mut parts, configuration.retention);
        }
        tokio::select! {
            signal = signals.next() => Ok(Some(signal)),
            part = failed(&mut parts) => part.map(|()| None),
        }
    } else {
        made
    };
    if let Ok(Some(signal)) = stopped {
        tracing::info!(signal, "stopping");
    }
    rooms.stop.cancel();
    // Each part ends in its own time; what is told is what went wrong first.
    let mut ended = stopped.map(|_| ());
    while let Some(part) = parts.join_next().await {
        let part = ending(part);
        if let (Err(_), Err(error)) = (&ended, &part) {
            tracing::error!(error = format!("{error:#}"), "while stopping");
        }
        ended = ended.and(part);
    }
    rooms.store.close().await;
    ended
}

/// The parts that end together: one that ends in an error ends the house.
type Parts = JoinSet<Result<()>>;

/// What the parts of the house stand on.
struct Rooms {
    views: Arc<Views>,
    ledger: OpenLog,
    market: OpenLog,
    store: Store,
    clock: Arc<dyn Clock>,
    desk: Arc<Desk>,
    terms: Arc<TradingTerms>,
    /// Told to stop when the house is.
    stop: CancellationToken,
}

impl Rooms {
    /// Makes all that must stand before anybody may ask.
    async fn make_ready(&self, funded: bool) -> Result<()> {
        if funded {
            trading::fund_demo(&self.desk, &self.terms).await?;
        }
        self.make_views().await
    }

    /// Takes the views from the newest snapshot, and folds what has come since.
    async fn make_views(&self) -> Result<()> {
        let (ledger, market) = (self.ledger.patient(), self.market.patient());
        let (views, store) = (&self.views, &self.store);
        let loaded = store.load(views, ledger.as_ref(), market.as_ref()).await?;
        for (view, LoadedView { kept, discarded, .. }) in loaded.views {
            let cut = kept.map(|kept| kept.cut).unwrap_or_default();
            let (ledger, market) = (cut.ledger.offset.0, cut.market.offset.0);
            tracing::info!(view, ledger, market, discarded, "view restored up to here");
        }
        let heads = [(Log::Ledger, ledger.head().await?), (Log::Market, market.head().await?)];
        let caught_up = async {
            tokio::try_join!(
                projector::catch_up(Log::Ledger, ledger.as_ref(), views),
                projector::catch_up(Log::Market, market.as_ref(), views),
            )
        };
        tokio::select! {
            caught_up = caught_up => caught_up.map(drop).context("the views"),
            () = progress::tell(views, heads) => Ok(()),
        }
    }

    /// Keeps the views up to date, their snapshots, and the archive.
    fn run_views(&self, parts: &mut Parts) {
        for (log, from) in [(Log::Ledger, &self.ledger), (Log::Market, &self.market)] {
            parts.spawn(project(log, from.patient(), self.views.clone(), self.stop.clone()));
        }
        let (store, views) = (self.store.clone(), self.views.clone());
        let (now, stop) = (self.now(), self.stop.clone());
        parts.spawn(async move {
            projections::store::snapshots(store, views, now, stop.cancelled_owned()).await;
            Ok(())
        });
        let (store, ledger, stop) = (self.store.clone(), self.ledger.patient(), self.stop.clone());
        parts.spawn(async move {
            tokio::select! {
                error = projections::store::archivist(store, ledger) => Err(error).context("the archive"),
                () = stop.cancelled() => Ok(()),
            }
        });
    }

    /// Records who comes to the door for as long as anybody may, and answers the administrator.
    fn run_entrance(
        &self,
        parts: &mut Parts,
        gate: &Gate,
        socket: Socket,
        shut: CancellationToken,
    ) {
        let trail = gate.trail.clone();
        parts.spawn(async move {
            trail.run(shut.cancelled_owned()).await.context("the record of access")
        });
        let (register, clock, stop) =
            (gate.register.clone(), self.clock.clone(), self.stop.clone());
        parts.spawn(async move {
            socket.run(register, clock, stop).await;
            Ok(())
        });
    }

    /// Closes positions when the market meets their conditions.
    fn run_guardian(&self, parts: &mut Parts) {
        let guardian = Guardian::new(GuardianParts {
            ledger: self.ledger.patient(),
            market: self.market.patient(),
            desk: self.desk.clone(),
            keep: Arc::new(self.store.clone()),
            clock: self.clock.clone(),
            terms: self.terms.clone(),
        });
        let stop = self.stop.clone();
        parts.spawn(
            async move { guardian.run(stop.cancelled_owned()).await.context("the guardian") },
        );
    }

    fn run_feed(
        &self,
        parts: &mut Parts,
        feed: FeedSpec,
        status: Arc<FeedStatus>,
        addresses: Addresses,
        books: BookRecording,
    ) {
        let intake = Intake::new(
            self.market.log.clone(),
            self.ledger.log.clone(),
            Arc::new(self.store.clone()),
            self.clock.clone(),
            status.clone(),
            intake::Options { session: Session(drawn()), books },
        );
        let surroundings = Surroundings {
            now: self.now(),
            addresses,
            resume: feeding::resume(&self.views, &status.venue, &status.instruments),
            seed: drawn(),
        };
        parts.spawn(feeding::take_in(feed, surroundings, status, intake, self.stop.clone()));
    }

    /// Runs what happens by the clock.
    fn run_jobs(&self, parts: &mut Parts, retention: Retention) {
        let jobs = Jobs {
            views: self.views.clone(),
            ledger: self.ledger.log.clone(),
            desk: self.desk.clone(),
            clock: self.clock.clone(),
            retirement: self.market.trim.clone().map(|trim| Retirement {
                market: self.market.reader(),
                trim,
                snapshots: Arc::new(self.store.clone()),
                guarded: Arc::new(self.store.clone()),
                settings: retire::Settings {
                    market_age: DAY * retention.market_days.get(),
                    market_bytes: retention.market_bytes.get(),
                    ..retire::Settings::default()
                },
            }),
        };
        let (store, stop) = (self.store.clone(), self.stop.clone());
        parts.spawn(async move {
            tokio::select! {
                error = by_turns(store, jobs) => Err(error).context("the jobs"),
                () = stop.cancelled() => Ok(()),
            }
        });
    }

    fn now(&self) -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
        let clock = self.clock.clone();
        Arc::new(move || clock.now())
    }
}

/// Runs the jobs while it is this node's turn, among those that share a read store. Ends only with an
/// error that waiting does not mend.
async fn by_turns(store: Store, jobs: Jobs) -> LogError {
    loop {
        let turn = store.lead("jobs").await;
        tokio::select! {
            error = jobs::run(jobs.clone()) => return error,
            () = turn.lost() => tracing::info!("the jobs are another node's now"),
        }
    }
}

fn ending(part: Result<Result<()>, JoinError>) -> Result<()> {
    part.unwrap_or_else(|error| Err(anyhow!("a part of the house has panicked: {error}")))
}

fn settings(
    ws: &crate::configuration::Ws,
    (connections_max, connections_ip_max): (usize, usize),
    [ledger, market]: [Backend; 2],
) -> api::settings::Settings {
    let default = api::settings::Settings::default();
    let limits = api::settings::WsSettings {
        connections_account_max: ws
            .connections_account_max
            .unwrap_or(default.ws.connections_account_max),
        connections_ip_max: ws.connections_ip_max.unwrap_or(default.ws.connections_ip_max),
        subscriptions_max: ws.subscriptions_max.unwrap_or(default.ws.subscriptions_max),
        messages_per_second: ws.messages_per_second.unwrap_or(default.ws.messages_per_second),
        messages_burst: ws.messages_burst.unwrap_or(default.ws.messages_burst),
        lot: drawn(),
        ..default.ws
    };
    api::settings::Settings {
        connections_max,
        connections_ip_max,
        ledger,
        market,
        ws: limits,
        ..default
    }
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

async fn refreshed(refresher: Refresher, stop: CancellationToken) -> Result<()> {
    refresher.run(stop).await;
    Ok(())
}

/// Connections that wait to be accepted, as far as the kernel allows. Of more, the kernel forgets some
/// whose clients believe that they are connected.
const BACKLOG: u32 = 4_096;

/// Listens on the first address of a name that can be listened on.
async fn bind(listen: &str) -> io::Result<TcpListener> {
    let mut failed = io::Error::new(ErrorKind::AddrNotAvailable, "the name has no address");
    for address in tokio::net::lookup_host(listen).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // An address that was just given up is not kept from us by connections that linger.
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Returns what the house draws lots with: nobody can know it, and no two are alike.
fn drawn() -> u64 {
    Uuid::now_v7().as_u64_pair().1
}

/// Waits for the first part that ends in an error. A part that ends well is missed by nobody.
async fn failed(parts: &mut JoinSet<Result<()>>) -> Result<()> {
    while let Some(part) = parts.join_next().await {
        ending(part)?;
    }
    Ok(())
}

/// The signals that end the house.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// The first line on stdout is for whoever started the process, man or script.
fn announce(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
