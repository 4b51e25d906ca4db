//! Our own door, as it stands in the engine: its accept loop, its sessions, its broadcaster, and a
//! log in memory that real entries are appended to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use api::app::App;
use api::opening::Opening;
use api::routes;
use api::settings::{Settings, WsSettings};
use commands::clock::Clock;
use commands::desk::Desk;
use commands::feed_status::{FeedBoard, FeedStatus};
use domain::instrument::Venue;
use domain::observation::Pace;
use domain::time::Timestamp;
use eventlog::log::{EventLog, Expected};
use eventlog::memory::Memory;
use eventlog::stream::Log;
use projections::projector;
use projections::views::Views;
use tokio::net::TcpSocket;
use tokio_util::sync::CancellationToken;

use super::message;
use super::serve::{Orders, announce};
use crate::gate;
use crate::trading::{self, Nowhere};

/// Bytes that the kernel holds for one small socket: a client that reads nothing is stuck soon.
pub const SMALL_BYTES: u32 = 64 * 1024;

/// Clients that wait to be accepted: all of them at once.
const BACKLOG: u32 = 4_096;

/// It stands still: no price grows old.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        message::began_at()
    }
}

pub async fn serve(mut orders: Orders, send_bytes: Option<u32>) -> Result<()> {
    let market = Arc::new(Memory::new(Log::Market));
    let venue: Venue = message::VENUE.parse()?;
    let views = Arc::new(Views::new(vec![venue.clone()]));
    let feed = FeedStatus::new(venue, vec![message::SYMBOL.parse()?], Pace::Live);
    let opening = Opening::shut();
    opening.open();
    let (ledger, clock) = (Arc::new(Memory::new(Log::Ledger)), Arc::new(Still));
    let clock: Arc<dyn Clock> = clock;
    let (gate, _) = gate::open(ledger.clone(), clock.clone())?;
    let app = App {
        views: Arc::clone(&views),
        feeds: Arc::new(FeedBoard::new([Arc::new(feed)])),
        clock: clock.clone(),
        desk: Arc::new(Desk::new(ledger.clone(), Arc::new(Nowhere), clock)),
        terms: Arc::new(trading::terms()?),
        ledger,
        market: Arc::clone(&market) as _,
        store: None,
        gate,
        opening,
        settings: settings(),
    };
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = send_bytes {
        // What is accepted inherits it.
        socket.set_send_buffer_size(bytes)?;
    }
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    let projector = projector::follow(Log::Market, Arc::clone(&market) as _, views);
    let mut projector = tokio::spawn(projector);
    let mut house = tokio::spawn(routes::serve(listener, None, app, CancellationToken::new()));
    announce(address);
    loop {
        let ids = tokio::select! {
            ended = &mut house => bail!("the door ended: {ended:?}"),
            ended = &mut projector => bail!("the projector ended: {ended:?}"),
            ids = orders.next() => ids,
        };
        let Some(ids) = ids else { return Ok(()) };
        market.append(message::draft(ids), Expected::Any).await?;
    }
}

/// The limits that a thousand clients of one address would reach, and pings out of the way.
fn settings() -> Settings {
    let ws = WsSettings {
        connections_ip_max: 10_000,
        ping_every: Duration::from_hours(1),
        pong_patience: Duration::from_hours(2),
        ..WsSettings::default()
    };
    Settings { connections_ip_max: 10_000, ws, ..Settings::default() }
}
