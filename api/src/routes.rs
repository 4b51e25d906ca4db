//! How the parts of the door are put together, and run.

use std::io;
use std::sync::Arc;

use eventlog::stream::Log;
use poem::endpoint::BoxEndpoint;
use poem::http::HeaderValue;
use poem::http::header::HeaderName;
use poem::{Endpoint, EndpointExt, IntoEndpoint, IntoResponse, Request, Response, Route, get};
use poem_openapi::OpenApiService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::account::AccountApi;
use crate::api_keys::ApiKeysApi;
use crate::app::App;
use crate::consistency::caught_up;
use crate::docs;
use crate::door::Door;
use crate::health;
use crate::market::MarketApi;
use crate::operations::{Operations, PREFIXES, SOCKET};
use crate::operator::OperatorApi;
use crate::orderbook::OrderbookApi;
use crate::positions::PositionsApi;
use crate::server::Server;
use crate::standing::Logs;
use crate::stops::StopsApi;
use crate::tls::Tls;
use crate::tokens::{self, TokensApi};
use crate::trading::TradingApi;
use crate::ws::MarketSocket;
use crate::ws::broadcast;
use crate::ws::hub::Hub;
use crate::ws::owners;
use crate::ws::roster;

pub const VIEWS_AT: HeaderName = HeaderName::from_static("x-views-at");

/// Serves until `stop`; then requests in flight finish and sessions are closed in order. Until the
/// house is open, only what is asked about itself is answered.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    app: App,
    stop: CancellationToken,
) -> io::Result<()> {
    // Whoever asks waits for no log that is away.
    let logs = Arc::new(Logs::new(app.ledger, app.market));
    let (ledger, market) = logs.readers();
    let app = Arc::new(App { ledger, market, ..app });
    let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
    let hub = Arc::new(Hub::new(&app.settings.ws));
    let (ending, broadcaster) = (stop.clone(), broadcast::run(Arc::clone(&app), Arc::clone(&hub)));
    let broadcaster = tasks.spawn(async move { ending.run_until_cancelled(broadcaster).await });
    let (ending, owners) = (stop.clone(), Arc::clone(hub.owners()));
    let owners = owners::run(Arc::clone(&app), owners);
    let owners = tasks.spawn(async move { ending.run_until_cancelled(owners).await });
    let (ending, reviews) = (stop.clone(), Arc::clone(hub.roster()));
    let reviews = roster::run(Arc::clone(&app), reviews);
    let reviewer = tasks.spawn(async move { ending.run_until_cancelled(reviews).await });
    let socket = MarketSocket::new(Arc::clone(&app), hub, tasks.clone(), stop.clone(), cut.clone());
    let (settings, gate) = (app.settings.clone(), Arc::clone(&app.gate));
    let house = house(app, logs, socket);
    let server = Arc::new(Server { house, gate, tls, tasks, stop, cut, settings });
    tokio::select! {
        ended = server.run(listener) => ended,
        // A house whose sockets have fallen silent is no house.
        Err(panicked) = broadcaster => Err(io::Error::other(panicked)),
        Err(panicked) = owners => Err(io::Error::other(panicked)),
        Err(panicked) = reviewer => Err(io::Error::other(panicked)),
    }
}

fn house(app: Arc<App>, logs: Arc<Logs>, socket: MarketSocket) -> BoxEndpoint<'static, Response> {
    let document = docs::document(&service(&app));
    let operations = Arc::new(Operations::of(&document));
    let socket = Arc::new(socket);

    let mut routes = Route::new().at(SOCKET, get(Arc::clone(&socket)));
    for prefix in PREFIXES {
        routes = routes
            .at(format!("{prefix}{SOCKET}"), get(Arc::clone(&socket)))
            .nest(prefix, dated(service(&app), Arc::clone(&app)));
    }
    let routes = docs::page::add(routes, &document)
        .at("/livez", get(health::livez))
        .at("/readyz", get(health::readyz))
        .at("/health", get(health::health))
        .at("/.well-known/jwks.json", get(tokens::jwks))
        .data(Arc::clone(&app))
        .data(logs);
    Door { routes, operations, app }.boxed()
}

type Apis = (
    (MarketApi, OrderbookApi),
    (PositionsApi, TradingApi, StopsApi, AccountApi),
    (OperatorApi, TokensApi, ApiKeysApi),
);

/// The operations. A service serves under one prefix only, so it is built for each.
fn service(app: &Arc<App>) -> OpenApiService<Apis, ()> {
    let market = (MarketApi(Arc::clone(app)), OrderbookApi(Arc::clone(app)));
    let portfolio = (
        PositionsApi(Arc::clone(app)),
        TradingApi(Arc::clone(app)),
        StopsApi(Arc::clone(app)),
        AccountApi(Arc::clone(app)),
    );
    let house =
        (OperatorApi(Arc::clone(app)), TokensApi(Arc::clone(app)), ApiKeysApi(Arc::clone(app)));
    let apis = (market, portfolio, house);
    OpenApiService::new(apis, "Entasis Engine", env!("CARGO_PKG_VERSION"))
}

/// Lets a read wait for what it must show, and says on every answer how far the views had come
/// before it was made.
fn dated(
    routes: impl IntoEndpoint<Endpoint: 'static>,
    app: Arc<App>,
) -> impl Endpoint<Output = Response> {
    routes.around(move |routes, request: Request| {
        let app = Arc::clone(&app);
        async move {
            caught_up(&app, &request).await?;
            let (ledger, market) = (app.views.applied(Log::Ledger), app.views.applied(Log::Market));
            let mut response = routes.call(request).await?.into_response();
            let at = HeaderValue::try_from(format!("ledger:{ledger}, market:{market}"));
            response.headers_mut().insert(VIEWS_AT, at.expect("offsets are digits"));
            Ok::<_, poem::Error>(response)
        }
    })
}
