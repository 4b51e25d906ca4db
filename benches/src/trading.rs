//! Position commands through the door: 64 connections, one account, each answered when it is durable.
//!
//! Server and clients share this process. The yardstick is the cheapest answer of the same server to
//! the same clients, so the ratio says what a command costs beyond a request.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use api::app::App;
use api::gate::Gate;
use api::opening::Opening;
use api::routes;
use api::settings::Settings;
use async_trait::async_trait;
use commands::clock::Clock;
use commands::desk::{self, Desk, Order};
use commands::feed_status::{FeedBoard, FeedStatus};
use commands::terms::TradingTerms;
use domain::account::command::AccountCommand;
use domain::account::limits::Limits;
use domain::account::position::Mode;
use domain::name::AccountId;
use domain::observation::Pace;
use domain::time::Timestamp;
use eventlog::embedded::{Embedded, Options};
use eventlog::entry::Actor;
use eventlog::files::Disk;
use eventlog::keep::{Keep, KeepError, Kept};
use eventlog::log::{EventLog, Expected};
use eventlog::memory::Memory;
use eventlog::stream::Log;
use projections::projector;
use projections::views::Views;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::{self, CONNECTIONS};
use crate::gate;
use crate::sample;
use crate::sockets::message;

const REQUESTS_EACH: usize = 60;

/// It stands still: no price grows old.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        message::began_at()
    }
}

/// Keeps nothing.
pub struct Nowhere;

#[async_trait]
impl Keep for Nowhere {
    async fn load(&self, _: &str) -> Result<Option<Kept>, KeepError> {
        Ok(None)
    }

    async fn save(&self, _: &str, _: Kept) -> Result<(), KeepError> {
        Ok(())
    }
}

/// A house with a funded account, a price, and a ledger on disk.
pub struct House {
    address: SocketAddr,
    gate: Arc<Gate>,
    token: String,
    /// The requests that were sent, so that no two have the same key.
    sent: usize,
    _folder: TempDir,
    _tasks: JoinSet<()>,
}

impl House {
    pub async fn open() -> Result<Self> {
        let folder = sample::folder()?;
        let disk = Disk::open(folder.path())?;
        let (ledger, _) = Embedded::open(Arc::new(disk), Log::Ledger, Options::default())?;
        let ledger: Arc<Embedded> = Arc::new(ledger);
        let market = Arc::new(Memory::new(Log::Market));
        let views = Arc::new(Views::new(vec![message::VENUE.parse()?]));
        let feed =
            FeedStatus::new(message::VENUE.parse()?, vec![message::SYMBOL.parse()?], Pace::Live);
        let clock: Arc<dyn Clock> = Arc::new(Still);
        let desk = Arc::new(Desk::new(ledger.clone(), Arc::new(Nowhere), clock.clone()));
        let terms = Arc::new(terms()?);
        market.append(message::draft(Range { start: 0, end: 1 }), Expected::Any).await?;
        fund(&desk, &terms).await?;
        for (log, from) in
            [(Log::Ledger, ledger.clone() as Arc<dyn EventLog>), (Log::Market, market.clone())]
        {
            projector::catch_up(log, from.as_ref(), &views).await?;
        }
        let opening = Opening::shut();
        opening.open();
        let (gate, token) = gate::open(ledger.clone(), clock.clone())?;
        let app = App {
            views: views.clone(),
            feeds: Arc::new(FeedBoard::new([Arc::new(feed)])),
            clock,
            desk,
            terms,
            ledger: ledger.clone(),
            market,
            store: None,
            gate: gate.clone(),
            opening,
            settings: Settings::default(),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            drop(routes::serve(listener, None, app, CancellationToken::new()).await);
        });
        tasks.spawn(async move { drop(projector::follow(Log::Ledger, ledger, views).await) });
        Ok(Self { address, gate, token, sent: 0, _folder: folder, _tasks: tasks })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn gate(&self) -> Arc<Gate> {
        self.gate.clone()
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns the commands per second: each client opens a position, closes it, and so on.
    pub async fn commands(&mut self) -> Result<f64> {
        let first = self.sent;
        self.sent += CONNECTIONS * REQUESTS_EACH;
        let token = self.token.clone();
        let request = move |number: usize, before: &[u8]| {
            let (path, body) = match opened(before) {
                None => (
                    String::new(),
                    r#"{"symbol":"BTC-USDT","size":"0.001","type":"long","leverage":"10"}"#,
                ),
                Some(id) => (format!("/{id}/close"), ""),
            };
            format!(
                "POST /api/v1/portfolio/positions{path} HTTP/1.1\r\nHost: bench\r\n\
                 Content-Type: application/json\r\nIdempotency-Key: bench-{}\r\n\
                 Authorization: Bearer {token}\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                first + number,
                body.len()
            )
        };
        client::requests(self.address, REQUESTS_EACH, request).await
    }

    /// Returns the answers per second to the least that can be asked.
    pub async fn hellos(&mut self) -> Result<f64> {
        let request = |_, _: &[u8]| "GET /livez HTTP/1.1\r\nHost: bench\r\n\r\n".to_owned();
        client::requests(self.address, REQUESTS_EACH, request).await
    }
}

/// Returns the position that an answer says was opened.
fn opened(answer: &[u8]) -> Option<&str> {
    let answer = str::from_utf8(answer).ok().filter(|text| text.starts_with("HTTP/1.1 201"))?;
    let (_, rest) = answer.split_once(r#""position_id":""#)?;
    rest.split('"').next()
}

/// Fees as on a large venue, and limits that nobody reaches.
pub fn terms() -> Result<TradingTerms> {
    let limits_default = Limits {
        positions_max: u32::MAX,
        notional_max: "1000000000".parse()?,
        quantity_max: [].into(),
    };
    Ok(TradingTerms {
        fee_rate: "0.0004".parse()?,
        tiers: [].into(),
        tiers_default: Arc::default(),
        limits_default,
    })
}

async fn fund(desk: &Desk, terms: &TradingTerms) -> Result<()> {
    let account: AccountId = gate::ACCOUNT.parse()?;
    let open = AccountCommand::OpenAccount {
        currency: "USDT".parse()?,
        mode: Mode::Hedging,
        limits: terms.limits_default.clone(),
    };
    let deposit = AccountCommand::Deposit { amount: "1000000000".parse()? };
    for (name, command) in [("open", open), ("fund", deposit)] {
        let order = Order {
            append_id: desk::append_id(&account, name),
            account: account.clone(),
            command: format!("\"{name}\""),
            actor: Actor {
                principal: "bench".into(),
                role: "operator".into(),
                via: "bench".into(),
            },
            correlation_id: None,
            causation: None,
        };
        desk.submit(order, |_| Ok::<_, std::convert::Infallible>(command.clone())).await?;
    }
    Ok(())
}
